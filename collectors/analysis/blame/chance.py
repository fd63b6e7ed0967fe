"""How large an excess chance alone makes: windows of the same length, drawn from the baseline.

Neighbouring samples are not independent, and thousands of functions are looked at: so whole stretches are drawn, and of each
drawn window the largest excess of any function counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..baseline.units import Units
from ..stacks.traces import Floats, Range, Traces, overlaps
from ..stacks.trie import Trie

DRAWN = 200  # windows
PERCENTILE = 99
BLOCK_S = 1.0  # units are drawn in stretches of at least this length: the next one is seldom independent
BLOCK_WITHOUT_UNITS_S = 0.25
MOST_BLOCKS = 200
SMALL = 0.001  # functions below this share of the time are left out


def drawn_excesses(
    baseline: Traces,
    trie: Trie,
    first: int,
    ranges: Sequence[Range],
    units: Units | None,
    window_s: float,
    period_s: float = 0.0,
) -> Floats:
    """The largest excess of each drawn window, per unit. `trie` holds the stacks of `baseline` from its stack number `first` on. Without units, what repeats itself in `period_s` stays together."""
    blocks = blocks_of(ranges, units, BLOCK_S if units is not None else max(BLOCK_WITHOUT_UNITS_S, period_s))
    bounds = np.array(blocks)
    total_s = _totals(baseline, trie, first, bounds)
    divisor = units.within_each(blocks) if units is not None else bounds[:, 1] - bounds[:, 0]
    length_s = float((bounds[:, 1] - bounds[:, 0]).mean())
    picks = np.random.default_rng(0).integers(0, len(blocks), (DRAWN, max(1, round(window_s / length_s))))
    times = np.array([np.bincount(row, minlength=len(blocks)) for row in picks], np.float64)
    excess_s = times @ total_s / np.maximum(times @ divisor, 1e-9)[:, None] - total_s.sum(axis=0) / max(
        divisor.sum(), 1e-9
    )
    largest_s: Floats = excess_s.max(axis=1)
    return largest_s


def threshold_s(drawn: Floats) -> float:
    """A larger excess is hardly chance."""
    return float(np.percentile(drawn, PERCENTILE))


def rank_among(drawn: Floats, excess_s: float) -> float:
    """The share of drawn windows with a smaller largest excess."""
    return float((drawn < excess_s).mean())


def blocks_of(ranges: Sequence[Range], units: Units | None, least_s: float) -> list[Range]:
    """Stretches of at least this length: whole units, where there are any."""
    least_s = max(least_s, sum(hi - lo for lo, hi in ranges) / MOST_BLOCKS)
    all_ends = units.ends() if units is not None else None
    blocks: list[Range] = []
    for lo, hi in ranges:
        ends = np.arange(lo, hi, least_s) if all_ends is None else all_ends[slice(*np.searchsorted(all_ends, (lo, hi)))]
        edges = [lo]
        for end in ends[ends > lo].tolist():
            if end - edges[-1] >= least_s and hi - end >= 0.5 * least_s:
                edges.append(end)
        blocks += pairwise([*edges, hi])
    return blocks


def _totals(baseline: Traces, trie: Trie, first: int, bounds: Floats) -> Floats:
    """`[block, node]`: seconds at each node that is not small."""
    nodes = len(trie.parent)
    span, block = overlaps(baseline.start_s, baseline.end_s, bounds[:, 0], bounds[:, 1])
    seconds = np.minimum(baseline.end_s[span], bounds[block, 1]) - np.maximum(baseline.start_s[span], bounds[block, 0])
    place = block * nodes + trie.leaf[first + baseline.stack[span]]
    sums = np.bincount(place, seconds * baseline.weight[span], len(bounds) * nodes).astype(np.float64)
    total_s = sums.reshape(len(bounds), nodes)
    for depth in range(int(trie.depth.max(initial=0)), 0, -1):
        level = np.flatnonzero(trie.depth == depth)
        np.add.at(total_s.T, trie.parent[level], total_s.T[level])
    large = (trie.total_s >= SMALL * np.maximum(trie.total_s[:, :1], 1e-9)).any(axis=0)
    drawn: Floats = total_s[:, large]
    return drawn
