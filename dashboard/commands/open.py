"""`deepseek-dashboard open run.zip`, `open rank0.pt.trace.json.gz`: the pages of a run that was exported elsewhere, or of traces that
PyTorch's profiler wrote; nothing is collected and nothing changed. `open operations.parquet` prints which rank held a job up."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import quote

from access.hosts import Access
from access.program import Command, UsageError, port
from collectors.options import CollectorOptions

from .. import address
from ..network import CannotListen, address_of, listen, public_address_of
from .run import free_port
from .serve import leave, run_web
from .stragglers import is_table, show_stragglers

TRACE = re.compile(r"(?:\.pt)?(?:\.trace)?\.json(?:\.gz)?$")


class NoCollector(NamedTuple):
    """In place of a collector's process."""

    read_only: str

    def note(self) -> str:
        return ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="zip written by `deepseek-dashboard export`, PyTorch profiler traces (.json, .json.gz) of one run, or a table of a distributed job's operations (.parquet, .csv, .csv.gz)",
    )
    parser.add_argument(
        "--port", type=port, metavar="N", help="TCP port to serve on (default: 8080, or the next free one)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="address to listen on; any but loopback requires a log-in link (default: 127.0.0.1)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--json", action="store_true", help="for a table of operations: print the result as JSON, also by step"
    )


class Opened(NamedTuple):
    """What a folder now holds."""

    where: str  # it came from
    note: str  # on every page
    page: str = ""  # that is opened first
    traced: str = ""  # the run of traces


def run(parsed: argparse.Namespace) -> int:
    for file in parsed.files:
        if not file.is_file():
            made = (
                "" if TRACE.search(file.name) or is_table(file) else "; write one with: deepseek-dashboard export RUN"
            )
            raise UsageError(f"there is no file {file}{made}")
    if any(map(is_table, parsed.files)):
        return show_stragglers(parsed.files, as_json=parsed.json)
    if parsed.json:
        raise UsageError("--json is for a table of operations: a .parquet, .csv or .csv.gz")
    return _show_pages(parsed)


def _show_pages(parsed: argparse.Namespace) -> NoReturn:
    from ..archive import room_for

    try:
        listener = listen(parsed.host, free_port() if parsed.port is None else parsed.port)
    except CannotListen as error:
        raise UsageError(str(error)) from None
    first = parsed.files[0]
    folder = room_for(first)
    signal.signal(
        signal.SIGHUP, signal.default_int_handler
    )  # the terminal is closed: what was unpacked is removed then, too
    try:
        is_trace = any(TRACE.search(file.name) for file in parsed.files)
        try:
            opened = _traces(parsed.files, folder) if is_trace else _copy(parsed.files, folder)
        except OSError as error:
            raise UsageError(
                f"cannot unpack {first} into {folder} ({error.strerror or error}); set TMPDIR to a place with room"
            ) from None
        options = CollectorOptions(folder / "logs", folder)
        access = Access(parsed.host)
        with (
            contextlib.suppress(KeyboardInterrupt),
            address.publish(folder, address_of(listener, access), public_address_of(listener, access)),
        ):
            run_web(
                [listener],
                options,
                NoCollector(opened.note),
                where=opened.where,
                browse=parsed.open,
                ends=False,
                access=access,
                page=opened.page,
                prepare=lambda queries: queries.stacks.begin_traces(opened.traced) if opened.traced else None,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    leave()


def _copy(files: Sequence[Path], folder: Path) -> Opened:
    """Of a run. Raises OSError."""
    from ..archive import BadArchive, unpack_apart

    if len(files) > 1:
        raise UsageError("one exported run is opened at a time; several files are for traces of one run")
    try:
        manifest = unpack_apart(files[0], folder)
    except BadArchive as error:
        raise UsageError(f"{files[0]} is not opened: {error}") from None
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.exported_s))
    note = f"A copy of {manifest.run} from {manifest.host}, {day}: nothing is collected or changed here."
    return Opened(f"{manifest.run} of {files[0]}", note)


def _traces(files: Sequence[Path], folder: Path) -> Opened:
    """A run that has nothing but these traces. Raises OSError."""
    from analysis.traces.events import TraceError
    from analysis.traces.summary import began_and_lasted_s
    from collectors.records import Event, RunInfo
    from collectors.store.engines import open_store

    run = TRACE.sub("", files[0].name) or "trace"
    place = folder / "logs" / run
    place.mkdir(parents=True)
    begun = []
    for number, file in enumerate(files):
        if not TRACE.search(file.name):
            raise UsageError(f"{file} is no trace: one ends with .json or .json.gz")
        try:
            begun.append(began_and_lasted_s(file))
        except TraceError as error:
            raise UsageError(f"{file} is not opened: it {error}") from None
        inside = place / f"{number}-{TRACE.sub('', file.name)}.trace.json"
        try:
            os.link(file.resolve(), inside)
        except OSError:  # on another disk
            shutil.copy2(file, inside)
    from_s, to_s = min(start for start, _ in begun), max(start + lasted for start, lasted in begun)
    with contextlib.closing(open_store(folder, write=True)) as store:
        store.append([RunInfo(run, {"run": run}), Event(run, "start", from_s)])
    said = ", ".join(file.name for file in files)
    return Opened(
        f"{said}",
        f"Traces of {said}: nothing is collected or changed here.",
        f"/flame?run={quote(run)}&view=kernels&from={from_s:.3f}&to={to_s:.3f}",
        run,
    )


COMMAND = Command(
    "open",
    "Show an exported run, PyTorch profiler traces, or what held up a distributed job, without collecting.",
    arguments,
    run,
)
