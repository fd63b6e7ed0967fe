"""A log folder is opened without a dashboard: one is found or started, has read what is there, and ends with what opened it."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deepseek.client import Dashboard, DashboardError, OpenLogs, open_logs
from tests.conftest import ROOT, dashboard, script, wait_for

ENDS_S = 15.0
OPENER = """
import multiprocessing, sys, time
from deepseek.client import open_logs
logs = open_logs(sys.argv[1])
if len(sys.argv) > 2:
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True).start()
print(logs.url, flush=True)
sys.stdin.readline()
"""


def write(folder: Path, steps: int = 3) -> None:
    folder.mkdir(parents=True)
    lines = [
        json.dumps({"time_s": 1_764_000_000.0 + step, "step": step, "loss": 1 / (1 + step)}) for step in range(steps)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    write(tmp_path / "logs" / "a")
    return tmp_path / "logs"


def dashboards(log_dir: Path) -> list[psutil.Process]:
    """Those that live and were given this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(log_dir) in words and any(word.endswith("app.py") or word == "collector" for word in words):
            found.append(process)
    return found


def ended(log_dir: Path) -> None:
    wait_for(lambda: not dashboards(log_dir), ENDS_S, "a dashboard is left running")


def test_all_that_is_there_has_been_read(tmp_path: Path) -> None:
    log_dir, count = tmp_path / "logs", 60
    for number in range(count):
        write(log_dir / f"run-{number}", steps=50)
    write(log_dir / "long", steps=100_000)
    with open_logs(log_dir) as logs:
        runs = logs.runs().set_index("run")
        assert len(runs) == count + 1
        assert runs["points"].sum() == 50 * count + 100_000
        assert (logs.files("long")["offset"] == (log_dir / "long" / "metrics.jsonl").stat().st_size).all()
    ended(log_dir)


def test_a_dashboard_of_the_folder_is_used_and_left_alone(log_dir: Path) -> None:
    with dashboard(log_dir, "--no-profile") as running:
        with open_logs(log_dir) as logs:
            assert logs.url == running.address
            assert logs.runs()["run"].tolist() == ["a"]
        assert running.get("/healthz")["collectors"], "it lives on"


def test_two_that_open_a_folder_share_one_until_the_last_is_closed(log_dir: Path) -> None:
    first = open_logs(log_dir)
    second = open_logs(log_dir)
    try:
        assert first.url == second.url
        first.close()
        assert second.runs()["run"].tolist() == ["a"]
    finally:
        first.close()
        second.close()
    ended(log_dir)


def test_what_is_closed_says_so_and_leaves_nothing(log_dir: Path) -> None:
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    logs = open_logs(log_dir)
    logs.close()
    logs.close()
    with pytest.raises(DashboardError, match="these logs were closed; open them again with open_logs"):
        logs.health()
    ended(log_dir)
    wait_for(lambda: "open_logs" not in {thread.name for thread in threading.enumerate()})
    assert len(os.listdir("/proc/self/fd")) <= files  # noqa: PTH208


@pytest.mark.parametrize("how", ["kill", "end", pytest.param("a child lives on", marks=pytest.mark.long)])
def test_it_ends_with_the_process_that_opened_it(log_dir: Path, how: str) -> None:
    with script(OPENER, str(log_dir), *(["child"] if how == "a child lives on" else [])) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        children = psutil.Process(process.pid).children()
        assert dashboards(log_dir)
        if how == "end":
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(20) == 0
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
        ended(log_dir)
        for child in children:
            if child.is_running():
                child.kill()


def test_ctrl_c_in_the_shell_ends_no_dashboard(log_dir: Path) -> None:
    """It goes to the whole group of processes; a notebook's kernel survives it."""
    with open_logs(log_dir) as logs:
        assert {os.getpgid(process.pid) for process in dashboards(log_dir)} & {os.getpgid(0)} == set()
        assert len(logs.runs()) == 1


