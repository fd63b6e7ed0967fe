"""The application: routes, compression and the order of middleware."""

from __future__ import annotations

import gzip
import html
from importlib import import_module
from pathlib import Path

import zstandard
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from access.hosts import Access
from access.roles import Role, RouteNeed, needs
from access.tokens import LoginLimiter, Tokens
from collectors import VERSION

from . import api, auth, live, static_files
from .admission import ConcurrencyLimit
from .audit import Audit
from .auth import AuthMiddleware, policy_of, script_hash
from .callbacks import CallbackMiddleware
from .network import NONE, BasePathMiddleware, ProxyHeadersMiddleware, path_to
from .pages import add_own, custom, frame, pages
from .pages.page import OF_DASH
from .queries import NotFound, Queries
from .static_files import ASSETS
from .visitors import visitor

FROM_BYTES = 1000
LEVEL = 5
LONG_BYTES = 64_000  # 2 ms of compressing
HUGE_BYTES, HUGE_LEVEL = 4_000_000, 1
ZSTD_LEVEL = (
    3  # points of 2 MB: a tenth of the time of gzip and a third of its bytes, since columns repeat beyond gzip's 32 kB
)


class CompressionMiddleware:
    """ASGI middleware for answers that come whole, long ones in a thread; exports, which come in parts, stay as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            accepted = Headers(scope=scope).get("accept-encoding", "")
            coding = next((coding for coding in ("zstd", "gzip") if coding in accepted), None)
            send = _BodyCompressor(send, coding).send if coding else send
        await self._app(scope, receive, send)


class _BodyCompressor:
    def __init__(self, send: Send, coding: str) -> None:
        self._send, self._coding = send, coding
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, {}
        if start:
            body = message.get("body", b"")
            headers = MutableHeaders(raw=list(start["headers"]))
            if len(body) >= FROM_BYTES and not message.get("more_body") and "content-encoding" not in headers:
                compressed = _COMPRESSED[self._coding]
                body = await run_in_threadpool(compressed, body) if len(body) > LONG_BYTES else compressed(body)
                headers["Content-Encoding"], headers["Content-Length"] = self._coding, str(len(body))
                headers.add_vary_header("Accept-Encoding")
                message = {**message, "body": body}
            await self._send({**start, "headers": headers.raw})
        await self._send(message)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL if len(body) < HUGE_BYTES else HUGE_LEVEL)


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)  # one cannot be shared among threads


_COMPRESSED = {"zstd": _zstd, "gzip": _gzip}


# The web application: FastAPI with our API and socket, and Dash with our pages.

SENTENCE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<script>{theme}</script>
<link rel="stylesheet" href="{base}assets/tokens.css"><link rel="stylesheet" href="{base}assets/docs.css">
<main><h1>{title}</h1><p>{sentence} {links}.</p></main></html>"""
SENTENCE_POLICY = policy_of([script_hash(frame.EARLY)])
MOVED = {"/gpus": "/hosts"}  # addresses of older versions
VIEWERS = RouteNeed(Role.VIEWER)
NEEDS_OF_OTHERS = {  # routes that the framework and Dash add: by path, what they need; what is not here is the owner's
    "/_dash-layout": VIEWERS,
    "/_dash-dependencies": VIEWERS,
    "/_dash-update-component": VIEWERS,  # callbacks only read
}


