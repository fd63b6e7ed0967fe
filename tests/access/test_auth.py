"""Who gets what: every route, as each kind of client. A route that is added is asked here the day it is."""

from __future__ import annotations

import json
import re
import time
import tracemalloc

import pytest
from fastapi.routing import iter_route_contexts

from access.roles import Role
from dashboard.auth import KnownRoute, RouteMatcher
from tests.support.auth_house import House, as_other_user, bearer, with_headers
from tests.support.auth_house import house as house  # a fixture
from tests.support.other_clients import PROXIED, Asked, Got, ask, ask_elsewhere, other_machine

OPEN = {"/assets/{path:path}", "/_dash-component-suites/{package}/{path:path}", "/healthz", "/login", "/logout"}
WRITERS = {"/api/v1/ingest/{run:path}/{file}"}
OWNERS_READ = {
    "/api/v1/diagnosis",
    "/api/v1/settings",
    "/api/v1/deleted",
    "/api/v1/share",
    "/api/v1/alerts",
    "/api/v1/alerts/history",
    "/api/v1/alerts/notify",
    "/api/v1/tokens",
    "/api/v1/host_processes",
    *(
        f"/api/v1/{noun}"
        for noun in ("jobs", "jobs/signature", "jobs/history", "jobs/slots", "jobs/attempts", "jobs/fifo", "job")
    ),
}
GRANTED = {"/api/v1/source", "/api/v1/diff", "/api/v1/export", "/api/v1/report", "/api/v1/processes"}
OF_DASH = {
    "/assets",
    "/_dash-component-suites/{package_name}/{fingerprinted_path:path}",
    "/_favicon.ico",
    "/_dash-ws-callback",
    "{path:path}",
}


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
        route
        for route in ours
        if route.methods == {"POST"} and route.path not in {*OPEN, *WRITERS, "/_dash-update-component"}
    ]
    assert changing and all(route.need.role is Role.OWNER for route in changing)
    assert all(route.need.role is Role.OWNER for route in house.routes if route.path in OF_DASH - OPEN)


def test_the_decision_is_about_the_route_that_answers(house: House) -> None:
    """For each address, the router's own choice."""
    matching = RouteMatcher(house.routes)
    for route, asked in all_asked(house):
        answering = next(
            each
            for each in house.routes
            if each.kind == "http" and each.pattern.match(asked.path) and asked.method in each.methods
        )
        assert matching.need("http", asked.method, asked.path) == answering.need, route


def test_addresses_of_strangers_take_no_memory(house: House) -> None:
    matching = RouteMatcher(house.routes)
    tracemalloc.start()
    try:
        for number in range(500):
            assert matching.need("http", "GET", f"/{number}" + "x" * 50_000).role is Role.VIEWER
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


def allowed(role: Role, answering: KnownRoute) -> bool:
    may = {Role.OWNER: set(Role), Role.VIEWER: {Role.VIEWER, Role.ANYONE}, Role.WRITER: {Role.WRITER, Role.ANYONE}}.get(
        role, {Role.ANYONE}
    )
    return answering.need.role in may and not (answering.need.grant and role is not Role.OWNER)


def checked(house: House, role: Role, asked: list[tuple[KnownRoute, Asked]], got: list[Got]) -> None:
    matching = RouteMatcher(house.routes)
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
        (route, with_headers(each, Authorization=bearer(house, role)))
        for route, each in all_asked(house)
        if each.method != "HEAD"
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
        assert got.status == 401 or any(each.path.startswith(path) for path in ("/assets", "/_dash-comp", "/login")), (
            each
        )


def test_each_route_as_another_machine(house: House) -> None:
    with other_machine() as found:
        if isinstance(found, str):
            pytest.skip(f"no network namespace here: {found}")
        address, before = found
        asked = [(route, each) for route, each in all_asked(house) if each.method in ("GET", "POST")]
        checked(
            house,
            Role.ANYONE,
            asked,
            ask_elsewhere(house.port, [each for _, each in asked], host=address, before=before),
        )
        (token,) = ask_elsewhere(
            house.port,
            [Asked("GET", "/api/v1/runs", {"Authorization": bearer(house, "viewer")})],
            host=address,
            before=before,
        )
        assert token.status == 200


def test_each_route_through_a_tunnel_that_looks_like_loopback(house: House) -> None:
    asked = [
        (route, with_headers(each, **PROXIED)) for route, each in all_asked(house) if each.method in ("GET", "POST")
    ]
    checked(house, Role.ANYONE, asked, [ask(house.port, each) for _, each in asked])


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Real-IP",
        "Via",
        "CF-Connecting-IP",
        "Tailscale-User-Login",
        "X-Forwarded",
        "CDN-Loop",
        "ngrok-trace",
    ],
)
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
            is_page = route.path in (
                "/",
                "/{path:path}",
                "/login",
                "/logout",
                "/assets/{path:path}",
            ) and each.method in (
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
