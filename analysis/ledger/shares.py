"""Shares of a window by place: seconds that add up to its length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from collectors.arrays import Floats
from collectors.message import Message, phrase
from collectors.queue_events import PLACED
from collectors.records import Event, Frame, Searched

from ..stacks.frames import are_own, file_name
from ..stacks.spans import Interval
from ..traces.steps import KERNEL_KINDS, CardSummary, KernelKind, LateLaunch, StepTrace, TracedKernel
from . import kinds
from .device import Signal
from .kinds import BUSY, KINDS, NUMBER, ChargeTarget, TimeKind
from .prediction import (
    NORMAL,
    PACE,
    UNPREDICTED,
    CoreSeconds,
    Fix,
    Prediction,
    Saving,
    limit_of_overlap,
    overlap,
    prediction_of,
    remains,
)

Key = TypeVar("Key")
MAX_PLACES = 40


class CostRange(NamedTuple):
    """Of one kind, in seconds: what it surely cost, what it may have cost, and what a loop without it saves."""

    least_s: float = 0.0
    most_s: float = 0.0
    saves: Saving = Saving()

    def plus(self, other: CostRange) -> CostRange:
        return CostRange(self.least_s + other.least_s, self.most_s + other.most_s, self.saves.plus(other.saves))


class BlockTimes(NamedTuple):
    """The same over time: one row a block."""

    start_s: Floats
    end_s: Floats
    seconds: Floats  # `[block, kind]`, kinds in the order of KINDS


class Account(NamedTuple):
    """Launches that were late because the host had waited for the device are still launches here: `shares.py` moves them."""

    covered_s: float = 0.0  # with a counter and with stacks
    busy_s: float = 0.0
    given: Mapping[ChargeTarget, float] = {}  # idle seconds
    computed: Mapping[ChargeTarget, float] = {}  # busy seconds by line, where the device is the CPU
    bounds: Mapping[TimeKind, CostRange] = {}
    waited: Mapping[ChargeTarget, float] = {}  # seconds in which the host waited for the device
    waited_saves_s: float = 0.0  # of the idle time, no more than was waited in its block
    exposed: Mapping[
        tuple[ChargeTarget, ChargeTarget], float
    ] = {}  # of what was given to a place: made visible by this wait for the device
    samples: Mapping[ChargeTarget, float] = {}
    blocks: int = 0
    paced: int = 0  # blocks in which the main thread waited for workers
    lanes: tuple[BlockTimes, ...] = ()
    removals: Mapping[Frame, Saving] = {}  # of functions of own code, with line 0, and of lines of the training loop
    loaded_here_s: float = 0.0  # of waiting for data, in the main thread itself
    cores: CoreSeconds = CoreSeconds()
    sent_least_s: float = 0.0  # of the busy time, probably communication: surely, and at most
    sent_most_s: float = 0.0


EMPTY = Account()


def summed(accounts: Iterable[Account]) -> Account:
    """Of stretches that follow each other."""
    parts = list(accounts)
    return Account(
        covered_s=sum(part.covered_s for part in parts),
        busy_s=sum(part.busy_s for part in parts),
        given=_added(part.given for part in parts),
        computed=_added(part.computed for part in parts),
        bounds=_bounds(part.bounds for part in parts),
        waited=_added(part.waited for part in parts),
        waited_saves_s=sum(part.waited_saves_s for part in parts),
        exposed=_added(part.exposed for part in parts),
        samples=_added(part.samples for part in parts),
        blocks=sum(part.blocks for part in parts),
        paced=sum(part.paced for part in parts),
        lanes=tuple(lane for part in parts for lane in part.lanes),
        removals=_savings(part.removals for part in parts),
        loaded_here_s=sum(part.loaded_here_s for part in parts),
        cores=reduce(CoreSeconds.plus, (part.cores for part in parts), CoreSeconds()),
        sent_least_s=sum(part.sent_least_s for part in parts),
        sent_most_s=sum(part.sent_most_s for part in parts),
    )


def compacted(account: Account, most: int = MAX_PLACES) -> Account:
    """With the dearest lines alone; what the others took is charged to their kinds without a line."""
    if len(account.given) <= most and len(account.computed) <= most:
        return account
    dearest = {
        place
        for costs in (account.given, account.computed)
        for place in sorted(costs, key=lambda its: -costs[its])[:most]
    }

    def few(values: Mapping[ChargeTarget, float]) -> dict[ChargeTarget, float]:
        named = [(place if place in dearest else ChargeTarget(place.kind), value) for place, value in values.items()]
        return _added({place: value} for place, value in named)

    exposed = {pair: s for pair, s in account.exposed.items() if pair[0] in dearest}
    return account._replace(
        given=few(account.given),
        computed=few(account.computed),
        waited=few(account.waited),
        samples=few(account.samples),
        exposed=exposed,
    )


def lane_of(account: Account, most: int) -> BlockTimes:
    """All lanes as one, of at most so many rows: neighbours are added up."""
    if not account.lanes:
        return BlockTimes(np.zeros(0), np.zeros(0), np.zeros((0, len(KINDS))))
    start_s, end_s = (np.concatenate([lane[i] for lane in account.lanes]) for i in (0, 1))
    seconds = np.concatenate([lane.seconds for lane in account.lanes])
    first = np.arange(0, len(start_s), -(-len(start_s) // most))
    last = np.r_[first[1:], len(start_s)] - 1
    return BlockTimes(start_s[first], end_s[last], np.add.reduceat(seconds, first, axis=0))


def _added(parts: Iterable[Mapping[Key, float]]) -> dict[Key, float]:
    total: dict[Key, float] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + value
    return total


def _savings(parts: Iterable[Mapping[Frame, Saving]]) -> dict[Frame, Saving]:
    total: dict[Frame, Saving] = {}
    for part in parts:
        for frame, saving in part.items():
            total[frame] = total.get(frame, Saving()).plus(saving)
    return total


def _bounds(parts: Iterable[Mapping[TimeKind, CostRange]]) -> dict[TimeKind, CostRange]:
    total: dict[TimeKind, CostRange] = {}
    for part in parts:
        for kind, bounds in part.items():
            total[kind] = total.get(kind, CostRange()).plus(bounds)
    return total


# What traced steps add to a ledger: the parts of the GPU's busy time, and which line launched which kernels.

MAX_KERNELS = 8  # of a line, those that took longest


class BusyPart(NamedTuple):
    """A part of the device's busy time, as percent of the window, if the whole window was like the traced steps."""

    kind: KernelKind
    share: float


