"""Whatever a test session or a benchmark has started ends with it, also where it is killed: a process beside it waits for that.

python -m tests.support.leash MARK
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from collectors.machine.proc import start_ticks

VARIABLE = "ENDS_WITH"  # in the environment of all that is started: the marks of those with which it ends
ENDS_S = 10.0
ROOT = Path(__file__).parents[2]


def fasten() -> None:
    """From now on; at the end of this process nothing is ended that lives on purpose."""
    mark = f"<{os.getpid()}-{start_ticks(os.getpid())}>"
    os.environ[VARIABLE] = os.environ.get(VARIABLE, "") + mark
    command = [sys.executable, "-m", "tests.support.leash", mark]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment[VARIABLE]
    beside = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    atexit.register(_let_go, beside, os.getpid())


def _let_go(beside: subprocess.Popen[bytes], pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child
        beside.kill()
        beside.wait()


def end_all(mark: str) -> None:
    """Kill what carries the mark, until nothing does: a process may start another one meanwhile."""
    until_s = time.monotonic() + ENDS_S
    while time.monotonic() < until_s:
        pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _carries(path, mark)]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _carries(environ: Path, mark: str) -> bool:
    try:
        words = environ.read_bytes().split(b"\0")
    except OSError:  # gone, a zombie, or another user's
        return False
    return any(word.startswith(f"{VARIABLE}=".encode()) and mark.encode() in word for word in words)


def main(mark: str) -> None:
    parent = int(mark[1:-1].partition("-")[0])
    with suppress(ProcessLookupError):  # it is gone already
        descriptor = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([descriptor], [], [])
    end_all(mark)


if __name__ == "__main__":
    main(sys.argv[1])
