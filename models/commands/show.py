"""`deepseek-models show NAME`: a row, and where each of its numbers was read."""

from __future__ import annotations

import argparse

from access.program import Command

from .suggest import counted


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME", help="model name, as printed by list")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(parsed: argparse.Namespace) -> int:
    import json

    from ..zoo import table
    from ..zoo.folder import models_folder, read
    from ..zoo.local_files import is_on_this_host, offline_sentence

    folder = models_folder()
    row = table.find(parsed.model)
    locked, time = read(folder), table.read(folder).get(row.name)
    here = is_on_this_host(row, folder, locked)
    if parsed.json:
        whole = {**row._asdict(), "here": here, "locked": locked.get(row.name), "measured": time and time._asdict()}
        print(json.dumps(whole, indent=1, default=lambda value: value._asdict()))
        return 0
    metric = (
        row.metric
        and f"{row.metric['value']:g} {row.metric['unit']} {row.metric['name']} on {row.metric['data']} ({row.metric['from']})"
    )
    lines = {
        "name": row.name,
        "task": row.task,
        "source": f"{row.source} {row.id}",
        "parameters": f"{row.parameters:,} ({row.parameters_from})"
        if row.parameters
        else f"not stated ({row.parameters_from})",
        "licence": f"{row.licence or 'not stated'} ({row.licence_from})",
        "metric": metric or "none that its library states",
        "preprocessing": json.dumps(row.preprocessing),
        "made by": f"{row.loader}, {row.architecture}",
        "configuration": f"{json.dumps(row.config)} ({row.config_from})" if row.config else row.config_from,
    }
    model = locked.get(row.name)
    if row.pinned:
        lines["revision"] = row.pinned["revision"]
        files = {path: (file["sha256"], file["bytes"]) for path, file in row.pinned["files"].items()}
    elif model:
        lines["revision"] = f"{model.revision or 'none: a plain address'}, recorded in zoo.lock on {model.date}"
        files = {path: (file.sha256, file.bytes) for path, file in model.files.items()}
    else:
        lines["revision"] = "unpinned: the first fetch records it in zoo.lock"
        files = {}
    if time:
        lines["on this host"] = (
            f"{time.p50_ms:,.1f} ms p50, {time.p99_ms:,.1f} ms p99, {time.cpu_ms:,.1f} ms CPU ({time.runtime}, {counted(time.threads)}, {time.date})"
        )
    width = max(map(len, lines))
    print("\n".join(f"{label:<{width}}  {text}" for label, text in lines.items()))
    for path, (sha256, size) in files.items():
        print(f"  {sha256}  {size:>13,}  {path}")
    print("it is on this host" if here else offline_sentence(row, folder, ""))
    return 0


COMMAND = Command("show", "Show what the zoo knows about a model, with sources.", arguments, run)
