"""Recordings of healthy runs: their points, events and host series as small files, and the same drawn anew for hours."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.findings import rule
from analysis.findings.working_set import MACHINE, RUNS_OWN
from collectors.records import Event, Labels, Points, Record
from collectors.store.store import Store
from tests.support.judged import HOSTS

FOLDER = Path(__file__).parents[1] / "data" / "recorded" / "findings"
LIVES = {"start", "end", "process", "exit"}
BLOCK_S = 60.0
TREND_POINTS = 101
Column = NDArray[np.float64]


class HealthySeries(NamedTuple):
    """`run` is whether it is one of the run, or else of the machine while it ran."""

    name: str
    rank: int
    run: bool
    time_s: Column  # since the beginning
    step: Column  # NaN where there is none
    value: Column


class HealthyRun(NamedTuple):
    name: str
    seconds: float
    series: list[HealthySeries]
    events: list[Event]  # times since the beginning; begins and ends of processes among them

    @property
    def ranks(self) -> int:
        return 1 + max((row.rank for row in self.series if row.run), default=0)


def of_store(store: Store, run: str) -> HealthyRun:
    """What the rules that need no stacks look at."""
    rows = [row for row in store.series(run) if row.first_time_s is not None]
    begin_s = min(row.first_time_s or 0.0 for row in rows)
    end_s = max(row.last_time_s or 0.0 for row in rows)
    machine = [
        row
        for row in store.series(None)
        if (row.name in MACHINE and not row.name.startswith("gpu/"))
        or (row.name in RUNS_OWN and dict(row.labels).get("run") == run)
    ]
    series = []
    for row, is_own in [*((row, True) for row in rows), *((row, False) for row in machine)]:
        points = store.points([row.id], begin_s, end_s)[row.id]
        rank = int(dict(row.labels).get("rank", "0"))
        series.append(HealthySeries(row.name, rank, is_own, points.place - begin_s, points.step, points.value))
    events = [
        event._replace(time_s=event.time_s - begin_s)
        for event in store.events(run)
        if begin_s - 60 <= event.time_s <= end_s
    ]
    return HealthyRun(run, end_s - begin_s, series, events)


def write(run: HealthyRun, folder: Path = FOLDER) -> Path:
    """As JSON of rounded numbers, compressed: 20 to 100 kB a run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.name}.json.z"
    series = [
        {**row._asdict(), "time_s": _written(row.time_s, 3), "step": _written(row.step, 0), "value": [float(f"{value:.5g}") for value in row.value]}
        for row in run.series
    ]  # fmt: skip
    events = [{"kind": event.kind, "time_s": round(event.time_s, 3), "rank": event.rank, "step": event.step, "seconds": event.seconds} for event in run.events]  # fmt: skip
    text = json.dumps(
        {"name": run.name, "seconds": run.seconds, "series": series, "events": events}, separators=(",", ":")
    )
    path.write_bytes(zlib.compress(text.encode(), 9))
    return path


def _written(column: Column, digits: int) -> list[float | None]:
    """Differences, which compress well."""
    rounded = np.round(column, digits)
    differences = np.diff(rounded, prepend=0.0)
    return [None if value != value else round(value, digits) for value in differences.tolist()]


def read(path: Path) -> HealthyRun:
    found = json.loads(zlib.decompress(path.read_bytes()))
    series = [
        HealthySeries(
            row["name"],
            row["rank"],
            row["run"],
            _read(row["time_s"]),
            _read(row["step"]),
            np.array(row["value"], float),
        )
        for row in found["series"]
    ]
    events = [Event(found["name"], row["kind"], row["time_s"], rank=row["rank"] or 0, step=row["step"], seconds=row["seconds"]) for row in found["events"]]  # fmt: skip
    return HealthyRun(found["name"], found["seconds"], series, events)


def read_case(path: Path) -> HealthyRun:
    """What `POST /api/v1/findings/useless` kept."""
    case = json.loads(gzip.decompress(path.read_bytes()))
    known = [row for row in case["series"] if row["time_s"] and row["time_s"][0] is not None]
    begin_s = min(row["time_s"][0] for row in known)
    column = {
        name: [np.array([np.nan if value is None else value for value in row[name]]) for row in known]
        for name in ("time_s", "step", "value")
    }
    series = [
        HealthySeries(row["name"], int(row["labels"].get("rank", "0")), row["run"], time_s - begin_s, step, value)
        for row, time_s, step, value in zip(known, *column.values(), strict=True)
    ]
    events = [Event(**event)._replace(time_s=event["time_s"] - begin_s) for event in case["events"]]
    last_s = max(float(np.nanmax(row.time_s)) for row in series)
    return HealthyRun(case["finding"]["run"] or "machine", last_s, series, events)


