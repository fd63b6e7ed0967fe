"""The main thread is in `long_part` for 12 ms and in `short_part` for 4 ms, again and again, and prints the share of the first by its own clock at the end."""

import signal
import sys
import time
from types import FrameType

spent_s = {"long_part": 0.0, "short_part": 0.0}


def long_part(until_s: float) -> None:
    while time.perf_counter() < until_s:
        pass


def short_part(until_s: float) -> None:
    while time.perf_counter() < until_s:
        pass


def end(_signal: int, _frame: FrameType | None) -> None:
    print(spent_s["long_part"] / sum(spent_s.values()), flush=True)
    sys.exit()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        for part, seconds in ((long_part, 0.012), (short_part, 0.004)):
            begun_s = time.perf_counter()
            part(begun_s + seconds)
            spent_s[part.__name__] += time.perf_counter() - begun_s
