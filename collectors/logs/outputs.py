"""The files that the processes of the runs have open as standard output and error, wherever they lie."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..folders import LogTree
from ..machine.proc import PROC, alive, is_for_writing, uid_of
from ..machine.run_state import RunProcess
from ..machine.writers import OUTPUT
from ..records import Offset
from .recognition import format_of
from .runs import RunPlace
from .watch import FileMark, mark_of

MAX_OF_A_RUN, MAX_OUTPUTS = 16, 256  # files
EVERY_S = 0.5  # they are polled
MAX_KNOWN = 256  # of an earlier collector, the newest


class OutputFiles:
    """By file the run whose process has it open; a file stays with its first run. One thread looks, another one reads."""

    def __init__(self, left_out: Collection[Path] = (), proc: Path = PROC) -> None:
        """Files in the folders `left_out` are no outputs."""
        self._left_out, self._proc = tuple(left_out), proc
        self._lock = threading.Lock()
        self._of: dict[Path, str] = {}

    def look(self, found: Mapping[str, Sequence[RunProcess]]) -> None:
        """Look at the living processes of all runs. About 20 us a process."""
        with self._lock:
            if len(self._of) >= MAX_OUTPUTS:
                self._of = {path: run for path, run in self._of.items() if run in found}
            for run, processes in found.items():
                for process in processes:
                    self._look_at(run, process)

    def files(self) -> dict[Path, str]:
        """The last that were found, those of processes that have ended, too."""
        with self._lock:
            return dict(self._of)

    def _look_at(self, run: str, process: RunProcess) -> None:
        for number in OUTPUT:
            path = self._file(process, number)
            if path is None or path in self._of or any(path.is_relative_to(folder) for folder in self._left_out):
                continue
            of_the_run = sum(owner == run for owner in self._of.values())
            if of_the_run < MAX_OF_A_RUN and len(self._of) < MAX_OUTPUTS:
                self._of[path] = run

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
    """The outputs that lie outside the log folder, or have a name that is not read there: which they are, and which have changed."""

    def __init__(self, tree: LogTree, outputs: Callable[[], Mapping[Path, str]], offsets: Mapping[str, Offset]) -> None:
        """`outputs` by run; `offsets` of the store name those that were read before."""
        self._tree, self._tops, self._outputs = tree, tree.tops, outputs
        texts = [(tree.path_of(key), offset.run) for key, offset in offsets.items() if "entry" in offset.state]
        self._runs = dict([(path, run) for path, run in texts if self._is_left_to_us(path)][-MAX_KNOWN:])
        self._seen: dict[Path, tuple[FileMark, float] | None] = {}
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
            run: str(self._tree.path_of(run)) for run in outputs.values()
        }  # a title may be longer than any folder's name
        self._kept_in |= {run for run, folder in folders.items() if os.path.isdir(folder)}  # noqa: PTH112
        for path, run in outputs.items():
            if run in self._kept_in and not os.path.lexists(folders[run]):
                continue  # who deletes the folder of a run wants no more of it
            if path not in self._runs and self._is_left_to_us(path):
                self._runs[path] = run
            if path in self._runs and (mark := mark_of(str(path))) != self._seen.get(path):
                self._seen[path] = mark
                changed.append(path)
        return changed

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
