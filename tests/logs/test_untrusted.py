"""What a file costs its reader, it costs a process that is replaced; others are read on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from collectors import rights, untrusted
from collectors.logs.open_files import NotMetrics
from collectors.machine.proc import alive, start_ticks
from collectors.untrusted import OverLimit, ReaderProcess
from tests.conftest import wait_for
from tests.support.running import ROOT
from tests.support.untrusted_calls import answer_of_bytes, crash, deep, endless, fail, leave_a_file, of_bytes, own_pid

MIB = 1 << 20
PARENT = """
import os, sys
from collectors.untrusted import ReaderProcess
from tests.support.untrusted_calls import endless, own_pid
reader = ReaderProcess("test", memory_bytes=1 << 30, timeout_s=1.0)
print(reader.read(own_pid), flush=True)
reader.read(endless)
"""


@pytest.fixture
def reader() -> Iterator[ReaderProcess]:
    reader = ReaderProcess("test", memory_bytes=512 * MIB, timeout_s=20.0)
    yield reader
    reader.close()


def test_it_returns_and_raises_what_the_function_does(reader: ReaderProcess) -> None:
    assert reader.read(divmod, 7, 2) == (3, 1)
    with pytest.raises(NotMetrics, match="is something else"):
        reader.read(fail)
    with pytest.raises(FileNotFoundError):
        reader.read(os.stat, "/no/such/file")
    with pytest.raises(RecursionError):
        reader.read(deep, 100_000)


def test_one_process_answers_many_calls(reader: ReaderProcess) -> None:
    pids = {reader.read(own_pid) for _ in range(5)}
    assert len(pids) == 1 and pids != {os.getpid()}


def test_a_call_over_its_limits_fails_and_the_next_one_is_answered(reader: ReaderProcess) -> None:
    first = reader.read(own_pid)
    with pytest.raises(OverLimit, match=r"^was not read within 0\.3 s$"):
        reader.read(endless, timeout_s=0.3)
    with pytest.raises(OverLimit, match=r"^takes more than 512 MiB of memory to read$"):
        reader.read(of_bytes, 600 * MIB)
    with pytest.raises(OverLimit, match=r"^ended the process that read it \(SIGSEGV\)$"):
        reader.read(crash)
    with pytest.raises(OverLimit, match=r"^holds more than is read of a file$"):
        reader.read(answer_of_bytes, untrusted.MAX_ANSWER_BYTES)
    assert reader.read(of_bytes, 100 * MIB) == 100 * MIB
    assert not is_there(first) and reader.read(own_pid) != first


def test_a_process_that_somebody_ended_is_replaced(reader: ReaderProcess) -> None:
    first = reader.read(own_pid)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_running(first))
    assert reader.read(own_pid) != first


def test_an_idle_process_ends_and_another_one_begins(monkeypatch: pytest.MonkeyPatch, reader: ReaderProcess) -> None:
    monkeypatch.setattr(untrusted, "IDLE_S", 0.2)
    first = reader.read(own_pid)
    wait_for(lambda: not is_there(first))
    assert reader.read(own_pid) != first


def test_the_end_waits_for_no_call(reader: ReaderProcess) -> None:
    pid = reader.read(own_pid)
    running, waiting = reader.submit(endless), reader.submit(own_pid)
    wait_for(running.running)
    reader.close()
    with pytest.raises(OverLimit):
        running.result(0)
    with pytest.raises(CancelledError):
        waiting.result(0)
    assert not is_there(pid)


def test_what_a_process_has_left_is_removed(reader: ReaderProcess) -> None:
    left = Path(reader.read(leave_a_file))
    assert left.exists()
    with pytest.raises(OverLimit):
        reader.read(crash)
    assert not left.parent.exists()


def test_it_ends_with_its_parent_also_within_a_call() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        ticks = start_ticks(pid)
        assert ticks is not None
        parent.kill()
    wait_for(lambda: not alive(pid, ticks))


@pytest.mark.parametrize("others", [True, False])
def test_whose_files_are_read_is_as_in_the_program(reader: ReaderProcess, others: bool) -> None:
    before = rights.looks_at_others()
    rights.look_at_others(others)
    try:
        assert reader.read(rights.looks_at_others) == others
    finally:
        rights.look_at_others(before)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def is_running(pid: int) -> bool:
    """False for a zombie, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
