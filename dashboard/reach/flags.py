"""The flags that say how the dashboard is reached, and what they mean together."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..auth.hosts import HOST, Access, bracketed
from .base_path import NONE, base_path_of
from .listening import CannotListen, listen, listen_unix
from .proxies import UNIX, proxy_of

if TYPE_CHECKING:
    from .certificate import Certificate

ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
T = TypeVar("T")


def add_reach_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=port, default=8080, metavar="N", help="TCP port to serve on (default: 8080)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="address to listen on; any but loopback asks each browser for a link or token (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--unix-socket",
        type=Path,
        metavar="PATH",
        help="answer on this Unix socket, too, which is open to your user only",
    )
    parser.add_argument(
        "--allow-host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which it is reached; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="another origin under which browsers open it, e.g. https://proxy.example; links name the first; may be repeated",
    )
    parser.add_argument(
        "--frame-ancestors",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a site whose pages may show it in a frame; may be repeated",
    )
    parser.add_argument(
        "--base-path",
        type=_typed(base_path_of),
        default=NONE,
        metavar="PATH",
        help="path below which it stands, such as /gpu-box/",
    )
    parser.add_argument(
        "--trusted-proxy",
        type=_typed(proxy_of),
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of a proxy, or unix, whose X-Forwarded-For and -Proto are believed; may be repeated",
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="certificate in PEM, for https; read again when it is renewed"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key in PEM, without a password")


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
    from .certificate import BadCertificate, Certificate  # with the ssl module, 20 ms

    certificate = Certificate(path.absolute(), key.absolute())
    try:
        certificate.context()
    except BadCertificate as error:
        raise CannotListen(str(error)) from None
    return certificate


def listening(parsed: argparse.Namespace) -> list[socket.socket]:
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


def port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port between 0 (any free one) and 65535")
    return int(text)


def _typed(read: Callable[[str], T]) -> Callable[[str], T]:
    def typed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed
