"""Which user's process is at the other end of a connection, as the kernel says.

Of TCP, the peer's own socket is asked for: over netlink (sock_diag, 0.03 ms), else twice from `/proc/net/tcp` and `tcp6` (0.1 to 15 ms, as
long as the table of connections is). A socket that its process has closed already belongs to no user, whatever number the kernel shows: it has
no inode. One whose process only says no more (`shutdown`) still has both. Where a client has hung up, its port may be another user's by now: both
ends are to be open at once, else they are not of one connection.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from .unix_socket import peer_of

PEER = "deepseek.peer"  # the extension of a scope that holds a Peer
ADDRESSES = 4  # numbers of a socket address, at most
LOCALHOST = ("127.0.0.1", "::1")  # RFC 6761; gRPC's own resolver finds both, whatever /etc/hosts says
PROC_NET = Path("/proc/net")

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLMSG_ERROR = 20, 1, 2
ANY_STATE = (1 << 32) - 1
HEADER = struct.Struct("=LHHLL")
REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8  # of enum tcp_state
MAY_READ = (
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
)  # what a client is in, also once it says no more; none that only begins to connect
MAY_WRITE = (ESTABLISHED, CLOSE_WAIT)  # what our end is in then
REPLY = struct.Struct(
    "=4B48x5I"
)  # family, state, timer, retransmissions; the addresses; expires, two queues, uid, inode
NETLINK_S = 0.5

AnyAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
End: TypeAlias = tuple[AnyAddress, int]


class Peer:
    """Of one connection: found out at the first question, and kept as long as it lives."""

    def __init__(self, transport: Any) -> None:
        self._peer = _end(transport.get_extra_info("peername"))
        self._ours = _end(transport.get_extra_info("sockname"))
        self._socket = transport.get_extra_info("socket")
        self._uid: int | None = None
        self._is_known = False
        self._is_us: bool | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can be at the other end: both ends are loopback, or it is a Unix socket."""
        if self.is_unix:
            return True
        return (
            self._peer is not None
            and self._ours is not None
            and self._peer[0].is_loopback
            and self._ours[0].is_loopback
        )

    @property
    def is_unix(self) -> bool:
        return self._socket is not None and self._socket.family == socket.AF_UNIX

    @property
    def address(self) -> str:
        """`"192.0.2.7"`; "" of a Unix socket."""
        return str(self._peer[0]) if self._peer else ""

    @property
    def our_address(self) -> str:
        return str(self._ours[0]) if self._ours else ""

    def uid(self) -> int | None:
        """None where the kernel does not say: another network namespace, another machine, a process that is gone."""
        if not self._is_known:
            self._is_known = True
            with suppress(OSError):
                if self.is_unix:
                    self._uid = _uid_of_unix(self._socket.fileno())
                elif self._peer and self._ours:
                    found = uid_of(self._peer, self._ours)
                    self._uid = (
                        found if _is_open(self._socket.fileno()) else None
                    )  # asked afterwards: a new owner's end is open only once ours is not
        return self._uid

    def is_us(self) -> bool:
        """Whether it is a process of the user that we are. User 65534 stands for all users that a user namespace does not know."""
        if self._is_us is None:
            same = self.is_local and self.uid() == os.geteuid()
            self._is_us = same and (self.uid() != overflow_uid() or knows_all_users())
        return self._is_us


