"""A collector that does not come back: it is called stuck, with the place; its input is set aside; a new process goes on without it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from collectors import supervisor as supervisor_module
from collectors.collector_process import EXIT_AGAIN
from collectors.records import Points, Record
from collectors.store.engines import open_store
from collectors.supervisor import FORGET_S, RETRY_S, HungCollector, Quarantine, Supervisor, Watchdog
from tests.collectors.test_collector_process import answers, ask
from tests.conftest import ROOT, wait_for

LINE = '{"time_s": 1764000000.25, "step": 1, "train/loss": 2.5}\n'


class Hanging:
    """A collector that hangs from its third turn on."""

    name = "hanging"
    period_s = 0.05
    at_work_on = ""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.turns = 0

    def collect(self) -> list[Record]:
        self.turns += 1
        if self.turns == 3:
            self.at_work_on = "run/odd.jsonl"
            self.wait_for_ever()
            self.at_work_on = ""
        return [Points(None, (("host", "box"),), ("host/load_1m",), (1.0,), time.time(), None)]

    def wait_for_ever(self) -> None:
        self.release.wait()

    def close(self) -> None:
        """Nothing is held open."""


class Dying(Hanging):
    name = "dying"

    def collect(self) -> list[Record]:
        raise SystemExit("no more")


def test_a_collector_that_hangs_is_stuck_and_its_sentence_names_the_input_and_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "STUCK_S", 0.3)
    given_up: list[HungCollector] = []
    supervisor = Supervisor(open_store(tmp_path / "data", write=True), on_stale=lambda error: None)
    hanging = Hanging()
    supervisor.add(hanging)
    supervisor.start()
    health = wait_for(lambda: [one for one in supervisor.health() if one.state == "stuck"])[0]
    assert health.last_error.startswith("hanging has not come back for ")
    assert "reading run/odd.jsonl; it stands in " in health.last_error
    assert "test_watchdog.py:" in health.last_error and "wait_for_ever" in health.last_error
    dog = Watchdog(supervisor._workers, given_up.append, give_up_s=0.5)
    dog.start()
    wait_for(lambda: given_up)
    assert (given_up[0].collector, given_up[0].input) == ("hanging", "run/odd.jsonl")
    hanging.release.set()
    wait_for(lambda: [one.state for one in supervisor.health()] == ["ok"], because="it has come back")
    dog.stop()
    supervisor.stop()


def test_nobody_is_stuck_for_the_time_in_which_the_whole_process_stood_still() -> None:
    given_up, looks = [], []

    class Stopped:
        def stuck(self) -> HungCollector | None:
            looks.append(time.monotonic())
            if len(looks) == 1:
                time.sleep(0.7)  # as in a container that is paused: the watchdog stands still, too
            return HungCollector("tail", "innocent.jsonl", 0.7, "tail.py:1 collect") if len(looks) == 1 else None

    dog = Watchdog([Stopped()], given_up.append, give_up_s=0.4)
    dog.start()
    wait_for(lambda: len(looks) > 4)
    dog.stop()
    dog.join()
    assert given_up == []


def test_a_thread_that_has_ended_is_a_failure(tmp_path: Path) -> None:
    supervisor = Supervisor(open_store(tmp_path / "data", write=True), on_stale=lambda error: None)
    supervisor.add(Dying())
    supervisor.start()
    health = wait_for(lambda: [one for one in supervisor.health() if one.state != "ok"])[0]
    assert (health.state, "SystemExit: no more" in health.last_error) == ("failing", True)
    supervisor.stop()


def test_what_made_the_collector_hang_is_left_alone_by_the_next_process_which_reads_all_else(tmp_path: Path) -> None:
    log_dir, data_dir = tmp_path / "logs", tmp_path / "data"
    log_dir.mkdir()
    (log_dir / "hang.jsonl").write_text(LINE)
    command = [
        sys.executable,
        ROOT / "tests/programs/hanging.py",
        "--log-dir",
        log_dir,
        "--data-dir",
        data_dir,
        "--no-profile",
    ]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert first.returncode == EXIT_AGAIN, first.stderr
    assert [*json.loads((data_dir / supervisor_module.FILE).read_text())] == ["hang.jsonl"]
    (log_dir / "well.jsonl").write_text(LINE)
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as second:
        store = open_store(data_dir, write=False)
        wait_for(lambda: [run.name for run in store.runs() if run.points], because="the healthy file is not read")
        tail = next(one for one in ask(data_dir, "status")["collectors"] if one["name"] == "tail")
        assert tail["state"] == "ok"
        assert "hang.jsonl made tail hang in " in tail["last_error"]
        assert "it is tried again in some minutes" in tail["last_error"]
        store.close()
        second.terminate()
        assert second.wait(60) == 0
    assert not answers(data_dir)


def test_an_input_causes_three_restarts_and_once_it_has_changed_one_more(tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text("1")
    stuck = HungCollector("tail", "odd.jsonl", 31.0, "tail.py:1 collect")
    for restarts in (1, 2, 3):
        assert Quarantine(tmp_path, tmp_path).add(stuck), restarts
        assert Quarantine(tmp_path, tmp_path).reason("odd.jsonl")
    assert "once it changes" in Quarantine(tmp_path, tmp_path).reason("odd.jsonl")
    assert not Quarantine(tmp_path, tmp_path).add(stuck), "a fourth one would not help"
    file.write_text("12")
    assert Quarantine(tmp_path, tmp_path).reason("odd.jsonl") == ""
    assert Quarantine(tmp_path, tmp_path).add(stuck)
    assert Quarantine(tmp_path, tmp_path).reason("odd.jsonl")
    assert Quarantine(tmp_path, tmp_path).reason("other.jsonl") == ""


def test_where_no_input_is_known_the_restarts_are_counted_and_forgotten_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = HungCollector("gpu", "", 31.0, "nvml.py:1 collect")
    assert [Quarantine(tmp_path, tmp_path).add(stuck) for _ in range(4)] == [True, True, True, False]
    (tmp_path / supervisor_module.FILE).unlink()
    assert Quarantine(tmp_path, tmp_path).add(stuck)
    now_s = time.time()
    monkeypatch.setattr(supervisor_module.time, "time", lambda: now_s + RETRY_S + FORGET_S + 1)
    assert [Quarantine(tmp_path, tmp_path).add(stuck) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"reason": 1}}', "null", "[" * 5000])
def test_a_file_of_what_is_set_aside_that_makes_no_sense_sets_nothing_aside(text: str, tmp_path: Path) -> None:
    (tmp_path / supervisor_module.FILE).write_text(text)
    assert Quarantine(tmp_path, tmp_path).reason("a") == ""
