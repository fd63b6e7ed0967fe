"""What the step log and the events of a run say of each moment, in the ledger's kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...baseline import steplog
from ...baseline.steplog import PHASE, StepLog
from ...history import History
from ...stacks.traces import Floats, Ints, Range, Traces, union
from ..idle.stepping import StepLeads, during
from ..kinds import NUMBER, TimeKind
from .signs import EVENTS, PHASES

AROUND_S = 120.0  # a step, or what stands between two, ends within this of its beginning
CORRECTED = (
    0.5,
    2.0,
)  # by which a step log corrects what samples say of a phase; beyond it the two speak of different things
SEEN_S = 1.0  # of a phase in samples, from which on they are compared
LEAD, DATA = "host_lead_s", f"{PHASE}data_s"


class LoggedKinds(NamedTuple):
    """`collections` and `steps` are None where the run logs none."""

    phases: list[tuple[TimeKind, list[Range]]]
    shares: dict[
        TimeKind, float
    ]  # of the time of the window's steps, that was logged as such a phase; {} where unknown
    events: list[tuple[TimeKind, list[Range]]]
    collections: list[Range] | None
    steps: StepLeads | None
    unit_name: str

    @property
    def any(self) -> bool:
        return bool(self.phases or self.collections is not None or self.steps is not None)

    def by_phases(self, main: Traces) -> Ints:
        """Of each span, number of the kind of the phase that has more than half of its stack's time; -1 where none has."""
        seconds = np.zeros((len(main.stacks), len(NUMBER)))
        for kind, ranges in self.phases:
            inside = main.within(ranges)
            seconds[:, NUMBER[kind]] += np.bincount(inside.stack, inside.seconds, len(main.stacks))
        clear = seconds.max(axis=1) > np.bincount(main.stack, main.seconds, len(main.stacks)) / 2
        found: Ints = np.where(clear, np.argmax(seconds, axis=1), -1)[main.stack]
        return found

    def weights(self, main: Traces) -> Floats:
        """Of each span, by what its time is multiplied so that each phase has the time that the step log gives it, and all have the same together.

        Looks at a thread amid many short calls fail more often than others where memory is slow to read, so that its phase has too few
        samples. The step log timed it: the samples are weighted by it, phase by phase (post-stratification).
        """
        phase, weights = self.by_phases(main), np.ones(len(main.seconds))
        rest, rest_s = np.ones(len(main.seconds), bool), float(main.seconds.sum())
        for kind, share in self.shares.items():
            mine = phase == NUMBER[kind]
            seen_s, logged_s = float(main.seconds[mine].sum()), share * float(main.seconds.sum())
            if seen_s >= SEEN_S and CORRECTED[0] <= logged_s / seen_s <= CORRECTED[1]:
                weights[mine] = logged_s / seen_s
                rest &= ~mine
                rest_s -= logged_s
        others_s = float(main.seconds[rest].sum())
        if others_s <= 0 or not CORRECTED[0] <= rest_s / others_s <= CORRECTED[1]:
            return np.ones(len(main.seconds))
        weights[rest] = rest_s / others_s
        return weights

    def by_events(self, time_s: Floats) -> Ints:
        """Number of the kind at each moment; -1 where none is logged."""
        kind = np.full(len(time_s), -1, np.int64)
        for own, ranges in self.events:
            kind[during(time_s, ranges)] = NUMBER[own]
        return kind


def read(history: History, window: Range, rank: int) -> LoggedKinds:
    log = steplog.read(history, window, rank, AROUND_S)
    around = window[0] - AROUND_S, window[1] + AROUND_S
    events: list[tuple[TimeKind, list[Range]]] = []
    for name, kind in EVENTS.items():
        if ranges := union(history.during((name,), around)):
            events.append((kind, ranges))
    collections = union(log.collections) if log.collections is not None else None
    return LoggedKinds(
        _phases(log), _shares(log, window), events, collections, _steps(history, log, around, rank), log.unit_name
    )


def _phases(log: StepLog) -> list[tuple[TimeKind, list[Range]]]:
    known = [(PHASES[name], log.phases.ranges(name)) for name in log.phases.names if name in PHASES]
    return [(kind, union(ranges)) for kind, ranges in known if ranges]


def _shares(log: StepLog, window: Range) -> dict[TimeKind, float]:
    shares, found = log.phases.shares_within(window), dict[TimeKind, float]()
    if shares is not None:
        for name, share in zip(log.phases.names, shares.tolist(), strict=True):
            if name in PHASES:
                found[PHASES[name]] = found.get(PHASES[name], 0.0) + share
    return found


def _steps(history: History, log: StepLog, around: Range, rank: int) -> StepLeads | None:
    """Where each step logs by how much the host was ahead of the GPU at its end."""
    mine = {series.name: series for series in history.series(rank)}
    if LEAD not in mine or DATA not in mine or log.steps is None:
        return None
    found = history.points([mine[LEAD], mine[DATA]], around)
    lead, data = found[mine[LEAD].id], found[mine[DATA].id]
    known = np.isfinite(lead.place) & np.isfinite(lead.value)
    if not known.any():
        return None
    end_s, data_s = data.place, data.value
    place = np.clip(np.searchsorted(lead.place[known], end_s), 0, int(known.sum()) - 1)
    same = lead.place[known][place] == end_s
    lead_s = np.where(same, lead.value[known][place], np.nan)
    return StepLeads(end_s, data_s, lead_s, np.isfinite(data_s))
