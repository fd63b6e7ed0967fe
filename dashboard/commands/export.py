"""`deepseek-dashboard export RUN`: a run as one file that opens elsewhere, or as TensorBoard event files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from access.program import Command, UsageError
from collectors.log_folders import LogFolders, add_place, place_of

from .command import typeable

if TYPE_CHECKING:
    from collectors.store.store import Store

TENSORBOARD = "tensorboard"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run name, as shown by the dashboard")
    parser.add_argument(
        "--format",
        choices=["zip", TENSORBOARD],
        default="zip",
        help="zip: the whole run, for `deepseek-dashboard open` (default); tensorboard: its curves as event files",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="file, or folder for event files (default: ./<run>.zip, ./<run>)",
    )
    add_place(parser)


def run(parsed: argparse.Namespace) -> int:
    from collectors.store.engines import maintenance, open_store
    from collectors.store.run_copy import UnknownRun
    from collectors.store.store import StoreError, TooMuch

    place = place_of(parsed)
    if not maintenance(place.data_dir).exists():
        raise UsageError(f"there is no store in {place.data_dir}; name its folder with --log-dir or --data-dir")
    target: Path = parsed.output or Path(
        f"{parsed.run.strip('/').replace('/', '-').lstrip('.') or 'run'}{'' if parsed.format == TENSORBOARD else '.zip'}"
    )
    if target.exists():
        raise UsageError(f"{target} is there already; choose another name with --output")
    try:
        store = open_store(place.data_dir, write=False)
        try:
            print(typeable(write(parsed, store, place, target)))
        except UnknownRun as error:
            raise UsageError(str(error)) from None
        finally:
            store.close()
    except KeyboardInterrupt:
        raise UsageError(f"ended before {target} was written") from None
    except (StoreError, TooMuch) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(
            f"cannot write {target} ({error.strerror or error}); choose another place with --output"
        ) from None
    return 0


def write(parsed: argparse.Namespace, store: Store, place: LogFolders, target: Path) -> str:
    """What was written, for the user."""
    from ..archive import write_event_files, write_zip

    if parsed.format == TENSORBOARD:
        written = write_event_files(store, parsed.run, target)
        left_out = f"; without {', '.join(written.left_out)}" if written.left_out else ""
        return f"{target}: {written.points:,} points in {written.files} event files{left_out}; see them with: tensorboard --logdir {target}"
    manifest = write_zip(store, place.data_dir, parsed.run, target, place.tree)
    left_out = f"; without {', '.join(manifest.left_out)}" if manifest.left_out else ""
    return f"{target}: {_size(target.stat().st_size)}{left_out}; open it with: deepseek-dashboard open {target}"


def _size(size_bytes: int) -> str:
    """`812 -> "1 kB"`, `12_345_678 -> "12.3 MB"`."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{max(1, round(size_bytes / 1e3))} kB"


COMMAND = Command(
    "export", "Save a run as one file that opens elsewhere, or as TensorBoard event files.", arguments, run
)
