"""Boards, and what their charts draw, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from collectors.analysis.stacks.traces import Floats, Ints
from collectors.store.protocol import Axis

from ...boards.asked import BoardCurve, DrawnCharts
from ...boards.fields import plain_board
from ...boards.files import BoardFile, BoardSource
from ...boards.kinds import KINDS
from ...boards.model import Board
from ..answer import Answer, Gaps, number
from ..curves.buckets import BucketColumns, bucket_columns
from ..curves.curves import CurveAxisRow
from ..encoding import encode


class SeriesFields(TypedDict, total=False):
    name: str
    glob: str
    regex: str
    expr: str
    runs: list[str]
    labels: dict[str, str]
    label: str
    colour: int


class ChartFields(TypedDict, total=False):
    """As in the file (docs/boards.md), without what is as usual; `kind` is always there."""

    kind: str
    title: str
    width: int
    series: list[str | SeriesFields]
    x: str | SeriesFields
    best: str
    axis: Axis
    unit: str
    range: list[float | str]
    log: bool
    smooth: str
    value: str
    thresholds: dict[str, str]
    bins: int
    text: str


class RowFields(TypedDict, total=False):
    title: str
    height: int
    charts: list[ChartFields]


class BoardFields(TypedDict, total=False):
    title: str
    about: str
    window: str
    axis: Axis
    runs: list[str]
    rows: list[RowFields]


class BoardRowOfList(TypedDict):
    """`version` is another one for any other text; `trouble` says what is wrong with it, with the line."""

    name: str
    title: str
    about: str
    source: BoardSource
    charts: int
    version: str
    trouble: str


class ChartKindRow(TypedDict):
    """`fields` are the keys that a chart of the kind has beside kind, title and width; those of `needed` must be there."""

    name: str
    help: str
    fields: list[str]
    needed: list[str]


class BoardList(TypedDict):
    """`first` is the one to be opened where none is named, if that is asked for."""

    boards: list[BoardRowOfList]
    kinds: list[ChartKindRow]
    first: str | None


class BoardAnswer(TypedDict):
    """`board` is what the text says; where it is broken, what it said before, or null."""

    name: str
    source: BoardSource
    text: str
    version: str
    board: BoardFields | None
    trouble: str


class EditedBoard(TypedDict):
    text: str
    board: BoardFields


class BoardCurveRow(BucketColumns):
    """Columns of buckets, as in Points. `item` is the place in the chart's series, -1 its x."""

    item: int
    run: str
    series: str
    labels: dict[str, str]
    label: str
    colour: int | None
    unit: str
    exact: bool
    reason: str
    last: Gaps | list[float | str | None]


class NotDrawnRow(TypedDict):
    item: int
    reason: str


class DrawnChartRow(TypedDict):
    curves: list[BoardCurveRow]
    left_out: list[NotDrawnRow]


class FollowedRow(TypedDict):
    run: str | None
    name: str


class ChartsAnswer(TypedDict):
    """`charts` stand in the order in which they were asked for; `followed` are the stored series behind them, for the live socket."""

    cursor: int
    x: CurveAxisRow
    charts: list[DrawnChartRow]
    followed: list[FollowedRow]


def board_list(files: Sequence[BoardFile], first: str | None = None) -> BoardList:
    return {
        "boards": [_list_row(file) for file in files],
        "kinds": [
            {"name": kind.name, "help": kind.help, "fields": list(kind.fields), "needed": list(kind.needed)}
            for kind in KINDS
        ],
        "first": first,
    }


def _list_row(file: BoardFile) -> BoardRowOfList:
    board = file.board or Board()
    return {
        "name": file.name,
        "title": board.title or file.name,
        "about": board.about,
        "source": file.source,
        "charts": sum(len(row.charts) for row in board.rows),
        "version": file.version,
        "trouble": file.trouble,
    }


def board_answer(file: BoardFile) -> BoardAnswer:
    board = board_fields(file.board) if file.board is not None else None
    return {
        "name": file.name,
        "source": file.source,
        "text": file.text,
        "version": file.version,
        "board": board,
        "trouble": file.trouble,
    }


def board_fields(board: Board) -> BoardFields:
    return _worded(plain_board(board))  # type: ignore[no-any-return]


def _worded(value: Any) -> Any:
    """Keys are text in JSON."""
    if isinstance(value, dict):
        return {str(key): _worded(item) for key, item in value.items()}
    return [_worded(item) for item in value] if isinstance(value, list) else value


def charts_answer(found: DrawnCharts, axis: Axis) -> Answer[ChartsAnswer]:
    """Written curve by curve: no other thread runs while a part is encoded, so parts are short."""
    charts = b",".join(
        b'{"curves":[%b],"left_out":%b}'
        % (
            b",".join(encode(_curve_row(curve)) for curve in chart.curves),
            encode([row._asdict() for row in chart.left_out]),
        )
        for chart in found.charts
    )
    x = encode(CurveAxisRow(name=axis, unit="s" if axis == "time" else "", lo=found.lo, hi=found.hi))
    followed = encode([row._asdict() for row in found.followed])
    answer = b'{"cursor":%d,"x":%b,"charts":[%b],"followed":%b}' % (found.cursor, x, charts, followed)
    return Answer(answer)  # type: ignore[arg-type]


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
        "exact": curve.exact,
        "reason": curve.reason,
        **bucket_columns(buckets),
        "last": _last(buckets.last, buckets.count),
    }


def _last(values: Floats, count: Ints) -> Floats | list[float | str | None]:
    """Where they are not finite, words; null at a place without a point."""
    if np.isfinite(values).all():
        return values
    return [number(value) if points else None for value, points in zip(values.tolist(), count.tolist(), strict=True)]
