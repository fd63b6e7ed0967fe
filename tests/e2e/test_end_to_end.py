"""The main job, with real parts: a real trainer, a real collector, a real py-spy, a real Chromium."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT, Dashboard, dashboard, script, wait_for

EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED",)  # the server may end before the page
LOGGER = """
import sys, time
from deepseek.log import RunLog

def count_up(log, first, count):
    for step in range(first, first + count):
        log.scalars(step, {"train/loss": float(step), "phase/forward_s": 0.005})
        time.sleep(0.005)

with RunLog(sys.argv[1], run=sys.argv[2]) as log:
    count_up(log, 0, int(sys.argv[3]))
"""
SPINNER = """
import sys, time
from deepseek.log import RunLog

def {name}(until):
    while time.monotonic() < until:
        sum(range(1000))

with RunLog(sys.argv[1], run=sys.argv[2], rank=int(sys.argv[3]), world_size=int(sys.argv[4])) as log:
    for step in range(1_000_000):
        {name}(time.monotonic() + 0.05)
        log.scalars(step, {{"train/loss": {loss}}})
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """`make run`: a real training run, watched."""
    with dashboard(tmp_path_factory.mktemp("demo") / "logs", "--demo") as running:
        yield running


def drawn(page: Page, series: str) -> dict[str, Any]:
    """What the page last painted of a series: its newest time, value and number of points."""
    told: dict[str, Any] | None = page.evaluate("name => globalThis.deepseekPainted?.drawn?.[name] ?? null", series)
    return told or {}


def flame_names(page: Page) -> list[str]:
    names: list[str] = page.evaluate("() => globalThis.deepseekPainted?.flame?.names ?? []")
    return names


def test_the_page_shows_a_falling_loss_moving_host_lanes_and_the_trainers_frames(demo: Dashboard, page: Page) -> None:
    page.goto(demo.address)
    first = wait_for(lambda: drawn(page, "train/loss"), because="no loss on the chart")
    host = wait_for(lambda: drawn(page, "host/cpu_pct"), because="no host lane")
    wait_for(lambda: drawn(page, "train/loss")["v"] < first["v"] - 0.5, 60, "the loss does not fall")
    wait_for(lambda: drawn(page, "host/cpu_pct")["t"] > host["t"], because="the host lane stands still")
    wait_for(lambda: {"train", "GPT.forward"} & set(flame_names(page)), because="no frame of the trainer")
    wait_for(
        lambda: "No NVIDIA or AMD driver found" in page.inner_text("body"), because="nothing said of the missing GPU"
    )


def test_a_dragged_window_shows_the_flame_graph_and_the_log_lines_of_exactly_that_window(
    demo: Dashboard, page: Page
) -> None:
    page.goto(demo.address)
    wait_for(lambda: drawn(page, "train/loss").get("count", 0) > 100, 60, "too few steps on the chart")
    wait_for(lambda: demo_flame(demo)["samples"] > 200, because="no profile yet")
    plot = page.locator(".lane .u-over").first.bounding_box()
    assert plot is not None
    right = plot["x"] + plot["width"] - 4
    page.mouse.move(right - 0.4 * plot["width"], plot["y"] + 10)
    page.mouse.down()
    page.mouse.move(right, plot["y"] + 12, steps=8)
    page.mouse.up()
    window = wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted.window"), because="no window was selected"
    )
    wait_for(lambda: {"train", "GPT.forward"} & set(flame_names(page)), because="no frame of the trainer in the window")
    told = demo.get(f"/api/v1/flame?run={run_of(demo)}&from={window['from']}&to={window['to']}")
    assert any(frame["name"].endswith("forward") for frame in told["frames"])
    wait_for(lambda: "from=" in page.url, because="a colleague does not see the same")
    question = f"run={run_of(demo)}&from={window['from']}&to={window['to']}&q=loss&limit=1"
    if demo.get(f"/api/v1/logs?{question}")["lines"]:
        wait_for(lambda: "loss" in page.inner_text("aside"), because="the window's lines are not shown")


def run_of(demo: Dashboard) -> str:
    runs = wait_for(lambda: demo.get("/api/v1/runs")["runs"], 60, "no run")
    return str(runs[0]["run"])


def demo_flame(demo: Dashboard) -> Any:
    now = time.time()
    return demo.get(f"/api/v1/flame?run={run_of(demo)}&from={now - 30}&to={now}")


def test_ctrl_c_ends_everything_and_leaves_a_checkpoint_to_go_on_from(demo: Dashboard) -> None:
    run = run_of(demo)
    wait_for(lambda: demo.run(run).get("last_step") is not None, 60, "it does not train")
    children = [
        int(pid) for pid in Path(f"/proc/{demo.process.pid}/task/{demo.process.pid}/children").read_text().split()
    ]
    assert len(children) == 2
    demo.stop(signal.SIGINT)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    events = [json.loads(line) for line in (demo.log_dir / run / "events.jsonl").read_text().splitlines()]
    saved = [event for event in events if event["kind"] == "checkpoint"][-1]
    assert events[-1]["kind"] == "end"
    command = [
        sys.executable,
        "-m",
        "trainer",
        "--log-dir",
        demo.log_dir,
        "--run",
        run,
        "--resume",
        "--steps",
        str(saved["step"] + 5),
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    lines = map(json.loads, (demo.log_dir / run / "metrics.jsonl").read_text().splitlines())
    steps = [line["step"] for line in lines if "train/loss" in line]
    assert steps[-1] >= saved["step"] + 4
    assert len(steps) == len(set(steps)), "no step is trained twice"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Dashboard]:
    with dashboard(tmp_path / "logs") as running:
        yield running


