"""`deepseek-dashboard store check|compact|backup --log-dir ./logs`"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from access.program import Command, UsageError
from collectors import VERSION, writer_lock
from collectors.log_folders import add_place, place_of

from .command import make_folder

OF_A_PROCESS = re.compile(
    r"writer\.lock|control\.sock|\.?web\.json.*|programs|dashboard\.log|\.writable|\.new-.*|.*\.sqlite(-wal|-shm)?"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=["check", "compact", "backup"],
        help="check: list damage; compact: shrink the files; backup: copy the data folder while it is in use",
    )
    add_place(parser)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="target of backup: a new or empty folder")


def run(options: argparse.Namespace) -> int:
    """Exit code 1 if something is damaged."""
    from collectors.store.engines import maintenance

    data_dir = place_of(options).data_dir
    store = maintenance(data_dir)
    if not store.exists():
        raise UsageError(f"there is no store in {data_dir}; name its folder with --log-dir or --data-dir")
    if options.action == "backup":
        backup(data_dir, options.to)
        return 0
    if options.action == "compact":
        make_folder(data_dir, "--data-dir")
        compact(data_dir)
        return 0
    troubles = store.check()
    print("\n".join(troubles) or f"all is well in {data_dir}")
    return int(bool(troubles))


def backup(data_dir: Path, target: Path | None) -> None:
    """Copy the store, each file as of one moment, and what users said beside it. Raises UsageError."""
    from collectors.store.engines import maintenance
    from collectors.store.store import StoreError

    if target is None:
        raise UsageError("backup needs a folder to copy to; name it with: --to FOLDER")
    make_folder(target, "--to", private=True)
    if any(target.iterdir()):
        raise UsageError(f"{target} is not empty; choose a new folder with --to")
    try:
        maintenance(data_dir).backup(target.resolve())
        for entry in data_dir.iterdir():
            if not OF_A_PROCESS.fullmatch(entry.name):
                _copy(entry, target / entry.name)
    except StoreError as error:
        raise UsageError(str(error)) from None
    except (OSError, shutil.Error) as error:
        raise UsageError(
            f"cannot copy {data_dir} to {target} ({error}); make room, or choose another folder with --to"
        ) from None
    print(f"{data_dir} was copied to {target}: {maintenance(target.resolve()).size_bytes() / 1e6:.1f} MB")


def _copy(entry: Path, target: Path) -> None:
    """Links are copied as links; what is neither file nor folder is left out."""
    kind = entry.lstat().st_mode
    if S_ISDIR(kind):
        shutil.copytree(entry, target, symlinks=True)
    elif S_ISREG(kind):
        shutil.copy2(entry, target)


def compact(data_dir: Path) -> None:
    """Compact as the store's only writer, and print the bytes before and after. Raises UsageError."""
    from collectors.store.engines import maintenance
    from collectors.store.store import StoreError

    store = maintenance(data_dir)
    before = store.size_bytes()
    try:
        writer_lock.take(data_dir, VERSION, {**writer_lock.last_options(data_dir), "store": "compact"})
        store.compact()
    except writer_lock.Locked as error:
        raise UsageError(f"{error}; end the dashboard of this folder first") from None
    except StoreError as error:
        raise UsageError(str(error)) from None
    print(f"{data_dir}: {before / 1e6:.1f} MB before, {store.size_bytes() / 1e6:.1f} MB now")


COMMAND = Command("store", "Check, compact or back up the store of a log folder.", arguments, run)
