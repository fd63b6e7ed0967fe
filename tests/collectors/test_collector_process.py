"""The collector process and its lock: who may be ended, what is said of a writer that is not understood, and what heals by itself."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from access.program import UsageError
from access.unix_socket import short_path
from collectors import VERSION, collector_process, folders
from collectors import writer_lock as writer_module
from collectors.collector_process import CollectorProcess
from collectors.control import FILE, MAX_CONNECTIONS, ControlError, ControlServer, ask
from collectors.machine.proc import boot_id, pid_namespace, start_ticks
from collectors.options import CollectorOptions
from dashboard.commands.serve import prepare
from tests.conftest import ROOT, Dashboard, dashboard, wait_for

NOBODY = 65534
LINE = '{"time_s": 1764000000.25, "step": %d, "train/loss": 2.5}\n'


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """By its command line a collector."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); print('here', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, "collector"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"here\n"
        yield process
        process.kill()


def about(pid: int, **changed: Any) -> dict[str, Any]:
    """What a writer of that pid, whose dashboard is dead, would have written down."""
    here = writer_module.Writer(
        pid, start_ticks(pid) or 0, pid_namespace() or 0, boot_id(), socket.gethostname(), 1 << 22, 1, "0", {}
    )
    return {**asdict(here), **changed}


@contextmanager
def held(data_dir: Path, text: str | bytes) -> Iterator[Path]:
    """A lock that somebody holds, with that text in it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / writer_module.FILE
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


@contextmanager
def keeping(log_dir: Path) -> Iterator[CollectorProcess]:
    process = CollectorProcess(CollectorOptions(log_dir, log_dir / ".deepseek", profile=False))
    try:
        yield process
    finally:
        process.start()
        process.stop()


def test_an_orphan_that_is_surely_the_writer_is_ended(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with held(tmp_path, json.dumps(about(sleeper.pid))):
        writer = writer_module.writer_of(tmp_path)
        assert isinstance(writer, writer_module.Writer)
        assert writer.is_here and writer.is_orphan
        assert writer_module.end(writer, 5)
    assert sleeper.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("doubt", [{"boot_id": "another"}, {"pid_namespace": 1}, {"pid_start_ticks": 1}])
def test_nothing_is_ended_on_doubt(doubt: dict[str, Any], sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with held(tmp_path / ".deepseek", json.dumps(about(sleeper.pid, **doubt))), keeping(tmp_path) as process:
        assert process.read_only and "another container or on another host" in process.read_only
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"pid": 7, "version": "99.0", "colour": "red"}), "held by version 99.0 of the dashboard"),
        ('{"pid": 41', "held by a writer that this version does not know"),
        (b"\xff\xfe", "held by a writer that this version does not know"),
        ("[" * 5000, "held by a writer that this version does not know"),
        ("", "held by a writer that this version does not know"),
        (json.dumps(about(7, pid_start_ticks="7")), "of the dashboard"),
        (json.dumps(about(7, options=None)), "of the dashboard"),
    ],
)
def test_a_lock_that_is_not_understood_is_one_sentence_and_this_dashboard_reads(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    with held(tmp_path / ".deepseek", text), keeping(tmp_path) as process:
        assert process.read_only and said in process.read_only
        assert "this dashboard only reads" in process.read_only
        assert "\n" not in process.read_only


def test_a_lock_that_is_half_written_is_waited_for(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    whole = json.dumps(about(sleeper.pid))
    with (
        held(tmp_path, whole[:20]) as path,
        subprocess.Popen(["sh", "-c", 'sleep 0.2; cat > "$0"', path], stdin=subprocess.PIPE) as late,
    ):
        assert late.stdin is not None
        late.stdin.write(whole.encode())
        late.stdin.close()
        writer = writer_module.writer_of(tmp_path)
        assert isinstance(writer, writer_module.Writer) and writer.pid == sleeper.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_lock_and_folder_get_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        check_what_another_user_is_told(Path(folder))


def check_what_another_user_is_told(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with held(data_dir, json.dumps(about(1))) as path:
        data_dir.chmod(0o755)
        path.chmod(0o600)
        code = f"from pathlib import Path; from collectors import writer_lock; print(writer_lock.writer_of(Path({str(data_dir)!r})).sentence)"
        said = as_nobody(code)
    assert "cannot be read (Permission denied; it belongs to root)" in said
    code = f"from collector import main; print(main(['--log-dir', {str(tmp_path)!r}, '--data-dir', {str(data_dir)!r}]))"
    said = as_nobody(code)
    assert said.splitlines()[-1] == "2"
    assert "cannot write to" in said and "choose another folder with --data-dir" in said and "Traceback" not in said


def as_nobody(code: str) -> str:
    """What a script of that user says: it imports first, as the project's folder may be ours alone."""
    become = "import os, sys; import collector, collectors.writer_lock, pwd; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
    done = subprocess.run(
        [sys.executable, "-c", become + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    return done.stderr + done.stdout


def test_what_lies_in_the_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    old = log_dir / ".deepseek"
    old.mkdir(parents=True)
    old.chmod(0o755)
    (old / "machine-2020-W01.sqlite-wal").touch()
    with dashboard(log_dir) as running:
        (log_dir / "a.jsonl").write_text(LINE % 1)
        wait_for(lambda: running.values("a", "train/loss") == [2.5])
        assert stat.S_IMODE(old.stat().st_mode) == 0o700
        modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in old.rglob("*")}
        assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}, modes
        assert {mode for path, mode in modes.items() if path.is_dir()} <= {0o700}, modes


