"""What a living run is at, besides its steps: by its newest event, its lines and where its ranks' main threads stand, and whether anything moves."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ...process.activity import last_sign_s
from ...records import Frame
from ...store.protocol import StackColumns
from ...store.question import TooMuch
from ..ledger.evidence.stands import Stand, stands_of
from ..stacks.last import LastStack, last_stacks
from ..stacks.owning import file_name
from ..stacks.traces import Range, Traces
from ..stacks.trust import LineOf, no_source, traces_of
from ..stacks.waits import Wait, wait_at, wait_of, waiting
from .subjects import RunSubject

Standing: TypeAlias = Literal["starting", "compiling", "validating", "checkpointing", "idle", "silent", "hung"]
STILL_S = 60.0  # of stacks, at most, that say where a rank stands
PAUSE_S, PAUSES = 5.0, 3.0  # without a line, or so many usual intervals: what it is at is looked up
STARTS_WITHIN_S = 1800.0  # a script that has made no step for longer may make none at all
AT_WORK: dict[str, Standing] = {"compile": "compiling", "validation": "validating", "checkpoint": "checkpointing"}

LEAST_SHARE = 0.9  # of the time, in which a thread has to be seen at one place
MOST_STACKS, MOST_FRAMES = 64, 60


class Doing(NamedTuple):
    """Since when, Unix seconds: its last line, or the start of its newest attempt."""

    word: Standing
    since_s: float


def doing_of(subject: RunSubject, holding: Collection[str]) -> Doing | None:
    """None while it makes steps, where nothing says what it is at, and of a run that is over. `holding` are the rules that hold of it."""
    silent_s = silent_for_s(subject)
    if silent_s is None or subject.state is None or subject.activity is None:
        return None
    since_s = subject.now_s - silent_s
    if "hung" in holding:
        return Doing("hung", since_s)
    begun_s = _waits_for_first_step(subject)
    usual_s = subject.interval_s() or subject.activity.median_interval_s or 0.0
    if begun_s is None and silent_s <= max(PAUSE_S, PAUSES * usual_s):
        return None
    word = word_by_stacks(subject, (max(subject.now_s - STILL_S, since_s), subject.now_s))
    works = word is not None and word in AT_WORK.values()
    if begun_s is not None:
        return Doing(word if word is not None and works else "starting", begun_s)
    return Doing(word or "silent", since_s) if works or subject.state.state == "stalled" else None


def _waits_for_first_step(subject: RunSubject) -> float | None:
    """When its newest attempt began, where that has said so itself, is young and has made no step."""
    begun_s = max((event.time_s for event in subject.of_kind("start")), default=None)
    if begun_s is None or not 0 <= subject.now_s - begun_s < STARTS_WITHIN_S:
        return None
    stepped = any(float(track.time_s[-1]) >= begun_s for _, _, track in subject.named(lambda name: name == "steps"))
    return None if stepped else begun_s


def standing_word(subject: RunSubject) -> Standing:
    """What a run that says nothing is at."""
    if last_step(subject) is None:
        return "starting"
    return word_by_stacks(subject, (subject.now_s - STILL_S, subject.now_s)) or "silent"


def word_by_stacks(subject: RunSubject, window: Range) -> Standing | None:
    """By where most of the window was spent; None where the stacks show none of it."""
    try:
        ranks = standing_of(subject.history.stacks(window), subject.history.folder(), subject.line_of)
    except TooMuch:
        return None
    kinds = {rank.stand.kind for rank in ranks}
    at_work = next((word for kind, word in AT_WORK.items() if kind in kinds), None)
    if at_work is not None:
        return at_work
    asleep = [rank for rank in ranks if rank.wait is not None and rank.wait.joined in ("", "sleep")]
    return "idle" if ranks and len(asleep) == len(ranks) else None


def silent_for_s(subject: RunSubject) -> float | None:
    """Since its last sign; None for a run that has ended or of which no process is known."""
    if subject.activity is None or subject.state is None:
        return None
    if subject.state.state not in ("running", "stalled") or not subject.processes:
        return None
    sign_s = last_sign_s(subject.activity, subject.now_s)
    return subject.now_s - sign_s if sign_s else None


def last_step(subject: RunSubject) -> int | None:
    """Also where it was made before the points that are at hand: a collector that starts again looks back for half an hour only."""
    newest = [track.last() for (name, _), track in subject.tracks.items() if name == "steps" and len(track)]
    known = [step for step in newest if step is not None and math.isfinite(step)]
    return int(max(known)) if known else subject.history.last_step


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
    stand = stands_of(
        mine._replace(stacks=[mine.stacks[most]], trusted=mine.trusted[most : most + 1]), own_folder, line_of
    )[0]
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