class KernelTime(NamedTuple):
    name: Searched
    kind: KernelKind
    seconds: float
    calls: int


class TracedLine(NamedTuple):
    """What a line of the user's own code launched, in all traced steps together."""

    frame: Frame | None  # None where no own code is on the stack
    backward: bool
    seconds: float
    calls: int
    kernels: list[KernelTime]  # the dearest first, at most 8


class TracedModule(NamedTuple):
    """What calls of a module launched, without those of the modules that it calls; in all traced steps together."""

    path: tuple[str, ...]  # the outermost first; () for what no module launched
    seconds: float
    calls: int
    kernels: list[KernelTime]  # the dearest first, at most 8


class TracedSteps(NamedTuple):
    """Steps of a window that were traced, and their lines, the dearest first."""

    trace: StepTrace
    lines: list[TracedLine]


def busy_parts(trace: StepTrace, busy_share: float) -> list[BusyPart]:
    """They add up to the share of the GPU's busy time; [] where the device was no GPU, or did nothing."""
    busy = trace.busy
    if busy is None or busy.all <= 0:
        return []
    seconds: dict[KernelKind, float] = {"compute": busy.compute, "communication": busy.communication, "copy": busy.copy}
    return [BusyPart(kind, busy_share * seconds[kind] / busy.all) for kind in KERNEL_KINDS]


def kinds_of_kernels(trace: StepTrace) -> dict[KernelKind, float]:
    """Seconds by kind, of all kernels: what runs at once counts several times."""
    seconds: dict[KernelKind, float] = dict.fromkeys(KERNEL_KINDS, 0.0)
    for kernel in trace.kernels:
        seconds[kernel.kind] += kernel.seconds
    return seconds


