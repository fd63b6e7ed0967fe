"""How runs end, seen through a real dashboard: scripts that are killed, raise, are stopped, or say themselves that they are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.crash import crash_of
from collectors.machine.exit_reason import is_about, last_error, verdict_of, words_at_the_end
from collectors.records import LogLine
from tests.conftest import ROOT, Dashboard, dashboard, script, wait_for
from tests.support.plain_scripts import PLAIN, started

ENDED_WITHIN_S = 30.0  # three at rest; where nobody looks for processes it takes minutes
PLAIN_LOOP = """
import json, sys, time
with open(sys.argv[1], "a", buffering=1) as log:
    for step in range(1_000_000):
        log.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1.0}) + "\\n")
        time.sleep(0.05)
"""
RUN_LOG_LOOP = """
import sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], run=sys.argv[2]) as log:
    for step in range(1_000_000):
        log.scalars(step, {"train/loss": 1.0})
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("lives") / "logs"
    old = log_dir / "old"
    old.mkdir(parents=True)
    (old / "metrics.jsonl").write_text('{"time_s": 1764000000.0, "step": 1, "train/loss": 1.0}\n')
    (old / "train.log").write_text(
        "2025-11-24 16:00:00+00:00 step 1\nTraceback (most recent call last):\n  File x\nValueError: bad batch\n"
    )
    with dashboard(log_dir) as running:
        yield running


def with_a_process(running: Dashboard, run: str) -> dict[str, Any]:
    """The run's row, once its process is known."""
    return wait_for(
        lambda: row if (row := running.run(run)).get("pid") else {}, because=f"no process of {run} is known"
    )


def seconds_until(running: Dashboard, run: str, state: str) -> float:
    begun_s = time.monotonic()
    wait_for(lambda: running.run(run)["state"] == state, because=f"{run} is not {state}")
    return time.monotonic() - begun_s


def test_a_plain_script_that_is_killed_has_soon_ended(running: Dashboard) -> None:
    folder = running.log_dir / "plain"
    folder.mkdir()
    with script(PLAIN_LOOP, str(folder / "metrics.jsonl")) as training:
        row = with_a_process(running, "plain")
        assert (row["state"], row["pid"], row["cwd"]) == ("running", training.pid, str(Path.cwd()))
        wait_for(
            lambda: running.get("/api/v1/flame?run=plain&from=0&to=9e9").get("frames"), because="it is not profiled"
        )
        training.kill()
        training.wait()
        assert seconds_until(running, "plain", "ended") < ENDED_WITHIN_S
        wait_for(lambda: "nothing says how it ended" in running.run("plain")["state_reason"])
        assert str(training.pid) in running.run("plain")["state_reason"]


def test_a_run_log_without_its_end_was_killed(running: Dashboard) -> None:
    with script(RUN_LOG_LOOP, str(running.log_dir), "logged") as training:
        with_a_process(running, "logged")
        training.kill()
        training.wait()
        assert seconds_until(running, "logged", "killed") < ENDED_WITHIN_S
        assert running.run("logged")["state_reason"] == f"Killed: process {training.pid} is gone without an end event"


def test_behind_tee_a_traceback_that_comes_last_is_a_failure_and_the_python_is_profiled(
    running: Dashboard, tmp_path: Path
) -> None:
    folder = running.log_dir / "teed"
    folder.mkdir()
    ends = tmp_path / "ends"
    code = (
        "import os\n"
        + (PLAIN / "prints.py").read_text()
        + f"    if os.path.exists({str(ends)!r}): raise ValueError('bad batch')\n"
    )
    (tmp_path / "train.py").write_text(code)
    with started(sys.executable, tmp_path / "train.py", "2>&1", "|", "tee", folder / "train.log", shell=True):
        row = with_a_process(running, "teed")
        assert Path(f"/proc/{row['pid']}/cmdline").read_text().split("\0")[1] == str(tmp_path / "train.py")
        ends.touch()
        seconds_until(running, "teed", "failed")
        assert running.run("teed")["state_reason"] == "ValueError: bad batch"


