"""The command line: one sentence and exit code 2 for a mistake, one line with the address otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from collectors import VERSION
from collectors import writer_lock as lock
from collectors.control import ask
from collectors.machine.proc import start_ticks
from dashboard.commands import main
from dashboard.commands.command import typeable
from tests.conftest import ROOT, Dashboard, dashboard, script, wait_for

LOGGER = '{"time_s": 1764000000.25, "step": 1, "train/loss": 2.5}\n'


def mistake(*flags: str, cwd: Path) -> str:
    """The one sentence that a wrong command answers with."""
    done = subprocess.run(
        [sys.executable, ROOT / "app.py", *flags], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (["--prot", "8080"], "--help lists the options"),
        (["--port", "eighty"], "is not a port number"),
        (["--port", "70000"], "is not a port number"),
        (["--log-dir", __file__], f"is a file; name its folder instead: --log-dir {Path(__file__).parent}"),
        (["--log-dir", ".", "--host", "192.0.2.1"], "leave --host out"),
        (["--log-dir", ".", "--allow-host", "http://x"], "is no name of a host"),
        (["--log-dir", ".", "--allow-origin", "example"], "https://"),
        (["--log-dir", ".", "--data-dir", "/proc/nowhere"], "choose another folder with --data-dir"),
        (["--retention", "a month"], "is no duration such as 30d"),
        (["--max-size", "20"], "is no size such as 20GB"),
        (["--max-size", "0GB"], "is no size such as 20GB"),
        (["--profile-budget", "-1"], "is not a number above 0"),
        (["--sampler", "perf"], "choose from 'native', 'py-spy'"),
        (["profile"], "deepseek-dashboard profile --help lists the options"),
        (["profile", "--pid", "4194304"], "there is no process 4194304; list those of Python with: pgrep -af python"),
        (["profile", "--pid", "1", "--seconds", "0"], "is not a number above 0"),
        (["profile", "--pid", "1", "--sampler", "perf"], "choose from 'native', 'py-spy'"),
        (["store"], "deepseek-dashboard store --help lists the options"),
        (["store", "mend"], "choose from 'check', 'compact'"),
        (["store", "check"], "name its folder with --log-dir or --data-dir"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_remedy(
    flags: list[str], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: the command would end it only if it took the mistake for none."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(flags) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    shown = capsys.readouterr()
    assert remedy in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1), shown.err


def test_a_mistake_ends_the_program_with_its_sentence_and_code_2(tmp_path: Path) -> None:
    assert "is not a port number" in mistake("--port", "eighty", cwd=tmp_path)


def test_a_taken_port_gets_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert f"port {number} is taken; choose another one with: --port {number + 1}" in mistake(
            "--log-dir", ".", "--port", str(number), cwd=tmp_path
        )


def test_the_version_is_told() -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "app.py", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert shown == f"deepseek-dashboard {VERSION}\n"


def test_help_names_every_flag() -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "app.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    profiling = ("--no-profile", "--sampler", "--profile-budget")
    for flag in ("--port", "--host", "--log-dir", "--data-dir", "--retention", "--max-size", "--demo", *profiling):
        assert flag in shown


def test_the_sampler_and_its_budget_reach_the_collector(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs", "--sampler", "py-spy", "--profile-budget", "1.5") as running:
        writer = lock.writer_of(tmp_path / "logs" / ".deepseek")
        assert isinstance(writer, lock.Writer) and (writer.options["sampler"], writer.options["profile_budget"]) == (
            "py-spy",
            1.5,
        )
        told = ask(tmp_path / "logs" / ".deepseek", "status")["profile"]
        assert (told["sampler"], told["budget_pct"], told["about"]) == (
            "py-spy",
            1.5,
            "Sampled by py-spy (set by --sampler).",
        )
        assert running.get("/healthz")["status"] == "ok"


def test_a_process_that_is_no_python_cannot_be_profiled(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        said = mistake("profile", "--pid", str(sleeper.pid), cwd=tmp_path)
        sleeper.kill()
    assert said.startswith(
        f"deepseek-dashboard: py-spy finds no Python that it knows in process {sleeper.pid}; list those"
    )


FED_BY_A_THREAD = """
import queue, threading, time

def decode():
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass

def feed(batches):
    while True:
        decode()
        batches.put(1)

