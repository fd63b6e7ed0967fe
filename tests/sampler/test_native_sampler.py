"""The native sampler as a Sampler, on real processes: what it sees, that nothing is missing, and that no process is left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from collectors.sampler.native import NativeSampler
from tests.interpreters import Interpreter, every_python
from tests.programs import HERE
from tests.support.native import (
    NEEDS_SAMPLER,
    leaf,
    length_s,
    native,
    record,
    running,
    running_by,
    samples_of,
    target,
    time_by,
    until,
)
from tests.support.native import sampler as sampler  # a fixture
from tests.support.plain_scripts import NOBODY

pytestmark = NEEDS_SAMPLER


@every_python()
def test_a_busy_function_has_the_time_and_a_sleeping_thread_is_seen_asleep(
    sampler: NativeSampler, python: Interpreter
) -> None:
    with running_by(python.path, "busy") as busy:
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 1)
    seconds = sum(map(length_s, profiles))
    names = {name: tid for profile in profiles for tid, name in profile.threads.items()}
    assert names.keys() == {"MainThread", "napper"}
    assert names["MainThread"] == busy.pid
    main = time_by(profiles, lambda stack: " ".join(frame.name for frame in stack))
    assert main["<module> main spin"] >= 0.9 * sum(main.values()) >= 0.2 * seconds, "of what a busy machine lets it see"
    napper = time_by(profiles, lambda stack: f"{leaf(stack)} {Path(stack[-1].file).name}", names["napper"])
    assert napper["nap busy.py"] >= 0.9 * sum(napper.values()) >= 0.2 * seconds
    assert profiles[0][:5] == ("run", 0, busy.pid, "main", "box")
    assert (profiles[0].sampler, profiles[0].hz) == ("native", 100.0)
    assert abs(profiles[0].start_s - time.time()) < 60
    assert samples_of(profiles) >= 0.2 * 2 * 100 * seconds, "two threads at 100 Hz"


def test_who_computes_holds_the_gil_and_uses_cpu_and_who_sleeps_does_not(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        used_s = sum(psutil.Process(busy.pid).cpu_times()[:2])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 2)
        used_s = sum(psutil.Process(busy.pid).cpu_times()[:2]) - used_s
    samples = [sample for profile in profiles for sample in profile.samples]
    main = [sample for sample in samples if sample.tid == busy.pid]
    others = [sample for sample in samples if sample.tid != busy.pid]
    held_ns = sum(sample.duration_ns for sample in main if sample.gil)
    assert held_ns >= 0.9 * sum(sample.duration_ns for sample in main)
    assert not any(sample.gil for sample in others)
    assert sum(sample.cpu_ns or 0 for sample in main) / 1e9 == pytest.approx(used_s, rel=0.2, abs=0.1)
    assert sum(sample.cpu_ns or 0 for sample in others) / 1e9 < 0.05
    assert all(sample.cpu_ns is None or sample.cpu_ns <= sample.duration_ns for sample in samples)


def test_stacks_that_stand_shortly_lose_no_time_on_a_core(sampler: NativeSampler) -> None:
    """The kernel's account of a thread that runs is up to a tick behind, 4 ms on many hosts, at the beginning of a span or at its end."""
    with running("shares") as shares:
        sampler.follow([target(shares.pid, hz=400.0)])
        record(sampler, lambda found: samples_of(found) > 0)
        used_s, begun_s = sum(psutil.Process(shares.pid).cpu_times()[:2]), time.monotonic()
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 4)
        used_s = sum(psutil.Process(shares.pid).cpu_times()[:2]) - used_s
        lasted_s = time.monotonic() - begun_s
    main = [sample for profile in profiles for sample in profile.samples if sample.tid == shares.pid]
    assert len(main) > 100, "spans"
    on_core = sum(sample.cpu_ns or 0 for sample in main) / sum(sample.duration_ns for sample in main)
    assert on_core == pytest.approx(used_s / lasted_s, abs=0.05)


def test_the_first_sample_comes_within_fifty_milliseconds(sampler: NativeSampler) -> None:
    """The best of half a minute, at most: on a machine that is busy with other tests the sampler may have to wait for a core."""
    waits_ms, until_s = list[float](), time.monotonic() + 30
    with running("busy") as first:
        sampler.follow([target(first.pid)])
        record(sampler, bool)
        while time.monotonic() < until_s and not any(wait_ms <= 50 for wait_ms in waits_ms):
            with running("busy") as busy:
                begun_ns = time.monotonic_ns()
                sampler.follow([target(busy.pid)])
                profiles = record(sampler, lambda found: any(one.pid == busy.pid for one in found))
                waits_ms.append((min(one.start_mono_ns for one in profiles if one.pid == busy.pid) - begun_ns) / 1e6)
    assert min(waits_ms) <= 50


def test_windows_follow_each_other_without_gap_or_overlap(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: len(found) >= 6)
    assert all(second.start_mono_ns == first.end_mono_ns for first, second in itertools.pairwise(profiles))
    spans = sorted(sample[:2] for profile in profiles for sample in profile.samples if sample.tid == busy.pid)
    assert all(start + length <= following[0] for (start, length), following in itertools.pairwise(spans))
    assert sum(length for _, length in spans) / 1e9 == pytest.approx(sum(map(length_s, profiles)), rel=0.1)


@pytest.mark.long
def test_nobody_watches_and_windows_are_longer() -> None:
    sampler = NativeSampler("box")
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first, second = record(sampler, lambda found: len(found) == 2)
    sampler.close()
    assert length_s(first) == pytest.approx(0.5, abs=0.3), "a new process shows soon"
    assert length_s(second) == pytest.approx(5, abs=0.5)


