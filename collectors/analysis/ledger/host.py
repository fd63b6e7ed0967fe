"""The ledger where the device is the CPU, or where no counter says how busy the GPU was: the main thread's own time, by what it is at.

There is no queue of launches, so nothing is hidden, and a row is what the thread's samples say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..stacks.traces import Bools, Floats, Ints, Traces
from . import rules
from .account import EMPTY, Account, BlockTimes, CostRange
from .evidence.cores import CoreWaits
from .evidence.stands import Stand
from .kinds import BUSY, KINDS, NUMBER, Charged, TimeKind

AT_WORK: tuple[TimeKind, ...] = ("busy", "python")
STRETCH_S = 5.0  # over which times without a core are compared
ON_CPU = 0.05  # mean share of a core of a stack that computes, however many share it; one with less waits for a disk or a socket


class Host(NamedTuple):
    """Spans of one main thread, with what its step log says of each."""

    main: Traces
    stands: list[Stand]  # of each stack
    logged: Ints  # number of the kind that the step log gives for each span; -1 where it gives none
    collecting: Bools
    gil_s: Floats  # of each span: another thread held the GIL
    is_device: bool  # False: a GPU is, and no counter says how busy it was
    weight: Floats  # of each span, by what its time counts
    core_waits: CoreWaits | None = None
    period_s: float = 0.01  # between two samples


def account_of(host: Host) -> Account:
    seconds = host.main.seconds
    if not len(seconds):
        return EMPTY
    kind = _kinds(host)
    gil_s, coreless_s = _lost(host, kind)
    places, place = _places(host, kind)
    entries = [
        (place, host.weight * (seconds - gil_s - coreless_s)),
        (_other(places, place, "gil"), host.weight * gil_s),
        (_other(places, place, "cpu_taken"), host.weight * coreless_s),
    ]
    numbers, values = np.concatenate([row[0] for row in entries]), np.concatenate([row[1] for row in entries])
    sums = np.bincount(numbers, values, len(places))
    samples = np.bincount(place, minlength=len(places))
    given = {own: s for own, s in zip(places, sums.tolist(), strict=True) if s > 0 and own.kind != BUSY}
    busy_s = sum(s for own, s in zip(places, sums.tolist(), strict=True) if own.kind == BUSY)
    return Account(
        covered_s=float(seconds.sum()),
        busy_s=busy_s,
        given=given,
        bounds=_bounds(given),
        samples={own: float(n) for own, n in zip(places, samples.tolist(), strict=True) if n},
        lanes=(_lane(host, places, numbers, values),),
    )


def _kinds(host: Host) -> Ints:
    """Number of each span's kind: a collection, else what the log says, else what the stack shows."""
    shown = np.array([NUMBER[_shown(stand, host.is_device)] for stand in host.stands], np.int64)[host.main.stack]
    computing = host.is_device & (shown == NUMBER["python"]) & _computing_without_gil(host)
    shown = np.where(computing, NUMBER[BUSY], shown)
    keeps = np.isin(shown, [NUMBER["compile"]])
    kind = np.where((host.logged >= 0) & ~keeps, host.logged, shown)
    return np.where(host.collecting, NUMBER["gc"], kind)


def _shown(stand: Stand, is_device: bool) -> TimeKind:
    if (
        is_device
        and (stand.how == "computes" or stand.how == "waits for the GPU")
        and stand.kind in ("launch", "sync", "validation")
    ):
        return BUSY if stand.kind != "validation" else "validation"
    return stand.kind


def _computing_without_gil(host: Host) -> Bools:
    """At a line that mostly is in a call into C which runs on a core without the GIL, as PyTorch's operators do.

    Python code is on a core only while it holds the GIL, however many threads want it: what has more of a core than of the GIL computes
    without it. Where the kernel does not say who had a core, the others' hold of the GIL has to do.
    """
    main, count = host.main, len(host.main.stacks)
    all_s = np.bincount(main.stack, main.seconds, count)
    free_s = np.bincount(main.stack, np.where(main.gil == 0, main.seconds, 0.0), count)
    held_s = np.bincount(main.stack, np.where(main.gil == 1, main.seconds, 0.0), count)
    waits_s = np.bincount(main.stack, np.minimum(host.gil_s, main.seconds), count)
    known = np.isfinite(main.running)
    core_s = np.bincount(main.stack[known], (np.clip(main.running, 0, 1) * main.seconds)[known], count)
    seen = np.bincount(main.stack[known], main.seconds[known], count) > all_s / 2
    without = np.where(seen, held_s < core_s / 2, waits_s < all_s / 2)
    mostly: Bools = ((free_s > all_s / 2) & without)[main.stack]
    return mostly & (_stack_running(host) > ON_CPU)


def _stack_running(host: Host) -> Floats:
    """Of each span: the mean share of a core that its stack has without the GIL; 1 where unknown."""
    main = host.main
    known = np.isfinite(main.running) & (main.gil == 0)
    count = len(main.stacks)
    on_s = np.bincount(main.stack[known], (np.clip(main.running, 0, 1) * main.seconds)[known], count)
    all_s = np.bincount(main.stack[known], main.seconds[known], count)
    shares: Floats = np.divide(on_s, all_s, out=np.ones(count), where=all_s > 0)[main.stack]
    return shares


