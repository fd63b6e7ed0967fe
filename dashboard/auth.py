"""Who asks, and what they may do: each request is the owner's, a viewer's, a writer's or anyone's, and `AuthMiddleware` alone decides what it gets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from access.files import Unwritable
from access.hosts import FOR_PROGRAMS, Access, RawHeaders, host_of, is_forwarded, name_of_origin, refused
from access.http import ABORT
from access.peers import PEER, Peer
from access.roles import OWNERS, Role, RouteNeed, need_of, needs
from access.tokens import RUNS, SECRET, Credential, DamagedTokens, LoginLimiter, TokenError, Tokens

from . import visitors
from .audit import Audit
from .network import path_to
from .visitors import ANYONE, Visitor, grants_of, sentence_of, visitor, without_details

# Login: the form, its code, and the session cookie.

MAX_COOKIES = 8  # are looked at


def cookie_name(headers: RawHeaders, base_path: str = "/") -> str:
    """`deepseek-8080`: of the port in Host, which an SSH tunnel may have changed; with a base path also `deepseek-8080-1a2b3c4d`."""
    host = host_of(headers)
    port = host[1] if host and host[1] else "default"
    path = "" if base_path == "/" else f"-{hashlib.sha256(base_path.encode()).hexdigest()[:8]}"
    return f"deepseek-{port}{path}"


def cookies_of(headers: RawHeaders, base_path: str = "/") -> list[str]:
    """Secrets of sessions, in the order of the header: another program on the host may have set a cookie of our name. What has another form is passed over."""
    name = f"{cookie_name(headers, base_path)}="
    parts = (part.strip() for key, value in headers if key == b"cookie" for part in value.decode("latin-1").split(";"))
    secrets = (part.removeprefix(name) for part in parts if part.startswith(name))
    return [secret for secret in secrets if SECRET.fullmatch(secret)][:MAX_COOKIES]


def set_cookie(headers: RawHeaders, secret: str, seconds: float, *, base_path: str = "/", secure: bool = False) -> str:
    """The value of a Set-Cookie header; without a secret the cookie is deleted."""
    words = [
        f"{cookie_name(headers, base_path)}={secret}",
        f"Path={base_path}",
        f"Max-Age={max(0, int(seconds))}",
        "HttpOnly",
        "SameSite=Lax",
    ]
    return "; ".join([*words, *(["Secure"] if secure else [])])


# The log-in page, which needs no JavaScript: a token or a link is pasted into a field. A link's secret stands behind `#`, which is
# never sent; the page's script puts it into the field. Only the button's POST redeems it: chat programs fetch links, too.

PATH = "/login"
MAX_FORM_BYTES = 16 << 10
MAX_ADDRESS = 4096
UNKNOWN = "This link or token is not known, was used, was revoked, or is over."
OVER = "The link or token with which this browser was logged in was revoked, or is over."
OWNERS_BROWSER = "This browser runs as the owner on the dashboard's machine: it shows the owner's view, also with a link for viewers."
TOO_MANY_LOGINS = "Too many log-ins failed from this address; try again in a minute."
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - DeepSeek Dashboard</title>
<link rel="stylesheet" href="{base}assets/tokens.css"><link rel="stylesheet" href="{base}assets/login.css">
<link rel="icon" href="{base}assets/icon.svg">
<script type="module" src="{base}assets/login.js"></script>
</head>
<body>
<main class="login">
<h1>DeepSeek Dashboard</h1>
<p class="{tone}" role="{role}">{said}</p>
<form method="post" action="{base}login">
<label for="token">Link or token</label>
<input id="token" name="token" type="password" required maxlength="8192" autocomplete="off" spellcheck="false" aria-describedby="help" autofocus>
<input id="next" name="next" type="hidden" value="{next}">
<button type="submit">Open the dashboard</button>
</form>
<p id="help" class="dim">Paste the whole link that you were sent, or a token. The owner of this dashboard prints a link with <code>deepseek-dashboard url</code>,
and makes one for you with <i>Share</i> on any page.</p>
</main>
</body>
</html>
"""