def traced_lines(trace: StepTrace, own_folder: str) -> list[TracedLine]:
    """By the deepest frame of own code that launched them, the dearest first."""
    kernels: dict[tuple[Frame | None, bool], KernelNames] = {}
    for kernel in trace.kernels:
        line = _own_line(kernel.stack, own_folder), kernel.backward
        kernels.setdefault(line, {}).setdefault((kernel.name, kernel.kind), []).append(kernel)
    found = [_line(frame, backward, names) for (frame, backward), names in kernels.items()]
    return sorted(found, key=lambda line: -line.seconds)


def traced_modules(trace: StepTrace) -> list[TracedModule]:
    """The dearest first; [] where the trace names no module."""
    paths: dict[tuple[str, ...], KernelNames] = {}
    for kernel in trace.kernels:
        paths.setdefault(kernel.modules, {}).setdefault((kernel.name, kernel.kind), []).append(kernel)
    if not any(paths):
        return []
    found = [TracedModule(path, *_times(names)) for path, names in paths.items()]
    return sorted(found, key=lambda module: -module.seconds)


def late_lines(card: CardSummary, own_folder: str) -> list[LateLaunch]:
    """By the deepest frame of own code, or the deepest that is known, the dearest first; its stack is that frame alone."""
    found: dict[Frame | None, list[LateLaunch]] = {}
    for late in card.late:
        frame = _own_line(late.stack, own_folder) or (late.stack[-1] if late.stack else None)
        found.setdefault(frame, []).append(late)
    lines = [
        LateLaunch(
            (frame,) if frame else (),
            max(same, key=lambda late: sum(late.idle_s)).name,
            tuple(map(sum, zip(*(late.idle_s for late in same), strict=True))),
            sum(late.times for late in same),
        )
        for frame, same in found.items()
    ]
    return sorted(lines, key=lambda late: -sum(late.idle_s))


KernelNames: TypeAlias = dict[tuple[str, KernelKind], list[TracedKernel]]


def _line(frame: Frame | None, backward: bool, names: KernelNames) -> TracedLine:
    return TracedLine(frame, backward, *_times(names))


def _times(names: KernelNames) -> tuple[float, int, list[KernelTime]]:
    """Seconds, calls, and the dearest kernels."""
    times = [
        KernelTime(name, kind, sum(kernel.seconds for kernel in same), sum(kernel.calls for kernel in same))
        for (name, kind), same in names.items()
    ]
    times.sort(key=lambda time: -time.seconds)
    return sum(time.seconds for time in times), sum(time.calls for time in times), times[:MAX_KERNELS]


def _own_line(stack: Sequence[Frame], own_folder: str) -> Frame | None:
    own = are_own(list(stack), own_folder)
    return next((frame for frame, is_own in zip(reversed(stack), reversed(own), strict=True) if is_own), None)


# From seconds to the ledger of a window: rows that add up to 100 %, each with its line, its range and what a fix saves.

Tier: TypeAlias = Literal["A", "B", "C"]
Sureness: TypeAlias = Literal["high", "medium", "low"]
LedgerDevice: TypeAlias = Literal["GPU", "CPU", "host"]
MAX_LINES = 5  # of a row
OF_HOST: tuple[TimeKind, ...] = ("python", "gil", "lock", "wait", "log", "launch", "sync")


class LineShare(NamedTuple):
    place: ChargeTarget
    share: float  # of the window, percent
    samples: int
    prediction: Prediction | None = None  # if its function takes no time, of the training loop itself the line


class RunCost(NamedTuple):
    """None where unknown."""

    gpu_hours: float | None = None
    energy_j: float | None = None
    cost: float | None = None


class KindRow(NamedTuple):
    """Shares are percent of a run's wall time; of a window, of the device's covered time, or of the host's where no counter says how busy the device was."""

    kind: TimeKind
    share: float
    seconds: float
    least: float
    most: float
    prediction: Prediction | None  # of the obvious fix; None where nothing can be said without measuring
    lines: list[LineShare]  # the dearest first
    exposed_by: ChargeTarget | None  # the wait for the device that made it cost time
    confidence: Sureness
    paid: RunCost = RunCost()  # of a whole run


def row_of(kind: TimeKind, seconds: float, whole_s: float, paid: RunCost) -> KindRow:
    """A row whose share is known exactly."""
    share = 100 * seconds / whole_s
    return KindRow(kind, share, seconds, share, share, None, [], None, "high", paid)


