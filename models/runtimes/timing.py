"""How long calls take beside each other: interleaved rounds, wall time and CPU time of each call."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..errors import ModelsError

ROUNDS, ROUND_S = 10, 0.1  # a round gives each about this long
FEWEST_CALLS, MOST_CALLS = 5, 1_000  # of a round
WARM_UP = 2  # calls at the beginning of each turn, not counted: caches, and threads of others that still spin
RESAMPLES = 2_000


class CallTimes(NamedTuple):
    """Milliseconds. `cpu_ms` is of all threads of the process, the mean over all calls; `rounds_ms` has the median of each round."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    calls: int
    rounds_ms: tuple[float, ...]


class TimeRatio(NamedTuple):
    """How many times as long; with its 95 % interval over the rounds."""

    value: float
    lowest: float
    highest: float


def time_in_rounds(
    calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, round_s: float = ROUND_S
) -> dict[str, CallTimes]:
    """Each round calls all of them, in an order of its own, so that a busy moment of the host meets all alike.

    Takes about `rounds * round_s` seconds for each, and at least `rounds * 7` calls.
    """
    if rounds < 1:
        raise ModelsError("nothing is timed in less than one round")
    counts = {name: _calls_in(call, round_s) for name, call in calls.items()}
    wall_ms: dict[str, list[list[float]]] = {name: [] for name in calls}
    cpu_ms = dict.fromkeys(calls, 0.0)
    chance = random.Random(0)
    for _ in range(rounds):
        order = list(calls)
        chance.shuffle(order)
        for name in order:
            taken, cpu = _turn(calls[name], counts[name])
            wall_ms[name].append(taken)
            cpu_ms[name] += cpu
    return {name: _times(wall_ms[name], cpu_ms[name]) for name in calls}


def ratio(slower: CallTimes, faster: CallTimes) -> TimeRatio:
    """Median over the rounds of one's median by the other's; the interval by drawing rounds anew."""
    pairs = [one / other for one, other in zip(slower.rounds_ms, faster.rounds_ms, strict=True)]
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return TimeRatio(statistics.median(pairs), medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1])


def quantile(values: list[float], share: float) -> float:
    """The least value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _calls_in(call: Callable[[], object], round_s: float) -> int:
    call()
    begun = time.perf_counter()
    call()
    return max(FEWEST_CALLS, min(MOST_CALLS, int(round_s / max(time.perf_counter() - begun, 1e-7))))


def _turn(call: Callable[[], object], count: int) -> tuple[list[float], float]:
    for _ in range(WARM_UP):
        call()
    taken = []
    cpu_before_s = time.process_time()
    for _ in range(count):
        begun_ns = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - begun_ns) / 1e6)
    return taken, (time.process_time() - cpu_before_s) * 1e3


def _times(rounds_ms: list[list[float]], cpu_ms: float) -> CallTimes:
    every = [value for values in rounds_ms for value in values]
    medians = tuple(statistics.median(values) for values in rounds_ms)
    return CallTimes(statistics.median(every), quantile(every, 0.99), cpu_ms / len(every), len(every), medians)
