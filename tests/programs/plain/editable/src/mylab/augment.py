"""What the group does to its images."""

import random
import time

from slowdown import slowed

UNIT_S = 0.05


def jitter(image: list[float]) -> list[float]:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.006 + extra_s
        while time.thread_time() < until_s:
            jittered = [value + random.gauss(0, 0.01) for value in image]
    return jittered
