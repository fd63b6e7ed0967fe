"""Threads of many kinds, each of which writes down every stack that it can have, and then runs.

    python kinds.py <truth.json> <churn.log>

Each kind is first run under a trace function that sees every instruction; what it saw goes to the first file, by the thread's
name: lists of [function, line] from the kind's own function inwards, frames of this file only, equal neighbours once. Under "makers"
stands what no trace function sees: where generators and coroutines stand while they are made. The thread
that makes and drops functions all the time writes to the second file: `<number> <begin> <end>`, CLOCK_MONOTONIC nanoseconds.
"""

import asyncio
import inspect
import itertools
import json
import re
import sys
import threading
import time
from pathlib import Path

DEEP, SHALLOW = 991, 5
BLANK_LINES = 50
numbers = itertools.count()
churn_log = None  # a text file


def burn(turns: int) -> int:
    total = 0
    for turn in range(turns):
        total += turn
    return total


# plain


def plain(rounds: int) -> None:
    for _ in range(rounds):
        outer(3)


def outer(turns: int) -> None:
    for turn in range(turns):
        if turn % 2:
            left(turn)
        else:
            right(turn)


def left(turn: int) -> None:
    burn(
        20 + turn,
    )


def right(turn: int) -> None:
    burn(30)
    burn(10 + turn)


# asyncio


def event_loop(rounds: int) -> None:
    asyncio.run(tasks(rounds))


async def tasks(rounds: int) -> None:
    await asyncio.gather(*(first_task(rounds) for _ in range(2)), second_task(rounds))


async def first_task(rounds: int) -> None:
    for _ in range(rounds):
        await fetch(30)


async def second_task(rounds: int) -> None:
    for _ in range(rounds):
        burn(10)
        await fetch(20)


async def fetch(turns: int) -> None:
    burn(turns)
    await asyncio.sleep(0)
    burn(turns)


# generators


def generators(rounds: int) -> None:
    for _ in range(rounds):
        for value in delegating(4):
            burn(value)


def delegating(count: int):
    yield from counting(count)
    yield from (burn(value) for value in counting(count))


def counting(count: int):
    for value in range(count):
        burn(5)
        yield value


# Python called from C


def from_c(rounds: int) -> None:
    for _ in range(rounds):
        sorted([3, 1, 2], key=sort_key)
        re.sub("a", replacement, "banana")
        list(map(mapped, [1, 2]))
        max(Compared(1), Compared(2))


def sort_key(value: int) -> int:
    return burn(10 + value)


def replacement(match) -> str:
    burn(10)
    return "o"


def mapped(value: int) -> int:
    return burn(value)


class Compared:
    def __init__(self, value: int) -> None:
        self.value = value

    def __gt__(self, other: "Compared") -> bool:
        burn(10)
        return self.value > other.value


# recursion


def recursion(rounds: int, deep: int = DEEP) -> None:
    for _ in range(rounds):
        dive(deep)


def dive(left: int) -> None:
    if left > 1:
        dive(left - 1)
    else:
        burn(20_000)


# waiting


def waiting(rounds: int) -> None:
    for _ in range(rounds):
        time.sleep(0.002)
        threading.Event().wait(0.001)


# short threads


def short(rounds: int) -> None:
    for _ in range(rounds):
        thread = threading.Thread(target=brief, name="brief")
        thread.start()
        thread.join()


def brief() -> None:
    burn(20_000)


# churn


def churn(rounds: int) -> None:
    for _ in range(rounds):
        number = next(numbers)
        scope: dict = {}
        exec(compile(churned_source(number), f"churned_{number}.py", "exec"), scope)
        begun_ns = time.monotonic_ns()
        scope[f"churned_{number}"](20_000)
        churn_log.write(f"{number} {begun_ns} {time.monotonic_ns()}\n")


def churned_source(number: int) -> str:
    return (
        f"def churned_{number}(turns):\n" + "\n" * (number % BLANK_LINES) + "    for _ in range(turns):\n        pass\n"
    )


KINDS = [plain, event_loop, generators, from_c, recursion, waiting, short, churn]


class Witness:
    """A trace function that remembers every stack of one thread, as seen at each instruction."""

    def __init__(self) -> None:
        self.stacks: set = set()

    def __call__(self, frame, event: str, argument: object):
        if frame.f_code.co_filename != __file__:
            return None
        frame.f_trace_opcodes = True
        stack = own_frames(frame)
        self.stacks.add(stack)
        self.stacks.add(
            (*stack[:-1], (frame.f_code.co_qualname, frame.f_code.co_firstlineno))
        )  # before its first instruction
        return self


def own_frames(frame) -> tuple:
    """From the kind's function inwards."""
    frames: list = []
    while frame:
        if frame.f_code.co_filename == __file__:
            entry = (frame.f_code.co_qualname, frame.f_lineno or frame.f_code.co_firstlineno)
            if not frames or frames[-1] != entry:
                frames.append(entry)
            if frame.f_code in OUTERMOST:
                break
        frame = frame.f_back
    return tuple(reversed(frames))


OUTERMOST = {kind.__code__ for kind in [*KINDS, brief]}


def witnessed(kind) -> list:
    witness = Witness()
    threading.settrace(witness)
    sys.settrace(witness)
    kind(3, SHALLOW) if kind is recursion else kind(3)
    sys.settrace(None)
    threading.settrace(None)
    return [[list(entry) for entry in stack] for stack in witness.stacks]


def codes() -> list:
    """Of all functions of this file, also of those inside others."""
    waiting = [value.__code__ for value in globals().values() if hasattr(value, "__code__")]
    found: list = []
    while waiting:
        found.append(waiting.pop())
        waiting += [constant for constant in found[-1].co_consts if hasattr(constant, "co_consts")]
    return found


def makers() -> list:
    paused = inspect.CO_GENERATOR | inspect.CO_COROUTINE
    return [[code.co_qualname, code.co_firstlineno] for code in codes() if code.co_flags & paused]


def forever(kind) -> None:
    while True:
        kind(10)


def main() -> None:
    global churn_log
    sys.setrecursionlimit(2 * DEEP)
    churn_log = Path(sys.argv[2]).open("w", buffering=1)  # noqa: SIM115
    stacks = {kind.__name__: witnessed(kind) for kind in KINDS}
    Path(sys.argv[1]).write_text(json.dumps({**stacks, "makers": makers()}))
    sys.setswitchinterval(0.0005)
    for kind in KINDS:
        threading.Thread(target=forever, args=(kind,), name=kind.__name__, daemon=True).start()
    print("ready", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
