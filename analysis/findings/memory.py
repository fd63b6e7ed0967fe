"""Memory and disk that run out: how fast, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from collectors.arrays import Floats
from collectors.message import Message, phrase
from collectors.records import Frame
from collectors.store.store import Process, ResidentMemory, StackColumns, TooMuch

from ..stacks.frames import file_name
from ..stacks.memory_growth import keeping_lines
from ..stacks.trust import LineOf
from . import rule
from .rule import STEPS, CodeLocation, Detection, MachineSubject, RecentPoints, RunSubject, on_rank

MIN_S = 300.0  # of data before a slope is believed
PARTS, POINTS = 8, 3  # of the time, the least of each must rise; and of each part: the disk is looked at every 10 s
LEVELS, STEADY = (
    0.5,
    0.85,
)  # of the first half's rise, which the second half has to keep: caches fill, and then level out
END_S = MIN_S + 3.0
CREEP = 0.02  # of the memory that is used, by which it has to have grown
STEADY_SHARE, STEADY_STEPS = 0.1, 1000  # of the planned steps, or so many: before, caches fill
STEADY_S = 600.0  # where no steps are known
STACKS_S, KEEPS_S = (
    MIN_S + 10.0,
    120.0,
)  # whose stacks are looked at for the line that keeps the memory; how long that holds
MAX_TEXT = 100  # characters of a line
HOUR_S, DAY_S = 3600.0, 86_400.0
FULL_SHARE, FULL_BYTES = 0.02, 1 << 30
HIGH = 0.7  # of the host's memory, below which no slope is worth a word
HIGH_GPU = 0.5


class Slope(NamedTuple):
    """Bytes per second, with the interval in which nine of ten of the slopes between parts lie."""

    per_s: float
    least: float
    most: float
    now: float
    levels_at: float  # where it comes to rest if it goes on to slow down as it does; inf where it does not
    since_s: float

    def until_s(self, limit: float) -> float:
        """Seconds until the limit; inf where it does not rise to it."""
        return max(0.0, (limit - self.now) / self.per_s) if self.per_s > 0 and self.levels_at > limit else math.inf


def rising(time_s: Floats, value: Floats) -> Slope | None:
    """The slope over all of it, or over its end: a leak may begin at any time."""
    newest = float(np.nanmax(time_s, initial=-math.inf))
    late = time_s >= newest - END_S
    return slope_of(time_s, value) or slope_of(time_s[late], value[late])


def slope_of(time_s: Floats, value: Floats, min_s: float = MIN_S) -> Slope | None:
    """Theil and Sen's, over the least values of parts of the time: None for what does not rise all the time, or levels out.

    Memory rises and falls within a step; what is never given back is in the least value of each stretch.
    """
    finite = np.isfinite(time_s) & np.isfinite(value)
    order = np.argsort(time_s[finite], kind="stable")
    time_s, value = time_s[finite][order], value[finite][order]
    if len(time_s) < POINTS * PARTS or time_s[-1] - time_s[0] < min_s:
        return None
    part = np.minimum(((time_s - time_s[0]) / (time_s[-1] - time_s[0]) * PARTS).astype(int), PARTS - 1)
    if len(np.unique(part)) < PARTS:
        return None
    lows = np.array([value[part == number].min() for number in range(PARTS)])
    middles = np.array([time_s[part == number].mean() for number in range(PARTS)])
    if np.any(np.diff(lows) <= 0):
        return None
    i, j = np.triu_indices(PARTS, 1)
    slopes = (lows[j] - lows[i]) / (middles[j] - middles[i])
    half = PARTS // 2
    slower = float((lows[-1] - lows[half]) / (lows[half - 1] - lows[0]))
    if slower < LEVELS:
        return None
    rest = (lows[-1] - lows[half]) * half / (half - 1) * slower / (1 - slower) if slower < STEADY else math.inf
    per_s, least, most = np.median(slopes), np.quantile(slopes, 0.05), np.quantile(slopes, 0.95)
    return Slope(float(per_s), float(least), float(most), float(value[-1]), float(value[-1] + rest), float(time_s[0]))


class HostLeak(NamedTuple):
    """A process whose memory grows, and the lines that keep it: one, two or three that cannot be told apart, or none that is known."""

    process: Process
    bytes_per_s: float
    lines: list[Frame]


def host_leak(
    stacks: StackColumns,
    resident: Mapping[Process, ResidentMemory],
    own_folder: str,
    line_of: LineOf,
    min_s: float = MIN_S,
) -> HostLeak | None:
    """Of the process that grows fastest; None where none has grown all the time, for so many seconds."""
    slopes = {process: slope_of(memory.time_s, memory.bytes, min_s) for process, memory in resident.items()}
    grown = [
        (slope.per_s, process)
        for process, slope in slopes.items()
        if slope is not None and slope.now - float(resident[process].bytes.min()) >= CREEP * slope.now
    ]
    if not grown:
        return None
    per_s, process = max(grown)
    if process not in stacks.processes:
        return HostLeak(process, per_s, [])
    number = stacks.processes.index(process)
    return HostLeak(process, per_s, keeping_lines(stacks, number, resident[process], own_folder, line_of))


def memory_creep(subject: RunSubject) -> Iterator[Detection]:
    """The host's memory of a rank and its children, and what RunLog logs of the GPU's."""
    for name, rank, track in subject.named(
        lambda name: name == "host/run_memory_bytes" or (rule.is_memory(name) and _is_bytes(name))
    ):
        limit = _host_limit(subject.machine) if name.startswith("host/") else _gpu_limit(subject, rank)
        since_s = _steady_since_s(subject)
        if limit is None or since_s is None:
            continue
        slope = rising(*track.since(since_s))
        if slope is None or slope.now - np.nanmin(track.since(slope.since_s)[1]) < CREEP * slope.now:
            continue
        left_s = slope.until_s(limit if not name.startswith("host/") else limit - _others(subject.machine, slope.now))
        if left_s > DAY_S or left_s > _planned_s(subject):
            continue
        yield _creep(subject, name, rank, track, slope, left_s)


def _creep(subject: RunSubject, name: str, rank: int, track: RecentPoints, slope: Slope, left_s: float) -> Detection:
    lines = _keeping_lines(subject, rank) if name.startswith("host/") else []
    what = phrase("The memory of the processes") if name.startswith("host/") else name
    return Detection(
        phrase(
            "{what} grows by {per_min_bytes:.0f}B per minute ({least_bytes:.0f}B to {most_bytes:.0f}B) and is never given back: it runs out in {left_s:spoken}.{kept}",
            what=on_rank(what, rank, subject.ranks()),
            per_min_bytes=slope.per_s * 60,
            least_bytes=slope.least * 60,
            most_bytes=slope.most * 60,
            left_s=left_s,
            kept=_kept_at(lines, subject.line_of),
        ),
        slope.since_s,
        float(track.time_s[-1]),
        key=f"{name} {rank}",
        rank=rank,
        numbers={"bytes_per_s": slope.per_s, "least": slope.least, "most": slope.most, "left_s": left_s},
        place=CodeLocation(*lines[0]) if len(lines) == 1 else None,
        weight="alert" if left_s < HOUR_S else "note",
    )


def _keeping_lines(subject: RunSubject, rank: int) -> list[Frame]:
    """Of the rank's process that grows; looked for every few minutes, since it takes the stacks of minutes."""
    looked_s, lines = subject.memory.get(key := f"keeping lines {rank}", (-math.inf, []))
    if subject.now_s - looked_s < KEEPS_S:
        return list(lines)
    window = (subject.now_s - STACKS_S, subject.now_s)
    of_rank = {process: memory for process, memory in subject.history.resident(window).items() if process.rank == rank}
    found = None
    if of_rank:
        with suppress(TooMuch):
            stacks = subject.history.stacks(window)
            found = host_leak(stacks, of_rank, subject.history.folder(), subject.line_of)
    subject.memory[key] = subject.now_s, found.lines if found else lines
    return found.lines if found else list(lines)


