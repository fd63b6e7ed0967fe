"""However a script ends, what it said it logged is in its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from deepseek.log import RunLog
from tests.interpreters import RUN_LOGS, Interpreter, every_python
from tests.support.logging_scripts import LOG_FOR_EVER, LOG_THOUSAND, events_of, run_to_its_end, said, steps_of
from tests.support.logging_scripts import log as log  # a fixture
from tests.support.running import ROOT, script, wait_for

NOT_CLOSED = ("ended", "the log was not closed, and the exit code is not known")


@every_python(RUN_LOGS)
@pytest.mark.parametrize(
    ("last_line", "how", "code", "end"),
    [
        ("", "file", 0, ("finished", "")),
        ("try: sys.exit(3)\nexcept SystemExit: pass", "file", 0, ("finished", "")),
        ("log.close()\nsys.exit(3)", "file", 3, ("finished", "")),
        ("sys.exit(3)", "file", 3, NOT_CLOSED),
        ("raise SystemExit('no data')", "file", 1, NOT_CLOSED),
        ("sys.exit()", "file", 0, NOT_CLOSED),
        ("", "module", 0, ("finished", "")),
        ("sys.exit(3)", "module", 3, NOT_CLOSED),
        ("", "command", 0, ("finished", "")),
        ("sys.exit(3)", "command", 3, NOT_CLOSED),
    ],
)
def test_a_script_that_ends_without_closing_its_log_loses_no_line_and_claims_no_success_that_it_does_not_know(
    tmp_path: Path, python: Interpreter, last_line: str, how: str, code: int, end: tuple[str, str]
) -> None:
    code_of = f"{LOG_THOUSAND}\n{last_line}\n"
    (tmp_path / "program.py").write_text(code_of)
    arguments = {"file": ["program.py"], "module": ["-m", "program"], "command": ["-c", code_of]}[how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "deepseek-log")}
    ended = subprocess.run(
        [python.path, *arguments, tmp_path], cwd=tmp_path, env=environment, timeout=60, capture_output=True
    )
    assert ended.returncode == code, ended.stderr
    assert steps_of(tmp_path) == list(range(1000))
    (said_last,) = events_of(tmp_path, "end")
    assert (said_last["status"], said_last["reason"]) == end
    (text,) = (tmp_path / "run").glob("*.log")
    assert text.read_text().endswith(" INFO logged all\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_script_that_raises_loses_no_line_and_is_marked_crashed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_to_its_end(LOG_THOUSAND + "raise ValueError('bad batch')", tmp_path).returncode == 1
    assert steps_of(tmp_path) == list(range(1000))
    (end,) = events_of(tmp_path, "end")
    assert (end["status"], end["reason"]) == ("crashed", "ValueError: bad batch")
    text = (tmp_path / "run" / "python.log").read_text()
    assert "ERROR Traceback" in text
    assert text.endswith("\nValueError: bad batch\n")
    assert "ValueError: bad batch" in capfd.readouterr().err, "the hook that was there before still prints"


@pytest.mark.parametrize(
    ("ending", "code", "status", "reason"),
    [
        ("raise SystemExit(3)", 3, "crashed", "exit 3"),
        ("raise SystemExit", 0, "finished", ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "finished", "stopped by SIGINT"),
    ],
)
def test_a_with_block_tells_how_it_was_left(tmp_path: Path, ending: str, code: int, status: str, reason: str) -> None:
    body = f"import sys\nfrom deepseek.log import RunLog\nwith RunLog(sys.argv[1], 'run'):\n {ending}"
    assert run_to_its_end(body, tmp_path).returncode == code
    (end,) = events_of(tmp_path, "end")
    assert (end["status"], end["reason"]) == (status, reason)


def test_sigterm_loses_no_line_and_still_kills(tmp_path: Path) -> None:
    with script(LOG_FOR_EVER, str(tmp_path)) as process:
        before = said(process, 500)
        process.terminate()
        assert process.stdout is not None
        last = int([before, *process.stdout.read().splitlines()][-1])
        assert process.wait(60) == -signal.SIGTERM
    steps = steps_of(tmp_path)
    assert steps == list(range(len(steps)))
    assert last in (len(steps) - 1, len(steps) - 2), "the signal may come between a call and the word of it"
    (end,) = events_of(tmp_path, "end")
    assert (end["status"], end["reason"]) == ("finished", "stopped by SIGTERM")


def test_a_script_that_handles_sigterm_itself_keeps_its_handler(tmp_path: Path) -> None:
    own = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    with script(own + LOG_FOR_EVER, str(tmp_path)) as process:
        said(process, 10)
        process.terminate()
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait(60) == 7
    assert steps_of(tmp_path) == list(range(len(steps_of(tmp_path))))
    assert len(events_of(tmp_path, "end")) == 1


def test_kill_9_loses_at_most_the_last_moment_and_the_next_attempt_starts_on_a_line_of_its_own(tmp_path: Path) -> None:
    with script(LOG_FOR_EVER, str(tmp_path)) as process:
        said(process, 500)
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 1)
        process.kill()
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:-5])  # the kernel may have taken half of the last write
    run_to_its_end(LOG_THOUSAND, tmp_path)
    cut, *rest = metrics.read_bytes()[len(whole[:-5].rpartition(b"\n")[0]) + 1 :].splitlines()
    assert whole.endswith(cut + whole[-5:])
    assert [json.loads(line)["step"] for line in rest] == list(range(1000))
    assert len(events_of(tmp_path, "start")) == 2
    assert len(events_of(tmp_path, "end")) == 1


def test_a_forked_child_logs_nothing_and_ends_nothing(tmp_path: Path) -> None:
    fork = """
    if step == 500 and os.fork() == 0:
        log.text("from the child")
        sys.exit(0)  # runs the child's atexit hooks, too
"""
    run_to_its_end(LOG_THOUSAND.replace("log.text", f"{fork}log.text"), tmp_path)
    assert steps_of(tmp_path) == list(range(1000))
    assert "child" not in (tmp_path / "run" / "python.log").read_text()
    assert len(events_of(tmp_path, "end")) == 1


def test_a_terminated_worker_process_dies_of_the_signal_and_leaves_the_log_alone(tmp_path: Path) -> None:
    worker = """
import multiprocessing, time
process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
process.start()
process.terminate()
process.join(10)
log.text(f"worker ended with {process.exitcode}")
"""
    run_to_its_end(LOG_THOUSAND + worker, tmp_path)
    assert "worker ended with -15" in (tmp_path / "run" / "python.log").read_text()
    assert [event["reason"] for event in events_of(tmp_path, "end")] == [""]


def test_a_closed_log_takes_no_more_and_closing_twice_is_closing_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "run")
    log.close()
    log.scalars(1, loss=0.5)
    log.close(status="crashed", reason="too late")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert [event["status"] for event in events_of(tmp_path, "end")] == ["finished"]


def test_a_long_message_of_an_exception_ends_with_a_whole_word(tmp_path: Path) -> None:
    body = "import sys\nfrom deepseek.log import RunLog\nwith RunLog(sys.argv[1], 'run'):\n raise ValueError('no sense ' * 300)"
    run_to_its_end(body, tmp_path)
    (end,) = events_of(tmp_path, "end")
    assert end["reason"].endswith((" no…", " sense…")) and 900 < len(end["reason"]) <= 1000