def test_two_processes_keep_their_own_stacks(sampler: NativeSampler) -> None:
    with running("busy") as busy, running("brief_threads") as brief:
        sampler.follow([target(busy.pid, "a", 0), target(brief.pid, "b", 3)])
        profiles = record(sampler, lambda found: {one.pid for one in found} == {busy.pid, brief.pid})
    for profile in profiles:
        expected = ("a", 0, "busy.py") if profile.pid == busy.pid else ("b", 3, "brief_threads.py")
        files = {Path(sample.stack[0].file).name for sample in profile.samples if sample.tid == profile.pid}
        assert (profile.run, profile.rank, *files) == expected


def test_another_rate_is_taken_up_at_once_and_told_with_the_window(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, bool)
        sampler.follow([target(busy.pid, hz=20)])
        profiles = record(sampler, lambda found: [one.hz for one in found][-2:] == [20, 20])
    slow = profiles[-1]
    assert slow.count <= 1.5 * 2 * 20 * length_s(slow)


def test_a_thread_that_has_ended_is_not_seen_any_longer(sampler: NativeSampler) -> None:
    with running("brief_threads") as brief:
        sampler.follow([target(brief.pid)])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 4)
    seconds = sum(map(length_s, profiles))
    burst_s = sum(
        sample.duration_ns / 1e9
        for profile in profiles
        for sample in profile.samples
        if any(frame.name == "burst" for frame in sample.stack)
    )
    assert 0.1 * seconds < burst_s <= 0.3 * seconds, "it runs for a fifth of the time"
    assert any("burst" in profile.threads.values() for profile in profiles)


def test_a_target_that_ends_leaves_its_profile_up_to_its_end(sampler: NativeSampler) -> None:
    with running("busy", "exit") as busy:
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: busy.poll() is not None and sum(map(length_s, found)) > 1.2)
    assert time_by(profiles, leaf)["spin"] > 1.1
    assert sampler.troubles() == {}, "that a process ends is no trouble"


def test_a_target_that_is_killed_leaves_its_profile_up_to_its_end(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first = record(sampler, bool)
        killed_ns = time.monotonic_ns()
        busy.kill()
        busy.wait()
        rest = record(sampler, bool)
    assert rest[0].start_mono_ns == first[-1].end_mono_ns
    assert rest[-1].end_mono_ns >= killed_ns - 20_000_000
    assert sampler.troubles() == {}


def test_a_sampler_that_is_killed_is_replaced_and_no_target_is_lost(sampler: NativeSampler) -> None:
    with running("busy") as busy, running("brief_threads") as brief:
        both = {busy.pid, brief.pid}
        sampler.follow([target(busy.pid), target(brief.pid)])
        first = record(sampler, lambda found: {one.pid for one in found} == both)
        old = sampler.pid
        assert old
        os.kill(old, signal.SIGKILL)
        rest = record(
            sampler, lambda found: {one.pid for one in found if one.start_mono_ns > first[-1].end_mono_ns} == both
        )
        assert sampler.pid != old
        assert psutil.Process(busy.pid).status() != psutil.STATUS_STOPPED
        assert busy.poll() is None
    assert (rest[-1].start_mono_ns - first[-1].end_mono_ns) / 1e9 < 30
    assert sampler.troubles() == {}


def test_a_sampler_that_never_runs_is_a_trouble_that_the_other_one_does_not_have(tmp_path: Path) -> None:
    broken = tmp_path / "sampler"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with native(broken) as sampler, running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, lambda _: busy.pid in sampler.troubles())
        assert sampler.troubles()[busy.pid] == ("The native sampler does not run: it ended with code 3.", "", True)


def test_a_process_that_is_let_go_delivers_what_was_recorded(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first = record(sampler, bool)
        sampler.follow([])
        let_go_ns = time.monotonic_ns()
        rest = record(sampler, bool)
    assert rest[0].start_mono_ns == first[-1].end_mono_ns
    assert abs(rest[-1].end_mono_ns - let_go_ns) < 10e9


def test_it_keeps_nothing_on_disk(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, bool)
        opened = {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{sampler.pid}/fd").iterdir()}
    assert opened.pop("0").startswith("pipe:")
    assert opened.pop("1").startswith("pipe:")
    assert opened.pop("2") == str(Path("/proc/self/fd/2").readlink())
    assert opened
    assert all(file.startswith(f"/proc/{busy.pid}/") for file in opened.values())


def test_close_ends_the_sampler() -> None:
    sampler = NativeSampler("box")
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        assert sampler.pid
        process, begun_s = psutil.Process(sampler.pid), time.monotonic()
        sampler.close()
        assert time.monotonic() - begun_s < 15
        assert not process.is_running()


def test_no_sampler_outlives_a_collector_that_is_killed() -> None:
    with running("busy") as busy, running("followed", str(busy.pid)) as collector:
        assert collector.stdout is not None
        left = psutil.Process(int(collector.stdout.readline()))
        collector.send_signal(signal.SIGKILL)
        collector.wait()
        until(lambda: not left.is_running() or left.status() == "zombie")
        assert busy.poll() is None


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
def test_another_users_process_is_reported_with_the_remedy() -> None:
    with running("busy") as busy:
        command = [
            "setpriv",
            "--reuid",
            str(NOBODY),
            "--clear-groups",
            sys.executable,
            str(HERE / "followed.py"),
            str(busy.pid),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as collector:
            assert collector.stdout is not None
            said = collector.stdout.readline()
            collector.kill()
    assert (
        said
        == f"The native sampler may not read process {busy.pid}: it belongs to user root. | run the dashboard as root\n"
    )
