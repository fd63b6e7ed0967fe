"""What our own sampler may not read is sampled by the one above it, which its keeper lends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from collectors.records import StackRecording
from collectors.sampler import Target, Trouble
from collectors.sampler.native import NativeSampler
from collectors.sampler.samplers import BorrowedSampler, DelegatingSampler, keeper_of
from tests.conftest import wait_for
from tests.e2e.test_run_command import READY, kept, run

BUSY = f"{READY}\nwhile True: sum(range(1000))"


class Refusing(NativeSampler):
    """As at ptrace_scope 1: nothing may be read."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: list[Target] = []

    def follow(self, targets: Sequence[Target]) -> None:
        self._refused = list(targets)

    def troubles(self) -> dict[int, Trouble]:
        return {target.pid: Trouble("The kernel forbids it.", "") for target in self._refused}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with subprocess.Popen(run(sys.executable, "-u", "-c", BUSY, folder=tmp_path), stdout=subprocess.PIPE) as watched:
        wait_for(lambda: b"ready" in kept(tmp_path))
        pid = int(subprocess.check_output(["pgrep", "-P", str(_keeper(watched.pid)), "-f", "sum"]).split()[0])
        yield Target("a", 0, pid, start_ticks(pid) or 0, "main", 100.0)
        watched.terminate()
        watched.stdout.read()  # type: ignore[union-attr]


def _keeper(front: int) -> int:
    """The process below the sampler, which is below the command."""
    sampler = subprocess.check_output(["pgrep", "-P", str(front)]).split()[0].decode()
    return int(subprocess.check_output(["pgrep", "-P", sampler]).split()[0])


def profile_of(sampler: DelegatingSampler, target: Target) -> StackRecording:
    sampler.follow([target])
    sampler.hurry(time.monotonic() + 60)

    def found() -> list[StackRecording]:
        return [profile for profile in sampler.profiles() if profile.count > 10]

    return wait_for(found, 30.0)[-1]


def test_a_process_that_may_not_be_read_is_sampled_from_above(target: Target) -> None:
    sampler = DelegatingSampler(plain=Refusing())
    profile = profile_of(sampler, target)
    assert (profile.run, profile.pid, profile.role) == ("a", target.pid, "main")
    assert any(frame.name == "<module>" for sample in profile.samples for frame in sample.stack), profile
    assert sampler.troubles() == {}
    sampler.close()


def test_the_next_collector_gets_it_and_nothing_of_the_one_before(target: Target) -> None:
    first = DelegatingSampler(plain=Refusing())
    profile_of(first, target)
    time.sleep(1)  # more of the first one's lines wait in the pipe
    first.close()
    begun_ns = time.monotonic_ns()
    second = DelegatingSampler(plain=Refusing())
    profile = profile_of(second, target)
    assert profile.start_mono_ns >= begun_ns - 1e9
    second.close()


def test_two_collectors_do_not_have_it_at_once(target: Target) -> None:
    first = DelegatingSampler(plain=Refusing())
    profile_of(first, target)
    keeper = keeper_of(target.pid)
    assert keeper is not None
    with pytest.raises(OSError):
        BorrowedSampler(keeper, 0)
    assert profile_of(first, target)
    first.close()


def test_a_keeper_of_another_user_lends_nothing(target: Target) -> None:
    keeper = keeper_of(target.pid)
    assert keeper is not None
    with pytest.raises(PermissionError):
        BorrowedSampler(keeper, 12345)


def test_the_end_of_the_program_ends_it(target: Target) -> None:
    sampler = DelegatingSampler(plain=Refusing())
    profile_of(sampler, target)
    subprocess.run(["kill", "-9", str(target.pid)], check=True)
    wait_for(lambda: start_ticks(target.pid) is None)
    for _ in range(10):
        list(sampler.profiles())
        time.sleep(0.1)
    sampler.follow([])
    sampler.close()
