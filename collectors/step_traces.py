"""Traces on demand: requests for a few traced steps of a run, their answers, and which are kept."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import orjson

from .folders import LogTree, is_received
from .machine.proc import user_of
from .records import Frame
from .rights import LeftAlone, check_ours, is_root, open_resolved
from .untrusted import OverLimit, ReaderProcess

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


# Read the answer to a request for a trace, a whole file that RunLog writes; what is wrong in it costs that trace alone.

MAX_BYTES = 4 << 20
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
ABOVE = 3  # the log folder, above `.deepseek/traces/<entry>`
MAX_ROWS, MAX_FRAMES, MAX_STACKS, MAX_DEPTH = 5_000, 50_000, 5_000, 128
MAX_TEXT = 2_000  # characters of a name, a file, a sentence
MAX_SECONDS = 1e6
MAX_COUNT = 2**53

KernelKind: TypeAlias = Literal["compute", "communication", "copy"]
KERNEL_KINDS: tuple[KernelKind, ...] = get_args(KernelKind)


class MalformedTrace(Exception):
    """It is not what RunLog writes; the text says what is wrong, as the end of a sentence."""


class TracedKernel(NamedTuple):
    """What one stack launched under one name: on a GPU a kernel, on a CPU an operator without those that it called."""

    stack: tuple[Frame, ...]  # from the root to the leaf; () where nothing says who launched it
    name: str
    kind: KernelKind
    seconds: float  # of all traced steps together
    calls: int
    backward: bool  # autograd ran it for what this stack ran forward


class BusySeconds(NamedTuple):
    """Of a GPU: what kept it busy. The first three add up to its busy time; `hidden` is communication behind compute."""

    compute: float
    communication: float
    copy: float
    hidden: float

    @property
    def all(self) -> float:
        return self.compute + self.communication + self.copy


@dataclass(frozen=True)
class StepTrace:
    """`error` is one sentence on why there is nothing else, "" where there is."""

    id: str
    rank: int
    error: str
    torch: str
    device: Literal["GPU", "CPU"] = "CPU"
    with_stacks: bool = False
    from_s: float = 0.0
    to_s: float = 0.0
    first_step: int = 0
    last_step: int = 0
    kernels: tuple[TracedKernel, ...] = ()
    busy: BusySeconds | None = None  # of a GPU
    left_out: int = 0  # kernels that took least
    left_out_s: float = 0.0

    @property
    def steps(self) -> int:
        return self.last_step - self.first_step + 1


def read_trace(path: Path) -> StepTrace:
    """Of an entry of a data folder. Raises OSError, MalformedTrace."""
    file = _opened(path)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise MalformedTrace("is no regular file")
        if found.st_size > MAX_BYTES:
            raise MalformedTrace(f"is larger than {MAX_BYTES >> 20} MiB")
        with os.fdopen(os.dup(file), "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    finally:
        os.close(file)
    if len(data) > MAX_BYTES:
        raise MalformedTrace(f"is larger than {MAX_BYTES >> 20} MiB")
    return parsed(data)


def _opened(path: Path) -> int:
    if not is_root():
        return os.open(path, FLAGS | os.O_NOFOLLOW)
    try:
        with open_resolved(path, path.parents[ABOVE], links=0) as found:
            return found.open(FLAGS)
    except LeftAlone as error:
        raise MalformedTrace(str(error)) from error


def parsed(data: bytes) -> StepTrace:
    """Raises MalformedTrace."""
    try:
        fields = orjson.loads(data)
    except ValueError:
        raise MalformedTrace("is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedTrace("is not a JSON object")
    try:
        return _trace(fields)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MalformedTrace(f"is not what RunLog writes ({error!r})"[:300]) from None


def _trace(fields: dict[str, Any]) -> StepTrace:
    """Raises KeyError, TypeError, ValueError, IndexError."""
    name, rank, error, torch = (
        _text(fields["id"]),
        _whole(fields["rank"]),
        _text(fields["error"]),
        _text(fields["torch"]),
    )
    if error:
        return StepTrace(name, rank, error, torch)
    device, first, last = fields["device"], _whole(fields["first_step"]), _whole(fields["last_step"])
    if device not in ("GPU", "CPU") or last < first:
        raise ValueError("device or steps")
    frames = [
        Frame(_text(function), _text(file), _whole(line))
        for file, line, function in _listed(fields["frames"], MAX_FRAMES)
    ]
    stacks = [
        tuple(frames[_place(number, frames)] for number in _listed(stack, MAX_DEPTH))
        for stack in _listed(fields["stacks"], MAX_STACKS)
    ]
    kernels = tuple(_kernel(row, stacks) for row in _listed(fields["kernels"], MAX_ROWS))
    busy = fields["busy"]
    left_out, left_out_s = fields["left_out"]
    return StepTrace(
        name,
        rank,
        "",
        torch,
        device,
        fields["with_stacks"] is True,
        _seconds(fields["from_s"], 1e11),
        _seconds(fields["to_s"], 1e11),
        first,
        last,
        kernels,
        BusySeconds(*(_seconds(busy[part]) for part in BusySeconds._fields)) if busy else None,
        _whole(left_out),
        _seconds(left_out_s),
    )


def _kernel(row: Any, stacks: list[tuple[Frame, ...]]) -> TracedKernel:
    stack, name, kind, seconds, calls, backward = row
    if kind not in KERNEL_KINDS:
        raise ValueError(f"kind {kind!r}"[:100])
    return TracedKernel(
        stacks[_place(stack, stacks)], _text(name), kind, _seconds(seconds), _whole(calls), bool(backward)
    )


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"more than {most:,} of a list, or no list")
    return value


def _place(value: Any, of: list[Any]) -> int:
    if _whole(value) >= len(of):
        raise IndexError("a number that names nothing")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:MAX_TEXT]


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("no count")
    return value


def _seconds(value: Any, most: float = MAX_SECONDS) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most or math.isnan(value):
        raise ValueError("no seconds")
    return float(value)


# The traces of runs, read from their entries when they are asked for, and remembered while their files stay as they are.

MAX_KEPT = 4  # of all runs: at most 15 MB each
MAX_ENTRIES = 1_000  # files of an entry that are looked at
MAX_MEMORY_BYTES, READ_WITHIN_S = 1 << 30, 5.0  # of one

log = logging.getLogger(__name__)


class _TraceFile(NamedTuple):
    path: str
    inode: int
    size: int
    modified_ns: int


class TraceReader:
    """May be asked from many threads. Traces are read in a process with limits."""

    def __init__(self) -> None:
        self._process = ReaderProcess("traces", memory_bytes=MAX_MEMORY_BYTES, timeout_s=READ_WITHIN_S)
        self._lock = threading.Lock()
        self._kept: OrderedDict[_TraceFile, StepTrace | str] = OrderedDict()

    def newest(self, entry: Path) -> Iterator[StepTrace]:
        """Those of an entry, the newest first; what cannot be read is left out, and named in the log once."""
        for key in _files(entry):
            found = self._read(key)
            if isinstance(found, StepTrace):
                yield found

    def answer(self, entry: Path, name: str) -> StepTrace | str | None:
        """That with this id; why it cannot be read; None where it is not there."""
        wanted = f"trace-{name}.json"
        return next((self._read(key) for key in _files(entry) if key.path.endswith(f"/{wanted}")), None)

    def close(self) -> None:
        self._process.close()

    def _read(self, key: _TraceFile) -> StepTrace | str:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found: StepTrace | str
        try:
            found = self._process.read(read_trace, Path(key.path))
        except (MalformedTrace, OverLimit) as error:
            found = f"{key.path} {error}"
        except OSError as error:
            found = f"{key.path} cannot be read ({error.strerror})"
        if isinstance(found, str):
            log.warning("%s", found)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return found


def _files(entry: Path) -> list[_TraceFile]:
    """The newest first."""
    found = []
    with suppress(OSError), os.scandir(entry) as files:
        for _, file in zip(range(MAX_ENTRIES), files, strict=False):
            if RESULT.fullmatch(file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(_TraceFile(file.path, status.st_ino, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda key: -key.modified_ns)


# Ask a run for a trace: write `trace.request` into its entry of the data folder. The run's own RunLog finds it within a second.

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