def addresses_of(host: str) -> frozenset[str]:
    """The addresses of a server that listens on `host`; none where nobody knows the name."""
    found = set(LOCALHOST if host == "localhost" else ())
    with suppress(OSError):
        found |= {str(row[4][0]) for row in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return frozenset(found)


def is_ours(address: str, listening: Iterable[str], port: int) -> bool:
    """Whether a process of the user that we are is at the other end of an open connection, where its socket is not at hand.

    `address` is the other end as gRPC writes it: `ipv4:127.0.0.1:40412`, `ipv6:%5B::1%5D:40412`. Our end has one of the addresses in
    `listening`, which need not be that of the other end: a client of 127.0.0.2 usually connects from 127.0.0.1. If the same end is
    connected to several of them, each connection must be our user's.
    """
    kind, _, place = unquote(address).partition(":")
    host, _, number = place.rpartition(":")
    peer = _end((host.strip("[]"), int(number))) if kind in ("ipv4", "ipv6") and number.isdecimal() else None
    if peer is None or not peer[0].is_loopback:
        return False
    uids = set[int]()
    try:
        for ours in filter(None, (_end((each, port)) for each in listening)):
            if ours[0].version == peer[0].version and (uid := uid_of(peer, ours)) is not None:
                if uid_of(ours, peer) is None:  # asked afterwards, as in `Peer.uid`
                    return False
                uids.add(uid)
    except OSError:
        return False
    return uids == {os.geteuid()} and (os.geteuid() != overflow_uid() or knows_all_users())


def uid_of(peer: End, ours: End) -> int | None:
    """The user whose open socket has the local address `peer`, and `ours` as its remote one. Raises OSError."""
    pairs = [(peer, ours)]
    if peer[0].version == 4:  # a client's socket may be of IPv6 while its addresses are IPv4's
        pairs.append((_mapped(peer), _mapped(ours)))
    try:
        found = [_by_netlink(*pair) for pair in pairs]
    except OSError:  # a sandbox without netlink
        found = [_by_table(*pair) for pair in pairs]
    return next((uid for uid in found if uid is not None), None)


def _end(name: Any) -> End | None:
    if not isinstance(name, tuple) or not 2 <= len(name) <= ADDRESSES:
        return None
    try:
        address = ipaddress.ip_address(str(name[0]).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address, int(name[1])


def _mapped(end: End) -> End:
    return ipaddress.IPv6Address(f"::ffff:{end[0]}"), end[1]


def _by_netlink(peer: End, ours: End) -> int | None:
    family = socket.AF_INET if peer[0].version == 4 else socket.AF_INET6
    ports = struct.pack("!HH", peer[1], ours[1])
    addresses = peer[0].packed.ljust(16, b"\0") + ours[0].packed.ljust(16, b"\0")
    asked = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ANY_STATE) + ports + addresses + b"\0" * 4 + b"\xff" * 8
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(NETLINK_S)
        kernel.sendto(HEADER.pack(HEADER.size + len(asked), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + asked, (0, 0))
        answer = kernel.recv(4096)
    if len(answer) < HEADER.size + 4:
        raise OSError("netlink answers too little")
    if HEADER.unpack_from(answer)[1] == NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer, HEADER.size)[0]
        if number == 2:  # ENOENT: there is no such socket here
            return None
        raise OSError(number, os.strerror(number))
    _, state, *_, uid, inode = REPLY.unpack_from(answer, HEADER.size)
    return int(uid) if inode and state in MAY_READ else None


def _by_table(peer: End, ours: End) -> int | None:
    """The kernel reads a row's numbers in no certain order: of a socket that is being closed an inode may stand beside user 0, but
    not twice."""
    first, second = _of_row(peer, ours), _of_row(peer, ours)
    return first if first == second else None


def _of_row(peer: End, ours: End) -> int | None:
    name = "tcp" if peer[0].version == 4 else "tcp6"
    wanted = (_written(peer), _written(ours))
    for fields in _rows(PROC_NET / name):
        if (fields[1], fields[2]) == wanted:
            return int(fields[7]) if fields[9] != "0" and int(fields[3], 16) in MAY_READ else None
    return None


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open() as file:
        next(file, None)
        yield from (fields for line in file if len(fields := line.split()) > 9)


def _written(end: End) -> str:
    """As `/proc/net/tcp` writes it: words of 32 bits in the machine's own order, `127.0.0.1:80 -> "0100007F:0050"`."""
    words = struct.unpack(f"={len(end[0].packed) // 4}I", end[0].packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{end[1]:04X}"


def _is_open(descriptor: int) -> bool:
    """Whether our end of a TCP connection is; then no other connection has both addresses. Raises OSError."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in MAY_WRITE


def _uid_of_unix(descriptor: int) -> int:
    """Of the process that has connected. Raises OSError."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return peer_of(copy).uid


@cache
def overflow_uid() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534


@cache
def knows_all_users() -> bool:
    """Whether each user of the machine has a number of its own here."""
    try:
        return Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
    except OSError:
        return False
