"""Ends of runs: said once, for all ranks, with what is known, and not of runs that nobody waited for."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.findings.collector import FindingsCollector
from analysis.findings.rule import MachineSubject, RunSubject
from analysis.findings.rules import BY_NAME
from analysis.findings.services import queue_stuck
from analysis.findings.watch import WITH_RUN
from collectors.logs.tail import Tail
from collectors.machine.finder import Finder
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Finding, LogLine, Record, RunInfo
from collectors.store.store import Store
from tests.conftest import wait_for
from tests.support.judged import T0, JudgedRuns, point
from tests.support.planted_findings import PlantedRun, found_in_time, healthy
from tests.support.planted_findings import windows as windows  # a fixture


def ends(fields: Mapping[str, object]) -> object:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        return [Event(run.name, "end", run.planted_s, fields=fields)] if now_s - 1 < run.planted_s <= now_s else []

    return more


@pytest.mark.parametrize(
    ("status", "rule", "words"),
    [
        ("failed", "crash", "failed at step"),
        ("killed", "crash", "was killed at step"),
        ("finished", "finished", "finished after"),
    ],
)
def test_an_end_is_found_in_time(tmp_path: Path, windows: int, status: str, rule: str, words: str) -> None:
    judged = found_in_time(
        tmp_path,
        windows,
        rule,
        lambda step, since_s, dice: healthy(step, since_s, dice) if since_s is None else None,
        more=ends({"status": status, "reason": "" if status == "finished" else "ValueError: no"}),  # type: ignore[arg-type]
    )
    assert len(judged.of(rule)) == windows
    assert all(
        words in found.sentence and found.weight == ("note" if rule == "finished" else "alert")
        for found in judged.of(rule)
    )


def test_ranks_that_fail_in_turn_are_one_crash(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run", 4)
    judged.go_on(90, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    for rank in (2, 0, 3, 1):
        judged.take(
            [Event("run", "end", judged.now_s, rank=rank, fields={"status": "failed", "reason": f"rank {rank}"})]
        )
        judged.go_on(7)
    judged.restart()
    judged.go_on(20)
    assert len(judged.of("crash")) == 1


def test_an_end_that_was_stored_and_not_judged_before_a_restart_is_found_once(store: Store) -> None:
    """The dashboard was stopped between the two."""
    judged = JudgedRuns(store)
    judged.begin("run")
    judged.go_on(90, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.take([Event("run", "end", judged.now_s, fields={"status": "failed", "reason": "no"})])
    for _ in range(2):
        judged.restart()
        judged.go_on(30)
        assert [found.sentence for found in judged.found.values()] == ["The run failed at step 90: no."]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("failed", "The run failed at step 11: Exit code 3."),
        ("finished", "The run finished after 20 s, at step 11, last loss 1."),
    ],
)
def test_the_end_of_a_short_run_whose_numbers_come_after_it_has_its_step(
    store: Store, status: str, sentence: str
) -> None:
    """Those of a text wait for a moment, in case that another file has them."""
    judged = JudgedRuns(store)
    judged.begin("run")
    judged.go_on(20)
    judged.take(
        [Event("run", "end", judged.now_s, fields={"status": status, "reason": "Exit code 3" * (status == "failed")})]
    )
    ended_s = judged.now_s
    judged.go_on(4)
    judged.take([point("run", ended_s - 20 + step, step, {"loss": 1.0}) for step in range(12)])
    judged.go_on(10)
    assert [found.sentence for found in judged.found.values()] == [sentence]


def test_the_end_of_a_run_without_steps_is_said_soon(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")
    judged.go_on(20)
    judged.take([Event("run", "end", judged.now_s, fields={"status": "failed", "reason": "ImportError: no"})])
    judged.go_on(8)
    assert [found.sentence for found in judged.of("crash")] == ["The run failed: ImportError: no."]


def test_the_next_attempt_may_crash_again(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    for _ in range(2):
        judged.begin("run")
        judged.go_on(90, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
        judged.take([Event("run", "end", judged.now_s, fields={"status": "failed", "reason": "no"})])
        judged.go_on(10)
    assert len(judged.of("crash")) == 2


def test_the_best_result_and_the_duration_are_in_the_words(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(
        300,
        lambda now_s: [
            point("run", now_s, int(now_s - T0), {"loss": 1.0, "val/loss": 2.0 - (int(now_s - T0) % 200) / 200})
        ],
    )
    judged.take([Event("run", "end", judged.now_s, fields={"status": "finished"})])
    judged.go_on(10)
    assert [found.sentence for found in judged.of("finished")] == [
        "The run finished after 5 min, at step 300, best val/loss 1.005."
    ]


class FollowedRun:
    """A run whose files a tail follows; what is written is not known before it is read, and not judged before a look."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder / "logs" / "run", store
        self.folder.mkdir(parents=True)
        self.tail = Tail(folder / "logs", "box", {}, threading.Event())
        looks = count(0, 60)
        self.collector = FindingsCollector(
            store,
            self.tail.live_runs,
            Finder("box"),
            host="box",
            line_of=lambda run: lambda file, line: "",
            is_behind=self.tail.is_behind,
            monotonic=lambda: next(looks),  # every rule is due at each look
        )

    def write(self, name: str, *rows: Mapping[str, object]) -> None:
        with (self.folder / name).open("a") as file:
            file.write("".join(f"{json.dumps({'time_s': time.time(), **row})}\n" for row in rows))

    def read(self, until: str) -> None:
        """Until that file is read to its end."""

        def is_read() -> bool:
            records = self.tail.collect()
            if records:
                self.store.append(records)
                self.collector.take(records)
            offset = self.store.offsets().get(f"run/{until}")
            return offset is not None and offset.offset == (self.folder / until).stat().st_size

        wait_for(is_read)

    def told(self) -> list[str]:
        """What a look says of the end."""
        return [
            found.sentence
            for found in self.collector.collect()
            if isinstance(found, Finding) and found.rule == "finished"
        ]


