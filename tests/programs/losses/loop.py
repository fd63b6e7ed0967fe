"""A training loop that goes on from healthy to one kind of loss and back, and logs the truth. Each file beside this one plants a loss.

    python slow_decode.py <checkout> <log folder> <run> <seconds healthy> <seconds at a loss> <rank> <ranks>

When it is ready it says so, reads from its standard input when to begin (CLOCK_MONOTONIC), and is healthy first. `truth/lost_s` is
what the planted code took from a step by the target's own clock, `truth/lossy` whether it was meant to.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

CHECKOUT, LOG_DIR, RUN = sys.argv[1:4]
HEALTHY_S, LOSSY_S = map(float, sys.argv[4:6])
RANK, RANKS = map(int, sys.argv[6:8])
sys.path.append(CHECKOUT)  # last: the programs' own names come first

from deepseek.log import RunLog  # noqa: E402

begun_s = 0.0


def begin() -> None:
    """To be called when all is imported, and before other processes are forked."""
    global begun_s
    print("ready", flush=True)
    begun_s = float(sys.stdin.readline())


def lossy() -> bool:
    """Whether the loss is on: the same in every process, whenever it asks."""
    since_s = time.monotonic() - begun_s
    return since_s > 0 and since_s % (HEALTHY_S + LOSSY_S) >= HEALTHY_S


class Clock:
    """Adds up the seconds of a step's parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        self.seconds[f"phase/{name}_s"] = self.seconds.get(f"phase/{name}_s", 0.0) + time.perf_counter() - begun_s

    @contextmanager
    def lost(self) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        self.seconds["truth/lost_s"] = self.seconds.get("truth/lost_s", 0.0) + time.perf_counter() - begun_s

    def take(self) -> dict[str, float]:
        seconds, self.seconds = self.seconds, {}
        return seconds


class Step(NamedTuple):
    number: int
    lossy: bool
    clock: Clock
    log: RunLog


def train(one_step: Callable[[Step], None]) -> None:
    """Until it is killed."""
    if not begun_s:
        begin()
    clock = Clock()
    with RunLog(LOG_DIR, RUN, rank=RANK, world_size=RANKS) as log:
        number = 0
        while True:
            step = Step(number, lossy(), clock, log)
            one_step(step)
            log.scalars(number, {"truth/lossy": step.lossy, **clock.take()})
            number += 1