def test_killing_the_collector_loses_and_doubles_nothing(running: Dashboard) -> None:
    with script(LOGGER, str(running.log_dir), "a", "100000") as logger:
        dead: set[int | None] = {None}
        for _ in range(3):
            pid = wait_for(
                lambda: next(iter({running.collector_pid()} - dead), None), because="no collector begins anew"
            )
            time.sleep(0.4)  # it is killed in the middle of its work, too
            os.kill(pid, signal.SIGKILL)
            dead.add(pid)
        logger.terminate()
        logger.wait()
    lines = map(json.loads, (running.log_dir / "a" / "metrics.jsonl").read_text().splitlines())
    written = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(written) > 100
    wait_for(lambda: len(running.values("a", "train/loss")) >= len(written), because="points are missing")
    assert running.values("a", "train/loss") == written


def test_a_half_written_line_waits_for_its_newline(running: Dashboard) -> None:
    path = running.log_dir / "a.jsonl"
    path.write_text('{"time_s": 1764000000.0, "step": 1, "x": 1}\n{"time_s": 1764000001.0, "step": 2, ')
    wait_for(lambda: running.values("a", "x") == [1.0])
    with path.open("a") as file:
        file.write('"x": 2}\n')
    wait_for(lambda: running.values("a", "x") == [1.0, 2.0])
    assert running.run("a")["lines_skipped"] == 0


def test_two_runs_and_two_ranks_each_keep_their_own_curves_processes_and_profiles(running: Dashboard) -> None:
    ranks = SPINNER.format(name="work_of_two", loss="float(sys.argv[3])")
    logs = str(running.log_dir)
    with (
        script(SPINNER.format(name="work_alone", loss="7.0"), logs, "alone", "0", "1") as alone,
        script(ranks, logs, "two", "0", "2") as first,
        script(ranks, logs, "two", "1", "2") as second,
    ):
        wait_for(lambda: running.run("alone").get("points", 0) > 20 and running.run("two").get("points", 0) > 40)
        assert set(running.values("alone", "train/loss")) == {7.0}
        curves = running.get("/api/v1/curves?run=two&expr=train/loss")["curves"]
        assert {one["labels"].get("rank"): set(one["last"]) for one in curves} == {None: {0.0}, "1": {1.0}}
        assert pids(running, "alone") == {0: alone.pid}
        assert pids(running, "two") == {0: first.pid, 1: second.pid}
        wait_for(lambda: "work_alone" in names(running, "alone"), because="no profile of the one run")
        wait_for(lambda: processes(running, "two") == {first.pid, second.pid}, because="no profile of both ranks")
        assert "work_of_two" in names(running, "two")
        assert "work_of_two" not in names(running, "alone")
        assert "work_alone" not in names(running, "two")
        second.kill()
        second.wait()
        wait_for(lambda: running.run("two")["state"] == "killed", because="a killed rank is not noticed")
        assert running.run("alone")["state"] == "running"


def pids(running: Dashboard, run: str) -> dict[int, int]:
    return {process["rank"]: process["pid"] for process in running.get(f"/api/v1/run?run={run}")["processes"]}


def flame(running: Dashboard, run: str) -> Any:
    now = time.time()
    return running.get(f"/api/v1/flame?run={run}&from={now - 60}&to={now}")


def names(running: Dashboard, run: str) -> set[str]:
    return {frame["name"] for frame in flame(running, run)["frames"]}


def processes(running: Dashboard, run: str) -> set[int]:
    return {thread["pid"] for thread in flame(running, run)["threads"]}


def test_without_profiling_the_flame_panel_says_why(tmp_path: Path, page: Page) -> None:
    with dashboard(tmp_path / "logs", "--no-profile") as running, script(LOGGER, str(running.log_dir), "a", "2000"):
        wait_for(lambda: running.run("a").get("points"))
        page.goto(running.address)
        wait_for(
            lambda: "Profiling is off" in page.inner_text("body"), because="the panel does not say why it is empty"
        )
        assert flame(running, "a")["note"]["sentence"].startswith("Profiling is off")


def test_a_run_that_a_browser_watches_appears_by_itself(running: Dashboard, page: Page) -> None:
    page.goto(running.address)
    wait_for(lambda: "No runs in" in page.inner_text("body"), because="nothing said of the empty folder")
    with script(LOGGER, str(running.log_dir), "late", "3000"):
        wait_for(lambda: drawn(page, "train/loss"), because="the new run is not shown")
