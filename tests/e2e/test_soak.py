"""Profiling for minutes: nothing is missing and it stays small; and whoever is killed, whenever, leaves a profile that can be used."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from collectors.records import StackRecording
from collectors.sampler import Sampler
from collectors.sampler.native import NativeSampler
from collectors.sampler.pyspy import PySpy
from tests.support.native import NEEDS_SAMPLER, running, target
from tests.support.soak import soak

SOAK_S = float(os.environ.get("SOAK_S", "300"))
DEADLINE_S = 60.0
LAST_SAMPLE_NS = 200_000_000  # before the end, on a machine that is busy
BY = {
    "native": (NativeSampler, 0.4, 30),
    "py-spy": (PySpy, 3.0, 6),
}  # up to how long after its start somebody is killed, how often

pytestmark = [pytest.mark.long, NEEDS_SAMPLER]


@pytest.mark.timeout(SOAK_S + 120)
def test_no_window_is_missing_and_an_hour_of_a_process_is_three_megabytes(tmp_path: Path) -> None:
    """`SOAK_S=1800` makes it the half hour of the promise."""
    pytest.importorskip("torch")
    found = soak(SOAK_S, tmp_path)
    print(found)
    assert found.processes == 2
    assert found.longest_gap_s < 0.001
    assert found.gap_share <= 0.005
    assert found.unseen_share <= 0.005 + found.waited_share, (
        "on a machine that is busy it waits for a core as everybody does"
    )
    assert found.errors <= 0.005 * found.samples
    assert found.stored_mb <= 3


@pytest.mark.parametrize("by", BY)
@pytest.mark.timeout(400)
def test_a_sampler_that_is_killed_at_any_moment_leaves_its_profile_and_no_stopped_process(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started again at once, not after ever longer pauses."""
    monkeypatch.setattr("collectors.sampler.native.RESTART_S", (0.0,))
    monkeypatch.setattr("collectors.sampler.pyspy.RETRY_S", (0.0,))
    make, longest_s, kills = BY[by]
    chance, killed = random.Random(1), 0
    with closing(make("box")) as sampler, running("busy") as busy:
        sampler.hurry(time.monotonic() + 3600)
        sampler.follow([target(busy.pid)])
        profiles = recorded(sampler, lambda found: bool(found))
        for _ in range(kills):
            profiles += during(sampler, chance.uniform(0, longest_s))
            for child in psutil.Process().children():
                if child.pid != busy.pid:
                    child.kill()
                    killed += 1
            assert psutil.Process(busy.pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        assert killed >= kills / 2, "between two of them none may run"
        last_ns = time.monotonic_ns()
        profiles += recorded(sampler, lambda found: any(one.start_mono_ns > last_ns for one in found))
        assert busy.poll() is None
        assert sampler.troubles() == {}
    assert all(is_usable(profile) for profile in profiles)


@pytest.mark.parametrize("by", BY)
@pytest.mark.timeout(400)
def test_a_target_that_is_killed_at_any_moment_leaves_its_profile(by: str) -> None:
    make, longest_s, kills = BY[by]
    chance = random.Random(2)
    with closing(make("box")) as sampler:
        sampler.hurry(time.monotonic() + 3600)
        for _ in range(kills):
            with running("busy") as busy:
                sampler.follow([target(busy.pid)])
                first = recorded(sampler, lambda found: bool(found))
                first += during(sampler, chance.uniform(0, longest_s))
                seen_until_ns = time.monotonic_ns() - LAST_SAMPLE_NS
                busy.send_signal(signal.SIGKILL)
                busy.wait()
                profiles = [*first, *recorded(sampler, partial(reach, seen_until_ns))]
            assert all(is_usable(profile) for profile in profiles)
            assert all(later.start_mono_ns == one.end_mono_ns for one, later in itertools.pairwise(profiles))
        assert sampler.troubles() == {}


def reach(until_ns: int, profiles: list[StackRecording]) -> bool:
    return bool(profiles) and profiles[-1].end_mono_ns >= until_ns


def recorded(sampler: Sampler, enough: Callable[[list[StackRecording]], bool]) -> list[StackRecording]:
    profiles: list[StackRecording] = []
    until_s = time.monotonic() + DEADLINE_S
    while not enough(profiles):
        assert time.monotonic() < until_s, f"not enough: {[(one.start_mono_ns, one.end_mono_ns) for one in profiles]}"
        profiles += sampler.profiles()
        time.sleep(0.02)
    return profiles


def during(sampler: Sampler, seconds: float) -> list[StackRecording]:
    until_s = time.monotonic() + seconds
    profiles: list[StackRecording] = []
    while time.monotonic() < until_s:
        profiles += sampler.profiles()
        time.sleep(0.02)
    return profiles


def is_usable(profile: StackRecording) -> bool:
    """Its spans lie inside of it, and show what the program does."""
    inside = all(
        profile.start_mono_ns <= one.mono_ns and one.mono_ns + one.duration_ns <= profile.end_mono_ns
        for one in profile.samples
    )
    return inside and all(
        one.stack[-1].name in ("spin", "main", "<module>") for one in profile.samples if one.tid == profile.pid
    )
