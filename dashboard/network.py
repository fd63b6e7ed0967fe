"""How the dashboard is reached: addresses, base path, proxies, certificate, and the flags for them."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import unquote

from access.hosts import HOST, Access, RawHeaders, bracketed, is_loopback
from access.peers import PEER, Peer
from access.program import port

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from access.hosts import Certificate


# The path below which the dashboard stands, `--base-path /x/`: taken off each request here, and put before each address by `path_to`.
#
# All else knows addresses as they are without it: routes, roles, tokens, and the addresses that a link leads to.

NONE = "/"
FORM = re.compile(r"/(?:(?:[A-Za-z0-9._~@+=,-]|%[0-9A-Fa-f]{2})+/)+")
MAX_CHARS = 500
OUTSIDE = "this dashboard stands below {base}: open that, or start it without --base-path"

_base: ContextVar[str] = ContextVar("base_path", default=NONE)


def base_path_of(text: str) -> str:
    """`x -> /x/`. As browsers write it, with `%20` for a space. Raises ValueError."""
    base = f"/{text.strip('/')}/" if text.strip("/") else NONE
    is_dotted = any(unquote(part) in (".", "..") for part in base.split("/"))
    if base != NONE and (not FORM.fullmatch(base) or is_dotted or len(base) > MAX_CHARS):
        raise ValueError(f"{text!r} is no path of an address; write it as in /gpu-box/")
    return base


def path_to(path: str) -> str:
    """The address of a path of ours for the browser whose request is being answered: `/flame?run=a -> /x/flame?run=a`."""
    base = _base.get()
    return path if base == NONE else f"{base}{path.removeprefix('/')}"


def strip_base_path(address: str) -> str:
    """The other way round: `/x/flame -> /flame`; what stands elsewhere stays."""
    base = _base.get()
    return address.removeprefix(base.rstrip("/")) if address.startswith(base) else address


class BasePathMiddleware:
    """ASGI middleware, outside of all others: takes it off, and answers what stands elsewhere with 404."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app, self._base = app, base
        self._path = unquote(base)
        self._raw = base.rstrip("/").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if not path.startswith(self._path):
            await self._outside(scope, receive, send)
            return
        raw: bytes = scope.get("raw_path") or b""
        scope = {**scope, "path": path[len(self._path) - 1 :], "raw_path": raw.removeprefix(self._raw)}
        entered = _base.set(self._base)
        try:
            await self._app(scope, receive, send)
        finally:
            _base.reset(entered)

    async def _outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse, RedirectResponse, Response

        sentence = OUTSIDE.format(base=self._base)
        if scope["type"] == "websocket":
            await receive()  # the handshake
            await send({"type": "websocket.close", "code": 1008, "reason": sentence})
            return
        if f"{scope['path']}/" == self._path and scope["method"] in ("GET", "HEAD"):
            query = scope["query_string"].decode("latin-1")
            response: Response = RedirectResponse(
                self._base + (f"?{query}" if query else ""), HTTPStatus.TEMPORARY_REDIRECT
            )
        else:
            response = JSONResponse({"error": sentence}, HTTPStatus.NOT_FOUND)
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)


# Proxies that are known by name, `--trusted-proxy 10.0.0.2`: they may say from where a request comes, and whether it came by https.
#
# What others say of that is not believed, and a connection that says it needs a token: see `auth.py`.

UNIX = "unix"  # the name of what connects by the Unix socket
FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
SECURE = {"http": "https", "ws": "wss"}
MAX_HOPS = 20
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


class ProxiedPeer(Peer):
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


