"""A training of training.py beside a collector process with its sampler, and the store that they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from collectors.store.engines import open_store
from collectors.store.store import Store, StoreError

from .load import ROOT
from .planted import RUN, Timing

END_S, LATE_S = 20.0, 20.0
REPLAYED = "FAKE_NVML_TRACE"  # a card of tests/fake_nvml, which does not do what this training does


class Collector:
    """`python -m collector` with all its processes."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        command = [sys.executable, "-m", "collector", "--log-dir", str(folder / "logs"), "--data-dir", str(self.data)]
        environment = {name: value for name, value in os.environ.items() if name != REPLAYED}
        self.process = psutil.Popen(command, cwd=ROOT, env=environment)

    def pause(self, is_paused: bool) -> None:
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if is_paused else signal.SIGCONT)

    def cpu_s(self) -> float:
        """Processor seconds that they have used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._all() if process.is_running())

    def close(self) -> None:
        self.pause(False)
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def collecting(folder: Path) -> Iterator[Collector]:
    (folder / "logs").mkdir()
    collector = Collector(folder)
    try:
        yield collector
    finally:
        collector.close()


@contextmanager
def training(folder: Path, timing: Timing, names: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Once it trains; it writes `result.json` when it ends."""
    numbers = [f"{value:g}" for value in timing]
    command = [
        sys.executable,
        "-m",
        "tests.gpu.training",
        str(folder / "logs"),
        str(folder / "result.json"),
        *numbers,
        *names,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the training ended with code {process.wait()}")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def stored(data: Path) -> Iterator[Store]:
    store = open_store(data, write=False)
    try:
        yield store
    finally:
        store.close()


def wait_for_stacks(data: Path, until_s: float) -> bool:
    """Whether the stacks up to a moment have arrived; gives up after a while."""
    deadline_s = time.monotonic() + LATE_S
    while time.monotonic() < deadline_s:
        with suppress(StoreError, OSError), stored(data) as store:  # it may not be there yet
            if (store.profiled_until(RUN) or 0.0) >= until_s:
                return True
        time.sleep(0.5)
    return False