def test_an_end_that_no_dashboard_saw_is_judged_by_the_next_one(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    folder = log_dir / "raises"
    folder.mkdir(parents=True)
    (tmp_path / "train.py").write_text("print('step 1', flush=True)\ninput()\nraise ValueError('bad batch')\n")
    line = (sys.executable, tmp_path / "train.py", ">", folder / "train.log", "2>&1")
    os.mkfifo(tmp_path / "go")
    with (
        script(RUN_LOG_LOOP, str(log_dir), "logged") as logged,
        started(*line, f"<> {tmp_path}/go", shell=True) as raising,
    ):
        with dashboard(log_dir) as first:
            with_a_process(first, "logged")
            with_a_process(first, "raises")
        logged.kill()
        (tmp_path / "go").write_text("\n")
        logged.wait()
        raising.wait(60)
        with dashboard(log_dir) as second:
            seconds_until(second, "logged", "killed")
            seconds_until(second, "raises", "failed")
            assert second.run("raises")["state_reason"] == "ValueError: bad batch"


def test_a_script_that_fails_at_its_start_has_failed_soon_though_nobody_saw_its_process(running: Dashboard) -> None:
    folder = running.log_dir / "brief"
    folder.mkdir()
    with started(sys.executable, "-c", "'import no_such_module'", "2>&1", "|", "tee", folder / "train.log", shell=True):
        wait_for(lambda: running.run("brief"))
        assert seconds_until(running, "brief", "failed") < ENDED_WITHIN_S
        assert "No module named 'no_such_module'" in running.run("brief")["state_reason"]


def test_an_old_run_whose_log_ends_with_a_traceback_has_failed(running: Dashboard) -> None:
    wait_for(lambda: running.run("old")["state"] == "failed", because="its last lines are not read")
    assert running.run("old")["state_reason"] == "ValueError: bad batch"


def test_a_process_that_goes_on_is_let_go_by_a_run_that_it_no_longer_writes(running: Dashboard, tmp_path: Path) -> None:
    code = (
        PLAIN_LOOP.replace("sys.argv[1]", "path")
        .replace("range(1_000_000)", "range(60 if 'first' in path else 10**6)")
        .replace("\n", "\n    ")
    )
    first, second = running.log_dir / "first.jsonl", running.log_dir / "second.jsonl"
    with script(f"for path in {[str(first), str(second)]}:{code}") as training:
        assert with_a_process(running, "first")["pid"] == training.pid
        assert with_a_process(running, "second")["pid"] == training.pid


BROKEN = [
    "INFO step 5",
    "Traceback (most recent call last):",
    '  File "t.py", line 1, in <module>',
    "    go()",
    "ValueError: no",
]


AGENT = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "
REPORT = [
    AGENT,
    "=" * 60,
    "train.py FAILED",
    "-" * 60,
    "Failures:",
    "[1]:",
    "  exitcode  : -15 (pid: 8)  (SIGTERM)",
    "-" * 60,
]
REPORT += ["Root Cause (first observed failure):", "[0]:", "  host      : box", "  rank      : 1 (local_rank: 1)"]
REPORT += ["  exitcode  : 3 (pid: 9)", "  traceback : To enable traceback see: https://pytorch.org", "=" * 60]
CLOSING = "W1125 16:25:09.170000 25333 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 8 closing signal SIGTERM"
IN_TURN = [
    f"[rank{rank}]: {line}"
    for pair in zip(BROKEN, [*BROKEN[:-1], "RuntimeError: gone"], strict=True)
    for rank, line in enumerate(pair)
]
GROUP = [
    "  + Exception Group Traceback (most recent call last):",
    '  |   File "t.py", line 1, in <module>',
    "  |     go()",
]
GROUP += [
    "  | ExceptionGroup: two (2 sub-exceptions)",
    "  +-+---------------- 1 ----------------",
    "    | ValueError: no",
]
GROUP += [
    "    +---------------- 2 ----------------",
    "    | TypeError: bad",
    "    +------------------------------------",
]
TORCHRUN = [BROKEN[1], '  File "torchrun", line 8, in <module>', "    sys.exit(main())", *REPORT]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (BROKEN, "ValueError: no"),
        ([*BROKEN, CLOSING], "ValueError: no"),
        ([*BROKEN, CLOSING, *TORCHRUN], "ValueError: no"),
        (["step 5", CLOSING, *TORCHRUN], "rank 1 ended with exit status 3"),
        (
            [*BROKEN, BROKEN[1], "  File x", "subprocess.CalledProcessError: Command 'python' returned 1."],
            "ValueError: no",
        ),
        (
            ["╭──── Traceback (most recent call last) ────╮", "│ t.py:1 in <module>   │", "╰──────╯", "ValueError: no"],
            "ValueError: no",
        ),
        ([*BROKEN, "wandb: ", "wandb: View run at https://box"], "ValueError: no"),
        (
            [*BROKEN, "", "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace."],
            "ValueError: no",
        ),
        ([*BROKEN, "make: *** [Makefile:2: train] Error 1"], "ValueError: no"),
        ([*BROKEN, "srun: error: box: task 0: Exited with exit code 1"], "ValueError: no"),
        (
            [*BROKEN, "[2026-11-25 16:25:09,170] [ERROR] [launch.py:325:sigkill_handler] ['python'] exits"],
            "ValueError: no",
        ),
        ([*BROKEN, ""], "ValueError: no"),
        ([f"[rank0]: {line}" for line in BROKEN], "ValueError: no"),
        (IN_TURN, "ValueError: no"),
        ([*IN_TURN, CLOSING, *TORCHRUN], "ValueError: no"),
        ([*IN_TURN, "[rank0]: step 6"], ""),
        ([*IN_TURN, "step 6"], ""),
        (GROUP, "ExceptionGroup: two (2 sub-exceptions)"),
        ([f"[rank0]: {line}" for line in GROUP], "ExceptionGroup: two (2 sub-exceptions)"),
        ([*GROUP, "step 6"], ""),
        (
            [*BROKEN[:-1], "torch.cuda.OutOfMemoryError: CUDA out of memory.", "  hint"],
            "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        ),
        ([*BROKEN[:-1], "KeyboardInterrupt"], "KeyboardInterrupt"),
        (["step 5", "KeyboardInterrupt"], "KeyboardInterrupt"),
        ([*BROKEN, "INFO step 6"], ""),
        ([*BROKEN, "step 6 loss 1.0"], ""),
        ([*BROKEN[:-1], "f.<locals>.Odd: no"], "f.<locals>.Odd: no"),
        (
            ["Error executing job with overrides: []", BROKEN[1], '  File "t.py", line 1, in main', "ValueError: no"],
            "ValueError: no",
        ),
        (["step 5", BROKEN[1], '  File "t.py", line 1, in main', "ValueError: no"], ""),
        (BROKEN[:-1], ""),
        (["ValueError: no"], ""),
        ([], ""),
    ],
)
def test_only_a_traceback_that_comes_last_says_that_a_run_failed(lines: list[str], error: str) -> None:
    assert last_error(lines) == error