def _lost(host: Host, kind: Ints) -> tuple[Floats, Floats]:
    """Of each span of work: seconds without the interpreter's lock, and seconds without a core.

    What a span had of a core, of the GIL, and what the run queue says are each measured to within a sample or a second, so that they are
    compared in sums over some seconds and shared out from there: differences of single spans would add up to a loss where there is none.
    """
    main, seconds = host.main, host.main.seconds
    at_work = np.isin(kind, [NUMBER[own] for own in AT_WORK])
    waits = np.array([stand.how == "waits" for stand in host.stands], bool)[main.stack]
    at_work &= ~waits
    running = np.clip(np.nan_to_num(main.running, nan=1.0), 0, 1)
    sums = _Sums((main.start_s + main.end_s) / 2)
    off_s = np.where(at_work, (1 - running) * seconds, 0.0)
    off_s *= 1 - sums.share(_begun_in_waits(host, waits, at_work), off_s)
    others_s = np.where(at_work, host.gil_s, 0.0)
    runnable = ((main.gil == 1) | (_stack_running(host) > ON_CPU)) & host.is_device
    if host.core_waits is None:
        gil_s = np.where(others_s > 0, off_s * sums.share(others_s, np.where(others_s > 0, off_s, 0.0)), 0.0)
        return gil_s, np.where(runnable, off_s - gil_s, 0.0)
    queued_s = _queued_at_work(host, sums, at_work, running)
    coreless_s = np.where(runnable, off_s * sums.share(queued_s, np.where(runnable, off_s, 0.0)), 0.0)
    left_s = off_s - coreless_s
    gil_s = np.where(others_s > 0, left_s * sums.share(others_s, np.where(others_s > 0, left_s, 0.0)), 0.0)
    return gil_s, coreless_s


class _Sums:
    """Sums over stretches of some seconds, by the place of each span."""

    def __init__(self, moment: Floats) -> None:
        stretch = np.floor(moment / STRETCH_S)
        self.first_s = np.unique(stretch) * STRETCH_S
        self.which: Ints = np.unique(stretch, return_inverse=True)[1]

    def of(self, values: Floats) -> Floats:
        found: Floats = np.bincount(self.which, values, len(self.first_s)).astype(np.float64)
        return found

    def share(self, part: Floats, whole: Floats) -> Floats:
        """Of each span: how much of the whole of its stretch the part is, at most all of it."""
        some, every = self.of(part), self.of(whole)
        shares: Floats = np.minimum(1.0, np.divide(some, every, out=np.zeros(len(every)), where=every > 0))[self.which]
        return shares


def _queued_at_work(host: Host, sums: _Sums, at_work: Bools, running: Floats) -> Floats:
    """Of each span: its part of what its thread waited for a core, which it did for work as for all else that it computed."""
    assert host.core_waits is not None
    on_s = running * host.main.seconds
    waited_s, of_all_s = sums.of(host.core_waits.during(host.main.start_s, host.main.end_s)), sums.of(on_s)
    each = np.divide(waited_s, of_all_s, out=np.zeros(len(of_all_s)), where=of_all_s > 0)[sums.which]
    return np.where(at_work, on_s * each, 0.0)


def _begun_in_waits(host: Host, waits: Bools, at_work: Bools) -> Floats:
    """Of each span that ends a wait before work: the seconds in which the work had begun, on a core.

    A span ends at the first sample of what follows, so that the end of work before a wait is the wait's beginning, and the end of a wait
    the beginning of work. Both are as long on average: what a wait, of one or several stacks, has of a core is the work's, two periods at most.
    """
    running = np.clip(np.nan_to_num(host.main.running, nan=0.0), 0, 1)
    group = np.cumsum(waits & ~np.r_[False, waits[:-1]])
    used_s = np.bincount(group[waits], (running * host.main.seconds)[waits], int(group[-1]) + 1 if len(group) else 1)
    ends = waits & ~np.r_[waits[1:], False] & np.r_[at_work[1:], False]
    return np.where(ends, np.minimum(used_s[group], 2 * host.period_s), 0.0)


def _places(host: Host, kind: Ints) -> tuple[list[Charged], Ints]:
    key = host.main.stack * len(KINDS) + kind
    keys, which = np.unique(key, return_inverse=True)
    numbers: dict[Charged, int] = {}
    found = []
    for row in keys.tolist():
        stand, own = host.stands[row // len(KINDS)], KINDS[row % len(KINDS)]
        found.append(numbers.setdefault(stand.place._replace(kind=own), len(numbers)))
    return list(numbers), np.array(found, np.int64)[which]


def _other(places: list[Charged], place: Ints, kind: TimeKind) -> Ints:
    """The same lines as places of another kind, which are added to the places."""
    numbers = {own: i for i, own in enumerate(places)}
    other = [numbers.setdefault(own._replace(kind=kind), len(numbers)) for own in list(places)]
    places[:] = list(numbers)
    return np.array(other, np.int64)[place]


def _bounds(given: dict[Charged, float]) -> dict[TimeKind, CostRange]:
    sums: dict[TimeKind, float] = {}
    for place, s in given.items():
        sums[place.kind] = sums.get(place.kind, 0.0) + s
    return {kind: CostRange(s, s, s) for kind, s in sums.items()}


def _lane(host: Host, places: list[Charged], numbers: Ints, values: Floats) -> BlockTimes:
    middle = (host.main.start_s + host.main.end_s) / 2
    block = np.floor(middle / rules.BLOCK.value).astype(np.int64)
    starts, which = np.unique(block, return_inverse=True)
    kinds = np.array([NUMBER[own.kind] for own in places], np.int64)
    key = np.tile(which, len(numbers) // len(which)) * len(KINDS) + kinds[numbers]
    seconds = np.bincount(key, values, len(starts) * len(KINDS)).astype(np.float64).reshape(len(starts), len(KINDS))
    start_s = starts.astype(np.float64) * rules.BLOCK.value
    return BlockTimes(start_s, start_s + rules.BLOCK.value, seconds)