def _read(differences: list[Any]) -> Column:
    column: Column = np.cumsum(np.array([np.nan if value is None else value for value in differences], float))
    return column


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.json.z"))


def by_second(run: HealthyRun, begin_s: float) -> dict[int, list[Record]]:
    """By whole seconds since the beginning, what came in that second; without the events of processes."""
    found: dict[int, list[tuple[float, Record]]] = defaultdict(list)
    for row in run.series:
        steps = [None if step != step else int(step) for step in row.step.tolist()]
        of_rank: Labels = (("rank", str(row.rank)),) if row.rank else ()
        of_host: Labels = (*HOSTS, *of_rank, ("run", run.name)) if row.name in RUNS_OWN else HOSTS
        labels = of_rank if row.run else of_host
        owner = run.name if row.run else None
        for time_s, step, value in zip(row.time_s.tolist(), steps, row.value.tolist(), strict=True):
            found[int(time_s)].append((time_s, Points(owner, labels, (row.name,), (value,), begin_s + time_s, step)))
    for event in run.events:
        if event.kind not in LIVES:
            found[int(event.time_s)].append((event.time_s, event._replace(time_s=begin_s + event.time_s)))
    return {second: [record for _, record in sorted(rows, key=lambda row: row[0])] for second, rows in found.items()}


def drawn_anew(run: HealthyRun, hours: float, seed: int) -> Iterator[HealthyRun]:
    """Hour by hour, blocks of a minute of it in random order: the step times, the losses about their level, the host as it was.

    Blocks come from after the first minute, in which a loss falls as it does once only. Steps go on from block to block, and so do
    the levels of losses and norms: their slow part is taken off, and a level that falls gently over the hours is put in its place.
    """
    random = np.random.default_rng(seed)
    level = [_levelled(row) for row in run.series]
    step = 0.0
    for hour in range(int(hours)):
        pieces: list[list[tuple[Column, Column, Column]]] = [[] for _ in run.series]
        events: list[Event] = []
        for block in range(int(3600 / BLOCK_S)):
            lo = random.uniform(BLOCK_S, run.seconds - BLOCK_S)
            at_s = hour * 3600 + block * BLOCK_S
            inside = [(row.time_s >= lo) & (row.time_s < lo + BLOCK_S) for row in run.series]
            known = [row.step[mask] for row, mask in zip(run.series, inside, strict=True) if row.run]
            first, last = _bounds(known)
            for place, (row, mask) in enumerate(zip(run.series, inside, strict=True)):
                steps = np.clip(row.step[mask] - first, 0, None) + step
                pieces[place].append((row.time_s[mask] - lo + at_s, steps, level[place](mask, at_s)))
            for event in run.events:
                if event.kind not in LIVES and lo <= event.time_s < lo + BLOCK_S:
                    moved = None if event.step is None else int(step + max(0, event.step - first))
                    events.append(event._replace(time_s=event.time_s - lo + at_s, step=moved))
            step += last - first + 1
        series = [
            row._replace(time_s=columns[0], step=columns[1], value=columns[2])
            for row, columns in ((row, [np.concatenate(column) for column in zip(*piece, strict=True)]) for row, piece in zip(run.series, pieces, strict=True))
        ]  # fmt: skip
        yield HealthyRun(run.name, 3600.0, series, events)


def _bounds(steps: list[Column]) -> tuple[float, float]:
    """The first and the last step; where a run went back in the block, as if it had not."""
    known = [column[np.isfinite(column)] for column in steps]
    whole = np.concatenate(known) if known else np.zeros(0)
    return (float(whole.min()), float(whole.max())) if len(whole) else (0.0, 0.0)


def _levelled(row: HealthySeries) -> Any:
    """A function of which points and of the time in the simulation."""
    if (
        not row.run
        or not (rule.is_loss(row.name) or rule.is_gradient(row.name) or rule.is_result(row.name))
        or len(row.value) < 20
    ):
        return lambda mask, at_s: row.value[mask]
    usual = _slow_part(row.value)
    middle = float(np.median(usual[len(usual) // 2 :]))
    if rule.is_gradient(row.name):
        return lambda mask, at_s: row.value[mask] / usual[mask] * middle
    rest = row.value - usual
    return lambda mask, at_s: rest[mask] + middle * (1 + 0.5 * np.exp(-at_s / 7200))


def _slow_part(value: Column) -> Column:
    half = TREND_POINTS // 2
    finite = np.where(np.isfinite(value), value, np.nanmedian(value[np.isfinite(value)]))
    padded = np.pad(finite, half, mode="edge")
    slow: Column = np.median(np.lib.stride_tricks.sliding_window_view(padded, TREND_POINTS), axis=1)
    return np.where(slow == 0, 1e-9, slow)
