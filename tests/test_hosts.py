"""Under which names the dashboard answers, and what a proxy is known by."""

from __future__ import annotations

import re
import socket

from hypothesis import given
from hypothesis import strategies as some

from dashboard.auth.hosts import Access, is_forwarded, refused


@given(some.binary(max_size=60))
def test_no_odd_host_is_ours(host: bytes) -> None:
    names = Access().names()
    why = refused("/", "GET", [(b"host", host)], names, "127.0.0.1", ())
    if not why:
        assert re.fullmatch(rb"(?i)(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", host)


def test_hosts_that_are_named_are_ours() -> None:
    access = Access("192.0.2.7", hosts=("proxy.example",), origins=("https://notebook.example",))
    for host, ok in {
        "proxy.example": True,
        "PROXY.example:443": True,
        "192.0.2.7:8080": True,
        "localhost": True,
        "other.example": False,
        "192.0.2.8": False,
    }.items():
        assert (refused("/", "GET", [(b"host", host.encode())], access.names(), "192.0.2.7", access.origins) == "") is ok, host
    assert socket.gethostname().lower() in access.names() and socket.gethostname().lower() not in Access().names() - {"localhost"}
    named = [(b"host", b"proxy.example"), (b"origin", b"https://notebook.example"), (b"sec-fetch-site", b"cross-site")]
    assert not refused("/api/v1/runs", "POST", named, access.names(), "", access.origins)
    assert refused("/api/v1/runs", "POST", [*named[:1], (b"origin", b"https://evil.example")], access.names(), "", access.origins)


def test_a_plain_browser_is_no_proxy() -> None:
    plain = [b"host", b"user-agent", b"accept", b"cookie", b"connection", b"sec-fetch-site", b"cache-control", b"x-requested-with"]
    assert not is_forwarded([(name, b"") for name in plain])