@dataclass(frozen=True)
class Ledger:
    """`rows`: busy first, then by share, `unexplained` last; they add up to 100."""

    device: LedgerDevice
    tier: Tier
    signal: Signal
    seconds: float  # of the window
    covered_share: float  # of them but those in the queue, with a counter and with stacks
    rows: list[KindRow]
    account: Account
    ranks: int = 1  # of the run
    rank: int = 0
    window: Interval = (0.0, 0.0)
    traced: TracedSteps | None = None  # steps of the window that were traced on demand: then the tier is C
    queued_s: float = (
        0.0  # in a queue of jobs: before the window, too, where it was asked for from then on; no part of the rows
    )

    profiled: bool = True  # stacks of the run are stored, of this window or another one

    @property
    def busy_share(self) -> float:
        """Percent of the window; 0 where nothing says how busy the device was."""
        return next((row.share for row in self.rows if row.kind == BUSY), 0.0)

    @property
    def busy_parts(self) -> list[BusyPart]:
        """What the busy time was spent on, if all of it was as in the traced steps; [] where none were traced on the GPU."""
        return busy_parts(self.traced.trace, self.busy_share) if self.traced and self.device == "GPU" else []

    @property
    def communication(self) -> tuple[float, float] | None:
        """Least and most percent of the window that probably is communication within the busy time; None where nothing says so."""
        account = self.account
        if account.covered_s <= 0 or account.sent_most_s <= 0:
            return None
        return 100 * account.sent_least_s / account.covered_s, 100 * account.sent_most_s / account.covered_s


def ledger_of(
    account: Account, seconds: float, signal: Signal, tier: Tier, device: LedgerDevice = "GPU", hz: float = 100.0
) -> Ledger:
    """Rows are empty where nothing is covered, and for a window that is too short."""
    if seconds < kinds.MIN_S.value:
        return Ledger(device, tier, signal, seconds, 0.0, [], account)
    covered_share = min(1.0, account.covered_s / seconds) if seconds > 0 else 0.0
    trusted = seconds >= kinds.SOON_S.value and hz >= kinds.MIN_HZ.value and covered_share >= kinds.COVERED.value
    moved = _with_syncs(account)
    total_s = max(account.covered_s, 1e-9)
    by_kind: dict[TimeKind, list[tuple[ChargeTarget, float]]] = {}
    for place, given_s in moved.given.items():
        by_kind.setdefault(place.kind, []).append((place, given_s))
    rows = [_row(kind, places, moved, total_s, trusted) for kind, places in by_kind.items()]
    rows.sort(key=lambda row: (row.kind == "unexplained", -row.seconds))
    busy = _busy(moved, total_s, trusted) if device != "host" else []
    return Ledger(
        device, tier, signal, seconds, covered_share, [*busy, *rows] if account.covered_s > 0 else [], account
    )


def _busy(account: Account, total_s: float, trusted: bool) -> list[KindRow]:
    share = 100 * account.busy_s / total_s
    bounds = account.bounds.get(BUSY, CostRange(account.busy_s, account.busy_s))
    least, most = 100 * bounds.least_s / total_s, 100 * bounds.most_s / total_s
    lines = _lines(list(account.computed.items()), account, total_s, Saving())
    return [KindRow(BUSY, share, account.busy_s, least, most, None, lines, None, "high" if trusted else "low")]


def _row(
    kind: TimeKind, places: list[tuple[ChargeTarget, float]], account: Account, total_s: float, trusted: bool
) -> KindRow:
    seconds = sum(given_s for _, given_s in places)
    bounds = account.bounds.get(kind, CostRange(seconds, seconds, Saving(seconds, seconds)))
    least, share, most = (
        100 * s / total_s for s in (min(bounds.least_s, seconds), seconds, max(bounds.most_s, seconds))
    )
    sureness: Sureness = "high" if most - least <= kinds.SURE.value else "medium" if most - least <= share else "low"
    return KindRow(
        kind=kind,
        share=share,
        seconds=seconds,
        least=least,
        most=most,
        prediction=_predicted(kind, places, bounds.saves, account, total_s),
        lines=_lines(places, account, total_s, bounds.saves),
        exposed_by=_exposed_by(kind, account.exposed, seconds),
        confidence=sureness if trusted else "low",
    )


