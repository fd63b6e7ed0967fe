"""Who samples what: the native sampler, py-spy for what that one cannot do, and what a person is told where neither may."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from collectors.machine.proc import descendants, start_ticks, threads
from collectors.records import Frame, StackRecording, StackSpan
from collectors.sampler import Sampler, Target, Trouble, refusal
from collectors.sampler.native import NativeSampler
from collectors.sampler.pyspy import PySpy
from collectors.sampler.samplers import FallbackSampler, choose
from tests.conftest import ROOT, wait_for
from tests.programs import HERE, running

NOBODY = 65534
UNKNOWN = Trouble("The native sampler does not know Python 3.7, the version of process 1.", "", other_may=True)
REFUSED = Trouble("The native sampler may not read process 1: no.", "become root")


class Notebook:
    """A Sampler that samples nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pids: list[int] = []
        self.refused: dict[int, Trouble] = {}
        self.ready: list[StackRecording] = []
        self.said: list[str] = []

    def follow(self, targets: Sequence[Target]) -> None:
        self.pids = [target.pid for target in targets]

    def hurry(self, until_mono_s: float) -> None:
        self.said.append(f"hurry {until_mono_s:g}")

    def profiles(self) -> Iterable[StackRecording]:
        ready, self.ready = self.ready, []
        return ready

    def troubles(self) -> dict[int, Trouble]:
        return self.refused

    def retry(self) -> None:
        self.said.append("retry")

    def close(self) -> None:
        self.said.append("close")


@pytest.fixture
def native() -> Notebook:
    return Notebook("native")


@pytest.fixture
def py_spy() -> Notebook:
    return Notebook("py-spy")


def target(pid: int, ticks: int = 1, role: str = "main") -> Target:
    return Target("run", 0, pid, ticks, role, 100.0)


def profile(pid: int, sampler: str) -> StackRecording:
    sample = StackSpan(0, 10**9, pid, (Frame("main", "t.py", 1),))
    return StackRecording("run", 0, pid, "main", "box", sampler, 100.0, 0.0, 0, 10**9, {}, [sample], 100)


