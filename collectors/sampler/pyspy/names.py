"""The threads of one process: which of the kernel's threads is which of Python's, and its name."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ...process.proc import threads, threads_inside
from .window import end, start

ANSWER_WITHIN_S = 10.0  # it takes 10 ms


class Thread(NamedTuple):
    tid: int  # the kernel's, or Python's where that is not known
    name: str


class ThreadNames:
    """Known from `py-spy dump`, which is asked again only when the kernel's list of threads has changed: it costs 10 ms."""

    def __init__(self, program: list[str], pid: int, folder: Path) -> None:
        self.by_ident: dict[int, Thread] = {}
        self._command = [*program, "dump", "--pid", str(pid), "--nonblocking", "--json"]
        self._pid, self._output = pid, folder / f"{pid}-threads.json"
        self._dump: subprocess.Popen[bytes] | None = None
        self._begun_s = 0.0
        self._seen: frozenset[int] = frozenset()

    def look(self) -> None:
        """Ask for the names of new threads; `poll` takes the answer."""
        now = threads(self._pid)
        if self._dump is None and now != self._seen:
            self._seen, self._begun_s = now, time.monotonic()
            self._dump = start(self._command, self._output)

    def poll(self) -> None:
        if self._dump is None:
            return
        if self._dump.poll() is None and time.monotonic() - self._begun_s < ANSWER_WITHIN_S:
            return
        dump, self._dump = self._dump, None
        if dump.poll() is None:  # read again when the threads change
            end(dump)
        elif dump.returncode == 0:
            found = orjson.loads(self._output.read_bytes())
            here = threads_inside(self._pid)  # py-spy reports the ids that the container knows
            self.by_ident |= {row["thread_id"]: self._thread(row, here) for row in found}
        else:  # the process ended or changed meanwhile
            self._seen = frozenset()

    def _thread(self, row: Mapping[str, Any], here: Mapping[int, int]) -> Thread:
        """Of Python before 3.11 py-spy does not know the kernel's id: there Python's own stands for it, but for the main thread's."""
        tid, name = row["os_thread_id"], row["thread_name"] or ""
        if tid is not None:
            return Thread(here.get(tid, tid), name)
        return Thread(self._pid if name == "MainThread" else row["thread_id"], name)

    def close(self) -> None:
        if self._dump is not None:
            end(self._dump)
        self._output.unlink(missing_ok=True)
