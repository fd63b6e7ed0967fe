"""The routes `/points` and `/charts`, by which pages still ask: each is a question to `/curves` in other words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query
from pydantic import Field
from typing_extensions import TypedDict

from access.roles import Role, needs
from collectors.records import Labels
from collectors.store.store import Axis, Buckets

from ..boards.board import BoardChart, BoardError, SeriesChoice, exprs_of
from ..boards.files import chart_of
from ..queries import BadRequest, NotFound, Queries
from ..series.curves import Curve, CurveAnswer, CurveQuery, UnknownSeries
from ..series.smoothing import Smoothing
from ..series.subscription import is_glob
from .answers import Answer, Column, Counts, Gaps, encode
from .curves import CurveAxisRow, FollowedRow, answered, last_values
from .parameters import MAX_BUCKETS, MAX_CHARACTERS, MAX_NAMES, OpenRange, OptionalRun, RunNames

# Stored series of a run, or of the machine.


class PointsRow(TypedDict):
    name: str
    labels: dict[str, str]
    unit: str
    t: Column
    t_end: Column
    step: Gaps
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    last: Gaps | list[float | str | None]
    count: Counts
    non_finite: Counts
    points_total: int


class PointsList(TypedDict):
    cursor: int
    series: list[PointsRow]


def _add_points(router: APIRouter, queries: Queries) -> None:
    @router.get("/points", response_model=None, summary="Ranges of series, as /curves has them")
    @needs(Role.VIEWER)
    def points(
        between: OpenRange,
        series: Annotated[
            list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
            Query(max_length=MAX_NAMES, description="names or globs; repeatable"),
        ],
        run: OptionalRun = None,
        axis: Axis = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 2000,
    ) -> Answer[PointsList]:
        query = CurveQuery(series, [] if run is None else [run], axis, *between, buckets)
        found = answered(queries, query)
        rows = {(curve.name, curve.labels): curve for curve in found.curves if curve.run == run}
        if not rows and found.left_out and not any(map(is_glob, series)):
            raise NotFound(f"{found.left_out[0].reason}; GET /api/v1/series lists them")
        parts = b",".join(encode(_points_row(curve)) for curve in rows.values())
        return Answer(b'{"cursor":%d,"series":[%b]}' % (found.cursor, parts))  # type: ignore[arg-type]


def _points_row(curve: Curve) -> PointsRow:
    buckets = curve.buckets
    return {
        "name": curve.name,
        "labels": dict(curve.labels),
        "unit": curve.unit,
        "t": buckets.t,
        "t_end": buckets.t_end,
        "step": buckets.step,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "last": last_values(buckets.last, buckets.count),
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "points_total": curve.points_read,
    }


# The charts of a board.

MAX_CHARTS = 100  # of a request
X_ITEM = -1  # the item of a scatter chart's `x`
RUN, SERIES = "run", "series"
PLACE = re.compile(r"\{([^{}]{1,100})\}")
WORDS = {"gpu": "GPU {}", "rank": "rank {}"}  # labels that are no word by themselves
ChartTexts = Annotated[
    list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
    Query(
        alias="chart",
        max_length=MAX_CHARTS,
        description="a chart as in a board's file, {kind: line, series: [gpu/power_w]}, or as JSON; repeatable",
    ),
]


class BoardCurveRow(TypedDict):
    """`item` is the place in the chart's series, -1 its x."""

    item: int
    run: str
    series: str
    labels: dict[str, str]
    label: str
    colour: int | None
    unit: str
    x: Column
    x_end: Column
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    last: Gaps | list[float | str | None]
    count: Counts
    non_finite: Counts
    points_total: int


class NotDrawnRow(TypedDict):
    item: int
    reason: str


class DrawnChartRow(TypedDict):
    curves: list[BoardCurveRow]
    left_out: list[NotDrawnRow]


class ChartsAnswer(TypedDict):
    cursor: int
    x: CurveAxisRow
    charts: list[DrawnChartRow]
    followed: list[FollowedRow]


class BoardCurve(NamedTuple):
    item: int
    run: str
    series: str
    labels: Labels
    unit: str
    buckets: Buckets
    label: str = ""
    colour: int | None = None