def test_what_the_first_sampler_does_not_know_is_handed_to_the_other(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    choice.follow([target(1), target(2), target(3)])
    assert (native.pids, py_spy.pids) == ([1, 2, 3], [])
    native.refused = {1: UNKNOWN, 2: REFUSED}
    native.ready = [profile(3, "native")]
    assert choice.profiles() == [profile(3, "native")]
    assert (native.pids, py_spy.pids) == ([1, 2, 3], [1]), "the first one goes on to try"
    assert choice.troubles() == {2: REFUSED}, "py-spy would be refused, too"
    assert choice.name == "native"
    assert choice.why == f"1 of 3 processes are sampled by py-spy: {UNKNOWN.sentence}"


def test_what_the_first_sampler_can_read_after_all_goes_back_to_it(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    choice.follow([target(1)])
    native.refused = {1: UNKNOWN}
    choice.profiles()
    native.refused = {}  # it tries again, and nobody knows yet
    choice.profiles()
    assert py_spy.pids == [1]
    native.ready = [profile(1, "native")]
    choice.profiles()
    assert py_spy.pids == []
    assert choice.why == ""


def test_another_process_with_the_same_pid_is_the_first_ones_again(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    choice.follow([target(1)])
    native.refused = {1: UNKNOWN}
    choice.profiles()
    native.refused = {}
    choice.follow([target(1, ticks=2)])
    assert py_spy.pids == []


def test_the_name_is_that_of_the_one_who_samples_most_trainers(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    assert choice.name == "native"
    choice.follow([target(1), *(target(pid, role="worker") for pid in range(2, 9))])
    native.refused = {1: UNKNOWN}
    choice.profiles()
    assert choice.name == "py-spy", "its workers follow in the same turn"
    assert choice.why == f"1 of 8 processes are sampled by py-spy: {UNKNOWN.sentence}"
    native.refused = dict.fromkeys(range(1, 9), UNKNOWN)
    choice.profiles()
    assert choice.why == f"Sampled by py-spy: {UNKNOWN.sentence}"


def test_where_neither_can_the_last_one_says_why(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    choice.follow([target(1)])
    native.refused, py_spy.refused = {1: UNKNOWN}, {1: REFUSED}
    choice.profiles()
    assert choice.troubles() == {1: REFUSED}


def test_one_sampler_alone_keeps_what_it_cannot_read(native: Notebook) -> None:
    choice = FallbackSampler(native, because="Sampled by native (set by --sampler).")
    choice.follow([target(1)])
    native.refused = {1: UNKNOWN}
    choice.profiles()
    assert choice.troubles() == {1: UNKNOWN}
    assert choice.why == "Sampled by native (set by --sampler)."


def test_both_are_hurried_tried_again_and_closed(native: Notebook, py_spy: Notebook) -> None:
    choice = FallbackSampler(native, py_spy)
    choice.hurry(7.0)
    choice.retry()
    choice.close()
    assert native.said == py_spy.said == ["hurry 7", "retry", "close"]


@pytest.mark.parametrize(("wanted", "name"), [(None, "native"), ("native", "native"), ("py-spy", "py-spy")])
def test_a_person_may_name_the_sampler(wanted: str | None, name: str) -> None:
    choice = choose(wanted)
    assert choice.name == name
    assert choice.why == (f"Sampled by {name} (set by --sampler)." if wanted else "")
    choice.close()


def test_without_a_built_sampler_py_spy_samples_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.sampler.native.find_program", lambda: None)
    with sampling(NativeSampler(), PySpy()) as choice, running("busy") as busy:
        choice.follow([real(busy.pid)])
        (first,) = wait_for(lambda: [*choice.profiles()])
        assert (first.sampler, choice.name) == ("py-spy", "py-spy")
        assert choice.why == "Sampled by py-spy: The native sampler was not built on this machine."


def test_a_sampler_that_is_killed_loses_no_target() -> None:
    native = NativeSampler()
    with sampling(native) as choice, running("busy") as busy:
        choice.follow([real(busy.pid)])
        choice.hurry(time.monotonic() + 60)
        wait_for(lambda: [*choice.profiles()])
        assert native.pid
        os.kill(native.pid, signal.SIGKILL)
        begun_ns = time.monotonic_ns()
        wait_for(lambda: [one for one in choice.profiles() if one.start_mono_ns > begun_ns])
        assert choice.troubles() == {}
        assert busy.poll() is None
        assert psutil.Process(busy.pid).status() != psutil.STATUS_STOPPED


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
@pytest.mark.parametrize("sampler", ["native", "py-spy"])
@pytest.mark.parametrize(
    ("dashboard", "process", "sentence", "remedy"),
    [
        (f"--reuid {NOBODY} --clear-groups", "", "it belongs to user root", "run the dashboard as root"),
        (
            f"--reuid {NOBODY} --regid {NOBODY} --clear-groups",
            "import ctypes, os; os.setgroups([]); os.setgid(65534); os.setuid(65534); ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); ",
            "it does not let itself be read (PR_SET_DUMPABLE)",
            refusal.AS_ROOT,
        ),
        (
            "--bounding-set -sys_ptrace --inh-caps -sys_ptrace",
            "",
            "root lacks the capability SYS_PTRACE here",
            "start the dashboard with CAP_SYS_PTRACE",
        ),
    ],
    ids=["another user's", "not dumpable", "no capability"],
)
def test_a_refusal_of_the_kernel_is_told_with_what_lifts_it(
    sampler: str, dashboard: str, process: str, sentence: str, remedy: str
) -> None:
    code = f"{process}print(flush=True); import time; time.sleep(60)"
    with started([sys.executable, "-c", code]) as refused:
        command = [
            sys.executable,
            str(ROOT / "app.py"),
            "profile",
            "--sampler",
            sampler,
            "--pid",
            str(refused.pid),
            "--seconds",
            "1",
        ]
        shown = subprocess.run(["setpriv", *dashboard.split(), *command], capture_output=True, text=True, timeout=60)
    who = {"native": "The native sampler", "py-spy": "py-spy"}[sampler]
    told = shown.stderr.replace(".venv/bin/python app.py", "deepseek-dashboard")  # the command as it was typed
    assert told == f"deepseek-dashboard: {who} may not read process {refused.pid}: {sentence}; {remedy}\n"
    assert (shown.returncode, shown.stdout) == (2, "")


@pytest.mark.parametrize(
    ("scope", "capabilities", "cgroup", "seccomp", "sentence", "remedy"),
    [
        ("1", "0", "/", "0", "ptrace_scope is 1", f"{refusal.LOWER_SCOPE}  # or {refusal.START_BELOW}"),
        ("2", "0", "/", "0", "ptrace_scope is 2", refusal.LOWER_SCOPE),
        ("3", "80000", "/", "0", "ptrace_scope is 3", "set kernel.yama.ptrace_scope = 0 in /etc/sysctl.d and reboot"),
        (
            "1",
            "0",
            "/docker/a",
            "2",
            "ptrace_scope is 1",
            f"{refusal.GRANTS['docker']}  # or on the host: {refusal.LOWER_SCOPE}, or {refusal.START_BELOW}",
        ),
        ("0", "0", "/libpod-a", "2", "lacks the capability SYS_PTRACE", "podman run --cap-add=SYS_PTRACE ..."),
        ("0", "0", "/kubepods/a", "2", "lacks the capability SYS_PTRACE", "capabilities: {add: [SYS_PTRACE]}"),
        (
            "0",
            "80000",
            "/docker/a",
            "2",
            "a seccomp filter of this container",
            "docker run --security-opt seccomp=unconfined ...",
        ),
        ("0", "80000", "/", "0", "the kernel forbids it", "grep Cap /proc/7/status"),
    ],
)
def test_the_rule_of_this_host_is_named(
    tmp_path: Path, scope: str, capabilities: str, cgroup: str, seccomp: str, sentence: str, remedy: str
) -> None:
    files = {
        "sys/kernel/yama/ptrace_scope": scope,
        "self/status": f"Name:\tx\nCapEff:\t{capabilities}\nSeccomp:\t{seccomp}\n",
        "self/cgroup": f"0::{cgroup}\n",
        "1/cgroup": "0::/\n",
        "7/stat": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    trouble = refusal.trouble(7, "py-spy", "Permission denied (os error 13)", tmp_path)
    assert trouble
    assert sentence in trouble.sentence
    assert remedy in trouble.remedy
    assert not trouble.other_may


def test_a_process_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    assert refusal.trouble(7, "py-spy", "No such process (os error 3)", tmp_path) is None


def real(pid: int) -> Target:
    return target(pid, start_ticks(pid) or 0)


@contextmanager
def sampling(first: Sampler, fallback: Sampler | None = None) -> Iterator[FallbackSampler]:
    choice = FallbackSampler(first, fallback)
    try:
        yield choice
    finally:
        choice.close()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine gives no pid namespace to whoever runs the tests",
)
@pytest.mark.parametrize("name", ["native", "py-spy"])
def test_the_threads_of_a_container_have_the_ids_that_they_have_out_here(name: str) -> None:
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, str(HERE / "busy.py")]
    with started(inside) as container, closing(choose(name)) as choice:
        (busy,) = descendants(container.pid)
        choice.follow([real(busy)])
        choice.hurry(time.monotonic() + 60)
        first = wait_for(lambda: [*choice.profiles()])[0]
        leaves = {sample.tid: sample.stack[-1].name for sample in first.samples}
        assert leaves[busy] == "spin"
        assert {*leaves} == threads(busy)


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has written a line."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()
