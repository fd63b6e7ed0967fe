"""One process with several runs, seen through a real dashboard: each has its stacks, its use of the machine, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.control import ask
from tests.conftest import ROOT, Dashboard, dashboard, wait_for

BUSY = """
def work(until_s):
    total = 0
    while time.time() < until_s:
        total += sum(range(1000))
    return total

def train(log, *more):
    for step in range(100_000):
        work(time.time() + 0.05)
        print("step", step, flush=True)
        for write in (log, *more):
            write(step)
        if os.path.exists(sys.argv[2]):
            raise ValueError("bad batch")
"""
IMPORTS = """
import json, os, sys, time
from pathlib import Path
logs = Path(sys.argv[1])
"""
RUN_LOG = """
from deepseek.log import RunLog
def opened(name):
    log = RunLog(logs, run=name)
    return lambda step: log.scalars(step, {"train/loss": 1.0})
"""
JSONL = """
def opened(name):
    (logs / name).mkdir(parents=True)
    file = open(logs / name / "metrics.jsonl", "a", buffering=1)
    return lambda step: file.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1.0}) + "\\n")
"""
CSV = """
def opened(name):
    (logs / name).mkdir(parents=True)
    path = logs / name / "metrics.csv"
    path.write_text("step,loss\\n")
    def write(step):
        with open(path, "a") as file:
            file.write(f"{step},{1.0 / (step + 1):.60f}\\n")
    return write
"""
EVENTS = """
import itertools, socket
from tests.support.event_records import framed, number
count = itertools.count()
def opened(name):
    (logs / name).mkdir(parents=True)
    path = logs / name / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(count)}"
    def write(step):
        with open(path, "ab") as file:
            file.write(framed(number("train/loss", 1.0, step, time.time())))
    return write
"""
SWEEP = """
import sys, time
from deepseek.log import RunLog
def busy(until_s):
    while time.time() < until_s:
        sum(range(1000))
def trial_0(): busy(time.time() + 0.05)
def trial_1(): busy(time.time() + 0.05)
def trial_2(): busy(time.time() + 0.05)
busy(time.time() + float(sys.argv[2]))
for number, trial in enumerate((trial_0, trial_1, trial_2)):
    with RunLog(sys.argv[1], run=f"trial-{number}") as log:
        began_s = time.time()
        while time.time() < began_s + 3.5:
            trial()
            log.scalars(number, {"train/loss": 1.0})
