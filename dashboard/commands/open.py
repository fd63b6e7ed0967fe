"""`deepseek-dashboard open run.zip`: the pages of a run that was exported elsewhere; nothing is collected and nothing changed."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

from access.hosts import Access
from collectors.options import CollectorOptions

from .. import address
from ..network import CannotListen, address_of, listen, port, public_address_of
from .command import Command, UsageError
from .run import free_port
from .serve import leave, run_web


class NoCollector(NamedTuple):
    """In place of a collector's process."""

    read_only: str

    def note(self) -> str:
        return ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="zip that `deepseek-dashboard export` has written")
    parser.add_argument(
        "--port", type=port, metavar="N", help="TCP port to serve on (default: 8080, or the next free one)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="address to listen on; any but loopback asks for a link (default: 127.0.0.1)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(parsed: argparse.Namespace) -> int:
    from ..archive import BadArchive, room_for, unpack_apart

    if not parsed.file.is_file():
        raise UsageError(f"there is no file {parsed.file}; write one with: deepseek-dashboard export RUN")
    try:
        listener = listen(parsed.host, free_port() if parsed.port is None else parsed.port)
    except CannotListen as error:
        raise UsageError(str(error)) from None
    folder = room_for(parsed.file)
    signal.signal(
        signal.SIGHUP, signal.default_int_handler
    )  # the terminal is closed: what was unpacked is removed then, too
    try:
        try:
            manifest = unpack_apart(parsed.file, folder)
        except BadArchive as error:
            raise UsageError(f"{parsed.file} is not opened: {error}") from None
        except OSError as error:
            raise UsageError(
                f"cannot unpack {parsed.file} into {folder} ({error.strerror or error}); set TMPDIR to a place with room"
            ) from None
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.exported_s))
        copy = NoCollector(
            f"A copy of {manifest.run} from {manifest.host}, {day}: nothing is collected or changed here."
        )
        options = CollectorOptions(folder / "logs", folder)
        access = Access(parsed.host)
        with (
            contextlib.suppress(KeyboardInterrupt),
            address.publish(folder, address_of(listener, access), public_address_of(listener, access)),
        ):
            where = f"{manifest.run} of {parsed.file}"
            run_web([listener], options, copy, where=where, browse=parsed.open, ends=False, access=access)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    leave()


COMMAND = Command("open", "Show a run that was exported into a zip, without collecting anything.", arguments, run)
