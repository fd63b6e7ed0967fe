"""Small targets for the profiler, each a script that prints `ready` when its steady state begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def running(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`with running("busy") as target:` starts `busy.py`, waits until it is ready, and kills it with its children at the end."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, process_group=0) as target:
        try:
            assert target.stdout is not None
            assert target.stdout.readline() == "ready\n", f"{name}.py did not start"
            yield target
        finally:
            with suppress(ProcessLookupError):  # the test has ended it, and it left no child
                os.killpg(target.pid, signal.SIGKILL)
