"""Bring several tracks to common places (pure).

Tracks with the same places are left as they are. Points at different places meet at all of them: each holds its last value, but only for
twice the usual distance of its own points. Buckets meet in cells of one width: a bucket counts in each cell that it reaches into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..stacks.traces import Floats, Ints
from .tracks import Interval, Raster, Track, single

CELLS = "the series stand at different places: their buckets are brought to common cells, so that min and max may lie a cell away"


MOST_VALUES = 4_000_000  # of all series at all places; beyond that, points meet in cells as buckets do


class Together(NamedTuple):
    """Common places, with the values of each track there; NaN where it has none."""

    start: Floats
    end: Floats
    values: list[Interval]
    count: Ints  # type: ignore[assignment]  # the largest of all tracks; also the name of a method of tuples
    hold: float
    reason: str


def together(tracks: Sequence[Track], raster: Raster) -> Together:
    first = tracks[0]
    hold = min(track.hold for track in tracks)
    reason = next((track.reason for track in tracks if track.reason), "")
    if all(_same(track, first) for track in tracks[1:]):
        count = first.count if len(tracks) == 1 else np.max([track.count for track in tracks], axis=0)
        return Together(first.start, first.end, [track.value for track in tracks], count, hold, reason)
    if all(track.instants for track in tracks):
        place = np.unique(np.concatenate([track.start for track in tracks]))
        if len(place) * len(tracks) <= MOST_VALUES:
            values = [_held(track, place) for track in tracks]
            return Together(place, place, values, np.ones(len(place), np.int64), hold, reason)
    return _in_cells(tracks, raster, hold, reason)


def _same(track: Track, other: Track) -> bool:
    if track.start is other.start and track.end is other.end:
        return True
    return np.array_equal(track.start, other.start) and np.array_equal(track.end, other.end)


def _held(track: Track, place: Floats) -> Interval:
    """The values of points at other places, each held as long as its series holds."""
    if not len(track.start):
        return single(np.full(len(place), np.nan))
    index = np.searchsorted(track.start, place, "right") - 1
    some = (index >= 0) & (place - track.start[index] <= track.hold)
    if track.value.single:
        return single(np.where(some, track.value.low[index], np.nan))
    held = np.where(place == track.start[index], 0, 1).astype(np.bool_)
    last = np.where(some, track.value.last[index], np.nan)
    low, high, mean = (np.where(some, np.where(held, last, column[index]), np.nan) for column in track.value[:3])
    return Interval(low, high, mean, last)


def _in_cells(tracks: Sequence[Track], raster: Raster, hold: float, reason: str) -> Together:
    some = [track for track in tracks if len(track.start)]
    lo = raster.lo if raster.lo is not None else min(float(track.start[0]) for track in some)
    hi = raster.hi if raster.hi is not None else max(float(track.end[-1]) for track in some)
    cells = max(1, raster.buckets) if hi > lo else 1
    edges = np.unique(np.linspace(lo, hi, cells + 1)) if hi > lo else np.array([lo, np.nextafter(lo, np.inf)])
    start, end = edges[:-1], np.nextafter(edges[1:], -np.inf)
    end[-1] = edges[-1]
    placed = [_cells_of(track, start, end) for track in tracks]
    count = np.max([counted for _, counted in placed], axis=0)
    return Together(start, end, [value for value, _ in placed], count, hold, reason or CELLS)


def _cells_of(track: Track, start: Floats, end: Floats) -> tuple[Interval, Ints]:
    """What of a track lies in each cell, and the value that it still holds at its beginning."""
    nothing = np.full(len(start), np.nan)
    if not len(track.start):
        return single(nothing), np.zeros(len(start), np.int64)
    first, behind = np.searchsorted(track.end, start), np.searchsorted(track.start, end, "right")
    some = behind > first
    before = first - 1
    carried = (before >= 0) & (start - track.end[before] <= track.hold)
    held = np.where(carried, track.value.last[before], np.nan)
    count = np.where(np.isfinite(track.value.mean), track.count, 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        total = _reduced(np.add, np.where(count > 0, track.value.mean * count, 0.0), first, behind)
        counted = _reduced(np.add, count.astype(np.float64), first, behind)
        mean = np.where(some, total / counted, held)
    finite_held = np.where(np.isfinite(held), held, np.nan)
    low = np.fmin(np.where(some, _reduced(np.fmin, track.value.low, first, behind), np.nan), finite_held)
    high = np.fmax(np.where(some, _reduced(np.fmax, track.value.high, first, behind), np.nan), finite_held)
    last = np.where(some, track.value.last[np.maximum(behind - 1, 0)], held)
    return Interval(low, high, mean, last), np.where(some, counted, carried).astype(np.int64)


def _reduced(function: np.ufunc, column: Floats, first: Ints, behind: Ints) -> Floats:
    """Over each `[first, behind)`; anything where that is empty."""
    padded = np.append(column, np.nan)
    pairs = np.column_stack([first, np.maximum(behind, first)]).ravel()
    found: Floats = function.reduceat(padded, pairs)[::2]
    return found
