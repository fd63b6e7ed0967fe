"""Under which names the dashboard answers, and what a proxy is known by."""

from __future__ import annotations

import argparse
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as some

from access.hosts import Access, is_forwarded, refused
from dashboard.network import host_name


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
        assert (
            refused("/", "GET", [(b"host", host.encode())], access.names(), "192.0.2.7", access.origins) == ""
        ) is ok, host
    assert socket.gethostname().lower() in access.names() and socket.gethostname().lower() not in Access().names() - {
        "localhost"
    }
    named = [(b"host", b"proxy.example"), (b"origin", b"https://notebook.example"), (b"sec-fetch-site", b"cross-site")]
    assert not refused("/api/v1/runs", "POST", named, access.names(), "", access.origins)
    assert refused(
        "/api/v1/runs", "POST", [*named[:1], (b"origin", b"https://evil.example")], access.names(), "", access.origins
    )


def test_a_refusal_names_the_host_that_was_asked() -> None:
    why = refused("/", "GET", [(b"host", b"Box.example:8080")], Access().names(), "127.0.0.1", ())
    assert "--allow-host box.example" in why and ":8080" not in why
    assert "<" not in refused("/", "GET", [(b"host", b"<script>")], Access().names(), "127.0.0.1", ()).replace(
        "<port>", ""
    )


@pytest.mark.parametrize("text", ["http://x", "x:8080", "a b", "", "*", "x/y"])
def test_an_allowed_host_is_a_name(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no name of a host"):
        host_name(text)


def test_names_and_addresses_may_be_allowed() -> None:
    assert [host_name(text) for text in ("Box.example", "192.0.2.7", "::1", "[::1]")] == [
        "box.example",
        "192.0.2.7",
        "::1",
        "[::1]",
    ]


def test_a_plain_browser_is_no_proxy() -> None:
    plain = [
        b"host",
        b"user-agent",
        b"accept",
        b"cookie",
        b"connection",
        b"sec-fetch-site",
        b"cache-control",
        b"x-requested-with",
    ]
    assert not is_forwarded([(name, b"") for name in plain])
