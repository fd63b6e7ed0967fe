"""The wall time of a run cut at attempts and at lines of its step log: what each piece was, in seconds that add up to its length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..stacks.traces import Bools, Floats, Ints
from .kinds import ORDER, PLACE, GoodputKind
from .owning import Stretches
from .redone import done_steps
from .spans import NO_ROWS, SPAN_KINDS, Named, SpanKind, StepRows, seconds_until, sorted_rows

STALLED_S, INTERVALS = (
    30.0,
    20.0,
)  # the rule of the state "stalled": no line for so long, or for so many usual intervals


class PieceTimes(NamedTuple):
    """One row a piece, in order, without gap or overlap."""

    start_s: Floats
    end_s: Floats
    attempt: Ints  # -1 between attempts
    seconds: Floats  # `[piece, kind]`, kinds in the order of ORDER
    steps: Floats
    redone_steps: Floats
    named_s: Mapping[
        SpanKind, tuple[float, float, float]
    ]  # of each kind: by phases, by events, by a gap that an event ends


class AttemptWork(NamedTuple):
    """Per attempt, in order of their start."""

    alive: Bools
    closed: Bools  # it said itself that it ended: what it did after its last step was no stall
    first_step_s: Floats  # how long its first step took, by its phases; NaN where unknown


class _Cut(NamedTuple):
    """Pieces before it is known what they were. All columns have the same length."""

    start_s: Floats
    end_s: Floats
    attempt: Ints
    row: Ints  # of the step log, that ends it; -1 for none
    gap_s: Floats  # without a line
    head: Bools  # until the attempt's first line
    tail: Bools  # after its last
    stepless: Bools  # of an attempt without a line


def pieces_of(stretches: Stretches, rows: StepRows, named: Mapping[SpanKind, Named], work: AttemptWork) -> PieceTimes:
    """`seconds` of a piece add up to its length, whatever is said of it. Takes time in proportion to what is given, but for sorting."""
    rows, owner = _owned(stretches, sorted_rows(rows))
    if rows.lines.sum() < 2 and not np.isfinite(work.first_step_s).any():
        rows, owner = NO_ROWS, owner[:0]  # how long a step takes is not known
    cut = _cut(stretches, rows, owner, len(work.alive))
    known, named_s = _named(cut, named)
    done = done_steps(rows.step, rows.lines, owner)
    ends = cut.row >= 0
    share = np.where(ends, done.redone[cut.row], 0.0) if len(owner) else np.zeros(len(cut.row))
    steps = np.where(ends, done.steps[cut.row], 0.0) if len(owner) else np.zeros(len(cut.row))
    part = np.clip(steps / (done.stride * rows.lines[cut.row]), 0.0, 1.0) if len(owner) else steps
    seconds = _seconds(cut, rows, known, _first_s(cut, rows, work, part), work, share)
    return PieceTimes(cut.start_s, cut.end_s, cut.attempt, seconds, steps, steps * share, named_s)


def _owned(stretches: Stretches, rows: StepRows) -> tuple[StepRows, Ints]:
    """The rows that lie in an attempt, and which that is. A line at the edge of two belongs to the earlier one."""
    if not len(stretches.end_s):
        return StepRows(*(column[:0] for column in rows)), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(stretches.end_s, rows.time_s), len(stretches.end_s) - 1)
    inside = (
        (rows.time_s >= stretches.start_s[0]) & (rows.time_s <= stretches.end_s[-1]) & (stretches.attempt[place] >= 0)
    )
    return StepRows(*(column[inside] for column in rows)), stretches.attempt[place][inside]


def _cut(stretches: Stretches, rows: StepRows, owner: Ints, attempts: int) -> _Cut:
    bounds = np.unique(np.concatenate((stretches.start_s, stretches.end_s, rows.time_s)))
    start_s, end_s = bounds[:-1], bounds[1:]
    place = np.searchsorted(stretches.end_s, end_s)
    attempt = stretches.attempt[place] if len(end_s) else np.zeros(0, np.int64)
    row = np.searchsorted(rows.time_s, end_s)
    found = np.minimum(row, max(0, len(rows.time_s) - 1))
    ends = (rows.time_s[found] == end_s) & (owner[found] == attempt) if len(owner) else np.zeros(len(end_s), bool)
    first_s, last_s = (
        np.full(attempts + 1, np.inf),
        np.full(attempts + 1, -np.inf),
    )  # the last is for those between attempts
    np.minimum.at(first_s, owner, rows.time_s)
    np.maximum.at(last_s, owner, rows.time_s)
    gap_s = end_s - start_s
    if len(owner):
        gap_s = np.where(ends, np.clip(rows.first_s[found] - start_s, 0.0, gap_s), gap_s)
    stepless = (attempt >= 0) & ~np.isfinite(first_s[attempt])
    return _Cut(
        start_s,
        end_s,
        attempt,
        np.where(ends, found, -1),
        gap_s,
        head=(attempt >= 0) & ~stepless & (end_s <= first_s[attempt]),
        tail=(attempt >= 0) & ~stepless & (start_s >= last_s[attempt]),
        stepless=stepless,
    )


def usual_s(cut: _Cut) -> float:
    """The median time from a line to the next; 0 where no line follows another."""
    steady = cut.gap_s[(cut.row >= 0) & ~cut.head]
    return float(np.median(steady)) if len(steady) else 0.0


class _Said(NamedTuple):
    """Of each piece, seconds of one kind."""

    phase_s: Floats
    event_s: Floats
    marked: Bools  # something of this kind ended in it, and how long it took is not logged

    @property
    def longer_s(self) -> Floats:
        longer: Floats = np.maximum(self.phase_s, self.event_s)
        return longer


def _said(about: Named, bounds: Floats) -> _Said:
    phase_s = np.diff(seconds_until(about.phases, bounds, joined=False))
    event_s = np.diff(seconds_until(about.events, bounds, joined=True))
    return _Said(phase_s, event_s, _counted(about.marks_s, bounds))


def _named(
    cut: _Cut, named: Mapping[SpanKind, Named]
) -> tuple[dict[SpanKind, Floats], dict[SpanKind, tuple[float, float, float]]]:
    """Of each piece the seconds that phases, events and gaps name: by kind at most what the kinds before it have left."""
    left_s = np.where(cut.attempt >= 0, cut.end_s - cut.start_s, 0.0)
    bounds = np.r_[cut.start_s, cut.end_s[-1:]]
    said = {kind: _said(named.get(kind, Named()), bounds) for kind in SPAN_KINDS}
    gap_s = cut.gap_s - usual_s(cut) - sum(kind.longer_s for kind in said.values())
    seconds: dict[SpanKind, Floats] = {}
    sources: dict[SpanKind, tuple[float, float, float]] = {}
    for kind, of_kind in said.items():
        by_span = np.minimum(of_kind.longer_s, left_s)
        in_gap = of_kind.marked & (by_span == 0) & (cut.row >= 0) & ~cut.head
        by_gap = np.where(in_gap, np.clip(gap_s, 0.0, left_s), 0.0)
        gap_s = gap_s - by_gap
        by_phase = of_kind.phase_s >= of_kind.event_s
        sources[kind] = float(by_span[by_phase].sum()), float(by_span[~by_phase].sum()), float(by_gap.sum())
        seconds[kind] = by_span + by_gap
        left_s = left_s - seconds[kind]
    return seconds, sources


def _counted(marks_s: Floats, bounds: Floats) -> Bools:
    """Whether a mark lies in each piece."""
    marks = np.sort(marks_s[np.isfinite(marks_s)])
    has_one: Bools = np.diff(np.searchsorted(marks, bounds, "right")) > 0
    return has_one


def _seconds(
    cut: _Cut, rows: StepRows, known: Mapping[SpanKind, Floats], first_s: Floats, work: AttemptWork, redone: Floats
) -> Floats:
    """`first_s` are the seconds of steps until an attempt's first line."""
    seconds = np.zeros((len(cut.start_s), len(ORDER)))

    def put(kind: GoodputKind, value_s: Floats) -> None:
        seconds[:, PLACE[kind]] += value_s

    length_s, inside = cut.end_s - cut.start_s, cut.attempt >= 0
    any_line = len(rows.time_s) > 0
    for_nothing = cut.stepless & any_line  # whatever it did
    named_s = np.zeros(len(length_s))
    for kind in SPAN_KINDS:
        put(kind, np.where(for_nothing, 0.0, known[kind]))
        named_s += np.where(for_nothing, 0.0, known[kind])
    rest_s = np.maximum(length_s - named_s, 0.0)
    usual = usual_s(cut)
    alive, closed = (np.r_[of_attempt, False][cut.attempt] for of_attempt in (work.alive, work.closed))
    put("between", np.where(inside, 0.0, length_s))
    put("running", np.where(cut.stepless & ~for_nothing, rest_s, 0.0))
    put("initialisation", np.where(for_nothing & alive, length_s, 0.0))
    put("nothing", np.where(for_nothing & ~alive, length_s, 0.0))

    stepped_s = np.minimum(first_s, rest_s)
    put("initialisation", np.where(cut.head, rest_s - stepped_s, 0.0))
    silent_s = np.minimum(np.maximum(cut.gap_s - named_s, 0.0), rest_s)
    stalls = ~cut.head & ~(cut.tail & closed) & (silent_s > max(STALLED_S, INTERVALS * usual))
    stalled_s = np.where(stalls, np.maximum(silent_s - usual, 0.0), 0.0)
    within = inside & ~cut.stepless & ~cut.head
    put("stalled", np.where(within, stalled_s, 0.0))
    ends = cut.tail & ~alive
    put("ending", np.where(within & ends, rest_s - stalled_s, 0.0))
    trained_s = np.where(cut.head, stepped_s, np.where(within & ~ends, rest_s - stalled_s, 0.0))
    put("redone", trained_s * redone)
    put("training", trained_s * (1 - redone))
    return seconds


def _first_s(cut: _Cut, rows: StepRows, work: AttemptWork, part: Floats) -> Floats:
    """The first step takes as long as its phases say, else as usual; `part` is how much of a usual row each row stands for."""
    if not len(rows.time_s):
        return np.zeros(len(cut.start_s))
    later_s = rows.time_s[cut.row] - rows.first_s[cut.row]
    by_phases_s = np.r_[work.first_step_s, np.nan][cut.attempt]
    one_s = np.where(np.isfinite(by_phases_s), np.maximum(by_phases_s, 0.0), usual_s(cut) * part)
    found: Floats = np.where(cut.row >= 0, later_s + one_s, 0.0)
    return found
