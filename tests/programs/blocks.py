"""Does the same piece of pure Python work again and again, and tells after each what it took.

<monotonic seconds at its end> <wall seconds> <CPU seconds>
"""

import time

TURNS = 60


def inner(turns: int) -> int:
    total = 0
    for turn in range(turns):
        total += turn & 3
    return total


def block() -> int:
    return sum(inner(6_000) for _ in range(TURNS))


if __name__ == "__main__":
    print("ready", flush=True)
    while True:
        wall_s, cpu_s = time.monotonic(), time.process_time()
        block()
        now_s = time.monotonic()
        print(f"{now_s} {now_s - wall_s} {time.process_time() - cpu_s}", flush=True)