def page_of(said: str, wanted: str, status: int = HTTPStatus.UNAUTHORIZED, *, mistake: bool = True) -> HTMLResponse:
    """Leads to the address that was `wanted` afterwards. `said` stands above the field, without the folders of files: anyone reads it."""
    tone, role = ("said", "alert") if mistake else ("said hint", "status")
    text = PAGE.format(
        tone=tone,
        role=role,
        said=escape(without_details(said)),
        next=escape(safe_path(wanted)),
        base=escape(path_to("/")),
    )
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def safe_path(address: str) -> str:
    """An address of this dashboard, without its base path; of anything else, `/`. `//evil` and `/\\evil` are other hosts to a browser, and
    dots lead out of the base path."""
    parts = address[:MAX_ADDRESS]
    is_ours = (
        parts.startswith("/")
        and not parts.startswith(("//", "/\\", PATH))
        and parts.isprintable()
        and "\\" not in parts
    )
    is_ours = is_ours and not any(
        unquote(part) in (".", "..") for part in parts.partition("?")[0].partition("#")[0].split("/")
    )
    return parts if is_ours and parts.isascii() else "/"


def pasted(text: str) -> tuple[str, str]:
    """The secret and the address of a pasted link: `http://h:8080/login#token=dsk_...&next=%2Fflame -> ("dsk_...", "/flame")`."""
    secret = SECRET.search(text)
    wanted = ""
    if "#" in text:
        wanted = parse_qs(text.partition("#")[2].strip()).get("next", [""])[0]
    return (secret[0] if secret else ""), wanted


def link_of(address: str, secret: str, path: str = "") -> str:
    """`http://h:8080/login#token=dsk_...&next=%2Fflame%3Frun%3Da`"""
    wanted = f"&next={quote(path, safe='')}" if path else ""
    return f"{address.rstrip('/')}{PATH}#token={secret}{wanted}"


def add_routes(app: FastAPI, access: Access, tokens: Tokens, audit: Audit, limit: LoginLimiter) -> None:
    router = APIRouter()

    @router.get(PATH, include_in_schema=False)
    @router.head(PATH, include_in_schema=False)
    @needs(Role.ANYONE)  # a form without data
    def login(next: str = "/") -> Response:
        asking = visitor()
        is_here = asking.role is Role.OWNER and not asking.key
        return page_of(
            tokens.trouble or (OWNERS_BROWSER if is_here else ""), next, HTTPStatus.OK, mistake=bool(tokens.trouble)
        )

    @router.post(PATH, include_in_schema=False)
    @needs(Role.ANYONE)  # answers with a cookie for a secret, and with nothing else
    async def redeem(request: Request) -> Response:
        form = _fields_of(await _body_of(request))
        secret, wanted = pasted(form.get("token", ""))
        wanted = safe_path(wanted or form.get("next", "/"))
        peer = request.scope.get("extensions", {}).get(PEER)
        address = peer.address if peer is not None else ""
        try:
            begun = await run_in_threadpool(tokens.redeem, secret) if secret else None
        except (DamagedTokens, TokenError, Unwritable) as error:
            return page_of(str(error), wanted, HTTPStatus.SERVICE_UNAVAILABLE)
        if begun is None:
            is_much = limit.failed(address)
            status = HTTPStatus.TOO_MANY_REQUESTS if is_much else HTTPStatus.UNAUTHORIZED
            return page_of(TOO_MANY_LOGINS if is_much else tokens.trouble or UNKNOWN, wanted, status)
        session_secret, session = begun
        await run_in_threadpool(audit.add_once, session.of or session.name, address, f"log-in as {session.role}")
        seconds = (session.expires_s or 0) - time.time()
        is_secure = access.is_secure or request.url.scheme == "https"
        cookie = set_cookie(
            request.scope["headers"], session_secret, seconds, base_path=access.base_path, secure=is_secure
        )
        return Response(
            status_code=HTTPStatus.SEE_OTHER,
            headers={"Location": path_to(wanted), "Set-Cookie": cookie, "Cache-Control": "no-store"},
        )

    @router.post("/logout", include_in_schema=False)
    @needs(Role.ANYONE)  # ends the session whose cookie is shown
    async def logout(request: Request) -> Response:
        for secret in cookies_of(request.scope["headers"], access.base_path):
            found = tokens.found(secret, "session")
            if found is not None:
                await run_in_threadpool(tokens.end, found.hash)
        cookie = set_cookie(request.scope["headers"], "", 0, base_path=access.base_path)
        return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": path_to(PATH), "Set-Cookie": cookie})

    app.include_router(router)


def _fields_of(body: bytes) -> dict[str, str]:
    try:
        return {
            name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).items()
        }
    except ValueError:  # more fields than a form of ours has
        return {}


