"""Samplers made of others: the preferred one with a fallback, and one above a process that only it may read."""

from __future__ import annotations

import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from access.unix_socket import peer_of

from ..keeper.parent_sampler import ADDRESS
from ..machine.proc import PROC, ancestors, uid_of
from ..records import StackRecording
from . import Sampler, Target, Trouble, native, pyspy
from .native import NativeSampler, RunningSampler

# What a sampler that is made of others passes on to each of them.


class CompositeSampler(ABC):
    """All of a `Sampler` but whom each of the others follows, and what is said of their troubles."""

    @abstractmethod
    def _samplers(self) -> Sequence[Sampler]: ...

    def hurry(self, until_mono_s: float) -> None:
        for sampler in self._samplers():
            sampler.hurry(until_mono_s)

    def profiles(self) -> list[StackRecording]:
        return [profile for sampler in self._samplers() for profile in sampler.profiles()]

    def retry(self) -> None:
        for sampler in self._samplers():
            sampler.retry()

    def close(self) -> None:
        for sampler in self._samplers():
            sampler.close()


# Sample what only a process above it may read, by the sampler that stands there (keeper/parent_sampler.py).

ANSWER_S = 1.0
DESCRIPTORS = 3


class BorrowedSampler(RunningSampler):
    """The sampler above a keeper, until the connection to that keeper is closed."""

    def __init__(self, keeper: int, uid: int | None) -> None:
        """`keeper` is a pid; `uid` whose programs it may start. Raises OSError where it lends nothing."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(ANSWER_S)
        try:
            self._connection.connect(ADDRESS.format(pid=keeper))
            if (peer := peer_of(self._connection)) != (keeper, uid):
                raise PermissionError(f"process {peer.pid} is not the keeper {keeper}")
            _, descriptors, _, _ = socket.recv_fds(self._connection, 1, DESCRIPTORS)
            if len(descriptors) != DESCRIPTORS:
                raise ConnectionError("it is lent to another dashboard")
        except OSError:
            self._connection.close()
            raise
        super().__init__(*descriptors)
        self._number = secrets.randbits(32)
        self._begin = b'["again",%d]\n' % self._number
        self._before: bytes | None = b""  # what came while we wait for our beginning
        self.send(f"r {self._number}")

    def mine(self, data: bytes) -> bytes:
        if self._before is None:
            return data
        before, found, rest = (self._before + data).partition(self._begin)
        self._before = None if found else before[-len(self._begin) :]
        return rest

    def close(self) -> None:
        self._connection.close()
        super().close()


class DelegatingSampler(CompositeSampler):
    """A Sampler: its own process for what that may read, for the rest the ones that keepers lend."""

    name = NativeSampler.name

    def __init__(self, host: str | None = None, plain: NativeSampler | None = None) -> None:
        self._host, self._plain = host, plain or NativeSampler(host)
        self._targets: list[Target] = []
        self._keeper_of: dict[tuple[int, int], int | None] = {}  # by pid and start ticks, of those that were refused
        self._lent: dict[int, NativeSampler] = {}  # by the keeper's pid

    @property
    def pid(self) -> int | None:
        return self._plain.pid

    def follow(self, targets: Sequence[Target]) -> None:
        self._targets = list(targets)
        known = {(target.pid, target.start_ticks) for target in targets}
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if key in known}
        self._share_out()

    def profiles(self) -> list[StackRecording]:
        profiles = super().profiles()
        self._look_for_keepers()
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        return {pid: trouble for sampler in self._samplers() for pid, trouble in sampler.troubles().items()}

    def retry(self) -> None:
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if keeper is not None}
        super().retry()

    def _samplers(self) -> list[NativeSampler]:
        return [self._plain, *self._lent.values()]

    def _look_for_keepers(self) -> None:
        """Of those that our own sampler may not read."""
        refused = {pid for pid, trouble in self._plain.troubles().items() if not trouble.other_may}
        new = [
            target
            for target in self._targets
            if target.pid in refused and (target.pid, target.start_ticks) not in self._keeper_of
        ]
        for target in new:
            self._keeper_of[target.pid, target.start_ticks] = keeper_of(target.pid)
        if any(self._keeper_of[target.pid, target.start_ticks] for target in new):
            self._share_out()

    def _share_out(self) -> None:
        by_keeper: dict[int, list[Target]] = {}
        plain: list[Target] = []
        for target in self._targets:
            keeper = self._keeper_of.get((target.pid, target.start_ticks))
            (by_keeper.setdefault(keeper, []) if keeper else plain).append(target)
        self._plain.follow(plain)
        for keeper in self._lent.keys() - by_keeper.keys():
            self._lent.pop(keeper).close()
        for keeper, targets in by_keeper.items():
            if keeper not in self._lent:
                self._lent[keeper] = NativeSampler(self._host, start=_borrowing(keeper))
            self._lent[keeper].follow(targets)


def _borrowing(keeper: int) -> Callable[[Path], RunningSampler]:
    return lambda _program: BorrowedSampler(keeper, uid_of(keeper))


def keeper_of(pid: int) -> int | None:
    """The nearest process above that lends a sampler, and is of the same user."""
    with suppress(OSError):
        names = {line.rpartition(" ")[2] for line in (PROC / "net/unix").read_text(errors="replace").splitlines()}
        lenders = (above for above in ancestors(pid) if ADDRESS.format(pid=above).replace("\0", "@") in names)
        return next((above for above in lenders if uid_of(above) == uid_of(pid)), None)
    return None


# Give every process to the preferred sampler, and those that it cannot read to the other one.


def choose(wanted: str | None, host: str | None = None) -> FallbackSampler:
    """The sampler that the user named, else the native one with py-spy as fallback."""
    if wanted is None:
        return FallbackSampler(DelegatingSampler(host), pyspy.PySpy(host))
    sampler: Sampler = DelegatingSampler(host) if wanted == native.NAME else pyspy.PySpy(host)
    return FallbackSampler(sampler, because=f"Sampled by {sampler.name} (set by --sampler).")


class _FallbackTarget(NamedTuple):
    """A process that the fallback samples, and why."""

    target: Target
    trouble: Trouble


class FallbackSampler(CompositeSampler):
    """A Sampler made of two. The first one keeps every target, retries by itself, and takes back processes that it can read later."""

    def __init__(self, first: Sampler, fallback: Sampler | None = None, *, because: str = "") -> None:
        """`because`: one sentence for the page on the choice of these two, or ""."""
        self._first, self._fallback, self._because = first, fallback, because
        self._targets: dict[int, Target] = {}
        self._handed: dict[int, _FallbackTarget] = {}  # by pid

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

    def profiles(self) -> list[StackRecording]:
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
        lost = {
            pid: _FallbackTarget(self._targets[pid], trouble) for pid, trouble in troubles.items() if trouble.other_may
        }
        kept = {pid: handed for pid, handed in self._handed.items() if pid not in able or pid in troubles}
        changed = self._handed.keys() != kept.keys() | lost.keys()
        self._handed = {**kept, **lost}
        if changed:
            self._follow_handed()

    def _follow_handed(self) -> None:
        if self._fallback:
            self._fallback.follow([self._targets[pid] for pid in self._handed])
