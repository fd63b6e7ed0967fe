"""Figures of several runs as Plotly data: scatter, parallel coordinates, histogram, correlations."""

from __future__ import annotations

import html
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..colours import GREY, SOLID, plotly_template
from ..user_files.yaml_file import visible_name
from .run_values import CONFIG, Effects, RunColumn, RunValues, column_of, effects, options_of

Figure: TypeAlias = dict[str, Any]

MAX_KEYS = 25  # of correlations
MAX_NAME = 48  # characters
MAX_BARS = 30
CLOSE = 1e-9  # of the numbers: a range that is shorter has no bars inside
WIDE = 10.0  # the greatest over the least: a decade and more stand on a logarithmic axis
INK, DIM, ACCENT = "var(--ink-2)", "var(--ink-3)", "var(--accent)"
SCALE = [[0.0, "var(--diff-less-3)"], [0.5, "var(--ink-3)"], [1.0, "var(--diff-more-3)"]]


def text(name: str, *, escape: bool = True, most: int = MAX_NAME) -> str:
    """Inert, visible and not too long; `escape` is for Plotly."""
    seen = visible_name(name)
    cut = (seen if len(seen) <= most else f"{seen[: most - 1]}…").encode("utf-8", "replace").decode()
    return html.escape(cut, quote=False).replace("$", "&#36;") if escape else cut


def token_of(colour: int | None) -> str:
    """Of `tokens.css`; grey without a colour."""
    return GREY if colour is None else f"c{colour}"


def scatter(measured: RunValues, x_name: str, y_name: str, colours: Mapping[str, int]) -> Figure:
    """A point for each run that has both, in the run's colour; where its lines are dashed, a ring."""
    x, y = column_of(measured, x_name), column_of(measured, y_name)
    names = [view.about.name or view.stored.name for view in measured.runs]
    both = [i for i in range(len(names)) if x.numbers[i] is not None and y.numbers[i] is not None]
    given = [colours.get(measured.runs[i].stored.name) for i in both]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [x.numbers[i] for i in both],
        "y": [y.numbers[i] for i in both],
        "text": [text(names[i]) for i in both],
        "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
        "marker": {
            "size": 9,
            "color": [f"var(--{token_of(colour)})" for colour in given],
            "symbol": ["circle-open" if colour and colour > SOLID else "circle" for colour in given],
        },
    }
    return figure_of([trace], xaxis=_axis(x), yaxis=_axis(y))


