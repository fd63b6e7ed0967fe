"""py-spy as a Sampler, on real processes: what it sees, that nothing is missing, and that nobody is left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from collectors.machine.proc import start_ticks
from collectors.records import StackRecording
from collectors.sampler import Target, pyspy, refusal
from collectors.sampler.pyspy import FOLDER_PREFIX, PySpy
from collectors.store.engines import open_store
from tests.interpreters import Interpreter, every_python
from tests.programs import HERE, running
from tests.support.native import length_s, time_by, until

TICK_S = 0.1
DEADLINE_S = 60.0
NOBODY = 65534
LATE_NS = 1_000_000_000  # a recording ends with its last sample, which a busy machine may hold up


@pytest.fixture
def sampler() -> Iterator[PySpy]:
    sampler = PySpy("box")
    yield sampler
    sampler.close()


def target(pid: int, run: str = "run", rank: int = 0) -> Target:
    return Target(run, rank, pid, start_ticks(pid) or 0, "main", 100.0)


def record(sampler: PySpy, enough: Callable[[list[StackRecording]], bool]) -> list[StackRecording]:
    """Turn the sampler as the collector does, until what it delivered is enough."""
    profiles: list[StackRecording] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while not enough(profiles):
        assert time.monotonic() < deadline_s, (
            f"not enough in {DEADLINE_S:g} s: {[(one.pid, one.count) for one in profiles]}"
        )
        profiles += sampler.profiles()
        time.sleep(TICK_S)
    return profiles


def recorders(pid: int | None = None) -> list[psutil.Process]:
    """The py-spy processes below a process, by default below this one."""
    return [child for child in psutil.Process(pid).children() if child.name() == "py-spy"]


def test_a_busy_function_has_the_time_and_a_sleeping_thread_is_seen_asleep(sampler: PySpy) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: len(found) >= 1)
    (profile,) = profiles
    names = {name: tid for tid, name in profile.threads.items()}
    assert names.keys() == {"MainThread", "napper"}
    assert names["MainThread"] == busy.pid
    main = time_by(profiles, lambda stack: " ".join(frame.name for frame in stack))
    assert main["<module> main spin"] >= 0.95 * length_s(profile)
    napper = time_by(profiles, lambda stack: f"{stack[-1].name} {Path(stack[-1].file).name}", names["napper"])
    assert napper["nap busy.py"] >= 0.95 * length_s(profile)
    assert profile[:5] == ("run", 0, busy.pid, "main", "box")
    assert profile.sampler == "py-spy"
    assert abs(profile.start_s - time.time()) < 60
    assert profile.count >= 0.7 * 2 * 100 * length_s(profile), "two threads at 100 Hz"


def test_two_processes_keep_their_own_stacks(sampler: PySpy) -> None:
    with running("busy") as busy, running("brief_threads") as brief:
        sampler.follow([target(busy.pid, "a", 0), target(brief.pid, "b", 3)])
        profiles = record(sampler, lambda found: {one.pid for one in found} == {busy.pid, brief.pid})
    for profile in profiles:
        expected = ("a", 0, "busy.py") if profile.pid == busy.pid else ("b", 3, "brief_threads.py")
        files = {Path(sample.stack[0].file).name for sample in profile.samples if sample.tid == profile.pid}
        assert (profile.run, profile.rank, *files) == expected


@pytest.mark.long
def test_windows_follow_each_other_without_gap_or_overlap_for_twenty_seconds(sampler: PySpy) -> None:
    sampler.hurry(time.monotonic() + 60)
    with running("busy") as busy:
        begun_s = time.monotonic()
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: bool(found) and found[-1].end_mono_ns / 1e9 > begun_s + 20)
    gaps_ns = [second.start_mono_ns - first.end_mono_ns for first, second in itertools.pairwise(profiles)]
    assert len(profiles) >= 7
    assert min(gaps_ns) >= 0
    assert sum(gaps_ns) <= 0.005 * 20e9
    covered_s = sum(time_by(profiles, lambda stack: stack[-1].name).values())
    assert covered_s == pytest.approx(sum(map(length_s, profiles)), rel=0.01)
    assert (profiles[0].start_mono_ns / 1e9 - begun_s) < 3, "attach to first sample"


@pytest.mark.long
def test_a_thread_that_has_ended_is_not_seen_any_longer(sampler: PySpy) -> None:
    sampler.hurry(time.monotonic() + 60)
    with running("brief_threads") as brief:
        sampler.follow([target(brief.pid)])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 6)
    seconds = sum(map(length_s, profiles))
    burst_s = sum(
        sample.duration_ns / 1e9
        for profile in profiles
        for sample in profile.samples
        if any(frame.name == "burst" for frame in sample.stack)
    )
    assert 0 < burst_s <= 0.35 * seconds, "it runs for a fifth of the time"


def test_a_target_that_ends_leaves_its_profile_up_to_its_end(sampler: PySpy) -> None:
    with running("busy", "exit") as busy:
        sampler.follow([target(busy.pid)])
        profiles = record(sampler, lambda found: busy.poll() is not None and sum(map(length_s, found)) > 1.2)
    assert time_by(profiles, lambda stack: stack[-1].name)["spin"] > 1.1
    assert sampler.troubles() == {}, "that a process ends is no trouble"


def test_a_target_that_is_killed_leaves_its_profile(sampler: PySpy) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first = record(sampler, lambda found: len(found) == 1)
        busy.kill()
        busy.wait()
        rest = record(sampler, lambda found: len(found) == 1)
    assert 0 <= rest[0].start_mono_ns - first[0].end_mono_ns <= LATE_NS
    until(lambda: [*sampler.profiles()] == [] and not recorders())


def test_a_recorder_that_is_killed_is_replaced_and_its_target_goes_on(sampler: PySpy) -> None:
    sampler.hurry(time.monotonic() + 60)
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first = record(sampler, lambda found: len(found) == 1)
        for recorder in recorders():
            recorder.kill()
        rest = record(sampler, lambda found: len(found) == 2)
        assert busy.poll() is None
        assert psutil.Process(busy.pid).status() != psutil.STATUS_STOPPED
    lost_s = (rest[0].start_mono_ns - first[0].end_mono_ns) / 1e9
    assert lost_s < 30, "one window and a new recorder: less than 4 s at rest"
    assert sampler.troubles() == {}


def test_a_process_that_is_let_go_delivers_what_was_recorded(sampler: PySpy) -> None:
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        first = record(sampler, lambda found: len(found) == 1)
        sampler.follow([])
        rest = record(sampler, lambda found: len(found) == 1)
        until(lambda: [*sampler.profiles()] == [] and not recorders())
    assert 0 <= rest[0].start_mono_ns - first[0].end_mono_ns <= LATE_NS


def test_close_ends_every_recorder_and_leaves_no_file() -> None:
    sampler = PySpy("box")
    with running("busy") as busy:
        sampler.follow([target(busy.pid)])
        record(sampler, lambda found: len(found) == 1)
        folder = own_folder(os.getpid())
        assert recorders()
        assert [*folder.iterdir()]
        begun_s = time.monotonic()
        sampler.close()
        assert time.monotonic() - begun_s < 15
    assert not recorders()
    assert not folder.exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="without setpriv a recorder ends by itself, after a minute")
def test_no_recorder_outlives_a_collector_that_is_killed_and_the_next_one_cleans_up() -> None:
    with running("busy") as busy:
        with running("sampled", str(busy.pid)) as collector:
            folder, left = own_folder(collector.pid), recorders(collector.pid)
            assert left
            collector.send_signal(signal.SIGKILL)
            collector.wait()
            until(lambda: not any(recorder.is_running() and recorder.status() != "zombie" for recorder in left))
        assert folder.exists()
        PySpy("box").close()
        assert not folder.exists()
        assert busy.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_process_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with running("busy") as busy:
        command = [
            "setpriv",
            "--reuid",
            str(NOBODY),
            "--clear-groups",
            sys.executable,
            str(HERE / "sampled.py"),
            str(busy.pid),
        ]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        os.chown(tmp_path, NOBODY, NOBODY)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as collector:
            assert collector.stdout is not None
            said = collector.stdout.readline()
            collector.kill()
    assert said == f"py-spy may not read process {busy.pid}: it belongs to user root. | run the dashboard as root\n"


def test_a_process_that_is_no_python_is_reported(sampler: PySpy) -> None:
    with subprocess.Popen(["sleep", "3600"]) as sleeper:
        sampler.follow([target(sleeper.pid)])
        record(sampler, lambda _: sleeper.pid in sampler.troubles())
        assert sampler.troubles()[sleeper.pid][:2] == (
            f"py-spy finds no Python that it knows in process {sleeper.pid}.",
            "",
        )
        sleeper.kill()


def test_a_machine_without_pyspy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.sampler.pyspy.find_program", lambda: None)
    sampler = PySpy("box")
    sampler.follow([target(os.getpid())])
    assert [*sampler.profiles()] == []
    assert sampler.troubles()[os.getpid()][:2] == (
        "py-spy is not installed beside the dashboard.",
        "pip install py-spy",
    )
    sampler.close()


@pytest.mark.parametrize(
    ("scope", "capabilities", "sentence", "remedy"),
    [
        ("1", "0", "the kernel forbids it (ptrace_scope is 1)", "sudo sysctl kernel.yama.ptrace_scope=0"),
        ("2", "0", "the kernel forbids it (ptrace_scope is 2)", "sudo sysctl kernel.yama.ptrace_scope=0"),
        (
            "3",
            "80000",
            "the kernel forbids it (ptrace_scope is 3)",
            "set kernel.yama.ptrace_scope = 0 in /etc/sysctl.d and reboot",
        ),
        ("0", "0", "this container lacks the capability SYS_PTRACE", "docker run --cap-add=SYS_PTRACE ..."),
        ("0", "80000", "the kernel forbids it", "grep Cap /proc/7/status"),
    ],
)
def test_a_refusal_names_the_rule_and_what_lifts_it(
    tmp_path: Path, scope: str, capabilities: str, sentence: str, remedy: str
) -> None:
    files = {
        "sys/kernel/yama/ptrace_scope": scope,
        "self/status": f"Name:\tx\nCapEff:\t{capabilities}\n",
        "self/cgroup": "0::/docker/abc\n",
        "1/cgroup": "0::/\n",
        "7/stat": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    trouble = refusal.trouble(7, "py-spy", "Failed: Permission denied (os error 13)", tmp_path)
    assert trouble is not None
    assert trouble.sentence == f"py-spy may not read process 7: {sentence}."
    assert remedy in trouble.remedy


def test_a_process_that_ended_while_it_was_asked_about_is_no_trouble(tmp_path: Path) -> None:
    assert refusal.trouble(7, "py-spy", "Permission denied (os error 13)", tmp_path) is None


def own_folder(pid: int) -> Path:
    (folder,) = Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}{pid}-*")
    return folder


NONSENSE = (
    '{"a": [1]}',
    "[1, 2]",
    '[{"ph": "B", "tid": "x"}]',
    "null",
    '[{"ph":"B","ts":1e400,"tid":1,"pid":1,"name":7,"args":[]}]',
)


@pytest.mark.parametrize("written", [NONSENSE[0], *(pytest.param(one, marks=pytest.mark.long) for one in NONSENSE[1:])])
def test_a_process_whose_trace_is_nonsense_costs_only_itself(written: str, tmp_path: Path) -> None:
    """A py-spy that writes nonsense for one process, and is the real one for the other."""
    real = pyspy.find_program()
    with running("busy") as busy, running("brief_threads") as odd:
        program = tmp_path / "py-spy"
        program.write_text(f"""#!/bin/bash
        case " $* " in *" record --pid {odd.pid} "*) ;; *) exec {real} "$@";; esac
        while [ "$1" != --output ]; do shift; done
        echo '{written}' > "$2"
        """)
        program.chmod(0o755)
        sampler = PySpy("box", program)
        try:
            sampler.follow([target(odd.pid), target(busy.pid)])
            profiles = record(sampler, lambda found: len(found) >= 1 and odd.pid in sampler.troubles())
            assert {profile.pid for profile in profiles} == {busy.pid}
            assert sampler.troubles().keys() == {odd.pid}
        finally:
            sampler.close()


def test_a_py_spy_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.sampler.pyspy.LONGEST_S", 1)
    monkeypatch.setattr("collectors.sampler.pyspy.WRITE_WITHIN_S", 0.2)
    monkeypatch.setattr("collectors.sampler.pyspy.ANSWER_WITHIN_S", 0.5)
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/bash\ntrap '' INT TERM\nexec sleep 3600\n")
    program.chmod(0o755)
    sampler = PySpy("box", program)
    with running("busy") as busy:
        try:
            sampler.follow([target(busy.pid)])
            record(sampler, lambda _: busy.pid in sampler.troubles())
            assert "ended by signal 9" in sampler.troubles()[busy.pid].sentence
        finally:
            sampler.close()
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]


@every_python(((3, 8), (3, 9), (3, 10)))
def test_threads_of_an_older_python_are_known_by_name_and_its_stacks_are_stored(
    python: Interpreter, sampler: PySpy, tmp_path: Path
) -> None:
    """py-spy does not know the kernel's ids of their threads."""
    code = (
        "import threading, time\n"
        "def spin():\n while True: sum(range(1000))\n"
        "def fetch():\n while True: time.sleep(0.01)\n"
        "threading.Thread(target=fetch, name='fetcher', daemon=True).start()\n"
        "spin()\n"
    )
    with subprocess.Popen([python.path, "-c", code]) as training:
        try:
            sampler.follow([target(training.pid)])
            profiles = record(sampler, lambda found: len(found) == 1)
        finally:
            training.kill()
    (profile,) = profiles
    assert profile.threads[training.pid] == "MainThread"
    assert sorted(profile.threads.values()) == ["MainThread", "fetcher"]
    assert any(sample.tid == training.pid and sample.stack[-1].name == "spin" for sample in profile.samples)
    store = open_store(tmp_path, write=True)
    store.append(profiles)
    assert store.stacks(profile.start_s, profile.start_s + 100, "run").samples > 50
    store.close()
