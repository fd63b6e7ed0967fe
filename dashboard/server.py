"""The web application: FastAPI with our API and socket, and Dash with our pages."""

from __future__ import annotations

import html
from importlib import import_module

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from collectors import VERSION

from . import api, live
from .auth import login
from .auth.audit import Audit
from .auth.gate import Gate
from .auth.hosts import Access
from .auth.limit import LogInLimit
from .auth.roles import Role, RouteNeed, needs
from .auth.tokens import Tokens
from .auth.visitor import visitor
from .browser_files import routes as browser_files
from .browser_files.assets import ASSETS
from .compressing import Compressing
from .pages import callbacks, frame, pages
from .queries import NotFound, Queries
from .reach.base_path import NONE, BasePath, path_to
from .reach.proxies import TrustedProxies
from .turns.turns import Turns

NOT_FOUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No such page</title>
<link rel="stylesheet" href="{base}assets/tokens.css"><link rel="stylesheet" href="{base}assets/docs.css">
<main><h1>No such page</h1><p>There is no page {path}. These are the pages: {links}.</p></main></html>"""


OWNERS_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>
<link rel="stylesheet" href="{base}assets/tokens.css"><link rel="stylesheet" href="{base}assets/docs.css">
<main><h1>{name}</h1><p>This page is the owner's. These are the pages of your link: {links}.</p></main></html>"""
VIEWERS = RouteNeed(Role.VIEWER)
NEEDS_OF_OTHERS = {  # routes that the framework and Dash add: by path, what they need; what is not here is the owner's
    "/openapi.json": VIEWERS,
    "/_dash-layout": VIEWERS,
    "/_dash-dependencies": VIEWERS,
    "/_dash-update-component": VIEWERS,  # callbacks only read; Dash's own route of this path is behind ours
}


def make_app(queries: Queries, access: Access | None = None) -> FastAPI:
    """Nothing runs until it is served. `access`: how it may be reached, on loopback only by default."""
    access = access or Access()
    tokens, audit, limit = Tokens(queries.data_dir), Audit(queries.data_dir), LogInLimit()
    app = FastAPI(title="DeepSeek Dashboard", version=VERSION, docs_url=None, redoc_url=None)
    app.add_middleware(Turns)
    app.add_middleware(Compressing)
    api.register(app, queries, tokens)
    login.add_routes(app, access, tokens, audit, limit)
    app.include_router(live.routes(queries))
    for package in sorted({name for page in pages() for name in page.packages}):
        import_module(package)  # Dash serves the browser code of what is imported before it starts
    _before_dash(app)
    dash = frame.Framed(
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
    frame.register(dash, queries)
    app.state.dash, app.state.callback = dash, callbacks.route(dash)
    _behind_dash(app)
    app.add_middleware(
        Gate, access=access, tokens=tokens, audit=audit, limit=limit, others=NEEDS_OF_OTHERS
    )  # stands before everything that answers
    if access.proxies:
        app.add_middleware(TrustedProxies, names=access.proxies)
    if access.base_path != NONE:
        app.servers = [{"url": access.base_path.rstrip("/")}]
        app.add_middleware(BasePath, base=access.base_path)
    return app


def _before_dash(app: FastAPI) -> None:
    """Instead of Dash's own routes, which answer 500 to a path that they do not know: the first one that matches is taken."""
    browser_files.add_routes(app)
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/_dash-update-component", _callback, methods=["POST"], include_in_schema=False)
    app.add_api_route("/_dash-update-component", _no_such_route, methods=api.METHODS, include_in_schema=False)
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
        return HTMLResponse(
            OWNERS_PAGE.format(base=html.escape(path_to("/")), name=html.escape(page.name), links=_links()), 403
        )
    if page is not None:
        dash = request.app.state.dash
        return HTMLResponse(dash.page_index(page, request), headers={"Content-Security-Policy": dash.policy})
    return HTMLResponse(
        NOT_FOUND.format(base=html.escape(path_to("/")), path=html.escape(f"/{path}"), links=_links()), 404
    )


def _links() -> str:
    shown = [page for page in pages() if not page.owners or visitor().role is Role.OWNER]
    return ", ".join(f'<a href="{html.escape(path_to(page.path))}">{html.escape(page.name)}</a>' for page in shown)


@needs(Role.VIEWER)
async def _callback(request: Request) -> Response:
    return await request.app.state.callback(request)  # type: ignore[no-any-return]


@needs(Role.VIEWER)
def _no_such_route(request: Request) -> Response:
    raise NotFound(f"no route {request.url.path}; /api/docs lists them")
