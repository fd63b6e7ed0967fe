"""Who may attach to a process that logs: under ptrace_scope 1 nobody but its ancestors, unless it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import script

ALLOW = """
import ctypes, os, sys
from deepseek.log import RunLog
class Kernel:
    def __init__(self, name): pass
    def prctl(self, option, value, *rest): print(os.getpid(), hex(option), hex(value.value), *rest, flush=True)
ctypes.CDLL = Kernel
for name in "ab":
    RunLog(sys.argv[1], name, allow_profiling=ALLOWED)
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
print(os.getpid(), child)
"""


def test_profiling_is_allowed_where_asked_for_and_in_forked_children(tmp_path: Path) -> None:
    with script(ALLOW.replace("ALLOWED", "True"), str(tmp_path)) as process:
        *calls, pids = process.communicate(timeout=60)[0].splitlines()
    parent, child = pids.split()
    asked = "0x59616d61 0xffffffffffffffff 0 0 0"  # PR_SET_PTRACER, PR_SET_PTRACER_ANY
    assert calls == [f"{parent} {asked}", f"{child} {asked}"]


def test_profiling_is_not_allowed_where_nobody_asked(tmp_path: Path) -> None:
    with script(ALLOW.replace("ALLOWED", "False"), str(tmp_path)) as process:
        assert len(process.communicate(timeout=60)[0].splitlines()) == 1


SLEEP = """
import sys, time
from deepseek.log import RunLog
RunLog(sys.argv[1], "run", allow_profiling=ALLOWED)
print("ready", flush=True)
time.sleep(60)
"""

PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


@pytest.mark.skipif(os.geteuid() == 0, reason="root attaches to everything")
@pytest.mark.skipif(not PTRACE_SCOPE.exists() or PTRACE_SCOPE.read_text().strip() != "1", reason="needs ptrace_scope 1")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_process_that_is_no_ancestor_attaches_only_where_it_was_allowed(tmp_path: Path, allowed: bool) -> None:
    with script(SLEEP.replace("ALLOWED", str(allowed)), str(tmp_path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        attach = f"open('/proc/{process.pid}/mem', 'rb')"  # the kernel asks what it asks of ptrace
        assert (subprocess.run([sys.executable, "-c", attach], check=False).returncode == 0) == allowed