class ProxyHeadersMiddleware:
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
        client = ProxiedPeer(peer, address)
        return {**scope, "scheme": scheme, "client": (address, 0), "extensions": {**scope["extensions"], PEER: client}}

    def _client_in(self, headers: RawHeaders) -> str:
        """The last address of X-Forwarded-For that is no proxy of ours: what stands before it is what the client wrote."""
        hops = [hop.strip() for name, value in headers if name == FOR for hop in value.decode("latin-1").split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
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


# Where the dashboard listens: a TCP address, and a Unix socket that only its owner may connect to.

WAITING = 128  # connections that nothing has accepted yet
ANY_ADDRESS = ("0.0.0.0", "::")
LONGEST_PATH = 107  # bytes, of the kernel


class CannotListen(Exception):
    """The text is one sentence with the remedy."""


def listen(host: str, number: int) -> socket.socket:
    """Raises CannotListen if the address is in use or not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if ":" not in host and not is_loopback(host):
        with suppress(OSError):
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, number))
        listener.listen(WAITING)
    except PermissionError:
        listener.close()
        raise CannotListen(f"port {number} is for root only; choose one above 1023 with --port") from None
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {number} is taken; choose another one with: --port {number + 1}") from None
        raise CannotListen(f"cannot listen on {host} ({error.strerror}); leave --host out for 127.0.0.1") from None
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Mode 0600. What an ended dashboard left there is replaced, anything else is not. Raises CannotListen."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise CannotListen(
            f"{path} is too long for a socket ({LONGEST_PATH} bytes at most); give a shorter path with --unix-socket"
        )
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(WAITING)
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {path} ({error.strerror}); give another path with --unix-socket"
        ) from None
    return listener


def _remove_stale(path: Path) -> None:
    """Raises OSError for what is in use, is no socket, or is another user's."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()


def address_of(listener: socket.socket, access: Access) -> str:
    """For programs of this machine: `http://127.0.0.1:8080`, also where it listens on all addresses; `https://127.0.0.1:8080/x`."""
    bound = listener.getsockname()[0]
    return _address(access, {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound), listener)


def public_address_of(listener: socket.socket, access: Access) -> str:
    """For browsers: by the first origin of a proxy that the user named, else by the host; of all addresses, by the machine's name."""
    if access.own_origins:
        return f"{access.own_origins[0]}{access.base_path.rstrip('/')}"
    if access.is_loopback:
        return address_of(listener, access)
    return _address(access, socket.gethostname() if access.host in ANY_ADDRESS else access.host, listener)


def _address(access: Access, name: str, listener: socket.socket) -> str:
    scheme = "https" if access.is_secure else "http"
    return f"{scheme}://{bracketed(name)}:{listener.getsockname()[1]}{access.base_path.rstrip('/')}"


# The flags that say how the dashboard is reached, and what they mean together.

ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
T = TypeVar("T")


def add_reach_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port, default=8080, metavar="N", help="TCP port to serve on (default: 8080)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="address to listen on; any but loopback requires a log-in link or token (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--unix-socket",
        type=Path,
        metavar="PATH",
        help="also listen on this Unix socket, which only your user can open",
    )
    parser.add_argument(
        "--allow-host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="another host name by which browsers reach it; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may read the API with a viewer's token, or, with --allow-host, the origin of your proxy; may be repeated",
    )
    parser.add_argument(
        "--frame-ancestors",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="site whose pages may embed the dashboard in a frame; may be repeated",
    )
    parser.add_argument(
        "--base-path",
        type=_typed(base_path_of),
        default=NONE,
        metavar="PATH",
        help="URL path under which it is served, such as /gpu-box/",
    )
    parser.add_argument(
        "--trusted-proxy",
        type=_typed(proxy_of),
        action="append",
        default=[],
        metavar="ADDRESS",
        help="proxy to trust X-Forwarded-For and -Proto from: address, network or unix; may be repeated",
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="PEM certificate for https; renewals are picked up"
    )
    parser.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="PEM private key of the certificate, without a password"
    )


def access_of(parsed: argparse.Namespace) -> Access:
    """Raises CannotListen."""
    if UNIX in parsed.trusted_proxy and parsed.unix_socket is None:
        raise CannotListen("--trusted-proxy unix needs --unix-socket PATH, to which the proxy connects")
    return Access(
        parsed.host,
        tuple(parsed.allow_host),
        tuple(parsed.allow_origin),
        frame_ancestors=tuple(parsed.frame_ancestors),
        base_path=parsed.base_path,
        certificate=certificate_of(parsed.tls_cert, parsed.tls_key),
        proxies=tuple(parsed.trusted_proxy),
    )


def certificate_of(path: Path | None, key: Path | None) -> Certificate | None:
    """None without flags. Raises CannotListen."""
    if path is None and key is None:
        return None
    if path is None or key is None:
        given, missing = ("--tls-key", "--tls-cert") if path is None else ("--tls-cert", "--tls-key")
        raise CannotListen(f"{given} needs {missing} FILE beside it: a certificate and its key are a pair")
    from access.hosts import BadCertificate, Certificate  # with the ssl module, 20 ms

    certificate = Certificate(path.absolute(), key.absolute())
    try:
        certificate.context()
    except BadCertificate as error:
        raise CannotListen(str(error)) from None
    return certificate


def open_listeners(parsed: argparse.Namespace) -> list[socket.socket]:
    """The TCP address first. Raises CannotListen."""
    found = [listen(parsed.host, parsed.port)]
    if parsed.unix_socket is not None:
        found.append(listen_unix(parsed.unix_socket))
    return found


def host_name(text: str) -> str:
    """As it stands in Host, without a port: `box.example`, `192.0.2.7`, `::1`."""
    found = HOST.fullmatch(bracketed(text) if text.count(":") > 1 else text)
    if found is None or found[2]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a host; write it without http:// and port, as in box.example"
        )
    return text.lower()


def origin(text: str) -> str:
    if not ORIGIN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; write it as in https://proxy.example:8443")
    return text.lower()


def _typed(read: Callable[[str], T]) -> Callable[[str], T]:
    def typed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed
