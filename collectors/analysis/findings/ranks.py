"""One rank that makes the others wait."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...store.question import TooMuch
from ..ledger.evidence.stands import stands_of
from ..stacks.traces import Floats
from ..stacks.trust import traces_of
from .rule import Held
from .subjects import RunSubject

WINDOW_S, BLOCK_S = 50.0, 2.5
LAST = 0.8  # of the blocks in which one rank waits least
COSTS = 3.0  # percent of the others' time
LEAST_S = 0.5  # of a window with stacks, of each rank


def straggler(subject: RunSubject) -> Iterator[Held]:
    """Who comes last into the collectives waits least in them: the same rank nearly always, and the others for it."""
    if len({process.rank for process in subject.processes}) < 2:
        return
    window = subject.now_s - WINDOW_S, subject.now_s
    try:
        waited, ranks = _waited(subject, window)
    except TooMuch:
        return
    if len(ranks) < 2:
        return
    ordered = np.sort(waited, axis=0)
    clear = ordered[1] - ordered[0] > 0.1 * BLOCK_S * COSTS / 100
    least = np.argmin(waited, axis=0)
    if np.count_nonzero(clear) < LAST * waited.shape[1]:
        return
    counts = np.bincount(least[clear], minlength=len(ranks))
    late = int(np.argmax(counts))
    others = np.delete(waited, late, axis=0)
    cost = 100 * float((np.median(others, axis=0) - waited[late]).clip(0).sum()) / WINDOW_S
    if counts[late] < LAST * waited.shape[1] or cost < COSTS:
        return
    yield Held(
        f"Rank {ranks[late]} comes last into the collectives nearly every time: the other ranks wait {cost:.0f} % of the time for it.",
        *window,
        key=str(ranks[late]),
        rank=ranks[late],
        numbers={"cost": round(cost, 1), "of_blocks": round(100 * float(counts[late]) / waited.shape[1], 0)},
    )


def _waited(subject: RunSubject, window: tuple[float, float]) -> tuple[Floats, list[int]]:
    """`[rank, block]`: seconds in collectives."""
    columns = subject.history.stacks(window)
    traces = traces_of(columns)
    folder = subject.history.folder()
    edges = np.arange(window[0], window[1] + BLOCK_S / 2, BLOCK_S)
    rows, ranks = [], []
    for number, (_, rank, _, role) in enumerate(traces.processes):
        mine = traces.take(traces.main & (traces.process == number)) if role == "main" else None
        if mine is None or not len(mine.start_s) or float(mine.seconds.sum()) < LEAST_S * WINDOW_S:
            continue
        used = np.unique(mine.stack)
        kinds = stands_of(
            mine._replace(stacks=[mine.stacks[i] for i in used.tolist()], trusted=mine.trusted[used]),
            folder,
            lambda file, line: "",
        )
        collective = np.zeros(len(mine.stacks), bool)
        collective[used] = [stand.kind == "collective" for stand in kinds]
        inside = collective[mine.stack]
        block = np.clip(np.searchsorted(edges, mine.start_s, "right") - 1, 0, len(edges) - 2)
        rows.append(np.bincount(block[inside], mine.seconds[inside], len(edges) - 1))
        ranks.append(rank)
    return (np.array(rows) if rows else np.zeros((0, 0))), ranks