def _predicted(
    kind: TimeKind, places: list[tuple[ChargeTarget, float]], saving: Saving, account: Account, total_s: float
) -> Prediction | None:
    """Of the obvious fix of a row: data is loaded ahead, a thread gets a process of its own, all else goes."""
    if kind in UNPREDICTED:
        return None
    seconds = sum(s for _, s in places)
    fix: Fix = "process" if kind == "gil" else "removed"
    limit = _rest_of(kind, account)
    if kind == "data":
        here_s = min(seconds, account.loaded_here_s)
        ahead = overlap(seconds, total_s, account.cores, by_workers=here_s < seconds / 2)
        if here_s >= seconds / 2 or ahead.least_s > kinds.SMALL.value / 100 * total_s:
            fix, saving = "overlapped", ahead
            limit = limit_of_overlap(seconds, total_s, account.cores, limit)
        else:
            place, dearest_s = max(places, key=lambda pair: pair[1])
            saving, limit = _of_others(place, dearest_s / seconds, saving, account, total_s)
    if kind in OF_HOST and account.blocks and account.paced > kinds.WORKERS.value * account.blocks:
        # Workers set the pace: less work here lengthens the wait for them.
        saving, limit = Saving(0.0, min(saving.most_s, seconds)), phrase("the loader's workers set the pace")
    return prediction_of(fix, saving, total_s, shares_of_blocks(kind, account), limit, pace_range(account))


def _line_removal(
    place: ChargeTarget, part: float, saving: Saving, account: Account, total_s: float
) -> Prediction | None:
    """Of the function that has this part of its row. If it is another thread's or process's, the main thread waits for what that does else."""
    if not place.by_others:
        return removal_of(place.frame, account) if place.frame else None
    found, limit = _of_others(place, part, saving, account, total_s)
    return prediction_of("removed", found, total_s, shares_of_blocks(place.kind, account), limit, pace_range(account))


def _of_others(
    place: ChargeTarget, part: float, saving: Saving, account: Account, total_s: float
) -> tuple[Saving, Message]:
    """What a line of others saves, and what then sets the pace. A loader's workers are ahead of the loop: what they still do takes its own
    part of a step, and costs time only if that is longer than the rest."""
    if not place.by_workers:
        return Saving(part * saving.least_s, part * saving.most_s), _rest_of(place.kind, account)
    most_s = part * total_s
    if most_s >= saving.least_s:
        return Saving(saving.least_s, max(saving.least_s, min(saving.most_s, most_s))), _rest_of(place.kind, account)
    return Saving(most_s, most_s), phrase("the loader's workers then set the pace")


def removal_of(frame: Frame, account: Account) -> Prediction | None:
    """What a function of own code, or a line of the training loop, saves if it takes no time; None where it is not known."""
    found = account.removals.get(frame) or account.removals.get(frame._replace(line=0))
    if found is None or account.covered_s <= 0:
        return None
    return prediction_of(
        "removed", found, account.covered_s, np.zeros(0), _rest_of(None, account, frame), pace_range(account)
    )


def pace_range(account: Account) -> float:
    """By what part of it the pace of another run may differ: its computing on CPUs does even alone; and where other programs take the cores,
    it may meet none of them, or as many again, or, where the pace differs between blocks more than that, stretches such as these."""
    alone = PACE.value * sum(account.computed.values()) / max(account.covered_s, 1e-9)
    taken = shares_of_blocks("cpu_taken", account) / 100
    pace = 1 - taken
    spread = float(np.std(pace, ddof=1) / max(float(np.mean(pace)), 0.01)) if len(taken) > 1 else 0.0
    others = float(np.mean(taken)) if len(taken) else 0.0
    return max(alone, others, NORMAL.value * float(np.sqrt(2)) * spread)


def shares_of_blocks(kind: TimeKind, account: Account) -> Floats:
    """Percent of each block that is seen for at least half of its time."""
    if not account.lanes:
        return np.zeros(0)
    seconds = np.concatenate([lane.seconds for lane in account.lanes])
    whole_s = seconds.sum(axis=1)
    seen = whole_s >= kinds.SEEN.value * kinds.BLOCK.value
    shares: Floats = 100 * seconds[seen, NUMBER[kind]] / whole_s[seen]
    return shares


