"""The main thread computes in `spin`, a second one sleeps in `nap`. With the argument `exit`, spins for 1.5 s and ends."""

import sys
import threading
import time


def spin(until: float) -> int:
    turns = 0
    while time.monotonic() < until:
        turns += 1
    return turns


def nap() -> None:
    while True:
        time.sleep(3600)


def main() -> None:
    threading.Thread(target=nap, name="napper", daemon=True).start()
    print("ready", flush=True)
    spin(time.monotonic() + (1.5 if "exit" in sys.argv else 3600))


if __name__ == "__main__":
    main()