def _kept_at(lines: Sequence[Frame], line_of: LineOf) -> Message | None:
    places = [f"{file_name(line.file)}:{line.line}" for line in lines]
    if len(lines) == 1:
        text = line_of(lines[0].file, lines[0].line).strip()[:MAX_TEXT]
        return phrase(" The line that keeps it is probably {text} ({place}).", text=f"`{text}`", place=places[0])
    if lines:
        return phrase(" One of these lines probably keeps it: {places}.", places=places)
    return None


def _is_bytes(name: str) -> bool:
    return name.endswith(("_bytes", "/bytes")) or name.startswith("memory/")


def _steady_since_s(subject: RunSubject) -> float | None:
    """When caches have filled: after so many steps of the attempt; where no steps are known, some time after its start."""
    if any(name == STEPS for name, _ in subject.tracks):
        planned = subject.planned_steps
        return subject.stepping_since_s(min(STEADY_STEPS, STEADY_SHARE * planned if planned else STEADY_STEPS))
    begun_s = subject.begun_s if subject.begun_s is not None else subject.awake_since_s
    return begun_s + STEADY_S


def _planned_s(subject: RunSubject) -> float:
    """How long the run will go on, where its configuration says so."""
    track, planned, usual = subject.steps(), subject.planned_steps, subject.interval_s()
    newest = track.last() if track is not None else None
    return max(0.0, planned - newest) * usual if planned and newest is not None and usual else math.inf


