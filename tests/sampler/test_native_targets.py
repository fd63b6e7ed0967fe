"""Processes that the native sampler meets: those of other users, unknown Pythons, many threads, forks and containers."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from collectors.sampler.build import compiler, find_program
from collectors.sampler.native import NativeSampler
from tests.conftest import script
from tests.interpreters import Interpreter, every_python
from tests.support.native import NEEDS_SAMPLER, leaf, length_s, record, running, running_by, target, time_by
from tests.support.native import sampler as sampler  # a fixture

pytestmark = NEEDS_SAMPLER


def test_a_process_that_is_no_python_is_left_to_the_other_sampler(sampler: NativeSampler) -> None:
    with subprocess.Popen(["sleep", "3600"]) as sleeper:
        sampler.follow([target(sleeper.pid)])
        record(sampler, lambda _: sleeper.pid in sampler.troubles())
        sentence = f"The native sampler finds no Python that it knows in process {sleeper.pid}."
        assert sampler.troubles()[sleeper.pid] == (sentence, "", True)
        sleeper.kill()


PRETENDS = """
#include <unistd.h>
#if NEW
const unsigned long _PyRuntime[81] = { 0x7970677562656478ul /* "xdebugpy" */, VERSION, FREE_THREADED };
#else
const unsigned long _PyRuntime[81], Py_Version = VERSION;
#endif
int main(void) { return write(1, "ready\\n", 6) == 6 ? pause() : 1; }
"""


@pytest.mark.parametrize(
    ("defines", "sentence"),
    [
        (("-DNEW=0", "-DVERSION=0x030a0df0"), "does not know Python 3.10.13, the version of process"),
        (
            ("-DNEW=1", "-DVERSION=0x030e00a7", "-DFREE_THREADED=0"),
            "does not know Python 3.14.0a7, the version of process",
        ),
        (
            ("-DNEW=1", "-DVERSION=0x030f00f0", "-DFREE_THREADED=0"),
            "does not know Python 3.15.0, the version of process",
        ),
        (
            ("-DNEW=1", "-DVERSION=0x030d05f0", "-DFREE_THREADED=1"),
            "cannot read the free-threaded Python 3.13.5 of process",
        ),
        (
            ("-DNEW=1", "-DVERSION=0x030e08f0", "-DFREE_THREADED=1"),
            "cannot read the free-threaded Python 3.14.8 of process",
        ),
    ],
)
def test_an_unknown_python_is_left_to_the_other_sampler(
    sampler: NativeSampler, tmp_path: Path, defines: tuple[str, ...], sentence: str
) -> None:
    source, program = tmp_path / "pretends.c", tmp_path / "pretends"
    source.write_text(PRETENDS)
    subprocess.run([*compiler(), *defines, "-rdynamic", "-o", str(program), str(source)], check=True)
    with subprocess.Popen([program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sampler.follow([target(process.pid)])
        record(sampler, lambda _: process.pid in sampler.troubles())
        process.kill()
    trouble = sampler.troubles()[process.pid]
    assert sentence in trouble.sentence
    assert trouble.other_may


WITH_SIX_HUNDRED_THREADS = """
import threading, time

def wait_here():
    time.sleep(3600)

for _ in range(600):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("ready", flush=True)
wait_here()
"""


def test_of_more_threads_than_it_holds_the_main_one_is_seen(sampler: NativeSampler) -> None:
    with script(WITH_SIX_HUNDRED_THREADS) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sampler.follow([target(process.pid, hz=20)])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 1)
    assert {len(profile.threads) for profile in profiles} == {512}
    main = time_by(profiles, leaf)
    assert main["wait_here"] >= 0.9 * sum(main.values()) >= 0.2 * sum(map(length_s, profiles))


def test_more_processes_than_it_holds_are_refused_by_name() -> None:
    program = find_program()
    assert program
    ticks = target(os.getpid()).start_ticks
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowded:
        assert crowded.stdin and crowded.stdout
        crowded.stdin.write(b"".join(b"+ %d %d %d 1\n" % (number, os.getpid(), ticks) for number in range(1025)))
        crowded.stdin.flush()
        refused = next(line for line in crowded.stdout if b"refused" in line and b"too many" in line)
        crowded.stdin.close()
    assert refused == b'["refused",1024,"crowd","too many processes"]\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses the next process id")
def test_a_process_that_gets_the_id_of_one_that_has_ended_is_not_taken_for_it(sampler: NativeSampler) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, bool)
        busy.kill()
        busy.wait()
        with again(busy.pid) as other:
            begun_ns = time.monotonic_ns()
            rest = record(sampler, lambda _: time.monotonic_ns() > begun_ns + 1_000_000_000)
            assert all(profile.end_mono_ns <= begun_ns + 100_000_000 for profile in rest)
            sampler.follow([target(other.pid)])
            (first, *_) = record(sampler, bool)
            assert first.start_mono_ns > begun_ns
    assert {name for profile in rest for name in time_by([profile], leaf)} <= {"spin"}
    assert time_by([first], leaf).keys() == {"wait_here"}


@contextmanager
def again(pid: int) -> Iterator[subprocess.Popen[str]]:
    """Another program under this process id."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    for _ in range(50):
        try:
            last.write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"the next process id cannot be chosen here: {error}")
        with script("import time\ndef wait_here(): time.sleep(60)\nprint(flush=True)\nwait_here()") as process:
            if process.pid == pid and process.stdout:
                process.stdout.readline()
                yield process
                return
    pytest.skip("somebody else has that process id")


@every_python(few=True)
def test_a_program_that_another_one_replaces_by_exec_is_followed_into_it(
    sampler: NativeSampler, python: Interpreter
) -> None:
    with running_by(python.path, "execs", "3", "300") as process:
        sampler.follow([target(process.pid)])
        profiles = record(sampler, lambda found: bool(found) and "after" in time_by(found[-1:], leaf))
    spans = sorted((sample.mono_ns, leaf(sample.stack)) for profile in profiles for sample in profile.samples)
    names = [name for name, _ in itertools.groupby(name for _, name in spans if name in ("before", "after"))]
    assert names == ["before", "after"]
    assert sampler.troubles() == {}


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can make a namespace of process ids"
)
def test_threads_of_a_container_have_the_ids_by_which_this_machine_knows_them(sampler: NativeSampler) -> None:
    with running_by(sys.executable, "busy", prefix=["unshare", "--pid", "--fork", "--mount-proc"]) as outside:
        (inside,) = psutil.Process(outside.pid).children()
        sampler.follow([target(inside.pid)])
        profiles = record(sampler, bool)
        tasks = {int(task.name) for task in Path(f"/proc/{inside.pid}/task").iterdir()}
    assert {sample.tid for sample in profiles[0].samples} == tasks == set(profiles[0].threads)
    assert profiles[0].threads[inside.pid] == "MainThread"


@every_python()
def test_forked_children_are_told_apart_from_their_parent(sampler: NativeSampler, python: Interpreter) -> None:
    with running_by(python.path, "forks") as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        sampler.follow([target(pid) for pid in [parent.pid, *children]])
        profiles = record(sampler, lambda found: {one.pid for one in found} == {parent.pid, *children})
    for profile in profiles:
        assert {sample.tid for sample in profile.samples} == {profile.pid}
        assert profile.threads == {profile.pid: "MainThread"}
        times = time_by([profile], leaf)
        assert max(times, key=times.__getitem__) == ("parent_wait" if profile.pid == parent.pid else "child_work")
