"""Who gets what: every route and the socket, as each kind of client. A route that is added is asked here the day it is."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import websockets
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.routing import iter_route_contexts

from collectors.records import Points, labels_of
from collectors.store.open import open_store
from dashboard.auth.audit import Audit
from dashboard.auth.cookies import cookie_name
from dashboard.auth.gate import Gate
from dashboard.auth.hosts import Access
from dashboard.auth.limit import LogInLimit
from dashboard.auth.matching import KnownRoute, Matching, routes_of
from dashboard.auth.roles import Role, needs
from dashboard.auth.tokens import Tokens
from dashboard.queries import Queries
from dashboard.server import NEEDS_OF_OTHERS, make_app
from tests.conftest import wait_for
from tests.other_clients import NOBODY, PROXIED, Asked, Got, ask, ask_elsewhere, ask_whole, other_machine, rows
from tests.serving import run, served_app

T0 = 1_764_000_000.0
OPEN = {"/assets/{path:path}", "/_dash-component-suites/{package}/{path:path}", "/healthz", "/login", "/logout"}
WRITERS = {"/api/v1/ingest/{run:path}/{file}"}
OWNERS_READ = {"/api/v1/settings", "/api/v1/forgotten", "/api/v1/alerts", "/api/v1/alerts/history", "/api/v1/tokens"}
GRANTED = {"/api/v1/source", "/api/v1/diff", "/api/v1/export", "/api/v1/report", "/api/v1/processes"}
OF_DASH = {
    "/assets",
    "/_dash-component-suites/{package_name}/{fingerprinted_path:path}",
    "/_favicon.ico",
    "/_dash-ws-callback",
    "{path:path}",
}


class House(NamedTuple):
    port: int
    data_dir: Path
    tokens: Tokens
    secrets: dict[str, str]  # by role, a token each
    routes: list[KnownRoute]
    app: Any


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("auth")
    writer = open_store(folder, write=True)
    writer.append([Points("a", labels_of(host="box"), ("train/loss",), (1.0,), T0 + step, step) for step in range(9)])
    writer.close()
    tokens = Tokens(folder)
    roles = {role.value: tokens.new(f"the-{role}", role, None, {}) for role in (Role.OWNER, Role.VIEWER)}
    roles["writer"] = tokens.new("the-writer", Role.WRITER, None, {"runs": "team/"})
    queries = Queries(open_store(folder, write=False), folder, folder)
    app = make_app(queries, Access("0.0.0.0", hosts=("proxy.example",)))
    with served_app(app, "0.0.0.0") as web:
        yield House(web.port, folder, tokens, roles, routes_of(app, NEEDS_OF_OTHERS), app)
    queries.close()


def concrete(path: str) -> str:
    """`/api/v1/runs/{run:any}/about -> /api/v1/runs/x/about`"""
    return re.sub(r"\{[^}]*\}", "x", path)


def all_asked(house: House) -> list[tuple[KnownRoute, Asked]]:
    """Each method of each route, with a body where one is sent."""
    found = []
    for route in (route for route in house.routes if route.path.startswith("/")):
        for method in sorted(route.methods - {"OPTIONS"}) if route.kind == "http" else ():
            has_body = method in ("POST", "PUT", "PATCH")
            headers = {"Content-Type": "application/json"} if has_body else {}
            found.append((route, Asked(method, concrete(route.path), headers, "{}" if has_body else None)))
    return found


def with_headers(asked: Asked, **headers: str) -> Asked:
    return asked._replace(headers={**asked.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})


def bearer(house: House, role: str) -> str:
    return f"Bearer {house.secrets[role]}"


# -- every route -----------------------------------------------------------------------------------------------------------


def test_the_routes_are_those_of_the_router_and_of_openapi(house: House) -> None:
    known = {route.path for route in house.routes}
    assert known >= {context.original_route.path for context in iter_route_contexts(house.app.routes)}
    documented = house.app.openapi()["paths"]
    assert {re.sub(r":\w+\}", "}", path) for path in known} >= set(documented)


def test_a_role_stands_with_each_route(house: House) -> None:
    """What is open, what writers may, and which questions are the owner's alone: a route more is to be decided here, too."""
    ours = [route for route in house.routes if route.path not in OF_DASH]
    assert {route.path for route in ours if route.need.role is Role.ANYONE} == OPEN
    assert {route.path for route in ours if route.need.role is Role.WRITER} == WRITERS
    reading = {route.path for route in ours if route.need.role is Role.OWNER and "GET" in route.methods}
    assert reading <= {*OWNERS_READ, "/", "/_reload-hash"}  # Dash's own, behind ours of these paths
    assert {route.path for route in ours if route.need.grant} == GRANTED
    changing = [
        route for route in ours if route.methods == {"POST"} and route.path not in {*OPEN, *WRITERS, "/_dash-update-component"}
    ]
    assert changing and all(route.need.role is Role.OWNER for route in changing)
    assert all(route.need.role is Role.OWNER for route in house.routes if route.path in OF_DASH - OPEN)


