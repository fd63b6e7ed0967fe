"""Figures of several runs for Plotly, as plain data. Colours are tokens, `var(--run-0)`: the page puts the theme's in their place.

Names of runs and keys are text in them, whatever they contain: Plotly would take a part of HTML for format.
"""

from __future__ import annotations

import html
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..user_files.visible import visible_name
from .colours import colours_of
from .columns import RunColumn, column_of
from .correlation import Effects, effects
from .recorded import Measured

Figure: TypeAlias = dict[str, Any]

MOST_KEYS = 25  # of correlations
MOST_NAME = 48  # characters
MOST_BARS = 30
CLOSE = 1e-9  # of the numbers: a range that is shorter has no bars inside
WIDE = 10.0  # the greatest over the least: a decade and more stand on a logarithmic axis
INK, DIM, LINE, ACCENT = "var(--ink-2)", "var(--ink-3)", "var(--line)", "var(--accent)"
SCALE = [[0.0, "var(--diff-less-3)"], [0.5, "var(--ink-3)"], [1.0, "var(--diff-more-3)"]]


def text(name: str, *, escape: bool = True, most: int = MOST_NAME) -> str:
    """Inert, visible and not too long; `escape` is for Plotly."""
    seen = visible_name(name)
    cut = (seen if len(seen) <= most else f"{seen[: most - 1]}…").encode("utf-8", "replace").decode()
    return html.escape(cut, quote=False).replace("$", "&#36;") if escape else cut


def scatter(measured: Measured, x_name: str, y_name: str) -> Figure:
    """A point for each run that has both, in the run's colour."""
    x, y = column_of(measured, x_name), column_of(measured, y_name)
    names = [view.about.name or view.stored.name for view in measured.runs]
    tokens = colours_of(view.stored.name for view in measured.runs)
    both = [i for i in range(len(names)) if x.numbers[i] is not None and y.numbers[i] is not None]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [x.numbers[i] for i in both],
        "y": [y.numbers[i] for i in both],
        "text": [text(names[i]) for i in both],
        "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
        "marker": {"size": 9, "color": [f"var(--{tokens[measured.runs[i].stored.name]})" for i in both]},
    }
    return figure_of([trace], xaxis=_axis(x), yaxis=_axis(y))


def histogram(measured: Measured, name: str) -> Figure:
    """How many runs have which value: at most 30 bars, of equal width; of words one each."""
    column = column_of(measured, name)
    numbers = [value for value in column.numbers if value is not None]
    edges = _edges(numbers)
    if column.words or edges is None:
        words = [column.words[int(value)] if column.words else f"{value:.6g}" for value in numbers]
        places = Counter(words).most_common(MOST_BARS)
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
    x = {**_plain_axis(), "title": _title(text(column.title)), **kind}
    y = {**_plain_axis(), "title": _title("runs"), "dtick": max(1, -(-max(counts, default=1) // 5))}
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
        min(MOST_BARS, math.ceil(span / width) if width > span / MOST_BARS else MOST_BARS if width > 0 else least),
    )
    share = np.arange(count + 1) / count
    return lo * (1 - share) + hi * share  # a step times a count may be more than a float holds


def correlations(found: Effects, value: str) -> Figure:
    """With the value of this title. A row for each key, the strongest on top: the correlation, and its interval where there is one."""
    rows = found.correlations[:MOST_KEYS][::-1]
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
        **_plain_axis(),
        "range": [-1.05, 1.05],
        "zeroline": True,
        "zerolinecolor": INK,
        "title": _title(f"rank correlation with {text(value)}"),
    }
    return figure_of(
        [trace], xaxis=axis, yaxis={**_plain_axis(), "type": "category", "automargin": True, "showgrid": False}
    )


def effects_of(measured: Measured, value_name: str) -> Effects:
    return effects(measured.configs, column_of(measured, value_name).numbers)


def _interval(lo: float | None, hi: float | None, note: str) -> str:
    said = "" if lo is None or hi is None else f", 95 % {lo:.2f} to {hi:.2f}"
    return said + (f"<br>{text(note)}" if note else "")


def is_wide(numbers: Sequence[float]) -> bool:
    """Whether they stand better on a logarithmic axis, as learning rates do."""
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE * (1 - CLOSE)


def _axis(column: RunColumn) -> dict[str, Any]:
    found = {**_plain_axis(), "title": _title(text(column.title))}
    numbers = [number for number in column.numbers if number is not None]
    if column.words:
        found |= {"tickvals": list(range(len(column.words))), "ticktext": [text(word) for word in column.words]}
    elif is_wide(numbers):
        found["type"] = "log"
    return found


def _title(words: str) -> dict[str, Any]:
    return {"text": words, "font": {"size": 12}}


def _plain_axis() -> dict[str, Any]:
    return {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zeroline": False,
        "tickfont": {"color": DIM, "size": 11},
        "automargin": True,
        "exponentformat": "e",
    }


def figure_of(traces: list[dict[str, Any]], **layout: Any) -> Figure:
    usual = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12},
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "hoverlabel": {"bgcolor": "var(--raised)", "bordercolor": LINE, "font": {"color": "var(--ink)"}},
        "showlegend": False,
    }
    return {"data": traces, "layout": {**usual, **layout}}
