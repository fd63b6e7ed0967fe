"""Real programs with a fault each beside the real collector, whose rules wait for seconds in place of minutes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from collectors.records import Finding
from collectors.store.engines import open_store
from collectors.store.store import StoreError

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
LATEST_S = 90.0
EXPECTED = {
    "crash": "crash",
    "killed": "crash",
    "nan": "nan_lasting",
    "spike": "loss_spike",
    "slow_steps": "slow_steps",
    "checkpoint_stall": "checkpoint_stall",
    "data_stall": "data_stall",
    "finished": "finished",
    "hang": "hung",
}


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    everything = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    with subprocess.Popen(command, env=everything, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ranks_of(kind: str) -> list[dict[str, str]]:
    if kind != "hang":
        return [{}]
    port = str(free_port())
    return [
        {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in range(2)
    ]


def found_in(data: Path) -> list[Finding]:
    try:
        store = open_store(data, write=False)
    except (StoreError, OSError):
        return []
    try:
        return store.findings()
    finally:
        store.close()


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """Of all programs at once, as soon as each expected one is there, and of a healthy one that runs as long."""
    folder = tmp_path_factory.mktemp("findings")
    logs, data = folder / "logs", folder / "data"
    logs.mkdir()
    collector = [sys.executable, str(PROGRAMS / "hasty_collector.py"), "--log-dir", str(logs), "--data-dir", str(data)]
    with ExitStack() as stack:
        stack.enter_context(running(collector))
        for kind in (*EXPECTED, "healthy"):
            for environment in ranks_of(kind):
                stack.enter_context(
                    running([sys.executable, str(PROGRAMS / "ill_runs.py"), str(logs), kind], **environment)
                )
        until_s = time.monotonic() + LATEST_S
        while True:
            found = found_in(data)
            missing = set(EXPECTED.items()) - {(str(each.run), each.rule) for each in found}
            if not missing or time.monotonic() > until_s:
                return found
            time.sleep(0.5)


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_fault_of_a_real_program_is_found(findings: list[Finding], kind: str) -> None:
    assert EXPECTED[kind] in {found.rule for found in findings if found.run == kind}, [
        found.sentence for found in findings
    ]


def test_nothing_is_found_in_a_healthy_program(findings: list[Finding]) -> None:
    assert not [found.sentence for found in findings if found.run == "healthy" and found.rule != "cpu_taken"]


def test_the_rank_that_left_is_named_with_its_line(findings: list[Finding]) -> None:
    (found,) = [found for found in findings if found.rule == "hung"]
    assert found.run == "hang" and found.rank == 1 and found.weight == "alert"
    assert found.fields["place"]["function"].endswith("leave"), found.fields["place"]
    assert "Rank 1 stands at ill_runs.py:" in found.sentence and "while 1 other waits in a collective" in found.sentence
    assert {stack["rank"] for stack in found.fields["stacks"] if stack["role"] == "main"} == {0, 1}


def test_each_end_is_said_once_and_a_crash_has_its_reason(findings: list[Finding]) -> None:
    ends = [(found.run, found.rule) for found in findings if found.rule in ("crash", "finished")]
    assert sorted(ends) == [("crash", "crash"), ("finished", "finished"), ("killed", "crash")]
    assert any("ValueError: the batch has no samples" in found.sentence for found in findings if found.run == "crash")


def test_a_stall_is_named_with_its_line(findings: list[Finding]) -> None:
    (found, *_) = [found for found in findings if found.rule == "data_stall" and found.run == "data_stall"]
    assert "load_batch" in found.sentence