def test_the_decision_is_about_the_route_that_answers(house: House) -> None:
    """For each address, the router's own choice."""
    matching = Matching(house.routes)
    for route, asked in all_asked(house):
        answering = next(
            each for each in house.routes if each.kind == "http" and each.pattern.match(asked.path) and asked.method in each.methods
        )
        assert matching.need("http", asked.method, asked.path) == answering.need, route


def allowed(role: Role, answering: KnownRoute) -> bool:
    may = {Role.OWNER: set(Role), Role.VIEWER: {Role.VIEWER, Role.ANYONE}, Role.WRITER: {Role.WRITER, Role.ANYONE}}.get(
        role, {Role.ANYONE}
    )
    return answering.need.role in may and not (answering.need.grant and role is not Role.OWNER)


def checked(house: House, role: Role, asked: list[tuple[KnownRoute, Asked]], got: list[Got]) -> None:
    matching = Matching(house.routes)
    refused = {Role.ANYONE: 401}.get(role, 403)
    for (route, question), answer in zip(asked, got, strict=True):
        need = matching.need("http", question.method, question.path)
        said = f"{role} {question.method} {question.path} -> {answer.status} {answer.text[:200]}"
        if allowed(role, route._replace(need=need)):
            assert answer.status not in (401, 403) or "/login" in question.path, said
            assert answer.status < 500, said
        else:
            assert answer.status == refused, said
            assert "Log in" in answer.text or "error" in json.loads(answer.text), said
            assert "train/loss" not in answer.text, said


READING = ("GET", "HEAD", "POST")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.WRITER])
def test_each_route_as_the_holder_of_a_token(house: House, role: Role) -> None:
    asked = [
        (route, with_headers(each, Authorization=bearer(house, role))) for route, each in all_asked(house) if each.method != "HEAD"
    ]
    checked(house, role, asked, [ask(house.port, each) for _, each in asked])


def test_each_question_as_the_owner(house: House) -> None:
    """By a token, from a connection that is not believed."""
    asked = [
        (route, with_headers(each, Authorization=bearer(house, "owner"), **PROXIED))
        for route, each in all_asked(house)
        if each.method == "GET"
    ]
    checked(house, Role.OWNER, asked, [ask(house.port, each) for _, each in asked])


def test_each_route_as_another_local_user(house: House) -> None:
    asked = all_asked(house)
    heads = [(route, each) for route, each in asked if each.method == "HEAD"]
    bodies = [(route, each) for route, each in asked if each.method != "HEAD"]
    checked(house, Role.ANYONE, bodies, as_other_user(house, [each for _, each in bodies]))
    for (_, each), got in zip(heads, as_other_user(house, [each for _, each in heads]), strict=True):
        assert got.status == 401 or any(each.path.startswith(path) for path in ("/assets", "/_dash-comp", "/login")), each


def as_other_user(house: House, asked: list[Asked]) -> list[Got]:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    return ask_elsewhere(house.port, asked, uid=NOBODY)


def test_each_route_as_another_machine(house: House) -> None:
    with other_machine() as found:
        if isinstance(found, str):
            pytest.skip(f"no network namespace here: {found}")
        address, before = found
        asked = [(route, each) for route, each in all_asked(house) if each.method in ("GET", "POST")]
        checked(house, Role.ANYONE, asked, ask_elsewhere(house.port, [each for _, each in asked], host=address, before=before))
        (token,) = ask_elsewhere(
            house.port, [Asked("GET", "/api/v1/runs", {"Authorization": bearer(house, "viewer")})], host=address, before=before
        )
        assert token.status == 200


