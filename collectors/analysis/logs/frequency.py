"""Which templates come in a window that come nowhere else, or more often than in any other window of its length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import Grouped, LineFloats, LineInts, NumberedLines
from .windows import TiledWindows, limit_of

SPREAD = 0.3  # of the most in another window: how much more is not remarkable by itself
LOUD = 2.0  # a warning or an error counts for as much
LOOKED_AT = 200  # templates of the window, those with the largest excess
LEAST_SCORE = 2.5
MOST_COUNTED = 4_000_000  # counts of a template in a window: beyond them, the windows farthest away are left out
LEAST_WINDOWS = 50  # besides the asked one,
MOST_TEMPLATES = 40_000  # and so many templates: those of the window, and the most frequent others


class Frequent(NamedTuple):
    """A template that a window has more of."""

    number: int  # in `NumberedLines`
    count: int  # type: ignore[assignment]  # also the name of a method of tuples
    most: int  # in any other window of the length
    usual: tuple[float, float]  # between which the count of most other windows lies
    before: bool  # whether it came before the window
    after: bool  # whether it came after it
    first_s: float  # in the window
    score: float
    limit: float


class TemplateCounts(NamedTuple):
    """How many lines of each template the windows have."""

    numbers: LineInts  # of the templates that are counted, in `NumberedLines`
    windows: LineInts  # in order; 0 is the asked one
    count: NDArray[np.int32]  # type: ignore[assignment]  # [window, template]


def frequent(lines: NumberedLines, windows: TiledWindows) -> list[Frequent]:
    """The largest excess first."""
    counts = counts_of(lines, windows)
    weight = np.where(lines.loud[counts.numbers], LOUD, 1.0)
    others = counts.count[counts.windows != 0]
    number, score = _largest(others, counts.windows[counts.windows != 0])
    limit = max(limit_of(windows, number, score * weight), LEAST_SCORE)
    inside = counts.count[counts.windows == 0].sum(axis=0)
    # what comes at all outside of the counted windows is one more there
    known = np.maximum(others.max(axis=0), np.minimum(1, lines.total[counts.numbers] - inside))
    rough = score_of(inside, known) * weight
    chosen = [at for at in np.argsort(-rough, kind="stable")[:LOOKED_AT].tolist() if rough[at] > limit]
    if not chosen:
        return []
    is_chosen = np.zeros(len(lines.ids), bool)
    is_chosen[counts.numbers[chosen]] = True
    grouped = lines.of_templates(is_chosen)
    rows = [
        _exactly(int(counts.numbers[at]), grouped, windows, others[:, at], float(weight[at]), limit) for at in chosen
    ]
    return sorted((row for row in rows if row.score > limit), key=lambda row: -row.score)


def counts_of(lines: NumberedLines, windows: TiledWindows) -> TemplateCounts:
    """About 5 ns a line."""
    numbers = _counted(lines, windows)
    first, last = windows.judged
    most = max(LEAST_WINDOWS, MOST_COUNTED // max(1, len(numbers)))
    first, last = max(min(first, 0), -most), min(max(last, 0), most)
    edges = np.searchsorted(lines.time_s, windows.window[0] + windows.length_s * np.arange(first, last + 2))
    edges[1 - first] = max(edges[1 - first], lines.between(windows.window).stop)  # both ends belong to the window
    place = np.full(len(lines.ids), len(numbers), np.int64)
    place[numbers] = np.arange(len(numbers))
    count = np.zeros((last - first + 1, len(numbers)), np.int32)
    for row, (lo, hi) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        if hi > lo:
            found = np.bincount(lines.group[lo:hi], minlength=len(lines.ids))
            count[row] = found if len(numbers) == len(found) else found[numbers]
    return TemplateCounts(numbers, np.arange(first, last + 1), count)


def _counted(lines: NumberedLines, windows: TiledWindows) -> LineInts:
    """All templates; of very many those of the window, and the most frequent others."""
    if len(lines.ids) <= MOST_TEMPLATES:
        return np.arange(len(lines.ids))
    inside = np.bincount(lines.group[lines.between(windows.window)], minlength=len(lines.ids))
    return np.sort(np.lexsort((-lines.total, -inside))[:MOST_TEMPLATES])


def score_of(count: NDArray[np.integer], most: NDArray[np.integer]) -> LineFloats:
    """How far a count lies beyond the most elsewhere: in counts where there are few, in shares where there are many."""
    score: LineFloats = np.maximum(0.0, (count - most) / np.sqrt(1.0 + most + np.square(SPREAD * most)))
    return score


def _largest(count: NDArray[np.int32], windows: LineInts) -> tuple[LineInts, LineFloats]:
    """Of each template, the window that has the most of it, and its excess over all others."""
    first = count.argmax(axis=0)
    columns = np.arange(count.shape[1])
    most = count[first, columns]
    rest = count.copy()
    rest[first, columns] = 0
    return windows[first], score_of(most, rest.max(axis=0))


def _exactly(
    number: int, grouped: Grouped, windows: TiledWindows, others: NDArray[np.int32], weight: float, limit: float
) -> Frequent:
    """With the most of any window of the length, wherever it begins."""
    lo, hi = windows.window
    times = grouped.times_of(number)
    before, after = times[times < lo], times[times > hi]
    count = len(times) - len(before) - len(after)
    most = max(_most(before, windows.length_s), _most(after, windows.length_s))
    score = weight * float(score_of(np.array([count]), np.array([most]))[0])
    usual = np.percentile(others, (5, 95)) if len(others) else np.zeros(2)
    first_s = float(times[len(before)])
    return Frequent(
        number,
        count,
        most,
        (float(usual[0]), float(usual[1])),
        bool(len(before)),
        bool(len(after)),
        first_s,
        score,
        limit,
    )


def _most(times: LineFloats, length_s: float) -> int:
    return int((np.searchsorted(times, times + length_s, "right") - np.arange(len(times))).max(initial=0))