def _host_limit(machine: MachineSubject) -> float | None:
    limits = [
        track.last()
        for name in ("host/cgroup_memory_limit_bytes", "host/memory_total_bytes")
        for _, track in machine.named(name)
    ]
    return min((limit for limit in limits if limit), default=None)


def _others(machine: MachineSubject, mine: float) -> float:
    used = machine.one("host/cgroup_memory_used_bytes") or machine.one("host/memory_used_bytes")
    now = used.last() if used is not None else None
    return max(0.0, (now or 0.0) - mine)


def _gpu_limit(subject: RunSubject, rank: int) -> float | None:
    totals = [gpu.memory_total_bytes for gpu in subject.gpus() if gpu.memory_total_bytes]
    return float(min(totals)) if totals else None


def gpu_memory_creep(subject: RunSubject) -> Iterator[Detection]:
    """What the run's cards have allocated, of which NVML alone knows."""
    since_s = _steady_since_s(subject)
    if since_s is None:
        return
    for gpu in subject.gpus():
        track = subject.machine.one("gpu/memory_used_bytes", uuid=gpu.uuid)
        if track is None or not gpu.memory_total_bytes:
            continue
        slope = rising(*track.since(since_s))
        if slope is None or slope.now < HIGH_GPU * gpu.memory_total_bytes:
            continue
        if slope.now - np.nanmin(track.since(slope.since_s)[1]) < CREEP * slope.now:
            continue
        left_s = slope.until_s(gpu.memory_total_bytes)
        if left_s > DAY_S or left_s > _planned_s(subject):
            continue
        yield Detection(
            phrase(
                "GPU {gpu}'s memory fills by {per_min_bytes:.0f}B per minute: out of memory in {left_s:spoken}.",
                gpu=gpu.index,
                per_min_bytes=slope.per_s * 60,
                left_s=left_s,
            ),
            slope.since_s,
            float(track.time_s[-1]),
            key=gpu.uuid,
            numbers={"bytes_per_s": slope.per_s, "least": slope.least, "most": slope.most, "left_s": left_s},
            more={"gpu": gpu.uuid},
            weight="alert" if left_s < HOUR_S else "note",
        )


def host_memory_out(machine: MachineSubject) -> Iterator[Detection]:
    """The host's or the container's memory runs full."""
    for used_name, total_name, whose in (
        ("host/memory_used_bytes", "host/memory_total_bytes", phrase("The host's memory")),
        ("host/cgroup_memory_used_bytes", "host/cgroup_memory_limit_bytes", phrase("The container's memory")),
    ):
        used, total = machine.one(used_name), machine.one(total_name)
        limit = total.last() if total is not None else None
        if used is None or not limit or (used.last() or 0.0) < HIGH * limit:
            continue
        slope = rising(used.time_s, used.value)
        if slope is None or slope.until_s(limit) > HOUR_S:
            continue
        left_s = slope.until_s(limit)
        yield Detection(
            phrase(
                "{whose} is {full_pct:percent} full and grows by {per_min_bytes:.0f}B per minute: it runs out in {left_s:spoken}.",
                whose=whose,
                full_pct=100 * slope.now / limit,
                per_min_bytes=slope.per_s * 60,
                left_s=left_s,
            ),
            slope.since_s,
            machine.now_s,
            key=used_name,
            numbers={"bytes_per_s": slope.per_s, "left_s": left_s},
        )


def disk_out(machine: MachineSubject) -> Iterator[Detection]:
    """The disk of the data folder, on which the logs often lie too."""
    free, total = machine.one("host/disk_free_bytes"), machine.one("host/disk_total_bytes")
    size, now = (total.last() if total is not None else None), (free.last() if free is not None else None)
    if free is None or not size or now is None:
        return
    if now < min(FULL_SHARE * size, FULL_BYTES):
        yield Detection(
            phrase(
                "The disk of the dashboard's data has {free_bytes:.0f}B left of {size_bytes:.0f}B: free some of it.",
                free_bytes=now,
                size_bytes=size,
            ),
            machine.now_s,
            machine.now_s,
            key="full",
            numbers={"free": now},
        )
        return
    slope = rising(free.time_s, -free.value)
    if slope is not None and slope.until_s(0.0) < HOUR_S:
        left_s = slope.until_s(0.0)
        yield Detection(
            phrase(
                "The disk of the dashboard's data fills by {per_min_bytes:.0f}B per minute: it is full in {left_s:spoken}.",
                per_min_bytes=slope.per_s * 60,
                left_s=left_s,
            ),
            slope.since_s,
            machine.now_s,
            key="filling",
            numbers={"bytes_per_s": slope.per_s, "left_s": left_s},
        )
