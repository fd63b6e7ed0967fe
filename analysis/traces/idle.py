"""Why a card was idle: what the thread did that started the next thing on it.

An idle piece ends with something that a call on the host started. Until that call began the host was late, and what its thread did in
that time is the cause; from then on the call and the card's own queue took the time.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from .device import DeviceTimeline, launches_of
from .events import Floats, Trace, TraceKind, Whole


class IdleCause(IntEnum):
    """In the order in which they count where several hold at once."""

    DATA = 0  # the thread waited for a batch, or made one
    COLLECTIVE = 1  # it was in a collective on the host, such as gloo's
    SYNC = 2  # it waited for the card: nothing was queued behind that
    COPY = 3  # it was in a call that copies
    HOST = 4  # anything else on the host: Python, operators, other calls
    LAUNCH = 5  # the call was made: its latency, or the queue waited for an event
    UNKNOWN = 6  # the trace has no call for what came next


IdleCauseName: TypeAlias = Literal["data", "collective", "sync", "copy", "host", "launch", "unknown"]


def name_of_cause(cause: IdleCause) -> IdleCauseName:
    return cast(IdleCauseName, cause.name.lower())


ON_HOST = (IdleCause.DATA, IdleCause.COLLECTIVE, IdleCause.SYNC, IdleCause.COPY)
NAMED = {
    IdleCause.DATA: re.compile(
        r"enumerate\(DataLoader\)|.*\bdataloader\.py\(\d+\): __next__|(?>.*?DataLoader).*__next__"
    ),
    IdleCause.COLLECTIVE: re.compile(r"gloo:|c10d::|mpi:|record_param_comms"),
    IdleCause.SYNC: re.compile(r"(?:cuda|hip)(?:Device|Stream|Event)Synchronize|cu(?:Ctx|Stream|Event)Synchronize"),
    IdleCause.COPY: re.compile(r"(?:cuda|hip)Memcpy|cuMemcpy"),
}
KINDS = {
    IdleCause.DATA: (TraceKind.ANNOTATION, TraceKind.OPERATOR, TraceKind.PYTHON),
    IdleCause.COLLECTIVE: (TraceKind.ANNOTATION, TraceKind.OPERATOR),
    IdleCause.SYNC: (TraceKind.RUNTIME,),
    IdleCause.COPY: (TraceKind.RUNTIME,),
}


class IdlePieces(NamedTuple):
    """Of one card. `by_cause[piece, cause]` are microseconds; a row adds up to the length of its piece."""

    places: Whole  # in the timeline
    by_cause: Floats


def idle_of(trace: Trace, timeline: DeviceTimeline) -> IdlePieces:
    places = timeline.idle()
    begun, ended = timeline.start_us[places], timeline.end_us[places]
    launches = launches_of(trace, timeline.next_row[places])
    known = launches >= 0
    called = np.where(known, np.clip(trace.start_us[launches], begun, ended), ended)
    found = np.zeros((len(places), len(IdleCause)))
    found[:, IdleCause.UNKNOWN] = np.where(known, 0.0, ended - begun)
    found[:, IdleCause.LAUNCH] = np.where(known, ended - called, 0.0)
    of_cause = {cause: _rows_of(trace, cause) for cause in ON_HOST}
    for thread in np.unique(trace.thread[launches[known]]):
        mine = np.flatnonzero(known & (trace.thread[launches] == thread))
        covered, cumulated = np.zeros(len(mine)), np.zeros((0, 2))
        for cause in ON_HOST:
            rows = of_cause[cause][trace.thread[of_cause[cause]] == thread]
            spans = np.stack([trace.start_us[rows], trace.end_us[rows]], axis=1)
            cumulated = spans if not len(cumulated) else np.concatenate([cumulated, spans])
            now = _within(cumulated, begun[mine], called[mine])
            found[mine, cause] = now - covered
            covered = now
        found[mine, IdleCause.HOST] = called[mine] - begun[mine] - covered
    return IdlePieces(places, np.maximum(found, 0.0))


def _rows_of(trace: Trace, cause: IdleCause) -> Whole:
    """What the host did of this kind."""
    names = [id_ for id_, text in enumerate(trace.texts) if NAMED[cause].match(text)]
    return np.flatnonzero(np.isin(trace.name, names) & np.isin(trace.kind, KINDS[cause]))


def _within(spans: Floats, begun: Floats, ended: Floats) -> Floats:
    """How much of each interval lies in the union of the spans."""
    if not len(spans):
        return np.zeros(len(begun))
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    firsts = np.flatnonzero(np.concatenate([[True], spans[1:, 0] > reach[:-1]]))
    starts, ends = spans[firsts, 0], np.concatenate([reach[firsts[1:] - 1], reach[-1:]])
    times = np.stack([starts, ends], axis=1).ravel()
    lasted = np.concatenate([[0.0], np.cumsum(ends - starts)])
    sums = np.stack([lasted[:-1], lasted[1:]], axis=1).ravel()
    within: Floats = np.interp(ended, times, sums) - np.interp(begun, times, sums)
    return within
