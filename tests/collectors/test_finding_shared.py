"""A process may be of several runs: of each that the kernel, its event file or our keeper confirms, and as long as it writes it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.machine.finder import MAX_RUNS, Finder
from collectors.machine.run_state import RunActivity
from tests.conftest import ROOT, wait_for
from tests.support.plain_scripts import HOST, found, run_in, start_of, started

OPENS = """
import sys
files = {}
for line in sys.stdin:
    what, _, path = line.strip().partition(" ")
    if what == "open":
        files[path] = open(path, "a")
    else:
        files.pop(path).close()
    print(what, flush=True)
"""


class Writer:
    """A process that opens and closes the files of runs when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def open(self, run: RunActivity) -> RunActivity:
        self._tell("open", run)
        return run

    def close(self, run: RunActivity) -> None:
        self._tell("close", run)

    def _tell(self, what: str, run: RunActivity) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what} {run.folder / 'metrics.jsonl'}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == what


@contextmanager
def writer() -> Iterator[Writer]:
    with subprocess.Popen(
        [sys.executable, "-c", OPENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Writer(process)
        finally:
            process.kill()


def begun(run: RunActivity, pid: int, time_s: float | None = None) -> RunActivity:
    """With a start event that names the process."""
    (run.folder / "events.jsonl").touch()
    return run._replace(starts=[start_of(pid)._replace(time_s=time.time() if time_s is None else time_s)])


def runs_of(finder: Finder, *runs: RunActivity) -> list[str]:
    """Those that have a process, the one that has it first before the others."""
    return [*finder.find(runs)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], float]:
    """Sets the wall clock so many seconds after the test began, and returns its time."""
    begun_s = time.time()

    def set_to(passed_s: float) -> float:
        monkeypatch.setattr(time, "time", lambda: begun_s + passed_s)
        return begun_s + passed_s

    return set_to


def test_a_process_that_holds_files_of_two_runs_open_is_of_both(tmp_path: Path) -> None:
    with writer() as process:
        runs = [process.open(run_in(tmp_path / name, name)) for name in ("train", "val")]
        assert found(*runs, count=2) == {"train": [process.pid], "val": [process.pid]}
        named = begun(runs[0], process.pid)
        assert found(named, runs[1], count=2) == {"train": [process.pid], "val": [process.pid]}
        both = [begun(run, process.pid) for run in runs]
        assert found(*both, count=2) == {"train": [process.pid], "val": [process.pid]}


def test_a_run_json_neither_takes_nor_shares_the_process_of_a_run_that_it_writes(tmp_path: Path) -> None:
    with writer() as process:
        mine, other = process.open(run_in(tmp_path / "mine", "mine")), run_in(tmp_path / "other", "other")
        (other.folder / "run.json").write_text("{}")
        other = other._replace(info={"pid": process.pid, "host": HOST, "started_s": time.time()})
        assert found(other) == {"other": [process.pid]}
        assert found(other, mine) == {"mine": [process.pid]}
        assert found(process.open(other), mine, count=2) == {"other": [process.pid], "mine": [process.pid]}


def test_a_run_is_denied_what_it_names_until_it_is_confirmed_and_never_after(tmp_path: Path) -> None:
    with writer() as process:
        mine, other = (
            process.open(run_in(tmp_path / "mine", "mine")),
            begun(run_in(tmp_path / "other", "other"), process.pid),
        )
        finder = Finder(HOST)
        wait_for(lambda: finder.find([mine]), because="nobody writes it")
        assert runs_of(finder, mine, other) == ["mine"]
        ((denied, owner),) = finder.denied()["other"]
        assert (denied.pid, owner) == (process.pid, "mine")
        process.open(other)
        finder._answers.clear()  # they may be ten seconds old
        assert sorted(runs_of(finder, mine, other)) == ["mine", "other"] and not finder.denied()
        process.close(other)
        finder._answers.clear()
        assert runs_of(finder, mine, other) == ["mine"] and not finder.denied(), (
            "between two lines, it may have closed its file"
        )


def test_a_run_that_was_attached_keeps_its_process_whatever_else_that_writes(tmp_path: Path) -> None:
    with writer() as process:
        whole = run_in(tmp_path / "whole", "whole", pid=process.pid, host=HOST, started_s=time.time(), attached=True)
        (whole.folder / "run.json").write_text("{}")
        mine = begun(process.open(run_in(tmp_path / "mine", "mine")), process.pid)
        assert found(whole, mine, count=2) == {"mine": [process.pid], "whole": [process.pid]}
        silent = whole._replace(last_line_s=time.time() - 3600)
        assert runs_of(Finder(HOST), silent, mine) == ["mine", "whole"], "however long it prints nothing"
        later = mine._replace(last_line_s=time.time() - 3600)
        assert runs_of(Finder(HOST), whole._replace(last_line_s=time.time()), later) == ["mine", "whole"]


def test_the_process_that_two_event_files_are_called_after_is_of_both_runs(
    tmp_path: Path, later: Callable[[float], float]
) -> None:
    """TensorBoard's writer holds no file open, and flushes every two minutes."""
    with started(sys.executable, "-c", "import time; print('began', flush=True); time.sleep(600)") as process:
        assert process.stdout is not None and process.stdout.readline()
        begun_s, runs = later(0), []
        for count, name in enumerate(("train", "val")):
            runs.append(run_in(tmp_path / name, name))
            (runs[-1].folder / f"events.out.tfevents.{int(begun_s)}.{HOST}.{process.pid}.{count}").touch()
        later(1)
        train, val = (run._replace(last_line_s=begun_s + 1) for run in runs)
        finder = Finder(HOST)
        wait_for(lambda: len(finder.find([train, val])) == 2, because="one of them has no process")
        flushed = train._replace(last_line_s=later(121))
        assert sorted(runs_of(finder, flushed, val)) == ["train", "val"], "the other one is flushed later"


def test_a_run_that_is_left_open_lets_the_process_go_when_the_next_one_is_written(
    tmp_path: Path, later: Callable[[float], float]
) -> None:
    with writer() as process:
        first, second = (process.open(run_in(tmp_path / name, name)) for name in ("first", "second"))
        begun_s = time.time()
        for one, other in (
            (first, second),
            (begun(first, process.pid, begun_s - 600), begun(second, process.pid, begun_s)),
            (begun(first, process.pid, begun_s - 600), second),
            (first, begun(second, process.pid, begun_s)),
        ):
            later(0)
            finder = Finder(HOST)
            before, after = one._replace(last_line_s=begun_s - 5), other._replace(last_line_s=begun_s)
            wait_for(functools.partial(lambda *runs: len(runs[0].find(runs[1:])) == 2, finder, before, after))
            after = other._replace(last_line_s=later(30))
            assert runs_of(finder, before, after) == ["second"]
            again = before._replace(last_line_s=later(31))
            assert sorted(runs_of(finder, again, after)) == ["first", "second"], "it is written again"


def test_a_run_that_is_written_now_and_then_beside_another_one_keeps_the_process(
    tmp_path: Path, later: Callable[[float], float]
) -> None:
    with writer() as process:
        train, val = (process.open(run_in(tmp_path / name, name)) for name in ("train", "val"))
        finder = Finder(HOST)
        wait_for(lambda: len(finder.find([train, val])) == 2, because="nobody writes them")
        for passed_s in range(0, 600, 120):  # an evaluation every two minutes
            val = val._replace(last_line_s=later(passed_s + 10))
            for since_s in (10, 60, 119):
                train = train._replace(last_line_s=later(passed_s + since_s))
                assert sorted(runs_of(finder, train, val)) == ["train", "val"]
        late = train._replace(last_line_s=later(600 + 3600))
        assert runs_of(finder, late, val) == ["train"], "it was left after all"


def test_lines_from_the_future_do_not_make_other_runs_left(tmp_path: Path) -> None:
    """Their clock, or their zone, is another one."""
    with writer() as process:
        ahead, behind = (process.open(run_in(tmp_path / name, name)) for name in ("ahead", "behind"))
        finder = Finder(HOST)
        runs = [ahead._replace(last_line_s=time.time() + 7200), behind._replace(last_line_s=time.time())]
        wait_for(lambda: finder.find(runs), because="nobody writes them")
        assert sorted(finder.found()) == ["ahead", "behind"]


def test_a_run_whose_file_is_closed_has_none_of_the_next_one(tmp_path: Path) -> None:
    with writer() as process:
        first, second = process.open(run_in(tmp_path / "first", "first")), run_in(tmp_path / "second", "second")
        finder = Finder(HOST)
        assert found(first, finder=finder) == {"first": [process.pid]}
        process.close(first)
        process.open(second)
        ended = first._replace(last_line_s=time.time() - 1)
        wait_for(lambda: runs_of(finder, ended, second._replace(last_line_s=time.time())) == ["second"], 30)


def test_a_start_event_shares_no_process_that_it_cannot_confirm(tmp_path: Path) -> None:
    with writer() as process:
        mine = begun(process.open(run_in(tmp_path / "mine", "mine")), process.pid)
        false = begun(run_in(tmp_path / "false", "false"), process.pid, time.time() + 60)
        assert found(mine, false) == {"mine": [process.pid]}
        false.folder.joinpath("started.json").write_text("{}")
        false.folder.joinpath(f"events.out.tfevents.{int(time.time())}.another.{process.pid}.0").touch()
        assert found(mine, false) == {"mine": [process.pid]}


def test_a_copy_of_a_run_that_the_keeper_started_takes_its_process_from_nobody(tmp_path: Path) -> None:
    """The keeper holds the run's output open, and not that of the copy."""
    command = [
        sys.executable,
        "app.py",
        "run",
        "--no-dashboard",
        "--quiet",
        "--log-dir",
        str(tmp_path),
        "--name",
        "a",
        "--",
    ]
    code = "import time; print('began', flush=True); time.sleep(600)"
    with subprocess.Popen([*command, sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as watched:
        try:
            wait_for((tmp_path / "a" / "started.json").exists)
            for name in ("b", "c"):
                shutil.copytree(tmp_path / "a", tmp_path / name)
            about = json.loads((tmp_path / "a" / "run.json").read_text())
            runs = [run_in(tmp_path / name, name, **about) for name in "abc"]
            mine = run_in(tmp_path / "mine", "mine")
            (mine.folder / f"events.out.tfevents.{int(time.time())}.{HOST}.{about['pid']}.0").touch()
            assert found(runs[0], mine, count=2) == {"a": [about["pid"]], "mine": [about["pid"]]}
            both = found(*runs)
            assert "a" in both and len(both) <= 2, "run.json names a process, as ever, but is no reason to share it"
        finally:
            watched.terminate()


RANKS = """
import os, subprocess, sys
each = [{**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": "29500"} for rank in (0, 1)]
writes = "import os, sys, time; files = [open(path, 'a') for path in sys.argv[1:] if os.environ['RANK'] == '0']; time.sleep(600)"
ranks = [subprocess.Popen([sys.executable, "-c", writes, *sys.argv[1:]], env=env) for env in each]
print("began", flush=True)
[rank.wait() for rank in ranks]
"""


def test_the_ranks_that_write_nothing_are_of_both_runs_of_the_one_that_does(tmp_path: Path) -> None:
    runs = [run_in(tmp_path / name, name) for name in ("train", "val")]
    (tmp_path / "launch.py").write_text(RANKS)
    with started(sys.executable, tmp_path / "launch.py", *(run.folder / "metrics.jsonl" for run in runs)) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline()
        pids = found(*runs, count=4)
        assert pids["train"] == pids["val"] and len(pids["train"]) == 2 and launcher.pid not in pids["train"]
        false = begun(run_in(tmp_path / "false", "false"), pids["train"][0], time.time() + 60)
        assert sorted(found(*runs, false, count=4)) == ["train", "val"], "nor a sibling of one that nothing confirms"


def test_one_process_is_of_a_few_runs_at_most(tmp_path: Path) -> None:
    with writer() as process:
        now_s = time.time()
        runs = [process.open(run_in(tmp_path / f"{i}", f"{i}")) for i in range(3 * MAX_RUNS)]
        finder = Finder(HOST)
        wait_for(lambda: finder.find(runs), because="no process is found")
        written = [run._replace(last_line_s=now_s - 5 + i / 100) for i, run in enumerate(runs)]
        held = sorted(map(int, finder.find(written)))
        assert len(held) == MAX_RUNS and held[1:] == [*range(2 * MAX_RUNS + 1, 3 * MAX_RUNS)], "those written last"
        assert {process.pid} == {one.pid for processes in finder.found().values() for one in processes}
        assert os.getpid() != process.pid
