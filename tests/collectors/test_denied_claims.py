"""A run that names another run's process, as a copied folder does, has neither that process nor its end; seen through a real dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.machine.proc import boot_id, start_ticks
from tests.conftest import Dashboard, dashboard, script, wait_for
from tests.support.plain_scripts import HOST

LOOP = """
import os, sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], run=sys.argv[2]) as log:
    for step in range(1_000_000):
        log.scalars(step, {"train/loss": 1.0})
        time.sleep(0.05)
        if os.path.exists(sys.argv[3]):
            break
"""
PRINTS = "import time\nwhile True: print('step', flush=True); time.sleep(0.1)"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("denied") / "logs") as running:
        yield running


@contextmanager
def training(running: Dashboard, run: str) -> Iterator[subprocess.Popen[str]]:
    with script(LOOP, str(running.log_dir), run, str(running.log_dir.parent / run)) as process:
        wait_for(lambda: running.run(run).get("pid") == process.pid, because=f"no process of {run} is known")
        yield process


def end(running: Dashboard, process: subprocess.Popen[str], run: str, state: str) -> None:
    if state == "killed":
        process.kill()
    else:
        (running.log_dir.parent / run).touch()
    process.wait()
    wait_for(lambda: running.run(run)["state"] == state, because=f"{run} is not {state}: {running.run(run)}")


def is_denied(running: Dashboard, run: str) -> None:
    """By an event; it has no process since."""
    wait_for(lambda: "denied" in kinds(running, run), because=f"nobody denies {run} its process")
    wait_for(lambda: running.run(run).get("pid") is None, because=f"{run} has the process")


def kinds(running: Dashboard, run: str) -> set[str]:
    return {event["kind"] for event in running.get(f"/api/v1/events?run={run}").get("events", [])}


def has_no_end(running: Dashboard, *runs: str) -> None:
    """Of another run's process, once that is over: neither a state, nor an event, nor a finding."""
    for run in runs:
        row = running.run(run)
        assert row["state"] in ("running", "ended") and row["pid"] is None and not row["state_reason"], row
        assert "exit" not in kinds(running, run)
        assert not running.get(f"/api/v1/findings?run={run}")["findings"]


def forged(log_dir: Path, pid: int) -> list[str]:
    """Runs that name the process, by a start event of rank 0 or 1, or by run.json; with fresh lines."""
    start = {
        "time_s": time.time(),
        "kind": "start",
        "pid": pid,
        "pid_start_ticks": start_ticks(pid),
        "boot_id": boot_id(),
    }
    texts = {
        "start": ("events.jsonl", {**start, "host": HOST, "rank": 0}),
        "rank": ("events.rank1.jsonl", {**start, "host": HOST, "rank": 1}),
        "info": ("run.json", {"pid": pid, "host": HOST, "started_s": time.time()}),
    }
    for run, (name, fields) in texts.items():
        (log_dir / run).mkdir()
        (log_dir / run / name).write_text(json.dumps(fields) + "\n")
        line = {"time_s": time.time(), "step": 1, "train/loss": 1.0}
        (log_dir / run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return [*texts]


def test_a_folder_that_is_copied_and_a_forged_one_do_not_have_the_process_that_they_name_nor_its_end(
    running: Dashboard,
) -> None:
    logs = running.log_dir
    with training(running, "mine") as process:
        shutil.copytree(logs / "mine", logs / "copy")
        runs = ["copy", *forged(logs, process.pid)]
        for run in runs:
            is_denied(running, run)
        assert running.run("mine")["pid"] == process.pid
        assert not running.get("/api/v1/flame?run=copy&from=0&to=9e9")["samples"]
        end(running, process, "mine", "killed")
    shutil.copytree(logs / "mine", logs / "late")
    is_denied(running, "late")
    assert running.run("mine")["state"] == "killed"
    has_no_end(running, *runs, "late")


def test_a_copy_of_a_run_that_has_ended_itself_has_ended_like_it(running: Dashboard) -> None:
    logs = running.log_dir
    with training(running, "whole") as process:
        end(running, process, "whole", "finished")
    shutil.copytree(logs / "whole", logs / "whole-copy")
    wait_for(lambda: running.run("whole-copy").get("state") == "finished", because="the copy has another state")


def test_a_copy_of_a_run_under_run_does_not_have_its_process_nor_its_end(running: Dashboard) -> None:
    logs = running.log_dir
    command = (
        "app.py",
        "run",
        "--no-dashboard",
        "--quiet",
        "--log-dir",
        str(logs),
        "--name",
        "kept",
        "--",
        "python",
        "-c",
        PRINTS,
    )
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as watched:
        try:
            wait_for(lambda: running.run("kept").get("pid"), because="no process is known")
            shutil.copytree(logs / "kept", logs / "kept-copy")
            is_denied(running, "kept-copy")
        finally:
            watched.terminate()
    wait_for(lambda: running.run("kept")["state"] == "preempted", because="it goes on")
    has_no_end(running, "kept-copy")


def test_a_folder_that_is_renamed_keeps_its_process_and_its_end(running: Dashboard) -> None:
    logs = running.log_dir
    with training(running, "before") as process:
        (logs / "before").rename(logs / "after")
        wait_for(lambda: running.run("after").get("pid") == process.pid, because="the renamed run has no process")
        end(running, process, "after", "killed")
    (logs / "after").rename(logs / "again")
    wait_for(lambda: running.run("again").get("state") == "killed", because="the renamed run has another state")
