"""Whether other programs kept the machine's cores busy in a window, more than in its normal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...catalog import HOST
from ...store.protocol import Series, Store
from ..baseline.steplog import values_of
from ..stacks.traces import Floats, Range
from .verdict import HostLook

BUSY, OF_RUN, OF_CORE = "host/cpu_pct", "host/run_cpu_pct", "host/cpu_core_pct"
PERIOD_S = {metric.name: source.period_s for source in HOST for metric in source.metrics}


def look(store: Store, run: str, window: Range, normal: Sequence[Range]) -> HostLook | None:
    """None where one of the two lacks what the machine or what the run itself used."""
    known = store.series(None)
    cores = len({dict(one.labels).get("core") for one in known if one.name == OF_CORE})
    ranks = [one for one in known if one.name == OF_RUN and dict(one.labels).get("run") == run]
    busy_pct, of_rank_pct = _means(store, BUSY, window, normal), _means(store, OF_RUN, window, normal, ranks)
    if not cores or busy_pct is None or of_rank_pct is None:
        return None
    own = (len(ranks) * of_rank_pct[0] / 100, len(ranks) * of_rank_pct[1] / 100)
    others = (max(0.0, cores * busy_pct[0] / 100 - own[0]), max(0.0, cores * busy_pct[1] / 100 - own[1]))
    return HostLook(cores, busy_pct, own, others)


def _means(
    store: Store, name: str, window: Range, normal: Sequence[Range], only: Sequence[Series] | None = None
) -> tuple[float, float] | None:
    """Over window and normal. A value tells of the period before it."""
    sides = [[(lo, hi + PERIOD_S[name]) for lo, hi in side] for side in ([window], normal)]
    none: list[Floats] = [np.zeros(0), np.zeros(0)]
    here, there = values_of(store, None, [name], *sides, only=only).get(name, none)
    return (float(here.mean()), float(there.mean())) if len(here) and len(there) else None
