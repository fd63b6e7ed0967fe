"""Where each thread of a run was last: of a program that crashed, what it was doing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...records import Frame
from ...store.protocol import Process, StackColumns

MOST_THREADS = 100


class LastStack(NamedTuple):
    """A thread's last stack, from the root to the leaf, and until when it was seen there."""

    process: Process
    tid: int
    thread: str
    until_s: float
    frames: list[Frame]


def last_stacks(columns: StackColumns) -> list[LastStack]:
    """One a thread, main processes and the threads with the most frames first: at most a hundred."""
    ends = columns.time_s + columns.duration_s
    newest: dict[tuple[int, int], int] = {}
    for place in np.argsort(ends, kind="stable").tolist():
        newest[int(columns.process[place]), int(columns.tid[place])] = place
    found = []
    for (number, tid), place in newest.items():
        process = columns.processes[number]
        frames = [columns.frames[i] for i in columns.stacks[columns.stack[place]]]
        name = columns.threads.get((process.pid, tid), "")
        found.append(LastStack(process, tid, name, float(ends[place]), frames))
    found.sort(
        key=lambda last: (
            last.process.role != "main",
            last.process.rank,
            last.tid != last.process.pid,
            -len(last.frames),
        )
    )
    return found[:MOST_THREADS]