def test_each_route_through_a_tunnel_that_looks_like_loopback(house: House) -> None:
    asked = [(route, with_headers(each, **PROXIED)) for route, each in all_asked(house) if each.method in ("GET", "POST")]
    checked(house, Role.ANYONE, asked, [ask(house.port, each) for _, each in asked])


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", "CF-Connecting-IP", "Tailscale-User-Login"])
def test_each_header_of_a_proxy_is_one(house: House, name: str) -> None:
    assert ask(house.port, Asked("GET", "/api/v1/runs", {name: "127.0.0.1"})).status == 401


def test_each_route_under_a_name_that_was_bound_anew(house: House) -> None:
    for host in ("evil.example", f"evil.example:{house.port}", "192.0.2.1", "127.0.0.1.evil.example", "[::2]"):
        for _, each in all_asked(house) if host == "evil.example" else all_asked(house)[:3]:
            got = ask(house.port, with_headers(each, Host=host))
            assert got.status == 403, (host, each, got)


def test_each_route_asked_by_another_sites_page(house: House) -> None:
    """Links lead to pages; anything else is refused, also from another port of this host, which is the same site."""
    for site in ("cross-site", "same-site"):
        for route, each in all_asked(house):
            got = ask(house.port, with_headers(each, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate"))
            is_page = route.path in ("/", "/{path:path}", "/login", "/logout", "/assets/{path:path}") and each.method in (
                "GET",
                "HEAD",
            )
            assert got.status == 403 or is_page, (site, each, got)
    for _, each in all_asked(house):
        if each.method == "POST":
            assert ask(house.port, with_headers(each, Origin="http://evil.example")).status == 403
            assert ask(house.port, with_headers(each, Origin="null")).status == 403


def test_a_form_of_another_site_is_no_change(house: House) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        got = ask(house.port, Asked("POST", "/api/v1/settings", {"Content-Type": kind}, '{"currency": "USD"}'))
        assert got.status == 400 and "application/json" in got.text


@pytest.mark.parametrize("over", ["expired", "revoked", "rotated", "unknown", "malformed", "session"])
def test_each_question_with_a_token_that_does_not_hold(house: House, over: str) -> None:
    """Also from this user's own process: a token that is shown decides."""
    tokens = house.tokens
    match over:
        case "expired":
            secret = tokens.new("short", Role.OWNER, time.time() + 0.01, {})
            time.sleep(0.02)
        case "revoked" | "rotated":
            secret = tokens.new(over, Role.OWNER, None, {})
            tokens.revoke(over) if over == "revoked" else tokens.rotate(over)
        case "session":  # is good in a cookie only
            begun = tokens.redeem(house.secrets["owner"])
            assert begun
            secret = begun[0]
        case _:
            secret = "dsk_" + "A" * 43 if over == "unknown" else "x"
    for _, each in all_asked(house):
        if each.method == "GET":
            got = ask(house.port, with_headers(each, Authorization=f"Bearer {secret}"))
            assert got.status in (401, 429), (each, got)


# -- the socket ------------------------------------------------------------------------------------------------------------


async def state_of(house: House, path: str = "/api/v1/live", **headers: str) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with websockets.connect(f"ws://127.0.0.1:{house.port}{path}", additional_headers=given) as socket:
        return json.loads(await asyncio.wait_for(socket.recv(), 20))


def test_the_socket_is_for_owners_and_viewers(house: House) -> None:
    assert run(state_of(house))["log_dir"] == str(house.data_dir)
    assert run(state_of(house, Authorization=bearer(house, "viewer"), **PROXIED))["log_dir"] == f"…/{house.data_dir.name}"
    for headers in (
        PROXIED,
        {"Authorization": bearer(house, "writer")},
        {"Authorization": "Bearer dsk_" + "B" * 43},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        with pytest.raises(websockets.InvalidStatus):
            run(state_of(house, **headers))
    with pytest.raises(websockets.InvalidStatus):  # Dash's own
        run(state_of(house, "/_dash-ws-callback", Authorization=bearer(house, "viewer"), **PROXIED))


def test_the_socket_of_another_local_user_is_refused(house: House) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert as_other_user(house, [Asked("GET", "/api/v1/live", handshake)])[0].status == 403
    handshake["Authorization"] = bearer(house, "viewer")
    assert as_other_user(house, [Asked("GET", "/api/v1/live", handshake)])[0].status in (0, 101)


@pytest.mark.parametrize("how", ["revoked", "rotated", "expired", "damaged"])
def test_a_socket_ends_within_two_seconds_of_its_token(house: House, how: str) -> None:
    tokens = house.tokens
    expires_s = time.time() + 1.5 if how == "expired" else None
    secret = tokens.new(f"socket-{how}", Role.VIEWER, expires_s, {})

    async def closed() -> tuple[int, float]:
        headers = {"Authorization": f"Bearer {secret}"}
        async with websockets.connect(f"ws://127.0.0.1:{house.port}/api/v1/live", additional_headers=headers) as socket:
            await socket.recv()
            begun_s, before = time.time(), b""
            match how:
                case "revoked":
                    tokens.revoke(f"socket-{how}")
                case "rotated":
                    tokens.rotate(f"socket-{how}")
                case "expired":
                    begun_s = expires_s or 0.0
                case _:
                    before = tokens.path.read_bytes()
                    tokens.path.write_bytes(b"{")
            try:
                async with asyncio.timeout(10):
                    while True:
                        await socket.recv()
            except websockets.ConnectionClosed as error:
                return error.rcvd.code if error.rcvd else 0, time.time() - begun_s
            finally:
                if before:
                    tokens.path.write_bytes(before)

    code, after_s = run(closed())
    assert code == 4401 and after_s < 2.0


def test_a_long_answer_ends_within_two_seconds_of_its_token(tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/slow")
    @needs(Role.VIEWER)
    async def slow() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"part"
                await asyncio.sleep(0.05)

        return StreamingResponse(parts())

    tokens = Tokens(tmp_path)
    app.add_middleware(Gate, access=Access(), tokens=tokens, audit=Audit(tmp_path), limit=LogInLimit(), others={})
    secret = tokens.new("long", Role.VIEWER, None, {})
    with served_app(app) as web, closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)) as connection:
        connection.request("GET", "/slow", headers={"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        assert answer.read(4) == b"part"
        tokens.revoke("long")
        begun_s = time.monotonic()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert time.monotonic() - begun_s < 2.0


# -- logging in ------------------------------------------------------------------------------------------------------------


def log_in(house: House, text: str, **fields: str) -> tuple[Got, dict[str, str]]:
    """The answer and its headers."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", **PROXIED}
    return ask_whole(house.port, Asked("POST", "/login", headers, urlencode({"token": text, **fields})))


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
    assert ask(house.port, Asked("POST", "/api/v1/settings", {**cookie, "Content-Type": "application/json"}, "{}")).status == 400
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


def test_nothing_secret_is_kept(house: House) -> None:
    kept = house.tokens.path.read_text() + (house.data_dir / "audit.jsonl").read_text()
    assert "dsk_" not in kept and all(secret not in kept for secret in house.secrets.values())
    assert house.tokens.path.stat().st_mode & 0o777 == 0o600 and (house.data_dir / "audit.jsonl").stat().st_mode & 0o777 == 0o600


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
    found = wait_for(lambda: [row for row in rows(path) if row["what"] == "POST /api/v1/settings" and row["who"] == "the-owner"])
    assert found[-1]["from"] == "127.0.0.1" and abs(found[-1]["time_s"] - time.time()) < 60
    assert not [row for row in rows(path) if "GET" in row["what"]]


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "http://evil.example", "/login", "javascript:alert(1)", "/a\r\nX: 1", "\\/evil"]
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


def test_failures_of_one_client_take_nothing_from_others(house: House) -> None:
    statuses = [log_in(house, "dsk_" + "C" * 43)[0].status for _ in range(60)]
    assert statuses[0] in (401, 429) and statuses[-1] == 429
    assert log_in(house, house.secrets["viewer"])[0].status == 303, "a right token is never refused for failures of others"
    assert ask(house.port, Asked("GET", "/healthz", PROXIED)).text in ('{"status":"ok"}', '{"status":"degraded"}')


def test_cookies_are_of_a_port_and_a_base_path() -> None:
    names = {
        cookie_name([(b"host", host)], path)
        for host in (b"localhost:8080", b"localhost:8081", b"localhost")
        for path in ("/", "/a/", "/b/")
    }
    assert len(names) == 9