batches = queue.Queue()
threading.Thread(target=feed, args=(batches,), name="feeder", daemon=True).start()
print(flush=True)
while True:
    batches.get()
"""


def profiled(pid: int, sampler: str) -> str:
    """What `profile` prints of a second of a process."""
    command = [sys.executable, ROOT / "app.py", "profile", "--pid", str(pid), "--seconds", "1", "--sampler", sampler]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_a_shell_is_shown_the_hottest_lines_and_what_is_waited_for(sampler: str) -> None:
    with script(FED_BY_A_THREAD) as target:
        assert target.stdout and target.stdout.readline()
        shown = profiled(target.pid, sampler)
    head, empty, main, titles, hottest, *rows = shown.splitlines()
    assert re.fullmatch(rf"Process {target.pid}: [1-4]\.\d s by {sampler} at 100 Hz, [\d,]+ samples", head)
    assert re.match(r"MainThread: (9\d|100)% waiting \(queue (9\d|100)%", main), shown
    assert (empty, titles) == ("", "   own s   share  line")
    assert re.fullmatch(r" +\d\.\d\d +(9\d|100)%  threading.py:\d+ (Condition\.)?wait", hottest), shown
    assert re.match(r"feeder: \d(\.\d)?% waiting.*, most at <string>:\d+ decode", rows[-1]), shown


def test_a_process_that_ends_while_it_is_profiled_is_shown_as_far_as_it_got() -> None:
    with script("import time\ndef spin():\n    while time.process_time() < 4: pass\nspin()") as target:
        command = [sys.executable, ROOT / "app.py", "profile", "--pid", str(target.pid), "--seconds", "60"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "<string>:3 spin" in shown


def tend_store(action: str, log_dir: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "app.py", "store", action, "--log-dir", log_dir.name]
    return subprocess.run(command, cwd=log_dir.parent, capture_output=True, text=True, timeout=60)


def test_a_store_is_checked_beside_its_collector_and_compacted_after_it(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as running:
        (tmp_path / "logs" / "a.jsonl").write_text(LOGGER)
        wait_for(lambda: running.values("a", "train/loss") == [2.5])
        assert tend_store("check", tmp_path / "logs").stdout.startswith("all is well")
        assert "end the dashboard of this folder first" in tend_store("compact", tmp_path / "logs").stderr
    compacted = tend_store("compact", tmp_path / "logs")
    assert (compacted.returncode, compacted.stderr) == (0, "")
    assert tend_store("check", tmp_path / "logs").returncode == 0


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    data_dir = tmp_path / ".deepseek"
    data_dir.mkdir()
    (data_dir / "runs.sqlite").write_bytes(b"not a store" * 1000)
    checked = tend_store("check", tmp_path)
    assert checked.returncode == 1
    assert checked.stdout.startswith("runs.sqlite: ")
    compacted = tend_store("compact", tmp_path)
    assert compacted.returncode == 2
    assert f"run {sys.executable} {ROOT / 'app.py'} store check to find the file" in compacted.stderr


def test_beside_a_store_that_cannot_be_read_every_answer_says_so_until_it_is_moved_away(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    (log_dir / ".deepseek").mkdir(parents=True)
    (log_dir / "a.jsonl").write_text(LOGGER)
    runs = log_dir / ".deepseek" / "runs.sqlite"
    runs.write_bytes(b"not a store" * 1000)
    with contextlib.closing(Dashboard(log_dir)) as running:
        for question in ("runs", "series?run=a", "curves?run=a&expr=loss", "logs?run=a", "flame?run=a&from=1&to=2"):
            assert "run deepseek-dashboard store check to find the file" in running.get(f"/api/v1/{question}")["error"]
        said = "the collector does not say what is wrong"
        wait_for(lambda: "the store is damaged" in running.errors.read_text(), because=said)
        with connect(running.address.replace("http", "ws") + "/api/v1/live") as socket:
            assert "the store is damaged" in json.loads(socket.recv(10))["problems"][0]
            runs.rename(runs.with_suffix(".damaged"))
            wait_for(lambda: json.loads(socket.recv(10)).get("problems") == [])
        wait_for(lambda: running.values("a", "train/loss") == [2.5])
        assert "Traceback" not in running.errors.read_text()


def test_the_limits_of_the_store_reach_the_collector(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs", "--retention", "30d", "--max-size", "20kB") as running:
        writer = lock.writer_of(tmp_path / "logs" / ".deepseek")
        assert isinstance(writer, lock.Writer) and (writer.options["retention_s"], writer.options["max_bytes"]) == (
            30 * 86400,
            20_000,
        )
        health = wait_for(
            lambda: [one for one in running.get("/healthz")["collectors"] if "--max-size" in one["last_error"]]
        )
        assert {one["state"] for one in health} == {"paused"}


def test_it_prints_one_line_and_ends_all_children_on_ctrl_c(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as running:
        assert running.announcement.count("\n") == 1
        collector = running.collector_pid()
        running.stop()
        assert running.process.returncode == 0
        assert not Path(f"/proc/{collector}").exists()


def test_a_killed_dashboards_collector_ends_by_itself_and_the_next_one_starts_its_own(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as first:
        collector = first.collector_pid()
        first.stop(signal.SIGKILL)
        assert collector is not None
        wait_for(lambda: start_ticks(collector) is None, because="the collector outlives its dashboard")
        with dashboard(tmp_path / "logs") as second:
            assert second.collector_pid() != collector
            (tmp_path / "logs" / "a.jsonl").write_text(LOGGER)
            wait_for(lambda: second.values("a", "train/loss") == [2.5])


def test_the_stopped_collector_of_a_killed_dashboard_is_replaced(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as first:
        collector = first.collector_pid()
        assert collector is not None
        os.kill(collector, signal.SIGSTOP)
        first.stop(signal.SIGKILL)
        with dashboard(tmp_path / "logs", "--no-profile") as second:
            assert second.collector_pid() != collector
            assert start_ticks(collector) is None


def test_beside_a_live_dashboard_with_other_options_a_second_one_only_reads(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as first, dashboard(tmp_path / "logs", "--no-profile") as second:
        assert second.collector_pid() == first.collector_pid()
        (tmp_path / "logs" / "a.jsonl").write_text(LOGGER)
        wait_for(lambda: second.values("a", "train/loss") == [2.5])
        second.stop()
        assert first.collector_pid() is not None, "another one's collector is left alone"


def test_a_collector_that_dies_is_started_again(tmp_path: Path) -> None:
    with dashboard(tmp_path / "logs") as running:
        first = running.collector_pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(
            lambda: (
                isinstance(writer := lock.writer_of(tmp_path / "logs" / ".deepseek"), lock.Writer)
                and writer.pid != first
            )
        )
        wait_for(lambda: running.get("/healthz")["status"] == "ok")


def test_a_data_folder_with_a_very_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    with dashboard(deep) as running:
        assert running.collector_pid()


def test_a_sentence_names_the_command_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "start one with: deepseek-dashboard --port 8080, or `deepseek-dashboard`; deepseek-dashboard 1.0 is not /srv/deepseek-dashboard or deepseek-dashboard-x"
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "venv" / "bin" / "deepseek-dashboard"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script.parent / "python"))
    typed = [
        ("app.py", "venv/bin/python app.py"),
        (str(script), "venv/bin/deepseek-dashboard"),
        ("/elsewhere/pytest", "deepseek-dashboard"),
    ]
    for argv0, command in typed:
        monkeypatch.setattr("sys.argv", [argv0])
        assert typeable(sentence) == sentence.replace("with: deepseek-dashboard", f"with: {command}").replace(
            "`deepseek-dashboard`", f"`{command}`"
        )
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setattr("sys.argv", [str(script)])
    assert typeable(sentence) == sentence


@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_a_process_that_sleeps_waits(tmp_path: Path, sampler: str) -> None:
    (tmp_path / "asleep.py").write_text("import time\nprint(flush=True)\nwhile True:\n    time.sleep(60)\n")
    with subprocess.Popen([sys.executable, tmp_path / "asleep.py"], stdout=subprocess.PIPE, text=True) as target:
        assert target.stdout and target.stdout.readline()
        shown = profiled(target.pid, sampler)
        target.kill()
    assert re.search(r"MainThread: (9\d|100)% waiting \(sleep (9\d|100)%\)", shown), shown


def test_a_command_whose_output_nobody_reads_to_the_end_ends_without_an_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, ROOT / "app.py", "doctor", "--log-dir", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout and command.stderr
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == ("", 0)
