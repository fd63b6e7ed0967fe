"""Does the same piece of pure Python work, of about 10 ms, again and again; when it is ended by SIGTERM it tells of each what it took.

<CLOCK_MONOTONIC at its end> <wall time> <CPU time of the thread>, all in nanoseconds
"""

import signal
import sys
import time

TURNS = 30


def inner(turns: int) -> int:
    total = 0
    for turn in range(turns):
        total += turn & 3
    return total


def block() -> int:
    return sum(inner(6_000) for _ in range(TURNS))


def end(number: int, frame: object) -> None:
    sys.exit()


if __name__ == "__main__":
    taken: list = []
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    try:
        while True:
            wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
            block()
            cpu_ns, now_ns = time.thread_time_ns() - cpu_ns, time.perf_counter_ns()
            taken.append((now_ns, now_ns - wall_ns, cpu_ns))
    finally:
        print(*(f"{now_ns} {wall_ns} {cpu_ns}" for now_ns, wall_ns, cpu_ns in taken), sep="\n")