async def _body_of(request: Request) -> bytes:
    """As much as a form may have; what is longer, or breaks off, is no form of ours."""
    body = b""
    with suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                return b""
        return body
    return b""


KEPT = 4096  # addresses
MAX_KEPT_CHARS = 200  # of an address that is worth keeping: those of strangers may be 256 kB


class KnownRoute(NamedTuple):
    """`methods` is empty for a socket, and for what stands for a folder of routes."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    kind: str  # of a scope
    need: RouteNeed


def routes_of(app: FastAPI, others: Mapping[str, RouteNeed]) -> list[KnownRoute]:
    """In the router's order. `others`: by path, what routes need that are not ours to mark."""
    found = []
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        endpoint = getattr(route, "endpoint", None)
        need = others.get(route.path) or (need_of(endpoint) if endpoint is not None else OWNERS)
        kind = "websocket" if "WebSocket" in type(route).__name__ else "http"
        found.append(
            KnownRoute(route.path, route.path_regex, frozenset(getattr(route, "methods", None) or ()), kind, need)
        )
    return found


class RouteMatcher:
    """Asked at each request: the first route that takes path and method, else the first one that takes the path."""

    def __init__(self, routes: list[KnownRoute]) -> None:
        self.routes = routes
        self._kept = lru_cache(KEPT)(self._need)

    def need(self, kind: str, method: str, path: str) -> RouteNeed:
        return self._kept(kind, method, path) if len(path) <= MAX_KEPT_CHARS else self._need(kind, method, path)

    def _need(self, kind: str, method: str, path: str) -> RouteNeed:
        partly: KnownRoute | None = None
        for route in self.routes:
            if route.kind == kind and route.pattern.match(path):
                if not route.methods or method in route.methods:
                    return route.need
                partly = partly or route
        return partly.need if partly else OWNERS


# The headers that keep an answer from being framed, guessed at, kept, or joined by scripts of others.

CSP = b"content-security-policy"
FILES = (
    "/assets/",
    "/_dash-component-suites/",
)  # a hundred for a page: what counts for documents would be 40 kB of them
NOT_KEPT = (b"cache-control", b"no-store")
NOT_EMBEDDED = (
    b"cross-origin-resource-policy",
    b"same-origin",
)  # by pages of other ports, to which browsers without Sec-Fetch give cookies
FIXED = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


def policy_of(script_hashes: Iterable[str] = ()) -> str:
    """Of a page: scripts are files of ours, and the inline ones with these hashes; none is made from text. Styles may be inline."""
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self'", *script_hashes]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "form-action 'self'",
        ]
    )


