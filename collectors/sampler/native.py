"""Sample stacks with our own sampler: one resident process for all targets, written in C (native/README.md)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..records import Profile
from . import Target, Trouble, refusal
from .build import find_program
from .resident import Child, Resident
from .stream import Fate, SampleWindow

NAME = "native"
SPOKEN = "The native sampler"
WINDOW_S = 5.0
HURRIED_WINDOW_S = 0.5
RETRY_S = 60.0  # a refused process is tried again
RESTART_S = (0.0, 1.0, 5.0, 60.0)  # after the first, second, ... end in a row of the sampler itself
TROUBLE_AFTER = 3  # ends in a row
SOUND_AFTER_S = 60.0  # an end after this run time starts a new row
RETRY_HUNG_S = 600.0  # a process that hung it: each try may cost all others ten seconds
HANGING = "does not come back from process {pid}: its memory or its files do not answer"
NOT_BUILT = Trouble(
    f"{SPOKEN} was not built on this machine.",
    "sudo apt-get install gcc libc6-dev, then: make setup (or install the dashboard again)",
    other_may=True,
)
OTHER_MAY = {  # reasons to refuse a process that py-spy may not share
    "python": "finds no Python that it knows in process {pid}",
    "version": "does not know Python {detail}, the version of process {pid}",
    "free-threaded": "cannot read the free-threaded Python {detail} of process {pid}",
    "crowd": "has no room for process {pid} ({detail})",
    "stream": "is not understood in what it says of process {pid} ({detail})",
}


@dataclass
class _Followed:
    """A target with its number in the sampler."""

    number: int
    target: Target
    trouble: Trouble | None = None
    retry_at_s: float | None = None  # None while the sampler has it
    hung: bool = False  # the sampler hung on it


class Native:
    """A Sampler. All calls come from one thread."""

    name = NAME

    def __init__(
        self, host: str | None = None, program: Path | None = None, start: Callable[[Path], Resident] = Child
    ) -> None:
        """`program` is the sampler to use, by default the one built beside this file; `start` starts it."""
        self._host, self._start = host or socket.gethostname(), start
        self._given, self._program = program, program or find_program()
        self._resident: Resident | None = None
        self._start_at_s = 0.0
        self._ends = 0  # of the resident process, in a row
        self._broken: Trouble | None = None
        self._numbers = 0
        self._followed: dict[tuple[int, int], _Followed] = {}  # by pid and start ticks
        self._by_number: dict[int, _Followed] = {}  # also released ones, until their last window has arrived
        self._hurry_until_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the resident process."""
        return self._resident.pid if self._resident else None

    def follow(self, targets: Sequence[Target]) -> None:
        wanted = {(target.pid, target.start_ticks): target for target in targets}
        for key in self._followed.keys() - wanted.keys():
            self._send(f"- {self._followed.pop(key).number}")
        for key, target in wanted.items():
            followed = self._followed.get(key)
            if followed is None:
                self._begin(_Followed(0, target))
            elif followed.target != target:
                rate_changed, followed.target = followed.target.hz != target.hz, target
                if rate_changed and followed.retry_at_s is None:
                    self._ask_for(followed)
        self._keep_running()

    def hurry(self, until_mono_s: float) -> None:
        self._hurry_until_s = until_mono_s

    def profiles(self) -> Iterable[Profile]:
        self._keep_running()
        if self._resident is None:
            return []
        messages, end = self._resident.read()
        wall_s = time.time() - time.monotonic_ns() / 1e9
        profiles = [profile for message in messages for profile in self._take(message, wall_s)]
        if end:
            self._ended(end)
            return profiles
        if (number := self._resident.hangs_in()) is not None:
            self._set_aside(number)
            return profiles
        if profiles:
            self._broken = None
        self._retry_refused()
        self._resident.set_window(HURRIED_WINDOW_S if time.monotonic() < self._hurry_until_s else WINDOW_S)
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        general = self._broken or (NOT_BUILT if self._program is None else None)
        return {
            pid: trouble for (pid, _), followed in self._followed.items() if (trouble := general or followed.trouble)
        }

    def retry(self) -> None:
        self._program = self._given or find_program()
        self._start_at_s = 0.0
        for followed in self._followed.values():
            if followed.retry_at_s is not None:
                followed.retry_at_s = 0.0

    def close(self) -> None:
        if self._resident:
            self._resident.close()
            self._resident = None

    def _keep_running(self) -> None:
        """Start the resident process when there is something to follow, and send it everything."""
        if self._resident or not self._followed or self._program is None or time.monotonic() < self._start_at_s:
            return
        try:
            self._resident = self._start(self._program)
        except OSError as error:  # for another machine, or no longer there
            self._ended(str(error))
            return
        self._by_number.clear()
        for followed in list(self._followed.values()):
            if not followed.hung or time.monotonic() >= (followed.retry_at_s or 0.0):
                self._begin(followed)

    def _begin(self, followed: _Followed) -> None:
        """Under a new number: data with an older number is of an earlier attempt, or of another process with its pid."""
        self._numbers += 1
        followed.number, followed.retry_at_s, followed.hung = self._numbers, None, False
        self._followed[followed.target.pid, followed.target.start_ticks] = followed
        self._by_number[followed.number] = followed
        self._ask_for(followed)

    def _ask_for(self, followed: _Followed) -> None:
        target = followed.target
        self._send(f"+ {followed.number} {target.pid} {target.start_ticks} {target.hz:g}")

    def _send(self, command: str) -> None:
        if self._resident:
            self._resident.send(command)

    def _take(self, message: Fate | SampleWindow, wall_s: float) -> list[Profile]:
        """The profiles that a message brings."""
        followed = self._by_number.get(message.target)
        if followed is None:
            return []
        match message:
            case Fate(is_now="attached"):
                followed.trouble = None
            case Fate(is_now="refused"):
                followed.trouble = _trouble(followed.target.pid, message)
                followed.retry_at_s = time.monotonic() + RETRY_S
                if message.reason == "stream":  # the sampler itself has it still
                    self._send(f"- {followed.number}")
            case Fate(is_now="gone"):
                del self._by_number[message.target]
            case SampleWindow():
                profile = _profile(followed.target, message, self._host, wall_s)
                return [profile] if profile else []
        return []

    def _retry_refused(self) -> None:
        now_s = time.monotonic()
        for followed in self._followed.values():
            if followed.retry_at_s is not None and now_s >= followed.retry_at_s:
                self._begin(followed)

    def _set_aside(self, number: int) -> None:
        """Drop the process that the sampler hangs on: another sampler continues with all others."""
        self.close()
        followed = self._by_number.get(number)
        if followed is not None:
            followed.trouble = Trouble(f"{SPOKEN} {HANGING.format(pid=followed.target.pid)}.", "")
            followed.retry_at_s, followed.hung = time.monotonic() + RETRY_HUNG_S, True
        self._keep_running()

    def _ended(self, why: str) -> None:
        lived_s = self._resident.age_s if self._resident else 0.0
        self.close()
        self._ends = 1 if lived_s > SOUND_AFTER_S else self._ends + 1
        self._start_at_s = time.monotonic() + RESTART_S[min(self._ends, len(RESTART_S)) - 1]
        self._broken = (
            Trouble(f"{SPOKEN} does not run: {why}.", "", other_may=True) if self._ends >= TROUBLE_AFTER else None
        )


def _trouble(pid: int, refused: Fate) -> Trouble | None:
    """In words; None where the process has ended meanwhile."""
    if (text := OTHER_MAY.get(refused.reason)) is None:
        return refusal.trouble(pid, SPOKEN, refused.detail)
    return Trouble(f"{SPOKEN} {text.format(pid=pid, detail=refused.detail)}.", "", other_may=True)


def _profile(target: Target, window: SampleWindow, host: str, wall_s: float) -> Profile | None:
    if window.end_ns <= window.start_ns:
        return None
    return Profile(
        run=target.run,
        rank=target.rank,
        pid=target.pid,
        role=target.role,
        host=host,
        sampler=NAME,
        hz=window.hz,
        start_s=wall_s + window.start_ns / 1e9,
        start_mono_ns=window.start_ns,
        end_mono_ns=window.end_ns,
        threads=window.threads,
        samples=window.spans,
        count=window.samples,
        errors=window.errors,
    )
