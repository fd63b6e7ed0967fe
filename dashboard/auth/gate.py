"""The one place that decides, for each request and socket: who asks, what does the route need, and is that allowed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

import orjson
from fastapi import Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..reach.base_path import path_to
from . import visitor as visiting
from .audit import Audit
from .cookies import cookies_of
from .credential import RUNS, Credential
from .hosts import FOR_PROGRAMS, Access, RawHeaders, is_forwarded, refused
from .limit import LogInLimit
from .login import OVER, PATH, page_of
from .matching import Matching, routes_of
from .peers import PEER, Peer
from .policy import Policy
from .roles import Role, RouteNeed
from .tokens import Tokens
from .visitor import ANYONE, Visitor, grants_of, sentence_of
from .visits import Visits

LOG_IN = "this dashboard needs a token here: send it as Authorization: Bearer, or open {login}; its owner prints a link with: deepseek-dashboard url"
WRONG = "this token is not known, was revoked, or is over; its owner makes one with: deepseek-dashboard token new NAME"
TOO_MANY = "too many log-ins failed from this address; try again in a minute"
OWNERS_ONLY = "only the owner of this dashboard may do that; the token or link in use lets its holder {may}"
MAY = {Role.VIEWER: "look", Role.WRITER: "hand over runs"}
NOT_JSON = "send JSON: Content-Type: application/json"
NO_ORIGIN = "a change with a cookie names its page in Origin; scripts send a token as Authorization: Bearer"
JSON, FORMS = b"application/json", (b"text/plain", b"multipart/form-data", b"application/x-www-form-urlencoded")
FILES = ("/assets/",)


class Refusal(NamedTuple):
    status: HTTPStatus
    sentence: str


class Gate:
    """ASGI middleware; stands before everything else. A decision takes about 10 us, the first one of a connection 50 more."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        tokens: Tokens,
        audit: Audit,
        limit: LogInLimit,
        others: Mapping[str, RouteNeed],
    ) -> None:
        self._app, self._access, self._tokens, self._audit, self._others = app, access, tokens, audit, others
        self._limit = limit
        self._names = access.names()
        self._policy = Policy(access.frame_ancestors)
        self._visits = Visits(lambda key: tokens.by_key(key, "token", "session") is not None)
        self._matching: Matching | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        need = self._need(scope)
        decided = self._decided(scope, need)
        if isinstance(decided, Refusal):
            await self._refuse(decided, scope, receive, send)
            return
        entered = visiting.enter(decided)
        try:
            if scope["type"] == "http":
                send = self._policy.sending(scope["path"], send)
            if decided.key:
                async with self._visits.during(decided.key, scope, send):
                    await self._answer(decided, need, scope, receive, send)
            else:
                await self._answer(decided, need, scope, receive, send)
        finally:
            visiting.leave(entered)

    async def _answer(self, visitor: Visitor, need: RouteNeed, scope: Scope, receive: Receive, send: Send) -> None:
        """What changes something is noted once it is done."""
        if need.role is not Role.OWNER or not need.audited or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, noting)
        if 0 < status < HTTPStatus.BAD_REQUEST:
            await run_in_threadpool(self._audit.add, visitor.name, address_of(scope), f"POST {scope['path']}")

    def _need(self, scope: Scope) -> RouteNeed:
        if self._matching is None:
            self._matching = Matching(routes_of(scope["app"], self._others))
        return self._matching.need(scope["type"], scope.get("method", "GET"), scope["path"])

    def _decided(self, scope: Scope, need: RouteNeed) -> Visitor | Refusal:
        headers: RawHeaders = scope["headers"]
        peer: Peer | None = scope.get("extensions", {}).get(PEER)
        method = scope.get("method", "GET")
        ours = peer.our_address if peer is not None else ""
        if why := refused(scope["path"], method, headers, self._names, ours, self._access.origins):
            return Refusal(HTTPStatus.FORBIDDEN, why)
        visitor = self._visitor(headers, peer)
        if isinstance(visitor, Refusal):
            return visitor
        if not visitor.may(need):
            return _not_allowed(visitor, need)
        if method == "POST" and need.role is not Role.ANYONE and (why := _odd_change(headers, visitor, need)):
            return Refusal(HTTPStatus.BAD_REQUEST, why)
        return visitor

    def _visitor(self, headers: RawHeaders, peer: Peer | None) -> Visitor | Refusal:
        """A token that is shown decides. Else the same user's process on this machine is the owner, whatever its cookies are; else a cookie says."""
        if (secret := _bearer(headers)) is not None:
            found = self._tokens.found(secret, "token")
            if found is not None:
                return visitor_of(found)
            is_much = self._limit.failed(peer.address if peer is not None else "")
            return (
                Refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY) if is_much else Refusal(HTTPStatus.UNAUTHORIZED, WRONG)
            )
        if peer is not None and peer.is_us() and not is_forwarded(headers):
            return Visitor(Role.OWNER, f"uid {os.geteuid()}")
        for cookie in cookies_of(headers, self._access.base_path):
            found = self._tokens.found(cookie, "session")
            if found is not None:
                return visitor_of(found)
        return ANYONE

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # the handshake
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence})
            return
        is_page = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith((*FOR_PROGRAMS, *FILES))
        if refusal.status == HTTPStatus.UNAUTHORIZED and is_page and refusal.sentence != WRONG:
            was_in = any(cookies_of(scope["headers"], self._access.base_path))
            response: Response = page_of(self._tokens.trouble or (OVER if was_in else ""), address_in(scope))
        else:
            response = Response(
                orjson.dumps({"error": refusal.sentence}), refusal.status, media_type="application/json"
            )
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = "Bearer"
            elif refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
                response.headers["Retry-After"] = "60"
        await response(scope, receive, self._policy.sending(scope["path"], send))


