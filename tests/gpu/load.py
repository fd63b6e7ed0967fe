"""What keeps a card at work in a known way, in a process of its own: python -m tests.gpu.load, a load a line on standard input.

`gap 20 3` runs kernels of 20 us with gaps of 20 us for 3 s. The answer is `begin end busy` in Unix seconds and percent:
the share of that time in which a kernel ran, by torch.profiler; `nan` where there is no card. Loads: `idle`, `full`, `copies`, `gap <us>`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
MATRIX = 8192
COPIED_BYTES = 256 << 20
ROUND = 10  # launches
CALIBRATED_CYCLES = 10_000_000


class Loaded(NamedTuple):
    begin_s: float
    end_s: float
    busy_pct: float  # NaN where not known


class Loads:
    """The other end: a process that loads the card."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.gpu.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.has_card = self._answer() == "card"
        self.pid = self._process.pid

    def begin(self, load: str, seconds: float) -> None:
        print(f"{load} {seconds:g}", file=self._process.stdin, flush=True)

    def end(self) -> Loaded:
        """Waits for it."""
        return Loaded(*map(float, self._answer().split()))

    def run(self, load: str, seconds: float) -> Loaded:
        self.begin(load, seconds)
        return self.end()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the load ended with code {self._process.wait()}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def loads() -> Iterator[Loads]:
    found = Loads()
    try:
        yield found
    finally:
        found.close()


def may_have_card(dev: Path = Path("/dev")) -> bool:
    """Without one of these no program can use a card; to ask PyTorch takes two seconds."""
    return (dev / "nvidiactl").exists() or (dev / "dxg").exists()


def main() -> None:
    if not (may_have_card() and has_card()):
        print("none", flush=True)
        for line in sys.stdin:
            begin_s = time.time()
            time.sleep(float(line.split()[-1]))
            print(begin_s, time.time(), "nan", flush=True)
        return
    card = Card()
    print("card", flush=True)
    for line in sys.stdin:
        load, *numbers = line.split()
        print(*card.loaded(load, [float(number) for number in numbers]), flush=True)


def has_card() -> bool:
    """Whether PyTorch is here and sees one."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


class Card:
    """The first card that PyTorch sees."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._matrix = torch.ones(MATRIX, MATRIX, device="cuda", dtype=torch.float16)
        self._host = torch.ones(COPIED_BYTES, dtype=torch.uint8).pin_memory()
        self._there = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
        torch.cuda._sleep(1000)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        torch.cuda._sleep(CALIBRATED_CYCLES)
        end.record()
        torch.cuda.synchronize()
        self._cycles_per_us = CALIBRATED_CYCLES / (begin.elapsed_time(end) * 1e3)
        with profiled():  # the first one takes seconds
            torch.cuda._sleep(1000)

    def loaded(self, load: str, numbers: list[float]) -> Loaded:
        from .kernels import busy_share, kernels_of

        with profiled() as profiler:
            begin_s = time.time()
            until_s = begin_s + numbers[-1]
            if load == "gap":
                self._gaps(numbers[0], until_s)
            elif load == "full":
                self._keep(lambda: self._torch.mm(self._matrix, self._matrix), until_s)
            elif load == "copies":
                self._keep(lambda: self._there.copy_(self._host, non_blocking=True), until_s)
            else:
                time.sleep(numbers[-1])
            self._torch.cuda.synchronize()
            end_s = time.time()
        return Loaded(begin_s, end_s, 100 * busy_share(kernels_of(profiler), begin_s, end_s))

    def _keep(self, launch: Callable[[], object], until_s: float) -> None:
        """Two rounds are queued at any time."""
        before = None
        while time.time() < until_s:
            for _ in range(ROUND):
                launch()
            event = self._torch.cuda.Event()
            event.record()
            if before is not None:
                before.synchronize()
            before = event

    def _gaps(self, gap_us: float, until_s: float) -> None:
        """A kernel as long as the gap, launched on the beat; the queue stays empty as long as a launch is shorter than a beat."""
        cycles, beat_s = int(gap_us * self._cycles_per_us), 2e-6 * gap_us
        sleep, clock = self._torch.cuda._sleep, time.perf_counter
        end_s, next_s = clock() + until_s - time.time(), clock()
        while next_s < end_s:
            sleep(cycles)
            next_s = max(next_s + beat_s, clock())
            while clock() < next_s:
                pass


@contextmanager
def profiled() -> Iterator[Any]:
    """torch.profiler over the card alone."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        yield profiler


if __name__ == "__main__":
    main()
