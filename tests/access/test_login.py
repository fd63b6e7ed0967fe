"""Logging in: codes, forms, cookies, the limit, and what is kept of it."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as some

from access.roles import Role
from access.tokens import MAX_OF_ONE, OWN, SECRET, LoginLimiter
from dashboard.auth import _fields_of, cookie_name, pasted, safe_path
from tests.conftest import wait_for
from tests.support.auth_house import House, bearer, log_in
from tests.support.auth_house import house as house  # a fixture
from tests.support.other_clients import PROXIED, Asked, ask, rows


def test_a_code_is_good_for_one_log_in_and_no_get_redeems_it(house: House) -> None:
    code = house.tokens.new("once", Role.OWNER, time.time() + 60, {}, "code")
    for method in ("GET", "HEAD"):
        for path in (f"/login?token={code}", f"/?token={code}", f"/login?next=%2F&token={code}"):
            assert ask(house.port, Asked(method, path, PROXIED)).status in (200, 401)
    assert ask(house.port, Asked("GET", "/api/v1/runs", {"Authorization": f"Bearer {code}"})).status in (401, 429)
    got, headers = log_in(house, f"http://127.0.0.1:{house.port}/login#token={code}&next=%2Fflame%3Frun%3Da")
    assert got.status == 303 and headers["location"] == "/flame?run=a"
    words = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(words) and "Secure" not in words
    assert words[0].startswith(f"deepseek-{house.port}=dsk_") and code not in words[0]
    assert 2_591_000 < int(next(word for word in words if word.startswith("Max-Age=")).split("=")[1]) <= 2_592_000
    cookie = {"Cookie": f"other=1; {words[0]}", **PROXIED}
    assert ask(house.port, Asked("GET", "/api/v1/runs", cookie)).status == 200
    name = words[0].partition("=")[0]
    beside = {"Cookie": f"{name}=dsk_{'x' * 43}; {name}=; {words[0]}", **PROXIED}  # set by another program on this host
    assert ask(house.port, Asked("GET", "/api/v1/runs", beside)).status == 200
    assert (
        ask(house.port, Asked("POST", "/api/v1/settings", {**cookie, "Content-Type": "application/json"}, "{}")).status
        == 400
    )
    mine = {**cookie, "Content-Type": "application/json", "Origin": f"http://127.0.0.1:{house.port}"}
    assert ask(house.port, Asked("POST", "/api/v1/settings", mine, "{}")).status == 200
    assert log_in(house, code)[0].status in (401, 429), "a code is good once"
    assert ask(house.port, Asked("POST", "/logout", cookie)).status == 303
    assert ask(house.port, Asked("GET", "/api/v1/runs", cookie)).status == 401


def test_a_browser_of_a_token_ends_with_it(house: House) -> None:
    secret = house.tokens.new("shared", Role.VIEWER, time.time() + 3600, {})
    _, headers = log_in(house, secret)
    cookie = {"Cookie": headers["set-cookie"].split(";")[0], **PROXIED}
    assert int(headers["set-cookie"].split("Max-Age=")[1].split(";")[0]) <= 3600
    assert ask(house.port, Asked("GET", "/api/v1/runs", cookie)).status == 200
    assert house.tokens.revoke("shared") == 1
    assert ask(house.port, Asked("GET", "/api/v1/runs", cookie)).status == 401


def test_the_log_in_page_says_what_a_browser_was_and_is(house: House) -> None:
    assert "owner&#x27;s view" in ask(house.port, Asked("GET", "/login", {})).text
    assert "owner&#x27;s view" not in ask(house.port, Asked("GET", "/login", PROXIED)).text
    _, headers = log_in(house, house.tokens.new("past", Role.VIEWER, None, {}))
    house.tokens.revoke("past")
    cookie = {"Cookie": headers["set-cookie"].split(";")[0], **PROXIED}
    assert "was revoked, or is over" in ask(house.port, Asked("GET", "/flame", cookie)).text
    assert "was revoked, or is over" not in ask(house.port, Asked("GET", "/flame", PROXIED)).text


def test_nothing_secret_is_kept(house: House) -> None:
    kept = house.tokens.path.read_text() + (house.data_dir / "audit.jsonl").read_text()
    assert "dsk_" not in kept and all(secret not in kept for secret in house.secrets.values())
    assert (
        house.tokens.path.stat().st_mode & 0o777 == 0o600
        and (house.data_dir / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    )


def test_a_change_leaves_a_line_and_a_question_none(house: House) -> None:
    ask(
        house.port,
        Asked(
            "POST",
            "/api/v1/settings",
            {"Content-Type": "application/json", "Authorization": bearer(house, "owner")},
            '{"currency": "EUR"}',
        ),
    )
    ask(house.port, Asked("GET", "/api/v1/settings"))
    path = house.data_dir / "audit.jsonl"
    found = wait_for(
        lambda: [row for row in rows(path) if row["what"] == "POST /api/v1/settings" and row["who"] == "the-owner"]
    )
    assert found[-1]["from"] == "127.0.0.1" and abs(found[-1]["time_s"] - time.time()) < 60
    assert not [row for row in rows(path) if "GET" in row["what"]]


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "/\\evil.example",
        "http://evil.example",
        "/login",
        "javascript:alert(1)",
        "/a\r\nX: 1",
        "\\/evil",
    ],
)
def test_a_log_in_leads_nowhere_else(house: House, wanted: str) -> None:
    secret = house.secrets["viewer"]
    for got, headers in (
        log_in(house, secret, next=wanted),
        log_in(house, f"http://h/login#{urlencode({'token': secret, 'next': wanted})}"),
    ):
        assert got.status == 303 and headers["location"] == "/" and "x" not in headers


def test_a_page_that_needs_a_log_in_shows_the_form_and_leads_back(house: House) -> None:
    got = ask(house.port, Asked("GET", "/flame?run=a%20b&from=1", PROXIED))
    assert got.status == 401 and 'value="/flame?run=a%20b&amp;from=1"' in got.text and "<form" in got.text
    assert json.loads(ask(house.port, Asked("GET", "/api/v1/runs", PROXIED)).text)["error"].count("token")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "token",
        "token=%ff%fe",
        "&" * 5000,
        "token=" + "x" * 60_000,
        "next=%0d%0aX:1",
        '{"token": 1}',
        "\x00",
        "token=" + "dsk_" + "A" * 43,
    ],
)
def test_an_odd_form_gets_the_form_again(house: House, body: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain", ""):
        got = ask(house.port, Asked("POST", "/login", {"Content-Type": kind, **PROXIED}, body))
        assert got.status in (401, 429) and "<form" in got.text


def test_a_form_that_breaks_off_leaves_no_traceback(house: House, caplog: pytest.LogCaptureFixture) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: localhost:{house.port}\r\nVia: 1.1 proxy\r\n"
    for rest in ("Content-Length: 100\r\n\r\ntoken=", "Transfer-Encoding: chunked\r\n\r\n6\r\ntoken=\r\nzz\r\n"):
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.sendall(f"{head}{rest}".encode())
            client.shutdown(socket.SHUT_WR)
            client.settimeout(20)
            while client.recv(4096):
                pass
    assert ask(house.port, Asked("GET", "/healthz", PROXIED)).status == 200
    assert not [record for record in caplog.records if record.exc_info]


def test_requests_that_are_none_do_not_fill_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.sendall(b"no request\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_the_form_names_no_folder_to_strangers(house: House) -> None:
    before = house.tokens.path.read_bytes()
    house.tokens.path.write_bytes(b"{")
    try:
        got = [log_in(house, "dsk_" + "D" * 43)[0]]
        got += [ask(house.port, Asked("GET", path, PROXIED)) for path in ("/", "/login")]
    finally:
        house.tokens.path.write_bytes(before)
    assert "…/tokens.json is no JSON" in got[-1].text.encode("latin-1").decode()
    assert not [each for each in got if str(house.data_dir) in each.text]


def test_failures_of_one_client_take_nothing_from_others(house: House) -> None:
    statuses = [log_in(house, "dsk_" + "C" * 43)[0].status for _ in range(60)]
    assert statuses[0] in (401, 429) and statuses[-1] == 429
    assert log_in(house, house.secrets["viewer"])[0].status == 303, (
        "a right token is never refused for failures of others"
    )
    assert ask(house.port, Asked("GET", "/healthz", PROXIED)).text in ('{"status":"ok"}', '{"status":"degraded"}')


def test_cookies_are_of_a_port_and_a_base_path() -> None:
    names = {
        cookie_name([(b"host", host)], path)
        for host in (b"localhost:8080", b"localhost:8081", b"localhost")
        for path in ("/", "/a/", "/b/")
    }
    assert len(names) == 9


@given(some.text(max_size=300))
def test_whatever_is_pasted_is_a_secret_or_none(text: str) -> None:
    secret, wanted = pasted(text)
    assert secret == "" or SECRET.fullmatch(secret)
    path = safe_path(wanted)
    assert (
        path.startswith("/")
        and not path.startswith("//")
        and "\\" not in path
        and path.isprintable()
        and path.isascii()
    )


@given(
    some.binary(max_size=400)
    | some.text(max_size=100).map(lambda text: f"token={text}&next={text}".encode("utf-8", "replace"))
)
def test_any_form_is_read_or_none(body: bytes) -> None:
    fields = _fields_of(body)
    assert all(isinstance(value, str) for value in fields.values())
    pasted(fields.get("token", ""))


def test_others_keep_their_attempts() -> None:
    now = [0.0]
    limit = LoginLimiter(lambda: now[0])
    assert [limit.failed("192.0.2.1") for _ in range(MAX_OF_ONE + 5)].count(True) == 5
    for number in range(200):  # many addresses use up what is shared
        for _ in range(20):
            limit.failed(f"198.51.100.{number}")
    assert not any(limit.failed("203.0.113.9") for _ in range(OWN))
    assert sum(limit.failed(f"2001:db8::{number:x}") for number in range(MAX_OF_ONE)) > 0, (
        "a customer's network is one client"
    )
    now[0] = 61.0
    assert not limit.failed("192.0.2.1")
