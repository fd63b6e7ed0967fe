"""Commands about a dashboard find it and its store, however its folders were named: one folder or several, with and without flags."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from access.program import Parser
from collectors import writer_lock
from collectors.log_folders import LogFolders, add_place, last_used, of_folders, place_of
from tests.conftest import ROOT, wait_for

TRAINER = '''"""Steps that can be traced, until it is killed."""

import time

import torch
from deepseek.log import RunLog

weight = torch.ones(64, 64, requires_grad=True)
with RunLog("logs", "a") as log:
    for step in range(1_000_000):
        (weight @ weight).sum().backward()
        log.scalars(step, {"train/loss": 1.0 / (step + 1)})
        time.sleep(0.02)
'''
FLAGS = [[], ["--log-dir", "logs"], ["--log-dir", "runs"], ["--log-dir", "runs", "--log-dir", "logs"]]


def written(place: LogFolders, at_s: float) -> LogFolders:
    """As after a dashboard that was started then, and has ended."""
    place.data_dir.mkdir(exist_ok=True)
    options = {"log_dir": str(place.log_dir), "only": list(place.only), "front": place.front}
    os.close(writer_lock.take(place.data_dir, "0.1", options))
    os.utime(place.data_dir / writer_lock.FILE, (at_s, at_s))
    return place


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("logs", "b/runs", "outputs")]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def test_one_store_whatever_else_is_found(folders: list[Path]) -> None:
    logs, runs, outputs = folders
    assert last_used([logs, runs]) == of_folders([logs, runs])  # none ever was
    alone = written(of_folders([logs]), 1000.0)
    for given in ([logs], [logs, runs], [runs, logs], [outputs, logs, runs]):
        assert of_folders(given).data_dir == last_used(given).data_dir == alone.data_dir, given
        assert of_folders(given).name_of(logs / "a") == "a"
    both = written(of_folders([outputs, runs, logs]), 2000.0)
    assert both.only == ("logs", "outputs", "b/runs") and both.data_dir == alone.data_dir
    written(of_folders([runs]), 3000.0)  # which somebody looked at alone
    for given in ([logs, runs], [runs, logs]):
        assert of_folders(given).data_dir == alone.data_dir, "the folder that was looked at with others has the store"
    assert of_folders([runs]).data_dir == runs / ".deepseek"


def test_a_command_finds_the_dashboard_that_follows_its_folder_with_others(folders: list[Path]) -> None:
    logs, _, outputs = folders
    both = written(of_folders([logs, outputs]), 2000.0)
    (outputs / ".deepseek/traces").mkdir(parents=True)  # where a run is asked for a trace: no store
    for given in ([logs], [outputs], [outputs, logs]):
        assert last_used(given) == both, given


def test_the_one_that_runs_goes_before_later_ones(folders: list[Path]) -> None:
    logs, runs, _ = folders
    of_runs, of_logs = written(of_folders([runs]), 1000.0), written(of_folders([logs]), 2000.0)
    assert last_used([logs, runs]).data_dir == of_logs.data_dir
    held = writer_lock.take(of_runs.data_dir, "0.1", {"log_dir": str(runs), "only": []})
    try:
        os.utime(of_runs.data_dir / writer_lock.FILE, (1500.0, 1500.0))
        assert last_used([logs, runs]) == of_runs
    finally:
        os.close(held)


def test_a_folder_that_was_moved_takes_its_store_along(folders: list[Path], tmp_path: Path) -> None:
    logs, runs, _ = folders
    both = written(of_folders([logs, runs]), 1000.0)
    there = tmp_path / "there"
    there.mkdir()
    shutil.move(logs, there / "logs")
    assert last_used([there / "logs"]) == both._replace(log_dir=there, data_dir=there / "logs/.deepseek")
    shutil.move(there / "logs", there / "old")  # the names of its runs stay
    assert last_used([there / "old"]) == LogFolders(there / "old", (), there / "old/.deepseek")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"options": 1}', b'{"options": {"log_dir": 7, "only": 7}}', b"\xff" * 99]
)
def test_a_lock_that_says_nothing_costs_nothing(folders: list[Path], text: bytes) -> None:
    both = written(of_folders(folders), 1000.0)
    (both.data_dir / writer_lock.FILE).write_bytes(text)
    assert last_used(folders) == both
    assert last_used(folders[:1]) == of_folders(folders[:1]) == LogFolders(folders[0], (), both.data_dir)


class Place(NamedTuple):
    folder: Path
    dashboard: subprocess.Popen[str] | None = None

    def command(self, *words: str) -> str:
        """What it prints."""
        line = [sys.executable, str(ROOT / "app.py"), *words]
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=90, cwd=self.folder, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A dashboard without flags over two folders, and a run in the first."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("logs", "runs"):
        (folder / name).mkdir()
    (folder / "train.py").write_text(TRAINER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    web = [sys.executable, str(ROOT / "app.py"), "--port", "0"]
    with (
        subprocess.Popen(web, cwd=folder, stdout=subprocess.PIPE, text=True) as dashboard,
        subprocess.Popen([sys.executable, "train.py"], cwd=folder, env=environment) as trainer,
    ):
        try:
            assert dashboard.stdout and "logs, runs, found here" in dashboard.stdout.readline()
            wait_for(lambda: "train.py" in why(folder), 60, "no stacks of the run are stored")
            yield Place(folder, dashboard)
        finally:
            trainer.kill()
            dashboard.terminate()


def why(folder: Path) -> str:
    line = [sys.executable, str(ROOT / "app.py"), "why", "a"]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder).stdout


@pytest.mark.parametrize("flags", FLAGS)
def test_each_way_to_name_the_folders_finds_it(place: Place, flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    parser = Parser()
    add_place(parser)
    expected = LogFolders(place.folder, ("logs", "runs"), place.folder / "logs/.deepseek")
    assert place_of(parser.parse_args(flags)) == expected
    assert place_of(parser.parse_args(["--data-dir", str(expected.data_dir)])) == expected


@pytest.mark.parametrize("flags", [FLAGS[0], FLAGS[2]])
def test_commands_find_the_dashboard_and_its_store(place: Place, flags: list[str], tmp_path: Path) -> None:
    assert "train.py" in place.command("why", "a", *flags)
    assert "logs/.deepseek" in place.command("store", "check", *flags)
    assert "/login#token=" in place.command("url", *flags)
    assert "there are no tokens" not in place.command("token", "list", *flags)
    assert "a dashboard runs" in (said := place.command("doctor", *flags))
    assert f"{place.folder}/logs is on" in said and f"{place.folder}/runs is on" in said
    place.command("report", "a", "-o", str(tmp_path / "a.html"), *flags)
    assert "train.py" in (tmp_path / "a.html").read_text()
    place.command("export", "a", "-o", str(tmp_path / "a.zip"), *flags)


@pytest.mark.parametrize("flags", FLAGS[:1])
def test_steps_of_a_run_are_traced(place: Place, flags: list[str]) -> None:
    said = place.command("trace", "a", "--steps", "1", *flags)
    assert said.startswith("a: steps ") and "train.py" in said, said


def test_a_program_is_shown_by_the_dashboard_that_runs(place: Place) -> None:
    said = place.command("run", "--name", "b", "--", sys.executable, "-c", "import time; time.sleep(3)")
    assert "shows b" in said, said


def test_a_process_becomes_a_run_of_the_dashboard_that_runs(place: Place) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=place.folder) as process:
        try:
            said = place.command("attach", str(process.pid), "--log-dir", "runs", "--name", "c")
            assert f"process {process.pid} is the run runs/c; http://" in said and "shows runs/c" in said, said
        finally:
            process.kill()


def test_after_its_end_its_store_is_found(place: Place, tmp_path: Path) -> None:
    """Also where the folder was moved since. The last test of this dashboard."""
    assert place.dashboard
    place.dashboard.terminate()
    place.dashboard.wait()
    wait_for(lambda: writer_lock.writer_of(place.folder / "logs/.deepseek") is None)
    shutil.copytree(place.folder, tmp_path / "moved", ignore=shutil.ignore_patterns("*.sock"))
    moved = Place(tmp_path / "moved")
    assert "train.py" in moved.command("why", "a")
    assert "moved/logs/.deepseek" in moved.command("store", "check", "--log-dir", "logs")