def script_hash(script: str) -> str:
    """`'sha256-...'` of the text between the tags of an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class SecurityHeaders:
    """Sets them on each answer; a route that sets a policy of its own keeps it, and gets what holds for all besides."""

    def __init__(self, frame_ancestors: Iterable[str] = ()) -> None:
        framed = " ".join(frame_ancestors) or "'none'"
        self._rest = f"frame-ancestors {framed}; object-src 'none'; base-uri 'self'".encode()
        self._usual = policy_of().encode() + b"; " + self._rest

    def headers(self, path: str, given: RawHeaders) -> RawHeaders:
        if path.startswith(FILES):
            return [*given, FIXED[0]]
        own = next((value for name, value in given if name == CSP), b"")
        kept = [(name, value) for name, value in given if name != CSP] if own else given
        is_data = path.startswith(FOR_PROGRAMS)
        of_data = (NOT_EMBEDDED,) if any(name == NOT_KEPT[0] for name, _ in given) else (NOT_KEPT, NOT_EMBEDDED)
        policy = own + b"; " + self._rest if own else self._usual
        return [*kept, *FIXED, (CSP, policy), *(of_data if is_data else ())]

    def sending(self, path: str, send: Send) -> Send:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self.headers(path, list(message.get("headers", ())))}
            await send(message)

        return send_more


class Refusal(NamedTuple):
    status: HTTPStatus
    sentence: str


# Pages of apps elsewhere, of the origins that `--allow-origin` names: they read the API with a viewer's token, and nothing else of theirs counts,
# neither cookies nor that their browser runs as the dashboard's user. The token stands in Authorization or, since browsers send no header
# with a socket, behind PROTOCOL in Sec-WebSocket-Protocol.

PROTOCOL = "deepseek"
READ_BY_APPS = "/api/v1/"
NO_TOKEN = "pages of {0} show a viewer's token here (Authorization: Bearer); make one with: deepseek-dashboard token new NAME. If {0} is a proxy in front of this dashboard, start it with --allow-host {1} as well"
NOT_VIEWER = "an app elsewhere reads with a viewer's token, not with that of {0}; make one with: deepseek-dashboard token new NAME"
ONLY_READS = "pages of {0} may only read " + READ_BY_APPS


class CrossOrigin:
    """What pages of these origins get."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def of(self, headers: RawHeaders) -> str:
        """The app's origin, "" where something else asks."""
        given = next((value.decode("latin-1") for name, value in headers if name == b"origin"), "")
        return given if given in self._origins else ""

    @staticmethod
    def refusal(origin: str, scope: Scope, visitor: Visitor) -> Refusal | None:
        """`visitor` is who shows the token, or anyone."""
        if not scope["path"].startswith(READ_BY_APPS) or scope.get("method", "GET") not in ("GET", "HEAD"):
            return Refusal(HTTPStatus.FORBIDDEN, ONLY_READS.format(origin))
        if visitor.role is Role.ANYONE:
            return Refusal(HTTPStatus.UNAUTHORIZED, NO_TOKEN.format(origin, name_of_origin(origin)))
        if visitor.role is not Role.VIEWER:
            return Refusal(HTTPStatus.FORBIDDEN, NOT_VIEWER.format(f"the {visitor.role.value}"))
        return None

    @staticmethod
    async def answer_preflight(send: Send) -> None:
        headers = [
            (b"access-control-allow-methods", b"GET"),
            (b"access-control-allow-headers", b"authorization"),
            (b"access-control-max-age", b"600"),
        ]
        await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    def sending(origin: str, send: Send) -> Send:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                readable = (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")
                message = {**message, "headers": [*message.get("headers", ()), *readable]}
            await send(message)

        return send_more


# What is open on behalf of a token ends when that does: a revoked or expired one within two seconds.

LOOK_S = 0.5
CLOSE_S = 0.5  # a client that does not read the reason is cut off then
LOG_IN_AGAIN = 4401  # the code of a socket that was closed for it
ENDED = "the token was revoked, or is over; log in again"


class ActiveRequest(NamedTuple):
    key: str
    end: Callable[[], Awaitable[None]]


class ActiveRequests:
    """On the event loop. While any is open, all are looked at twice a second: a stat of `tokens.json`, and a look into a dict each."""

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._open: dict[int, ActiveRequest] = {}
        self._looker: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def during(self, key: str, scope: Scope, send: Send) -> AsyncIterator[None]:
        """The block answers a request of the token or session with this hash."""
        visit = ActiveRequest(key, lambda: _end(scope, send))
        self._open[id(visit)] = visit
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look(), name="visits")
        try:
            yield
        finally:
            self._open.pop(id(visit), None)

    async def _look(self) -> None:
        while self._open:
            await asyncio.sleep(LOOK_S)
            over = [number for number, visit in self._open.items() if not self._holds(visit.key)]
            await asyncio.gather(*(self._open.pop(number).end() for number in over))


async def _end(scope: Scope, send: Send) -> None:
    """With the code by which a page knows why, where it is a socket; the program behind it ends as it does when a client leaves."""
    if scope["type"] == "websocket":
        with suppress(Exception):  # it has not been accepted, or is closing
            async with asyncio.timeout(CLOSE_S):
                await send({"type": "websocket.close", "code": LOG_IN_AGAIN, "reason": ENDED})
                await asyncio.sleep(CLOSE_S)
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()


# The one place that decides, for each request and socket: who asks, what does the route need, and is that allowed.

LOG_IN = "this dashboard needs a token here: send it as Authorization: Bearer, or open {login}; its owner prints a link with: deepseek-dashboard url"
WRONG = "this token is not known, was revoked, or is over; its owner makes one with: deepseek-dashboard token new NAME"
TOO_MANY = "too many log-ins failed from this address; try again in a minute"
OWNERS_ONLY = "only the owner of this dashboard may do that; the token or link in use lets its holder {may}"
MAY = {Role.VIEWER: "look", Role.WRITER: "hand over runs"}
NOT_JSON = "send JSON: Content-Type: application/json"
NO_ORIGIN = "a change with a cookie names its page in Origin; scripts send a token as Authorization: Bearer"
JSON, FORMS = b"application/json", (b"text/plain", b"multipart/form-data", b"application/x-www-form-urlencoded")
UNGATED_FILES = ("/assets/",)


