"""The ledger of a whole run: which seconds of its wall time were training that counted, and where the rest went.

Goodput is the share of `training`; a step's ledger divides that kind further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints

from ..stacks.spans import Interval
from .attempts import AttemptSpan, Stretches, stretches_of, usable
from .kinds import LOST, RUN_KINDS, RUN_NUMBER, TimeKind
from .shares import KindRow, RunCost, row_of


class RunLedgerInput(NamedTuple):
    """All that is known of a run's time."""

    attempts: Sequence[AttemptSpan]
    rows: StepRows
    named: Mapping[SpanKind, KindSpans]
    first_step_s: Mapping[float, float] = {}  # by the start of an attempt: how long its first step took, by its phases
    whole: bool = True  # each line is a row: neighbouring ones were not read together


class ResourceUse(NamedTuple):
    """What the run's time is paid with. `energy_j` is a counter that only rises, at `energy_at_s`, in order."""

    gpus: int | None = None
    price: float = 0.0  # for a GPU and an hour; 0 where unknown
    energy_at_s: Floats = np.zeros(0)
    energy_j: Floats = np.zeros(0)


NOTHING_SPENT = ResourceUse()


class AttemptRow(NamedTuple):
    span: AttemptSpan
    steps: int
    redone_steps: int
    seconds: Floats  # in the order of RUN_KINDS


class RunLedger(NamedTuple):
    """`goodput` is the share of training, in percent; None where fewer than two lines say when steps were made: then at most `at_most`."""

    window: Interval
    rows: list[KindRow]  # those with a second, in the order of RUN_KINDS
    goodput: float | None
    at_most: float
    steps: int  # that count: without those that were done again
    redone_steps: int
    attempts: list[AttemptRow]
    paid: RunCost  # in all
    lost: RunCost  # for what is neither training nor time that is not separated
    named_s: Mapping[SpanKind, tuple[float, float, float]]  # by phases, by events, by gaps

    @property
    def seconds(self) -> float:
        return self.window[1] - self.window[0]


def run_ledger(
    recorded: RunLedgerInput, spent: ResourceUse = NOTHING_SPENT, split: Mapping[TimeKind, float] | None = None
) -> RunLedger | None:
    """None where no attempt has a length. `split` says which shares of the time that is not separated stacks show to be something else."""
    attempts = usable(recorded.attempts)
    stretches = stretches_of(attempts)
    if not len(stretches.start_s):
        return None
    alive = np.array([span.alive for span in attempts], bool)
    closed = np.array([span.ended_by == "end event" for span in attempts], bool)
    first_s = np.array([recorded.first_step_s.get(span.start_s, np.nan) for span in attempts], np.float64)
    pieces = _split(
        pieces_of(stretches, recorded.rows, recorded.named, AttemptWork(alive, closed, first_s)), split or {}
    )
    seconds = pieces.seconds.sum(axis=0)
    window = float(stretches.start_s[0]), float(stretches.end_s[-1])
    wall_s = float(seconds.sum())
    energy_j = _energy(pieces, spent)
    rows = [
        row_of(kind, float(seconds[place]), wall_s, _paid(kind, seconds, energy_j, spent))
        for place, kind in enumerate(RUN_KINDS)
        if seconds[place] > 0
    ]
    share = {row.kind: row.share for row in rows}
    stepped = bool(len(attempts)) and not share.get("running")
    redone = round(float(pieces.redone_steps.sum()))
    return RunLedger(
        window=window,
        rows=rows,
        goodput=share.get("training", 0.0) if stepped else None,
        at_most=share.get("training", 0.0) + share.get("running", 0.0),
        steps=round(float(pieces.steps.sum())) - redone,
        redone_steps=redone,
        attempts=_attempts(attempts, pieces),
        paid=_sum([row.paid for row in rows]),
        lost=_sum([row.paid for row in rows if row.kind in LOST]),
        named_s=pieces.named_s,
    )


def _split(pieces: PieceTimes, split: Mapping[TimeKind, float]) -> PieceTimes:
    seconds = pieces.seconds.copy()
    running_s = seconds[:, RUN_NUMBER["running"]].copy()
    left = 1.0
    for kind, share in split.items():
        taken = min(max(share, 0.0), left) if kind != "running" and share == share else 0.0
        seconds[:, RUN_NUMBER[kind]] += running_s * taken
        left -= taken
    seconds[:, RUN_NUMBER["running"]] = running_s * left
    return pieces._replace(seconds=seconds)


