"""A process that is already at work becomes a run: from the command, and over HTTP; with its stacks, its use of the machine and its logs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from collectors.machine.proc import is_kernel_thread
from dashboard.attach import AttachRefused, attach, name_of, why_not
from tests import fake_nvml
from tests.conftest import ROOT, dashboard, wait_for

BUSY = """
import sys, time
log = open("mine.log", "a")
def busy():
    return sum(range(20_000))
while True:
    busy()
    print("loss is fine", flush=True)
    print("of its own", file=log, flush=True)
    time.sleep(0.01)
"""


@contextmanager
def at_work(folder: Path, *words: str, output: str = "out.txt") -> Iterator[subprocess.Popen[bytes]]:
    (folder / "train.py").write_text(BUSY)
    with (
        (folder / output).open("wb") as file,
        subprocess.Popen([sys.executable, "train.py", *words], cwd=folder, stdout=file) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def attached(log_dir: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "app.py"), "attach", "--log-dir", str(log_dir), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_an_attached_process_has_stacks_use_of_the_machine_and_its_output(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    with at_work(tmp_path, "--lr", "3e-4", "--api-key", "hunter2hunter2") as process, dashboard(log_dir) as running:
        done = attached(log_dir, process.pid)
        run = f"train-{process.pid}"
        assert (
            done.returncode == 0
            and f"process {process.pid} is the run {run}; {running.address} shows {run}" in done.stdout
        ), done
        row = wait_for(lambda: row if (row := running.run(run)).get("pid") else {}, because="its process is not known")
        assert (row["state"], row["pid"], row["cwd"]) == ("running", process.pid, str(tmp_path))
        wait_for(
            lambda: running.get(f"/api/v1/flame?run={run}&from=0&to=9e9").get("frames"), because="it has no stacks"
        )
        wait_for(
            lambda: "loss is fine" in str(running.get(f"/api/v1/logs?run={run}&limit=5")),
            because="its output is not shown",
        )
        wait_for(
            lambda: "of its own" in str(running.get(f"/api/v1/logs?run={run}&q=own")), because="its log is not shown"
        )
        assert (tmp_path / "mine.log").stat().st_nlink == 2
        wait_for(
            lambda: any(s["labels"].get("run") == run for s in running.get("/api/v1/series?match=run_cpu")["series"])
        )
        wait_for(lambda: running.run(run)["info"].get("config") == {"lr": 3e-4}, because="what ran is not known")
        assert "hunter2" not in str(running.get(f"/api/v1/run?run={run}"))
        again = running.post("attach", {"pid": process.pid})
        assert again == {"error": f"process {process.pid} belongs to the run {run!r} already"}
        process.send_signal(signal.SIGTERM)
        process.wait()
        wait_for(lambda: running.run(run)["state"] == "ended", because="it is not seen to end")
    assert (tmp_path / "out.txt").stat().st_size > 0


def test_over_http_too_and_odd_pids_get_a_sentence(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeping) as process, dashboard(log_dir, "--no-profile") as running:
        try:
            answer = running.post("attach", {"pid": process.pid})
            assert answer == {"run": f"{Path(sys.executable).name}-{process.pid}", "notes": []}
            wait_for(lambda: running.run(answer["run"]).get("state") == "running")
            for body in (
                {"pid": 2**22 + 1},
                {"pid": -1},
                {"pid": "1"},
                {"pid": 2**70},
                {},
                {"pid": running.process.pid},
            ):
                assert set(running.post("attach", body)) == {"error"}
        finally:
            process.kill()


def test_a_process_that_never_prints_is_not_stalled(tmp_path: Path) -> None:
    from collectors.machine.run_state import RunActivity, state_of

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        try:
            found = attach(tmp_path, process.pid)
            info = json.loads((tmp_path / found.run / "run.json").read_text())
            activity = RunActivity(found.run, tmp_path / found.run, info, [], [], None, None)
            assert state_of(activity, info["started_s"] + 3600).state == "running"
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["../x", "/x", ".hidden", "a/../b", "a" * 300, "a\0b"])
def test_a_name_that_leaves_the_log_folder_is_refused(tmp_path: Path, name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        try:
            with pytest.raises(AttachRefused, match="is no name of a run"):
                attach(tmp_path / "logs", process.pid, name)
        finally:
            process.kill()
    assert not (tmp_path / "logs").exists() and list(tmp_path.iterdir()) == []


def test_a_run_of_that_name_is_left_alone(tmp_path: Path) -> None:
    with at_work(tmp_path) as process:
        (tmp_path / "logs" / "mine").mkdir(parents=True)
        with pytest.raises(AttachRefused, match="already"):
            attach(tmp_path / "logs", process.pid, "mine")
    assert list((tmp_path / "logs" / "mine").iterdir()) == []


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    done = attached(tmp_path, 2**22 + 1)
    assert (done.returncode, done.stdout) == (2, "") and "there is no process" in done.stderr


def test_names_come_from_the_script() -> None:
    assert name_of(["python", "-u", "/x/train.py", "--a"], 7) == "train-7"
    assert name_of([], 7) == "process-7"
    assert name_of(["/usr/bin/my prog"], 7) == "my-prog-7"


def test_our_own_and_absent_processes_are_not_attachable() -> None:
    assert "the dashboard itself" in why_not(os.getpid()) and "there is no process" in why_not(2**22 + 1)


def test_the_gpus_page_attaches_a_process(tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    with at_work(tmp_path) as process:
        for name, value in fake_nvml.environment(tmp_path / "nvml", fake_nvml.eight_gpus(process.pid)).items():
            monkeypatch.setenv(name, value)
        with dashboard(log_dir, "--no-profile") as running:
            page.goto(f"{running.address}/hosts")
            row = page.locator(f'.processes tbody[data-pid="{process.pid}"]')
            row.get_by_role("button", name="Attach").click(timeout=60_000)
            wait_for(
                lambda: row.locator("a").count() and f"train-{process.pid}" in row.inner_text(), because="it is no run"
            )
            (gpus,) = [rank["gpus"] for rank in running.get(f"/api/v1/run?run=train-{process.pid}")["processes"]]
            assert gpus == list(range(8))
            page.goto("about:blank")


def test_a_thread_of_the_kernel_is_no_program() -> None:
    kernel = next((pid for pid in range(2, 200) if is_kernel_thread(pid)), None)
    if kernel is None:
        pytest.skip("this process sees no thread of the kernel")
    assert "thread of the kernel" in why_not(kernel)
    assert not is_kernel_thread(os.getpid())


SHELL = 'python_exe=$1; "$python_exe" train.py > own.txt & wait'


def test_what_is_no_python_is_refused_and_what_it_has_started_is_named(tmp_path: Path) -> None:
    """A shell, and a program without children: neither they nor the Python below become a run."""
    (tmp_path / "train.py").write_text(BUSY)
    with subprocess.Popen(["bash", "-c", SHELL, "bash", sys.executable], cwd=tmp_path, start_new_session=True) as shell:
        try:
            wait_for(lambda: (tmp_path / "own.txt").exists() and (tmp_path / "own.txt").stat().st_size)
            done = attached(tmp_path / "logs", shell.pid)
            assert done.returncode == 2 and done.stderr.count("\n") == 1
            assert (
                f"process {shell.pid} (bash) runs no Python; name a Python process that it has started: " in done.stderr
            )
            assert "train.py" in done.stderr and not (tmp_path / "logs").exists()
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            with pytest.raises(AttachRefused, match=r"\(sleep\) runs no Python$"):
                attach(tmp_path / "logs", process.pid)
        finally:
            process.kill()


def test_one_that_becomes_something_else_does_not_take_what_that_starts(tmp_path: Path) -> None:
    """The process that was attached goes on as a shell, which starts a Python that prints into a file."""
    (tmp_path / "train.py").write_text(BUSY)
    code = f"import os, sys; sys.stdin.readline(); os.execvp('bash', ['bash', '-c', {SHELL!r}, 'bash', sys.executable])"
    log_dir = tmp_path / "logs"
    with (
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, start_new_session=True
        ) as process,
        dashboard(log_dir, "--no-profile") as running,
    ):
        try:
            run = attach(log_dir, process.pid, "mine").run
            wait_for(lambda: running.run(run).get("pid") == process.pid)
            assert process.stdin
            process.stdin.write(b"go\n")
            process.stdin.close()
            wait_for(lambda: (tmp_path / "own.txt").exists() and (tmp_path / "own.txt").stat().st_size > 20_000)
            assert running.get(f"/api/v1/logs?run={run}")["lines"] == [] and running.run(run)["pid"] == process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_run_whose_folder_is_deleted_does_not_stay_running(tmp_path: Path) -> None:
    """Its process goes on to print into a file that was followed."""
    log_dir = tmp_path / "logs"
    with at_work(tmp_path) as process, dashboard(log_dir, "--no-profile") as running:
        run = attach(log_dir, process.pid, "mine").run
        wait_for(lambda: running.run(run).get("pid") == process.pid)
        wait_for(lambda: "loss is fine" in str(running.get(f"/api/v1/logs?run={run}&limit=5")))
        shutil.rmtree(log_dir / run)
        wait_for(lambda: running.run(run)["state"] == "ended", 30, "it stays running")
        assert (
            "the folder of this run was deleted" in str(running.get(f"/api/v1/run?run={run}"))
            and process.poll() is None
        )
        written = (tmp_path / "out.txt").stat().st_size
        wait_for(lambda: (tmp_path / "out.txt").stat().st_size > written + 3000)
        assert running.run(run)["state"] == "ended"
