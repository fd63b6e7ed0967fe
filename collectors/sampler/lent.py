"""Sample what only a process above it may read, by the sampler that stands there (process/above.py)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..process.above import ADDRESS, CREDENTIALS
from ..process.proc import PROC, ancestors, uid_of
from ..records import Profile
from . import Target, Trouble
from .native import Native
from .resident import Resident
from .several import Several

ANSWER_S = 1.0
DESCRIPTORS = 3


class Lent(Resident):
    """The sampler above a keeper, until the connection to that keeper is closed."""

    def __init__(self, keeper: int, uid: int | None) -> None:
        """`keeper` is a pid; `uid` whose programs it may start. Raises OSError where it lends nothing."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(ANSWER_S)
        try:
            self._connection.connect(ADDRESS.format(pid=keeper))
            pid, peer, _ = CREDENTIALS.unpack(
                self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            )
            if (pid, peer) != (keeper, uid):
                raise PermissionError(f"process {pid} is not the keeper {keeper}")
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


class Lending(Several):
    """A Sampler: its own process for what that may read, for the rest the ones that keepers lend."""

    name = Native.name

    def __init__(self, host: str | None = None, plain: Native | None = None) -> None:
        self._host, self._plain = host, plain or Native(host)
        self._targets: list[Target] = []
        self._keeper_of: dict[tuple[int, int], int | None] = {}  # by pid and start ticks, of those that were refused
        self._lent: dict[int, Native] = {}  # by the keeper's pid

    @property
    def pid(self) -> int | None:
        return self._plain.pid

    def follow(self, targets: Sequence[Target]) -> None:
        self._targets = list(targets)
        known = {(target.pid, target.start_ticks) for target in targets}
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if key in known}
        self._share_out()

    def profiles(self) -> list[Profile]:
        profiles = super().profiles()
        self._look_for_keepers()
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        return {pid: trouble for sampler in self._samplers() for pid, trouble in sampler.troubles().items()}

    def retry(self) -> None:
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if keeper is not None}
        super().retry()

    def _samplers(self) -> list[Native]:
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
                self._lent[keeper] = Native(self._host, start=_borrowing(keeper))
            self._lent[keeper].follow(targets)


def _borrowing(keeper: int) -> Callable[[Path], Resident]:
    return lambda _program: Lent(keeper, uid_of(keeper))


def keeper_of(pid: int) -> int | None:
    """The nearest process above that lends a sampler, and is of the same user."""
    with suppress(OSError):
        names = {line.rpartition(" ")[2] for line in (PROC / "net/unix").read_text(errors="replace").splitlines()}
        lenders = (above for above in ancestors(pid) if ADDRESS.format(pid=above).replace("\0", "@") in names)
        return next((above for above in lenders if uid_of(above) == uid_of(pid)), None)
    return None