@pytest.fixture
def followed(tmp_path: Path, store: Store) -> Iterator[FollowedRun]:
    run = FollowedRun(tmp_path, store)
    yield run
    run.tail.close()


def test_an_end_is_told_with_the_last_records_in_whatever_order_they_are_read(followed: FollowedRun) -> None:
    followed.write("events.jsonl", {"kind": "start", "pid": 1})
    followed.write("metrics.jsonl", *({"step": step, "val/loss": 1.0 - step / 100} for step in range(50)))
    followed.read("metrics.jsonl")
    assert followed.told() == []
    followed.write("events.jsonl", {"kind": "end", "status": "finished"})
    followed.read("events.jsonl")
    followed.write("metrics.jsonl", {"step": 50, "val/loss": 0.25})
    assert followed.told() == [], "a record that was written and not read"
    followed.read("metrics.jsonl")
    (sentence,) = followed.told()
    assert sentence.endswith("at step 50, best val/loss 0.25.")


def test_records_that_are_stored_while_the_end_is_judged_are_awaited(followed: FollowedRun) -> None:
    """The end is known from the files at once, the records by what was stored before the look."""
    followed.write("events.jsonl", {"kind": "start", "pid": 1})
    followed.write("metrics.jsonl", *({"step": step, "val/loss": 1.0} for step in range(50)))
    followed.read("metrics.jsonl")
    assert followed.told() == []
    live_runs = followed.tail.live_runs

    def read_meanwhile(names: Collection[str] | None = None) -> list[RunActivity]:
        followed.write("metrics.jsonl", {"step": 50, "val/loss": 0.25})
        followed.write("events.jsonl", {"kind": "end", "status": "finished"})
        followed.read("metrics.jsonl")
        followed.read("events.jsonl")
        followed.collector._live_runs = live_runs
        return live_runs(names)

    followed.collector._live_runs = read_meanwhile
    assert followed.told() == []
    (sentence,) = followed.told()
    assert sentence.endswith("at step 50, best val/loss 0.25.")


def test_what_a_run_holds_beyond_what_is_stored(followed: FollowedRun) -> None:
    followed.write("metrics.jsonl", {"step": 0, "loss": 1.0})
    (followed.folder / "run.json").write_text("{}")
    followed.read("metrics.jsonl")
    followed.read("run.json")
    reached = {name: offset.offset for name, offset in followed.store.offsets().items()}
    assert reached.keys() >= {"run/metrics.jsonl", "run/run.json"} and not followed.tail.is_behind("run", reached)
    (followed.folder / "run.json").write_text('{"config": {}}')
    assert not followed.tail.is_behind("run", reached), "it is read as a whole, and holds no records"
    with (followed.folder / "metrics.jsonl").open("a") as file:
        file.write('{"time_s": 1')
    assert followed.tail.is_behind("run", reached)
    (followed.folder / "metrics.jsonl").unlink()
    assert not followed.tail.is_behind("run", {**reached, "run/a\0b.jsonl": 0, "gone/metrics.jsonl": 7})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda second: math.nan if second > 40 else 0.5, "last loss NaN."),
        (lambda second: math.nan, "last loss NaN."),
        (lambda second: -math.inf if second > 40 else 0.5, "last loss -inf."),
        (lambda second: 0.5 if second % 2 else math.nan, "last loss 0.5."),  # NaN says that a step has no value
        (lambda second: math.nan if 20 < second < 40 else 0.25, "last loss 0.25."),
    ],
)
def test_a_finished_run_says_its_last_loss(store: Store, value: Callable[[int], float], said: str) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": value(int(now_s - T0))})])
    judged.take([Event("run", "end", judged.now_s, fields={"status": "finished"})])
    judged.go_on(10)
    (found,) = judged.of("finished")
    assert found.sentence.endswith(said)


