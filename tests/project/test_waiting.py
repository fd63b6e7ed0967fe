"""A dashboard whose log folder does not exist yet is served: it says that it waits, and reads the folder as soon as it is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Dashboard, wait_for

LINE = '{"time_s": 1764000000.25, "step": %d, "train/loss": 2.5}\n'


def log(folder: Path, *steps: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(LINE % step for step in steps)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    running: list[Dashboard] = []

    def starting(log_dir: Path, *flags: str) -> Dashboard:
        running.append(Dashboard(log_dir, "--no-profile", *flags))
        return running[-1]

    (tmp_path / "work").mkdir()
    yield starting
    for each in running:
        each.close()


def points(running: Dashboard, run: str) -> int:
    """While it starts anew it does not answer for a moment."""
    try:
        return int(running.run(run).get("points", 0))
    except OSError:
        return 0


def test_it_says_that_it_waits_and_reads_what_comes_also_below_a_folder_that_comes(tmp_path: Path, start: Any) -> None:
    log_dir = tmp_path / "work/out/logs"
    (tmp_path / "work/out.stderr").touch()
    (tmp_path / "work/out").mkdir()
    running = start(log_dir)  # which writes its errors beside the log folder
    shutil.rmtree(tmp_path / "work/out")
    assert f"waits for {log_dir}, which does not exist yet" in running.announcement
    said = running.get("/healthz")["problems"]
    assert said == [
        f"Waiting for the log folder {log_dir}, which does not exist yet. It is read as soon as it is there."
    ]
    assert running.get("/api/v1/runs") == {"runs": [], "total": 0}
    assert not log_dir.exists(), (
        "it makes no folder: a program that clones or unpacks something there needs a free place"
    )
    address = running.address
    log_dir.parent.mkdir()
    log(log_dir / "a", 1, 2)
    wait_for(lambda: points(running, "a") == 2)
    assert running.address == address and running.process.poll() is None
    assert f"shows {log_dir}" in running.process.stdout.readline()
    assert running.get("/healthz")["problems"] == []
    shutil.rmtree(log_dir)
    wait_for(lambda: any("is gone" in sentence for sentence in running.get("/healthz")["problems"]))
    log(log_dir / "b", 1)
    wait_for(lambda: points(running, "b") == 1)


def test_without_a_flag_it_waits_for_any_of_the_usual_folders(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--no-profile"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout and "waits for logs, which does not exist yet" in process.stdout.readline()
            log(tmp_path / "runs/a", 1)
            assert f"shows {tmp_path}/runs, found here" in process.stdout.readline()
        finally:
            process.terminate()


def test_one_of_two_folders_is_enough_and_the_other_one_is_read_when_it_comes(tmp_path: Path, start: Any) -> None:
    missing, there = tmp_path / "work/logs", tmp_path / "work/runs"
    log(there / "a", 1)
    running = start(missing, "--log-dir", str(there))
    assert f"{missing} will be read once it exists" in running.announcement
    wait_for(lambda: points(running, "a") == 1)
    wait_for(
        lambda: (
            running.get("/healthz")["problems"]
            == [f"Waiting for the log folder {missing}. It is read as soon as it is there."]
        )
    )
    log(missing / "b", 1)
    wait_for(lambda: points(running, "logs/b") == 1)
    wait_for(lambda: not running.get("/healthz")["problems"])
    assert (there / ".deepseek").is_dir() and not (missing / ".deepseek").exists()


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (lambda work: (work / "logs").write_text("x"), "logs", "is a file; name its folder instead"),
        (
            lambda work: (work / "file").write_text("x"),
            "file/logs",
            "file is a file; choose another folder with --log-dir",
        ),
        (lambda work: (work / "logs").symlink_to("logs"), "logs", "Too many levels of symbolic links"),
        (lambda work: None, "n" * 300, "File name too long"),
    ],
)
def test_what_cannot_come_is_one_sentence(tmp_path: Path, make: Any, name: str, says: str) -> None:
    make(tmp_path)
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--log-dir", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ})
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
