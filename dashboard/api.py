"""The HTTP face of `queries`, under /api/v1; documented at /api/docs."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from collectors.analysis.stacks.source import Refused
from collectors.analysis.stacks.traces import Range
from collectors.store.protocol import LogQuery, StoreError
from collectors.store.question import Ended, TooMuch

from . import openmetrics, wire
from .encoding import encode
from .flame import exporting, folding, lanes, reshaping
from .queries import BadRequest, NotFound, Queries

PREFIX = "/api/v1"
MAX_BUCKETS = 20_000
MAX_LINES = 5_000
MAX_WIDTH = 4000
MAX_CONTEXT = 200  # lines of source on each side

MOST_CHARACTERS = 4096  # of a parameter
MOST_NAMES = 400  # parameters `series` of a request
MOST_ID = 2**31 - 1  # a rank, a pid
MOST_CURSOR = 2**62

_STEP = "inclusive: Unix seconds, or a step where axis=step"
RunParameter = Annotated[str, Query(max_length=MOST_CHARACTERS, description="a run's name; GET /runs lists them")]
OptionalRun = Annotated[
    str | None, Query(max_length=MOST_CHARACTERS, description="a run's name; without it, the machine's own series")
]
From = Annotated[float | None, Query(alias="from", allow_inf_nan=False, description=_STEP)]
To = Annotated[float | None, Query(alias="to", allow_inf_nan=False, description=_STEP)]
Since = Annotated[float, Query(alias="from", allow_inf_nan=False, description="Unix seconds")]
Until = Annotated[float, Query(alias="to", allow_inf_nan=False, description="Unix seconds")]
Instant = Annotated[float | None, Query(allow_inf_nan=False, description="Unix seconds")]
Rank = Annotated[int | None, Query(ge=0, le=MOST_ID)]
Pid = Annotated[int | None, Query(ge=0, le=MOST_ID)]
Thread = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="a name or an id")]
Text = Annotated[str, Query(max_length=MOST_CHARACTERS)]


SENTENCES = {404: "no such route; /api/docs lists them", 405: "this route does not take that method; /api/docs lists the routes"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Json(Response):
    """Numpy columns as they are; NaN, where it means missing, as null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


class ProfileAction(BaseModel):
    action: Literal["on", "off", "retry"]


def register(app: FastAPI, queries: Queries) -> None:
    """Add the routes, and the error answers: 400, 404, 405 and 503 with `{"error": one sentence}`."""
    app.include_router(routes(queries))
    app.add_api_route("/healthz", lambda: Json(wire.health(queries.state())), response_class=Json, summary="Is it well?")
    app.add_api_route(
        "/metrics", lambda: _metrics(queries), response_class=PlainTextResponse, summary="The machine, for Prometheus"
    )
    app.add_api_route("/api/docs", lambda: HTMLResponse(documentation(app)), include_in_schema=False)
    app.add_api_route("/api/{path:path}", _unknown, methods=METHODS, include_in_schema=False)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _answer(500, _unexpected))
    app.add_exception_handler(RequestValidationError, _answer(400, _first_problem))
    app.add_exception_handler(BadRequest, _answer(400, str))
    app.add_exception_handler(NotFound, _answer(404, str))
    app.add_exception_handler(TooMuch, _answer(400, str))
    app.add_exception_handler(Ended, _answer(503, str))
    app.add_exception_handler(StoreError, _answer(503, str))


