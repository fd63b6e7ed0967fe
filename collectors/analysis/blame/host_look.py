"""Whether other programs kept the machine's cores busy in a window, more than in its baseline."""

from __future__ import annotations

from collections.abc import Sequence

from ...catalog import HOST
from ...store.protocol import Series
from ..history import History
from ..stacks.traces import Range
from .verdict import HostLook

BUSY, OF_RUN, OF_CORE = "host/cpu_pct", "host/run_cpu_pct", "host/cpu_core_pct"
PERIOD_S = {metric.name: source.period_s for source in HOST for metric in source.metrics}


def look(history: History, window: Range, baseline: Sequence[Range]) -> HostLook | None:
    """None where one of the two lacks what the machine or what the run itself used."""
    known = history.machine_series()
    cores = len({dict(series.labels).get("core") for series in known if series.name == OF_CORE})
    ranks = [series for series in known if series.name == OF_RUN and dict(series.labels).get("run") == history.run]
    of_all = [series for series in known if series.name == BUSY]
    busy_pct, of_rank_pct = _means(history, of_all, window, baseline), _means(history, ranks, window, baseline)
    if not cores or busy_pct is None or of_rank_pct is None:
        return None
    own = (len(ranks) * of_rank_pct[0] / 100, len(ranks) * of_rank_pct[1] / 100)
    others = (max(0.0, cores * busy_pct[0] / 100 - own[0]), max(0.0, cores * busy_pct[1] / 100 - own[1]))
    return HostLook(cores, busy_pct, own, others)


def _means(
    history: History, series: Sequence[Series], window: Range, baseline: Sequence[Range]
) -> tuple[float, float] | None:
    """Over window and baseline, of series of one name. A value stands for the period before it."""
    if not series:
        return None
    name = series[0].name
    sides = [[(lo, hi + PERIOD_S[name]) for lo, hi in side] for side in ([window], baseline)]
    here, there = history.values(series, *sides)[name]
    return (float(here.mean()), float(there.mean())) if len(here) and len(there) else None
