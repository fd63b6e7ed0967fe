"""Which stored series a chart's entry means, or the expression that it stands for (pure)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from collectors.records import Labels
from collectors.store.protocol import Series

from ..subscription import is_glob
from .fields import expression
from .model import Board, ChosenSeries
from .stored import matches
from .values import meant

NEAR = 0.8  # a name is meant that is as alike as one with a slip: the series of a board that comes along are no slips


def chosen(entry: ChosenSeries, known: Sequence[Series]) -> list[Series]:
    """In the order of `known`; none for an expression."""
    names = {series.name for series in known}
    if entry.by == "name":
        wanted = {entry.text} & names
    elif entry.by == "glob":
        wanted = {name for name in names if matches(entry.text, name)}
    elif entry.by == "regex":
        search = expression(entry.text).search
        wanted = {name for name in names if search(name)}
    else:
        wanted = set()
    return [series for series in known if series.name in wanted and _has(series.labels, entry.labels)]


def charts_with_something(board: Board, known: Sequence[Series]) -> int:
    """How many of its charts have a series that is stored; of an expression, one that it names."""
    charts = [[*chart.series, *filter(None, [chart.x])] for row in board.rows for chart in row.charts]
    return sum(
        any(_names_one(entry, known) if entry.by == "expr" else chosen(entry, known) for entry in of) for of in charts
    )


def _names_one(entry: ChosenSeries, known: Sequence[Series]) -> bool:
    return any(series.name in entry.text for series in known)


def reason_of(entry: ChosenSeries, known: Sequence[Series], runs: Sequence[str]) -> str:
    """Why it chooses none, in one sentence."""
    where = (
        f"this machine and the run {runs[0]!r} have"
        if len(runs) == 1
        else "this machine and these runs have"
        if runs
        else "this machine has"
    )
    if entry.by in ("glob", "regex"):
        return f"{where} no series that the {entry.by} {entry.text} finds{_labelled(entry.labels)}"
    names = {series.name for series in known}
    if entry.text in names:
        return f"{where} no series {entry.text}{_labelled(entry.labels)}"
    return f"{where} no series {entry.text}{meant(entry.text, names, NEAR)}"


def expressions_of(entry: ChosenSeries, smooth: str, known: Sequence[Series]) -> list[str]:
    """The texts of the expressions that are to be evaluated; [] where the series are drawn as they are stored."""
    if entry.by == "expr":
        return [f"ema({entry.text}, {smooth})" if smooth else entry.text]
    if not smooth:
        return []
    names = dict.fromkeys(series.name for series in chosen(entry, known))
    labels = ", ".join(
        f'"{key}"=~{_quoted(glob)}' if not key.isidentifier() else f"{key}=~{_quoted(glob)}"
        for key, glob in entry.labels
    )
    return [
        f"ema({_quoted(name)}{{{labels}}}, {smooth})" if labels else f"ema({_quoted(name)}, {smooth})" for name in names
    ]


def _has(labels: Labels, wanted: Labels) -> bool:
    values = dict(labels)
    return all(
        matches(glob, values.get(key, "")) if is_glob(glob) else values.get(key, "") == glob for key, glob in wanted
    )


def _labelled(labels: Labels) -> str:
    return f" with {', '.join(f'{key}={glob}' for key, glob in labels)}" if labels else ""


def _quoted(text: str) -> str:
    return (
        json.dumps(text, ensure_ascii=False)
        if "\\" not in text and '"' not in text
        else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )
