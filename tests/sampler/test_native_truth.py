"""Whether what the native sampler sees was so: every stack is held against what its target wrote of itself."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from collectors.sampler import Target
from collectors.sampler.build import BuildError, build
from tests.interpreters import Interpreter, every_python, interpreters
from tests.programs import HERE
from tests.support.native import NEEDS_SAMPLER, SANITIZED, native, record, running_by, samples_of, target, time_by
from tests.support.truth import Truth, pairs_seen

pytestmark = NEEDS_SAMPLER
LONG = pytest.mark.long
HZ = 1000.0
BESIDE_OTHERS = 1_000  # samples, in `make test`
TINY = ("-DWAITING=65536", "-DFULL=3000")  # what is kept before lines are dropped, and before numbers are forgotten


@pytest.mark.parametrize(
    ("callee_us", "enough"),
    [(50, BESIDE_OTHERS), *(pytest.param(callee_us, 10_000, marks=LONG) for callee_us in (5, 50, 1000))],
)
def test_a_callee_is_only_seen_below_its_own_caller(callee_us: int, enough: int) -> None:
    with running_by(sys.executable, "pairs", str(callee_us)) as pairs, native() as sampler:
        sampler.follow([target(pairs.pid, hz=HZ)])
        profiles = record(sampler, lambda found: samples_of(found) >= enough, deadline_s=100)
    pairs_in_spans, impossible = pairs_seen(sample for profile in profiles for sample in profile.samples)
    assert pairs_in_spans > 0.3 * sum(len(profile.samples) for profile in profiles)
    assert impossible == []


@every_python(few=True)
@pytest.mark.parametrize(
    "enough", [1_000, pytest.param(1_000_000 // max(1, len(interpreters())), marks=[LONG, pytest.mark.timeout(900)])]
)
def test_every_stack_is_one_that_its_thread_can_have(python: Interpreter, enough: int, tmp_path: Path) -> None:
    truth = judged(python.path, enough, tmp_path, None)
    assert truth.wrong == []
    most = (
        0.06 if enough > BESIDE_OTHERS else 0.15
    )  # beside other tests memory is slower to read, and more looks see it changing
    assert truth.cut + truth.errors <= most * truth.samples, "looks that saw the outer part only, or nothing"
    assert truth.deep > 0, "the recursion was seen down to its 991st frame"


@every_python(few=True)
def test_memory_that_is_no_longer_there_costs_no_later_look(python: Interpreter) -> None:
    """Frames of deep calls are given back to the system, and half of what a loop of log calls has for a frame is gone before it is read."""
    with running_by(python.path, "unwinds") as unwinds, native() as sampler:
        sampler.follow([target(unwinds.pid, hz=200.0)])
        profiles = record(sampler, lambda found: samples_of(found) >= BESIDE_OTHERS)
        unwinds.terminate()
        assert unwinds.stdout is not None
        truth = float(unwinds.stdout.read())
    failed = sum(profile.errors for profile in profiles)
    time_s = time_by(
        profiles,
        lambda stack: next((name for name in ("descend", "log_lines") if name in {frame.name for frame in stack}), ""),
    )
    share = time_s["log_lines"] / sum(time_s.values())
    print(f"{python.name}: {failed} of {samples_of(profiles)} looks failed, {share:.3f} of {truth:.3f}")
    assert failed < 0.3 * samples_of(profiles)  # 0.6 to 1.0 where one such block ends a look
    assert share == pytest.approx(truth, abs=0.08)


@LONG
def test_what_is_dropped_and_forgotten_on_the_way_makes_no_wrong_stack(
    sanitized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of stacks run out again and again, and for seconds nobody reads."""
    monkeypatch.setattr("collectors.sampler.native.PIPE_BYTES", 16384)
    truth = judged(sys.executable, 2_000, tmp_path, sanitized, lost=200, pause_s=2.0)
    assert truth.wrong == []


@pytest.mark.parametrize(("kills", "execs"), [(15, 6), pytest.param(500, 50, marks=[LONG, pytest.mark.timeout(900)])])
def test_targets_that_are_killed_or_replaced_at_any_moment_do_no_harm(kills: int, execs: int, sanitized: Path) -> None:
    chance = random.Random(1)
    with native(sanitized) as sampler:
        following: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(kills):
            python = interpreters()[number % len(interpreters())].path
            times = 1 + number % 2 if number < execs else 0
            process = subprocess.Popen([python, str(HERE / "execs.py"), str(times), "10"], stdout=subprocess.DEVNULL)
            following[process.pid] = process
            follow(sampler.follow, following)
            until_s = time.monotonic() + chance.uniform(0, 0.1)
            while time.monotonic() < until_s:
                sampler.profiles()
            if len(following) > 2:
                end(following.pop(next(iter(following))))
        begun = sampler.pid
        for process in following.values():
            record(sampler, lambda found, pid=process.pid: any(one.pid == pid for one in found))  # type: ignore[misc]
        for process in following.values():
            end(process)
        assert sampler.troubles() == {}
        assert sampler.pid == begun
    assert [*sanitized.parent.glob("report*")] == []


def follow(take: Callable[[list[Target]], None], processes: dict[int, subprocess.Popen[bytes]]) -> None:
    take([Target("run", 0, pid, start_ticks(pid) or 0, "main", 500.0) for pid in processes])


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def judged(python: str, enough: int, folder: Path, program: Path | None, lost: int = 0, pause_s: float = 0.0) -> Truth:
    """Sample programs/kinds.py until enough came and enough was lost, then judge; every tenth look comes after a pause, in which nobody reads."""
    stacks, churned = folder / "truth.json", folder / "churned.log"
    looks = itertools.count()
    with running_by(python, "kinds", str(stacks), str(churned)) as kinds, native(program) as sampler:
        sampler.follow([target(kinds.pid, hz=HZ)])

        def has_enough(found: list) -> bool:  # type: ignore[type-arg]
            if next(looks) % 10 == 9:
                time.sleep(pause_s)
            return samples_of(found) >= enough and sum(one.errors for one in found) >= lost

        profiles = record(sampler, has_enough, deadline_s=800)
    truth = Truth(stacks, churned)
    for profile in profiles:
        truth.judge(profile)
    return truth


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sampler with every access checked, and with very little room; its reports go to files beside it."""
    program = tmp_path_factory.mktemp("sanitized") / "sampler"
    try:
        build(program, (*SANITIZED, *TINY))
    except BuildError as error:
        pytest.skip(f"no sanitizers here: {error}")
    reports = f"log_path={program.parent / 'report'}"
    os.environ |= {"ASAN_OPTIONS": reports, "UBSAN_OPTIONS": f"{reports}:print_stacktrace=1"}
    return program
