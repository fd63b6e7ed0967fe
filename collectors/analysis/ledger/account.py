"""Seconds that add up: where the device's time of a stretch went, by place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from ..stacks.traces import Floats
from .kinds import KINDS, Charged, TimeKind

Key = TypeVar("Key")
MOST_PLACES = 40


class CostRange(NamedTuple):
    """Of one kind, in seconds: what it surely cost, what it may have cost, and what a loop without it might save at most."""

    least_s: float = 0.0
    most_s: float = 0.0
    saves_s: float = 0.0

    def plus(self, other: CostRange) -> CostRange:
        return CostRange(*(mine + its for mine, its in zip(self, other, strict=True)))


class BlockTimes(NamedTuple):
    """The same over time: one row a block."""

    start_s: Floats
    end_s: Floats
    seconds: Floats  # `[block, kind]`, kinds in the order of KINDS


class Account(NamedTuple):
    """Launches that were late because the host had waited for the device are still launches here: `shares.py` moves them."""

    covered_s: float = 0.0  # with a counter and with stacks
    busy_s: float = 0.0
    given: Mapping[Charged, float] = {}  # idle seconds
    computed: Mapping[Charged, float] = {}  # busy seconds by line, where the device is the CPU
    bounds: Mapping[TimeKind, CostRange] = {}
    waited: Mapping[Charged, float] = {}  # seconds in which the host waited for the device
    waited_saves_s: float = 0.0  # of the idle time, no more than was waited in its block
    exposed: Mapping[
        tuple[Charged, Charged], float
    ] = {}  # of what was given to a place: made visible by this wait for the device
    samples: Mapping[Charged, float] = {}
    blocks: int = 0
    paced: int = 0  # blocks in which the main thread waited for workers
    lanes: tuple[BlockTimes, ...] = ()
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
        sent_least_s=sum(part.sent_least_s for part in parts),
        sent_most_s=sum(part.sent_most_s for part in parts),
    )


def compacted(account: Account, most: int = MOST_PLACES) -> Account:
    """With the dearest lines alone; what the others took is charged to their kinds without a line."""
    if len(account.given) <= most and len(account.computed) <= most:
        return account
    dearest = {
        place
        for costs in (account.given, account.computed)
        for place in sorted(costs, key=lambda its: -costs[its])[:most]
    }

    def few(values: Mapping[Charged, float]) -> dict[Charged, float]:
        named = [(place if place in dearest else Charged(place.kind), value) for place, value in values.items()]
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


def _bounds(parts: Iterable[Mapping[TimeKind, CostRange]]) -> dict[TimeKind, CostRange]:
    total: dict[TimeKind, CostRange] = {}
    for part in parts:
        for kind, bounds in part.items():
            total[kind] = total.get(kind, CostRange()).plus(bounds)
    return total
