"""Under which names the dashboard answers: what stands in Host and Origin is checked, against DNS rebinding and requests of other sites."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..reach.certificate import Certificate

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?")  # a Host header in full
FOREIGN = "this dashboard does not answer under the name {0}; open it as http://localhost:<port>, or start it with --allow-host {0}"
NO_HOST = "the request names no host, or not one alone; open the dashboard as http://localhost:<port>"
OTHER_ORIGIN = "another site's page asked; open the address yourself, or start the dashboard with --allow-origin"
CROSS_SITE = "another site's page asked; open the address yourself"
FOR_PROGRAMS = ("/api/", "/healthz", "/metrics", "/openapi.json", "/_")
FORWARDED = (
    b"x-forwarded-",
    b"x-proxy",
    b"x-original-",
    b"x-real-ip",
    b"x-client-ip",
    b"x-envoy-",
    b"cf-",
    b"tailscale-",
    b"fly-",
    b"true-client-ip",
    b"x-cluster-client-ip",
    b"x-originating-ip",
    b"x-remote-",
    b"x-amzn-",
    b"x-azure-",
    b"x-appengine-",
    b"x-cloud-trace",
    b"x-github-",
    b"x-nginx-",
    b"fastly-",
    b"ngrok-",
)  # how headers of proxies and tunnels begin
EXACT = (b"forwarded", b"via", b"x-forwarded", b"client-ip", b"cdn-loop")


@dataclass(frozen=True)
class Access:
    """How the dashboard may be reached. `host` is what it listens on; `hosts` and `origins` are allowed besides."""

    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()  # pages of these origins may show ours in a frame
    base_path: str = "/"
    certificate: Certificate | None = None  # of its own, for https
    proxies: tuple[str, ...] = ()  # addresses and networks whose forwarded headers are believed, and "unix"

    @property
    def is_secure(self) -> bool:
        return self.certificate is not None

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    def names(self) -> frozenset[str]:
        """All that Host may say besides the address at which a connection arrived, in lower case."""
        own = () if self.is_loopback else (self.host, socket.gethostname())
        return frozenset(bracketed(name).lower() for name in (*LOOPBACK, *own, *self.hosts) if name)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def bracketed(host: str) -> str:
    """`::1 -> [::1]`"""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def host_of(headers: RawHeaders) -> tuple[str, str] | None:
    """`localhost:8080 -> ("localhost", "8080")`; None where there is not exactly one."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return (found[1].lower(), found[2] or "") if found else None


def refused(
    path: str, method: str, headers: RawHeaders, names: frozenset[str], our_address: str, origins: tuple[str, ...]
) -> str:
    """Why, in a sentence, or "". A page of another site may link to our pages, but not read or load what is for programs."""
    host = host_of(headers)
    if host is None:
        return NO_HOST
    if host[0] not in names and host[0] != bracketed(our_address):
        return FOREIGN.format(host[0])
    place = f"{host[0]}:{host[1]}" if host[1] else host[0]
    is_named = False
    for name, value in headers:
        if name == b"origin":
            origin = value.decode("latin-1")
            is_named = origin in origins
            if not is_named and origin.lower() not in (f"http://{place}", f"https://{place}"):
                return OTHER_ORIGIN
    if is_named:
        return ""
    for name, value in headers:
        if name == b"sec-fetch-site" and value in (b"cross-site", b"same-site"):
            return CROSS_SITE if path.startswith(FOR_PROGRAMS) or method not in ("GET", "HEAD") else ""
    return ""


def is_forwarded(headers: RawHeaders) -> bool:
    """Whether a proxy or a tunnel stands in between, by its own words."""
    return any(name in EXACT or name.startswith(FORWARDED) for name, _ in headers)
