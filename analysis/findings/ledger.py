"""Findings from the ledger of the last half minute: a cause that takes a large share of the device's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from collectors.message import phrase

from ..ledger.kinds import TimeKind
from ..ledger.shares import KindRow, Ledger
from ..ledger.text import place_of
from .rule import STEPS, CodeLocation, Detection, RunSubject, on_rank

WINDOW_S = 30.0
EVERY_S = 15.0
UNSURE = 2.0  # times the share, where the ledger is not sure
MIN_COVERED = 0.5  # of the window with stacks, and with a counter where there is a GPU
SETTLED_S = 60.0  # after the first step: start, warm-up and compilation are no finding
STANDS_S, STANDS = 60.0, 5.0  # without a step, or so many usual intervals
UNKNOWN_S = 600.0  # after the start of a run whose steps are not known


class TimeShareRule(NamedTuple):
    """A kind of time of the ledger that is a finding above `share` percent of the window, surely (`least`, the range's lower end)."""

    kind: TimeKind
    share: float
    words: str  # a template of `share_pct` and `where`
    advice: str
    of_one: bool = False  # of one function, that does not sleep: rows of many small parts are as they should be


SPENT_ON: Final = {
    "data_stall": TimeShareRule(
        "data",
        10.0,
        "{share_pct:percent} of the time goes to waiting for data{where}",
        "more loader workers, prefetching, or less work per sample would give it back",
    ),
    "launch_bound": TimeShareRule(
        "launch",
        10.0,
        "The GPU is idle for {share_pct:percent} of the time because kernels are not launched fast enough{where}",
        "larger batches, torch.compile or CUDA graphs launch less",
    ),
    "sync_every_step": TimeShareRule(
        "sync",
        5.0,
        "{share_pct:percent} of the time is lost to waiting for the GPU in each step{where}",
        "values read with .item(), .cpu() or print() every step stop the host: read them every hundred steps",
    ),
    "gil_bound": TimeShareRule(
        "gil",
        10.0,
        "The main thread waits for the GIL for {share_pct:percent} of the time{where}",
        "move the Python work of the other thread into a process",
    ),
    "lock_bound": TimeShareRule(
        "lock",
        10.0,
        "The main thread waits for a lock for {share_pct:percent} of the time{where}",
        "see who holds it in the flame graph",
    ),
    "garbage_collection": TimeShareRule(
        "gc",
        3.0,
        "Python's garbage collection takes {share_pct:percent} of the time",
        "gc.freeze() after the start, or gc.disable() with a collection between epochs",
    ),
    "compile_late": TimeShareRule(
        "compile",
        5.0,
        "{share_pct:percent} of the time goes to compiling long after the start{where}",
        "shapes that change compile anew: mark them dynamic, or pad (TORCH_LOGS=recompiles names the cause)",
    ),
    "cpu_taken": TimeShareRule(
        "cpu_taken",
        10.0,
        "Other programs take the cores: the training waits {share_pct:percent} of the time for one",
        "see the host's processes, or ask for cores of its own",
    ),
    "logging": TimeShareRule(
        "log", 5.0, "Logging takes {share_pct:percent} of the time{where}", "log less often, or in a thread"
    ),
    "checkpoint_share": TimeShareRule(
        "checkpoint",
        15.0,
        "The training stands still for {share_pct:percent} of the time while a checkpoint is written{where}",
        "write it in a thread, to a faster disk, or less often",
    ),
    "slow_function": TimeShareRule(
        "python",
        25.0,
        "One function of your own takes {share_pct:percent} of the time in Python{where}",
        "vectorize it, move it to a worker, or call it less often",
        of_one=True,
    ),
    "waiting": TimeShareRule(
        "wait",
        15.0,
        "The training waits for {share_pct:percent} of the time{where}",
        "the flame graph shows what it waits for below that line",
        of_one=True,
    ),
}


def spent(rule: str) -> Callable[[RunSubject], Iterable[Detection]]:
    """The look for a row of it; the ledger of a moment is made once for all rows."""
    return lambda subject: _look(subject, SPENT_ON[rule])


def _look(subject: RunSubject, spent_on: TimeShareRule) -> Iterator[Detection]:
    if not _is_settled(subject):
        return
    for rank in {process.rank for process in subject.processes} or {0}:
        ledger = subject.ledger_of(rank, WINDOW_S)
        if ledger is None or ledger.covered_share < MIN_COVERED:
            continue
        row = next((row for row in ledger.rows if row.kind == spent_on.kind), None)
        if row is not None and spent_on.of_one:
            row = _of_one_function(row, ledger)
        if row is not None and _is_large(row, ledger, spent_on.share):
            yield _held(subject, ledger, row, spent_on)


def _of_one_function(row: KindRow, ledger: Ledger) -> KindRow | None:
    """The row as far as it is the function's that has most of it. A program that sleeps means to."""
    seconds: dict[tuple[str, str], float] = {}
    for place, its_s in ledger.account.given.items():
        if place.kind == row.kind and place.frame is not None and place.joined != "sleep":
            seconds[place.frame[:2]] = seconds.get(place.frame[:2], 0.0) + its_s
    if not seconds or row.seconds <= 0:
        return None
    most = max(seconds, key=lambda function: seconds[function])
    part = min(1.0, seconds[most] / row.seconds)
    lines = [line for line in row.lines if line.place.frame is not None and line.place.frame[:2] == most]
    return row._replace(
        share=part * row.share, seconds=part * row.seconds, least=part * row.least, most=part * row.most, lines=lines
    )


def _is_settled(subject: RunSubject) -> bool:
    """Compiling, filling caches and loading before the first steps are as they should be, however long they take."""
    if any(name == STEPS for name, _ in subject.tracks):
        since_s = subject.stepping_since_s()
        return since_s is not None and subject.now_s - since_s >= SETTLED_S and _steps_on(subject)
    begun_s = subject.begun_s if subject.begun_s is not None else subject.awake_since_s
    return subject.now_s - begun_s >= UNKNOWN_S


def _is_large(row: KindRow, ledger: Ledger, share: float) -> bool:
    """Surely; or by its most likely share, where that is twice as much and no other cause has more.

    Beside a GPU that is never waited for, the range of nearly any cause begins at 0: the host may have been ahead.
    """
    others = max((other.share for other in ledger.rows if other.kind not in ("busy", row.kind)), default=0.0)
    return row.least >= share or (row.share >= UNSURE * share and row.share > others)


def _steps_on(subject: RunSubject) -> bool:
    """Of a run that stands still nothing is said here: it is silent, or it hangs."""
    newest_s = max(
        float(np.nanmax(track.time_s, initial=-np.inf)) for (name, _), track in subject.tracks.items() if name == STEPS
    )
    return subject.now_s - newest_s < max(
        STANDS_S, STANDS * (subject.interval_s(min(subject.ranks(), default=0)) or 0.0)
    )


def _saving(row: KindRow) -> dict[str, float]:
    """What a fix saves, in percent; empty where nothing is predicted."""
    found = row.prediction
    if found is None:
        return {}
    return {
        "saves": round(found.saves, 1),
        "saves_least": round(found.least, 1),
        "saves_most": round(found.most, 1),
    }


def _held(subject: RunSubject, ledger: Ledger, row: KindRow, spent_on: TimeShareRule) -> Detection:
    line = next((line.place for line in row.lines if line.place.frame is not None), None)
    frame = line.frame if line is not None else None
    where = phrase(" ({place})", place=place_of(line)) if line is not None else None
    text = phrase(spent_on.words, share_pct=row.share, where=where)
    return Detection(
        phrase(
            "{text}; {advice}.",
            text=on_rank(text, ledger.rank, range(ledger.ranks)),
            advice=phrase(spent_on.advice),
        ),
        *ledger.window,
        key=str(ledger.rank),
        rank=ledger.rank,
        numbers={
            "share": round(row.share, 1),
            "least": round(row.least, 1),
            "most": round(row.most, 1),
        }
        | _saving(row),
        place=CodeLocation(frame.name, frame.file, frame.line) if frame is not None else None,
    )
