"""The curves of a report: loss, steps per second, and what the GPUs did, else the machine's cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from collectors import catalog
from collectors.analysis.baseline.steplog import StepLog
from collectors.analysis.baseline.units import Units
from collectors.analysis.stacks.traces import Range
from collectors.store.protocol import Buckets, Series

from ..curves.asked import STEP, TIME, CurveQuery
from ..queries import Queries
from ..runs import RunView
from ..runs_table.roles import roles_of
from .findings import ReportCurves, ReportLine, ReportPlot

BUCKETS = 200  # of a line
MOST_LINES = 8  # of a plot
OF_GPUS = ("gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w")
OF_HOST = ("host/cpu_pct", "host/memory_used_bytes")


def curves_of(queries: Queries, run: RunView, window: Range | None, log: StepLog | None) -> ReportCurves:
    """Those that there are. Series of the machine come with a window only; `log` is None where nothing is known of steps."""
    series = queries.series(run.stored.name)
    plots = [*_of_run(queries, run, series, window)]
    if window is not None:
        plots += [*_pace(log, window, run.stored.last_time_s), *_of_machine(queries, window)]
    drawn = sum(len(plot.lines) for plot in plots)
    return ReportCurves(plots, TIME if window else STEP, max(0, len(series) - drawn))


def _of_run(queries: Queries, run: RunView, series: Sequence[Series], window: Range | None) -> Iterator[ReportPlot]:
    roles = roles_of(Counter(found.name for found in series))
    loss, judged, tokens = roles.loss[:1], roles.judged[:1], roles.tokens[:1]
    names = list(dict.fromkeys((*loss, *judged, *tokens)))
    lo, hi = window or (None, None)
    query = CurveQuery([run.stored.name], names, TIME if window else STEP, lo, hi, BUCKETS)
    found = queries.overlays.overlay(query).curves if names else []
    for name in names:
        curves = [curve for curve in found if curve.series == name and len(curve.buckets.t)]
        lines = [ReportLine(_labelled(curve.labels, curves), curve.buckets) for curve in curves]
        if lines:
            yield ReportPlot(name, catalog.unit_of(name), lines[:MOST_LINES], len(lines) - len(lines[:MOST_LINES]))


def _labelled(labels: Sequence[tuple[str, str]], curves: Sequence[object]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels if name != "host") if len(curves) > 1 else ""


def _pace(log: StepLog | None, window: Range, logged_s: float | None) -> Iterator[ReportPlot]:
    """Up to the last line: what goes on since may be steps that are not written yet."""
    until_s = min(window[1], logged_s) if logged_s is not None else window[1]
    buckets = pace_buckets(log.steps, (window[0], until_s)) if log and log.steps and until_s > window[0] else None
    if log and buckets:
        yield ReportPlot(f"{log.unit_name}s per second", "", [ReportLine("", buckets)])


def pace_buckets(units: Units, window: Range, most: int = BUCKETS) -> Buckets | None:
    """Units per second in equally wide parts of the window, with the slowest and the fastest unit that ends in each; None without any."""
    inside = (units.end_s > window[0]) & (units.end_s <= window[1]) & (units.end_s > units.start_s)
    if not inside.any():
        return None
    end_s, rate = units.end_s[inside], 1 / units.seconds[inside]
    width_s = (window[1] - window[0]) / most
    part = np.minimum((end_s - window[0]) / width_s, most - 1).astype(np.int64)
    parts, where = np.unique(part, return_inverse=True)
    count, seconds = (
        np.bincount(where, units.units[inside]),
        np.bincount(where, units.end_s[inside] - units.start_s[inside]),
    )
    least, most_rate = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(least, where, rate)
    np.maximum.at(most_rate, where, rate)
    mean = count / seconds
    first_s, last_s = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(first_s, where, end_s)
    np.maximum.at(last_s, where, end_s)
    nothing = np.full(len(parts), np.nan)
    whole = np.bincount(where)
    zeros = np.zeros(len(parts), np.int64)
    return Buckets(first_s, last_s, nothing, zeros, least, most_rate, mean, mean, whole, zeros, int(inside.sum()))


def _of_machine(queries: Queries, window: Range) -> Iterator[ReportPlot]:
    names = {found.name for found in queries.series(None)}
    for name in OF_GPUS if OF_GPUS[0] in names or OF_GPUS[1] in names else OF_HOST:
        if name not in names:
            continue
        found = queries.curves(None, [name], lo=window[0], hi=window[1], buckets=BUCKETS).curves
        there = sorted((series for series in found if len(found[series].t)), key=_card)
        lines = [ReportLine(_card_name(series), found[series]) for series in there[:MOST_LINES]]
        if lines:
            yield ReportPlot(catalog.label_of(name), catalog.unit_of(name), lines, len(there) - len(lines))


def _card(series: Series) -> tuple[int, str]:
    index = dict(series.labels).get("gpu", "")
    return int(index) if index.isdecimal() else 0, str(series.labels)


def _card_name(series: Series) -> str:
    labels = dict(series.labels)
    return f"GPU {labels['gpu']}" if "gpu" in labels else ""
