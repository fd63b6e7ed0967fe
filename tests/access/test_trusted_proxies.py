"""Which headers of a proxy are believed: those of the named ones, and of these the last hop that is none of theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.network import ProxyHeadersMiddleware, proxy_of
from dashboard.queries import Queries
from tests.support.other_clients import Asked, ask, ask_whole
from tests.support.serving import served_app

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def served_behind(folder: Path, *names: str) -> Iterator[tuple[int, Tokens, Path]]:
    open_store(folder, write=True).close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served_app(make_app(queries, Access(proxies=names))) as web:
        yield web.port, Tokens(folder), folder / "audit.jsonl"
    queries.close()


def log_in(port: int, tokens: Tokens, **headers: str) -> dict[str, str]:
    secret = tokens.new(f"t{time.time_ns()}", Role.OWNER, None, {})
    given = {**FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return ask_whole(port, Asked("POST", "/login", given, urlencode({"token": secret})))[1]


def last_from(audit: Path) -> str:
    return str(json.loads(audit.read_text().splitlines()[-1])["from"])


def test_a_named_proxy_says_who_asks(tmp_path: Path) -> None:
    with served_behind(tmp_path, "127.0.0.1") as (port, tokens, audit):
        answer = log_in(port, tokens, X_Forwarded_For="198.51.100.9, 192.0.2.7", X_Forwarded_Proto="https")
        assert last_from(audit) == "192.0.2.7", "what stands before it is what the client wrote itself"
        assert "; Secure" in answer["set-cookie"]
        answer = log_in(port, tokens, X_Forwarded_For="192.0.2.7, 127.0.0.1:4711")
        assert last_from(audit) == "192.0.2.7"
        assert "; Secure" not in answer["set-cookie"]


def test_its_clients_are_never_our_own_user(tmp_path: Path) -> None:
    """Whether or not it says that it is one: a proxy may be run by the dashboard's user."""
    with served_behind(tmp_path, "127.0.0.1") as (port, tokens, _):
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "nonsense"}):
            assert ask(port, Asked("GET", "/api/v1/runs", headers)).status == 401
        bearer = {"Authorization": f"Bearer {tokens.new('script', Role.VIEWER, None, {})}"}
        assert ask(port, Asked("GET", "/api/v1/runs", bearer)).status == 200


@pytest.mark.parametrize("names", [(), ("10.9.8.7", "2001:db8::/32", "unix")])
def test_what_others_say_makes_them_strangers_and_nothing_else(tmp_path: Path, names: tuple[str, ...]) -> None:
    with served_behind(tmp_path, *names) as (port, tokens, audit):
        assert ask(port, Asked("GET", "/api/v1/runs")).status == 200
        for header in (
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Real-IP",
            "Forwarded",
            "Via",
            "CF-Connecting-IP",
            "Tailscale-User-Login",
        ):
            assert ask(port, Asked("GET", "/api/v1/runs", {header: "127.0.0.1"})).status == 401, header
        answer = log_in(port, tokens, X_Forwarded_For="192.0.2.7", X_Forwarded_Proto="https")
        assert last_from(audit) == "127.0.0.1"
        assert "; Secure" not in answer["set-cookie"]


def test_one_client_does_not_use_up_the_log_ins_of_another_behind_it(tmp_path: Path) -> None:
    with served_behind(tmp_path, "127.0.0.0/8") as (port, _, _):
        wrong = Asked("POST", "/login", {**FORM, "X-Forwarded-For": "192.0.2.7"}, "token=wrong")
        statuses = [ask(port, wrong).status for _ in range(40)]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert ask(port, wrong._replace(headers={**FORM, "X-Forwarded-For": "192.0.2.8"})).status == 401


@given(
    st.lists(st.text(st.characters(codec="latin-1"), max_size=30), max_size=4),
    st.text(st.characters(codec="latin-1"), max_size=9),
)
def test_any_header_is_an_address_or_nothing(hops: list[str], proto: str) -> None:
    proxies = ProxyHeadersMiddleware(lambda *_: None, ["127.0.0.1"])  # type: ignore[arg-type, return-value]
    headers = [(b"x-forwarded-for", hop.encode("latin-1")) for hop in hops]
    found = proxies._client_in(headers)
    assert found == "" or any(found in hop or ":" in found for hop in hops)
    assert found != "127.0.0.1"


def test_a_proxy_is_an_address_a_network_or_the_unix_socket() -> None:
    assert [proxy_of(text) for text in ("10.0.0.2", "10.0.0.0/24", "::1", "unix")] == [
        "10.0.0.2/32",
        "10.0.0.0/24",
        "::1/128",
        "unix",
    ]
    for text in ("proxy.example", "10.0.0.1/24", "", "*", "10.0.0"):
        with pytest.raises(ValueError, match="is no address, network or the word unix"):
            proxy_of(text)