def _energy(pieces: PieceTimes, spent: ResourceUse) -> Floats | None:
    """Joules by kind: those of a piece are shared as its seconds are."""
    if len(spent.energy_at_s) < 2:
        return None
    used_j = np.diff(np.interp(np.r_[pieces.start_s, pieces.end_s[-1:]], spent.energy_at_s, spent.energy_j))
    length_s = np.maximum(pieces.end_s - pieces.start_s, 1e-12)
    found: Floats = (pieces.seconds * (used_j / length_s)[:, None]).sum(axis=0)
    return found


def _paid(kind: TimeKind, seconds: Floats, energy_j: Floats | None, spent: ResourceUse) -> RunCost:
    """Between attempts no GPU is held, as far as the run is concerned."""
    held_s = 0.0 if kind == "between" else float(seconds[RUN_NUMBER[kind]])
    hours = None if spent.gpus is None else spent.gpus * held_s / 3600
    energy = None if energy_j is None else 0.0 if kind == "between" else float(energy_j[RUN_NUMBER[kind]])
    return RunCost(hours, energy, None if hours is None or not spent.price else hours * spent.price)


def _sum(parts: Sequence[RunCost]) -> RunCost:
    def total(values: Sequence[float | None]) -> float | None:
        return None if any(value is None for value in values) else sum(value or 0.0 for value in values)

    columns = list(zip(*parts, strict=True)) if parts else [(), (), ()]
    return RunCost(*(total(column) for column in columns))


def _attempts(attempts: Sequence[AttemptSpan], pieces: PieceTimes) -> list[AttemptRow]:
    inside = pieces.attempt >= 0
    number = pieces.attempt[inside]
    steps = np.bincount(number, pieces.steps[inside], len(attempts))
    redone = np.bincount(number, pieces.redone_steps[inside], len(attempts))
    seconds = np.zeros((len(attempts), len(RUN_KINDS)))
    np.add.at(seconds, number, pieces.seconds[inside])
    return [AttemptRow(span, round(steps[i]), round(redone[i]), seconds[i]) for i, span in enumerate(attempts)]


# What it is computed from: attempts, rows of the step log, and stretches that phases and events name.

SpanKind: TypeAlias = Literal["validation", "checkpoint", "initialisation"]
SPAN_KINDS: tuple[SpanKind, ...] = ("checkpoint", "validation", "initialisation")  # an earlier one takes its time first


class StepRows(NamedTuple):
    """Lines of the step log, or neighbouring ones together. All columns have the same length."""

    first_s: Floats  # when the first of its lines was logged
    time_s: Floats  # and the last
    step: Floats  # of the last; NaN where it has none
    lines: Floats


NO_ROWS = StepRows(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))


class NamedSpans(NamedTuple):
    """Stretches that took `seconds` of the time from `start_s` to `end_s`, in any order."""

    start_s: Floats
    end_s: Floats
    seconds: Floats


NO_SPANS = NamedSpans(np.zeros(0), np.zeros(0), np.zeros(0))


class KindSpans(NamedTuple):
    """All that is said of one kind of time."""

    phases: NamedSpans = NO_SPANS  # of the step log
    events: NamedSpans = NO_SPANS
    marks_s: Floats = np.zeros(0)  # when one ended whose duration is not logged


def whole_spans(ranges: Sequence[tuple[float, float]]) -> NamedSpans:
    """Stretches all of whose time is meant."""
    bounds = np.asarray(ranges, np.float64).reshape(-1, 2)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    return NamedSpans(bounds[:, 0], bounds[:, 1], bounds[:, 1] - bounds[:, 0])


def sorted_rows(rows: StepRows) -> StepRows:
    """By time, those with a time; rows that end at one moment are one."""
    known = np.isfinite(rows.time_s)
    rows = StepRows(*(column[known] for column in rows))
    order = np.lexsort((np.where(np.isnan(rows.step), -np.inf, rows.step), rows.time_s))
    rows = StepRows(*(column[order] for column in rows))
    if not len(rows.time_s):
        return NO_ROWS
    last = np.r_[np.diff(rows.time_s) > 0, True]
    first = np.flatnonzero(np.r_[True, last[:-1]])
    first_s = np.where(np.isfinite(rows.first_s), np.minimum(rows.first_s, rows.time_s), rows.time_s)
    return StepRows(
        np.minimum.reduceat(first_s, first),
        rows.time_s[last],
        rows.step[last],
        np.add.reduceat(np.maximum(rows.lines, 1.0), first),
    )


