"""Start scripts and wait for what they do, with the standard library alone: RunLog's tests run on Pythons that have little else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
pauses: list[Callable[[float], object]] = [time.sleep]
"""How `wait_for` passes the time between two questions, in seconds: by the last of them."""


def wait_for(what: Callable[[], T], timeout_s: float = 60.0, because: str = "") -> T:
    """The first true answer; asks again until then. Fails with the last answer."""
    begun_s = time.monotonic()
    while not (answer := what()):
        waited_s = time.monotonic() - begun_s
        assert waited_s < timeout_s, f"{because or 'not so'} after {timeout_s:g} s: {answer!r}"
        pauses[-1](min(0.15, max(0.05, waited_s / 20)))  # who asks a page or a server costs both
    return answer


@contextmanager
def script(code: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python script that may import RunLog and the trainer; killed in the end."""
    everything = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'deepseek-log'}", **environment}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, env=everything, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
