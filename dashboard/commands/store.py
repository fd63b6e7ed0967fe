"""`deepseek-dashboard store check|compact --log-dir ./logs`"""

from __future__ import annotations

import argparse
from pathlib import Path

from collectors import VERSION
from collectors.options import add_flags
from collectors.service import folders, lock

from .command import Command, Mistake, make_folder


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=["check", "compact"], help="check: name all that is damaged; compact: pack everything as dense as it gets"
    )
    add_flags(parser, ["log_dir", "data_dir"])


def run(options: argparse.Namespace) -> int:
    """Exit code 1 if something is damaged."""
    from collectors.store.open import maintenance

    data_dir: Path = (options.data_dir or folders.data_dir_of(options.log_dir)).resolve()
    store = maintenance(data_dir)
    if not store.exists():
        raise Mistake(f"there is no store in {data_dir}; name its folder with --log-dir or --data-dir")
    if options.action == "compact":
        make_folder(data_dir, "--data-dir")
        compact(data_dir)
        return 0
    troubles = store.check()
    print("\n".join(troubles) or f"all is well in {data_dir}")
    return int(bool(troubles))


def compact(data_dir: Path) -> None:
    """Compact as the store's only writer, and print the bytes before and after. Raises Mistake."""
    from collectors.store.open import maintenance
    from collectors.store.protocol import StoreError

    store = maintenance(data_dir)
    before = store.size_bytes()
    try:
        lock.take(data_dir, VERSION, {"store": "compact"})
        store.compact()
    except lock.Locked as error:
        raise Mistake(f"{error}; end the dashboard of this folder first") from None
    except StoreError as error:
        raise Mistake(str(error)) from None
    print(f"{data_dir}: {before / 1e6:.1f} MB before, {store.size_bytes() / 1e6:.1f} MB now")


COMMAND = Command("store", "Look after the store of a log folder.", arguments, run)
