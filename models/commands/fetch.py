"""`deepseek-models fetch NAME`: download a model, and record or check its revision and hashes."""

from __future__ import annotations

import argparse
from pathlib import Path

from access.program import Command


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME", help="model name, as printed by list")
    parser.add_argument(
        "--accept-licence",
        action="append",
        default=[],
        metavar="LICENCE",
        help="confirm that you accept this licence",
    )
    parser.add_argument(
        "--artifact", metavar="FOLDER", help="also write a model folder: model.onnx, manifest and golden outputs"
    )
    parser.add_argument("--update", action="store_true", help="fetch the newest revision and pin that")


def run(parsed: argparse.Namespace) -> int:
    from ..artifact.write import require_free
    from ..zoo import table
    from ..zoo.fetch import fetch
    from ..zoo.folder import models_folder

    row = table.find(parsed.model)
    if parsed.artifact:
        require_free(Path(parsed.artifact))  # before anything is downloaded
    fetched = fetch(row, models_folder(), parsed.accept_licence, parsed.update)
    for path, place in fetched.files.items():
        print(f"{path}  {place.stat().st_size / 1e6:,.1f} MB  {place}")
    if parsed.artifact:
        from ..zoo.fetch import artifact_of

        made = artifact_of(row, models_folder(), Path(parsed.artifact))
        print(f"{made.folder}  {made.bytes / 1e6:,.1f} MB")
    for note in fetched.notes:
        print(f"note: {note}")
    return 0


COMMAND = Command("fetch", "Download a model and pin it in zoo.lock.", arguments, run)
