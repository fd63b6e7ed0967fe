"""How findings begin, go on and end; what is said once is said once, also by a collector that starts anew; and what breaks no rule."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.findings.life import MISSED_S
from analysis.findings.rule import Detection, MachineSubject, RecentPoints, RunRule, RunSubject
from analysis.findings.rules import BY_NAME, MACHINE_RULES, RULES, RUN_RULES
from analysis.findings.watch import MAX_NEW, WITH_RUN, FindingTracker
from analysis.findings.working_set import KnownSubjects
from collectors.records import Event, Finding, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from tests import findings_table
from tests.support.judged import GIB, HOSTS, T0, JudgedRuns, Lines, gpu, gpu_process, machine_point, point

RULE = BY_NAME["slow_steps"]
SLOPES_AND_HANGS = {
    *("memory_creep", "gpu_memory_creep", "host_memory_out", "disk_out"),
    *("hung", "silent", "not_back", "held_and_idle"),  # the last three by half an hour in which nothing happens
}


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_in_the_docs_is_that_of_the_rules() -> None:
    assert findings_table.parts(findings_table.DOC.read_text())[1] == findings_table.table(), (
        "run: python -m tests.findings_table"
    )


def test_a_rule_says_what_it_needs_and_needs_no_more_than_a_minute() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) >= 40
    assert all(rule.needs and rule.holds and rule.source for rule in RULES)
    assert {rule.name for rule in RULES if rule.needs_s > 60} == SLOPES_AND_HANGS
    assert all(rule.needs_s >= rule.every_s for rule in RULES)


# -- the watch ---------------------------------------------------------------------------------------------------------


def held(now_s: float, key: str = "0", *, moment: bool = False, words: str = "It is slow.") -> Detection:
    return Detection(words, T0, now_s, key=key, moment=moment)


def test_a_finding_opens_once_goes_on_and_ends() -> None:
    watch, news = FindingTracker(), []
    for second in range(0, 200, 2):
        news += watch.look(RULE, "run", [held(T0 + second)] if second < 100 else [], T0 + second)
    assert len({found.id for found in news}) == 1
    assert [found.over for found in news] == [False] * (len(news) - 1) + [True]
    assert len(news) < 12  # not one at each look
    assert news[-1].from_s == T0 and news[-1].to_s == T0 + 98
    assert not watch.holding()


def test_a_finding_that_is_away_for_a_moment_goes_on() -> None:
    watch, news = FindingTracker(), []
    for second in range(0, 200, 2):
        news += watch.look(RULE, "run", [held(T0 + second)] if second % 20 < 10 else [], T0 + second)
    assert len({found.id for found in news}) == 1 and not any(found.over for found in news)


def test_what_goes_on_is_known_again_after_a_restart_and_moments_are_said_once() -> None:
    watch = FindingTracker()
    first = watch.look(RULE, "run", [held(T0), held(T0, "7", moment=True)], T0)
    again = FindingTracker(first)
    assert [found.id for found in again.holding()] == [found.id for found in first if not found.over]
    later = again.look(RULE, "run", [held(T0 + 20), held(T0 + 20, "7", moment=True)], T0 + 20)
    assert {found.id for found in later} == {first[0].id}
    assert [found.over for found in again.end("run")] == [True]


def test_a_flood_is_bounded_and_so_is_a_sentence() -> None:
    watch, news = FindingTracker(), []
    for second in range(500):
        news += watch.look(RULE, "run", [held(T0 + second, str(second), moment=True, words="x" * 10_000)], T0 + second)
    assert len(news) == MAX_NEW
    assert max(len(found.sentence) for found in news) < 700


def test_all_that_holds_in_a_run_ends_with_it_and_nothing_of_the_machine() -> None:
    for with_run in (True, False):
        watch = FindingTracker()
        watch.look(RULE, "run", [held(T0)], T0)
        watch.look(BY_NAME["throttle"], None, [held(T0)], T0)
        assert [(found.run, WITH_RUN in found.fields) for found in watch.end("run", with_run=with_run)] == [
            ("run", with_run)
        ]
        assert [found.run for found in watch.holding()] == [None]


def test_a_rule_that_fails_costs_itself_and_is_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(subject: object) -> list[Detection]:
        raise ValueError("no such thing")

    broken = RunRule(*RULE[:8], fails)  # type: ignore[arg-type]
    monkeypatch.setattr("analysis.findings.collector.RUN_RULES", (broken, *RUN_RULES))
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.take([point("run", T0, 1, {"loss": math.nan})])
    found = list(judged.collector.collect())
    assert [record.rule for record in found if hasattr(record, "rule")] == ["nan"]
    assert judged.collector.trouble() == "the rule slow_steps failed: ValueError: no such thing"


# -- across a restart, and what was there before -----------------------------------------------------------------------


def test_a_collector_that_starts_anew_says_nothing_twice(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")

    def second(now_s: float) -> list[Record]:
        passed = int(now_s - T0)
        loss = (
            math.nan
            if 60 <= passed < 62 or passed > 80
            else (1.0 + 0.01 * (passed % 7) + (8.0 if 70 <= passed < 76 else 0.0))
        )
        return [point("run", now_s, passed, {"train/loss": loss})]

    judged.go_on(110, second)
    before = dict(judged.found)
    assert {found.rule for found in before.values()} == {"nan", "nan_lasting", "loss_spike"}
    for _ in range(3):
        judged.restart()
        judged.go_on(20, second)
    assert set(judged.found) == set(before)


def test_what_happened_just_before_the_first_look_is_found(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")
    for step in range(200):
        loss = 9.0 if 120 < step < 140 else 1.0 + 0.01 * (step % 7)
        judged.take([point("run", T0 - 30 + step / 10, step, {"train/loss": loss})])
    judged.restart()
    judged.go_on(4)
    assert judged.rules() == {"loss_spike"}


def test_a_result_is_no_best_one_where_it_was_better_long_before(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")
    store.append([point("run", T0 - 40_000 + 100 * number, 100 * number, {"val/loss": 0.1}) for number in range(5)])
    judged.go_on(30, lambda now_s: [point("run", now_s, 40_000 + int(now_s - T0), {"val/loss": 5.0})])
    judged.restart()
    judged.go_on(
        30, lambda now_s: [point("run", now_s, 40_000 + int(now_s - T0), {"val/loss": 5.0 - (now_s - T0) / 100})]
    )
    assert not judged.of("new_best")


def test_a_collector_that_starts_anew_knows_the_steps_of_before(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")
    judged.go_on(100, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.restart()
    judged.look()
    known = judged.collector._known.runs["run"]
    assert len(known.tracks["steps", 0]) >= 99
    assert [event.kind for event in known.events] == ["start"]


@pytest.mark.parametrize("away_s", [60.0, 3000.0, 3 * 86400.0, 30 * 86400.0])
@pytest.mark.parametrize("recovers", [False, True])
def test_a_successor_gives_findings_of_a_run_that_ended_meanwhile_a_last_look(
    store: Store, recovers: bool, away_s: float
) -> None:
    """The dashboard closes with the script, so that its last lines are stored and not judged."""
    judged = JudgedRuns(store)
    judged.begin("run")
    judged.go_on(
        100, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0 if now_s - T0 <= 30 else math.nan})]
    )
    (before,) = judged.of("nan_lasting")
    assert not before.over
    for _ in range(100):
        judged.now_s += 1.0
        step = int(judged.now_s - T0)
        store.append([point("run", judged.now_s, step, {"loss": 1.0 if recovers and step > 150 else math.nan})])
    end = Event("run", "end", judged.now_s, fields={"status": "finished"})
    store.append([end])
    judged.lines["run"].ends.append(end)
    judged.lines["run"].last_s = judged.now_s
    judged.finder.processes.clear()
    judged.now_s += away_s
    judged.restart()
    judged.go_on(20)
    (found,) = judged.of("nan_lasting")
    assert (found.id, found.from_s, found.weight, found.over) == (before.id, before.from_s, "alert", True)
    assert found.to_s == T0 + (150 if recovers else 200) and found.fields["numbers"]["steps"] == (
        120 if recovers else 170
    )
    assert (WITH_RUN in found.fields) is not recovers, "what recovered before the run ended was resolved"
    assert not store.findings("run", holding=True)
    assert judged.rules() - {"finished"} == {"nan", "nan_lasting"}
    assert len(judged.of("nan")) == 1 and len(judged.of("finished")) == (away_s < MISSED_S)


def test_a_successor_closes_what_no_number_shows(store: Store) -> None:
    left = Finding("f", "run", "data_stall", "note", T0, T0 + 9, False, "Waits for data.", fields={"key": ""})
    store.append([RunInfo("run", {}), left])
    judged = JudgedRuns(store)
    judged.lines["run"] = Lines(ends=[Event("run", "end", T0 + 10, fields={"status": "finished"})], last_s=T0 + 9)
    judged.now_s += 3600
    judged.restart()
    judged.go_on(20)
    assert judged.found == {"f": left._replace(over=True, fields={"key": "", WITH_RUN: True})}


def test_old_logs_that_are_read_for_the_first_time_give_no_alert(store: Store) -> None:
    judged = JudgedRuns(store, now_s=T0 + 50_000)
    for number, status in enumerate(("failed", "killed", "finished")):
        run = f"old-{number}"
        records: list[Record] = [Event(run, "start", T0, fields={"host": "elsewhere"})]
        records += [point(run, T0 + step, step, {"loss": math.nan if step > 100 else 1.0}) for step in range(300)]
        judged.take([*records, Event(run, "end", T0 + 301, fields={"status": status, "reason": "it did"})])
        judged.take([point(f"timeless-{number}", None, step, {"loss": 1.0 / (step + 1)}) for step in range(300)])
    judged.go_on(120)
    assert not [found for found in judged.found.values() if found.weight == "alert"]


def test_many_checkpoints_do_not_push_the_start_of_a_run_out() -> None:
    known = KnownSubjects()
    known.take([Event("run", "start", T0)], T0)
    known.take([Event("run", "checkpoint", T0 + second) for second in range(1000)], T0 + 1000)
    assert len(known.runs["run"].of_kind("start")) == 1


# -- odd input ---------------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -1.0, math.nan, math.inf, 2.0**60, 1e300, -1e300, 5e-324]),
)
STEPS = st.one_of(st.none(), st.integers(0, 300), st.sampled_from([1 << 60, (1 << 60) + 1, 0]))
TIMES = st.one_of(
    st.none(), st.floats(0, 100).map(lambda passed: T0 + passed), st.sampled_from([0.0, T0 - 1e6, T0 + 1e9, 1e300])
)
NAMES = st.sampled_from(
    [
        "train/loss",
        "loss",
        "val/loss",
        "eval/accuracy",
        "grad_norm",
        "grads/l0",
        "loss_scale",
        "memory/allocated",
        "phase/validation_s",
        "lr",
    ]
)
ROWS = st.tuples(TIMES, STEPS, st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=4), st.integers(0, 2))
KINDS = st.sampled_from(["checkpoint", "validation", "compile", "recompile", "start", "end", "overflow", "gc"])
EVENTS = st.tuples(KINDS, st.floats(-10, 120), STEPS, st.one_of(st.none(), st.floats(0, 1e6)), st.integers(0, 2))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, max_size=40), st.lists(EVENTS, max_size=8), st.integers(1, 40))
def test_odd_input_raises_nothing(rows: list, events: list, times: int) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), write=True)
        judged = JudgedRuns(store, stored=False, gpus=[gpu(0, gpu_process())])
        judged.begin("run", 2)
        records: list[Record] = [
            Event("run", kind, T0 + at, rank=rank, step=step, seconds=seconds)
            for kind, at, step, seconds, rank in events
        ]
        for turn in range(times):
            records += [point("run", time_s, step, values, rank) for time_s, step, values, rank in rows]
            host = {
                "host/memory_used_bytes": float(turn) * GIB,
                "host/memory_total_bytes": 8.0 * GIB,
                "host/disk_free_bytes": 0.0,
            }
            records.append(machine_point(T0 + turn, HOSTS, host))
        judged.collector.take(records)
        judged.go_on(6)
        judged.collector.take([Event("run", "end", judged.now_s, fields={"status": "failed"})])
        judged.finder.processes.clear()
        judged.go_on(40)
        store.close()


SERVED = ("service/p99_s", "service/rejected", "service/queue")
GAPS_S, NUMBERS = st.sampled_from([0.0, 1e-6, 0.05, 1.0, 60.0]), st.sampled_from([-2.0, 0.0, 1.0, 2.0, 4.0, math.nan])


class NoHistory:
    """Of a run that is no service."""

    info: ClassVar[dict[str, object]] = {"config": {"p99_target_s": 0.1}}
    is_service, last_step = False, None


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(2, 40), GAPS_S), min_size=1, max_size=3),
    st.integers(1, 60),
    st.lists(NUMBERS, min_size=8, max_size=8),
)
def test_steps_with_equal_stamps_raise_nothing(
    bursts: list[tuple[int, float]], times: int, numbers: list[float]
) -> None:
    """Bursts of steps at one moment, each some time after the one before."""
    gaps = [gap_s if number == 0 else 0.0 for count, gap_s in bursts * times for number in range(count)]
    names = ("train/loss", "grad_norm", "loss_scale", "val/loss", "units", *SERVED)
    tracks = {(name, 0): RecentPoints() for name in ("steps", *names)}
    for step, time_s in enumerate((T0 + np.cumsum(gaps)).tolist()):
        for track, value in zip(tracks.values(), [step, *numbers], strict=True):
            track.take(time_s, step, value)
    events = [
        Event("run", kind, T0 + at, step=60, seconds=30.0)
        for kind in ("checkpoint", "recompile")
        for at in (0.0, 0.0, 0.0, 1.0)
    ]
    now_s = T0 + sum(gaps)
    subject = RunSubject("run", now_s, NoHistory(), MachineSubject(now_s), tracks, events)  # type: ignore[arg-type]
    with np.errstate(all="ignore"):
        found = [held for rule in RUN_RULES for held in rule.look(subject)]
    assert all(math.isfinite(number) for held in found for number in held.numbers.values())


def test_nothing_at_all_gives_nothing(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.go_on(30)
    judged.begin("run")
    judged.go_on(120)
    assert not judged.found
    assert not any(cost < 0 for cost in judged.collector.costs().values())
    assert set(judged.collector.costs()) == {rule.name for rule in (*RUN_RULES, *MACHINE_RULES)}


def test_ten_thousand_series_cost_no_more_than_the_tracked_ones(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    names = {f"layer{number}/loss": 1.0 for number in range(10_000)}
    judged.go_on(20, lambda now_s: [point("run", now_s, int(now_s - T0), names)])
    assert len(judged.collector._known.runs["run"].tracks) <= 200
    assert not judged.found


def test_machine_series_of_no_known_kind_are_not_kept(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.go_on(
        20,
        lambda now_s: [
            machine_point(now_s, labels_of(host="box", cpu=number), {"host/cpu_pct": 1.0}) for number in range(200)
        ],
    )
    assert not judged.collector._known.machine