class AuthMiddleware:
    """ASGI middleware; stands before everything else. A decision takes about 10 us, the first one of a connection 50 more."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        tokens: Tokens,
        audit: Audit,
        limit: LoginLimiter,
        others: Mapping[str, RouteNeed],
    ) -> None:
        self._app, self._access, self._tokens, self._audit, self._others = app, access, tokens, audit, others
        self._limit = limit
        self._names = access.names()
        self._policy = SecurityHeaders(access.frame_ancestors)
        self._apps = CrossOrigin(access.foreign_origins)
        self._visits = ActiveRequests(lambda key: tokens.by_key(key, "token", "session") is not None)
        self._matching: RouteMatcher | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        origin = self._apps.of(scope["headers"])
        if origin and scope["type"] == "http":
            send = self._apps.sending(origin, send)
            if scope["method"] == "OPTIONS" and not self._odd_sender(scope):
                await self._apps.answer_preflight(send)
                return
        need = self._need(scope)
        decided = self._decided(scope, need, origin)
        if isinstance(decided, Refusal):
            await self._refuse(decided, scope, receive, send)
            return
        entered = visitors.enter(decided)
        try:
            if scope["type"] == "http":
                send = self._policy.sending(scope["path"], send)
            if decided.key:
                async with self._visits.during(decided.key, scope, send):
                    await self._answer(decided, need, scope, receive, send)
            else:
                await self._answer(decided, need, scope, receive, send)
        finally:
            visitors.leave(entered)

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
            self._matching = RouteMatcher(routes_of(scope["app"], self._others))
        return self._matching.need(scope["type"], scope.get("method", "GET"), scope["path"])

    def _decided(self, scope: Scope, need: RouteNeed, app_origin: str) -> Visitor | Refusal:
        if why := self._odd_sender(scope):
            return Refusal(HTTPStatus.FORBIDDEN, why)
        headers: RawHeaders = scope["headers"]
        visitor = self._visitor(scope, app_origin)
        if isinstance(visitor, Refusal):
            return visitor
        if app_origin and (refusal := self._apps.refusal(app_origin, scope, visitor)):
            return refusal
        if not visitor.may(need):
            return _not_allowed(visitor, need)
        is_change = scope.get("method") == "POST" and need.role is not Role.ANYONE
        if is_change and (why := _odd_change(headers, visitor, need)):
            return Refusal(HTTPStatus.BAD_REQUEST, why)
        return visitor

    def _odd_sender(self, scope: Scope) -> str:
        """Why its Host or Origin is none of ours, in a sentence, or ""."""
        peer: Peer | None = scope.get("extensions", {}).get(PEER)
        ours = peer.our_address if peer is not None else ""
        method = scope.get("method", "GET")
        return refused(scope["path"], method, scope["headers"], self._names, ours, self._access.origins)

    def _visitor(self, scope: Scope, app_origin: str) -> Visitor | Refusal:
        """A token that is shown decides. Else the same user's process on this machine is the owner, whatever its cookies are; else a cookie says.
        Of a page of an app elsewhere only the token counts."""
        headers: RawHeaders = scope["headers"]
        peer: Peer | None = scope.get("extensions", {}).get(PEER)
        secret = _bearer(headers) if scope["type"] == "http" else _bearer(headers) or _socket_token(headers)
        if secret is not None:
            found = self._tokens.found(secret, "token")
            if found is not None:
                return visitor_of(found)
            is_much = self._limit.failed(peer.address if peer is not None else "")
            return (
                Refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY) if is_much else Refusal(HTTPStatus.UNAUTHORIZED, WRONG)
            )
        if app_origin:
            return ANYONE
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
        is_page = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith((*FOR_PROGRAMS, *UNGATED_FILES))
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


def _socket_token(headers: RawHeaders) -> str | None:
    """`Sec-WebSocket-Protocol: deepseek, dsk_...`"""
    offered = [
        part.strip()
        for name, value in headers
        if name == b"sec-websocket-protocol"
        for part in value.decode("latin-1").split(",")
    ]
    return offered[1] if len(offered) == 2 and offered[0] == PROTOCOL else None


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