busy(time.time() + 3)
"""
REOPENED = (
    "a table that is reopened for each line"  # its writer is found by what it writes, which other programs may hide
)
LOGGERS = {"RunLog": RUN_LOG, "JSONL": JSONL, REOPENED: CSV, "event files": EVENTS}


@contextmanager
def training(folder: Path, logger: str, *names: str, under: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Logs the runs into `logs` of the folder until `fail` is there, and then raises."""
    opened = ", ".join(f"opened({name!r})" for name in names)
    (folder / "train.py").write_text(IMPORTS + LOGGERS[logger] + BUSY + f"train({opened})\n")
    command = [*under, sys.executable, "train.py", str(folder / "logs"), str(folder / "fail")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            (folder / "fail").touch()  # below a keeper it goes on without the command
            process.kill()


def row(running: Dashboard, run: str) -> dict[str, object]:
    return wait_for(
        lambda: found if (found := running.run(run)).get("pid") else {}, because=f"no process of {run} is known"
    )


def has_what_a_run_has(running: Dashboard, run: str) -> None:
    """Stacks with the training's own function in them, their source, and the CPU of the process."""
    flame = f"/api/v1/flame?run={run}&from=0&to=9e9"
    wait_for(lambda: "work" in str(running.get(flame).get("frames")), because=f"no stacks of {run}")
    series = "/api/v1/series?match=run_cpu"
    wait_for(
        lambda: any(one["labels"].get("run") == run for one in running.get(series)["series"]),
        because=f"no CPU of {run}",
    )


def started_by(log_dir: Path, name: str = "whole") -> tuple[str, ...]:
    return (
        sys.executable,
        str(ROOT / "app.py"),
        "run",
        "--no-dashboard",
        "--quiet",
        "--log-dir",
        str(log_dir),
        "--name",
        name,
        "--",
    )


@pytest.mark.parametrize(
    "logger", [pytest.param(name, marks=[pytest.mark.timed] if name == REOPENED else []) for name in LOGGERS]
)
def test_a_program_under_run_and_the_run_that_it_logs_both_have_its_stacks_and_its_end(
    logger: str, tmp_path: Path
) -> None:
    log_dir = tmp_path / "logs"
    with dashboard(log_dir) as running, training(tmp_path, logger, "mine", under=started_by(log_dir)):
        assert row(running, "whole")["pid"] == row(running, "mine")["pid"]
        for run in ("whole", "mine"):
            has_what_a_run_has(running, run)
        assert running.values("mine", "train/loss") or running.values("mine", "loss")
        (tmp_path / "fail").touch()
        for run in ("whole", "mine"):
            wait_for(lambda: running.run(run)["state"] == "failed", because=f"{run} has not failed")  # noqa: B023
            assert "ValueError: bad batch" in running.run(run)["state_reason"]
        ended_s = [running.run(run)["ended_s"] for run in ("whole", "mine")]
        assert max(ended_s) - min(ended_s) <= 0.2, "the process has ended once"
        assert not running.values("whole", "train/loss"), "it is not told twice"


@pytest.mark.parametrize("logger", ["RunLog", "JSONL"])
def test_a_process_that_was_attached_and_the_run_that_it_logs_both_have_its_stacks(logger: str, tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    with dashboard(log_dir) as running, training(tmp_path, logger, "mine") as process:
        row(running, "mine")
        command = [
            sys.executable,
            str(ROOT / "app.py"),
            "attach",
            "--log-dir",
            str(log_dir),
            "--name",
            "whole",
            str(process.pid),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert row(running, "whole")["pid"] == row(running, "mine")["pid"] == process.pid
        for run in ("whole", "mine"):
            has_what_a_run_has(running, run)
        process.kill()
        for run in ("whole", "mine"):
            wait_for(lambda: running.run(run)["state"] in ("ended", "killed"), because=f"{run} goes on")  # noqa: B023


@pytest.mark.parametrize("logger", ["RunLog", "JSONL", "event files"])
def test_two_runs_that_one_script_logs_at_the_same_time_both_have_its_stacks(logger: str, tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as running, training(tmp_path, logger, "one", "two") as process:
        for run in ("one", "two"):
            assert row(running, run)["pid"] == process.pid
            has_what_a_run_has(running, run)
        profile = ask(tmp_path / "logs" / ".deepseek", "status")["profile"]
        assert profile["processes"] == 1 and {"one", "two"} <= profile["until"].keys()
        (tmp_path / "fail").touch()
        states = ("failed",) if logger == "RunLog" else ("ended",)  # nothing else says how
        for run in ("one", "two"):
            wait_for(lambda: running.run(run)["state"] in states, because=f"{run} has not ended")  # noqa: B023


def seconds_of(running: Dashboard, run: str) -> tuple[float, dict[str, float]]:
    """Of its stacks in all, and by trial."""
    flame = running.get(f"/api/v1/flame?run={run}&from=0&to=9e9")
    found: dict[str, float] = {}
    for frame, total_s in zip(flame["nodes"]["frame"], flame["nodes"]["total_s"], strict=True):
        name = flame["frames"][frame]["name"]
        if name.startswith("trial_"):
            found[name] = found.get(name, 0.0) + total_s
    main = sum(thread["seconds"] for thread in flame["threads"] if thread["name"] == "MainThread")
    return main, found


@pytest.mark.parametrize("is_under_run", [True, False], ids=["under run", "alone"])
def test_runs_that_one_process_logs_in_turn_each_have_the_stacks_of_their_own_time(
    is_under_run: bool, tmp_path: Path
) -> None:
    log_dir = tmp_path / "logs"
    (tmp_path / "sweep.py").write_text(SWEEP)
    under = started_by(log_dir) if is_under_run else ()
    command = [*under, sys.executable, "sweep.py", str(log_dir), "5" if is_under_run else "0"]
    with dashboard(log_dir) as running:
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120)
        for number in range(3):
            run = f"trial-{number}"
            times = {event["kind"]: event["time_s"] for event in running.get(f"/api/v1/events?run={run}")["events"]}
            lasted_s = times["end"] - times["start"]
            is_found_late = not number and not is_under_run  # it is the first that is known of the process
            expected = pytest.approx(lasted_s, abs=2.5 if is_found_late else 0.3)

            def has_its_own(run: str = run, expected: object = expected) -> bool:
                return bool(running.run(run)) and seconds_of(running, run)[0] == expected

            wait_for(has_its_own, 20, f"{run} took {lasted_s:.2f} s and has stacks of another time")
            _, by_trial = seconds_of(running, run)
            assert sum(seconds for trial, seconds in by_trial.items() if trial != f"trial_{number}") < 0.1, by_trial


def test_a_traceback_in_the_log_of_one_run_is_why_the_other_one_failed_too(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    (log_dir / "text").mkdir(parents=True)
    into = ("sh", "-c", f'exec "$@" > {log_dir}/text/train.log 2>&1', "sh")
    with dashboard(log_dir) as running, training(tmp_path, "event files", "mine", under=into):
        assert row(running, "text")["pid"] == row(running, "mine")["pid"]
        (tmp_path / "fail").touch()
        for run in ("text", "mine"):
            wait_for(lambda: running.run(run)["state"] == "failed", because=f"{run} has not failed")  # noqa: B023
            assert running.run(run)["state_reason"] == "ValueError: bad batch"


ENDS = """
import os, sys, time
from deepseek.log import RunLog
logs, case, ending = sys.argv[1:4]
closed, *left_open = [RunLog(logs, f"{case}-{name}") for name in ("closed", "a", *"bcdefgh", "z")]  # more than may share a process
for step in range(int(sys.argv[4])):
    for log in (closed, *left_open):
        log.scalars(step, loss=1.0)
    time.sleep(0.05)
closed.close()
if ending == "with":
    with left_open[-1]:
        sys.exit(5)
sys.exit(0 if ending == "zero" else 3)
"""
ENDED = {  # by whether a keeper saw it and how the script ends: the state of the logs that it left open, and why
    ("run", "three"): ("failed", "Exit code 3", "Exit code 3"),
    ("run", "zero"): ("finished", "", ""),
    ("run", "with"): ("failed", "Exit code 5", "exit 5"),
    ("alone", "three"): ("ended", "the exit code is not known", "the exit code is not known"),
    ("alone", "with"): ("failed", "exit 5", "exit 5"),
}


def case_of(how: str, ending: str, seen: str) -> str:
    return f"{how}-{ending}-{seen.replace(' ', '-')}"


def train_all(folder: Path, seen: str) -> None:
    """A script for each way to end, side by side, until all have ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = []
    for how, ending in ENDED:
        case, log_dir = case_of(how, ending, seen), folder / "logs"
        command = [sys.executable, "ends.py", str(log_dir), case, ending, "60" if seen == "seen" else "1"]
        command = [*started_by(log_dir, f"{case}-whole"), *command] if how == "run" else command
        started.append(
            subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    for process in started:
        process.wait(60)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """All of them, before the dashboard came and while it was there."""
    folder = tmp_path_factory.mktemp("ended")
    (folder / "ends.py").write_text(ENDS)
    train_all(folder, "before the dashboard")
    with dashboard(folder / "logs") as running:
        for seen in ("too short to be seen", "seen"):
            train_all(folder, seen)
        yield running


@pytest.mark.parametrize(("how", "ending"), ENDED)
@pytest.mark.parametrize("seen", ["seen", "too short to be seen", "before the dashboard"])
def test_logs_that_a_script_left_open_end_as_its_process_does(
    how: str, ending: str, seen: str, ended: Dashboard
) -> None:
    case = case_of(how, ending, seen)
    state, *reasons = ENDED[how, ending]
    for name, reason in (("a", reasons[0]), ("h", reasons[0]), ("z", reasons[1])):
        run = f"{case}-{name}"
        wait_for(
            lambda: ended.run(run).get("state") == state and reason in ended.run(run)["state_reason"],  # noqa: B023
            because=f"{run} is {ended.run(run).get('state')} ({ended.run(run).get('state_reason')}) and not {state}",
        )
    assert ended.run(f"{case}-closed")["state"] == "finished", "the script closed it before"
    if how == "run":
        wait_for(lambda: ended.run(f"{case}-whole").get("state") == ("finished" if ending == "zero" else "failed"))