def test_a_folder_that_holds_other_things_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch(0o644)
    (tmp_path / "runs.sqlite").touch(0o644)
    (tmp_path / "writer.lock").symlink_to(tmp_path / "thesis.tex")
    tmp_path.chmod(0o755)
    folders.make_private(tmp_path)
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "thesis.tex", tmp_path / "runs.sqlite")
    ]
    assert modes == [0o755, 0o644, 0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder another user's")
def test_nothing_is_written_to_a_folder_that_is_another_users(tmp_path: Path) -> None:
    link, theirs, ours, shared = (tmp_path / name for name in ("link", "theirs", "ours", "shared"))
    for folder in (theirs, ours, shared):
        folder.mkdir(0o700)
    link.symlink_to(ours)
    shared.chmod(0o777)
    (shared / "thesis.tex").touch()
    for path in (link, theirs):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    assert {path.name: folders.not_ours(path) for path in (link, theirs, ours, shared, tmp_path / "none")} == {
        "link": "it belongs to nobody",
        "theirs": "it belongs to nobody",
        "ours": "",
        "shared": "everybody may write to it",
        "none": "",
    }
    with pytest.raises(PermissionError, match="it belongs to nobody"):
        folders.make_private(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder another user's")
def test_a_data_folder_that_another_user_puts_in_the_place_of_ours_is_not_written_to(tmp_path: Path) -> None:
    log_dir, secret = tmp_path / "logs", tmp_path / "secret"
    with dashboard(log_dir, "--no-profile") as running:
        data_dir = log_dir / ".deepseek"
        data_dir.rename(log_dir / ".old")
        swapped = tmp_path / "swapped"
        swapped.mkdir()
        (swapped / "runs.sqlite").symlink_to(secret)
        os.chown(swapped, NOBODY, NOBODY)
        swapped.rename(data_dir)
        wait_for(lambda: f"Nothing is written to the data folder {data_dir}: it belongs to nobody" in problems(running))
        assert not secret.exists() and [path.name for path in data_dir.iterdir()] == ["runs.sqlite"]
        shutil.rmtree(data_dir)
        wait_for(lambda: running.get("/healthz")["status"] == "ok", because="it does not come back")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder another user's")
def test_where_the_data_folder_is_another_users_the_store_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    log_dir = tmp_path / "logs"
    inside = log_dir / folders.INSIDE
    inside.mkdir(parents=True)
    os.chown(inside, NOBODY, NOBODY)
    place = folders.local_data_dir(log_dir)
    assert prepare(parsed(log_dir, None)) == CollectorOptions(log_dir, place)
    with pytest.raises(UsageError, match="it belongs to nobody"):
        prepare(parsed(log_dir, inside))
    assert list(inside.iterdir()) == []


def parsed(log_dir: Path, data_dir: Path | None) -> argparse.Namespace:
    defaults = {
        "demo": False,
        "retention_s": None,
        "max_bytes": None,
        "profile": True,
        "sampler": None,
        "profile_budget": None,
        "lent": False,
    }
    return argparse.Namespace(log_dir=[log_dir], data_dir=data_dir, **defaults)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Dashboard]:
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        (running.log_dir / "a.jsonl").write_text(LINE % 1)
        wait_for(lambda: running.values("a", "train/loss") == [2.5])
        yield running


def problems(running: Dashboard) -> str:
    return " ".join(running.get("/healthz")["problems"])


def remove_store_files(data_dir: Path) -> None:
    for path in data_dir.glob("*.sqlite*"):
        path.unlink()


@pytest.mark.parametrize("remove", [shutil.rmtree, remove_store_files])
def test_a_data_folder_that_is_removed_is_said_and_filled_anew(
    remove: Callable[[Path], None], running: Dashboard
) -> None:
    remove(running.log_dir / ".deepseek")
    wait_for(lambda: "was removed" in problems(running), because="nothing is said")
    wait_for(lambda: running.get("/healthz")["status"] == "ok", because="it does not come back")
    with (running.log_dir / "a.jsonl").open("a") as file:
        file.write(LINE % 2)
    wait_for(lambda: running.values("a", "train/loss") == [2.5, 2.5], because="the log files are not read anew")
    assert stat.S_IMODE((running.log_dir / ".deepseek").stat().st_mode) == 0o700


def test_a_log_folder_that_is_removed_is_said_and_read_again_once_it_is_back(running: Dashboard) -> None:
    shutil.rmtree(running.log_dir)
    wait_for(lambda: f"The log folder {running.log_dir} is gone" in problems(running), because="nothing is said")
    assert not running.log_dir.exists(), "it is not ours to make"
    running.log_dir.mkdir()
    (running.log_dir / "b.jsonl").write_text(LINE % 1)
    wait_for(lambda: running.values("b", "train/loss") == [2.5], because="it is not read again")
    assert "is gone" not in problems(running), "it is there again"
    wait_for(lambda: running.get("/healthz")["status"] == "ok")


def test_a_stopped_collector_is_said_to_be_stopped_and_replaced(running: Dashboard) -> None:
    collector = running.collector_pid()
    assert collector is not None
    os.kill(collector, signal.SIGSTOP)
    wait_for(lambda: f"(process {collector}) is stopped by a signal" in problems(running), because="nothing is said")
    wait_for(
        lambda: f"(process {collector}) was stopped by a signal; it was replaced" in problems(running),
        because="it is not replaced",
    )
    wait_for(lambda: running.get("/healthz")["status"] == "ok")
    with (running.log_dir / "a.jsonl").open("a") as file:
        file.write(LINE % 2)
    wait_for(lambda: running.values("a", "train/loss") == [2.5, 2.5])


def test_a_collector_that_answers_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked whether it is there; one that never was would be replaced after some minutes."""
    monkeypatch.setattr(collector_process, "ASK_EVERY_S", 0.2)
    (tmp_path / "logs").mkdir()
    process = CollectorProcess(CollectorOptions(tmp_path / "logs", tmp_path / "logs" / ".deepseek", profile=False))
    process.start()
    try:
        wait_for(lambda: process._has_answered, because="no answer is noticed")
        child, answered_s = process._child, process._answered_s
        wait_for(lambda: process._answered_s > answered_s + 2.0, because="it is not asked again and again")
        assert process._child is child and child is not None and child.poll() is None and not process.note()
    finally:
        process.stop()


def test_whatever_is_asked_of_the_collector_is_a_question_that_it_knows() -> None:
    asked = {
        verb for path in ROOT.glob("[cd]*/**/*.py") for verb in re.findall(r'\bask\([\w.]+, "(\w+)"', path.read_text())
    }
    known = set(re.findall(r'^            "(\w+)": ', (ROOT / "collector.py").read_text(), re.MULTILINE))
    assert {"ping", "status", "watch"} <= asked <= known


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    def fail(**words: object) -> None:
        raise OSError("no")

    server = ControlServer(tmp_path, {"echo": lambda **words: words, "fail": fail})
    yield tmp_path
    server.close()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"nonsense\n", b"[]\n", b'{"verb": 1}\n', b'{"verb": "none"}\n', b"[" * 60000 + b"\n", b"x" * 100_000],
)
def test_a_question_that_makes_no_sense_gets_a_sentence_and_harms_no_other(line: bytes, control: Path) -> None:
    with socket.socket(socket.AF_UNIX) as asker, short_path(control / FILE) as address:
        asker.settimeout(60)
        asker.connect(address)
        asker.sendall(line)
        try:
            assert "bad request" in json.loads(asker.makefile("rb").readline())["error"]
        except (ConnectionResetError, BrokenPipeError):  # it asked for more than may be asked
            assert len(line) > 1 << 16
    assert ask(control, "echo", a=1) == {"a": 1}


def test_a_fault_in_one_answer_is_told_to_whoever_asked(control: Path) -> None:
    with pytest.raises(ControlError, match="OSError: no"):
        ask(control, "fail")
    assert ask(control, "echo") == {}


def test_askers_that_say_nothing_are_cut_off_and_no_more_than_so_many_are_heard_at_a_time(control: Path) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CONNECTIONS + 8)]
    with short_path(control / FILE) as address:
        for asker in silent:
            asker.connect(address)
    wait_for(lambda: answers(control), because="they keep everybody out")
    for asker in silent:
        asker.close()


def answers(control: Path) -> bool:
    try:
        return bool(ask(control, "echo", a=1))
    except ControlError:
        return False


def test_the_lock_is_taken_with_all_that_tells_a_process_from_another(tmp_path: Path) -> None:
    descriptor = writer_module.take(tmp_path, VERSION, {"a": 1})
    writer = writer_module.writer_of(tmp_path)
    assert isinstance(writer, writer_module.Writer)
    assert (writer.pid, writer.is_here, writer.is_orphan, writer.options) == (os.getpid(), True, False, {"a": 1})
    assert writer_module.is_held(descriptor, tmp_path)
    (tmp_path / writer_module.FILE).unlink()
    assert not writer_module.is_held(descriptor, tmp_path)
    os.close(descriptor)


def test_a_process_that_is_no_collector_is_not_ended_whatever_a_lock_says(tmp_path: Path) -> None:
    """All of its record is right, but for what the process is."""
    with subprocess.Popen(["sleep", "600"]) as innocent:
        try:
            with held(tmp_path / ".deepseek", json.dumps(about(innocent.pid))), keeping(tmp_path) as process:
                assert process.read_only and "no collector" in process.read_only
            assert innocent.poll() is None
        finally:
            innocent.kill()
