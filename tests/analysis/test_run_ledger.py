"""The ledger of a whole run: seconds are counted once, shares add up to 100, whatever a run's events and clocks say."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger.attempts import AttemptSpan, EndedBy, RunTimes, attempts_of, stretches_of, usable
from analysis.ledger.kinds import RUN_KINDS, RUN_NUMBER, TimeKind
from analysis.ledger.run_ledger import (
    SPAN_KINDS,
    AttemptWork,
    KindSpans,
    NamedSpans,
    ResourceUse,
    RunLedger,
    RunLedgerInput,
    SpanKind,
    StepRows,
    pieces_of,
    run_ledger,
    seconds_until,
    whole_spans,
)
from analysis.ledger.text import missing_of, run_basis_of, run_sentence_of
from collectors.arrays import Floats
from collectors.message import text_of
from collectors.records import Event

ODD = (math.nan, math.inf, -math.inf)
TIMES = st.one_of(st.floats(-50, 250), st.sampled_from(ODD), st.integers(0, 200).map(float))
ENDS: Sequence[EndedBy] = ("end event", "process exit", "last line", "alive")
ATTEMPTS = st.lists(st.builds(AttemptSpan, TIMES, TIMES, ended_by=st.sampled_from(ENDS)), max_size=6)
LINES = st.lists(st.tuples(TIMES, st.one_of(st.integers(0, 60).map(float), st.sampled_from(ODD))), max_size=60)
SPANS = st.lists(st.tuples(TIMES, TIMES), max_size=8)
NAMED = st.fixed_dictionaries({kind: st.tuples(SPANS, SPANS, st.lists(TIMES, max_size=4)) for kind in SPAN_KINDS})
KindParts: TypeAlias = tuple[list[tuple[float, float]], list[tuple[float, float]], list[float]]
NamedParts: TypeAlias = dict[SpanKind, KindParts]
T = TypeVar("T")


def rows_of(time_s: Floats, step: Floats) -> StepRows:
    """A row a line."""
    return StepRows(time_s, time_s, step, np.ones(len(time_s)))


def recorded(attempts: list[AttemptSpan], lines: list[tuple[float, float]], named: NamedParts) -> RunLedgerInput:
    columns = np.array(lines, np.float64).reshape(-1, 2)
    spans = {
        kind: KindSpans(whole_spans(phases), whole_spans(events), np.array(marks, np.float64))
        for kind, (phases, events, marks) in named.items()
    }
    return RunLedgerInput(
        attempts, rows_of(columns[:, 0], columns[:, 1]), spans, {span.start_s: 1.5 for span in attempts[:2]}
    )


def seconds_of(found: RunLedger) -> dict[TimeKind, float]:
    return {row.kind: row.seconds for row in found.rows}


@settings(deadline=None, max_examples=80)
@given(ATTEMPTS, LINES, NAMED, st.integers(0, 2**32))
def test_shares_add_up_to_100_and_no_order_of_what_is_known_changes_them(
    attempts: list[AttemptSpan], lines: list[tuple[float, float]], named: NamedParts, seed: int
) -> None:
    found = run_ledger(recorded(attempts, lines, named), ResourceUse(4, 2.0))
    known = usable(attempts)
    if not known or max(span.end_s for span in known) == known[0].start_s:
        assert found is None
        return
    assert found is not None
    assert sum(row.share for row in found.rows) == pytest.approx(100, abs=0.1)
    assert all(0 < row.seconds <= found.seconds + 1e-6 for row in found.rows)
    assert sum(row.seconds for row in found.rows) == pytest.approx(found.seconds)
    held_s = sum(row.seconds for row in found.rows if row.kind != "between")
    assert found.paid.gpu_hours == pytest.approx(4 * held_s / 3600) and found.paid.cost == pytest.approx(
        8 * held_s / 3600
    )
    assert sum(float(row.seconds.sum()) for row in found.attempts) == pytest.approx(held_s)
    assert text_of(run_sentence_of(found)).startswith("Goodput") and all(
        run_basis_of(kind, found) for kind in RUN_KINDS
    )
    assert all(text_of(said).endswith(".") for said in missing_of(found, gpus=True, priced=False))
    shuffled = recorded(
        anew(attempts, seed), anew(lines, seed), {kind: anew_spans(parts, seed) for kind, parts in named.items()}
    )
    again = run_ledger(
        shuffled._replace(first_step_s=recorded(attempts, lines, named).first_step_s), ResourceUse(4, 2.0)
    )
    assert again is not None and seconds_of(again) == pytest.approx(seconds_of(found), abs=1e-6)


def anew(items: list[T], seed: int) -> list[T]:
    """In another order."""
    return random.Random(seed).sample(items, len(items))


def anew_spans(parts: KindParts, seed: int) -> KindParts:
    phases, events, marks = parts
    return anew(phases, seed), anew(events, seed), anew(marks, seed)


@settings(deadline=None, max_examples=60)
@given(ATTEMPTS, LINES, NAMED)
def test_no_second_is_counted_twice(
    attempts: list[AttemptSpan], lines: list[tuple[float, float]], named: NamedParts
) -> None:
    given_ = recorded(attempts, lines, named)
    known = usable(attempts)
    stretches = stretches_of(known)
    assert (stretches.start_s[1:] == stretches.end_s[:-1]).all() and (stretches.end_s > stretches.start_s).all()
    alive = np.array([span.alive for span in known], bool)
    work = AttemptWork(alive, ~alive, np.full(len(known), np.nan))
    pieces = pieces_of(stretches, given_.rows, given_.named, work)
    assert pieces.seconds.min(initial=0.0) >= -1e-9
    assert pieces.seconds.sum(axis=1) == pytest.approx(pieces.end_s - pieces.start_s)
    assert len(pieces.start_s) <= 2 * len(known) + len(lines), "work and memory grow with what is given"
    assert (pieces.redone_steps <= pieces.steps + 1e-9).all()
    for kind in ("validation", "checkpoint"):
        assert pieces.seconds[:, RUN_NUMBER[kind]].sum() <= sum(pieces.named_s[kind]) + 1e-6
    moments = np.r_[pieces.start_s, pieces.end_s[-1:]]
    for about in given_.named.values():
        for spans, joined in ((about.phases, False), (about.events, True)):
            counted = np.diff(seconds_until(spans, moments, joined=joined))
            assert (counted <= np.diff(moments) + 1e-6).all()


def steady(until: int, from_s: float = 10.0, first: int = 0) -> list[tuple[float, float]]:
    """A line a second, the first one a second after `from_s`."""
    return [(from_s + 1 + step - first, float(step)) for step in range(first, until)]


def ledger_of(
    attempts: list[AttemptSpan], lines: list[tuple[float, float]], **spans: list[tuple[float, float]]
) -> RunLedger:
    named: NamedParts = {kind: ([], spans.get(kind, []), []) for kind in SPAN_KINDS}
    columns = np.array(lines, np.float64).reshape(-1, 2)
    found = run_ledger(recorded([], [], named)._replace(attempts=attempts, rows=rows_of(columns[:, 0], columns[:, 1])))
    assert found is not None
    return found


def test_a_run_is_initialisation_steps_validation_checkpoints_and_its_end() -> None:
    found = ledger_of([AttemptSpan(0, 72)], steady(60), validation=[(30.2, 32.7)], checkpoint=[(69.5, 70)])
    assert seconds_of(found) == pytest.approx(
        {"training": 57, "initialisation": 10, "validation": 2.5, "checkpoint": 0.5, "ending": 2}
    )
    assert (found.steps, found.redone_steps) == (60, 0)


def test_steps_that_a_later_attempt_does_again_are_lost_where_they_were_done_first() -> None:
    attempts = [AttemptSpan(0, 50, ended_by="process exit"), AttemptSpan(60, 121)]
    found = ledger_of(attempts, [*steady(40), *steady(80, 70, 30)])
    assert seconds_of(found)["redone"] == pytest.approx(10)
    assert seconds_of(found)["between"] == pytest.approx(10)
    assert seconds_of(found)["training"] == pytest.approx(30 + 50)
    assert (found.steps, found.redone_steps, found.attempts[0].redone_steps) == (80, 10, 10)
    assert "steps done again later 8.3% (10 steps)" in text_of(run_sentence_of(found))


@pytest.mark.parametrize("every", [1, 10])
def test_a_row_of_several_steps_is_done_again_in_part(every: int) -> None:
    lines = [line for line in steady(100) if (line[1] + 1) % every == 0]
    again = [line for line in steady(200, 130, 75) if (line[1] + 1) % every == 0]
    found = ledger_of([AttemptSpan(0, 115), AttemptSpan(120, 260)], [*lines, *again])
    assert found.redone_steps == pytest.approx(25, abs=every)
    assert found.steps + found.redone_steps == pytest.approx(100 + 125, abs=every)


def test_an_attempt_that_begins_anew_leaves_nothing_of_the_one_before() -> None:
    found = ledger_of([AttemptSpan(0, 50), AttemptSpan(50, 120)], [*steady(40), *steady(60, 60)])
    assert (found.steps, found.redone_steps) == (60, 40)


def test_a_silent_stretch_is_stalled_by_the_rule_of_the_states() -> None:
    lines = [*steady(40), *((time_s + 100, step + 40) for time_s, step in steady(40, 50))]
    found = ledger_of([AttemptSpan(0, 190)], lines)
    assert seconds_of(found)["stalled"] == pytest.approx(100)
    short = ledger_of(
        [AttemptSpan(0, 110)], [*steady(40), *((time_s + 20, step + 40) for time_s, step in steady(40, 50))]
    )
    assert "stalled" not in seconds_of(short)
    validated = ledger_of([AttemptSpan(0, 190)], lines, validation=[(50, 149)])
    assert "stalled" not in seconds_of(validated) and seconds_of(validated)["validation"] == pytest.approx(99)


def test_an_event_without_a_duration_names_the_gap_before_it() -> None:
    columns = np.array([*steady(40), *((time_s + 20, step + 40) for time_s, step in steady(40, 50))])
    named: dict[SpanKind, KindSpans] = {"validation": KindSpans(marks_s=np.array([70.5]))}
    found = run_ledger(RunLedgerInput([AttemptSpan(0, 111)], rows_of(columns[:, 0], columns[:, 1]), named))
    assert found is not None and seconds_of(found)["validation"] == pytest.approx(20)
    assert text_of(run_basis_of("validation", found)) == "the gap before an event or value without a duration"


def test_what_phases_and_events_say_of_the_same_time_counts_once() -> None:
    spans = whole_spans([(30.0, 32.0)])
    columns = np.array(steady(60))
    named: dict[SpanKind, KindSpans] = {
        "checkpoint": KindSpans(NamedSpans(spans.start_s + 0.4, spans.end_s + 0.4, spans.seconds), spans)
    }
    found = run_ledger(RunLedgerInput([AttemptSpan(0, 71)], rows_of(columns[:, 0], columns[:, 1]), named))
    assert found is not None and 2 <= seconds_of(found)["checkpoint"] <= 2.5


def test_a_run_that_goes_on_trains_until_it_is_silent_for_too_long() -> None:
    alive = [AttemptSpan(0, 75, ended_by="alive")]
    assert seconds_of(ledger_of(alive, steady(60)))["training"] == pytest.approx(65)
    silent = ledger_of([AttemptSpan(0, 170, ended_by="alive")], steady(60))
    assert seconds_of(silent)["stalled"] == pytest.approx(99)
    young = ledger_of([AttemptSpan(0, 50), AttemptSpan(60, 70, ended_by="alive")], steady(40))
    assert seconds_of(young)["initialisation"] == pytest.approx(20)


def test_an_attempt_without_a_step_gave_nothing_and_a_run_without_any_is_not_separated() -> None:
    found = ledger_of(
        [AttemptSpan(0, 50), AttemptSpan(60, 75), AttemptSpan(80, 131)], [*steady(40), *steady(80, 90, 40)]
    )
    assert seconds_of(found)["nothing"] == pytest.approx(15)
    none = ledger_of([AttemptSpan(0, 50), AttemptSpan(60, 75)], [])
    assert (none.goodput, none.at_most) == (None, pytest.approx(100 * 65 / 75))
    assert "not separated" in text_of(missing_of(none, gpus=False, priced=False)[0])
    single = ledger_of([AttemptSpan(0, 50)], steady(1))
    assert (single.goodput, single.at_most) == (None, 100), "how long a step takes is not known"
    assert (
        text_of(run_sentence_of(single)) == "Goodput of 50 s is not known: fewer than two lines have a step and a time."
    ), "at most 100% says nothing"
    saved = ledger_of([AttemptSpan(0, 50)], [], checkpoint=[(20, 25)])
    assert seconds_of(saved) == pytest.approx({"running": 45, "checkpoint": 5}), "events say it without steps, too"
    split = run_ledger(
        RunLedgerInput([AttemptSpan(0, 100)], rows_of(np.zeros(0), np.zeros(0)), {}), split={"checkpoint": 0.2}
    )
    assert split is not None and (split.goodput, split.at_most) == (None, pytest.approx(80))


def test_attempts_that_overlap_share_no_second() -> None:
    found = ledger_of([AttemptSpan(0, 100), AttemptSpan(40, 60)], [*steady(90), *steady(100, 45, 90)])
    assert found.seconds == 100 and sum(row.seconds for row in found.rows) == pytest.approx(100)
    assert found.attempts[1].seconds.sum() == pytest.approx(20)


def test_energy_is_shared_as_the_seconds_of_each_stretch_are() -> None:
    rows = np.array([*steady(40), *steady(80, 70, 40)])
    spent = ResourceUse(
        2, 0.0, np.array([0.0, 10.0, 50.0, 60.0, 111.0]), np.array([0.0, 100.0, 4100.0, 4110.0, 9210.0])
    )
    found = run_ledger(
        RunLedgerInput([AttemptSpan(0, 50), AttemptSpan(60, 111)], rows_of(rows[:, 0], rows[:, 1]), {}), spent
    )
    assert found is not None
    energy = {row.kind: row.paid.energy_j for row in found.rows}
    assert energy["training"] == pytest.approx(8000, rel=0.02) and energy["between"] == 0
    assert found.paid.energy_j == pytest.approx(9200) and found.paid.cost is None


def test_rows_of_many_lines_say_nearly_the_same_as_each_line() -> None:
    lines = [
        *steady(4000),
        *((time_s + 900, step + 4000) for time_s, step in steady(4000, 4010)),
        *steady(12000, 8960, 7500),
    ]
    attempts = [AttemptSpan(0, 8920), AttemptSpan(8950, 13470)]
    found = ledger_of(attempts, lines, validation=[(1000, 1200)])
    columns = np.array(lines)
    first, last = np.arange(0, len(lines), 50), np.r_[np.arange(50, len(lines), 50), len(lines)] - 1
    many = StepRows(columns[first, 0], columns[last, 0], columns[last, 1], (last - first + 1).astype(float))
    together = run_ledger(RunLedgerInput(attempts, many, {"validation": KindSpans(events=whole_spans([(1000, 1200)]))}))
    assert together is not None
    shares, others = ({row.kind: row.share for row in answer.rows} for answer in (found, together))
    assert others == pytest.approx(shares, abs=0.7)


# -- attempts of a run -----------------------------------------------------------------------------------------------------


def times(
    lines: list[tuple[float, float]], *, alive: bool = False, now_s: float = 1000.0, segment: list[int] | None = None
) -> RunTimes:
    columns = np.array(lines, np.float64).reshape(-1, 2)
    return RunTimes(
        "run", columns[:, 0], columns[:, 1], np.array(segment or [0] * len(lines), float), columns[:, 0], alive, now_s
    )


def start(time_s: float, **fields: float) -> Event:
    return Event("run", "start", time_s, fields=fields)


def test_an_attempt_begins_with_its_process_and_ends_with_its_end_event() -> None:
    events = [start(100.0, mono_s=5000.0, pid_start_ticks=499_400), Event("run", "end", 180.0)]
    assert attempts_of(events, times(steady(60, 110))) == [AttemptSpan(94.0, 180.0, "start event", "end event", "run")]
    old = [start(100.0, mono_s=5000.0, pid_start_ticks=100)]
    assert attempts_of(old, times(steady(60, 110)))[0].start_s == 100.0, "a notebook's process did other things before"


@pytest.mark.parametrize("late_s", [0.0, 1.5, 4.0])
def test_what_a_process_wrote_before_it_was_seen_is_of_its_attempt(late_s: float) -> None:
    """Steps 0 to 59, 30 to 89 and 60 to 119, each of a process that is killed and begun again at once."""
    begun = [(begun_s, first) for begun_s, first in ((10.0, 0), (71.0, 30), (132.0, 60))]
    seen = [
        Event(
            "run",
            "process",
            begun_s + 0.5 + late_s,
            fields={"mono_s": begun_s + late_s, "pid_start_ticks": int(100 * begun_s) - 50},
        )
        for begun_s, _ in begun
    ]
    lines = [line for begun_s, first in begun for line in steady(first + 60, begun_s, first)]
    spans = attempts_of(seen, times(lines))
    assert [span.start_s for span in spans] == pytest.approx([begun_s for begun_s, _ in begun])
    assert [span.end_s for span in spans] == [lines[place][0] for place in (59, 119, 179)]


def process(time_s: float, age_s: float = 0.0, pid: int = 7) -> Event:
    """Of a process that was seen at an age."""
    return Event(
        "run", "process", time_s, fields={"pid": pid, "mono_s": 5000.0, "pid_start_ticks": round(100 * (5000 - age_s))}
    )


@pytest.mark.parametrize(
    ("seen", "info", "start_s"),
    [
        ([process(13.0, 3.2)], {}, 9.8),
        ([process(13.0, 3.2)], {"pid": 7, "started_s": 9.85}, 9.8),
        ([process(13.0, 3.2)], {"pid": 6, "started_s": 2.0}, 2.0),  # below a shell, which began before
        ([process(13.0, 3.2)], {"pid": 7, "started_s": 9.85, "first_started_s": -500.0}, 9.8),
        ([process(13.0, 3.2)], {"pid": 7, "started_s": -1e6}, 9.8),  # copied from another run
        ([process(13.0, 3.2)], {"pid": 7, "started_s": 12.0, "attached": True}, 11.0),
        ([process(9.0, 3.2)], {"pid": 7, "started_s": 8.0, "attached": True}, 8.0),
        ([process(13.0, 700.0)], {}, 11.0),  # a notebook: its first line
        ([process(713.0, 705.0)], {"pid": 7, "started_s": 8.1}, 8.1),  # the collector came late
        ([], {"pid": 7, "started_s": 8.1}, 8.1),  # it came never
        ([], {"pid": 7, "started_s": 75.0, "first_started_s": 8.1}, 8.1),
        ([], {"started_s": "yesterday"}, 11.0),
        ([], {}, 11.0),
    ],
)
def test_a_run_that_only_prints_begins_with_its_process(
    seen: list[Event], info: dict[str, object], start_s: float
) -> None:
    (span,) = attempts_of(seen, times(steady(60))._replace(info=info))
    assert span.start_s == pytest.approx(start_s)
    said = {11.0: "first line"}.get(start_s, "run.json")
    assert span.started_by == ("process seen" if seen else said)
    assert span.end_s == 70.0


def test_without_an_end_an_attempt_ends_when_it_was_last_seen() -> None:
    events = [start(0.0), start(200.0)]
    first, second = attempts_of(events, times([*steady(60), *steady(90, 210, 60)], alive=True))
    assert (first.end_s, first.ended_by) == (70.0, "last line")
    assert (second.end_s, second.ended_by) == (1000.0, "alive")
    noticed = [start(0.0), Event("run", "exit", 71.0)]
    assert attempts_of(noticed, times(steady(60)))[0][1:4] == (71.0, "start event", "process exit")
    late = [start(0.0), Event("run", "exit", 7000.0)]
    assert attempts_of(late, times(steady(60)))[0].end_s == 70.0, "nothing saw it between its last line and then"
    watched = times(steady(60))._replace(watched=lambda time_s: True)
    assert attempts_of(late, watched)[0].end_s == 7000.0


def test_the_lowest_rank_says_it_for_all() -> None:
    events = [start(0.0), start(0.2)._replace(rank=1), Event("run", "end", 80.0, 1), Event("run", "end", 79.0)]
    assert [span[:2] for span in attempts_of(events, times(steady(60)))] == [(0.0, 79.0)]


def test_without_starts_steps_that_go_back_begin_an_attempt_unless_they_begin_anew() -> None:
    lines = [*steady(300), *steady(600, 400, 150)]
    spans = attempts_of([], times(lines, segment=[0] * 300 + [1] * 450))
    assert [span[:2] for span in spans] == [(11.0, 310.0), (401.0, 850.0)]
    epochs = [*steady(300), *steady(300, 310)]
    assert len(attempts_of([], times(epochs, segment=[0] * 300 + [1] * 300))) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["start", "end", "process", "exit"]), TIMES, st.integers(0, 2)), max_size=10),
    LINES,
    st.booleans(),
)
def test_any_events_give_attempts_that_can_be_counted(
    events: list[tuple[str, float, int]], lines: list[tuple[float, float]], alive: bool
) -> None:
    known = sorted(line for line in lines if math.isfinite(line[0]))
    lifetimes = [Event("run", kind, time_s, rank) for kind, time_s, rank in events if math.isfinite(time_s)]
    spans = attempts_of(lifetimes, times(known, alive=alive, now_s=300.0))
    assert all(span.end_s >= span.start_s for span in spans)
    columns = np.array(known, np.float64).reshape(-1, 2)
    found = run_ledger(RunLedgerInput(spans, rows_of(columns[:, 0], columns[:, 1]), {}))
    assert found is None or sum(row.share for row in found.rows) == pytest.approx(100, abs=0.1)
