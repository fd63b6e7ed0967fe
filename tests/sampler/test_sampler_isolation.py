"""A process that is odd, hostile or broken costs itself: the one beside it is sampled on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event, SourceText, StackRecording
from collectors.sampler.build import compiler
from collectors.sampler.native import NativeSampler
from collectors.sampler.profile import ProfileCollector
from collectors.sampler.samplers import choose
from collectors.store.engines import open_store
from tests.programs import HERE
from tests.support.claims import claiming_folder
from tests.support.native import NEEDS_SAMPLER, length_s, native, record, running, target, time_by

pytestmark = NEEDS_SAMPLER
NOBODY = 65534

TRIES = 3  # a target that disturbs the sampler does so each time; what else the machine does, not


def of(profiles: list[StackRecording], pid: int) -> list[StackRecording]:
    return [profile for profile in profiles if profile.pid == pid]


def undisturbed(
    sampler: NativeSampler, healthy: int, resident: int | None, seconds: float = 1.0
) -> list[StackRecording]:
    """What comes while the healthy process gets so many seconds of profile; by the same sampler, without a gap or a fault."""
    profiles: list[StackRecording] = []
    for _ in range(TRIES):
        more = record(sampler, lambda found: sum(map(length_s, of(found, healthy))) >= seconds)
        assert sampler.pid == resident, "the sampler was not started anew"
        assert healthy not in sampler.troubles()
        profiles += more
        own = of(more, healthy)
        spin_s = time_by(own, lambda stack: stack[-1].name)["spin"]
        if spin_s >= 0.8 * sum(map(length_s, own)):
            return profiles
    raise AssertionError(f"looks are missing each time: {spin_s:.2f} of {sum(map(length_s, own)):.2f} s")


@contextmanager
def beside_a_healthy_one(sampler: NativeSampler) -> Iterator[tuple[int, int | None]]:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, bool)
        yield busy.pid, sampler.pid


def test_names_that_are_no_text_cost_no_more_than_their_bad_characters(tmp_path: Path) -> None:
    with native() as sampler, beside_a_healthy_one(sampler) as (healthy, resident), running("odd_names") as odd:
        sampler.follow([target(healthy), target(odd.pid)])
        profiles = undisturbed(sampler, healthy, resident)
        if not of(profiles, odd.pid):  # on a busy machine the healthy one may have got its second first
            profiles += record(sampler, lambda found: bool(of(found, odd.pid)))
        assert sampler.troubles() == {}
    found = of(profiles, odd.pid)
    names = {name for profile in found for name in profile.threads.values()}
    lost = "\N{REPLACEMENT CHARACTER}"
    assert {3 * lost, "a b  [31m", 4 * lost, f"cut {2 * lost}", '"],["reset"] ', "MainThread"} <= names
    assert {f"{2 * lost}", "two lines  ", f"{lost}x\U0001f601"} <= names, "of str objects"
    functions = {frame.name for profile in found for sample in profile.samples for frame in sample.stack}
    assert {2 * lost, "two\nlines\t\x7f", '"]\n["gone",1]\n', f"{lost}x\U0001f601"} <= functions
    assert sum(profile.errors for profile in found) == 0
    store = open_store(tmp_path, write=True)
    store.append(profiles)
    assert store.stacks(0, 4e9, "run").time_s.size, "the store takes them all"
    store.close()


def test_processes_that_are_stopped_zombies_gone_or_no_python_cost_only_themselves() -> None:
    gone = subprocess.Popen(["true"])
    gone_target = target(gone.pid)
    gone.wait()
    with native() as sampler, beside_a_healthy_one(sampler) as (healthy, resident), running("busy") as stopped:
        stopped.send_signal(signal.SIGSTOP)
        zombie = subprocess.Popen([sys.executable, "-c", "pass"])
        zombie_target = target(zombie.pid)
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            sampler.follow([target(healthy), target(stopped.pid), target(sleeper.pid), zombie_target, gone_target])
            profiles = record(sampler, lambda found: sleeper.pid in sampler.troubles() and bool(of(found, stopped.pid)))
            profiles += undisturbed(sampler, healthy, resident)
            assert sampler.troubles().keys() == {sleeper.pid}, "that one is no Python"
            sleeper.kill()
        zombie.wait()
        assert {profile.pid for profile in profiles} <= {healthy, stopped.pid, zombie.pid}


def test_a_process_that_is_replaced_again_and_again_costs_only_itself() -> None:
    with (
        native() as sampler,
        beside_a_healthy_one(sampler) as (healthy, resident),
        running("execs", "40", "20") as restless,
    ):
        sampler.follow([target(healthy), target(restless.pid)])
        undisturbed(sampler, healthy, resident)


def test_a_library_whose_file_became_a_pipe_does_not_hang_the_sampler(tmp_path: Path) -> None:
    """The name by which a Python's library is found in the other's folders may lead to anything by now."""
    pipe = tmp_path / "libpython3.11.so"
    source, program = tmp_path / "maps.c", tmp_path / "maps"
    source.write_text(
        """
        #include <fcntl.h>
        #include <stdio.h>
        #include <sys/mman.h>
        #include <sys/stat.h>
        #include <unistd.h>
        int main(int count, char **name) {
            (void)count;
            int file = open(name[1], O_RDWR | O_CREAT, 0600); // its name in /proc/<pid>/maps is another once it is deleted
            if (ftruncate(file, 4096) || mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED) return 1;
            unlink(name[1]);
            if (mkfifo(name[2], 0600)) return 1;
            puts("ready");
            fflush(stdout);
            return pause();
        }
        """
    )
    subprocess.run([*compiler(), "-o", str(program), str(source)], check=True)
    command = [program, pipe, f"{pipe} (deleted)"]
    with (
        native() as sampler,
        beside_a_healthy_one(sampler) as (healthy, resident),
        subprocess.Popen(command, stdout=subprocess.PIPE) as hostile,
    ):
        assert hostile.stdout is not None
        hostile.stdout.readline()
        sampler.follow([target(healthy), target(hostile.pid)])
        undisturbed(sampler, healthy, resident)
        hostile.kill()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_are_found_and_sampled_however_they_were_started(method: str) -> None:
    with running("started_workers", method) as main:
        assert main.stdout is not None
        workers = {int(pid) for pid in main.stdout.readline().split()}
        start = {"pid": main.pid, "pid_start_ticks": start_ticks(main.pid), "boot_id": boot_id(), "host": "box"}
        activity = RunActivity(
            "a", claiming_folder(), {}, [Event("a", "start", time.time(), fields=start)], [], time.time(), None
        )
        collector = ProfileCollector(lambda: [activity], choose("native"), host="box")
        collector.watch("a", time.time() + 60)
        try:
            found: dict[int, StackRecording] = {}
            texts: dict[str, str] = {}
            until_s = time.monotonic() + 60
            while not all(_crunches(found.get(pid)) for pid in workers) or main.pid not in found or not texts:
                assert time.monotonic() < until_s, f"{found.keys()} of {workers} and {main.pid}"
                records = collector.collect()
                found |= {record.pid: record for record in records if isinstance(record, StackRecording)}
                texts |= {
                    record.path: record.text for record in records if isinstance(record, SourceText) and record.sha
                }
                time.sleep(0.1)
            assert {pid: profile.role for pid, profile in found.items()} == {
                main.pid: "main",
                **dict.fromkeys(workers, "worker"),
            }
            assert {profile.rank for profile in found.values()} == {0}
            program = HERE / "started_workers.py"
            assert texts == {str(program): program.read_text()}, (
                "the text of what they run, no library's, and none of the command line that spawned them"
            )
        finally:
            collector.close()


def _crunches(profile: StackRecording | None) -> bool:
    return profile is not None and any(frame.name == "crunch" for sample in profile.samples for frame in sample.stack)
