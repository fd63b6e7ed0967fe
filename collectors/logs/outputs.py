"""The files that the processes of the runs have open as standard output and error, wherever they lie."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..folders import LogTree
from ..machine.proc import PROC, alive, is_for_writing, uid_of
from ..machine.run_state import RunProcess
from ..machine.writers import OUTPUT
from ..records import Offset
from .formats.text import TextLog
from .recognition import format_of
from .runs import RunPlace
from .watch import FileMark, mark_of

MAX_OF_A_RUN, MAX_OUTPUTS = 16, 256  # files
EVERY_S = 0.5  # they are polled
MAX_KNOWN = 256  # of an earlier collector, the newest
NEXT_S = 3.0  # from a run's end until the next one that writes its file is found; what it wrote until then waits
KEPT_STATE = ("head", "end", "born", "looked", "host")  # of a file, for the next run that writes it


class OutputWriter(NamedTuple):
    """A process that has a file open as standard output or error, and its run."""

    run: str
    process: RunProcess


class OutputFiles:
    """By file the process that writes it: of several at once the first, until it is gone or its run is over. One thread looks, another
    one reads."""

    def __init__(self, left_out: Collection[Path] = (), proc: Path = PROC) -> None:
        """Files in the folders `left_out` are no outputs."""
        self._left_out, self._proc = tuple(left_out), proc
        self._lock = threading.Lock()
        self._of: dict[Path, OutputWriter] = {}

    def look(self, found: Mapping[str, Sequence[RunProcess]]) -> None:
        """Look at the living processes of all runs. About 20 us a process."""
        with self._lock:
            if len(self._of) >= MAX_OUTPUTS:
                self._of = {path: writer for path, writer in self._of.items() if writer.run in found}
            now: dict[Path, list[OutputWriter]] = {}
            for run, processes in found.items():
                for process in processes:
                    for path in filter(None, {self._file(process, number): None for number in OUTPUT}):
                        now.setdefault(path, []).append(OutputWriter(run, process))
            for path, writers in now.items():
                self._assign(path, writers)

    def files(self) -> dict[Path, OutputWriter]:
        """The last that were found, those of processes that have ended, too."""
        with self._lock:
            return dict(self._of)

    def _assign(self, path: Path, writers: Sequence[OutputWriter]) -> None:
        """The file stays with its run as long as that is among the writers."""
        if any(path.is_relative_to(folder) for folder in self._left_out):
            return
        before = self._of.get(path)
        first = next((writer for writer in writers if before and writer.run == before.run), writers[0])
        of_the_run = sum(writer.run == first.run for writer in self._of.values())
        if before is not None or (of_the_run < MAX_OF_A_RUN and len(self._of) < MAX_OUTPUTS):
            self._of[path] = before if before in writers and before is not None else first

    def _file(self, process: RunProcess, number: str) -> Path | None:
        """A regular file of the process's user that it writes, under the name that it has here: not deleted, in no other mount."""
        descriptor = f"{self._proc}/{process.pid}/fd/{number}"
        with suppress(OSError):
            path = os.readlink(descriptor)  # noqa: PTH115
            opened, here = os.stat(descriptor), os.lstat(path)  # noqa: PTH116
            same = (opened.st_dev, opened.st_ino) == (here.st_dev, here.st_ino) and stat.S_ISREG(here.st_mode)
            theirs = here.st_uid == uid_of(process.pid, self._proc) and is_for_writing(self._proc, process.pid, number)
            if same and theirs and alive(process.pid, process.start_ticks, self._proc):
                return Path(path)
        return None


class ExternalOutputs:
    """The outputs that lie outside the log folder, or have a name that is not read there: whose they are, and which have changed."""

    def __init__(
        self,
        tree: LogTree,
        outputs: Callable[[], Mapping[Path, OutputWriter]],
        offsets: Mapping[str, Offset],
        is_over: Callable[[OutputWriter], bool],
    ) -> None:
        """`is_over` says of a writer whether its process is gone, or its part of the run has ended; `offsets` of the store name those that
        were read before."""
        self._tree, self._tops, self._outputs, self._is_over = tree, tree.tops, outputs, is_over
        texts = [(tree.path_of(key), offset.run) for key, offset in offsets.items() if "entry" in offset.state]
        self._runs = dict([(path, run) for path, run in texts if self._is_left_to_us(path)][-MAX_KNOWN:])
        self._seen: dict[Path, tuple[FileMark, float] | None] = {}
        self._over_s: dict[Path, float] = {}  # when the run that a file is read for was seen to be over
        self._kept_in: set[str] = set()  # runs that had a folder
        self._due_s = 0.0

    def __contains__(self, path: Path) -> bool:
        return path in self._runs

    def known(self) -> list[Path]:
        """Those that an earlier collector has read: what was written since is read."""
        return list(self._runs)

    def place_of(self, path: Path) -> RunPlace | None:
        """The run that it belongs to."""
        run = self._runs.get(path)
        return None if run is None else RunPlace(run, self._tree.path_of(run), False)

    def take(self) -> list[Path]:
        """Those that have changed since last asked."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + EVERY_S
        changed = []
        outputs = self._outputs()
        folders = {
            run: str(self._tree.path_of(run)) for run in {writer.run for writer in outputs.values()}
        }  # a title may be longer than any folder's name
        self._kept_in |= {run for run, folder in folders.items() if os.path.isdir(folder)}  # noqa: PTH112
        for path, writer in outputs.items():
            if writer.run in self._kept_in and not os.path.lexists(folders[writer.run]):
                continue  # who deletes the folder of a run wants no more of it
            if path not in self._runs and self._is_left_to_us(path):
                self._runs[path] = writer.run
            if path not in self._runs or self._waits(path, writer, now_s):
                continue
            if (mark := mark_of(str(path))) != self._seen.get(path):
                self._seen[path] = mark
                changed.append(path)
        return changed

    def _waits(self, path: Path, writer: OutputWriter, now_s: float) -> bool:
        """Whether what was written since may be the next run's. What stands there when its run is first seen to be over is its own."""
        is_another = writer.run != self._runs[path]
        if not is_another and not self._is_over(writer):
            self._over_s.pop(path, None)
            return False
        since_s = self._over_s.setdefault(path, now_s)
        if since_s == now_s:
            return False
        if is_another:
            self._runs[path] = writer.run
            self._seen.pop(path, None)
            del self._over_s[path]
            return False
        return now_s - since_s < NEXT_S

    def look_again(self) -> None:
        """All of them count as changed."""
        self._seen.clear()
        self._due_s = 0.0

    def _is_left_to_us(self, path: Path) -> bool:
        """Whether the log folder's own rules do not read it."""
        top = next((top for top in self._tops if path.is_relative_to(top)), None)
        if top is None:
            return True
        hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
        return hidden or format_of(path) is None


def of_next_run(offset: Offset, run: str) -> Offset:
    """How far a file has been read, for the next run that writes it: what was known of the lines before says nothing of its own."""
    state = {**TextLog.EMPTY, **{name: offset.state[name] for name in KEPT_STATE if name in offset.state}}
    return Offset(offset.path, run, offset.device, offset.inode, offset.offset, 0, 0, 0, "", state)
