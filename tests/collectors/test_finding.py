"""Which processes are a run's, where its files do not name them: real scripts that know nothing of this project, real shells, real users."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors.machine.finder import Finder
from collectors.machine.proc import command_of, workers_of
from collectors.machine.run_state import processes_of, state_of
from tests.conftest import wait_for
from tests.support.plain_scripts import (
    COPIES,
    HOST,
    PLAIN,
    PRINTS_ON,
    found,
    prints_is_found,
    run_in,
    start_of,
    started,
)
from tests.support.plain_scripts import sleeper as sleeper  # a fixture


def test_a_forked_worker_that_inherits_the_open_file_is_no_main_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with started(sys.executable, PLAIN / "forks_after_opening.py", folder / "metrics.jsonl") as training:
        assert training.stdout is not None
        workers = [int(word) for word in training.stdout.readline().split()[1:]]
        assert found(run_in(folder)) == {"run": [training.pid]}
        assert sorted(workers_of(training.pid)) == sorted(workers)


@pytest.mark.parametrize(
    "line",
    [
        "{python} {prints} | tee {log}",
        "{python} {prints} 2>&1 | grep --line-buffered step | tee {log} > /dev/null",
        "{python} {prints} > {log} 2>&1",
        "( echo begins; bash -c '{python} {prints}; true' ) 2>&1 | tee -a {log}",
        "script -q -f -c '{python} {prints}' {log}",
        "timeout 60 {python} {prints} > {log}",
    ],
)
def test_behind_a_shell_the_run_is_the_python_that_prints(line: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    command = line.format(python=sys.executable, prints=PLAIN / "prints.py", log=folder / "train.log")
    with started(command, shell=True):
        prints_is_found(run_in(folder))


@pytest.mark.parametrize(
    "line",
    [
        "{python} -c '{copies}' {log} {python} {prints}",
        "{python} -c '{copies}' {log} bash -c '{python} {prints}; true'",
        "{python} -c '{prints_on}' unused {python} {prints} | tee {log}",
    ],
)
def test_a_python_that_only_copies_the_output_of_another_is_not_the_run(line: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    texts = {name: code.replace("'", "'\"'\"'") for name, code in (("copies", COPIES), ("prints_on", PRINTS_ON))}
    with started(
        line.format(python=sys.executable, prints=PLAIN / "prints.py", log=folder / "train.log", **texts), shell=True
    ):
        prints_is_found(run_in(folder))


def test_who_was_taken_for_the_writer_before_it_started_the_training_is_let_go(tmp_path: Path) -> None:
    run, finder = run_in(tmp_path / "run"), Finder(HOST)
    (tmp_path / "wrapper.py").write_text(COPIES.replace("    child =", "    input()\n    child ="))
    os.mkfifo(tmp_path / "go")
    line = (sys.executable, tmp_path / "wrapper.py", run.folder / "train.log", sys.executable, PLAIN / "prints.py")
    with started(*line, f"<> {tmp_path}/go", shell=True):
        assert found(run, finder=finder)
        (tmp_path / "go").write_text("\n")
        prints_is_found(run, finder)


def test_a_process_instead_of_which_another_writes_is_no_longer_the_runs(
    tmp_path: Path, sleeper: subprocess.Popen[str]
) -> None:
    with started("sleep", "600") as wrapper:
        seen = [start_of(pid)._replace(kind="process") for pid in (wrapper.pid, sleeper.pid)]
        left = start_of(wrapper.pid, writer_pid=sleeper.pid, state="ended")._replace(kind="exit")
        run = run_in(tmp_path / "run")._replace(seen=seen, exits=[left])
        assert [process.pid for process in processes_of(run)] == [sleeper.pid]
        assert state_of(run, time.time()).pid == sleeper.pid
        sleeper.kill()
        sleeper.wait()
        failed = start_of(sleeper.pid, state="failed")._replace(kind="exit", text="ValueError: no")
        ticks = {"pid_start_ticks": seen[1].fields["pid_start_ticks"]}
        failed = failed._replace(fields={**failed.fields, **ticks})
        assert state_of(run._replace(exits=[left, failed]), time.time())[:2] == ("failed", "ValueError: no")


def test_a_helper_that_is_asked_through_a_pipe_does_not_make_the_training_a_copier(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    training = COPIES.replace("stdout=", "stdin=subprocess.PIPE, stdout=").replace(
        "in child.stdout", "in [child.stdout.readline()] * 10**9"
    )
    command = (sys.executable, "-c", training, folder / "train.log", sys.executable, PLAIN / "prints.py")
    with started(*command) as process:
        assert found(run_in(folder)) == {"run": [process.pid]}


def test_a_script_that_starts_several_trainings_is_none_of_their_runs(tmp_path: Path) -> None:
    sweep = (
        "import subprocess, sys\n"
        "logs = [open(path, 'w') for path in sys.argv[3:]]\n"
        "children = [subprocess.Popen(sys.argv[1:3], stdout=log, stderr=log) for log in logs]\n"
        "print(*[child.pid for child in children], flush=True)\n"
        "[child.wait() for child in children]\n"
    )
    runs = [run_in(tmp_path / name, name) for name in ("a", "b", "c")]
    logs = [run.folder / "train.log" for run in runs]
    with started(sys.executable, "-c", sweep, sys.executable, PLAIN / "prints.py", *logs) as process:
        assert process.stdout is not None
        trainings = map(int, process.stdout.readline().split())
        assert found(*runs, count=3) == {name: [pid] for name, pid in zip("abc", trainings, strict=True)}


def test_a_training_in_a_container_that_has_another_path_for_the_log_is_found(tmp_path: Path) -> None:
    run, inside = run_in(tmp_path / "logs" / "run"), tmp_path / "workspace"
    inside.mkdir()
    training = (sys.executable, PLAIN / "forks_after_opening.py", inside / "run" / "metrics.jsonl")
    mounted = ("mount", "--bind", tmp_path / "logs", inside, "&&", "exec", *training)
    with started("unshare", "--mount", "bash", "-c", f"'{' '.join(map(str, mounted))}'", shell=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("another mount namespace needs root")
        ((pid,),) = found(run).values()
        assert command_of(pid)[1:] == [str(word) for word in training[1:]]


def test_two_files_in_the_log_folder_itself_are_two_runs_each_with_its_own_process(tmp_path: Path) -> None:
    commands = [(sys.executable, PLAIN / "forks_after_opening.py", tmp_path / f"{name}.jsonl") for name in ("a", "b")]
    with started(*commands[0]) as first, started(*commands[1]) as second:
        runs = [run_in(tmp_path, name)._replace(single_file=True) for name in ("a", "b")]
        assert found(*runs, count=2) == {"a": [first.pid], "b": [second.pid]}


def test_a_process_that_leaves_one_log_open_and_writes_the_next_is_the_next_runs(tmp_path: Path) -> None:
    """As a search over settings does that never closes its writers."""
    logs = [tmp_path / name / "train.csv" for name in ("first", "second")]
    for log in logs:
        log.parent.mkdir()
    writes = "import sys, time; files = [open(path, 'a') for path in sys.argv[1:]]; print('open', flush=True); time.sleep(600)"
    with started(sys.executable, "-c", writes, *logs) as process:
        assert process.stdout is not None
        process.stdout.readline()
        finder, now_s = Finder(HOST), time.time()
        first = run_in(logs[0].parent, "first")._replace(last_line_s=now_s - 15)
        second = run_in(logs[1].parent, "second")._replace(last_line_s=now_s - 30)
        wait_for(lambda: finder.find([first, second]), because="no process is found")
        assert [*finder.find([first, second])] == ["first"]
        wrote_once = second._replace(last_line_s=now_s - 8)
        assert [*finder.find([first, wrote_once])] == ["first", "second"], "it may write both"
        later = second._replace(last_line_s=now_s)
        assert [*finder.find([first, later])] == ["second"]
        slow = first._replace(median_interval_s=30.0)
        assert [*finder.find([slow, later])] == ["second", "first"], "its next line is not late yet"


def test_the_process_that_an_event_file_is_called_after_is_the_runs_from_the_start(tmp_path: Path) -> None:
    """TensorBoard's writer opens its file every two minutes, for a moment."""
    with started(sys.executable, "-c", "import time; print('began', flush=True); time.sleep(600)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        now_s = int(time.time())
        for name in (
            f"{now_s}.{HOST}.{process.pid}.0",
            f"{now_s - 9}.{HOST}.1.0",
            f"{now_s + 9}.another.{os.getpid()}.0",
        ):
            (tmp_path / f"events.out.tfevents.{name}").touch()
        run = run_in(tmp_path)._replace(last_line_s=time.time() - 119)
        assert found(run, finder=Finder(HOST)) == {"run": [process.pid]}
        (tmp_path / f"events.out.tfevents.{now_s - 3600}.{HOST}.{process.pid}.0").touch()
        assert found(run, finder=Finder(HOST)) == {"run": [process.pid]}, "of several files the newest names it"
        for path in tmp_path.glob(f"*.{now_s}.*"):
            path.unlink()
        assert Finder(HOST).find([run]) == {}, "that pid belonged to another process when the file was made"
