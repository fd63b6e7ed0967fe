"""The ledger of a run whose device is the CPU, or whose GPU has no counter: the main thread's own time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from ..stacks.spans import TrustedSpans
from .cores import ALONE, CoreUse, CoreWaits
from .evidence import StackState
from .kinds import BLOCK, BUSY, KINDS, LOOP, NUMBER, REST, SMALL, ChargeTarget, TimeKind
from .prediction import Saving, removal
from .shares import EMPTY, Account, BlockTimes, CostRange

# What a fix saves, where the device is the CPU: all that goes with a row, wherever else the ledger has counted it.
#
# A function's calls into C are computing, and where it was without the GIL or a core, its lines are in the rows of these. Threads and
# processes of the run that a wait is for take cores from its main thread, and from PyTorch's threads, which slows what that computes.
# What is left is faster without the row, too: it finds its data in the caches.

BESIDE: Final[tuple[TimeKind, ...]] = (
    "data",
    "wait",
    "lock",
    "collective",
    "gil",
    "cpu_own",
)  # whose causes are at work beside the main thread
VICTIMS: Final[tuple[TimeKind, ...]] = ("gil", "cpu_own", "cpu_taken")  # their lines lost the time, and did not take it


APART: Final = 2  # periods: a shorter stretch may lie between two samples


class PlaceSeconds(NamedTuple):
    """Seconds of spans, each at a place; a span may have several."""

    places: list[ChargeTarget]
    place: Ints
    seconds: Floats
    seen_s: Floats  # the same as the samples alone have it, without the step log's weights
    span: Ints


class _Unit(NamedTuple):
    """What would go as a whole: a function, of the training loop a line."""

    name: str
    file: str
    line: int


def bounds_of(
    entries: PlaceSeconds, main: TrustedSpans, stands: list[StackState], cores: CoreUse, period_s: float
) -> dict[TimeKind, CostRange]:
    """By kind: nothing is hidden, so that the least and the most are what was counted, by the samples and by the step log, give or take
    what samples miss at the ends of each stretch.
    """
    kind = np.array([NUMBER[place.kind] for place in entries.places], np.int64)[entries.place]
    sums, seen = np.bincount(kind, entries.seconds, len(KINDS)), np.bincount(kind, entries.seen_s, len(KINDS))
    covered_s = float(main.seconds.sum())
    units = _units(main, stands)
    found: dict[TimeKind, CostRange] = {}
    for number in np.flatnonzero(sums > 0).tolist():
        own = KINDS[number]
        gone = kind == number
        if own not in (BUSY, *VICTIMS):
            gone |= _of_same_units(entries, gone, units, main, covered_s)
        gone_s = float(entries.seconds[gone].sum())
        computed_s = float(entries.seconds[(kind == NUMBER[BUSY]) & ~gone].sum())
        surely_s, beside_s = gone_s, 0.0
        if own in BESIDE:
            beside_s += sum(float(entries.seconds[(kind == NUMBER[its]) & ~gone].sum()) for its in ("cpu_own", "gil"))
            beside_s += cores.beside_share * computed_s
        elif own == "cpu_taken":
            beside_s += min(gone_s, cores.others_share * computed_s)
        spans = entries.span[(kind == number) & (entries.seen_s > 0)]
        missed_s = _missed_s(spans, len(main.start_s), period_s)
        found[own] = CostRange(
            max(0.0, float(min(sums[number], seen[number])) - missed_s),
            min(covered_s, float(max(sums[number], seen[number])) + missed_s),
            removal(surely_s, beside_s, covered_s, *_stretches(spans, main, period_s), rest=REST.value),
        )
    return found


def removals_of(entries: PlaceSeconds, main: TrustedSpans, own: Sequence[bool], period_s: float) -> dict[Frame, Saving]:
    """Of each function of own code with a part worth a row, and what it calls; of the training loop, whose function is line 0, each line."""
    covered_s = float(main.seconds.sum())
    loops = _loops(main)
    of_span = np.bincount(entries.span, entries.seconds, len(main.start_s))
    of_stack = np.bincount(main.stack, of_span, len(main.stacks))
    stacks: dict[Frame, set[int]] = {}
    for number in np.flatnonzero(of_stack > 0).tolist():
        for frame in {main.frames[place] for place in main.stacks[number] if own[place]}:
            unit = frame if frame[:2] in loops else frame._replace(line=0)
            stacks.setdefault(unit, set()).add(number)
    found = {}
    for frame, its in stacks.items():
        gone_s = float(of_stack[list(its)].sum())
        if SMALL.value / 100 * covered_s <= gone_s < LOOP.value * covered_s:
            spans = np.flatnonzero(np.isin(main.stack, list(its)))
            found[frame] = removal(gone_s, 0.0, covered_s, *_stretches(spans, main, period_s), rest=REST.value)
    return found


def _stretches(spans: Ints, main: TrustedSpans, period_s: float) -> tuple[int, bool]:
    """How often these spans follow other work, and whether both last longer than samples are apart, so that none is missed."""
    inside = np.zeros(len(main.start_s), bool)
    inside[spans] = True
    count = int(np.count_nonzero(inside & ~np.r_[False, inside[:-1]]))
    its_s, all_s = float(main.seconds[inside].sum()), float(main.seconds.sum())
    return count, min(its_s, all_s - its_s) > APART * period_s * max(count, 1)


def _missed_s(spans: Ints, count: int, period_s: float) -> float:
    """Two standard errors, at most, of what samples say that these spans took together.

    Samples that come at any moment give the length of a stretch to within a period: a standard error of half of one at most. Those of
    stretches that do not depend on each other add up in squares.
    """
    inside = np.zeros(count, bool)
    inside[spans] = True
    stretches = np.count_nonzero(inside & ~np.r_[False, inside[:-1]])
    return period_s * float(np.sqrt(stretches))


def _of_same_units(
    entries: PlaceSeconds, row: Bools, units: list[_Unit | None], main: TrustedSpans, covered_s: float
) -> Bools:
    """Which entries stand in a unit that has a part of the row worth a row of its own."""
    of_stack: dict[_Unit, list[int]] = {}
    for stack, unit in enumerate(units):
        if unit is not None:
            of_stack.setdefault(unit, []).append(stack)
    of_entry = main.stack[entries.span]
    row_s = np.bincount(of_entry[row], entries.seconds[row], len(units))
    large = [stacks for stacks in of_stack.values() if row_s[stacks].sum() > SMALL.value / 100 * covered_s]
    marked = np.zeros(len(units), bool)
    marked[[stack for stacks in large for stack in stacks]] = True
    found: Bools = marked[of_entry]
    return found


def _units(main: TrustedSpans, stands: list[StackState]) -> list[_Unit | None]:
    """Of each stack; None where it waits for others, or in a backward pass, whose line stands for the whole model."""
    loops = _loops(main)
    return [
        _unit(stand, loops)
        if stand.frame is not None and stand.how in ("runs", "computes") and not stand.opaque
        else None
        for stand in stands
    ]


def _unit(stand: StackState, loops: Collection[tuple[str, str]]) -> _Unit:
    assert stand.frame is not None
    name, file, line = stand.frame
    return _Unit(name, file, line if (name, file) in loops else 0)


def _loops(main: TrustedSpans) -> set[tuple[str, str]]:
    """The functions that are on all stacks but those of other parts, such as a log between two steps."""
    seconds = np.bincount(main.stack, main.seconds, len(main.stacks))
    total: dict[tuple[str, str], float] = {}
    for stack, its_s in zip(main.stacks, seconds.tolist(), strict=True):
        if its_s:
            for function in {main.frames[frame][:2] for frame in stack}:
                total[function] = total.get(function, 0.0) + its_s
    return {function for function, its_s in total.items() if its_s >= LOOP.value * float(seconds.sum())}


AT_WORK: tuple[TimeKind, ...] = ("busy", "python")
STRETCH_S = 5.0  # over which times without a core are compared
ON_CPU = 0.05  # mean share of a core of a stack that computes, however many share it
WAITING = 0.2  # of a stack's time that it is off its core, with neither the run queue nor the GIL to explain it: it waits in C


class HostSpans(NamedTuple):
    """Spans of one main thread, with what its step log says of each."""

    main: TrustedSpans
    stands: list[StackState]  # of each stack
    logged: Ints  # number of the kind that the step log gives for each span; -1 where it gives none
    collecting: Bools
    gil_s: Floats  # of each span: another thread held the GIL
    is_device: bool  # False: a GPU is, and no counter says how busy it was
    weight: Floats  # of each span, by what its time counts
    core_waits: CoreWaits | None = None
    period_s: float = 0.01  # between two samples
    ranks: int = 1  # with several, a backward pass and PyTorch's calls may wait for the others
    cores: CoreUse = ALONE
    own: Sequence[bool] = ()  # of each frame: of the user's own code


class LostTime(NamedTuple):
    """Of each span of work, seconds in which it did none."""

    gil_s: Floats  # another thread held the GIL
    coreless_s: Floats  # ready to run, without a core
    waited_s: Floats  # in a call into C that waits


def account_of(host: HostSpans) -> Account:
    seconds = host.main.seconds
    if not len(seconds):
        return EMPTY
    kind = _kinds(host)
    lost = _lost(host, kind)
    own_s = lost.coreless_s * host.cores.own_share
    parts = [
        (kind, seconds - lost.gil_s - lost.coreless_s - lost.waited_s),
        (_all(kind, "gil"), lost.gil_s),
        (_all(kind, "cpu_taken"), lost.coreless_s - own_s),
        (_all(kind, "cpu_own"), own_s),
        (_waits_for(host), lost.waited_s),
    ]
    places, place = _places(host, np.concatenate([kinds for kinds, _ in parts]))
    span = np.tile(np.arange(len(seconds)), len(parts))
    seen_s = np.concatenate([s for _, s in parts])
    entries = PlaceSeconds(places, place, host.weight[span] * seen_s, seen_s, span)
    sums = np.bincount(place, entries.seconds, len(places))
    by_place = {own: s for own, s in zip(places, sums.tolist(), strict=True) if s > 0}
    samples = np.bincount(place[: len(seconds)], minlength=len(places))
    return Account(
        covered_s=float(seconds.sum()),
        busy_s=sum(s for own, s in by_place.items() if own.kind == BUSY),
        given={own: s for own, s in by_place.items() if own.kind != BUSY},
        computed={own: s for own, s in by_place.items() if own.kind == BUSY},
        bounds=bounds_of(entries, host.main, host.stands, host.cores, host.period_s),
        removals=removals_of(entries, host.main, host.own, host.period_s),
        loaded_here_s=sum(s for own, s in by_place.items() if own.kind == "data" and not own.by_others),
        cores=host.cores.seconds,
        samples={own: float(n) for own, n in zip(places, samples.tolist(), strict=True) if n},
        lanes=(_lane(host, entries),),
    )


def _kinds(host: HostSpans) -> Ints:
    """Number of each span's kind: a collection, else what the log says, else what the stack shows."""
    shown = np.array([NUMBER[_shown(stand, host.is_device)] for stand in host.stands], np.int64)[host.main.stack]
    computing = host.is_device & (shown == NUMBER["python"]) & _computing_without_gil(host)
    shown = np.where(computing, NUMBER[BUSY], shown)
    keeps = np.isin(shown, [NUMBER["compile"]])
    kind = np.where((host.logged >= 0) & ~keeps, host.logged, shown)
    return np.where(host.collecting, NUMBER["gc"], kind)


