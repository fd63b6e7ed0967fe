"""When the end of a process is judged: not before what its run has said of it is known."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from collectors.logs.formats.jsonl import EventsParser
from collectors.logs.run import RunFolder
from collectors.logs.tail import ReadScheduler, Tail
from collectors.machine import lifetimes
from collectors.machine.finder import Denial, Finder
from collectors.machine.lifetimes import LifetimeCollector, _KnownProcess
from collectors.machine.run_state import RunActivity, RunProcess, state_of
from collectors.records import Event
from tests.collectors.test_processes import HOST, NOW, activity, end, start
from tests.conftest import wait_for


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process
        process.kill()


class Files:
    """What a tail has read of a run, and whether more waits."""

    def __init__(self, run: RunActivity) -> None:
        self.run, self.unread = run, False

    def live_runs(self, names: Collection[str] | None) -> list[RunActivity]:
        return [self.run]

    def lives(self, grace_s: float = 0.0) -> LifetimeCollector:
        return LifetimeCollector(
            self.live_runs, Finder(HOST), lambda run: (), host=HOST, is_unread=lambda run: self.unread, grace_s=grace_s
        )


def exits(events: list[Event]) -> list[str]:
    return [str(event.fields["state"]) for event in events if event.kind == "exit"]


def settle(lives: LifetimeCollector) -> None:
    """No look is due, and none is made for a process that another part has found."""
    for _ in range(3):
        lives.collect()


def gone(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def test_an_end_that_was_read_after_the_last_look_is_known_to_the_judge(child: subprocess.Popen[bytes]) -> None:
    files = Files(activity([start(child.pid)]))
    lives = files.lives()
    settle(lives)
    gone(child)
    files.run = files.run._replace(ends=[end(status="finished")])
    assert exits(lives.collect()) == []


def test_a_process_that_was_gone_when_its_start_was_read_is_judged_by_what_was_read_since(
    child: subprocess.Popen[bytes],
) -> None:
    files = Files(activity([start(child.pid)]))
    gone(child)
    lives = files.lives(grace_s=0.2)
    assert lives.collect() == []
    files.run, events = files.run._replace(ends=[end(status="finished")]), list[Event]()
    while lives.knows_a_process_of("run"):
        events += lives.collect()
    assert exits(events) == []


def test_while_news_of_the_run_wait_to_be_read_nothing_is_judged(child: subprocess.Popen[bytes]) -> None:
    files = Files(activity([start(child.pid)]))
    lives = files.lives()
    lives.collect()
    gone(child)
    files.unread = True
    for _ in range(3):
        assert exits(lives.collect()) == []
    files.unread = False
    assert exits(lives.collect()) == ["killed"]


ODD = [[1], {"a": 1}, "7", 1.5, True, None, -1, 1 << 70]


@pytest.mark.parametrize("field", ["pid", "pid_start_ticks", "boot_id", "host"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_field_of_a_start_that_is_not_what_it_must_be_costs_no_other_run(
    field: str, value: object, child: subprocess.Popen[bytes]
) -> None:
    """As the collector's memory has it, also of what an earlier version stored."""
    good = Files(activity([start(child.pid)]))
    odd = start(child.pid)._replace(run="odd")
    odd = odd._replace(fields={**odd.fields, field: value})
    lives = LifetimeCollector(
        lambda names: [activity([odd])._replace(run="odd"), good.run],
        Finder(HOST),
        lambda run: (),
        host=HOST,
        grace_s=0.0,
    )
    seen = [event for _ in range(3) for event in lives.collect()]
    assert child.pid in {event.fields["pid"] for event in seen if event.kind == "process"}
    gone(child)
    ended = [event for _ in range(3) for event in lives.collect()]
    assert exits([event for event in ended if event.run == good.run.run]) == ["killed"]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_such_a_field_is_left_out_where_it_is_read_and_counted(value: object) -> None:
    events = EventsParser("run", {"lifetimes": [["start", 1.0, 0, None, None, "", {"pid": value, "host": value}]]})
    line = {"time_s": 2.0, "kind": "start", "pid": value, "pid_start_ticks": value, "boot_id": value, "note": value}
    (event,) = events.parse([json.dumps(line).encode()], None)
    for known in (event, *events.lifetimes):
        assert isinstance(known, Event)
        for name in ("pid", "pid_start_ticks"):
            assert name not in known.fields or type(known.fields[name]) is int
        for name in ("boot_id", "host"):
            assert name not in known.fields or isinstance(known.fields[name], str)
    assert bool(events.tally.fields_skipped) == (value is not None)