def seconds_until(spans: NamedSpans, moments: Floats, *, joined: bool) -> Floats:
    """Of these stretches, the seconds before each of the moments, which are in order.

    Overlapping stretches are never counted twice: `joined` makes one of them, else each begins where the one before ends.
    """
    good = np.isfinite(spans.start_s) & np.isfinite(spans.end_s) & (spans.end_s > spans.start_s)
    good &= np.isfinite(spans.seconds) & (spans.seconds > 0)
    if not good.any():
        return np.zeros(len(moments))
    start_s, end_s, seconds = (column[good] for column in spans)
    order = np.lexsort((seconds, end_s, start_s) if joined else (seconds, start_s, end_s))
    start_s, end_s, seconds = start_s[order], end_s[order], seconds[order]
    reach = np.maximum.accumulate(end_s)
    if joined:
        first = np.r_[True, start_s[1:] > reach[:-1]]
        start_s, end_s = start_s[first], reach[np.r_[np.flatnonzero(first)[1:] - 1, len(reach) - 1]]
        seconds = end_s - start_s
    else:
        start_s = np.maximum(start_s, np.r_[-np.inf, reach[:-1]])
        kept = end_s > start_s
        start_s, end_s, seconds = start_s[kept], end_s[kept], np.minimum(seconds, end_s - start_s)[kept]
    places = np.column_stack((start_s, end_s)).ravel()
    passed = np.cumsum(seconds)
    counted = np.column_stack((np.r_[0.0, passed[:-1]], passed)).ravel()
    found: Floats = np.interp(moments, places, counted)
    return found


# Steps whose work was thrown away: a later attempt went on from an earlier step, and did them again.

BEFORE_ALL = -1.0  # steps count from 0, or from 1


class StepCounts(NamedTuple):
    """Per row of the step log."""

    steps: Floats  # that the row stands for; 0 where it went back or has no step
    redone: Floats  # the share of them that a later attempt did again, 0 to 1
    stride: float  # steps from a line to the next, as a rule


def done_steps(step: Floats, lines: Floats, attempt: Ints) -> StepCounts:
    """Rows are in order of time; attempts are numbered in order of their start.

    Steps 1 to 5, then an attempt that goes on with step 4: 4 and 5 of the first one are redone. Where not every step is logged,
    a row stands for those since the row before.
    """
    known = np.isfinite(step)
    steps, redone = np.zeros(len(step)), np.zeros(len(step))
    step, lines, attempt = step[known], lines[known], attempt[known]
    if not len(step):
        return StepCounts(steps, redone, 1.0)
    order = np.argsort(attempt, kind="stable")
    step, lines, attempt = step[order], lines[order], attempt[order]
    first = np.r_[True, np.diff(attempt) != 0]
    before, stride = _before(step, lines, first)
    later = _least_later(before[first], attempt[first], attempt)
    width = step - before
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(width > 0, (step - np.maximum(before, later)) / np.where(width > 0, width, 1.0), step > later)
    place = np.flatnonzero(known)[order]
    steps[place] = np.maximum(width, 0.0)
    redone[place] = np.clip(np.nan_to_num(share), 0.0, 1.0)
    return StepCounts(steps, redone, stride)


def _before(step: Floats, lines: Floats, first: Bools) -> tuple[Floats, float]:
    """The step after which each row begins: that of the row before, for the first row of an attempt by the usual stride; and that."""
    ahead, within = np.diff(step), ~first[1:]
    strides = (ahead / lines[1:])[within & (ahead > 0)]
    stride = float(np.median(strides)) if len(strides) else 1.0
    before: Floats = np.where(first, np.maximum(step - stride * lines, BEFORE_ALL), np.r_[np.nan, step[:-1]])
    return before, stride


def _least_later(begun: Floats, attempts: Ints, attempt: Ints) -> Floats:
    """For each row, the step from which the earliest of the later attempts went on; infinite where there is none."""
    least = np.r_[np.minimum.accumulate(begun[::-1])[::-1][1:], np.inf]
    found: Floats = least[np.searchsorted(attempts, attempt)]
    return found


