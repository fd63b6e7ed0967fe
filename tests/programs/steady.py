"""A process of three threads that computes for a share of the time, in turns of 20 ms, and waits for the rest.

    python steady.py <percent of a core>

The two other threads wait, as those of a data loader do.
"""

import queue
import sys
import threading
import time

TURN_S = 0.02


def wait_for_work(work: "queue.Queue[int]") -> None:
    while True:
        work.get()


def decode(seconds: float) -> int:
    until_s, turns = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        turns += 1
    return turns


def main(share: float) -> None:
    for _ in range(2):
        threading.Thread(target=wait_for_work, args=(queue.Queue(),), daemon=True).start()
    print("ready", flush=True)
    while True:
        decode(TURN_S * share)
        time.sleep(TURN_S * (1 - share))


if __name__ == "__main__":
    main(float(sys.argv[1]) / 100)
