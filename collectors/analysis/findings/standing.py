"""Where the main threads of a run's ranks stand now, and whether anything moves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...records import Frame
from ...store.protocol import StackColumns
from ..ledger.evidence.stands import Stand, stands_of
from ..stacks.last import LastStack, last_stacks
from ..stacks.owning import file_name
from ..stacks.traces import Traces
from ..stacks.trust import LineOf, no_source, traces_of
from ..stacks.waits import Wait, wait_at, wait_of, waiting

LEAST_SHARE = 0.9  # of the time, in which a thread has to be seen at one place
MOST_STACKS, MOST_FRAMES = 64, 60


class RankStanding(NamedTuple):
    """One rank's main thread over a window."""

    rank: int
    pid: int
    stand: Stand
    wait: Wait | None
    frames: list[Frame]  # from the root to the leaf
    still: bool  # one place for nearly all of the time
    seconds: float  # of stacks

    @property
    def in_collective(self) -> bool:
        return self.stand.kind == "collective" or (self.wait is not None and self.wait.joined == "ranks")

    @property
    def where(self) -> str:
        """`train.py:88 load`."""
        frame = self.stand.frame or (self.frames[-1] if self.frames else None)
        return f"{file_name(frame.file)}:{frame.line} {frame.name.rpartition('.')[2]}" if frame else "an unknown place"


def standing_of(columns: StackColumns, own_folder: str, line_of: LineOf = no_source) -> list[RankStanding]:
    """By rank; the place is that in which most of the time was spent."""
    traces = traces_of(columns, line_of)
    found = []
    for number, (_, rank, pid, role) in enumerate(traces.processes):
        if role != "main":
            continue
        mine = traces.take(traces.main & (traces.process == number))
        if len(mine.start_s):
            found.append(_standing(mine, rank, pid, own_folder, line_of))
    return sorted(found, key=lambda standing: (standing.rank, standing.pid))


def _standing(mine: Traces, rank: int, pid: int, own_folder: str, line_of: LineOf) -> RankStanding:
    seconds = np.bincount(mine.stack, mine.seconds, len(mine.stacks))
    most = int(np.argmax(seconds))
    stand = stands_of(mine._replace(stacks=[mine.stacks[most]], trusted=mine.trusted[most : most + 1]), own_folder, line_of)[0]
    frames = [mine.frames[i] for i in mine.stacks[most]]
    waits = [wait_of(frame) for frame in frames]
    known = waiting(waits)
    wait = known.wait if known else (wait_at(line_of(frames[-1].file, frames[-1].line)) if frames else None)
    total_s = float(seconds.sum())
    return RankStanding(rank, pid, stand, wait, frames, float(seconds[most]) >= LEAST_SHARE * total_s, total_s)


def stacks_as_json(columns: StackColumns) -> list[dict[str, object]]:
    """The last stack of each thread of each rank, for a finding's fields."""
    return [_as_json(last) for last in last_stacks(columns)[:MOST_STACKS]]


def _as_json(last: LastStack) -> dict[str, object]:
    frames = last.frames[-MOST_FRAMES:]
    return {
        "rank": last.process.rank,
        "pid": last.process.pid,
        "role": last.process.role,
        "thread": last.thread,
        "frames": [[frame.name, frame.file, frame.line] for frame in frames],
    }
