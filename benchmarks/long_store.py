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
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors import catalog
from collectors.records import Event, Frame, Labels, Points, Record, RunInfo, StackRecording, StackSpan, labels_of
from collectors.store.sqlite import codec, files, schema, stacks
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.ingest import FileWriter
from collectors.store.sqlite.thinning import Thinner
from collectors.store.store import Thinning

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
    return np.round(
        np.clip(level * (1 + 0.05 * rng.standard_normal(len(times))), 0, None), 0 if metric.unit == "B/s" else 2
    )


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
            path.append(
                Frame(
                    f"forward_{depth}_{branch % 40}", f"/job/site-packages/torch/module_{branch % 23}.py", depth * 7 + 3
                )
            )
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
            begin, samples = 0, [StackSpan(0, int(WINDOW_S * 1e9), pid + 100, known[0][:12], False, 0)]
            for end, number in zip(ends.tolist(), which, strict=True):
                samples.append(
                    StackSpan(
                        begin * 10**9 // HZ,
                        (end - begin) * 10**9 // HZ,
                        pid,
                        known[number],
                        True,
                        (end - begin) * 9 * 10**6,
                    )
                )
                begin = end
            about = (
                RUN,
                rank,
                pid,
                "main",
                HOST,
                "native",
                float(HZ),
                start_s + window * WINDOW_S,
                0,
                int(WINDOW_S * 1e9),
            )
            yield StackRecording(*about, {pid: "MainThread", pid + 100: "pin_memory"}, samples, 2 * looks)


def write(store: SqliteStore, start_s: float, minutes: int, first_step: int = 0) -> None:
    """By the store itself, as if all that came in a minute were one commit of the logs and one of the machine."""
    rng, known, stacks_known = np.random.default_rng(1), sources(), known_stacks()
    for minute in range(minutes):
        at_s = start_s + minute * MINUTE_S
        store.append(ranks_minute(at_s, first_step + round(minute * MINUTE_S * STEPS_A_S), rng))
        store.append([*machine_minute(at_s, known, rng), *stacks_minute(at_s, stacks_known, rng)])
        store.compact(0.05)


def write_block(folder: Path, start_s: float, hours: int) -> None:
    store = SqliteStore(folder, write=True)
    store.append(start_records(start_s))
    write(store, start_s, hours * 60)
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


class Slot(NamedTuple):
    """Where a copy stands."""

    number: int
    later_s: float  # than the block
    end_s: float
    is_thin: bool


class Movable:
    """Coded columns that move without being coded anew: only the first value of a column stands in the header."""

    def __init__(self, blob: bytes) -> None:
        self._data = bytearray(codec.unseal(blob))
        self._base: dict[
            int, tuple[int, int, float]
        ] = {}  # of a column: where it stands, its value, and the units of 1
        for column in range(min(2, self._data[0])):
            kind, _, scale, _, base = codec._HEADER.unpack_from(self._data, 1 + column * codec._HEADER.size)
            if kind in (codec.PLAIN, codec.DELTA, codec.SCALED, codec.SCALED_DELTA):
                unit = codec._divisor(scale) if kind in codec.FLOAT_KINDS else 1.0
                self._base[column] = (1 + column * codec._HEADER.size + codec._HEADER.size - 8, base, unit)

    def moved(self, by: Mapping[int, float]) -> bytes:
        """With so much added to all of each column."""
        for column, amount in by.items():
            if amount:
                at, base, unit = self._base[column]
                struct.pack_into("<Q", self._data, at, (base + round(amount * unit)) % 2**64)
        return codec.seal(bytes(self._data))


