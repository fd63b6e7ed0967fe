"""The kinds of charts: a row a kind, with the fields that it has beside a title and a width."""

from __future__ import annotations

from typing import NamedTuple

AXES = ("axis", "unit", "range", "log")
SHARED = ("kind", "title", "width")


class ChartKind(NamedTuple):
    """`fields` are those of a chart that it has beside SHARED; those of `needed` must be there."""

    name: str
    help: str
    fields: tuple[str, ...]
    needed: tuple[str, ...] = ("series",)

    @property
    def asks(self) -> bool:
        """Whether it draws series."""
        return "series" in self.fields


KINDS = (
    ChartKind("line", "A line per series, with the least and the greatest value of each bucket around it.", ("series", *AXES, "smooth")),
    ChartKind("area", "A line per series, filled down to 0.", ("series", *AXES, "smooth")),
    ChartKind("stacked", "Areas on top of each other, whose edge is the sum.", ("series", "axis", "unit", "range", "smooth")),
    ChartKind("heat map", "A row of cells per series; the colour is the value.", ("series", "axis", "unit", "range")),
    ChartKind("histogram", "How often which values occur in the shown range.", ("series", "axis", "unit", "range", "bins")),
    ChartKind("bar", "A bar per series, as long as its value.", ("series", "axis", "unit", "range", "value", "thresholds")),
    ChartKind("scatter", "A point per place: one series against another.", ("series", "x", "best", "axis", "unit", "range", "log"), ("series", "x")),
    ChartKind("number", "A value per series, with a small line and the colour of its threshold.", ("series", "axis", "unit", "value", "thresholds")),
    ChartKind("table", "A row per series: last, least, mean and greatest value.", ("series", "axis", "unit", "thresholds")),
    ChartKind("text", "A note.", ("text",), ("text",)),
    ChartKind("flame graph", "The Python stacks of the shown range, of the shown run.", (), ()),
    ChartKind("log lines", "The newest lines of the shown run, those that have the text where there is one.", ("text",), ()),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
