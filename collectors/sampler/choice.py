"""Give every process to the preferred sampler, and those that it cannot read to the other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..records import Profile
from . import Sampler, Target, Trouble, lent, native, pyspy
from .several import Several


def choose(wanted: str | None, host: str | None = None) -> Choice:
    """The sampler that the user named, else the native one with py-spy as fallback."""
    if wanted is None:
        return Choice(lent.Lending(host), pyspy.PySpy(host))
    sampler: Sampler = lent.Lending(host) if wanted == native.NAME else pyspy.PySpy(host)
    return Choice(sampler, because=f"Sampled by {sampler.name} (set by --sampler).")


class _Handed(NamedTuple):
    """A process that the fallback samples, and why."""

    target: Target
    trouble: Trouble


class Choice(Several):
    """A Sampler made of two. The first one keeps every target, retries by itself, and takes back processes that it can read later."""

    def __init__(self, first: Sampler, fallback: Sampler | None = None, *, because: str = "") -> None:
        """`because`: one sentence for the page on the choice of these two, or ""."""
        self._first, self._fallback, self._because = first, fallback, because
        self._targets: dict[int, Target] = {}
        self._handed: dict[int, _Handed] = {}  # by pid

    @property
    def name(self) -> str:
        """The sampler of most trainers."""
        return self._fallback.name if self._fallback and self._speaks_for_most() else self._first.name

    @property
    def why(self) -> str:
        """Why the first one is not used, in one sentence."""
        if not self._handed or not self._fallback:
            return self._because
        reason = next(iter(self._handed.values())).trouble.sentence
        if len(self._handed) == len(self._targets):
            return f"Sampled by {self._fallback.name}: {reason}"
        return f"{len(self._handed)} of {len(self._targets)} processes are sampled by {self._fallback.name}: {reason}"

    def follow(self, targets: Sequence[Target]) -> None:
        self._targets = {target.pid: target for target in targets}
        self._handed = {pid: handed for pid, handed in self._handed.items() if self._same(handed.target)}
        self._first.follow(targets)
        self._follow_handed()

    def profiles(self) -> list[Profile]:
        profiles = super().profiles()
        if self._fallback:
            self._hand_over(able={profile.pid for profile in profiles if profile.sampler == self._first.name})
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        troubles = {pid: trouble for pid, trouble in self._first.troubles().items() if pid not in self._handed}
        return {**troubles, **self._fallback.troubles()} if self._fallback else troubles

    def _samplers(self) -> list[Sampler]:
        return [self._first, self._fallback] if self._fallback else [self._first]

    def _speaks_for_most(self) -> bool:
        """Judged by main processes: workers come and go, and each new one goes to the first sampler until that has tried."""
        mains = [pid for pid, target in self._targets.items() if target.role == "main"]
        return sum(pid in self._handed for pid in mains) > len(mains) / 2

    def _same(self, target: Target) -> bool:
        live = self._targets.get(target.pid)
        return live is not None and live.start_ticks == target.start_ticks

    def _hand_over(self, able: set[int]) -> None:
        """`able`: the processes that the first one has just sampled."""
        troubles = {pid: trouble for pid, trouble in self._first.troubles().items() if pid in self._targets}
        lost = {pid: _Handed(self._targets[pid], trouble) for pid, trouble in troubles.items() if trouble.other_may}
        kept = {pid: handed for pid, handed in self._handed.items() if pid not in able or pid in troubles}
        changed = self._handed.keys() != kept.keys() | lost.keys()
        self._handed = {**kept, **lost}
        if changed:
            self._follow_handed()

    def _follow_handed(self) -> None:
        if self._fallback:
            self._fallback.follow([self._targets[pid] for pid in self._handed])
