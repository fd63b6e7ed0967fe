"""Whose a file is that is opened anew for each line: found by what processes write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.machine.finder import Finder
from collectors.machine.writers import LOOKS, MAX_SEARCHES, Appenders
from tests.conftest import wait_for
from tests.support.plain_scripts import HOST, found, run_in, started

APPENDS = (
    "import sys, time\n"
    "path = [*sys.argv, 'run/metrics.jsonl'][1].removeprefix('--out=')\n"
    "for step in range(1_000_000):\n"
    "    with open(path, 'a') as log:\n"
    "        print({'step': step}, file=log)\n"
    "    time.sleep(0.02)\n"
)
WRITES_LESS = "import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.02)"


@contextmanager
def appending(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A script that opens its file anew for each line; without words it is `run/metrics.jsonl`."""
    with subprocess.Popen([sys.executable, "-c", APPENDS, *map(str, words)], cwd=cwd) as process:
        try:
            yield process
        finally:
            process.kill()


def test_scripts_that_open_their_files_anew_for_each_line_are_found_by_what_they_write(tmp_path: Path) -> None:
    runs, finder = [run_in(tmp_path / name, name) for name in ("a", "b", "c")], Finder(HOST)
    finder._appenders = Appenders(every_s=0.1)
    with (
        appending("a/metrics.jsonl", cwd=tmp_path) as first,
        appending(f"--out={runs[1].folder / 'metrics.jsonl'}", cwd=Path("/")) as second,
        started(sys.executable, "-c", WRITES_LESS),
    ):
        assert found(*runs, finder=finder, count=2) == {"a": [first.pid], "b": [second.pid]}


def test_one_that_writes_is_found_among_many_that_do_not_and_few_are_looked_for_at_a_time(tmp_path: Path) -> None:
    runs, appenders = [run_in(tmp_path / name, name) for name in [*"abcdefghij", "run"]], Appenders(every_s=0.05)

    def look() -> dict[str, int]:
        pids = {run.run: appenders.find(run, others) for run in runs}
        assert len(appenders._searches) <= MAX_SEARCHES
        return {run: pid for run, pid in pids.items() if pid is not None}

    with appending("run/metrics.jsonl", cwd=tmp_path) as training:
        others = all_but(training.pid)
        assert wait_for(look) == {"run": training.pid}


def all_but(*pids: int) -> set[int]:
    """The processes of this machine, which may write what they like."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()} - {*pids}


def test_a_script_that_names_no_file_is_found_where_it_works_above_and_is_alone(tmp_path: Path) -> None:
    run, appenders = run_in(tmp_path / "run"), Appenders(every_s=0.1)
    with started(sys.executable, "-c", WRITES_LESS) as other, appending(cwd=tmp_path) as training:
        assert wait_for(lambda: appenders.find(run, all_but(training.pid, other.pid))) == training.pid


def test_of_several_that_write_enough_the_only_one_that_works_above_is_found(tmp_path: Path) -> None:
    run, appenders, elsewhere = run_in(tmp_path / "run"), Appenders(every_s=0.05), tmp_path / "elsewhere"
    elsewhere.mkdir()
    with appending(cwd=tmp_path) as training, appending("a-longer-table.jsonl", cwd=elsewhere) as other:
        assert wait_for(lambda: appenders.find(run, all_but(training.pid, other.pid))) == training.pid


def test_who_only_may_be_the_writer_is_not_taken_for_it(tmp_path: Path) -> None:
    run, appenders = run_in(tmp_path / "run"), Appenders(every_s=0.0)
    log = run.folder / "metrics.jsonl"
    with (
        appending(tmp_path / "elsewhere", cwd=tmp_path),
        appending(tmp_path / "too", cwd=tmp_path),
        appending("/dev/null", cwd=Path("/")),
    ):
        for _ in range(4 * LOOKS):
            with log.open("a") as file:  # the tests' own process writes
                file.write(".")
            assert appenders.find(run, {os.getpid()}) is None
            time.sleep(0.1)


TABLE = """
import sys, time
for epoch in range(1_000_000):
    with open("run/metrics.csv", "a") as table:
        table.write("epoch,loss\\n" if epoch == 0 else f"{epoch},0.5\\n")
    time.sleep(0.3)
"""
CHECKPOINTS = """
import json, os, time
for step in range(100, 1_000_000, 100):
    os.makedirs(f"run/checkpoint-{step}")
    with open(f"run/checkpoint-{step}/trainer_state.json", "w") as state:
        json.dump({"global_step": step, "log_history": [{"step": each} for each in range(step // 100)]}, state)
    time.sleep(0.3)
"""


@pytest.mark.timed
@pytest.mark.parametrize("code", [TABLE, CHECKPOINTS])
def test_what_writes_seldom_and_closes_its_file_is_found(tmp_path: Path, code: str) -> None:
    run, finder = run_in(tmp_path / "run", "run"), Finder(HOST)
    finder._appenders = Appenders(every_s=0.1)
    with (
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as training,
        started(sys.executable, "-c", WRITES_LESS),
    ):
        try:
            assert found(run, finder=finder) == {"run": [training.pid]}
        finally:
            training.kill()
