"""Parallel coordinates: a line for each run through the keys that differ, to the value that colours it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .columns import CONFIG, RunColumn, column_of, options_of
from .figures import DIM, INK, SCALE, Figure, figure_of, is_wide, text
from .recorded import Measured

MOST_AXES = 10
MOST_TITLES, LEAST_TITLE = 96, 8  # characters of all axes' titles together, and of one
MOST_WORD = 16  # characters at a tick
APART = 0.08  # of an axis: nearer ticks would overlap
FEW_TICKS = 6  # values that all stand at their axis
STEPS = (1, 2, 5)  # ticks of each power of ten, where the axis has few powers


class RunLines(NamedTuple):
    """`places` are those of the drawn runs; `lacking` are the places of runs that have the value, but not all keys."""

    columns: list[RunColumn]  # with the value's as the last
    places: list[int]
    lacking: list[int]
    keys_left_out: int  # that no more than half of the runs have beside the others


def lines_of(measured: Measured, value_name: str) -> RunLines:
    """Keys that more than half of the runs have together are axes; runs that lack one of them are left out."""
    value = column_of(measured, value_name)
    whole = [i for i, number in enumerate(value.numbers) if number is not None]
    columns = [column_of(measured, name) for name in options_of(measured) if name.startswith(CONFIG)]
    places = whole
    chosen: list[RunColumn] = []
    for column in sorted(columns, key=lambda column: -column.known):
        left = [i for i in places if column.numbers[i] is not None]
        if len(chosen) < MOST_AXES - 1 and 2 * len(left) > len(whole) and len({column.numbers[i] for i in left}) > 1:
            places = left
            chosen.append(column)
    kept = set(places)
    lacking = [i for i in whole if i not in kept]
    few = sum(2 * sum(column.numbers[i] is not None for i in places) <= len(whole) for column in columns)
    in_order = [column for column in columns if column in chosen]
    return RunLines([*in_order, value], places, lacking, few)


def parallel(found: RunLines) -> Figure:
    most = max(LEAST_TITLE, MOST_TITLES // len(found.columns))
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
        named = {"tickvals": ticks, "ticktext": [text(column.words[int(place)], most=MOST_WORD) for place in ticks]}
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