@pytest.mark.parametrize("seen", [True, False])
def test_a_run_that_only_prints_took_as_long_as_its_process_lived(store: Store, seen: bool) -> None:
    """It is seen three seconds after its start, or is over before."""
    judged = JudgedRuns(store, stored=False)
    if seen:
        fields = {"pid": 7, "mono_s": 5000.0, "pid_start_ticks": 499_680}
        judged.take([Event("run", "process", judged.now_s, fields=fields)])
    else:
        judged.take([RunInfo("run", {"pid": 7, "started_s": judged.now_s - 3.2})])
    judged.go_on(48, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.take([Event("run", "end", judged.now_s, fields={"status": "finished"})])
    judged.go_on(10)
    (found,) = judged.of("finished")
    assert found.sentence.startswith("The run finished after 51 s, at step 48")
    assert found.fields["numbers"]["seconds"] == pytest.approx(51.2)


def test_a_run_is_finished_when_its_last_rank_is(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run", 3)
    for rank in (2, 1, 0):
        judged.go_on(50, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
        judged.take([Event("run", "end", judged.now_s, rank=rank, fields={"status": "finished"})])
        judged.finder.processes["run"].pop()
    judged.go_on(10)
    (found,) = judged.of("finished")
    assert (found.weight, found.from_s) == ("note", T0 + 150)
    assert found.sentence.startswith("The run finished after 2 min, at step 150")


def test_findings_of_a_run_end_with_it(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": float("nan")})])
    assert [found.over for found in judged.of("nan_lasting")] == [False]
    judged.take([Event("run", "end", judged.now_s, fields={"status": "failed"})])
    judged.finder.processes.clear()
    judged.go_on(90)
    assert [(found.over, found.fields[WITH_RUN]) for found in judged.of("nan_lasting")] == [(True, True)], (
        "it was not resolved"
    )


def test_what_recovered_before_the_run_ended_was_resolved(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": float("nan")})])
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.take([Event("run", "end", judged.now_s, fields={"status": "finished"})])
    judged.go_on(90)
    assert [(found.over, WITH_RUN in found.fields) for found in judged.of("nan_lasting")] == [(True, False)]


def of_another_host(judged: JudgedRuns, every_s: float, lines: int = 16) -> None:
    """A run without a process here, with so many lines; from the 11th on its loss is NaN."""
    judged.take([Event("run", "start", judged.now_s, fields={"host": "elsewhere", "pid": 7, "pid_start_ticks": 1})])
    for line in range(lines):
        judged.take([point("run", judged.now_s, 20 * line, {"loss": 1.0 if line < 10 else math.nan})])
        pass_by(judged, every_s)


def pass_by(judged: JudgedRuns, seconds: float) -> None:
    for _ in range(30):
        judged.now_s += seconds / 30
        judged.look()


def ends_of(judged: JudgedRuns) -> list[tuple[bool, object]]:
    return [(found.over, found.fields.get(WITH_RUN)) for found in judged.of("nan_lasting")]


@pytest.mark.parametrize("every_s", [240, 720, 1500])
def test_a_run_of_another_host_that_writes_rarely_goes_on_and_so_does_what_holds_in_it(
    store: Store, every_s: int
) -> None:
    judged = JudgedRuns(store)
    of_another_host(judged, every_s)
    assert ends_of(judged) == [(False, None)]
    pass_by(judged, 21 * every_s)
    assert ends_of(judged) == [(True, True)], "it says no more"


def test_a_run_of_another_host_goes_on_after_a_pause(store: Store) -> None:
    """Such as a validation: longer than 20 of its lines take, and too short to be an end."""
    judged = JudgedRuns(store)
    of_another_host(judged, 2)
    assert ends_of(judged) == [(False, None)]
    judged.go_on(300)
    assert ends_of(judged) == [(False, None)]
    judged.go_on(60, lambda now_s: [point("run", now_s, 20 * int(now_s - T0), {"loss": 1.0})])
    assert ends_of(judged) == [(True, None)], "it was resolved"


@pytest.mark.parametrize("ended", [False, True])
def test_what_holds_in_a_run_that_has_not_written_since_the_collector_began_ends_if_the_run_did(
    store: Store, ended: bool
) -> None:
    judged = JudgedRuns(store)
    of_another_host(judged, 720)
    if ended:
        judged.lines["run"].ends.append(Event("run", "end", judged.now_s, fields={"status": "failed", "reason": "no"}))
    judged.restart()
    pass_by(judged, 700)
    assert ends_of(judged) == [(ended, ended or None)]


LOGGED = """Traceback (most recent call last):
  File "/home/a/train.py", line 12, in <module>
    main()
  File "/home/a/model.py", line 5, in forward
    return self.net(x)
{}"""


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (f"ValueError: {'x' * 700}", f"The run failed at step 60: ValueError: {'x' * 200}"),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which "
            f"1.00 GiB is free. {'Process 7 has memory in use. ' * 20}",
            "The run failed at step 60: GPU 0 ran out of memory: 2.00 GiB",
        ),
    ],
)
def test_a_crash_says_what_was_raised_from_its_beginning_and_where(store: Store, last: str, sentence: str) -> None:
    """However long the message is, and whatever the program printed last."""
    judged = JudgedRuns(store, stored=True)
    judged.begin("run")
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    texts = [*LOGGED.format(last).splitlines(), "wandb: synced"]
    lines = [LogLine("run", "stderr.log", judged.now_s, 0, text) for text in texts]
    store.append(lines)
    judged.take([*lines, Event("run", "end", judged.now_s, fields={"status": "failed", "reason": last[-300:]})])
    judged.go_on(10)
    (found,) = judged.of("crash")
    assert found.sentence.startswith(sentence), found.sentence
    assert found.fields["place"] == {"function": "forward", "file": "/home/a/model.py", "line": 5}


def test_a_run_that_was_stopped_to_make_room_and_does_not_come_back_is_found(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(60, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.take([Event("run", "end", judged.now_s, fields={"status": "killed", "reason": "stopped by SIGTERM"})])
    judged.finder.processes.clear()
    ended_s = judged.now_s
    judged.go_on(BY_NAME["not_back"].needs_s + 5)
    assert [found.weight for found in judged.of("not_back")] == ["alert"]
    assert min(judged.first_s[found.id] for found in judged.of("not_back")) - ended_s >= 1800
    assert not judged.of("crash")
    judged.begin("run")
    judged.go_on(120, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    assert all(found.over for found in judged.of("not_back"))


@pytest.mark.parametrize("moves", ["queued", "cancelled", "silence"])
def test_a_job_that_is_stuck_in_its_queue_is_said_once_until_it_moves(store: Store, moves: str) -> None:
    """No process of it lives, for hours; the queue says each five minutes that it is stuck."""
    judged = JudgedRuns(store, stored=False)
    judged.take([Event("run", "submitted", judged.now_s, fields={"job": 7})])
    judged.go_on(1800)
    since_s = judged.now_s - 1800
    for _ in range(24):
        judged.take(
            [
                Event(
                    "run", "stuck", judged.now_s, text="waits for 1 GPU; others use 1 of 1", fields={"since_s": since_s}
                )
            ]
        )
        judged.go_on(300)
    (found,) = judged.of("queue_stuck")
    assert found.weight == "alert" and not found.over and "others use 1 of 1" in found.sentence
    assert found.from_s == pytest.approx(since_s) and found.to_s > judged.now_s - 60
    if moves == "silence":  # the daemon has ended
        judged.go_on(900)
    else:
        judged.take([Event("run", moves, judged.now_s, seconds=9000.0)])
        judged.go_on(120)
    assert [found.over for found in judged.of("queue_stuck")] == [True]


@given(
    since=st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers()),
    text=st.text(max_size=50),
)
def test_whatever_an_event_stuck_holds_it_breaks_no_rule(since: object, text: str) -> None:
    subject = RunSubject(
        "run",
        T0,
        None,
        MachineSubject(T0),
        events=[Event("run", "stuck", T0 - 1, text=text, fields={"since_s": since})],
    )  # type: ignore[arg-type]
    assert all(found.from_s <= found.to_s and math.isfinite(found.from_s) for found in queue_stuck(subject))