def _rest_of(kind: TimeKind | None, account: Account, without: Frame | None = None) -> Message:
    """The line that takes most of what a fix leaves."""
    left = [
        (s, place)
        for costs in (account.given, account.computed)
        for place, s in costs.items()
        if place.kind != kind and place.frame is not None and (without is None or place.frame[:2] != without[:2])
    ]
    place = max(left, key=lambda pair: pair[0], default=(0.0, None))[1]
    frame = place.frame if place is not None else None
    return remains(f"`{frame.name}` ({file_name(frame.file)}:{frame.line})" if frame is not None else "")


def _lines(
    places: list[tuple[ChargeTarget, float]], account: Account, total_s: float, saving: Saving
) -> list[LineShare]:
    """`saving`: if all of the row goes."""
    row_s = sum(s for _, s in places)
    dearest = sorted(places, key=lambda pair: -pair[1])[:MAX_LINES]
    return [
        LineShare(
            place,
            100 * s / total_s,
            int(account.samples.get(place, 0)),
            None if place.kind in UNPREDICTED else _line_removal(place, s / row_s, saving, account, total_s),
        )
        for place, s in dearest
        if place.frame
    ]


def _exposed_by(
    kind: TimeKind, exposed: Mapping[tuple[ChargeTarget, ChargeTarget], float], seconds: float
) -> ChargeTarget | None:
    """The wait for the device after which most of the row's time was lost, if that is more than half of it."""
    by_wait: dict[ChargeTarget, float] = {}
    for (place, wait), lost_s in exposed.items():
        if place.kind == kind:
            by_wait[wait] = by_wait.get(wait, 0.0) + lost_s
    return max(by_wait, key=lambda place: by_wait[place]) if sum(by_wait.values()) > seconds / 2 else None


def _with_syncs(account: Account) -> Account:
    """Launches after a wait for the device are late by as much as the host waited: it destroyed its lead. Those seconds are the wait's.

    What the wait made visible of other lines has used up as much of that lead.
    """
    waited_s = sum(account.waited.values())
    lead_s = max(0.0, waited_s - sum(account.exposed.values()))
    launch_s = sum(s for place, s in account.given.items() if place.kind == "launch")
    moved_s = min(launch_s, lead_s) if waited_s > kinds.SYNC.value * account.covered_s else 0.0
    if moved_s <= 0:
        return account
    given = {place: s * (1 - moved_s / launch_s) if place.kind == "launch" else s for place, s in account.given.items()}
    for place, its_s in account.waited.items():
        given[place] = given.get(place, 0.0) + moved_s * its_s / waited_s
    launch = account.bounds.get("launch", CostRange())
    bounds = dict(account.bounds)
    bounds["launch"] = launch._replace(least_s=max(0.0, launch.least_s - waited_s))
    bounds["sync"] = CostRange(
        min(launch.least_s, waited_s), min(launch.most_s, waited_s), Saving(0.0, account.waited_saves_s)
    )
    return account._replace(given={place: s for place, s in given.items() if s > 0}, bounds=bounds)


# Time in which a run waited in a queue of jobs: no device was its own then, so that it stands beside the rows and has no share.

MIN_S = 1.0  # a shorter wait is not named
MAX_EVENTS = 10_000  # events


def queued_during(events: Iterable[Event], window: Interval) -> list[Interval]:
    """Stretches of the window in which the run was in the queue, in order, without overlaps."""
    lo, hi = window
    found: list[Interval] = []
    waits = [
        (event.time_s - event.seconds, event.time_s)
        for event in events
        if event.kind == PLACED and event.seconds and event.seconds > 0
    ]
    for from_s, until_s in sorted(waits):
        began_s = max(lo, from_s, found[-1][1] if found else lo)
        if began_s < min(hi, until_s):
            found.append((began_s, min(hi, until_s)))
    return found


def seconds_in(stretches: Iterable[Interval], window: Interval) -> float:
    return sum(max(0.0, min(hi, window[1]) - max(lo, window[0])) for lo, hi in stretches)