def _shown(stand: StackState, is_device: bool) -> TimeKind:
    if (
        is_device
        and (stand.how == "computes" or stand.how == "waits for the GPU")
        and stand.kind in ("launch", "sync", "validation")
    ):
        return BUSY if stand.kind != "validation" else "validation"
    return stand.kind


def _computing_without_gil(host: HostSpans) -> Bools:
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


def _stack_running(host: HostSpans) -> Floats:
    """Of each span: the mean share of a core that its stack has without the GIL; 1 where unknown."""
    main = host.main
    known = np.isfinite(main.running) & (main.gil == 0)
    count = len(main.stacks)
    on_s = np.bincount(main.stack[known], (np.clip(main.running, 0, 1) * main.seconds)[known], count)
    all_s = np.bincount(main.stack[known], main.seconds[known], count)
    shares: Floats = np.divide(on_s, all_s, out=np.ones(count), where=all_s > 0)[main.stack]
    return shares


def _lost(host: HostSpans, kind: Ints) -> LostTime:
    """Of each span of work: seconds without the interpreter's lock, without a core, and in calls into C that wait.

    What a span had of a core, of the GIL, and what the run queue says are each measured to within a sample or a second, so that they are
    compared in sums over some seconds and shared out from there: differences of single spans would add up to a loss where there is none.
    A thread that is off its core waits for a core only as long as the run queue says, if it says anything: first of all where it is
    seen on one at least now and then, but also where it starves.
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
        coreless_s = np.where(runnable, off_s - gil_s, 0.0)
    else:
        queued_s = _queued_at_work(host, sums, at_work, running)
        coreless_s = np.where(runnable, off_s * sums.share(queued_s, np.where(runnable, off_s, 0.0)), 0.0)
        if host.is_device:
            starved_s = off_s - coreless_s
            coreless_s += starved_s * sums.share_beyond(queued_s, coreless_s, starved_s)
        left_s = off_s - coreless_s
        gil_s = np.where(others_s > 0, left_s * sums.share(others_s, np.where(others_s > 0, left_s, 0.0)), 0.0)
    return LostTime(gil_s, coreless_s, _in_calls_that_wait(host, off_s - coreless_s - gil_s))


def _in_calls_that_wait(host: HostSpans, left_s: Floats) -> Floats:
    """Of each span: what is left of its time off a core, where its stack has so much of that that it waits for something.

    A disk or a socket at a line of Python; with several ranks, also the others, whose gradients a backward pass waits for.
    """
    main, count = host.main, len(host.main.stacks)
    known_s = np.bincount(main.stack, np.where(np.isfinite(main.running), main.seconds, 0.0), count)
    off_s = np.bincount(main.stack, left_s, count)
    may = np.array([stand.how == "runs" or (stand.how == "computes" and host.ranks > 1) for stand in host.stands], bool)
    waits = host.is_device & may & (off_s > WAITING * np.maximum(known_s, 1e-9))
    waited_s: Floats = np.where(waits[main.stack], left_s, 0.0)
    return waited_s


def _waits_for(host: HostSpans) -> Ints:
    """Number of the kind that each span waits for if it does: where PyTorch computes, the other ranks."""
    computes = np.array([stand.how == "computes" for stand in host.stands], bool)[host.main.stack]
    return np.where(computes, NUMBER["collective"], NUMBER["wait"])


def _all(kind: Ints, own: TimeKind) -> Ints:
    return np.full_like(kind, NUMBER[own])


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
        return self._ratio(self.of(part), whole)

    def share_beyond(self, part: Floats, taken: Floats, whole: Floats) -> Floats:
        """The same of what the part has more than was taken."""
        return self._ratio(np.maximum(0.0, self.of(part) - self.of(taken)), whole)

    def _ratio(self, some: Floats, whole: Floats) -> Floats:
        every = self.of(whole)
        shares: Floats = np.minimum(1.0, np.divide(some, every, out=np.zeros(len(every)), where=every > 0))[self.which]
        return shares


def _queued_at_work(host: HostSpans, sums: _Sums, at_work: Bools, running: Floats) -> Floats:
    """Of each span: its part of what its thread waited for a core, which it did for work as for all else that it computed."""
    assert host.core_waits is not None
    on_s = running * host.main.seconds
    waited_s, of_all_s = sums.of(host.core_waits.during(host.main.start_s, host.main.end_s)), sums.of(on_s)
    each = np.divide(waited_s, of_all_s, out=np.zeros(len(of_all_s)), where=of_all_s > 0)[sums.which]
    return np.where(at_work, on_s * each, 0.0)


def _begun_in_waits(host: HostSpans, waits: Bools, at_work: Bools) -> Floats:
    """Of each span that ends a wait before work: the seconds in which the work had begun, on a core.

    A span ends at the first sample of what follows, so that the end of work before a wait is the wait's beginning, and the end of a wait
    the beginning of work. Both are as long on average: what a wait, of one or several stacks, has of a core is the work's, two periods at most.
    """
    running = np.clip(np.nan_to_num(host.main.running, nan=0.0), 0, 1)
    group = np.cumsum(waits & ~np.r_[False, waits[:-1]])
    used_s = np.bincount(group[waits], (running * host.main.seconds)[waits], int(group[-1]) + 1 if len(group) else 1)
    ends = waits & ~np.r_[waits[1:], False] & np.r_[at_work[1:], False]
    return np.where(ends, np.minimum(used_s[group], 2 * host.period_s), 0.0)


def _places(host: HostSpans, kind: Ints) -> tuple[list[ChargeTarget], Ints]:
    """Of each span, once or several times after another, the place that it has with this kind."""
    stack = np.tile(host.main.stack, len(kind) // len(host.main.stack))
    keys, which = np.unique(stack * len(KINDS) + kind, return_inverse=True)
    numbers: dict[ChargeTarget, int] = {}
    found = []
    for row in keys.tolist():
        stand, own = host.stands[row // len(KINDS)], KINDS[row % len(KINDS)]
        found.append(numbers.setdefault(stand.place._replace(kind=own), len(numbers)))
    return list(numbers), np.array(found, np.int64)[which]


def _lane(host: HostSpans, entries: PlaceSeconds) -> BlockTimes:
    middle = (host.main.start_s + host.main.end_s) / 2
    block = np.floor(middle / BLOCK.value).astype(np.int64)
    starts, which = np.unique(block, return_inverse=True)
    kinds = np.array([NUMBER[own.kind] for own in entries.places], np.int64)
    key = which[entries.span] * len(KINDS) + kinds[entries.place]
    seconds = (
        np.bincount(key, entries.seconds, len(starts) * len(KINDS)).astype(np.float64).reshape(len(starts), len(KINDS))
    )
    start_s = starts.astype(np.float64) * BLOCK.value
    return BlockTimes(start_s, start_s + BLOCK.value, seconds)
