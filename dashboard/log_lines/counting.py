"""Lines by level or by template, in buckets of time."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .filters import KeptRows
from .table import LineTable

MOST_S = 1e15  # a window that begins earlier or ends later is drawn from or to here
LEVELS = (0, 10, 20, 30, 40, 50)


class LineDensity(NamedTuple):
    """`counts[i]` are those of level LEVELS[i], one entry per bucket, as `hits`; buckets are equally wide from `from_s` to `to_s`."""

    from_s: float
    to_s: float
    counts: NDArray[np.int64]
    hits: NDArray[np.int64] | None


class TemplateLines(NamedTuple):
    """Of the chosen lines of one template: its strokes are counts in equally wide buckets of time."""

    id: int
    run: str
    lines: int
    level: int  # the highest
    first_time_s: float
    last_time_s: float
    strokes: NDArray[np.int64]


def density(
    table: LineTable, rows: KeptRows, window: tuple[float, float], buckets: int, hits: NDArray[np.bool_] | None
) -> LineDensity:
    counts = np.zeros((len(LEVELS), buckets), np.int64)
    marked = None if hits is None else np.zeros(buckets, np.int64)
    for bucket, (start, stop) in enumerate(edges(table, rows, window, buckets)):
        part = rows.part(start, stop)
        classes = np.minimum(table.level[start:stop][part] // 10, len(LEVELS) - 1)
        counts[:, bucket] = np.bincount(classes, minlength=len(LEVELS))
        if hits is not None and marked is not None:
            marked[bucket] = np.count_nonzero(hits[start:stop][part])
    return LineDensity(*window, counts, marked)


def by_template(table: LineTable, rows: KeptRows, window: tuple[float, float], buckets: int) -> list[TemplateLines]:
    """The most frequent first. Templates of several runs are those of each run."""
    runs = {source.run: at for at, source in enumerate(reversed(table.sources))}
    names = list(runs)
    place = {name: at for at, name in enumerate(names)}
    run_of = np.array([place[source.run] for source in table.sources] or [0], np.int64)
    strokes: dict[int, dict[int, int]] = {}
    found: dict[int, list[float]] = {}
    for bucket, (start, stop) in enumerate(edges(table, rows, window, buckets)):
        part = rows.part(start, stop)
        ids = run_of[table.source[start:stop][part]] << 16 | table.template[start:stop][part]
        for number, *summary in _summed_up(ids, table.level[start:stop][part], table.time_s[start:stop][part]):
            strokes.setdefault(number, {})[bucket] = int(summary[0])
            before = found.setdefault(number, [0, 0, math.inf, -math.inf])
            found[number] = [
                before[0] + summary[0],
                max(before[1], summary[1]),
                min(before[2], summary[2]),
                max(before[3], summary[3]),
            ]
    listed = []
    for number, (lines, level, first_s, last_s) in sorted(found.items(), key=lambda item: -item[1][0]):
        drawn = np.zeros(buckets, np.int64)
        drawn[list(strokes[number])] = list(strokes[number].values())
        listed.append(
            TemplateLines(number & 0xFFFF, names[number >> 16], int(lines), int(level), first_s, last_s, drawn)
        )
    return listed


def window_of(table: LineTable, from_s: float | None, to_s: float | None) -> tuple[float, float]:
    """Where an end is open, that of the lines."""
    lo = from_s if from_s is not None else float(table.time_s[0]) if table.rows else 0.0
    hi = to_s if to_s is not None else float(table.time_s[-1]) if table.rows else lo
    lo, hi = max(-MOST_S, min(lo, MOST_S)), max(-MOST_S, min(hi, MOST_S))
    return lo, max(lo, hi)


def edges(table: LineTable, rows: KeptRows, window: tuple[float, float], buckets: int) -> list[tuple[int, int]]:
    """The first row of each bucket, and the first one behind it; the last bucket holds the end of the window."""
    inner = np.linspace(*window, buckets + 1)[1:-1]
    cuts = np.searchsorted(table.time_s[rows.start : rows.stop], inner, "left") + rows.start
    bounds = [rows.start, *cuts.tolist(), rows.stop]
    return list(itertools.pairwise(bounds))


def _summed_up(
    ids: NDArray[np.int64], level: NDArray[np.uint8], time_s: NDArray[np.float64]
) -> list[tuple[int, float, float, float, float]]:
    """By id: how many, the highest level, the first and the last time."""
    if not len(ids):
        return []
    order = np.argsort(ids, kind="stable")
    found, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    ends = np.append(starts[1:], len(ids)) - 1
    in_order = time_s[order]  # rises within each id, as the rows do
    columns = found, counts, np.maximum.reduceat(level[order], starts), in_order[starts], in_order[ends]
    return list(zip(*(column.tolist() for column in columns), strict=True))
