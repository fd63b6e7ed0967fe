"""Answers as JSON: what `queries` returns, in the shapes of docs/http-api.md. Times are Unix seconds."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors import catalog
from collectors.analysis.stacks.source import Excerpt
from collectors.records import Event, LogLine, Offset
from collectors.store.protocol import LivePoints, LogPage, Series

from .encoding import encode
from .machine import GpuUser, Machine
from .queries import Curve, Curves, Profiler, RankView, RunDetail, State
from .runs import RunView
from .stacks import Charted, Folded

FEW = 16  # values, as in a delta: fewer are looked at faster in a list


def numbers(values: NDArray[np.float64]) -> NDArray[np.float64] | list[float | str]:
    """Values that were logged: non-finite ones travel as the strings "NaN", "Infinity", "-Infinity"."""
    if len(values) > FEW:
        return values if np.isfinite(values).all() else [number(value) for value in values.tolist()]
    listed: list[float | str] = values.tolist()
    return listed if all(map(math.isfinite, values.tolist())) else [number(value) for value in values.tolist()]


def number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def run(view: RunView) -> dict[str, Any]:
    stored = view.stored
    return {
        "run": stored.name,
        "state": view.state,
        "state_reason": view.state_reason,
        "pid": view.pid,
        "started_s": view.started_s,
        "cwd": view.cwd,
        "ranks_seen": view.ranks.seen,
        "world_size": view.ranks.world_size,
        "ranks_note": view.ranks.note,
        "last_time_s": stored.last_time_s,
        "last_step": stored.last_step,
        "series": stored.series,
        "points": stored.points,
        "timed": stored.timed,
        "lines_read": stored.lines_read,
        "lines_skipped": stored.lines_skipped,
        "fields_skipped": stored.fields_skipped,
        "files_aside": stored.files_aside,
        "trouble": stored.trouble,
        "info": stored.info,
    }


def run_detail(detail: RunDetail) -> dict[str, Any]:
    return {
        **run(detail.run),
        "attempts": [event(attempt) for attempt in detail.attempts],
        "processes": [rank(process) for process in detail.processes],
    }


def rank(view: RankView) -> dict[str, Any]:
    told = {**view.identity._asdict(), "rank": view.process.rank}
    return {"pid": view.process.pid, **told, "gpus": view.gpus.indices, "gpus_from": view.gpus.source}


def file(offset: Offset) -> dict[str, Any]:
    names = ("path", "offset", "lines_read", "lines_skipped", "fields_skipped", "first_skip", "trouble")
    return {name: getattr(offset, name) for name in names}


def series(row: Series) -> dict[str, Any]:
    known = {"unit": catalog.unit_of(row.name), "label": catalog.label_of(row.name), "labels": dict(row.labels)}
    times = ("points", "first_time_s", "last_time_s", "first_step", "last_step")
    return {"name": row.name, **known, **{name: getattr(row, name) for name in times}}


def curves(answer: Curves) -> bytes:
    """As JSON, made curve by curve: no other thread runs while a part is made, so none may be long."""
    parts = b",".join(encode(curve(one)) for one in answer.curves)
    return b'{"cursor":%d,"series":[%b]}' % (answer.cursor, parts)


def curve(one: Curve) -> dict[str, Any]:
    columns = one.buckets._asdict()
    columns["last"] = numbers(one.buckets.last)
    return {"name": one.series.name, "labels": dict(one.series.labels), "unit": one.unit, **columns}


def live_points(points: LivePoints) -> dict[str, Any]:
    return {
        "run": points.run,
        "name": points.name,
        "labels": dict(points.labels),
        "t": points.time_s,
        "v": numbers(points.value),
        "step": points.step,
        "segment": points.segment,
    }


def line(one: LogLine) -> dict[str, Any]:
    return {"run": one.run, "time_s": one.time_s, "level": one.level, "file": one.file, "text": one.text}


def log_page(page: LogPage) -> dict[str, Any]:
    return {"lines": [line(one) for one in page.lines], "total": page.total, "before": page.before}


def event(one: Event) -> dict[str, Any]:
    own = {name: getattr(one, name) for name in ("run", "kind", "time_s", "rank", "step", "seconds", "text")}
    return {**one.fields, **own}


def flame(answer: Folded, profiler: Profiler) -> dict[str, Any]:
    plain = {name: getattr(answer, name) for name in ("units", "baseline_units", "per", "normal", "profile_until")}
    ranks = sorted({thread.rank for thread in answer.tree.threads})
    phases = [asdict(phase) for phase in answer.phases]
    return {**answer.tree.as_json(), **plain, "ranks": ranks, "phases": phases, **asdict(profiler)}


def flamechart(answer: Charted) -> dict[str, Any]:
    return {**answer.chart.as_json(), "profile_until": answer.profile_until}


def source(answer: Excerpt) -> dict[str, Any]:
    return asdict(answer)


def machine(answer: Machine) -> dict[str, Any]:
    return {"gpus": [_gpu(gpu, answer.latest(gpu)) for gpu in answer.gpus], "note": answer.note, "looks": answer.looks}


def _gpu(gpu: dict[str, Any], latest: dict[str, float]) -> dict[str, Any]:
    reasons = catalog.reasons_of(int(latest.get("gpu/clock_event_reasons", 0)))
    return {**gpu, "latest": latest, "clock_reasons": reasons}


def gpu_user(one: GpuUser) -> dict[str, Any]:
    owner = one.owner._asdict() if one.owner else {"run": None, "rank": None}
    return {"gpu": one.gpu, "mig": one.mig, **one.process, **owner}


def state(answer: State) -> dict[str, Any]:
    names = ("time_s", "host", "log_dir", "read_only", "collectors", "gpus", "gpu_note", "profile", "problems")
    return {**{name: getattr(answer, name) for name in names}, "cost": asdict(answer.cost)}


def health(answer: State) -> dict[str, Any]:
    return {
        "status": answer.status,
        "collectors": answer.collectors,
        "problems": answer.problems,
        "cpu_pct": answer.cost.cpu_pct,
        "rss_bytes": answer.cost.rss_bytes,
    }
