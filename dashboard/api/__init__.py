"""HTTP routes over `queries`, under /api/v1: one file for the routes of each noun. Documented at /api/docs."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.routing import Match

from access.roles import Role, needs
from access.tokens import Tokens

from ..mutations import Changes
from ..queries import NotFound, Queries
from . import (
    alerts,
    answers,
    blame,
    boards,
    compare,
    curves,
    findings,
    ingest,
    jobs,
    ledger,
    logs,
    machine,
    openapi,
    runs,
    samples,
    settings,
    stacks,
    table,
)
from .answers import of_media
from .machine import CONTENT_TYPE, render

PREFIX = "/api/v1"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
NOUNS = (
    runs,
    curves,
    logs,
    samples,
    stacks,
    blame,
    ledger,
    findings,
    alerts,
    machine,
    table,
    compare,
    boards,
    jobs,
)
CHANGED = (runs, machine, settings, ingest, table, boards, stacks, alerts, findings, jobs)  # nouns with POST routes


def register(app: FastAPI, queries: Queries, tokens: Tokens | None = None) -> None:
    """Plain functions: the framework runs them in threads, each with its own connection to the store."""
    app.router.route_class = answers.AnswerRoute
    router = APIRouter(prefix=PREFIX, route_class=answers.AnswerRoute)
    for noun in NOUNS:
        noun.add_routes(router, queries)
    settings.add_routes(router, queries, tokens or Tokens(queries.data_dir))
    changes = Changes(queries)
    for noun in CHANGED:
        noun.add_changes(router, queries, changes)
    app.include_router(router)

    @needs(Role.VIEWER)
    def metrics() -> Response:
        return Response(render(queries.machine()), media_type=CONTENT_TYPE)

    @needs(Role.VIEWER)
    def description() -> Response:
        return Response(orjson.dumps(app.openapi()), media_type="application/json")

    @needs(Role.VIEWER)
    def docs() -> Response:
        return HTMLResponse(openapi.page_of(app))

    app.add_api_route("/healthz", machine.health_route(queries), response_model=None, summary="Health")
    app.add_api_route(
        "/metrics",
        metrics,
        response_class=Response,
        responses=of_media(CONTENT_TYPE),
        summary="The machine, for Prometheus",
    )
    app.add_api_route("/openapi.json", description, include_in_schema=False)
    app.add_api_route("/api/docs", docs, include_in_schema=False)
    app.add_api_route("/api/{path:path}", _unknown, methods=METHODS, include_in_schema=False)
    app.openapi = lambda: openapi.openapi_of(app, [*router.routes, *app.routes])  # type: ignore[method-assign]
    answers.register(app)


@needs(Role.VIEWER)
def _unknown(path: str, request: Request) -> Response:
    if any(route.matches(request.scope)[0] is Match.PARTIAL for route in request.app.routes):
        raise HTTPException(405)
    raise NotFound(f"no route /api/{path}; /api/docs lists them")