# The wall time of a run cut at attempts and at lines of its step log: what each piece was, in seconds that add up to its length.

STALLED_S, INTERVALS = (
    30.0,
    20.0,
)  # the rule of the state "stalled": no line for so long, or for so many usual intervals


class PieceTimes(NamedTuple):
    """One row a piece, in order, without gap or overlap."""

    start_s: Floats
    end_s: Floats
    attempt: Ints  # -1 between attempts
    seconds: Floats  # `[piece, kind]`, kinds in the order of RUN_KINDS
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


class _Pieces(NamedTuple):
    """Pieces before it is known what they were. All columns have the same length."""

    start_s: Floats
    end_s: Floats
    attempt: Ints
    row: Ints  # of the step log, that ends it; -1 for none
    gap_s: Floats  # without a line
    head: Bools  # until the attempt's first line
    tail: Bools  # after its last
    stepless: Bools  # of an attempt without a line


def pieces_of(
    stretches: Stretches, rows: StepRows, named: Mapping[SpanKind, KindSpans], work: AttemptWork
) -> PieceTimes:
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


def _cut(stretches: Stretches, rows: StepRows, owner: Ints, attempts: int) -> _Pieces:
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
    return _Pieces(
        start_s,
        end_s,
        attempt,
        np.where(ends, found, -1),
        gap_s,
        head=(attempt >= 0) & ~stepless & (end_s <= first_s[attempt]),
        tail=(attempt >= 0) & ~stepless & (start_s >= last_s[attempt]),
        stepless=stepless,
    )


def usual_s(cut: _Pieces) -> float:
    """The median time from a line to the next; 0 where no line follows another."""
    steady = cut.gap_s[(cut.row >= 0) & ~cut.head]
    return float(np.median(steady)) if len(steady) else 0.0


class _KindSeconds(NamedTuple):
    """Of each piece, seconds of one kind."""

    phase_s: Floats
    event_s: Floats
    marked: Bools  # something of this kind ended in it, and how long it took is not logged

    @property
    def longer_s(self) -> Floats:
        longer: Floats = np.maximum(self.phase_s, self.event_s)
        return longer


def _said(about: KindSpans, bounds: Floats) -> _KindSeconds:
    phase_s = np.diff(seconds_until(about.phases, bounds, joined=False))
    event_s = np.diff(seconds_until(about.events, bounds, joined=True))
    return _KindSeconds(phase_s, event_s, _counted(about.marks_s, bounds))


def _named(
    cut: _Pieces, named: Mapping[SpanKind, KindSpans]
) -> tuple[dict[SpanKind, Floats], dict[SpanKind, tuple[float, float, float]]]:
    """Of each piece the seconds that phases, events and gaps name: by kind at most what the kinds before it have left."""
    left_s = np.where(cut.attempt >= 0, cut.end_s - cut.start_s, 0.0)
    bounds = np.r_[cut.start_s, cut.end_s[-1:]]
    said = {kind: _said(named.get(kind, KindSpans()), bounds) for kind in SPAN_KINDS}
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
    cut: _Pieces, rows: StepRows, known: Mapping[SpanKind, Floats], first_s: Floats, work: AttemptWork, redone: Floats
) -> Floats:
    """`first_s` are the seconds of steps until an attempt's first line."""
    seconds = np.zeros((len(cut.start_s), len(RUN_KINDS)))

    def put(kind: TimeKind, value_s: Floats) -> None:
        seconds[:, RUN_NUMBER[kind]] += value_s

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


def _first_s(cut: _Pieces, rows: StepRows, work: AttemptWork, part: Floats) -> Floats:
    """The first step takes as long as its phases say, else as usual; `part` is how much of a usual row each row stands for."""
    if not len(rows.time_s):
        return np.zeros(len(cut.start_s))
    later_s = rows.time_s[cut.row] - rows.first_s[cut.row]
    by_phases_s = np.r_[work.first_step_s, np.nan][cut.attempt]
    one_s = np.where(np.isfinite(by_phases_s), np.maximum(by_phases_s, 0.0), usual_s(cut) * part)
    found: Floats = np.where(cut.row >= 0, later_s + one_s, 0.0)
    return found