def test_what_waits_for_ever_is_not_waited_for(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.machine.lifetimes.UNREAD_S", 0.05)
    files = Files(activity([start(child.pid)]))
    lives = files.lives()
    lives.collect()
    gone(child)
    files.unread = True
    assert wait_for(lambda: exits(lives.collect())) == ["killed"]


def test_what_changes_while_it_is_put_together_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder("run", Path("/logs/run"), False, HOST)
    found: list[Event] = []

    def read_by_another_thread_meanwhile() -> list[Event]:
        known = list(found)
        if not found:
            found.append(end(status="finished"))
            folder.noticed(found)
        return known

    monkeypatch.setattr(folder, "_lifetimes", read_by_another_thread_meanwhile)
    assert folder.activity().ends == []
    assert len(folder.activity().ends) == 1
    assert folder.activity() is folder.activity()


def test_only_files_of_events_are_waited_for_and_those_of_its_own_folder(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "events.jsonl").write_text(f'{{"time_s": {NOW}, "kind": "note"}}\n')
    tail = Tail(tmp_path, HOST, {}, threading.Event())
    wait_for(lambda: not tail.collect() and not tail.is_looking_for_runs)
    turns: ReadScheduler = tail._schedule
    for name in ("train.log", "events.rank1.jsonl"):
        (tmp_path / "a" / name).touch()
    turns.live(tmp_path / "a" / "train.log")
    assert not tail.is_unread("a")
    turns.live(tmp_path / "a" / "events.rank1.jsonl")
    assert tail.is_unread("a") and not tail.is_unread("b") and not tail.is_unread("nothing")
    tail.close()


def test_only_a_process_s_first_run_began_with_it(child: subprocess.Popen[bytes]) -> None:
    """A sweep makes its runs one after another in one process."""
    files = Files(activity([start(child.pid)]))
    lives = files.lives()
    first = lives.collect()
    files.run = files.run._replace(run="second", starts=[start(child.pid)._replace(run="second")])
    successor = LifetimeCollector(files.live_runs, Finder(HOST), lambda run: (), host=HOST, written=first)
    seen = [event for event in [*first, *successor.collect()] if event.kind == "process"]
    assert [(event.run, "mono_s" in event.fields) for event in seen] == [("run", True), ("second", False)]


NOT_CLOSED = {"status": "ended", "reason": "the log was not closed, and the exit code is not known"}
TRACEBACK = ["Traceback (most recent call last):", '  File "train.py", line 3, in <module>', "ValueError: no data"]


@pytest.mark.parametrize(
    ("lines", "code", "state", "reason"),
    [
        ([], None, "ended", NOT_CLOSED["reason"]),
        ([], 3, "failed", "ended with exit status 3"),
        ([], 0, "finished", ""),
        (TRACEBACK, None, "failed", "ValueError: no data"),
        (["step 1: loss 0.5"], None, "ended", NOT_CLOSED["reason"]),
    ],
)
def test_a_log_that_was_not_closed_claims_no_more_than_is_known(
    child: subprocess.Popen[bytes], lines: list[str], code: int | None, state: str, reason: str
) -> None:
    run = activity([start(child.pid)], [end(**NOT_CLOSED)])
    lives = LifetimeCollector(lambda names: [run], Finder(HOST), lambda name: lines, host=HOST, grace_s=0.0)
    judged = lives._word_beside(_KnownProcess("run", RunProcess(child.pid, 0, 1)), run.ends[0], code)
    found = state_of(run._replace(exits=judged), NOW)
    assert found.state == state and reason in found.reason


@pytest.mark.parametrize("late", ["found late", "its end read late"])
def test_logs_that_were_left_open_wait_for_what_the_other_runs_of_their_process_tell(
    late: str, child: subprocess.Popen[bytes]
) -> None:
    def named(run: str, *ends: Event) -> RunActivity:
        return activity([start(child.pid)._replace(run=run)], [each._replace(run=run) for each in ends])._replace(
            run=run
        )

    opened, closed = named("open", end(**NOT_CLOSED)), named("told", end(status="crashed", reason="exit 5"))
    found = [opened] if late == "found late" else [named("open"), named("told")]
    lives = LifetimeCollector(
        lambda names: [run for run in found if names is None or run.run in names],
        Finder(HOST),
        lambda run: (),
        host=HOST,
        grace_s=0.2,
    )
    gone(child)
    events = lives.collect()
    found[:] = [opened, closed]
    while lives.knows_a_process_of("open"):
        events += lives.collect()
    ended = [event for event in events if event.run == "open"]
    assert state_of(opened._replace(exits=ended), NOW)[:2] == ("failed", "exit 5")


@pytest.mark.parametrize("lasts", [False, True], ids=["until its end is read", "on and on"])
def test_a_process_that_has_just_closed_a_log_is_not_taken_for_another_runs(
    lasts: bool, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetimes, "DENIED_AFTER_S", 0.3)
    monkeypatch.setattr(lifetimes, "LOOK_S", (0.0, 0.0))
    finder, claim = Finder(HOST), RunProcess(child.pid, 0, start(child.pid).fields["pid_start_ticks"])
    denied = {"run": [Denial(claim, "other")]}
    monkeypatch.setattr(finder, "find", lambda activities: {})
    monkeypatch.setattr(finder, "denied", lambda: denied)
    files = Files(activity([start(child.pid)]))
    lives = LifetimeCollector(files.live_runs, finder, lambda run: (), host=HOST, grace_s=0.0)
    events, begun_s = list[Event](), time.monotonic()
    while time.monotonic() - begun_s < 0.8:
        events += lives.collect()
        if not lasts and time.monotonic() - begun_s > 0.15:
            files.run, denied = files.run._replace(ends=[end(status="finished")]), {}
    assert [event.kind for event in events] == (["denied"] if lasts else [])


def test_until_it_is_judged_a_log_that_was_left_open_says_so_itself(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid)], [end(**NOT_CLOSED)])
    gone(child)
    assert state_of(run, NOW)[:2] == ("ended", NOT_CLOSED["reason"])


def test_one_rank_that_did_not_close_its_log_leaves_the_runs_end_open() -> None:
    starts = [start(1, 0), start(2, 1)]
    closed, crashed = end(rank=1, status="finished"), end(rank=1, status="crashed", reason="ValueError: no")
    assert state_of(activity(starts, [end(**NOT_CLOSED), closed]), NOW).state == "ended"
    assert state_of(activity(starts, [end(**NOT_CLOSED), crashed]), NOW)[:2] == ("failed", "ValueError: no")