def printed_by(code: str, tmp_path: Path) -> list[str]:
    """What a real program writes, both outputs in one file."""
    (tmp_path / "train.py").write_text(code)
    command = [sys.executable, "-u", tmp_path / "train.py"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return done.stdout.splitlines()


READS = "import logging, threading, traceback, warnings\ndef read(): raise OSError('shard 3 is gone')\nprint('step 5 loss 0.5')\n"
CAUGHT = {
    "printed": "def main():\n    try: read()\n    except OSError: traceback.print_exc()\nmain()\n",
    "logged": "def main():\n    try: read()\n    except OSError: logging.exception('skipped')\nmain()\n",
    "as text": "def main():\n    try: read()\n    except OSError: print('skipped:', traceback.format_exc())\nmain()\n",
    "a chain": "def main():\n    try:\n        try: read()\n        except OSError as e: raise KeyError('x') from e\n"
    "    except KeyError: traceback.print_exc()\nmain()\n",
    "a warning": "def main():\n    try: read()\n    except OSError: warnings.warn(traceback.format_exc())\nmain()\n",
    "a destructor": "class A:\n    def __del__(self): read()\nA()\n",
    "at exit": "import atexit\natexit.register(read)\n",
    "a thread": "threading.Thread(target=read).start()\n",
    "a child": "import multiprocessing as mp\nc = mp.get_context('fork').Process(target=read)\nc.start()\nc.join()\n",
    "a task": "import asyncio\nasync def f(): read()\nasync def main():\n    asyncio.create_task(f())\n    await asyncio.sleep(0.01)\nasyncio.run(main())\n",
    "a logging error": "logging.basicConfig()\nlogging.warning('%d', 'x')\n",
}
ERROR = "OSError: shard 3 is gone"
UNCAUGHT = {
    "at the top": ("read()\n", ERROR),
    "in a function": ("def main(): read()\nmain()\n", ERROR),
    "a chain": ("try: read()\nexcept OSError as e: raise KeyError('x') from e\n", "KeyError: 'x'"),
    "with a destructor after it": ("class A:\n    def __del__(self): 1 / 0\na = A()\nread()\n", ERROR),
    "with a hook at the exit": ("import atexit\natexit.register(lambda: 1 / 0)\nread()\n", ERROR),
    "after one that was caught": (CAUGHT["printed"] + "read()\n", ERROR),
    "with a worker's in its message": (
        "try: read()\nexcept OSError: said = traceback.format_exc()\nraise RuntimeError('Caught in worker 0.\\nOriginal ' + said)\n",
        ERROR,
    ),
    "of a pool": (
        "from concurrent.futures import ProcessPoolExecutor as P\nwith P(1) as p: p.submit(read).result()\n",
        ERROR,
    ),
    "a module": ("import runpy\nread()\n", ERROR),
    "no syntax": ("exec('x = = 1')\n", "SyntaxError: invalid syntax"),
}


@pytest.mark.parametrize("how", CAUGHT)
def test_an_exception_that_ended_no_program_is_no_failure(how: str, tmp_path: Path) -> None:
    lines = printed_by(READS + CAUGHT[how], tmp_path)
    assert any("Traceback" in line for line in lines) and last_error(lines) == ""
    assert crash_of(log_lines(lines), uncaught_only=True) is None


@pytest.mark.parametrize("how", UNCAUGHT)
def test_an_exception_that_ended_its_program_is_a_failure(how: str, tmp_path: Path) -> None:
    code, error = UNCAUGHT[how]
    lines = printed_by(READS + code, tmp_path)
    assert last_error(lines) == error
    assert crash_of(log_lines(lines), uncaught_only=True) is not None


def log_lines(texts: list[str]) -> list[LogLine]:
    return [LogLine("a", "train.log", 100.0, 0, text) for text in texts]


MESSAGES = {
    "two lines": ["second line"],
    "three lines": ["second line", "third line"],
    "a blank line within": ["", "third: see the docs"],
    "the name of another exception": ["second: KeyError"],
    "in another alphabet": ["zwölf ☃", "日本語"],
    "an indented part": ["\tsize mismatch for weight: torch.Size([3, 3])", "the end of it"],
    "a step that is spoken of": ["the loss was nan at step 400 of epoch 3"],
    "many lines": [f"{'abc' * place}: not found" for place in range(60)],
}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("prefix", ["", "[rank0]: "])
@pytest.mark.parametrize(
    "end", [[], ["wandb: View run at https://box"], ["closing the environments"]], ids=["", "wandb", "atexit"]
)
def test_an_exception_whose_message_has_more_lines_is_why_a_run_failed(
    message: str, prefix: str, end: list[str]
) -> None:
    lines = [*BROKEN[:-1], "RuntimeError: first", *MESSAGES[message], *end]
    assert last_error([prefix + line for line in lines]) == "RuntimeError: first"
    before = [*BROKEN[1:-1], "RuntimeError: first", *MESSAGES[message]]  # caught by a second attempt
    assert last_error([*before, *lines]) == "RuntimeError: first"


WENT_ON = [
    "step 6",
    "Epoch 3/10",
    "  [1/5] iter 7",
    "{'loss': 0.5, 'epoch': 0.1}",
    "loss 0.5 at step 7",
    "train loss: 0.5",
]
WENT_ON += [
    "2026-11-26 14:00:00 going on",
    "WARNING: skipped",
    "E1125 16:25:09.170000 25333 x.py:1] no",
    "read 7 of 12 shards",
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("line", WENT_ON)
def test_lines_of_work_that_goes_on_are_no_part_of_a_message(message: str, line: str) -> None:
    lines = ["read 6 of 12 shards", *BROKEN[:-1], "RuntimeError: first", *MESSAGES[message]]
    assert last_error(lines) == "RuntimeError: first"
    assert last_error([*lines, line.strip(), "closing the environments"]) == ""


@pytest.mark.parametrize(("late_s", "error"), [(0.0, "ValueError: no"), (3.0, "ValueError: no"), (20.0, "")])
def test_what_is_said_long_after_a_traceback_is_said_by_a_program_that_went_on(late_s: float, error: str) -> None:
    lines = [(1000.0 + place / 100, text) for place, text in enumerate([*BROKEN, "second line"])]
    assert last_error(words_at_the_end([*lines, (1001.0 + late_s, "the model is saved")], 1000.0)) == error
    assert (
        last_error(words_at_the_end([*lines, (1001.0 + late_s, "srun: error: box: task 0: Exited")], 1000.0))
        == "ValueError: no"
    )


STAMPED = "2026-11-26 14:00:00,123 INFO epoch 3 begins"


@pytest.mark.parametrize(
    ("after_s", "error"),
    [
        ([0.1 * place for place in range(1, 16)], ""),
        ([5.0, 10.0, 15.0], ""),
        ([], "ValueError: no"),
        ([1.0, 20.0], "ValueError: no"),  # of a thread that logs
        ([0.4 + place / 1000 for place in range(900)], "ValueError: no"),  # what was buffered, without times of its own
        ([-1.0, -0.5, 0.0, 2.0], "ValueError: no"),  # what was buffered, with its times
    ],
)
@pytest.mark.parametrize("head", [[], ["2026-11-26 14:00:00,123 ERROR trainer: no"]])
def test_steps_that_are_made_after_a_traceback_say_that_it_was_caught(
    after_s: list[float], error: str, head: list[str]
) -> None:
    def stepped_since(since_s: float) -> list[float]:
        return [1000.1 + later_s for later_s in after_s if 1000.1 + later_s > since_s]

    lines = [(1000.0, text) for text in [*head, *BROKEN[1:]]] + [(1000.1, "second line")]
    assert last_error(words_at_the_end(lines, max([999.0, *stepped_since(0.0)]), stepped_since)) == error
    again = [*lines, *((1030.0, text) for text in BROKEN[1:-1]), (1030.0, "OSError: the last")]
    assert last_error(words_at_the_end(again, 1020.0, stepped_since)) == "OSError: the last"
    old = [(1000.0, STAMPED), *lines[len(head) :]]
    assert last_error(words_at_the_end(old, 1000.0, stepped_since)) == "ValueError: no", (
        "its time may be that of the epoch"
    )


LOGGED = """
import json, sys, threading, time, traceback
log = open(sys.argv[1], "a", buffering=1)
def step(number):
    log.write(json.dumps({"time_s": time.time(), "step": number, "loss": 1 / (1 + number)}) + "\\n")
    time.sleep(0.1)
for number in range(20):
    step(number)
"""
FAILS = "raise ValueError('first line\\nsecond line')\n"
ENDS = {
    "caught": (
        "try: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()\nfor n in range(20, 40): step(n)\n",
        "ended",
    ),
    "a thread": ("threading.Thread(target=lambda: 1 / 0).start()\nfor n in range(20, 40): step(n)\n", "ended"),
    "several lines": (FAILS, "failed"),
    "logs on": ("threading.Timer(0.3, lambda: (step(20), step(21))).start()\n" + FAILS, "failed"),
    "buffered": (
        f"late = open(sys.argv[1] + '.csv', 'w'); late.write('step,x\\n1,2\\n2,3\\n3,4\\n')\n{FAILS}",
        "failed",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_script_caught_is_not_why_it_ended(running: Dashboard, end: str) -> None:
    folder = running.log_dir / f"ends {end}"
    folder.mkdir()
    code, state = ENDS[end]
    with (folder / "train.log").open("w") as output:
        subprocess.Popen(
            [sys.executable, "-c", LOGGED + code, folder / "metrics.jsonl"], stdout=output, stderr=output
        ).wait(60)
    said = {"failed": "ValueError: first line", "ended": "nothing says how it ended"}[state]
    wait_for(lambda: said in running.run(f"ends {end}")["state_reason"], because=f"it does not say {said}")
    assert running.run(f"ends {end}")["state"] == state
    shown = running.get(f"/api/v1/logs/crash?run=ends%20{end.replace(' ', '%20')}")["cause"]
    assert ("first line" in shown["sentence"]) if state == "failed" else shown is None


LEFT_OPEN = """
import sys, traceback
from deepseek.log import RunLog
log = RunLog(sys.argv[1], sys.argv[2])
log.scalars(1, loss=0.5)
"""
LOGGED_TRACEBACK = """
try:
    raise ValueError("no data")
except ValueError:
    log.text(traceback.format_exc(), "ERROR")
"""


@pytest.mark.parametrize(
    ("last_lines", "state", "reason"),
    [
        ("", "finished", ""),
        ("sys.exit(3)", "ended", "the log was not closed"),
        (f"{LOGGED_TRACEBACK}sys.exit(3)", "failed", "ValueError: no data"),
    ],
    ids=["to its end", "by sys.exit", "by sys.exit after a traceback"],
)
def test_a_script_that_leaves_its_log_open_is_told_as_far_as_it_is_known(
    running: Dashboard, tmp_path: Path, last_lines: str, state: str, reason: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    (tmp_path / "train.py").write_text(f"{LEFT_OPEN}\n{last_lines}\n")
    subprocess.run(
        [sys.executable, tmp_path / "train.py", running.log_dir, name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    wait_for(
        lambda: running.run(name).get("state") == state and reason in running.run(name)["state_reason"],
        because=f"it is not {state}",
    )


def test_an_exit_status_or_the_kernels_log_says_it_better() -> None:
    def verdict(**known: Any) -> tuple[str, str]:
        return verdict_of(7, BROKEN, **{"code": None, "out_of_memory": False, "promised_end": False, **known})

    assert verdict(code=-signal.SIGKILL) == ("killed", "Process 7 was ended by SIGKILL")
    assert verdict(code=3) == ("failed", "Process 7 ended with exit status 3")
    assert verdict(code=0)[0] == "finished"
    assert verdict(out_of_memory=True)[0] == "killed"
    assert verdict()[0] == "failed"


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("3,829,98127541,-;Out of memory: Killed process 7 (python) total-vm:1kB, anon-rss:2kB", True),
        ("3,829,98127541,-;Memory cgroup out of memory: Killed process 7 (python) total-vm:1kB", True),
        ("3,829,98127541,-;Out of memory: Killed process 77 (python)", False),
        ("3,829,3127541,-;Out of memory: Killed process 7 (python)", False),
        ("6,1,0,-;Linux version 6", False),
        ("", False),
    ],
)
def test_the_kernels_log_names_a_process_that_lived_then(record: str, told: bool) -> None:
    assert is_about(record, 7, started_s=90.0) == told


def test_the_dashboards_own_child_is_judged_by_its_exit_status(tmp_path: Path) -> None:
    """The demo's training run, killed."""
    with dashboard(tmp_path / "logs", "--demo") as running:
        row = wait_for(
            lambda: next((row for row in running.get("/api/v1/runs")["runs"] if row["pid"] and row["points"]), None), 60
        )
        subprocess.run(["kill", "-9", str(row["pid"])], check=True)
        seconds_until(running, row["run"], "killed")
        assert running.run(row["run"])["state_reason"] == f"Process {row['pid']} was ended by SIGKILL"


@pytest.mark.parametrize(
    ("steps_after_s", "state"), [(0.0, "failed"), (40.0, "failed"), (200.0, "killed"), (None, "failed")]
)
def test_a_traceback_after_which_steps_were_made_for_long_is_not_why_a_run_ended(
    steps_after_s: float | None, state: str
) -> None:
    traceback = ["Traceback (most recent call last):", '  File "train.py", line 3, in <module>', "RuntimeError: x"]
    lines = [(1000.0 + place, text) for place, text in enumerate(["begins", *traceback])]
    words = words_at_the_end(lines, None if steps_after_s is None else 1003.0 + steps_after_s)
    assert verdict_of(7, words, code=None, out_of_memory=False, promised_end=True).state == state
    timeless = words_at_the_end([(None, text) for _, text in lines], 5000.0)
    assert last_error(timeless) == "RuntimeError: x"