class _Entry(NamedTuple):
    chart: int
    item: int
    choice: SeriesChoice


def _add_charts(router: APIRouter, queries: Queries) -> None:
    @router.get("/charts", response_model=None, summary="What charts of a board draw, as /curves has it")
    @needs(Role.VIEWER)
    def charts(
        chart: ChartTexts,
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # the framework copies it
        x: Axis = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of each curve")] = 300,
    ) -> Answer[ChartsAnswer]:
        try:
            asked = [chart_of(text) for text in chart]
        except BoardError as error:
            raise BadRequest(str(error)) from None
        return _charts_answer(queries, asked, CurveQuery([], run, x, *between, buckets))


def _charts_answer(queries: Queries, charts: Sequence[BoardChart], query: CurveQuery) -> Answer[ChartsAnswer]:
    """One question for the charts of each axis and each smoothing."""
    together: dict[tuple[str, str], list[_Entry]] = {}
    for place, chart in enumerate(charts):
        for item, choice in _entries(chart):
            together.setdefault((chart.axis or query.x, chart.smooth), []).append(_Entry(place, item, choice))
    curves: list[list[BoardCurve]] = [[] for _ in charts]
    left_out: list[list[NotDrawnRow]] = [[] for _ in charts]
    followed: dict[object, None] = {}
    answers = []
    for (axis, smooth), entries in together.items():
        lo, hi = (query.lo, query.hi) if axis == query.x else (None, None)
        width, unit = _width(smooth)
        if unit and (unit == "step") != (axis == "step"):
            for entry in entries:
                reason = f"the axis is {axis}: a width is written as {'20 steps' if axis == 'step' else '10 s'} there"
                left_out[entry.chart].append({"item": entry.item, "reason": reason})
            continue
        found = _answered(queries, entries, query._replace(x=axis, lo=lo, hi=hi, smooth=width))
        answers.append(found)
        followed |= dict.fromkeys(found.followed)
        for entry, drawn, reasons in _by_entry(entries, found):
            curves[entry.chart] += [
                BoardCurve(
                    entry.item, curve.run or "", _name(entry, curve), curve.labels, curve.unit, _drawn(curve, axis)
                )
                for curve in drawn
            ]
            left_out[entry.chart] += [{"item": entry.item, "reason": reason} for reason in reasons]
    rows = b",".join(
        b'{"curves":[%b],"left_out":%b}'
        % (b",".join(encode(_curve_row(curve)) for curve in labelled(drawn, chart)), encode(missing))
        for chart, drawn, missing in zip(charts, curves, left_out, strict=True)
    )
    ends = [found.x for found in answers if found.x.lo is not None and found.x.name == query.x]
    lo = query.lo if query.lo is not None else min((end.lo for end in ends if end.lo is not None), default=None)
    hi = query.hi if query.hi is not None else max((end.hi for end in ends if end.hi is not None), default=None)
    x = encode(CurveAxisRow(name=query.x, unit="s" if query.x == "time" else "", lo=lo, hi=hi))
    cursor = min((found.cursor for found in answers), default=0)
    answer = b'{"cursor":%d,"x":%b,"charts":[%b],"followed":%b}' % (cursor, x, rows, encode(list(followed)))
    return Answer(answer)  # type: ignore[arg-type]


def _answered(queries: Queries, entries: Sequence[_Entry], query: CurveQuery) -> CurveAnswer:
    exprs = [expr for entry in entries for expr in exprs_of(entry.choice)]
    try:
        return queries.curves.answer(query._replace(exprs=[*exprs, *exprs[:1]]))  # of two, none is refused as a whole
    except UnknownSeries:
        return queries.curves.answer(query._replace(exprs=[*exprs, *exprs[:1]], runs=()))


def _by_entry(entries: Sequence[_Entry], found: CurveAnswer) -> Iterator[tuple[_Entry, list[Curve], list[str]]]:
    first = 0
    for entry in entries:
        last = first + len(exprs_of(entry.choice))
        drawn = [curve for curve in found.curves if first <= curve.expr < last]
        missing = [row for row in found.left_out if row.expr is not None and first <= row.expr < last]
        reasons = [row.reason for row in missing if not row.absent]
        yield entry, drawn, reasons or ([row.reason for row in missing[:1]] if not drawn else [])
        first = last