def visitor_of(credential: Credential) -> Visitor:
    name = f"{credential.of}, {credential.name}" if credential.of else credential.name
    prefix = str(credential.scopes.get(RUNS, "")) if credential.role is Role.WRITER else ""
    return Visitor(credential.role, name, credential.hash, grants_of(credential.scopes), prefix)


def address_of(scope: Scope) -> str:
    """`192.0.2.7`, or of a Unix socket `unix`."""
    peer: Peer | None = scope.get("extensions", {}).get(PEER)
    return "" if peer is None else "unix" if peer.is_unix else peer.address


def address_in(scope: Scope) -> str:
    """`/flame?run=a`, as it was asked for."""
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"], safe="/") + (f"?{query}" if query else "")


def _not_allowed(visitor: Visitor, need: RouteNeed) -> Refusal:
    if visitor.role is Role.ANYONE:
        return Refusal(HTTPStatus.UNAUTHORIZED, LOG_IN.format(login=path_to(PATH)))
    if need.grant and visitor.role is Role.VIEWER and need.role is Role.VIEWER:
        return Refusal(HTTPStatus.FORBIDDEN, sentence_of(need.grant))
    return Refusal(HTTPStatus.FORBIDDEN, OWNERS_ONLY.format(may=MAY[visitor.role]))


def _bearer(headers: RawHeaders) -> str | None:
    """Other schemes are a proxy's."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip().decode("latin-1")
    return None


def _odd_change(headers: RawHeaders, visitor: Visitor, need: RouteNeed) -> str:
    """What a form of another site could send, and what a page of ours never does: why, in a sentence, or ""."""
    given = dict(headers)
    kind = given.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind in FORMS if need.role is Role.WRITER else kind not in (b"", JSON):
        return NOT_JSON
    is_by_cookie = visitor.key and _bearer(headers) is None
    if is_by_cookie and b"origin" not in given and given.get(b"sec-fetch-site") != b"same-origin":
        return NO_ORIGIN
    return ""
