"""Again and again 400 calls deep for 8 ms, whose frames Python gives back to the system, then 60 ms of log lines. Prints the share of these at the end."""

import io
import logging
import signal
import sys
import time
from types import FrameType

DEEP = 400
logger = logging.getLogger("lines")
spent_s = {"descend": 0.0, "log_lines": 0.0}


def descend(until_s: float, calls: int = DEEP) -> None:
    if calls:
        descend(until_s, calls - 1)
    while time.perf_counter() < until_s:
        pass


def log_lines(until_s: float) -> None:
    while time.perf_counter() < until_s:
        logger.info("tensor %d: mean %.4f", 7, 0.5)


def end(_signal: int, _frame: FrameType | None) -> None:
    print(spent_s["log_lines"] / sum(spent_s.values()), flush=True)
    sys.exit()


if __name__ == "__main__":
    sys.setrecursionlimit(1000 + DEEP)
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        for part, seconds in ((descend, 0.008), (log_lines, 0.06)):
            begun_s = time.perf_counter()
            part(begun_s + seconds)
            spent_s[part.__name__] += time.perf_counter() - begun_s
            handler.stream.seek(0)
            handler.stream.truncate()