def _width(smooth: str) -> tuple[Smoothing | None, str]:
    """`"10 s" -> (Smoothing("ema", 10.0), "s")`"""
    if not smooth:
        return None, ""
    from analysis.expressions.language import QUANTITIES

    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(\w+)", smooth)
    assert found is not None
    factor, unit = QUANTITIES[found[2]]
    return Smoothing("ema", float(found[1]) * factor), unit


def _drawn(curve: Curve, axis: str) -> Buckets:
    """On the step axis, without what a newer attempt wrote again; a smoothed curve is its smoothed values."""
    kept = ~curve.superseded
    buckets = curve.buckets
    if curve.smooth is not None:
        buckets = buckets._replace(min=curve.smooth, max=curve.smooth, mean=curve.smooth, last=curve.smooth)
    if axis == "time" or kept.all():
        return buckets
    return Buckets._make([*(column[kept] for column in buckets[:-1]), buckets.points_total])


def _name(entry: _Entry, curve: Curve) -> str:
    return entry.choice.text if entry.choice.by == "expr" else curve.name


def _entries(chart: BoardChart) -> Iterator[tuple[int, SeriesChoice]]:
    yield from enumerate(chart.series)
    if chart.x is not None:
        yield X_ITEM, chart.x


def _curve_row(curve: BoardCurve) -> BoardCurveRow:
    buckets = curve.buckets
    return {
        "item": curve.item,
        "run": curve.run,
        "series": curve.series,
        "labels": dict(curve.labels),
        "label": curve.label,
        "colour": curve.colour,
        "unit": curve.unit,
        "x": buckets.t,
        "x_end": buckets.t_end,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "last": last_values(buckets.last, buckets.count),
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "points_total": buckets.points_total,
    }


# The names of a chart's curves: what its file says, else that in which they differ.


def labelled(curves: Sequence[BoardCurve], chart: BoardChart) -> list[BoardCurve]:
    """In the order of the chart's entries, then by run and labels: `gpu/power_w` of eight GPUs are `GPU 0` to `GPU 7`; of two hosts `a, GPU 0`."""
    curves = sorted(curves, key=_order)
    drawn = [curve for curve in curves if curve.item >= 0]  # what lies along x has no name on the chart
    known = dict.fromkeys((RUN, SERIES, *_keys(drawn)))  # `run` is a label of the machine's series about runs, too
    keys = [key for key in known if len({_values(curve).get(key, "") for curve in drawn}) > 1]
    if any(key in keys for key in ("gpu", "mig")):
        keys = [key for key in keys if key != "uuid"]
    found = []
    for curve in curves:
        row = _values(curve)
        entry = chart.series[curve.item] if 0 <= curve.item < len(chart.series) else chart.x
        given = _filled(entry.label, row) if entry else ""
        label = given or ", ".join(_word(key, row[key]) for key in keys if row.get(key)) or curve.series
        found.append(curve._replace(label=label, colour=entry.colour if entry else None))
    return found


def _values(curve: BoardCurve) -> dict[str, str]:
    return {SERIES: curve.series, **({RUN: curve.run} if curve.run else {}), **dict(curve.labels)}


def _order(curve: BoardCurve) -> tuple[object, ...]:
    """`GPU 2` before `GPU 10`."""
    labels = tuple(
        sorted((key, len(value) if value.isdigit() else 0, value) for key, value in curve.labels if key != "uuid")
    )
    return curve.item, curve.run, curve.series, labels


def _keys(curves: Sequence[BoardCurve]) -> list[str]:
    return list(dict.fromkeys(key for curve in curves for key, _ in curve.labels))


def _word(key: str, value: str) -> str:
    return WORDS.get(key, "{}").format(value)


def _filled(template: str, row: dict[str, str]) -> str:
    """A part between commas that names a label which the curve lacks is left out: `rank {rank}, forward` of a single process is `forward`."""
    parts = [part for part in template.split(", ") if all(key in row for key in PLACE.findall(part))]
    return ", ".join(PLACE.sub(lambda place: row[place[1]], part) for part in parts)


def add_routes(router: APIRouter, queries: Queries) -> None:
    _add_points(router, queries)
    _add_charts(router, queries)
