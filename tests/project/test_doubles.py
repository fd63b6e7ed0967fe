"""Runs that are seen through two followed folders, by hard links or the same folder under two names, appear once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dashboard, wait_for

START_S = 1_764_000_000.0


def lines(*steps: int) -> str:
    return "".join(
        json.dumps({"time_s": START_S + step, "step": step, "train/loss": step / 8}) + "\n" for step in steps
    )


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("logs", "runs/a"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs/a/metrics.jsonl").write_text(lines(*range(5)))
    return tmp_path


@pytest.fixture
def started(work: Path) -> Iterator[Any]:
    """Starts dashboards of both folders, one after the other."""
    running: list[Dashboard] = []

    def start() -> Dashboard:
        for each in running:
            each.close()
        running.append(Dashboard(work / "logs", "--no-profile", "--log-dir", str(work / "runs")))
        return running[-1]

    yield start
    for each in running:
        each.close()


def program_run(work: Path) -> Path:
    """The folder of a watched program that wrote `runs/a`."""
    folder = work / "logs/train"
    folder.mkdir()
    (folder / "started.json").write_text('{"boot_id": "x", "pid": 1, "ticks": 1, "argv": []}')
    (folder / "output.log").write_text("hello\n")
    os.link(work / "runs/a/metrics.jsonl", folder / "metrics.jsonl")
    return folder


def names(running: Dashboard) -> set[str]:
    return {run["run"] for run in running.get("/api/v1/runs")["runs"]}


def test_what_a_watched_program_has_as_a_second_name_is_its_runs(work: Path, started: Any) -> None:
    program_run(work)
    running = started()
    wait_for(lambda: names(running) == {"train"} and running.run("train").get("points") == 5)
    with (work / "runs/a/metrics.jsonl").open("a") as file:
        file.write(lines(5))
    wait_for(lambda: running.run("train").get("points") == 6)
    (work / "runs/a/other.jsonl").write_text(lines(7))  # is not the program's
    wait_for(lambda: names(running) == {"train", "runs/a"} and running.run("runs/a").get("points") == 1)
    running = started()
    wait_for(lambda: names(running) == {"train", "runs/a"} and running.run("train").get("points") == 6)
    assert running.run("runs/a")["points"] == 1


def test_it_becomes_its_runs_when_the_second_name_comes_later(work: Path, started: Any) -> None:
    """A dashboard that was there first has read the file under its own name."""
    (work / "runs/a/more.jsonl").write_text(lines(8, 9))
    running = started()
    wait_for(lambda: running.run("runs/a").get("points") == 7)
    program_run(work)
    wait_for(lambda: running.run("train").get("points") == 5)
    wait_for(lambda: running.run("runs/a").get("points") == 2, because="the rest of the other run is not kept")
    os.link(work / "runs/a/more.jsonl", work / "logs/train/more.jsonl")
    wait_for(lambda: names(running) == {"train"} and running.run("train").get("points") == 7)
    running = started()
    wait_for(lambda: names(running) == {"train"} and running.run("train").get("points") == 7)


def test_of_two_plain_folders_the_name_that_was_read_first_counts(work: Path, started: Any) -> None:
    running = started()
    wait_for(lambda: running.run("runs/a").get("points") == 5)
    (work / "logs/b").mkdir()
    os.link(work / "runs/a/metrics.jsonl", work / "logs/b/metrics.jsonl")
    with (work / "logs/b/metrics.jsonl").open("a") as file:
        file.write(lines(5))
    (work / "logs/c.jsonl").write_text(lines(0))
    wait_for(lambda: names(running) == {"runs/a", "c"} and running.run("runs/a").get("points") == 6)
    (work / "runs/a/metrics.jsonl").unlink()  # then it is the only one
    with (work / "logs/b/metrics.jsonl").open("a") as file:
        file.write(lines(6))
    wait_for(lambda: running.run("b").get("points") == 7)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder needs root")
def test_a_folder_that_is_mounted_under_two_names_has_its_runs_once(work: Path, started: Any) -> None:
    if subprocess.run(["mount", "--bind", work / "runs", work / "logs"], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        running = started()
        wait_for(lambda: running.run("a").get("points") == 5 or running.run("runs/a").get("points") == 5)
        (work / "runs/last.jsonl").write_text(lines(1))
        wait_for(lambda: len(names(running)) == 2)
        wait_for(lambda: sum(run["points"] for run in running.get("/api/v1/runs")["runs"]) == 6)
        running.close()
    finally:
        subprocess.run(["umount", work / "logs"], check=True)
