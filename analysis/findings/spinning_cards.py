"""Cards of a run that count as busy while no step ends and little of them works."""

from __future__ import annotations

import math

from collectors.machine.inventory import Gpu
from collectors.store.store import Series

from ..ledger.device import SIGNALS
from ..ledger.spinning import LATE, LATE_S, SpinningStretch, rest_of_run, spinning_of
from .rule import RunSubject

RECENT_S, GOES_ON_S, LEAST_S = 60.0, 3.0, 15.0


def spinning_cards(subject: RunSubject) -> list[tuple[Gpu, SpinningStretch]]:
    """Those that spin now, each with its stretch; asked of the store only while a step is late."""
    rank = stepping_rank(subject)
    silent_s, usual_s = step_silent_s(subject), subject.interval_s(rank) if rank is not None else None
    if rank is None or silent_s is None or usual_s is None or silent_s < max(LEAST_S, LATE * usual_s, usual_s + LATE_S):
        return []
    found = []
    for gpu in subject.gpus():
        busy = _busy(subject, gpu)
        if busy is None:
            continue
        window = subject.now_s - min(silent_s, RECENT_S), subject.now_s
        stretch = next(reversed(spinning_of(subject.history, busy, window, rank, _rest(subject, busy))), None)
        if stretch and subject.now_s - stretch.end_s < GOES_ON_S and stretch.end_s - stretch.start_s >= LEAST_S / 2:
            found.append((gpu, stretch))
    return found


def stepping_rank(subject: RunSubject) -> int | None:
    """The lowest that logs steps."""
    return next((rank for rank in subject.ranks() if subject.steps(rank) is not None), None)


def step_silent_s(subject: RunSubject) -> float | None:
    """Since the last step that any rank logged."""
    tracks = [subject.steps(rank) for rank in subject.ranks()]
    ends_s = [float(track.time_s[-1]) for track in tracks if track is not None and len(track)]
    known = [end_s for end_s in ends_s if math.isfinite(end_s)]
    return subject.now_s - max(known) if known else None


def _busy(subject: RunSubject, gpu: Gpu) -> Series | None:
    """The counter of the whole card: an instance's share is not known here."""
    rows = {row.name: row for row in subject.history.machine_series() if dict(row.labels).get("uuid") == gpu.uuid}
    row = next((rows[name] for name, _ in SIGNALS if name in rows), None)
    return None if row is None or "mig" in dict(row.labels) else row


def _rest(subject: RunSubject, busy: Series) -> float:
    """Read once for a run: what the card draws at rest does not change with it."""
    known: dict[int, float] = subject.memory.setdefault("rest_w", {})
    if busy.id not in known:
        known[busy.id] = rest_of_run(subject.history, busy)
    return known[busy.id]


def uses(gpu: Gpu, pid: int) -> bool:
    return any(user.pid == pid for user in gpu.processes)
