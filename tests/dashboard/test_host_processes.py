"""The processes that use most of this host: who they are, what they use, and that a look costs little."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from collectors.machine.proc import PROC, user_of
from dashboard.machine import HostProcess, HostProcesses, RunOfProcess
from tests.conftest import Dashboard, dashboard, script, wait_for

BUSY = "while True: pass"
IN_VIEW = "() => Math.abs(document.querySelector('.host-processes').getBoundingClientRect().top) < innerHeight / 2"
LARGE = "import time; kept = b'x' * 300_000_000; print('ready', flush=True); time.sleep(999)"
RUN = """
import multiprocessing, os, sys, time
from deepseek.log import RunLog
def work():
    while os.getppid() == parent:  # which is killed
        sum(range(1000))
if __name__ == "__main__":
    parent = os.getpid()
    with RunLog(sys.argv[1], run="busy") as log:
        multiprocessing.get_context("fork").Process(target=work, daemon=True).start()
        for step in range(1_000_000):
            log.scalars(step, {"train/loss": 1.0})
            time.sleep(0.05)
"""


@contextmanager
def process(code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def row(processes: HostProcesses, pid: int) -> HostProcess | None:
    return next((found for found in processes.look().processes if found.pid == pid), None)


def test_a_busy_process_is_listed_with_its_cpu_and_without_its_secrets() -> None:
    with process(BUSY, "--api-key", "hunter2-hunter2") as busy:
        processes = HostProcesses(lambda: {busy.pid: RunOfProcess("a", 1)})
        found = wait_for(lambda: found if (found := row(processes, busy.pid)) and found.cpu_cores > 0.01 else None)
        assert (
            found.command.startswith(sys.executable) and "--api-key" in found.command and "hunter2" not in found.command
        )
        assert found.owner == RunOfProcess("a", 1) and found.user
        look = processes.look()
        assert look.cores >= 1 and look.counted >= len(look.processes) and 0 < look.busy_cores <= look.cores
        used = [each.cpu_cores for each in look.processes]
        assert used == sorted(used, reverse=True)


def test_a_large_process_is_listed_though_it_is_idle() -> None:
    with process(LARGE) as large:
        assert large.stdout and large.stdout.readline() == "ready\n"
        found = row(HostProcesses(dict), large.pid)
        assert found and found.resident_bytes > 300_000_000


def test_a_process_that_no_one_may_look_into_has_its_own_user() -> None:
    """The kernel gives most of its files in /proc to root."""
    closed = """
import ctypes, os, time
if os.geteuid() == 0:
    os.setuid(65534)
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
kept = b"x" * 300_000_000
print("ready", flush=True)
time.sleep(999)
"""
    with process(closed) as large:
        assert large.stdout and large.stdout.readline() == "ready\n"
        found = row(HostProcesses(dict), large.pid)
        assert found and found.user == user_of(os.geteuid() or 65534)


def test_all_who_ask_within_a_second_get_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = HostProcesses(dict)
    answers: list[float] = []
    threads = [threading.Thread(target=lambda: answers.append(processes.look().time_s)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and max(answers.count(time_s) for time_s in answers) >= 2
    monkeypatch.setattr("dashboard.machine.KEPT_S", 1e9)
    assert processes.look() is processes.look()


def test_a_process_that_began_since_the_last_look_has_used_all_its_cpu_since(tmp_path: Path) -> None:
    """Files as of /proc: names with brackets and blanks, one whose file is cut, one that is gone."""

    def stat(pid: int, ticks: int, start: int, name: str = "a b) (c") -> None:
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        fields = ["S", "1", *["0"] * 9, str(ticks), "0", "0", "0", "20", "0", "1", "0", str(start), "0", "256", "0"]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}")

    stat(7, 1000, 50)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "stat").write_text("8 (cut")
    (tmp_path / "9").mkdir()
    processes = HostProcesses(dict, tmp_path)
    assert [found.cpu_cores for found in processes.look().processes] == [0.0]
    stat(7, 10, 90)  # another process with its pid
    wait_for(lambda: row(processes, 7) and row(processes, 7).cpu_cores > 0)  # type: ignore[union-attr]
    assert row(processes, 7).command == "[a b) (c]"  # type: ignore[union-attr]
    assert processes.look().counted == 1 and PROC.exists()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("host") / "logs"
    log_dir.mkdir()
    with script(RUN, str(log_dir)), dashboard(log_dir, "--no-profile") as started:
        yield started


def test_the_page_lists_the_run_its_worker_and_a_neighbour_without_a_gpu(running: Dashboard, page: Page) -> None:
    with process(BUSY, "a-neighbour") as neighbour:
        page.goto(f"{running.address}/hosts#host-processes")
        row = page.locator(f'.host-processes tbody[data-pid="{neighbour.pid}"]')
        wait_for(lambda: row.count() and "a-neighbour" in row.inner_text(), because="the neighbour is not listed")
        worker = page.locator(".host-processes a", has_text="busy, worker")
        wait_for(worker.count, because="the run's worker is not named")
        assert "/flame?run=busy" in str(worker.first.get_attribute("href"))
        page.get_by_role("button", name="GiB", exact=True).click()
        memory = [float(text) for text in page.locator(".host-processes td:nth-child(4)").all_inner_texts()]
        assert memory and max(memory) == memory[0]
        neighbour.kill()
        neighbour.wait()
        wait_for(lambda: not row.count(), because="it is still listed")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("about:blank")
    page.goto(f"{running.address}/hosts#host-processes")
    wait_for(
        lambda: page.locator(".host-processes tbody").count() and page.evaluate(IN_VIEW),
        because="a phone stays at the top",
    )
    page.goto("about:blank")
