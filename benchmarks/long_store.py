"""A store of weeks, made in minutes: some hours are written by the store itself, and their rows stand again at each later time.

Eight GPUs and a host of 96 cores at the periods of the catalog, eight ranks that log ten steps a second (eight series of rank 0, four of
each other rank) and are sampled 100 times a second. Of a copy only times, steps and places differ; what is older than a week is a copy
of the same hours after the store has thinned them. Pages are made by the store's own compaction.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors import catalog
from collectors.records import Event, Frame, Labels, Points, Profile, Record, RunInfo, StackSample, labels_of
from collectors.store.protocol import Thinning
from collectors.store.sqlite import files, schema, stacks
from collectors.store.sqlite.columns import chunks, codec
from collectors.store.sqlite.columns.groups import NO_STEP
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.ingest import FileWriter
from collectors.store.sqlite.thinning.thinner import Thinner

RUN, HOST = "long", "gpu-07"
GPUS, RANKS, CORES = 8, 8, 96
STEPS_A_S = 10
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
HZ, WINDOW_S = 100, 5.0  # of the native sampler
STACKS = 300  # different ones of the job
THIN_AFTER_S = 7 * DAY_S
SCALARS = ("train/loss", "train/lr", "train/grad_norm", "train/tokens_per_s")
PHASES = ("phase/data_s", "phase/forward_s", "phase/backward_s", "phase/optimizer_s")
LEVELS = {"%": 85.0, "W": 600.0, "°C": 60.0, "B/s": 2e9, "s": 40.0}
OWN_TIMES = ("gpu.utilization", "gpu.memory_utilization")  # the driver's samples come with times of their own
FAST = {"gpu.pcie": 0.2}  # on Hopper with the other counters of GPM
STATE = {"": 4.0, "B": 6.2e10, "MHz": 1980.0}  # of a card in steady work these stay as they are

Floats = NDArray[np.float64]


class Source(NamedTuple):
    """Metrics that come together, from one device."""

    labels: Labels
    metrics: tuple[catalog.Metric, ...]
    period_s: float


def sources() -> list[Source]:
    """The collectors' rows: of a card all metrics of one period share one."""
    together: dict[tuple[float, str], list[catalog.Metric]] = defaultdict(list)
    for source in catalog.GPU:
        if source.metrics and source.key != "gpu.xid":
            period_s = FAST.get(source.key, source.period_s)
            together[period_s, source.key if source.key in OWN_TIMES else ""] += source.metrics
    cards = [labels_of(gpu=gpu, host=HOST, uuid=f"GPU-{gpu}") for gpu in range(GPUS)]
    found = [Source(card, tuple(metrics), period_s) for card in cards for (period_s, _), metrics in together.items()]
    for source in catalog.HOST:
        devices = [labels_of(host=HOST)]
        if source.key == "host.cores":
            devices = [labels_of(core=core, host=HOST) for core in range(CORES)]
        if source.key == "host.runs":
            devices = [labels_of(host=HOST, rank=rank, run=RUN) for rank in range(RANKS)]
        found += [Source(device, source.metrics, source.period_s) for device in devices]
    return found


def machine_minute(start_s: float, known: Sequence[Source], rng: np.random.Generator) -> Iterator[Record]:
    for source in known:
        count = max(1, round(MINUTE_S / source.period_s))
        times = start_s + np.arange(count) * source.period_s + rng.uniform(0, 0.003, count)
        columns = [column(metric, times, rng) for metric in source.metrics]
        names = tuple(metric.name for metric in source.metrics)
        for at_s, values in zip(times.tolist(), np.stack(columns, axis=1).tolist(), strict=True):
            yield Points(None, source.labels, names, tuple(values), at_s, None)


def column(metric: catalog.Metric, times: Floats, rng: np.random.Generator) -> Floats:
    if metric.counter:
        return np.floor(times % (7 * DAY_S)) if metric.unit else np.zeros(len(times))
    if metric.unit in STATE:
        return np.full(len(times), STATE[metric.unit])
    level = LEVELS.get(metric.unit, 50.0)
    return np.round(np.clip(level * (1 + 0.05 * rng.standard_normal(len(times))), 0, None), 0 if metric.unit == "B/s" else 2)


def ranks_minute(start_s: float, step: int, rng: np.random.Generator) -> Iterator[Record]:
    """Lines of all ranks, in order of time: `step` is that of the first."""
    count = round(MINUTE_S * STEPS_A_S)
    phases = np.round(np.array([0.004, 0.03, 0.045, 0.015]) * rng.uniform(0.9, 1.1, (RANKS, count, 4)), 6).tolist()
    scalars = np.round([2.1, 3e-4, 0.6, 41_000.0] * rng.uniform(0.95, 1.05, (count, 4)), 4).tolist()
    late = rng.uniform(0, 0.01, (RANKS, count)).tolist()
    labels = [labels_of(host=HOST, rank=rank or None) for rank in range(RANKS)]
    for rank in range(RANKS):
        for i in range(count):
            names, values = (SCALARS + PHASES, scalars[i] + phases[rank][i]) if rank == 0 else (PHASES, phases[rank][i])
            yield Points(RUN, labels[rank], names, tuple(values), start_s + i / STEPS_A_S + late[rank][i], step + i)


