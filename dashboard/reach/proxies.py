"""Proxies that are known by name, `--trusted-proxy 10.0.0.2`: they may say from where a request comes, and whether it came by https.

What others say of that is not believed, and a connection that says it needs a token: see `auth/gate.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from ..auth.hosts import RawHeaders
from ..auth.peers import PEER, Peer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

UNIX = "unix"  # the name of what connects by the Unix socket
FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
SECURE = {"http": "https", "ws": "wss"}
MOST_HOPS = 20
KEPT = 1024  # addresses of which it is known

AnyNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def proxy_of(text: str) -> str:
    """An address, a network, or `unix`. Raises ValueError."""
    if text == UNIX:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is no address, network or the word unix; write it as in 10.0.0.2 or 10.0.0.0/24"
        ) from None


class BehindProxy(Peer):
    """A client for which a proxy speaks: it is never our own user, also where we run the proxy."""

    def __init__(self, proxy: Peer, address: str) -> None:
        self._proxy, self._client = proxy, address

    @property
    def is_local(self) -> bool:
        return False

    @property
    def is_unix(self) -> bool:
        return False

    @property
    def address(self) -> str:
        return self._client

    @property
    def our_address(self) -> str:
        return self._proxy.our_address

    def uid(self) -> int | None:
        return None

    def is_us(self) -> bool:
        return False


class TrustedProxies:
    """ASGI middleware, outside of the gate."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._is_unix = UNIX in names
        self._networks: list[AnyNetwork] = [ipaddress.ip_network(name) for name in names if name != UNIX]
        self._is_named = lru_cache(KEPT)(self._lies_in_one)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer: Peer | None = scope.get("extensions", {}).get(PEER)
        if peer is not None and (self._is_unix if peer.is_unix else self._is_named(peer.address)):
            scope = self._as_said(scope, peer)
        await self._app(scope, receive, send)

    def _as_said(self, scope: Scope, peer: Peer) -> Scope:
        headers: RawHeaders = scope["headers"]
        address = self._client_in(headers) or peer.address
        is_secure = _last(headers, PROTO) in ("https", "wss")
        scheme = SECURE.get(scope["scheme"], scope["scheme"]) if is_secure else scope["scheme"]
        client = BehindProxy(peer, address)
        return {**scope, "scheme": scheme, "client": (address, 0), "extensions": {**scope["extensions"], PEER: client}}

    def _client_in(self, headers: RawHeaders) -> str:
        """The last address of X-Forwarded-For that is no proxy of ours: what stands before it is what the client wrote."""
        hops = [hop.strip() for name, value in headers if name == FOR for hop in value.decode("latin-1").split(",")]
        for hop in reversed(hops[-MOST_HOPS:]):
            address = _address_of(hop)
            if address is None:
                return ""
            if not self._is_named(address):
                return address
        return ""

    def _lies_in_one(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def _address_of(hop: str) -> str | None:
    """`192.0.2.7:51324 -> 192.0.2.7`, `[::1]:80 -> ::1`; None of what is no address."""
    text = hop[1:].partition("]")[0] if hop.startswith("[") else hop.partition(":")[0] if hop.count(":") == 1 else hop
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _last(headers: RawHeaders, wanted: bytes) -> str:
    found = [value.decode("latin-1") for name, value in headers if name == wanted]
    return found[-1].rpartition(",")[2].strip().lower() if found else ""
