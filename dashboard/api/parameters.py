"""The parameters of routes with their bounds, and checks of two together."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import Field
from starlette.convertors import PathConvertor, register_url_convertor

from analysis.stacks.spans import Interval

from ..queries import BadRequest, Queries
from ..stacks.stacks import NORMAL, Baseline

MAX_BUCKETS = 20_000
MAX_LINES = 5_000
MAX_WIDTH = 4000
MAX_CONTEXT = 200  # lines of source on each side

MAX_CHARACTERS = 4096  # of a parameter
MAX_NAMES = 400  # parameters `expr` or `series` of a request
MAX_RUNS = 200  # parameters `run` of a request for several
MAX_ID = 2**31 - 1  # a rank, a pid
MAX_CURSOR = 2**62

_SECONDS = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"
WINDOW = re.compile(f"{_SECONDS}-{_SECONDS}")


class AnyName(PathConvertor):
    """`{run:any}` in a path: also with slashes and line breaks."""

    regex = "(?s:.*)"


register_url_convertor("any", AnyName())

_STEP = "inclusive: Unix seconds, or a step where axis=step"
RunParameter = Annotated[str, Query(max_length=MAX_CHARACTERS, description="a run's name; GET /runs lists them")]
RunInPath = Annotated[str, Path(max_length=MAX_CHARACTERS, description="a run's name, percent-encoded")]
OptionalRun = Annotated[
    str | None, Query(max_length=MAX_CHARACTERS, description="a run's name; without it, the machine's own series")
]
RunNames = Annotated[
    list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
    Query(alias="run", max_length=MAX_RUNS, description="names of runs; repeatable"),
]
Instant = Annotated[float | None, Query(allow_inf_nan=False, description="Unix seconds")]
Rank = Annotated[int | None, Query(ge=0, le=MAX_ID)]
Pid = Annotated[int | None, Query(ge=0, le=MAX_ID)]
Thread = Annotated[str | None, Query(max_length=MAX_CHARACTERS, description="a name or an id")]
Text = Annotated[str, Query(max_length=MAX_CHARACTERS)]


def known_run(queries: Queries) -> Any:
    """A dependency: the parameter `run`. Raises NotFound."""

    def run_of(run: RunParameter) -> str:
        queries.check_run(run)
        return run

    return Depends(run_of)


def window_of(
    lo: Annotated[float, Query(alias="from", allow_inf_nan=False, description="Unix seconds")],
    hi: Annotated[float, Query(alias="to", allow_inf_nan=False, description="Unix seconds")],
) -> Interval:
    """The parameters `from` and `to`. Raises BadRequest."""
    if not lo < hi:
        raise BadRequest("to must be later than from; both are Unix seconds")
    return lo, hi


def optional_window_of(
    lo: Annotated[
        float | None, Query(alias="from", allow_inf_nan=False, description="Unix seconds; without it, the whole run")
    ] = None,
    hi: Annotated[float | None, Query(alias="to", allow_inf_nan=False, description="Unix seconds")] = None,
) -> Interval | None:
    """The parameters `from` and `to`, or None where neither is given. Raises BadRequest."""
    if lo is None and hi is None:
        return None
    if lo is None or hi is None:
        raise BadRequest("from and to belong together: give both, or neither for the whole run")
    return window_of(lo, hi)


def known_baseline(queries: Queries) -> Any:
    """A dependency: the parameter `baseline`, None where it is empty. Raises BadRequest, NotFound."""

    def baseline_of(
        given: Annotated[
            str,
            Query(
                alias="baseline",
                max_length=MAX_CHARACTERS,
                description="what the window is compared with: normal, FROM-TO (Unix seconds), @RUN, or FROM-TO@RUN",
            ),
        ] = "",
    ) -> Baseline | None:
        if given in ("", "normal"):
            return NORMAL if given else None
        window, at, run = given.partition("@")
        found = WINDOW.fullmatch(window)
        if not (found or (at and not window)):
            raise BadRequest(f"baseline is {given!r}; give normal, FROM-TO in Unix seconds, @RUN, or FROM-TO@RUN")
        if at:
            queries.check_run(run)
        return Baseline(run if at else None, window_of(float(found[1]), float(found[2])) if found else None)

    return Depends(baseline_of)


def open_range_of(
    lo: Annotated[float | None, Query(alias="from", allow_inf_nan=False, description=_STEP)] = None,
    hi: Annotated[float | None, Query(alias="to", allow_inf_nan=False, description=_STEP)] = None,
) -> tuple[float | None, float | None]:
    """The parameters `from` and `to` where either may be missing: there it is open. Raises BadRequest."""
    if lo is not None and hi is not None and lo > hi:
        raise BadRequest("to must not be before from")
    return lo, hi


Window = Annotated[Interval, Depends(window_of)]
OptionalWindow = Annotated[Interval | None, Depends(optional_window_of)]
OpenRange = Annotated[tuple[float | None, float | None], Depends(open_range_of)]
