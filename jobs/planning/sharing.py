"""Two jobs on one GPU: whether their memory fits, how fast both are likely to be, and what is gained."""

from __future__ import annotations

from collections.abc import Iterable

from .family import NOTHING, FamilyRecord
from .job import Job
from .slot import Slot
from .state import Pair, PlanRules, QueueState

SLOWDOWN, POWER = 0.65, 1.5  # of 1,388 measured pairs: speed = 1 / (1 + 0.65 (u1 u2)^1.5), mean error 0.067


def pair_of(first: str, second: str) -> Pair:
    return (first, second) if first <= second else (second, first)


def speeds(first: str, second: str, state: QueueState) -> tuple[float, float, bool] | None:
    """Of two families side by side, of their speeds alone, and whether that is measured; None where an activity is not known."""
    if measured := state.pairs.get(pair_of(first, second)):
        return (*(measured if first <= second else measured[::-1]), True)
    one, other = state.families.get(first, NOTHING).activity, state.families.get(second, NOTHING).activity
    if one is None or other is None:
        return None
    speed = 1 / (1 + SLOWDOWN * (one * other) ** POWER)
    return speed, speed, False


def with_margin(peak_mib: float, rules: PlanRules) -> float:
    return rules.memory_margin * peak_mib + rules.memory_margin_mib


def fit(host: FamilyRecord, guest: FamilyRecord, slot: Slot, rules: PlanRules) -> bool:
    """By both measured peaks, and by what the driver says is free now."""
    if host.peak_mib is None or guest.peak_mib is None or slot.memory_mib is None or slot.free_mib is None:
        return False
    need = with_margin(guest.peak_mib, rules)
    return with_margin(host.peak_mib, rules) + need <= slot.memory_mib and need <= slot.free_mib


def may_share(job: Job, rules: PlanRules) -> bool:
    """With its user's consent, unless memory or neighbours have failed it before."""
    return job.shares and job.needs_mib is None and job.stops < rules.most_stops


def cores_suffice(guest: FamilyRecord, placed: Iterable[Job], state: QueueState) -> bool:
    """A guest that waits for data needs cores of its own for it."""
    if guest.data_bound <= 0 or guest.loader_cores <= 0:
        return True
    busy = sum(state.families.get(job.family, NOTHING).loader_cores for job in placed)
    return busy + guest.loader_cores <= state.cores


def neighbourhood(job: Job, single: list[tuple[Slot, Job]], free: int, state: QueueState) -> list[Slot] | None:
    """Of slots with one job each those on which `job` costs least, so many that with `free` free ones it has enough.

    None where they are too few or it gains too little. The loss of a host with several slots counts once for each.
    """
    rules, guest, need = state.rules, state.families.get(job.family, NOTHING), job.slots - free
    places: dict[int, list[Slot]] = {}  # by host
    costs: dict[int, tuple[float, float]] = {}  # by host: what it loses, in slots; the guest's speed
    for slot, host in single:
        if host.id not in costs and (both := _bearable(job, host, state)):
            costs[host.id] = ((1 - both[1]) * host.slots, both[0])
        if host.id in costs and fit(state.families.get(host.family, NOTHING), guest, slot, rules):
            places.setdefault(host.id, []).append(slot)
    chosen, loss, speed = list[Slot](), 0.0, 1.0
    for host_id in sorted(places, key=lambda host_id: (costs[host_id][0] / min(len(places[host_id]), need), host_id)):
        if len(chosen) < need:
            chosen += places[host_id][: need - len(chosen)]
            loss, speed = loss + costs[host_id][0], min(speed, costs[host_id][1])
    gain = job.slots * speed - free - loss
    return chosen if len(chosen) == need and gain > rules.least_gain else None


def _bearable(guest: Job, host: Job, state: QueueState) -> tuple[float, float] | None:
    """The speeds of both, if neither should fall below its floor, and one can leave if it does."""
    if (both := speeds(guest.family, host.family, state)) is None:
        return None
    rules, (ours, theirs, measured) = state.rules, both
    floor = rules.share_floor if measured else rules.unmeasured_floor
    if not measured and not guest.resumes and (not host.resumes or host.slots > guest.slots):
        return None  # neither could leave again, or it would be the larger
    if ours < max(floor, rules.high_floor * guest.high) or theirs < max(floor, rules.high_floor * host.high):
        return None
    return ours, theirs
