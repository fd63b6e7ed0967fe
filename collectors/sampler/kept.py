"""Keep the text of a run's own source files, as its processes loaded it: read when a file first appears in a stack."""

from __future__ import annotations

import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..process.proc import TICKS_PER_S
from ..records import Profile, SourceText
from . import RunRank, Target
from .reading import Unreadable, read_as_owner

MOST_WAITING = 1000  # files that wait to be read
CLOCK_SLACK_S = 0.05  # between a start time in ticks and a file's time
LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d|^<frozen |^<__array_function__")
GENERATED = re.compile(r"/torchinductor_|/torch_compile_debug/|/\.?triton(_cache)?/|/__pycache__/")
CELL = re.compile(r"^<ipython-input-|/ipykernel_\d+/|^<stdin>|^<string>")
OF_A_CELL = (
    "The text of a notebook cell or of typed code is on no disk; its lines are counted from the beginning of the cell."
)
CHANGED = "The file changed after the run started: its lines today may not be those that ran."


class _Wanted(NamedTuple):
    run: str
    pid: int  # of the process in which it was seen
    start_ticks: int  # of the run's oldest process of that rank: a forked worker has its modules from there
    path: str


class KeptSources:
    """Finds new files in profiles, and reads them in a thread of its own: a file system that hangs keeps nothing else waiting."""

    def __init__(self, read: Callable[[int, str], tuple[bytes, float]] = read_as_owner) -> None:
        """`read` returns a file's bytes and the Unix time of its last change, as the process with that pid sees it."""
        self._read = read
        self._seen: set[tuple[str, int, str]] = set()  # run, start ticks, path
        self._wanted: queue.Queue[_Wanted] = queue.Queue(MOST_WAITING)
        self._found: queue.SimpleQueue[SourceText] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()

    def look(self, profiles: Iterable[Profile], targets: Sequence[Target]) -> None:
        """Note the new files of these profiles. 0.15 ms for a window of 500 spans of 100 stacks."""
        mains = {of: target.start_ticks for target in targets if target.role == "main" for of in target.runs}
        by_pid = {target.pid: target for target in targets}
        for profile in profiles:
            target = by_pid.get(profile.pid)
            of = RunRank(profile.run, profile.rank)
            if target is None:
                continue
            ticks = min(target.start_ticks, mains.get(of, target.start_ticks))
            for path in _files_of(profile):
                self._want(_Wanted(profile.run, target.pid, ticks, path))

    def texts(self) -> list[SourceText]:
        """The texts read since the last call, without waiting."""
        found: list[SourceText] = []
        while not self._found.empty():
            found.append(self._found.get_nowait())
        return found

    def close(self) -> None:
        """Does not wait for a file system that hangs: the thread is a daemon."""
        self._closed.set()
        if self._reader:
            self._reader.join(timeout=0.5)

    def keep_only(self, runs: Collection[str]) -> None:
        """Forget runs that no longer have a process."""
        self._seen = {key for key in self._seen if key[0] in runs}

    def _want(self, wanted: _Wanted) -> None:
        key = (wanted.run, wanted.start_ticks, wanted.path)
        if key in self._seen or not is_own(wanted.path):
            return
        if not self._reader:
            self._reader = threading.Thread(target=self._work, name="source-texts", daemon=True)
            self._reader.start()
        try:
            self._wanted.put_nowait(wanted)
            self._seen.add(key)
        except queue.Full:  # it comes again with the next window
            return

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                wanted = self._wanted.get(timeout=0.2)
            except queue.Empty:
                continue
            self._found.put(self._text_of(wanted))

    def _text_of(self, wanted: _Wanted) -> SourceText:
        since_s = _started_s(wanted.start_ticks)
        run, path = wanted.run, wanted.path
        try:
            if CELL.search(path):
                raise Unreadable(OF_A_CELL)
            data, changed_s = self._read(wanted.pid, path)
            if changed_s > since_s + CLOCK_SLACK_S:
                raise Unreadable(CHANGED)
            return SourceText(run, path, hashlib.sha256(data).hexdigest(), data.decode("utf-8"), since_s)
        except UnicodeDecodeError:
            return SourceText(run, path, "", "", since_s, "The file is no UTF-8 text.")
        except Unreadable as error:
            return SourceText(run, path, "", "", since_s, str(error))


def is_own(path: str) -> bool:
    """Whether a frame's file may be the user's own: neither a library's nor made by a compiler."""
    return (
        bool(path)
        and not LIBRARY.search(path)
        and not GENERATED.search(path)
        and (path.endswith(".py") or bool(CELL.search(path)))
    )


def _files_of(profile: Profile) -> Iterator[str]:
    stacks = {id(sample.stack): sample.stack for sample in profile.samples}
    yield from {frame.file for stack in stacks.values() for frame in stack}


def _started_s(ticks: int) -> float:
    """Unix time of a start time in clock ticks since boot."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS_PER_S
