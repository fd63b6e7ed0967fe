"""The web application: FastAPI with our API and socket, and Dash with our pages."""

from __future__ import annotations

import html
import mimetypes
import pkgutil
from pathlib import Path

from dash import Dash
from dash.backends._fastapi import reset_current_request, set_current_request
from dash.fingerprint import check_fingerprint
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from collectors import VERSION

from . import api, live
from .auth import LoopbackOnly
from .compressing import Compressing
from .pages import frame
from .queries import NotFound, Queries
from .turns import Turns

ASSETS = Path(__file__).parents[1] / "assets"
PAGES = {path for _, _, path, _ in frame.PAGES}
NOT_FOUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No such page</title>
<link rel="stylesheet" href="/assets/tokens.css"><link rel="stylesheet" href="/assets/docs.css">
<main><h1>No such page</h1><p>There is no page {path}. These are the pages: {links}.</p></main></html>"""
A_YEAR = {"Cache-Control": "public, max-age=31536000"}


def make_app(queries: Queries) -> FastAPI:
    """Nothing runs until it is served."""
    app = FastAPI(title="DeepSeek Dashboard", version=VERSION, docs_url=None, redoc_url=None)
    app.add_middleware(Turns)
    app.add_middleware(Compressing)
    api.register(app, queries)
    app.include_router(live.routes(queries))
    _before_dash(app)
    dash = Dash(
        __name__,
        server=app,
        backend="fastapi",
        title="DeepSeek Dashboard",
        update_title="",
        index_string=frame.INDEX,
        assets_folder=str(ASSETS),
        assets_ignore=".*",  # our modules are loaded by the index, as modules
        serve_locally=True,
    )
    dash.backend.websocket_capability = False  # else its renderer opens a socket of its own on every page
    dash.layout = frame.layout
    app.state.dash = dash
    _behind_dash(app)
    app.add_middleware(LoopbackOnly)  # added last, so that it stands before everything else
    return app


def _before_dash(app: FastAPI) -> None:
    """Instead of Dash's own routes, which answer 500 to a path that they do not know: the first one that matches is taken."""
    app.add_api_route("/_dash-component-suites/{package}/{path:path}", _suite, include_in_schema=False)
    for path in ("/_dash-update-component", "/_reload-hash"):  # our pages have no callbacks and do not reload themselves
        app.add_api_route(path, _no_such_route, methods=api.METHODS, include_in_schema=False)


def _behind_dash(app: FastAPI) -> None:
    """Dash would answer every other address with the first page."""
    app.add_api_route("/{path:path}", _page, methods=["GET", "HEAD"], include_in_schema=False)


def _page(request: Request, path: str) -> Response:
    dash: Dash = request.app.state.dash
    if f"/{path}" in PAGES:
        asked = set_current_request(request)
        try:
            return HTMLResponse(dash.index())
        finally:
            reset_current_request(asked)
    return HTMLResponse(NOT_FOUND.format(path=html.escape(f"/{path}"), links=_links()), 404)


def _links() -> str:
    return ", ".join(f'<a href="{path}">{name}</a>' for _, name, path, _ in frame.PAGES)


def _no_such_route(request: Request) -> Response:
    raise NotFound(f"no route {request.url.path}; /api/docs lists them")


def _suite(request: Request, package: str, path: str) -> Response:
    """A file of Dash's own browser code, of those that Dash itself lists."""
    inside, has_fingerprint = check_fingerprint(path)
    dash: Dash = request.app.state.dash
    if inside not in dash.registered_paths.get(package, ()):
        raise NotFound(f"no file {path} in {package}")
    try:
        data = pkgutil.get_data(package, inside)
    except OSError:  # listed, but not part of what was installed
        raise NotFound(f"no file {path} in {package}") from None
    media_type = mimetypes.guess_type(inside)[0] or "application/octet-stream"
    return Response(data, media_type=media_type, headers=A_YEAR if has_fingerprint else None)
