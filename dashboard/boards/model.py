"""A board as its file describes it: rows of charts, each with its series. docs/boards.md has the format."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from collectors.records import Labels

ChartAxis: TypeAlias = Literal["time", "step"]
ChoiceOfSeries: TypeAlias = Literal["name", "glob", "regex", "expr"]
BucketValue: TypeAlias = Literal["last", "mean", "min", "max", "sum", "change"]
Tone: TypeAlias = Literal["ok", "warn", "bad"]
Corner: TypeAlias = Literal["top left", "top right", "bottom left", "bottom right"]

MOST_ROWS, MOST_IN_A_ROW, MOST_CHARTS, MOST_CHOICES = 60, 12, 100, 50
COLUMNS = 12  # that the charts of a row share


class ChosenSeries(NamedTuple):
    """`ChosenSeries("glob", "phase/*_s", labels=(("rank", "0"),))`: which series a chart draws, each as a curve.

    `runs` and the values of `labels` are globs; without `runs` those of the board. `label` may have `{run}`, `{series}` and labels in braces.
    """

    by: ChoiceOfSeries
    text: str
    runs: tuple[str, ...] = ()
    labels: Labels = ()
    label: str = ""
    colour: int | None = None  # 1 to 16


class Threshold(NamedTuple):
    """From `at` on, upwards, a number has this tone."""

    at: float
    tone: Tone


class ValueRange(NamedTuple):
    """Of the value axis; None: as far as the values go."""

    low: float | None = None
    high: float | None = None


class BoardChart(NamedTuple):
    """What is "" or None is as usual; which fields a kind has is in `kinds.py`."""

    kind: str
    title: str = ""
    width: int | None = None  # of 12 columns; None: those of a row share what is left
    series: tuple[ChosenSeries, ...] = ()
    x: ChosenSeries | None = None  # of a scatter chart
    best: Corner | None = None  # of a scatter chart: where its best points lie
    axis: ChartAxis | None = None  # None: the board's
    unit: str = ""  # shown instead of the series' own
    range: ValueRange | None = None
    log: bool = False
    smooth: str = ""  # a half-life, "10 s" or "20 steps"
    value: BucketValue = "last"  # of the shown range; change: from its first to its last
    thresholds: tuple[Threshold, ...] = ()
    bins: int = 40
    text: str = ""


class BoardRow(NamedTuple):
    charts: tuple[BoardChart, ...] = ()
    title: str = ""
    height: int = 220  # pixels


class Board(NamedTuple):
    title: str = ""
    about: str = ""
    window: str = "all"  # a duration up to now, "15 min"; "all": the shown run from its start
    axis: ChartAxis = "time"
    runs: tuple[str, ...] = ()  # globs; (): the run that the page shows
    rows: tuple[BoardRow, ...] = ()