def histogram(measured: RunValues, name: str) -> Figure:
    """How many runs have which value: at most 30 bars, of equal width; of words one each."""
    column = column_of(measured, name)
    numbers = [value for value in column.numbers if value is not None]
    edges = _edges(numbers)
    if column.words or edges is None:
        words = [column.words[int(value)] if column.words else f"{value:.6g}" for value in numbers]
        places = Counter(words).most_common(MAX_BARS)
        counts = [count for _, count in places]
        bars: dict[str, Any] = {
            "x": [text(word) for word, _ in places],
            "y": counts,
            "hovertemplate": "%{x}: %{y} runs<extra></extra>",
        }
        kind = {"type": "category"}
    else:
        counts = np.histogram(numbers, edges)[0].tolist()
        spans = [f"{lo:.4g} to {hi:.4g}" for lo, hi in itertools.pairwise(edges.tolist())]
        bars = {
            "x": (edges[:-1] / 2 + edges[1:] / 2).tolist(),
            "y": counts,
            "width": np.diff(edges).tolist(),
            "text": spans,
        }
        bars |= {"textposition": "none", "hovertemplate": "%{text}: %{y} runs<extra></extra>"}
        kind = {}
    trace = {"type": "bar", "marker": {"color": ACCENT, "line": {"width": 1, "color": "var(--bg)"}}, **bars}
    x = {"title": _title(text(column.title)), **kind}
    y = {"title": _title("runs"), "dtick": max(1, -(-max(counts, default=1) // 5))}
    return figure_of([trace], xaxis=x, yaxis=y, bargap=0.04)


def _edges(numbers: Sequence[float]) -> NDArray[np.float64] | None:
    """Of bars as wide as the quartiles say (Freedman and Diaconis), at least as many as Sturges says; None where the numbers hardly differ."""
    lo, hi = min(numbers, default=0.0), max(numbers, default=0.0)
    span = hi - lo
    if not math.isfinite(span) or span <= CLOSE * max(abs(lo), abs(hi)):
        return None
    low, high = np.percentile(numbers, [25, 75]).tolist()
    width = 2 * (high - low) / len(numbers) ** (1 / 3)
    least = math.ceil(math.log2(len(numbers)) + 1)
    count = max(
        least,
        min(MAX_BARS, math.ceil(span / width) if width > span / MAX_BARS else MAX_BARS if width > 0 else least),
    )
    share = np.arange(count + 1) / count
    return lo * (1 - share) + hi * share  # a step times a count may be more than a float holds


def correlations(found: Effects, value: str) -> Figure:
    """With the value of this title. A row for each key, the strongest on top: the correlation, and its interval where there is one."""
    rows = found.correlations[:MAX_KEYS][::-1]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [row.rho for row in rows],
        "y": [f"{text(row.key)}, n {row.n}" for row in rows],
        "marker": {
            "size": 8,
            "color": [
                ACCENT if row.lo is not None and row.hi is not None and row.lo * row.hi > 0 else DIM for row in rows
            ],
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0.0 if row.hi is None else row.hi - row.rho for row in rows],
            "arrayminus": [0.0 if row.lo is None else row.rho - row.lo for row in rows],
            "color": DIM,
            "thickness": 1.5,
            "width": 0,
        },
        "text": [_interval(row.lo, row.hi, row.note) for row in rows],
        "hovertemplate": "%{y}<br>%{x:.2f}%{text}<extra></extra>",
    }
    axis = {
        "range": [-1.05, 1.05],
        "zeroline": True,
        "title": _title(f"rank correlation with {text(value)}"),
    }
    return figure_of([trace], xaxis=axis, yaxis={"type": "category", "showgrid": False})


def effects_of(measured: RunValues, value_name: str) -> Effects:
    return effects(measured.configs, column_of(measured, value_name).numbers)


def _interval(lo: float | None, hi: float | None, note: str) -> str:
    said = "" if lo is None or hi is None else f", 95% {lo:.2f} to {hi:.2f}"
    return said + (f"<br>{text(note)}" if note else "")


def is_wide(numbers: Sequence[float]) -> bool:
    """Whether they stand better on a logarithmic axis, as learning rates do."""
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE * (1 - CLOSE)


def _axis(column: RunColumn) -> dict[str, Any]:
    found: dict[str, Any] = {"title": _title(text(column.title))}
    numbers = [number for number in column.numbers if number is not None]
    if column.words:
        found |= {"tickvals": list(range(len(column.words))), "ticktext": [text(word) for word in column.words]}
    elif is_wide(numbers):
        found["type"] = "log"
    return found


def _title(words: str) -> dict[str, Any]:
    return {"text": words}


def figure_of(traces: list[dict[str, Any]], **layout: Any) -> Figure:
    return {"data": traces, "layout": {"template": plotly_template(), **layout}}


# Parallel coordinates: a line for each run through the keys that differ, to the value that colours it.

MAX_AXES = 10
MAX_TITLES, MIN_TITLE = 96, 8  # characters of all axes' titles together, and of one
MAX_WORD = 16  # characters at a tick
APART = 0.08  # of an axis: nearer ticks would overlap
FEW_TICKS = 6  # values that all stand at their axis
STEPS = (1, 2, 5)  # ticks of each power of ten, where the axis has few powers


class RunLines(NamedTuple):
    """`places` are those of the drawn runs; `lacking` are the places of runs that have the value, but not all keys."""

    columns: list[RunColumn]  # with the value's as the last
    places: list[int]
    lacking: list[int]
    keys_left_out: int  # that no more than half of the runs have beside the others


def lines_of(measured: RunValues, value_name: str) -> RunLines:
    """Keys that more than half of the runs have together are axes; runs that lack one of them are left out."""
    value = column_of(measured, value_name)
    whole = [i for i, number in enumerate(value.numbers) if number is not None]
    columns = [column_of(measured, name) for name in options_of(measured) if name.startswith(CONFIG)]
    places = whole
    chosen: list[RunColumn] = []
    for column in sorted(columns, key=lambda column: -column.known):
        left = [i for i in places if column.numbers[i] is not None]
        if len(chosen) < MAX_AXES - 1 and 2 * len(left) > len(whole) and len({column.numbers[i] for i in left}) > 1:
            places = left
            chosen.append(column)
    kept = set(places)
    lacking = [i for i in whole if i not in kept]
    few = sum(2 * sum(column.numbers[i] is not None for i in places) <= len(whole) for column in columns)
    in_order = [column for column in columns if column in chosen]
    return RunLines([*in_order, value], places, lacking, few)


def parallel(found: RunLines) -> Figure:
    most = max(MIN_TITLE, MAX_TITLES // len(found.columns))
    trace = {
        "type": "parcoords",
        "dimensions": [_dimension(column, found.places, most) for column in found.columns],
        "line": {
            "color": [found.columns[-1].numbers[i] for i in found.places],
            "colorscale": SCALE,
            "showscale": False,
        },
        "labelfont": {"color": INK, "size": 11},
        "tickfont": {"color": INK, "size": 11},
        "rangefont": {"color": DIM, "size": 10},
    }
    return figure_of([trace], margin={"l": 64, "r": 64, "t": 44, "b": 20})


def _dimension(column: RunColumn, places: Sequence[int], most: int) -> dict[str, Any]:
    numbers = [number for i in places if (number := column.numbers[i]) is not None]
    label = text(_ending(column.title, most))
    if column.words:
        at = [float(place) for place in range(len(column.words))]
        ticks = ticks_apart(at, -0.5, len(at) - 0.5)
        named = {"tickvals": ticks, "ticktext": [text(column.words[int(place)], most=MAX_WORD) for place in ticks]}
        return {"label": label, "values": numbers, **named, "range": [-0.5, len(at) - 0.5]}
    few = sorted(set(numbers)) if len(set(numbers)) <= FEW_TICKS else None
    if not is_wide(numbers):
        return {"label": label, "values": numbers, **({"tickvals": ticks_apart(few, few[0], few[-1])} if few else {})}
    exponents = [math.log10(number) for number in numbers]  # these axes of Plotly's are linear
    lo, hi = min(exponents), max(exponents)
    known = {math.log10(number): number for number in few} if few else _powers(lo, hi)
    ticks = ticks_apart(sorted(known), lo, hi)
    return {
        "label": label,
        "values": exponents,
        "tickvals": ticks,
        "ticktext": [f"{known[tick]:.4g}" for tick in ticks],
    }


def ticks_apart(places: Sequence[float], lo: float, hi: float) -> list[float]:
    """`places` are sorted. Those that do not overlap: the first, and each that is far enough from the one before."""
    kept: list[float] = []
    for place in places:
        if not kept or place / 2 - kept[-1] / 2 >= APART * (
            hi / 2 - lo / 2
        ):  # halves: the span of floats is more than a float
            kept.append(place)
    return kept


def _powers(lo: float, hi: float) -> dict[float, float]:
    """Exponents from `lo` to `hi`, with their numbers: powers of ten, and parts of these where they are few."""
    powers = range(math.floor(lo), math.ceil(hi) + 1)
    found = {power + math.log10(step): (step, power) for power in powers for step in STEPS}
    inside = {exponent: pair for exponent, pair in found.items() if lo <= exponent <= hi}
    whole = {exponent: pair for exponent, pair in inside.items() if pair[0] == 1}
    return {
        exponent: float(f"{step}e{power}") for exponent, (step, power) in (whole if len(whole) > 2 else inside).items()
    }


def _ending(title: str, most: int) -> str:
    """The end says more than the beginning: `optimizer.schedule.warmup -> …warmup`."""
    return title if len(title) <= most else f"…{title[1 - most :]}"