class Block:
    """The rows of one file, decoded as far as they change with time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            thin = {axis for (axis,) in db.execute("SELECT DISTINCT axis FROM chunk WHERE units > 0")}
            axes = db.execute("SELECT id, data FROM axis ORDER BY id").fetchall()
            self.axes = [(axis, Movable(data), axis in thin) for axis, data in axes]
            self.chunks = db.execute("SELECT * FROM chunk ORDER BY series, start").fetchall()
            self.rows: dict[int, int] = dict(db.execute("SELECT id, points FROM series"))
            query = f"SELECT {stacks.COLUMNS} FROM profile ORDER BY id"
            profiles = map(stacks.ProfileRow._make, db.execute(query)) if "profile" in tables else ()
            self.profiles = [(row, Movable(row.data)) for row in profiles]

    def stand(self, db: sqlite3.Connection, slot: Slot, slot_steps: int, places: dict[int, int]) -> None:
        """Once more in this slot, behind `places` points of each series, which are counted on."""
        later_s, steps = slot.later_s, slot.number * slot_steps
        (used,) = db.execute("SELECT coalesce(max(id), 0) FROM axis").fetchone()
        new = {axis: used + 1 + number for number, (axis, *_) in enumerate(self.axes)}
        axes = ((new[axis], data.moved({0: later_s, 1: later_s if thin else steps})) for axis, data, thin in self.axes)
        db.executemany("INSERT INTO axis VALUES (?, ?)", axes)
        rows = (self._chunk(row, later_s, steps, new, places) for row in self.chunks)
        db.executemany(f"INSERT INTO chunk VALUES (NULL, {', '.join('?' * 18)})", rows)
        if self.profiles:
            copies = (
                (
                    *row[1:8],
                    row.start_s + later_s,
                    row.end_s + later_s,
                    *row[10:14],
                    spans.moved({0: later_s * 1e6}),
                    row.thinned,
                )
                for row, spans in self.profiles
            )
            db.executemany(f"INSERT INTO profile VALUES (NULL, {', '.join('?' * 15)})", copies)
        for series, count in self.rows.items():
            places[series] = places.get(series, 0) + count

    def _chunk(
        self, row: tuple[Any, ...], later_s: float, steps: int, new: dict[int, int], places: dict[int, int]
    ) -> tuple[Any, ...]:
        _, series, start, *summary = row[:11]
        times, step = [at_s + later_s for at_s in row[11:13]], [None if at is None else at + steps for at in row[13:16]]
        return (series, places.get(series, 0) + start, *summary, *times, *step, new[row[16]], *row[17:])


def fill(path: Path, full: Block, thin: Block | None, slots: Sequence[Slot], slot_steps: int) -> None:
    """One new file of a store, with a copy in each slot; a slot has `slot_steps` steps of the run."""
    FileWriter(path, threading.Lock()).close()
    with contextlib.closing(schema.open_writer(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("ATTACH ? AS block", (str(full.path),))
        tables = {name for (name,) in db.execute("SELECT name FROM block.sqlite_schema WHERE type = 'table'")}
        with schema.transaction(db):
            for table in tables & {"stream", "series", "frame", "stack", "run", "event"}:
                db.execute(f"INSERT INTO main.{table} SELECT * FROM block.{table}")
        places: dict[int, int] = {}
        for slot in slots:
            with schema.transaction(db):
                (thin if thin and slot.is_thin else full).stand(db, slot, slot_steps, places)
        with schema.transaction(db):
            _widen(db, slots, slot_steps, places)
            done_s = max((slot.end_s for slot in slots if slot.is_thin), default=0.0)
            schema.set_meta(db, "thinned_s", int(done_s))
            schema.set_meta(db, "seq", 1)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _widen(db: sqlite3.Connection, slots: Sequence[Slot], slot_steps: int, places: dict[int, int]) -> None:
    """The catalogue, which stands as in the block, reaches from the first to the last slot."""
    first_s, last_s = slots[0].later_s, slots[-1].later_s
    first, last = slots[0].number * slot_steps, slots[-1].number * slot_steps
    db.executemany(
        "UPDATE series SET points = ?1, sealed = ?1, paged = 0 WHERE id = ?2",
        [(n, series) for series, n in places.items()],
    )
    db.execute(
        """UPDATE series SET first_time_s = first_time_s + ?1, last_time_s = last_time_s + ?2, newest_time_s = newest_time_s + ?2,
        first_step = first_step + ?3, last_step = last_step + ?4, newest_step = newest_step + ?4""",
        (first_s, last_s, first, last),
    )
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'run'").fetchone():
        change = "UPDATE run SET first_time_s = first_time_s + ?, last_time_s = last_time_s + ?, last_step = last_step + ?, points = points * ?"
        db.execute(change, (first_s, last_s, last, len(slots)))
        db.execute("UPDATE event SET time_s = time_s + ?", (first_s,))


def start_records(start_s: float) -> list[Record]:
    """The run begins; its process is none of this machine's."""
    info = {"host": HOST, "world_size": RANKS, "started_s": start_s, "config": {"model": "gpt", "steps": 10**9}}
    starts = [
        Event(RUN, "start", start_s, rank, fields={"host": HOST, "pid": 2**30, "boot_id": "another"})
        for rank in range(RANKS)
    ]
    return [RunInfo(RUN, info), *starts]


def make(folder: Path, work: Path, end_s: float, days: float, hours: int, now_s: float) -> tuple[Block, Block, Block]:
    """Days until `end_s`, which is a whole hour; returns the blocks of a run, of the machine, and of the machine thinned."""
    begin_s = end_s - days * DAY_S
    block_s = begin_s // DAY_S * DAY_S  # at midnight: no block lies in two weeks
    write_block(work / "block", block_s, hours)
    thinned(work / "block", work / "thin")
    for path in [*files.all_files(work / "block"), *files.all_files(work / "thin")]:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (machine,), (thin,) = files.machine_files(work / "block"), files.machine_files(work / "thin")
    blocks = Block(work / "block" / files.RUNS_FILE), Block(machine), Block(thin)
    slot_s = hours * HOUR_S
    starts = np.arange(math.floor(begin_s / slot_s), math.floor(end_s / slot_s)) * slot_s
    slots = [
        Slot(i, at - block_s, at + slot_s, at + slot_s <= now_s - THIN_AFTER_S) for i, at in enumerate(starts.tolist())
    ]
    folder.mkdir(parents=True)
    steps = round(slot_s * STEPS_A_S)
    fill(folder / files.RUNS_FILE, blocks[0], None, slots, steps)
    by_week: dict[str, list[Slot]] = defaultdict(list)
    for slot in slots:
        by_week[files.week_file(slot.end_s - slot_s)].append(slot)
    for name, some in by_week.items():
        fill(folder / name, blocks[1], blocks[2], some, 0)
    store = SqliteStore(folder, write=True)
    store.settle()  # makes the pages
    write(store, slots[-1].end_s, int((end_s - slots[-1].end_s) / MINUTE_S), (slots[-1].number + 1) * steps)
    store.close()
    return blocks