def routes(queries: Queries) -> APIRouter:
    """Plain functions: the framework runs them in threads, each with its own connection to the store."""
    router = APIRouter(prefix=PREFIX, default_response_class=Json)

    @router.get("/runs", summary="All runs, the newest first")
    def runs() -> Response:
        return Json({"runs": [wire.run(view) for view in queries.runs()]})

    @router.get("/run", summary="One run: config, attempts, processes")
    def run(run: RunParameter) -> Response:
        return Json(wire.run_detail(queries.run(run)))

    @router.get("/files", summary="What was read of each file of a run, and the first reason why something was not")
    def files(run: RunParameter) -> Response:
        return Json({"files": [wire.file(one) for one in queries.files(run)]})

    @router.get("/series", summary="Names, labels, units and extents of series")
    def series(run: OptionalRun = None, match: Text = "") -> Response:
        return Json({"series": [wire.series(one) for one in queries.series(run, match)]})

    @router.get("/points", summary="Ranges of series in buckets that never hide a spike")
    def points(
        series: Annotated[
            list[Annotated[str, Field(max_length=MOST_CHARACTERS)]],
            Query(max_length=MOST_NAMES, description="names or globs; repeatable, or separated by commas"),
        ],
        run: OptionalRun = None,
        gpu: Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="index or uuid")] = None,
        lo: From = None,
        hi: To = None,
        axis: Literal["time", "step"] = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 2000,
    ) -> Response:
        _check_order(lo, hi)
        return Response(wire.curves(queries.curves(run, series, gpu, lo, hi, axis, buckets)), media_type=Json.media_type)

    @router.get("/logs", summary="Text log lines, the newest matches, oldest first")
    def logs(
        run: OptionalRun = None,
        q: Annotated[str, Query(max_length=MOST_CHARACTERS, description="case-insensitive substring")] = "",
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        lo: From = None,
        hi: To = None,
        before: Annotated[int | None, Query(ge=0, le=MOST_CURSOR, description="cursor of an earlier page")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = 200,
    ) -> Response:
        _check_order(lo, hi)
        return Json(wire.log_page(queries.logs(LogQuery(run, q, level, lo, hi, before, limit))))

    @router.get("/events", summary="Starts, ends, checkpoints, validations and other events of a run")
    def events(run: OptionalRun = None, lo: From = None, hi: To = None) -> Response:
        _check_order(lo, hi)
        return Json({"events": [wire.event(one) for one in queries.events(run, lo, hi)]})

    @router.get("/flame", summary="The Python stacks of a window as a tree")
    def flame(
        run: RunParameter,
        lo: Since,
        hi: Until,
        rank: Rank = None,
        pid: Pid = None,
        thread: Thread = None,
        view: lanes.View = "joined",
        phase: Annotated[
            str, Query(max_length=MOST_CHARACTERS, description="only what steps spent in this phase, as they log it")
        ] = "",
        baseline: Annotated[Literal["", "normal"], Query(description="normal: beside the run's normal")] = "",
        baseline_from: Instant = None,
        baseline_to: Instant = None,
        waits: Annotated[bool, Query(description="false: without the time in which a thread only waits")] = True,
        focus: Annotated[str, Query(max_length=MOST_CHARACTERS, description="only stacks with such a frame, from it on")] = "",
        hide: Annotated[str, Query(max_length=MOST_CHARACTERS, description="without such frames")] = "",
        roll: reshaping.Roll = "function",
        invert: Annotated[bool, Query(description="callees first")] = False,
        prune: Annotated[float, Query(ge=0, le=1, description="leave out what is below this share")] = folding.PRUNE,
        shape: Annotated[Literal["tree", "folded", "speedscope"], Query(alias="format")] = "tree",
    ) -> Response:
        queries.check_run(run)
        answer = queries.stacks.fold(
            run,
            _window(lo, hi),
            lanes.Lanes(view, thread, rank, pid),
            shape=reshaping.Shape(waits, focus, hide, roll, invert),
            phase=phase,
            baseline=_other(baseline_from, baseline_to),
            against_normal=baseline == "normal",
            prune=prune,
        )
        queries.ahead.want(run)
        match shape:
            case "folded":
                return PlainTextResponse(exporting.to_folded(answer.tree))
            case "speedscope":
                return Json(exporting.to_speedscope(answer.tree, name=f"{run} {lo:.3f} to {hi:.3f}"))
            case _:
                return Json(wire.flame(answer, queries.profiler()))

    @router.get("/flamechart", summary="The Python stacks of a window in time order")
    def flamechart(
        run: RunParameter,
        lo: Since,
        hi: Until,
        width: Annotated[int, Query(ge=1, le=MAX_WIDTH, description="pixels: what is narrower than one is merged")] = 1200,
        rank: Rank = None,
        pid: Pid = None,
        thread: Thread = None,
        view: lanes.View = "joined",
    ) -> Response:
        queries.check_run(run)
        chosen = lanes.Lanes(view, thread, rank, pid)
        return Json(wire.flamechart(queries.stacks.chart(run, _window(lo, hi), width, chosen)))

    @router.get("/blame", summary="Which line a window was lost to, beside the run's normal")
    def blame(
        run: RunParameter,
        lo: Since,
        hi: Until,
        rank: Rank = None,
        baseline_from: Instant = None,
        baseline_to: Instant = None,
    ) -> Response:
        queries.check_run(run)
        return Json(queries.stacks.blame(run, _window(lo, hi), rank, _other(baseline_from, baseline_to)).as_json())

    @router.get("/source", summary="Lines of a file of the run's own folder that its profile names")
    def source(
        run: RunParameter,
        file: Annotated[str, Query(max_length=MOST_CHARACTERS, description="as a frame names it")],
        line: Annotated[int, Query(ge=1, le=MOST_ID)] = 1,
        context: Annotated[int, Query(ge=0, le=MAX_CONTEXT, description="lines on each side")] = 8,
    ) -> Response:
        queries.check_run(run)
        try:
            return Json(wire.source(queries.stacks.source(run, file, line, context)))
        except Refused as error:
            raise NotFound(str(error)) from error

    @router.get("/gpus", summary="The GPUs with their latest values")
    def gpus() -> Response:
        return Json(wire.machine(queries.machine()))

    @router.get("/processes", summary="Who uses which GPU")
    def processes() -> Response:
        return Json({"processes": [wire.gpu_user(one) for one in queries.gpu_users()]})

    @router.post("/profile", summary="Turn the profiler on or off, or try refused processes again")
    def profile(action: ProfileAction) -> Response:
        queries.steer_profile(action.action)
        return Json({"profile": queries.state().profile})

    return router


def _window(lo: float, hi: float) -> Range:
    if not lo < hi:
        raise BadRequest("to must be later than from; both are Unix seconds")
    return lo, hi


def _check_order(lo: float | None, hi: float | None) -> None:
    if lo is not None and hi is not None and lo > hi:
        raise BadRequest("to must not be before from")


def _other(lo: float | None, hi: float | None) -> Range | None:
    return None if lo is None or hi is None else _window(lo, hi)


def _metrics(queries: Queries) -> Response:
    return Response(openmetrics.render(queries.machine()), media_type=openmetrics.CONTENT_TYPE)


def documentation(app: FastAPI) -> str:
    """The OpenAPI description as one plain page: nothing is loaded from elsewhere."""
    sections = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            rows = "".join(_parameter(one) for one in operation.get("parameters", []))
            title = f"<code>{method.upper()} {html.escape(path)}</code>"
            sections.append(f"<h2>{title}</h2><p>{html.escape(operation.get('summary', ''))}</p><table>{rows}</table>")
    style = '<link rel="stylesheet" href="/assets/tokens.css"><link rel="stylesheet" href="/assets/docs.css">'
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>HTTP API</title>{style}'
    return (
        f'{head}<main><h1>HTTP API</h1><p>As OpenAPI: <a href="/openapi.json">openapi.json</a></p>{"".join(sections)}</main></html>'
    )


def _parameter(one: dict[str, Any]) -> str:
    schema = one.get("schema", {})
    kinds = [part.get("type") or " | ".join(map(str, part.get("enum", []))) for part in schema.get("anyOf", [schema])]
    kind = " | ".join(kind for kind in kinds if kind and kind != "null")
    default = (
        "required" if one.get("required") else f"default {schema['default']}" if schema.get("default") not in (None, "") else ""
    )
    cells = (
        f"<code>{html.escape(one['name'])}</code>",
        html.escape(kind),
        html.escape(default),
        html.escape(one.get("description", "")),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _unknown(path: str) -> Response:
    raise NotFound(f"no route /api/{path}; /api/docs lists them")


def _answer(status: int, sentence: Callable[[Any], str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        return Json({"error": sentence(error)}, status_code=status)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    """What the framework itself refuses: a method that a route does not have."""
    assert isinstance(error, HTTPException)
    sentence = SENTENCES.get(error.status_code, str(error.detail))
    return Json({"error": sentence}, status_code=error.status_code, headers=error.headers)


def _unexpected(error: Exception) -> str:
    """It rises further and is logged with its traceback."""
    return f"the dashboard failed at this question ({type(error).__name__}); its output says where: please report it"


def _first_problem(error: RequestValidationError) -> str:
    problem = error.errors()[0]
    name = problem["loc"][-1] if problem["loc"] else "request"
    return f"{name}: {problem['msg']}; /api/docs lists the parameters"
