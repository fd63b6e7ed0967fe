"""Sample stacks with py-spy: one recorder for each process, which always ends with us."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...process.proc import alive, start_ticks
from ...records import Profile
from .. import Target, Trouble, refusal
from .recorder import NAME, Recorder
from .window import die_with_parent

WINDOW_S = 10.0
HURRIED_WINDOW_S = 2.0
TURN_S = 0.06  # after this time a call starts no recorder and reads no file; the rest waits for the next call
FOLDER_PREFIX = "deepseek-pyspy-"


class PySpy:
    """A Sampler. All calls come from one thread; when that ends, so do the recorders that it started."""

    name = NAME

    def __init__(self, host: str | None = None, program: Path | None = None) -> None:
        """`program` is the py-spy to use; by default the one beside this Python, else the one on the PATH."""
        self._host = host or socket.gethostname()
        self._given, self._program = program, program or find_program()
        _remove_stale_folders()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-{start_ticks(os.getpid())}-"))
        self._recorders: dict[tuple[int, int], Recorder] = {}  # by pid and start ticks
        self._leaving: list[Recorder] = []
        self._missing: dict[int, Trouble] = {}
        self._hurry_until_s = 0.0

    def follow(self, targets: Sequence[Target]) -> None:
        wanted = {(target.pid, target.start_ticks): target for target in targets}
        for key in self._recorders.keys() - wanted.keys():
            recorder = self._recorders.pop(key)
            recorder.leave()
            self._leaving.append(recorder)
        self._missing = {} if self._program else {target.pid: refusal.missing(NAME) for target in targets}
        if self._program is None:
            return
        for key, target in wanted.items():
            if key not in self._recorders:
                self._recorders[key] = Recorder(
                    [*die_with_parent(), str(self._program)], target, self._host, self._folder
                )
            self._recorders[key].target = target  # its rate may have changed

    def hurry(self, until_mono_s: float) -> None:
        self._hurry_until_s = until_mono_s

    def profiles(self) -> Iterable[Profile]:
        until_s = time.monotonic() + TURN_S
        profiles: list[Profile] = []
        for recorder in [*self._recorders.values(), *self._leaving]:
            with _at_its_own_cost(recorder):
                for profile in recorder.finish():
                    profiles.append(profile)
                    if time.monotonic() > until_s:
                        return profiles
        length_s = HURRIED_WINDOW_S if time.monotonic() < self._hurry_until_s else WINDOW_S
        for recorder in self._recorders.values():
            with _at_its_own_cost(recorder):
                recorder.turn(length_s)
            if time.monotonic() > until_s:
                break
        self._let_go()
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        found = {recorder.target.pid: recorder.trouble for recorder in self._recorders.values() if recorder.trouble}
        return {**found, **self._missing}

    def retry(self) -> None:
        self._program = self._given or find_program()
        for recorder in self._recorders.values():
            recorder.retry()

    def close(self) -> None:
        for recorder in [*self._recorders.values(), *self._leaving]:
            recorder.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _let_go(self) -> None:
        for recorder in [recorder for recorder in self._leaving if recorder.idle]:
            recorder.close()
            self._leaving.remove(recorder)


@contextmanager
def _at_its_own_cost(recorder: Recorder) -> Iterator[None]:
    """An error with one process (its files, its trace, py-spy itself) affects that process only."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        recorder.fail(f"{type(error).__name__}: {error}")


def find_program() -> Path | None:
    beside = Path(sysconfig.get_path("scripts")) / NAME
    on_path = shutil.which(NAME)
    return beside if beside.exists() else Path(on_path) if on_path else None


def _remove_stale_folders() -> None:
    """Remove folders of killed collectors; a folder's name says whose it is."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = re.match(r"(\d+)-(\d+)-", folder.name.removeprefix(FOLDER_PREFIX))
        if owner and not alive(int(owner[1]), int(owner[2])):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays
