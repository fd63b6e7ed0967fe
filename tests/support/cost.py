"""What work costs beside other work of the same test: a machine that stalls slows both."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable


def times(
    work: Callable[[], object], reference: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> float:
    """How many times as long as the reference the work takes, by the least of five rounds of each, which take turns."""
    least_s = [float("inf"), float("inf")]
    for _ in range(5):
        for place, each in enumerate((work, reference)):
            begun_s = clock()
            each()
            least_s[place] = min(least_s[place], clock() - begun_s)
    return least_s[0] / least_s[1]


def children_cpu_s() -> float:
    """CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