def test_what_is_written_later_is_there_later(log_dir: Path) -> None:
    with open_logs(log_dir) as logs:
        write(log_dir / "b")
        wait_for(lambda: set(logs.runs()["run"]) == {"a", "b"})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "there is no folder .*logs; name the one that your runs log into"),
        (lambda folder: folder.write_text("x"), "there is no folder .*logs; name the one"),
        (lambda folder: folder.mkdir(), "there are no runs in .*logs; docs/log-format.md says which files are one"),
        (
            lambda folder: store_cannot_be(folder),
            r"cannot write to .*\.deepseek \(.*\); choose another folder with data_dir=",
        ),
    ],
    ids=["missing", "a file", "empty", "no place for a store"],
)
def test_a_folder_that_cannot_be_opened_gets_one_sentence(
    tmp_path: Path, make: Callable[[Path], object], sentence: str
) -> None:
    make(tmp_path / "logs")
    with pytest.raises(DashboardError, match=f"^{sentence}[^\n]*$"):
        open_logs(tmp_path / "logs")
    ended(tmp_path / "logs")


def store_cannot_be(folder: Path) -> None:
    write(folder / "a")
    (folder / ".deepseek").write_text("a file")


def test_a_folder_that_takes_no_file_is_read_with_a_store_elsewhere(tmp_path: Path) -> None:
    """A read-only mount, which takes root; to others the folder's mode says it."""
    log_dir = tmp_path / "logs"
    write(log_dir / "a")
    code = f"""
import subprocess
from deepseek.client import DashboardError, open_logs
try:
    open_logs({str(log_dir)!r})
except DashboardError as error:
    print(error)
with open_logs({str(log_dir)!r}, data_dir={str(tmp_path / "store")!r}) as logs:
    print(logs.runs()["run"].tolist())
"""
    mount = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind "{log_dir}" "{log_dir}" && mount -o remount,bind,ro "{log_dir}" && exec "$@"',
        "sh",
    ]
    if os.geteuid():
        mount = []
        log_dir.chmod(0o555)
    done = subprocess.run([*mount, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    log_dir.chmod(0o755)
    if mount and "unshare" in done.stderr:
        pytest.skip("mounts are forbidden here")
    first, second = done.stdout.splitlines()
    assert "cannot write to" in first and "choose another folder with data_dir=" in first, done.stderr
    assert second == "['a']"
    ended(log_dir)


@pytest.mark.long
def test_reading_that_takes_longer_goes_on_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "long", steps=300_000)
    with pytest.warns(UserWarning, match="is still being read: what comes later is missing; ask again for it"):
        logs = opened_at_once(tmp_path / "logs")
    with logs:
        wait_for(lambda: logs.runs()["points"].sum() == 300_000)


def opened_at_once(log_dir: Path) -> OpenLogs:
    """Without waiting; once the first lines are read."""
    deadline_s = time.monotonic() + 60
    while True:
        try:
            return open_logs(log_dir, wait_s=0)
        except DashboardError as error:
            assert "no runs" in str(error) and time.monotonic() < deadline_s


def test_a_program_that_joins_keeps_it_until_it_ends(log_dir: Path) -> None:
    """`run --` beside an open notebook: it has the whole dashboard, and may outlive the notebook."""
    logs = open_logs(log_dir)
    command = [sys.executable, str(ROOT / "app.py"), "run", "--log-dir", str(log_dir), "--name", "joined", "--"]
    program = [sys.executable, "-c", "input()"]
    with subprocess.Popen([*command, *program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stderr is not None
        assert f"{logs.url} shows joined" in process.stderr.readline()
        wait_for(lambda: "joined" in set(logs.runs()["run"]))
        assert logs.health().raw["collectors"] and Dashboard(logs.url).runs().shape[0] == 2
        logs.close()
        time.sleep(1)  # it would have ended by now
        assert "joined" in set(Dashboard(logs.url).runs()["run"])
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(30) == 0
    ended(log_dir)


@pytest.mark.long
def test_what_nothing_refers_to_any_more_is_closed(log_dir: Path) -> None:
    """As a cell that is run again does it."""
    logs = open_logs(log_dir)
    url = logs.url
    logs = open_logs(log_dir)
    assert logs.url == url
    assert logs.runs()["run"].tolist() == ["a"]
    del logs
    gc.collect()
    ended(log_dir)


def test_closing_ends_it_although_a_forked_child_lives_on(log_dir: Path) -> None:
    with open_logs(log_dir) as logs:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        assert list(logs.runs()["run"]) == ["a"]
    try:
        ended(log_dir)
    finally:
        child.kill()
        child.join()