def make_app(queries: Queries, access: Access | None = None, pages_dir: Path | None = None) -> FastAPI:
    """Nothing runs until it is served. `access`: how it may be reached, on loopback only by default. `pages_dir`: the user's own pages."""
    access = access or Access()
    add_own(custom.own_pages(pages_dir) if pages_dir else ())
    tokens, audit, limit = Tokens(queries.data_dir), Audit(queries.data_dir), LoginLimiter()
    app = FastAPI(title="DeepSeek Dashboard", version=VERSION, openapi_url=None)
    api.register(app, queries, tokens)
    auth.add_routes(app, access, tokens, audit, limit)
    app.include_router(live.routes(queries))
    for package in sorted({name for page in pages() for name in page.packages} - {*OF_DASH}):
        import_module(package)  # Dash serves the browser code of what is imported before it starts
    _before_dash(app)
    if pages_dir:
        custom.add_routes(app, pages_dir)
    dash = frame.DashboardApp(
        __name__,
        server=app,
        backend="fastapi",
        title="DeepSeek Dashboard",
        update_title="",
        assets_folder=str(ASSETS),
        assets_ignore=".*",  # our modules are loaded by the index, as modules
        serve_locally=True,
        requests_pathname_prefix=access.base_path,
        routes_pathname_prefix=NONE,  # it is taken off before
        suppress_callback_exceptions=True,  # the components of a page come with its layout
    )
    dash.backend.websocket_capability = False  # else its renderer opens a socket of its own on every page
    owners = frame.register(dash, queries)
    app.state.dash, app.state.owners_callbacks = dash, owners
    _behind_dash(app)
    app.add_middleware(CallbackMiddleware, dash=dash, owners=owners)
    app.add_middleware(ConcurrencyLimit)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(
        AuthMiddleware, access=access, tokens=tokens, audit=audit, limit=limit, others=NEEDS_OF_OTHERS
    )  # stands before everything that answers
    if access.proxies:
        app.add_middleware(ProxyHeadersMiddleware, names=access.proxies)
    if access.base_path != NONE:
        app.servers = [{"url": access.base_path.rstrip("/")}]
        app.add_middleware(BasePathMiddleware, base=access.base_path)
    return app


def _before_dash(app: FastAPI) -> None:
    """Instead of Dash's own routes, which answer 500 to a path that they do not know: the first one that matches is taken."""
    static_files.add_routes(app)
    app.add_api_route("/", _page, include_in_schema=False)
    others = [method for method in api.METHODS if method != "POST"]
    app.add_api_route("/_dash-update-component", _no_such_route, methods=others, include_in_schema=False)
    app.add_api_route(
        "/_reload-hash", _no_such_route, methods=api.METHODS, include_in_schema=False
    )  # our pages do not reload themselves


def _behind_dash(app: FastAPI) -> None:
    """Dash would answer every other address with the first page."""
    app.add_api_route("/{path:path}", _page, include_in_schema=False)


@needs(Role.VIEWER)
def _page(request: Request, path: str = "") -> Response:
    page = next((page for page in pages() if page.path == f"/{path}"), None)
    if page is not None and page.owners and visitor().role is not Role.OWNER:
        return _sentence(page.name, "This page is for the owner. These are the pages of your link:", 403)
    shown = page or custom.missing(f"/{path}")
    if shown is not None:
        dash = request.app.state.dash
        headers = {"Content-Security-Policy": dash.policy}
        return HTMLResponse(dash.page_index(shown, request), 404 if page is None else 200, headers=headers)
    if (moved := MOVED.get(f"/{path}")) is not None:
        query = request.url.query
        return RedirectResponse(path_to(moved) + (f"?{query}" if query else ""), 308)
    return _sentence("No such page", f"There is no page /{path}. These are the pages:", 404)


def _sentence(title: str, sentence: str, status: int) -> Response:
    """A page of one sentence and the links to the pages, in the reader's theme."""
    body = SENTENCE.format(
        title=html.escape(title),
        sentence=html.escape(sentence),
        theme=frame.EARLY,
        base=html.escape(path_to("/")),
        links=_links(),
    )
    return HTMLResponse(body, status, headers={"Content-Security-Policy": SENTENCE_POLICY})


def _links() -> str:
    shown = [page for page in pages() if not page.owners or visitor().role is Role.OWNER]
    return ", ".join(f'<a href="{html.escape(path_to(page.path))}">{html.escape(page.name)}</a>' for page in shown)


@needs(Role.VIEWER)
def _no_such_route(request: Request) -> Response:
    raise NotFound(f"no route {request.url.path}; /api/docs lists them")
