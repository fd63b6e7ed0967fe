"""RunLog hands a run over to a dashboard elsewhere: each byte once, whichever side dies, is away or has no room."""

from __future__ import annotations

import itertools
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectors.folders import FOLDER
from deepseek.log import RunLog
from deepseek.log.handover import Handover, main
from tests.conftest import ROOT, script, wait_for

WRITES = """
import sys, time
from deepseek.log import RunLog

log = RunLog(sys.argv[1], "away", server=sys.argv[2], config={"lr": 0.1})
step = 0
while True:
    log.scalars(step, {"loss": 1 / (step + 1)})
    if step % 10 == 0:
        log.text(f"step {step}: all is well")
    step += 1
    time.sleep(0.003)
"""
SERVE = [sys.executable, str(ROOT / "app.py"), "--no-profile"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(log_dir: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A dashboard on this port; it may be killed and started again."""
    log_dir.mkdir(exist_ok=True)
    command = [*SERVE, "--port", str(port), "--log-dir", str(log_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            assert "http" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def whole(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".jsonl", ".log")}


def same(here: Path, there: Path) -> bool:
    """Whether all of it is there; what is there must be what is here, as far as it goes."""
    if not there.is_dir():
        return False
    copies, files = whole(there), whole(here)
    for name, data in copies.items():
        assert files[name].startswith(data), f"{name} differs within {len(data)} bytes"
    return copies == files


def test_a_run_is_on_the_other_host_as_it_is_here(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path / "there", port):
        with RunLog(tmp_path / "here", "group/a b", server=f"http://127.0.0.1:{port}", config={"lr": 0.1}) as log:
            for step in range(2000):
                log.scalars(step, {"loss": step / 7})
            log.text("ä <b>\nsecond line")
            log.event("note", text="hello")
        there = tmp_path / "there" / FOLDER / "local" / "group" / "a b"
        assert same(tmp_path / "here" / "group" / "a b", there), "the end event, too, before close returns"
        assert (there / "run.json").read_bytes() == (tmp_path / "here" / "group" / "a b" / "run.json").read_bytes()


@pytest.mark.parametrize("kills", [2, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3000)])])
def test_each_byte_is_there_once_whichever_side_is_killed(tmp_path: Path, kills: int) -> None:
    port, here, there = free_port(), tmp_path / "here" / "away", tmp_path / "there" / FOLDER / "local" / "away"
    chance = random.Random(kills)
    done = 0
    while done < kills:
        with script(WRITES, str(tmp_path / "here"), f"http://127.0.0.1:{port}") as training:
            for _ in range(min(3, kills)):
                with serving(tmp_path / "there", port) as server:
                    time.sleep(chance.uniform(0.1, 2.5))
                    server.kill()
                    done += 1
                time.sleep(chance.uniform(0, 0.5))
            training.kill()
            done += 1
        same(here, there)
    with serving(tmp_path / "there", port):
        assert main([str(here), "--server", f"http://127.0.0.1:{port}", "--run", "away"]) == 0
        assert same(here, there)
        assert sum(map(len, whole(there).values())) > 1000 * kills


def test_a_server_that_is_away_is_said_once_and_gets_all_of_it_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour is that many tries with 60 s between them: here they are as long apart as the machine allows."""
    monkeypatch.setattr("deepseek.log.handover.RETRY_S", (0.01, 0.01))
    monkeypatch.setattr("deepseek.log.handover.PERIOD_S", 0.01)
    port = free_port()
    with RunLog(tmp_path / "here", "a", server=f"http://127.0.0.1:{port}") as log:
        for step in range(300):
            log.scalars(step, {"loss": 0.5})
            time.sleep(0.005)
        said = capsys.readouterr().err
        assert said.count("cannot hand over") == 1
        with serving(tmp_path / "there", port):
            for step in range(300, 600):
                log.scalars(step, {"loss": 0.5})
            log.close()
            assert same(tmp_path / "here" / "a", tmp_path / "there" / FOLDER / "local" / "a")


class MovedClock:
    """Time that passes as waits end, a thousand times faster than the machine's: an hour's waits take four seconds."""

    def __init__(self) -> None:
        self.moved_s = 0.0
        self.waits: list[float] = []

    def event(self) -> threading.Event:
        clock = self

        class Waiting(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                seconds = timeout or 0.0
                ended = super().wait(seconds / 1000)
                clock.moved_s += seconds
                clock.waits.append(seconds)
                return ended

        return Waiting()

    def time(self) -> float:
        return time.time() + self.moved_s


def test_a_server_that_is_away_for_an_hour_gets_each_byte_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock is moved on by what is waited for, and set back by a quarter of an hour meanwhile, as a time server may do."""
    clock, port = MovedClock(), free_port()
    monkeypatch.setattr("deepseek.log.handover.threading", SimpleNamespace(Event=clock.event, Thread=threading.Thread))
    monkeypatch.setattr("deepseek.log.run_log.time", clock.time)
    there = tmp_path / "there" / FOLDER / "local" / "a"
    with RunLog(tmp_path / "here", "a", server=f"http://127.0.0.1:{port}") as log:
        steps = itertools.count()

        def goes_on() -> None:
            log.scalars(next(steps), {"loss": 0.5})
            time.sleep(0.002)

        with serving(tmp_path / "there", port):
            for _ in range(100):
                goes_on()
            wait_for(lambda: there.is_dir() and whole(there))
        set_back = False
        gone_s = clock.moved_s
        while clock.moved_s < gone_s + 3600 - 900 * set_back:
            goes_on()
            if not set_back and clock.moved_s > gone_s + 1800:
                clock.moved_s -= 900
                set_back = True
        tries = [seconds for seconds in clock.waits if seconds > 1]
        assert sum(seconds < 60 for seconds in tries) <= 12, "soon once a minute, not more often"
        with serving(tmp_path / "there", port):
            log.close()
            wait_for(lambda: same(tmp_path / "here" / "a", there))
    lines = [json.loads(line) for line in (there / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(next(steps))]
    times = [line["time_s"] for line in lines]
    assert max(times) - min(times) > 2600 and times != sorted(times)
    assert capsys.readouterr().err.count("cannot hand over") <= 4, "each way to fail is said once, not each try"


def test_a_run_that_ends_while_the_server_is_away_says_how_to_hand_over_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    begun_s = time.monotonic()
    with RunLog(tmp_path / "here", "a", server=f"http://127.0.0.1:{port}") as log:
        log.scalars(1, {"loss": 0.5})
    assert time.monotonic() - begun_s < 60
    said = capsys.readouterr().err
    assert f"python -m deepseek.log.handover {tmp_path / 'here' / 'a'} --server http://127.0.0.1:{port}" in said
    assert main([str(tmp_path / "here" / "a"), "--server", f"http://127.0.0.1:{port}"]) == 1
    with serving(tmp_path / "there", port):
        assert main([str(tmp_path / "here" / "a"), "--server", f"http://127.0.0.1:{port}"]) == 0
        assert same(tmp_path / "here" / "a", tmp_path / "there" / FOLDER / "local" / "a")


@pytest.mark.parametrize("second", [5, 500])
def test_another_run_of_the_same_name_is_not_mixed_into_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: int
) -> None:
    """Neither its lines, where it is the longer one, nor its description."""
    port = free_port()
    with serving(tmp_path / "there", port):
        for host, steps in (("one", 50), ("two", second)):
            with RunLog(tmp_path / host, "a", server=f"http://127.0.0.1:{port}", config={"host": host}) as log:
                for step in range(steps):
                    log.scalars(step, {"loss": 0.5})
        assert same(tmp_path / "one" / "a", there := tmp_path / "there" / FOLDER / "local" / "a")
        assert json.loads((there / "run.json").read_text())["config"] == {"host": "one"}
        assert "has this name already" in capsys.readouterr().err


def test_what_lies_beside_the_logs_is_left_alone_and_the_run_keeps_its_name(tmp_path: Path) -> None:
    port, here = free_port(), tmp_path / "here" / "sweep" / "lr-3"
    with RunLog(tmp_path / "here", "sweep/lr-3") as log:
        log.scalars(1, {"loss": 0.5})
    for name in ("model.pt", "notes.docx", "a" * 240 + ".jsonl", "run.db"):
        (here / name).write_bytes(b"x" * 1000)
    (here / "checkpoints").mkdir()
    with serving(tmp_path / "there", port):
        assert main([str(here), "--server", f"http://127.0.0.1:{port}"]) == 0
        there = tmp_path / "there" / FOLDER / "local" / "sweep" / "lr-3"
        assert {path.name for path in there.iterdir()} == {"run.json", "events.jsonl", "metrics.jsonl"} & {
            path.name for path in here.iterdir()
        }
        assert (there / "metrics.jsonl").read_bytes() == (here / "metrics.jsonl").read_bytes()


def test_an_address_in_the_environment_that_is_none_costs_the_handover_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPSEEK_SERVER", "localhost:8080")
    with RunLog(tmp_path, "a") as log:
        log.scalars(1, {"loss": 0.5})
    assert "use e.g. http://" in capsys.readouterr().err
    assert (tmp_path / "a" / "metrics.jsonl").read_text().count("loss") == 1


def test_a_server_without_room_gets_it_later(tmp_path: Path) -> None:
    """A limit on the size of its files stands for a full disk: it is raised once the server has refused for a while."""
    port, there = free_port(), tmp_path / "there" / FOLDER / "local" / "a"
    (tmp_path / "there").mkdir()
    command = ["prlimit", "--fsize=65536:unlimited", *SERVE, "--port", str(port), "--log-dir", str(tmp_path / "there")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None and "http" in server.stdout.readline()
            with RunLog(tmp_path / "here", "a", server=f"http://127.0.0.1:{port}") as log:
                for step in range(5000):
                    log.scalars(step, {"loss": 0.5})
                wait_for(lambda: (there / "events.jsonl").exists(), because="nothing arrives")
                time.sleep(2)
                assert (there / "metrics.jsonl").stat().st_size <= 65536
                subprocess.run(["prlimit", "--fsize=unlimited:unlimited", "--pid", str(server.pid)], check=True)
                wait_for(
                    lambda: (there / "metrics.jsonl").read_bytes().count(b"\n") == 5000, because="it is not tried again"
                )
            assert same(tmp_path / "here" / "a", there)
        finally:
            server.kill()


@pytest.mark.parametrize("server", ["", "localhost:8080", "ftp://host", "http://", "http:///x"])
def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path, server: str) -> None:
    if server:
        with pytest.raises(ValueError, match="no address"):
            RunLog(tmp_path, "a", server=server)
    with pytest.raises(ValueError, match="no address"):
        Handover(server, None, "a", tmp_path, [])


def test_what_is_no_dashboard_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(
        [*command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={"PYTHONUNBUFFERED": "1"}
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[5])
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "metrics.jsonl").write_text("{}\n")
        assert main([str(tmp_path / "a"), "--server", f"http://127.0.0.1:{port}"]) == 1
        assert "is it a dashboard?" in capsys.readouterr().err
        server.send_signal(signal.SIGINT)
