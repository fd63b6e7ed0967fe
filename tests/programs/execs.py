"""Runs `before` for as many milliseconds as it is told, and then becomes the same program again by exec, as often as it is told.

    python execs.py <times> <milliseconds>

The last one runs `after` until it is killed.
"""

import os
import sys
import time


def before(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pass


def after() -> None:
    while True:
        pass


if __name__ == "__main__":
    times, milliseconds = map(int, sys.argv[1:])
    if os.environ.get("AGAIN") is None:
        print("ready", flush=True)
        os.environ["AGAIN"] = "1"
    if times:
        before(milliseconds / 1000)
        os.execv(sys.executable, [sys.executable, __file__, str(times - 1), str(milliseconds)])
    after()