def known_stacks() -> list[tuple[Frame, ...]]:
    """Of a training job: 25 to 45 frames, of which those near the root are the same in all."""
    rng = np.random.default_rng(7)
    root = [Frame(f"call_{depth}", f"/job/part_{depth % 5}.py", 10 + depth) for depth in range(15)]
    found = []
    for number in range(STACKS):
        path, branch = [*root], number
        for depth in range(int(rng.integers(10, 30))):
            branch = branch // 2 if depth < 5 else number
            path.append(Frame(f"forward_{depth}_{branch % 40}", f"/job/site-packages/torch/module_{branch % 23}.py", depth * 7 + 3))
        found.append(tuple(path))
    return found


def stacks_minute(start_s: float, known: Sequence[tuple[Frame, ...]], rng: np.random.Generator) -> Iterator[Record]:
    """Of each rank's main thread a new stack every 40 ms on average, and a thread that waits."""
    looks = int(WINDOW_S * HZ)
    for window in range(round(MINUTE_S / WINDOW_S)):
        for rank in range(RANKS):
            lengths = rng.geometric(0.25, looks)
            ends = np.minimum(np.cumsum(lengths), looks)
            ends = ends[: int(np.searchsorted(ends, looks)) + 1]
            which = np.minimum(rng.exponential(45, len(ends)).astype(int), STACKS - 1).tolist()
            pid = 4000 + rank
            begin, samples = 0, [StackSample(0, int(WINDOW_S * 1e9), pid + 100, known[0][:12], False, 0)]
            for end, number in zip(ends.tolist(), which, strict=True):
                samples.append(
                    StackSample(begin * 10**9 // HZ, (end - begin) * 10**9 // HZ, pid, known[number], True, (end - begin) * 9 * 10**6)
                )
                begin = end
            about = (RUN, rank, pid, "main", HOST, "native", float(HZ), start_s + window * WINDOW_S, 0, int(WINDOW_S * 1e9))
            yield Profile(*about, {pid: "MainThread", pid + 100: "pin_memory"}, samples, 2 * looks)


def write_hours(folder: Path, start_s: float, hours: float) -> None:
    """By the store itself, as if all that came in a minute were one commit."""
    rng, known, stacks_known = np.random.default_rng(1), sources(), known_stacks()
    store = SqliteStore(folder, write=True)
    for minute in range(round(hours * 60)):
        at_s = start_s + minute * MINUTE_S
        store.append(ranks_minute(at_s, round(minute * MINUTE_S * STEPS_A_S), rng))
        store.append([*machine_minute(at_s, known, rng), *stacks_minute(at_s, stacks_known, rng)])
        store.compact(0.05)
    store.settle()
    store.close()


def thinned(folder: Path, target: Path) -> None:
    """The machine file of a folder, thinned by the store."""
    target.mkdir()
    (week,) = files.machine_files(folder)
    shutil.copyfile(week, target / week.name)
    whole = {metric.name for metric, _ in catalog.rows() if not metric.unit and not metric.counter}
    counters = {metric.name for metric, _ in catalog.rows() if metric.counter}
    thinning = Thinning(0.0, lambda lo, hi: [], whole, counters)
    later_s = files.week_start(week) + 40 * DAY_S
    Thinner(target, thinning, lambda name: None, clock=lambda: later_s, first_s=0.0).run(math.inf)


class Block:
    """The rows of one file, decoded as far as they change with time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            self.is_thin = {axis for (axis,) in db.execute("SELECT DISTINCT axis FROM chunk WHERE units > 0")}
            axes = db.execute("SELECT id, data FROM axis ORDER BY id").fetchall()
            self.axes = [(axis, codec.decode(data) if axis in self.is_thin else list(chunks.read_axis(data))) for axis, data in axes]
            self.chunks = db.execute("SELECT * FROM chunk ORDER BY series, start").fetchall()
            self.rows: dict[int, int] = dict(db.execute("SELECT id, points FROM series"))
            query = f"SELECT {stacks.COLUMNS} FROM profile ORDER BY id"
            profiles = map(stacks.ProfileRow._make, db.execute(query)) if "profile" in tables else ()
            self.profiles = [(row, stacks.decode(row.data)) for row in profiles]

    def stand(self, db: sqlite3.Connection, later_s: float, steps: int, places: dict[int, int]) -> None:
        """Once more, so much later, behind `places` points of each series."""
        (axis_id,) = db.execute("SELECT coalesce(max(id), 0) FROM axis").fetchone()
        new = {axis: axis_id + 1 + number for number, (axis, _) in enumerate(self.axes)}
        db.executemany("INSERT INTO axis VALUES (?, ?)", ((new[axis], self._later(axis, of, later_s, steps)) for axis, of in self.axes))
        db.executemany(
            f"INSERT INTO chunk VALUES (NULL, {', '.join('?' * 18)})", (self._chunk(row, later_s, steps, new, places) for row in self.chunks)
        )
        db.executemany(
            f"INSERT INTO profile VALUES (NULL, {', '.join('?' * 15)})",
            (
                (*row[1:8], row.start_s + later_s, row.end_s + later_s, *row[10:14], _encoded(spans, later_s), row.thinned)
                for row, spans in self.profiles
            ),
        ) if self.profiles else None
        for series, count in self.rows.items():
            places[series] = places.get(series, 0) + count

    def _later(self, axis: int, columns: list[Any], later_s: float, steps: int) -> bytes:
        if axis in self.is_thin:
            return codec.encode([columns[0].view(np.float64) + later_s, columns[1].view(np.float64) + later_s, columns[2]])
        return codec.encode([columns[0] + later_s, np.where(columns[1] == NO_STEP, NO_STEP, columns[1] + steps)])

    def _chunk(self, row: tuple[Any, ...], later_s: float, steps: int, new: dict[int, int], places: dict[int, int]) -> tuple[Any, ...]:
        _, series, start, *summary = row[:11]
        times, step = [at_s + later_s for at_s in row[11:13]], [None if at is None else at + steps for at in row[13:16]]
        return (series, places.get(series, 0) + start, *summary, *times, *step, new[row[16]], *row[17:])


def _encoded(spans: stacks.StackSpans, later_s: float) -> bytes:
    return stacks.encode(spans._replace(start_ns=spans.start_ns + round(later_s) * stacks.NS))


def fill(path: Path, full: Block, thin: Block | None, slots: Sequence[tuple[float, bool]], first_slot: int, hours: float) -> None:
    """One file of a store: `slots` has how much later each copy stands, and whether thinned, the first being number `first_slot`."""
    FileWriter(path, _Unlocked()).close()  # type: ignore[arg-type]
    with contextlib.closing(schema.open_writer(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("ATTACH ? AS block", (str(full.path),))
        tables = {name for (name,) in db.execute("SELECT name FROM block.sqlite_schema WHERE type = 'table'")}
        with schema.transaction(db):
            for table in ("stream", "series", "frame", "stack", "run", "event"):
                if table in tables:
                    db.execute(f"INSERT INTO main.{table} SELECT * FROM block.{table}")
        places: dict[int, int] = {}
        for number, (later_s, is_thin) in enumerate(slots, first_slot):
            with schema.transaction(db):
                block = thin if is_thin and thin is not None else full
                block.stand(db, later_s, round(number * hours * HOUR_S * STEPS_A_S) if path.name == files.RUNS_FILE else 0, places)
        first_s, last_s = slots[0][0], slots[-1][0]
        begin, end = (round((first_slot + i) * hours * HOUR_S * STEPS_A_S) for i in (0, len(slots) - 1))
        with schema.transaction(db):
            db.executemany("UPDATE series SET points = ?, sealed = ?, paged = 0 WHERE id = ?", [(n, n, series) for series, n in places.items()])
            db.execute(
                "UPDATE series SET first_time_s = first_time_s + ?1, last_time_s = last_time_s + ?2, newest_time_s = newest_time_s + ?2, "
                "first_step = first_step + ?3, last_step = last_step + ?4, newest_step = newest_step + ?4, least_step = least_step + ?3, most_step = most_step + ?3",
                (first_s, last_s, begin, end),
            )
            if "run" in tables:
                db.execute(
                    "UPDATE run SET first_time_s = first_time_s + ?, last_time_s = last_time_s + ?, last_step = last_step + ?, points = points * ?",
                    (first_s, last_s, end, len(slots)),
                )
                db.execute("UPDATE event SET time_s = time_s + ?", (first_s,))
            schema.set_meta(db, "seq", 1)
            if thin is not None and all(is_thin for _, is_thin in slots):
                schema.set_meta(db, "thinned_s", int(files.week_start(path) + files.WEEK_S + HOUR_S))
                schema.set_meta(db, "thinned_packed", 1)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Unlocked(contextlib.nullcontext[None]):
    pass


def start_records(start_s: float) -> list[Record]:
    """The run begins; its process is none of this machine's."""
    info = {"host": HOST, "world_size": RANKS, "started_s": start_s, "config": {"model": "gpt", "steps": 10**9}}
    starts = [Event(RUN, "start", start_s, rank, fields={"host": HOST, "pid": 2**30, "boot_id": "another"}) for rank in range(RANKS)]
    return [RunInfo(RUN, info), *starts]
