"""The web application: FastAPI with our API and socket, and Dash with our pages."""

from __future__ import annotations

from pathlib import Path

from dash import Dash
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from collectors import VERSION

from . import api, live
from .auth import LoopbackOnly
from .pages import frame
from .queries import Queries

ASSETS = Path(__file__).parents[1] / "assets"
COMPRESS_FROM_BYTES = 1000
COMPRESS_LEVEL = 5


def make_app(queries: Queries) -> FastAPI:
    """Nothing runs until it is served."""
    app = FastAPI(title="DeepSeek Dashboard", version=VERSION, docs_url=None, redoc_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESS_FROM_BYTES, compresslevel=COMPRESS_LEVEL)
    api.register(app, queries)
    app.include_router(live.routes(queries))
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
    app.add_middleware(LoopbackOnly)  # added last, so that it stands before everything else
    return app
