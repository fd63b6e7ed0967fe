"""Ten callers in turn, each of which calls a callee of its own, `f3 -> g3`, that lasts for as many microseconds as the argument says."""

import sys
import time

PAIR = """
def g{i}(turns):
    for _ in range(turns):
        pass

def f{i}(turns):
    g{i}(turns)
"""


def pairs() -> list:
    scope: dict = {}
    for i in range(10):
        exec(compile(PAIR.format(i=i), f"pair{i}.py", "exec"), scope)
    return [scope[f"f{i}"] for i in range(10)]


def turns_for(call, seconds: float) -> int:
    """How many turns of its loop make a callee last so long."""
    many = 100_000
    begun_s = time.thread_time()
    call(many)
    return max(1, round(seconds / ((time.thread_time() - begun_s) / many)))


def run(calls: list, turns: int) -> None:
    while True:
        for call in calls:
            call(turns)


if __name__ == "__main__":
    calls = pairs()
    turns = turns_for(calls[0], float(sys.argv[1]) / 1e6)
    print("ready", flush=True)
    run(calls, turns)
