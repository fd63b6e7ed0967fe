"""Idle time of the device, given to the samples that explain it: moments surely idle first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints

from ..stacks.spans import Interval
from . import kinds as rules
from .device import CopyShares, DeviceUtilization, block_of
from .evidence import FREE, LAUNCHES, WAITS_FOR_DEVICE, StepLeads, ThreadSamples, during, overlapping_s, standing
from .kinds import BUSY, COPY, KINDS, NUMBER, UNEXPLAINED, ChargeTarget, TimeKind
from .prediction import Saving
from .shares import EMPTY, Account, BlockTimes, CostRange

DRAINED: Final = 0.0  # free, after a wait for the device with no launch since
APART: Final = 1.0  # free, apart from the launches
BETWEEN: Final = 1.5  # free, between launches of one statement: its age cannot be seen
LAUNCHING: Final = 2.0
HIDDEN: Final = 3.0  # free, but the device was waited for afterwards: it had work
NEVER: Final = 5.0  # waits for the device


class SampleOrder(NamedTuple):
    """One entry a sample: lower levels first, within a level by rank."""

    level: Floats
    rank: Floats
    still: Bools  # a launching line that launches nothing
    waited_at: Ints  # the sample that waited for the device before it; -1 where it is not DRAINED


def order_of(moments: ThreadSamples, collecting: Bools | None = None) -> SampleOrder:
    """`collecting`: which samples fall into logged garbage collections; without them, lines that stand still are taken for them."""
    still = standing(moments, rules.STANDS.value) if collecting is None else collecting
    free = (moments.state == FREE) | still
    index = np.arange(len(free))
    last = np.maximum.accumulate(np.where(~free, index, 0))
    following = np.minimum.accumulate(np.where(~free, index, len(free) - 1)[::-1])[::-1]
    passed = _passed(moments, free)
    since = np.maximum.accumulate(np.where(~free | passed, index, 0))
    age_s = moments.time_s - moments.time_s[since] - np.where(passed[since], 0.0, moments.period_s / 2)
    level = np.full(len(free), NEVER)
    level[free] = APART
    drained = np.zeros(len(free), bool)
    if is_ordered(moments):
        drained = free & (moments.state[last] == WAITS_FOR_DEVICE) & (since == last)
        level[drained] = DRAINED
        level[
            free
            & (moments.state[last] == LAUNCHES)
            & (moments.state[following] == WAITS_FOR_DEVICE)
            & (following > index)
        ] = HIDDEN
    level[(moments.state == LAUNCHES) & ~still] = LAUNCHING
    level[free & ~still & _between_launches(moments) & (level < LAUNCHING)] = BETWEEN
    drained &= level == DRAINED
    # After a drain the first moments are the surest, since launches in between are seldom seen; else the oldest are.
    rank = np.where(level == DRAINED, 1.0, -1.0) * np.where(free, age_s, 0.0)
    return SampleOrder(level, rank, still, np.where(drained, last, -1))


def is_ordered(moments: ThreadSamples) -> bool:
    """Whether neighbouring samples know of each other: steps are longer than about two samples."""
    place = moments.place
    if len(place) < 2:
        return False
    same = float(np.mean(place[1:] == place[:-1]))
    by_chance = float(np.sum((np.bincount(place) / len(place)) ** 2))
    excess = (same - by_chance) / max(1e-9, 1 - by_chance)
    return excess > rules.ORDERED.value or by_chance > rules.ONE_PLACE.value


def _passed(moments: ThreadSamples, free: Bools) -> Bools:
    """Where a launch was surely passed unseen since the sample before: between these two lines one is often seen."""
    found = np.zeros(len(free), bool)
    at = np.flatnonzero(free)
    if len(at) < 2:
        return found
    before, after = at[:-1], at[1:]
    launched = np.r_[0, np.cumsum(moments.state == LAUNCHES)]
    seen = launched[after] > launched[before]
    direct = after == before + 1
    pair = moments.place[before] * len(moments.places) + moments.place[after]
    _, which = np.unique(pair, return_inverse=True)
    with_launch, without = np.bincount(which, seen), np.bincount(which, direct)
    often = with_launch > rules.PASSED.value * (with_launch + without)
    found[after] = direct & often[which] & (moments.place[before] != moments.place[after])
    return found


def _between_launches(moments: ThreadSamples) -> Bools:
    """Own Python and waits for the GIL inside a statement of the loop that launches, too."""
    launching = np.bincount(moments.statement, moments.state == LAUNCHES) if len(moments.statement) else np.zeros(0)
    kinds = np.isin(moments.kind, [NUMBER["python"], NUMBER["gil"], NUMBER["lock"]])
    between: Bools = kinds & (launching > 0)[moments.statement]
    return between


# Give the device's idle seconds to what the host did, block by block, by fixed rules in a fixed order.

DATA, LAUNCH, GC = NUMBER["data"], NUMBER["launch"], NUMBER["gc"]
AROUND_S = 1.0


@dataclass(frozen=True)
class LedgerInput:
    """All that is known of a stretch of time. Tier A has the first two, tier B the steps or the collections as well."""

    moments: ThreadSamples
    busy: DeviceUtilization
    steps: StepLeads | None = None
    collections: list[Interval] | None = None
    copying: CopyShares | None = None
    spinning: Sequence[Interval] = ()  # when the device counted as busy and only waited: `busy` has it as idle
    spins_for: TimeKind = "sync"  # what the host waits for meanwhile

    @property
    def tier(self) -> Literal["A", "B"]:
        return "A" if self.steps is None and self.collections is None else "B"


def account_of(known: LedgerInput, lo: float, hi: float) -> Account:
    """From lo to hi. The moments of a second before and after say what led up to the first, where they are known."""
    busy = known.busy.within(lo, hi)
    if not len(busy.share):
        return EMPTY
    blocks = _Blocks.of(busy)
    around = slice(*np.searchsorted(known.moments.time_s, [lo - AROUND_S, hi + AROUND_S]))
    moments = _with_collections(_waiting(known.moments.take(around), known.spinning, known.spins_for))
    order = order_of(moments, None if known.collections is None else during(moments.time_s, known.collections))
    return IdleAttribution(known, moments, order, blocks, blocks.of_samples(moments)).account()


def _waiting(moments: ThreadSamples, spinning: Sequence[Interval], kind: TimeKind) -> ThreadSamples:
    """While the device spins, idle time is of the line at which the host stands: whatever that is, it waits for what the device waits for."""
    if not spinning:
        return moments
    inside = during(moments.time_s, [*spinning])
    number = {place: i for i, place in enumerate(moments.places)}
    waits = [number.setdefault(place._replace(kind=kind), len(number)) for place in moments.places]
    return moments._replace(
        place=np.where(inside, np.array(waits, np.int64)[moments.place], moments.place),
        places=[*number],
        state=np.where(inside, FREE, moments.state),
    )


def _with_collections(moments: ThreadSamples) -> ThreadSamples:
    """With garbage collection among the places: it is charged to the line that stands still meanwhile, as a kind of its own."""
    return moments._replace(places=[*moments.places, *(place._replace(kind="gc") for place in moments.places)])


@dataclass(frozen=True)
class _Blocks:
    busy: DeviceUtilization
    of_value: Ints  # block of each value of the counter, from 0
    covered_s: Floats
    idle_s: Floats
    start_s: Floats
    end_s: Floats

    @classmethod
    def of(cls, busy: DeviceUtilization) -> _Blocks:
        _, number = np.unique(block_of(busy, rules.BLOCK.value), return_inverse=True)
        first = np.searchsorted(number, np.arange(number[-1] + 1))
        last = np.r_[first[1:], len(number)] - 1
        seconds = busy.end_s - busy.start_s
        return cls(
            busy, number, _sums(number, seconds), _sums(number, busy.idle_s), busy.start_s[first], busy.end_s[last]
        )

    def of_samples(self, moments: ThreadSamples) -> Ints:
        """-1 where no value of the counter covers a sample."""
        value = np.maximum(np.searchsorted(self.busy.start_s, moments.time_s, "right") - 1, 0)
        covered = (moments.time_s >= self.busy.start_s[value]) & (moments.time_s < self.busy.end_s[value])
        return np.where(covered, self.of_value[value], -1)


@dataclass(frozen=True)
class IdleAttribution:
    known: LedgerInput
    moments: ThreadSamples
    order: SampleOrder
    blocks: _Blocks
    block: Ints  # of each sample

    def account(self) -> Account:
        count = len(self.blocks.idle_s)
        place, seconds = self._places(), self._seconds()
        kind = self._kind_of(place)
        inside = self.block >= 0
        idle_s = self.blocks.idle_s
        copied_s = np.minimum(idle_s, self._copied())
        starved_s, steps_ahead = self._by_steps(idle_s - copied_s)
        left_s = idle_s - copied_s - starved_s
        asks = inside & (self.order.level < NEVER)
        if self._knows_data:
            asks &= kind != DATA
        given_s = self._given(asks, seconds, left_s)
        matrix = self._matrix(place, given_s, count)
        data = self._matrix(place, np.where(inside & (kind == DATA), seconds, 0.0), count)
        matrix += _in_proportion(data, starved_s)
        rest_s = left_s - np.bincount(self.block[asks], given_s[asks], count)
        launch = self._kinds_of_places() == LAUNCH
        moved = matrix[:, launch] * steps_ahead[:, None]
        matrix[:, launch] -= moved
        rest_s = np.maximum(rest_s, 0.0) + moved.sum(1) + np.where(data.sum(1) > 0, 0.0, starved_s)
        return self._summed(matrix, seconds, place, kind, copied_s, starved_s, left_s, rest_s, given_s)

    def _places(self) -> Ints:
        """Index into the places; a collection's is behind that of its line."""
        return np.where(self.order.still, self.moments.place + len(self.moments.places) // 2, self.moments.place)

    def _kinds_of_places(self) -> Ints:
        return np.array([NUMBER[place.kind] for place in self.moments.places], np.int64)

    def _kind_of(self, place: Ints) -> Ints:
        return self._kinds_of_places()[place] if len(place) else np.zeros(0, np.int64)

    def _seconds(self) -> Floats:
        """Of each sample; where some of a block were lost, the others stand for them."""
        inside = self.block >= 0
        seen_s = np.bincount(self.block[inside], self.moments.seconds[inside], len(self.blocks.idle_s))
        stretch = np.minimum(rules.STRETCH.value, self.blocks.covered_s / np.maximum(seen_s, 1e-9))
        stretch = np.where(seen_s > rules.SEEN.value * self.blocks.covered_s, stretch, 1.0)
        return self.moments.seconds * np.where(inside, stretch[self.block], 0.0)

    def _copied(self) -> Floats:
        copying = self.known.copying
        if copying is None:
            return np.zeros(len(self.blocks.idle_s))
        each = [
            float(copying.seconds(np.array(pair)).sum())
            for pair in zip(self.blocks.start_s, self.blocks.end_s, strict=True)
        ]
        return np.array(each)

    @property
    def _knows_data(self) -> bool:
        steps = self.known.steps
        return steps is not None and bool(np.isfinite(steps.lead_s).any())

    def _by_steps(self, idle_s: Floats) -> tuple[Floats, Floats]:
        """Seconds starved of data, and how many of the steps end with the host ahead of a device that nothing waits for."""
        steps, nothing = self.known.steps, np.zeros(len(idle_s))
        if steps is None or not self._knows_data:
            return nothing, nothing
        bounds = np.r_[self.blocks.start_s, self.blocks.end_s[-1]]
        starved_s = np.minimum(overlapping_s(*steps.starved(), bounds), idle_s)
        waits = (self.block >= 0) & (self.moments.state == WAITS_FOR_DEVICE) & (self.moments.kind == NUMBER["sync"])
        syncs = self.moments.seconds[waits].sum() > rules.SYNC.value * self.blocks.covered_s.sum()
        return starved_s, nothing if syncs else steps.ahead(bounds, rules.AHEAD.value)

    def _given(self, asks: Bools, seconds: Floats, left_s: Floats) -> Floats:
        """To each sample, at most its own duration, in order, until its block's idle time is given out."""
        chosen = np.flatnonzero(asks)
        chosen = chosen[np.lexsort((self.order.rank[chosen], self.order.level[chosen], self.block[chosen]))]
        block, wanted = self.block[chosen], seconds[chosen]
        before = np.cumsum(wanted) - wanted
        starts = np.searchsorted(block, np.arange(len(left_s)))
        at_start = np.r_[before, before[-1:] + wanted[-1:]][starts] if len(block) else np.zeros(len(left_s))
        given = np.zeros(len(seconds))
        given[chosen] = np.clip(left_s[block] - (before - at_start[block]), 0.0, wanted)
        return given

    def _matrix(self, place: Ints, seconds: Floats, count: int) -> Floats:
        """`[block, place]`"""
        width, inside = max(1, len(self.moments.places)), self.block >= 0
        key = self.block[inside] * width + place[inside]
        return np.bincount(key, seconds[inside], count * width).astype(np.float64).reshape(count, width)

    def _summed(
        self,
        matrix: Floats,
        seconds: Floats,
        place: Ints,
        kind: Ints,
        copied_s: Floats,
        starved_s: Floats,
        left_s: Floats,
        rest_s: Floats,
        given_s: Floats,
    ) -> Account:
        places = self.moments.places
        inside, waits = self.block >= 0, self.moments.state == WAITS_FOR_DEVICE
        waited = self._matrix(place, np.where(waits, seconds, 0.0), len(left_s))
        syncs = np.array([own.kind == "sync" for own in places], bool) if places else np.zeros(matrix.shape[1], bool)
        waited_s = waited[:, syncs].sum(1)
        samples = np.bincount(place[inside], minlength=len(places))
        given = {own: s for own, s in zip(places, matrix.sum(0).tolist(), strict=False) if s > 0}
        given |= {own: s for own, s in ((COPY, float(copied_s.sum())), (UNEXPLAINED, float(rest_s.sum()))) if s > 0}
        pace = self._matrix(
            place, np.where((kind == DATA) & waits_for_workers(self.moments, place), seconds, 0.0), len(left_s)
        )
        return Account(
            covered_s=float(self.blocks.covered_s.sum()),
            busy_s=float((self.blocks.covered_s - self.blocks.idle_s).sum()),
            given=given,
            bounds=self._bounds(seconds, kind, starved_s, left_s, copied_s, rest_s),
            waited={
                own: s for own, s in zip(places, waited.sum(0).tolist(), strict=False) if s > 0 and own.kind == "sync"
            },
            waited_saves_s=float(np.minimum(waited_s, self.blocks.idle_s).sum()),
            exposed=self._exposed(place, given_s),
            samples={own: float(n) for own, n in zip(places, samples.tolist(), strict=False) if n},
            blocks=len(left_s),
            paced=int(np.sum(pace.sum(1) > rules.WAITED.value * self.blocks.covered_s)),
            lanes=(self._lane(matrix, copied_s, rest_s),),
        )

    def _bounds(
        self, seconds: Floats, kind: Ints, starved_s: Floats, left_s: Floats, copied_s: Floats, rest_s: Floats
    ) -> dict[TimeKind, CostRange]:
        """Least where all others are filled first, most where it is itself; block by block."""
        count, width = len(left_s), len(KINDS)
        may_cost = (self.block >= 0) & (self.order.level < HIDDEN)
        could = np.bincount(self.block[may_cost] * width + kind[may_cost], seconds[may_cost], count * width).reshape(
            count, width
        )
        asked = could.copy()
        fixed = np.zeros((count, width))
        if self._knows_data:
            asked[:, DATA] = 0.0
            fixed[:, DATA] = starved_s
        most = np.minimum(left_s[:, None], asked) + fixed
        least = np.clip(left_s[:, None] - (asked.sum(1, keepdims=True) - asked), 0.0, asked) + fixed
        saves = np.minimum(self.blocks.idle_s[:, None], np.maximum(could, fixed))
        found = {
            KINDS[number]: CostRange(
                float(least[:, number].sum()),
                float(most[:, number].sum()),
                Saving(float(least[:, number].sum()), float(saves[:, number].sum())),
            )
            for number in np.flatnonzero(most.sum(0) > 0).tolist()
        }
        surplus_s = float(np.maximum(0.0, left_s - asked.sum(1)).sum())
        return found | {
            "copy": CostRange(*(float(copied_s.sum()),) * 2),
            "unexplained": CostRange(surplus_s, float(rest_s.sum())),
        }

    def _exposed(self, place: Ints, given_s: Floats) -> dict[tuple[ChargeTarget, ChargeTarget], float]:
        by_wait = np.flatnonzero((self.order.waited_at >= 0) & (given_s > 0) & (self.order.level < LAUNCHING))
        if not len(by_wait):
            return {}
        width, places = len(self.moments.places), self.moments.places
        key = place[by_wait] * width + self.moments.place[self.order.waited_at[by_wait]]
        keys, which = np.unique(key, return_inverse=True)
        sums = np.bincount(which, given_s[by_wait])
        pairs = [(places[k // width], places[k % width]) for k in keys.tolist()]
        return {pair: s for pair, s in zip(pairs, sums.tolist(), strict=True) if pair[0].kind != "sync"}

    def _lane(self, matrix: Floats, copied_s: Floats, rest_s: Floats) -> BlockTimes:
        seconds = np.zeros((len(copied_s), len(KINDS)))
        if self.moments.places:
            np.add.at(seconds.T, self._kinds_of_places(), matrix.T)
        seconds[:, NUMBER[COPY.kind]] += copied_s
        seconds[:, NUMBER[UNEXPLAINED.kind]] += rest_s
        seconds[:, NUMBER[BUSY]] = self.blocks.covered_s - self.blocks.idle_s
        return BlockTimes(self.blocks.start_s, self.blocks.end_s, seconds)


def waits_for_workers(moments: ThreadSamples, place: Ints) -> Bools:
    """Which samples stand at a place where the main thread waits for loader workers."""
    of_place = np.array([own.by_workers for own in moments.places], bool)
    return of_place[place] if len(place) else np.zeros(0, bool)


def _sums(number: Ints, values: Floats) -> Floats:
    return np.bincount(number, values).astype(np.float64)


def _in_proportion(parts: Floats, totals: Floats) -> Floats:
    """Each row's total shared out as its parts are; nothing where it has none."""
    sums = parts.sum(1)
    shared: Floats = parts * np.divide(totals, sums, out=np.zeros_like(totals), where=sums > 0)[:, None]
    return shared
