"""What a living run is at that makes no steps: by its start, its stacks and its silence, and how the pages learn it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.findings.life import Activity
from collectors.control import FILE, ControlError, ControlServer, ask
from collectors.records import Frame, Record
from collectors.store.store import Store
from dashboard.findings import ActivityReader
from tests.conftest import dashboard, script, wait_for
from tests.support.judged import T0, JudgedRuns, machine_point, point
from tests.support.judged_stacks import COMPILE, LINEAR, LOOP, MODULE, PIECE_S, SAVE, Part, of_loop, profile

SELECT = Frame("select", "/usr/lib/python3.11/selectors.py", 468)
VALIDATE = Frame("validate", "/job/train.py", 60)
TAKE = Frame("take", "/job/locks.py", 77)
LABELS = (("host", "box"), ("rank", "0"), ("run", "run"))


def pauses(store: Store, stack: Sequence[Frame], *, steps_s: float, seconds: float) -> JudgedRuns:
    """A run makes a step a second for `steps_s`, then stands at a stack without a line."""
    judged = JudgedRuns(store, line_of=lambda file, line: "with lock:" if line == 77 else "")
    judged.begin("run")

    judged.go_on(steps_s + seconds, second(stack, steps_s))
    return judged


def second(stack: Sequence[Frame], steps_s: float) -> Callable[[float], Iterable[Record]]:
    def records(now_s: float) -> Iterable[Record]:
        passed = now_s - T0
        if passed <= steps_s:
            yield point("run", now_s, int(passed), {"loss": 1.0})
        yield machine_point(now_s, LABELS, {"host/run_cpu_pct": 0.2, "host/run_read_bytes_per_s": 0.0})
        if passed % PIECE_S == 0 and passed > steps_s:
            yield profile("run", now_s - PIECE_S, [Part(5000, (MODULE, *stack))])

    return records


def word(judged: JudgedRuns) -> str | None:
    doing = judged.collector.doings().get("run")
    return doing.word if doing else None


def test_a_run_is_starting_until_its_first_step(store: Store) -> None:
    judged = pauses(store, of_loop(LINEAR), steps_s=0, seconds=20)
    assert judged.collector.doings() == {"run": Activity("starting", T0)}
    judged.go_on(6, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    assert word(judged) is None


@pytest.mark.parametrize(
    ("stack", "expected"),
    [((LOOP, COMPILE), "compiling"), ((LOOP, VALIDATE, LINEAR), "validating"), ((LOOP, SAVE), "checkpointing")],
)
def test_a_pause_of_some_seconds_has_a_name_where_the_stacks_give_one(
    store: Store, stack: Sequence[Frame], expected: str
) -> None:
    judged = pauses(store, stack, steps_s=30, seconds=20)
    assert judged.collector.doings() == {"run": Activity(expected, T0 + 30)}  # type: ignore[arg-type]


def test_a_compilation_before_the_first_step_has_its_name(store: Store) -> None:
    assert word(pauses(store, (LOOP, COMPILE), steps_s=0, seconds=20)) == "compiling"


def test_a_notebook_that_waits_for_its_next_cell_is_idle(store: Store) -> None:
    assert word(pauses(store, (SELECT,), steps_s=30, seconds=20)) is None
    assert word(pauses(store, (SELECT,), steps_s=30, seconds=50)) == "idle"


def test_silence_becomes_a_hang_where_nothing_moves(store: Store) -> None:
    judged = pauses(store, (LOOP, TAKE), steps_s=60, seconds=60)
    assert word(judged) == "silent"
    judged = pauses(store, (LOOP, TAKE), steps_s=60, seconds=340)
    assert word(judged) == "hung"


def test_a_hang_of_an_hour_is_still_one_for_a_collector_that_starts_again(store: Store) -> None:
    judged = pauses(store, (LOOP, TAKE), steps_s=60, seconds=340)
    judged.now_s += 3600
    judged._look_s = judged.now_s
    judged.restart()
    judged.go_on(90, second((LOOP, TAKE), 60))
    assert word(judged) == "hung"
    assert [found.over for found in judged.of("hung")] == [False]


def test_a_run_that_is_over_is_at_nothing(store: Store) -> None:
    judged = pauses(store, (SELECT,), steps_s=30, seconds=50)
    judged.finder.processes.clear()
    judged.go_on(10)
    assert word(judged) is None


BEGINS = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="begins") as log:
    time.sleep(600)
"""


def test_the_strip_and_the_table_say_what_a_run_is_at(tmp_path: Path, page: Page) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    with script(BEGINS, str(log_dir)), dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: [row["doing"] for row in running.get("/api/v1/runs")["runs"]] == ["starting"])
        assert [row["doing"] for row in running.get("/api/v1/table?columns=state&q=state:starting")["rows"]] == [
            "starting"
        ]
        page.goto(f"{running.address}/?run=begins")
        expect(page.locator("#state")).to_contain_text("Starting for")
        page.goto(f"{running.address}/runs")
        expect(page.locator(".run-state")).to_have_text(re.compile("starting"))


@pytest.mark.parametrize(
    "answer", [{"a": ["hung", 5.0], "b": ["dancing", 1.0], "c": ["idle", "x"], "d": 3, "e": ["idle"]}, [], None, "x"]
)
def test_the_pages_ask_the_collector_and_take_what_they_understand(tmp_path: Path, answer: Any) -> None:
    doings = ActivityReader(tmp_path)
    assert doings.of("a") is None
    server = ControlServer(tmp_path, {"doings": lambda: answer})
    try:
        known = ActivityReader(tmp_path)
        if isinstance(answer, dict):
            wait_for(lambda: known.of("a") == Activity("hung", 5.0))
        else:
            assert known.of("a") is None
        assert [known.of(run) for run in "bcdef"] == [None] * 5
    finally:
        server.close()


def test_nobody_waits_for_a_collector_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, asking = threading.Event(), list[threading.Thread]()

    def silent(*_: object) -> object:
        asking.append(threading.current_thread())
        ends.wait(120)
        raise ControlError("no answer")

    monkeypatch.setattr("dashboard.findings.ask", silent)
    doings = ActivityReader(tmp_path)
    for _ in range(20):
        assert doings.of("a") is None
    wait_for(lambda: asking)
    assert len(asking) == 1 and threading.current_thread() not in asking
    ends.set()
    asking[0].join()
    assert wait_for(lambda: doings.of("a") is None and len(asking) > 1, because="it is not asked anew")


def test_what_was_known_is_forgotten_when_the_collector_answers_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ControlServer(tmp_path, {"doings": lambda: {"a": ["hung", 5.0]}})
    doings = ActivityReader(tmp_path)
    wait_for(lambda: doings.of("a") == Activity("hung", 5.0))
    server.close()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / FILE))
        silent.listen()
        monkeypatch.setattr("dashboard.findings.OLD_S", 0.2)
        time.sleep(0.3)
        assert doings.of("a") is None


@pytest.mark.parametrize("answer", [b"1\n", b"[1]\n", b"null\n", b'"ok"\n', b"{}\n", b"\n", b"{", b"\xff\n"])
def test_an_answer_that_is_none_is_a_sentence(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / FILE))
        other.listen()

        def reply() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ControlError, match="the collector"):
            ask(tmp_path, "doings")
        thread.join()
