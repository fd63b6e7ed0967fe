"""The interface of stack samplers: `pyspy.py` is one, the resident `native.py` the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ..records import StackRecording


class RunRank(NamedTuple):
    """What a process is in one of its runs."""

    run: str
    rank: int


class Target(NamedTuple):
    """One process to sample."""

    run: str
    rank: int
    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat: with the pid, the process's identity on this boot
    role: str  # "main" or "worker"
    hz: float
    also: tuple[RunRank, ...] = ()  # the other runs that the process is of

    @property
    def runs(self) -> tuple[RunRank, ...]:
        return RunRank(self.run, self.rank), *self.also


class Trouble(NamedTuple):
    """Why a process is not sampled, in words for the user."""

    sentence: str
    remedy: str  # one command or one setting for this host; "" where there is none
    other_may: bool = (
        False  # the other sampler may be able to: this one does not know the target's Python, or does not run here
    )


class Sampler(Protocol):
    """Samples the stacks of other processes without stopping them."""

    name: str

    def follow(self, targets: Sequence[Target]) -> None:
        """Replace the targets: new ones are attached, missing ones are released."""

    def hurry(self, until_mono_s: float) -> None:
        """A page watches: deliver with little delay until then (CLOCK_MONOTONIC seconds)."""

    def profiles(self) -> Iterable[StackRecording]:
        """The profiles recorded since the last call, each as of the first run of its target, without blocking."""

    def troubles(self) -> dict[int, Trouble]:
        """By pid, for targets that cannot be sampled."""

    def retry(self) -> None:
        """Try the troubled targets again."""

    def close(self) -> None:
        """Stop all recorders."""
