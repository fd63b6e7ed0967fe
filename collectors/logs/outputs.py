"""The files that the processes of the runs have open as standard output and error, wherever they lie."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..process.activity import RunProcess
from ..process.proc import PROC, alive, uid_of
from ..process.writers import OUTPUT, is_for_writing

MOST_OF_A_RUN, MOST = 16, 256  # files


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
            if len(self._of) >= MOST:
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
            if of_the_run < MOST_OF_A_RUN and len(self._of) < MOST:
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
