"""Attempts of a run: when each of its processes began and ended, and whose each moment is."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats, Ints
from collectors.machine.run_state import EXIT, SEEN, began_s, started_s
from collectors.records import Event

from ..stacks.spans import Interval

StartedBy: TypeAlias = Literal["start event", "process seen", "run.json", "first line"]
EndedBy: TypeAlias = Literal["end event", "process exit", "last line", "alive"]
SOON_S = 60.0  # so near to the last line, an end that was noticed is the end


class AttemptSpan(NamedTuple):
    """One process of the run's lowest rank, from its start to its end. Times are Unix seconds."""

    start_s: float
    end_s: float
    started_by: StartedBy = "start event"
    ended_by: EndedBy = "end event"
    run: str = ""

    @property
    def alive(self) -> bool:
        return self.ended_by == "alive"


class RunTimes(NamedTuple):
    """What is known beside its events. Times are in order; `step` and `segment` are those of the lines."""

    run: str
    line_s: Floats  # of its step log
    step: Floats
    segment: Floats
    sign_s: Floats  # of all signs of life: those lines, its first and last of any other, the end of its stacks
    alive: bool
    now_s: float
    watched: Callable[[float], bool] = lambda time_s: False  # whether a collector was at work just before
    info: Mapping[str, Any] = {}  # its run.json


def attempts_of(lifetimes: Sequence[Event], times: RunTimes) -> list[AttemptSpan]:
    """Of the lowest rank. Without a start or a process that was seen, the lines themselves say it."""
    starts = _of_lowest_rank([event for event in lifetimes if event.kind == "start"])
    seen = _of_lowest_rank([event for event in lifetimes if event.kind == SEEN])
    begun = starts or seen
    if not begun:
        return _by_lines(times)
    rank = begun[0].rank
    ends_s, exits_s = (
        sorted(event.time_s for event in lifetimes if (event.rank, event.kind) == (rank, kind))
        for kind in ("end", EXIT)
    )
    starts_s = [began_s(event, times.info) for event in begun]
    first_s = float(times.line_s[0]) if len(times.line_s) else starts_s[0]
    if not starts:
        starts_s[0] = started_s(times.info, min(starts_s[0], first_s))
    found = []
    if first_s < starts_s[0]:
        found.append(
            AttemptSpan(first_s, _last_sign_s(times, first_s, starts_s[0]), "first line", "last line", times.run)
        )
    limits_s = [*starts_s[1:], np.inf]
    for number, (start_s, limit_s) in enumerate(zip(starts_s, limits_s, strict=True)):
        following_s = begun[number + 1].time_s if number + 1 < len(begun) else np.inf
        ended_s, exited_s = _last_of(ends_s, start_s, following_s), _last_of(exits_s, start_s, following_s)
        end_s, by = _end(times, (start_s, limit_s), ended_s, exited_s)
        found.append(AttemptSpan(start_s, end_s, "start event" if starts else "process seen", by, times.run))
    return found


def _of_lowest_rank(events: Sequence[Event]) -> list[Event]:
    rank = min((event.rank for event in events), default=0)
    return sorted((event for event in events if event.rank == rank), key=lambda event: event.time_s)


def _end(times: RunTimes, between: Interval, ended_s: float | None, exited_s: float | None) -> tuple[float, EndedBy]:
    last_s = _last_sign_s(times, *between)
    if ended_s is not None:
        return ended_s, "end event"  # what is printed after it is no part of the run
    if between[1] == np.inf and times.alive:
        return max(times.now_s, last_s), "alive"
    if exited_s is not None and (exited_s <= last_s + SOON_S or times.watched(exited_s)):
        return max(exited_s, last_s), "process exit"
    return last_s, "last line"


def _last_of(times_s: Sequence[float], start_s: float, following_s: float) -> float | None:
    """The last of these times, which are in order, from the start to the one that follows; None where there is none."""
    place = bisect_right(times_s, following_s)
    return times_s[place - 1] if place and times_s[place - 1] >= start_s else None


def _last_sign_s(times: RunTimes, start_s: float, limit_s: float) -> float:
    """Of the signs between the two; the start where there is none."""
    place = int(np.searchsorted(times.sign_s, limit_s))
    return max(start_s, float(times.sign_s[place - 1])) if place else start_s


def _by_lines(times: RunTimes) -> list[AttemptSpan]:
    """A segment is an attempt where it goes on from a step that the run had made. One that begins anew may be a counter of epochs."""
    if not len(times.sign_s):
        return []
    edges = (np.flatnonzero(np.diff(times.segment) != 0) + 1).tolist()
    edges = [edge for edge in edges if times.step[edge] > times.step[0] + 1]
    first_s = float(times.sign_s[0])
    starts_s = [started_s(times.info, first_s), *(float(times.line_s[edge]) for edge in edges)]
    ends_s = [*(float(times.line_s[edge - 1]) for edge in edges), float(times.sign_s[-1])]
    spans = [AttemptSpan(*ends, "first line", "last line", times.run) for ends in zip(starts_s, ends_s, strict=True)]
    if starts_s[0] < first_s:
        spans[0] = spans[0]._replace(started_by="run.json")
    if times.alive:
        spans[-1] = spans[-1]._replace(end_s=max(times.now_s, spans[-1].end_s), ended_by="alive")
    return spans


# Whose each moment is: attempts that overlap share no second.


class Stretches(NamedTuple):
    """From the first start to the last end, without gap or overlap, in order."""

    start_s: Floats
    end_s: Floats
    attempt: Ints  # -1 between attempts


def usable(attempts: Sequence[AttemptSpan]) -> list[AttemptSpan]:
    """By their start, those with finite times; one that ends before it begins ends where it begins."""
    known = (span for span in attempts if math.isfinite(span.start_s) and math.isfinite(span.end_s))
    return sorted((span._replace(end_s=max(span.start_s, span.end_s)) for span in known), key=tuple)


def stretches_of(attempts: Sequence[AttemptSpan]) -> Stretches:
    """A moment belongs to the attempt that began last, of those that have not ended. `attempts` are in order of their start."""
    bounds = sorted({bound for span in attempts for bound in (span.start_s, span.end_s)})
    waiting: list[int] = []  # the newest on top
    following = 0
    found: list[tuple[float, float, int]] = []
    for start_s, end_s in pairwise(bounds):
        while following < len(attempts) and attempts[following].start_s <= start_s:
            heapq.heappush(waiting, -following)
            following += 1
        while waiting and attempts[-waiting[0]].end_s <= start_s:
            heapq.heappop(waiting)
        owner = -waiting[0] if waiting else -1
        if found and found[-1][2] == owner:
            found[-1] = (found[-1][0], end_s, owner)
        else:
            found.append((start_s, end_s, owner))
    columns = np.array(found, np.float64).reshape(-1, 3)
    return Stretches(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int64))


def extent_of(attempts: Sequence[AttemptSpan]) -> Interval | None:
    """From the start of the first to the end of the last; None where they have no length."""
    known = usable(attempts)
    lo, hi = (known[0].start_s, max(span.end_s for span in known)) if known else (0.0, 0.0)
    return (lo, hi) if hi > lo else None
