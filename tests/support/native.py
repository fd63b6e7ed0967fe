"""What the tests of the samplers share: targets, and turning a sampler as the collector does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from collectors.records import Frame, StackRecording
from collectors.sampler import Target
from collectors.sampler.build import find_program
from collectors.sampler.native import NativeSampler
from tests.programs import HERE

NEEDS_SAMPLER = pytest.mark.skipif(find_program() is None, reason="the native sampler is not built")
TICK_S = 0.05
DEADLINE_S = 60.0
SANITIZED = ("-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def target(pid: int, run: str = "run", rank: int = 0, hz: float = 100.0) -> Target:
    return Target(run, rank, pid, start_ticks(pid) or 0, "main", hz)


def record(
    sampler: NativeSampler, enough: Callable[[list[StackRecording]], bool], deadline_s: float = DEADLINE_S
) -> list[StackRecording]:
    """Turn the sampler until what it delivered is enough."""
    profiles: list[StackRecording] = []
    until_s = time.monotonic() + deadline_s
    while not enough(profiles):
        assert time.monotonic() < until_s, (
            f"not enough in {deadline_s:g} s: {[(one.pid, one.count) for one in profiles]}"
        )
        profiles += sampler.profiles()
        time.sleep(TICK_S)
    return profiles


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def running_by(
    interpreter: str, name: str, *arguments: str, prefix: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A program of tests/programs, run by some Python; it is in its steady state. Its whole process group is killed at the end."""
    command = [*prefix, interpreter, str(HERE / f"{name}.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", f"{name}.py did not start"
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended, and so have its children
                os.killpg(process.pid, signal.SIGKILL)


def running(name: str, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return running_by(sys.executable, name, *arguments)


@contextmanager
def native(program: Path | None = None) -> Iterator[NativeSampler]:
    sampler = NativeSampler("box", program)
    sampler.hurry(time.monotonic() + 3600)
    try:
        yield sampler
    finally:
        sampler.close()


def samples_of(profiles: list[StackRecording]) -> int:
    return sum(profile.count for profile in profiles)


def length_s(profile: StackRecording) -> float:
    return (profile.end_mono_ns - profile.start_mono_ns) / 1e9


def time_by(
    profiles: list[StackRecording], key: Callable[[tuple[Frame, ...]], str], tid: int | None = None
) -> dict[str, float]:
    """Seconds by something of the stack, for one thread, by default the main one."""
    times: dict[str, float] = defaultdict(float)
    for profile in profiles:
        for sample in profile.samples:
            if sample.tid == (tid or profile.pid):
                times[key(sample.stack)] += sample.duration_ns / 1e9
    return times


@pytest.fixture
def sampler() -> Iterator[NativeSampler]:
    with native() as sampler:
        yield sampler


def leaf(stack: tuple[object, ...]) -> str:
    return str(stack[-1][0])  # type: ignore[index]
