"""Requests for a trace of a few steps of a run: where they go, who may ask, and which answers are kept."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .folders import LogTree, is_received
from .machine.proc import user_of
from .rights import LeftAlone, check_ours

# Where a run looks for requests: an entry of the data folder of its log folder, which its `run.json` names.
#
# A name in a file is a claim: only a folder `.deepseek/traces/<name>` of a log folder that this dashboard follows is believed.

DATA_FOLDER, TRACES = ".deepseek", "traces"
REQUEST = "trace.request"
RESULT = re.compile(r"trace-([0-9a-f]{8,32})\.json")
NAMED = re.compile(rf"(?:\.\./)+{re.escape(DATA_FOLDER)}/{TRACES}/(?!\.)[\w.%~-]{{1,220}}")
NO_RUN_LOG = (
    "it does not use RunLog: `from deepseek.log import RunLog` and a call of `log.scalars(step, ...)` in each step, "
    "or one of the adapters, let its steps be traced"
)


class NoEntry(Exception):
    """The run cannot be asked; the text says why, as the end of a sentence, with the remedy."""


def entry_of(logs: Path | LogTree, run: str, info: Mapping[str, Any]) -> Path:
    """`logs`, `baseline` -> `logs/.deepseek/traces/baseline`; it need not be there. `info` is of run.json. Raises NoEntry."""
    if is_received(run):
        raise NoEntry("it is on another host, where no request of this one arrives: ask on a dashboard there")
    named = info.get("trace")
    if named is None:
        raise NoEntry(NO_RUN_LOG)
    if not isinstance(named, str) or not NAMED.fullmatch(named):
        raise NoEntry("the folder that its run.json names is no folder of traces")
    tree = LogTree.of(logs)
    entry = Path(os.path.normpath(tree.path_of(run) / named))
    if not any(entry.is_relative_to(top) for top in tree.tops):
        raise NoEntry(
            f"its log folder is {entry.parents[2]}, which is not followed: start the dashboard with --log-dir {entry.parents[2]}"
        )
    return entry


# Ask: write `trace.request` into the entry of the data folder. The run's own RunLog finds it within a second.

MAX_STEPS = 20
MAX_RESULTS = 10  # of a run, the newest
ANSWERED_WITHIN_S = 150.0  # waiting for a step, tracing and writing take at most that
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def ask_for_trace(entry: Path, run_folder: Path, steps: int, rank: int) -> str:
    """The id of the trace to come. Raises NoEntry where this user may not ask, or a trace is on its way already."""
    if not 1 <= steps <= MAX_STEPS:
        raise NoEntry(f"a trace has from 1 to {MAX_STEPS} steps")
    try:
        _check_way(entry, run_folder)
        owner = (run_folder / "run.json").stat().st_uid
    except OSError as error:
        raise NoEntry(f"its run.json cannot be read ({error.strerror})") from None
    if owner != os.geteuid():
        raise NoEntry(
            f"it belongs to user {user_of(owner)}, who alone may ask for a trace: run the dashboard as that user"
        )
    try:
        folder = _opened_entry(entry)
        try:
            if asked_ago_s(entry) < ANSWERED_WITHIN_S:
                raise NoEntry("a trace of it was asked for a moment ago and is not there yet: wait for that one")
            _leave_newest(folder)
            return _write(folder, steps, rank)
        finally:
            os.close(folder)
    except OSError as error:
        raise NoEntry(f"no request can be written to {entry} ({error.strerror})") from None


def asked_ago_s(entry: Path) -> float:
    """How long ago a request was written that nothing has answered; infinite where there is none."""
    with suppress(OSError):
        return max(0.0, time.time() - (entry / REQUEST).lstat().st_mtime)
    return float("inf")


def _check_way(entry: Path, run_folder: Path) -> None:
    """Raises NoEntry where a user besides root could lead root to another place, with or without `--as-root`; OSError."""
    above = Path(os.path.commonpath([entry, run_folder]))
    try:
        for place in (run_folder / "run.json", entry.parents[2]):
            check_ours(place, above)
    except LeftAlone as error:
        raise NoEntry(f"its folder or its run.json {error}") from None


def _opened_entry(entry: Path) -> int:
    """The entry's folder, made where it is not there; its parents below the log folder are made for this user alone. Raises OSError, NoEntry."""
    data = entry.parents[1]
    data.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(data, OPEN_FOLDER)
    try:
        _check(folder, data)
        for name in (TRACES, entry.name):
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            inner = os.open(name, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
            _check(folder, entry)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _check(folder: int, path: Path) -> None:
    """Raises NoEntry where another user could put something else there."""
    found = os.fstat(folder)
    if found.st_uid != os.geteuid():
        raise NoEntry(f"{path} belongs to user {user_of(found.st_uid)}: remove it, or run the dashboard as that user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoEntry(f"other users may write to {path}: take that right away with chmod go-w")


def _write(folder: int, steps: int, rank: int) -> str:
    name, new = secrets.token_hex(8), f".new-{secrets.token_hex(4)}"
    data = json.dumps({"id": name, "steps": steps, "rank": rank, "time_s": time.time()}).encode()
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.write(file, data)
        os.replace(new, REQUEST, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
    finally:
        os.close(file)
    return name


def _leave_newest(folder: int) -> None:
    """Of the answers, and nothing else."""
    found = []
    with os.scandir(folder) as entries:
        for file in entries:
            if RESULT.fullmatch(file.name):
                with suppress(OSError):
                    found.append((file.stat(follow_symlinks=False).st_mtime_ns, file.name))
    for _, name in sorted(found, reverse=True)[MAX_RESULTS - 1 :]:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
