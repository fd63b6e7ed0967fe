"""What a session has started ends with it."""

from __future__ import annotations

import subprocess
import sys

from collectors.machine.proc import start_ticks
from tests.conftest import wait_for

KILLED = """
import subprocess, sys, time
from tests.support import leash
leash.fasten()
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep, start_new_session=True, stdout=subprocess.DEVNULL)
further = f"import subprocess, time; print(subprocess.Popen({sleep}, stdout=subprocess.DEVNULL).pid, flush=True); time.sleep(600)"
starter = subprocess.Popen([sys.executable, "-c", further], stdout=subprocess.PIPE, text=True, start_new_session=True)
print(child.pid, starter.pid, starter.stdout.readline(), flush=True)
time.sleep(600)
"""


def test_a_benchmark_that_is_killed_leaves_nothing_running() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        pids = [int(word) for word in benchmark.stdout.readline().split()]
        assert len(pids) == 3 and all(map(start_ticks, pids))
        benchmark.kill()
    wait_for(lambda: not any(map(start_ticks, pids)), because="what it has started goes on")


def test_one_that_ends_by_itself_leaves_nothing_beside_it() -> None:
    code = "from tests.support import leash; leash.fasten(); import subprocess, os; print(*subprocess.run(['pgrep', '-P', str(os.getpid())], capture_output=True, text=True).stdout.split())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert pids
    wait_for(lambda: not any(map(start_ticks, pids)))
