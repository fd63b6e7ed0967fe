"""Recordings of real programs with a fault (recording.py), played again: at moments, rates and sizes drawn at random, under other names."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from analysis.findings.rules import BY_NAME
from collectors.records import Points, Record, StackRecording, StackSpan, labels_of
from tests.planted.recording import PlantedRecording, read
from tests.planted.windows import GRACE_S, PlantedResult, PlantedWindow, judge, names
from tests.support.judged import GIB, HOST, HOSTS, T0, JudgedRuns, card_labels, gpu, machine_point

AnyRow = TypeVar("AnyRow")
BLOCK_S = 25.0  # of the healthy part, that is repeated backwards
STILL_S = 20.0  # of the end of what stands still, that goes on
LATE_S = 5.0
BUSY_PCT = 97.0


class ReplayCause(NamedTuple):
    """A rule and the recording that is to trip it."""

    rule: str
    name: str
    recording: str
    healthy_s: tuple[float, float] = (64.0, 80.0)
    card: tuple[float, float] | None = (
        None  # beside a described card: the percent to which its load falls, as far as the host's own time lets it
    )
    stands: bool = False  # nothing of it changes any more: it goes on as at its end
    before: str = ""  # another recording whose healthy stacks are played
    stacks_s: tuple[float, float] = (-28.0, math.inf)  # of which stacks are played


CAUSES: Final = (
    ReplayCause("data_stall", "a DataLoader whose worker is slow", "data_stall", before="healthy"),
    ReplayCause("data_stall", "a DataLoader whose worker is slow, beside a described GPU", "data_stall", card=(30.0, 70.0)),
    ReplayCause("launch_bound", "a thousand small operations a step, beside a described GPU", "launch_bound", card=(25.0, 60.0)),
    ReplayCause("sync_every_step", "`torch.cuda.synchronize` each step, beside a described GPU", "sync_every_step", card=(35.0, 60.0)),
    ReplayCause("gil_bound", "a thread that computes in Python", "gil_bound"),
    ReplayCause("lock_bound", "a lock that another thread holds", "lock_bound"),
    ReplayCause("garbage_collection", "full collections of a million lists", "garbage_collection"),
    ReplayCause("compile_late", "torch.compile each fourth step", "compile_late", before="healthy"),
    ReplayCause("cpu_taken", "two programs on the same core", "cpu_taken", before="healthy"),
    ReplayCause("slow_function", "a function in Python of 20 ms a step", "slow_function"),
    ReplayCause("waiting", "a socket whose other end takes 20 ms a step", "waiting"),
    ReplayCause("logging", "600 lines of a FileHandler a step", "logging_in_the_loop"),
    ReplayCause("checkpoint_share", "`torch.save` to a disk of 10 MB/s", "checkpoint_share"),
    ReplayCause("straggler", "one of 2 to 6 ranks is late in each step", "straggler"),
    ReplayCause("memory_creep", "a list that grows in each step", "memory_creep", (64.0, 100.0), stacks_s=(0.0, 0.0)),
    ReplayCause("hung", "one of 2 to 6 ranks leaves the collective", "hung", stands=True),
    ReplayCause("silent", "it waits for a file that does not come", "silent", stands=True, stacks_s=(40.0, 60.0)),
)  # fmt: skip


@cache
def recorded(kind: str) -> PlantedRecording:
    return read(kind)


def judged(folder: Path, cause: ReplayCause, many: int, dice: random.Random) -> PlantedResult:
    """All at once; beside a card each has a machine of its own."""
    drawn = [_window(cause, name, dice) for name in names(dice, many)]
    if cause.card is None:
        return _judge(folder / "together", cause, drawn, dice)
    rows = [
        row for window in drawn for row in _judge(folder / window.name.replace("/", "_"), cause, [window], dice).judged
    ]
    return PlantedResult(cause.rule, cause.name, rows)


def _judge(folder: Path, cause: ReplayCause, windows: Sequence[PlantedWindow], dice: random.Random) -> PlantedResult:
    load = dice.uniform(*cause.card) if cause.card else 0.0

    def prepare(runs: JudgedRuns) -> None:
        runs.gpus = [gpu(0)] if cause.card else []

    def each_second(runs: JudgedRuns) -> Iterable[Record]:
        values = {"host/memory_used_bytes": 8.0 * GIB, "host/memory_total_bytes": 24.0 * GIB}
        yield machine_point(runs.now_s, HOSTS, values)
        if cause.card:
            pct = load if runs.now_s >= windows[0].planted_s else BUSY_PCT
            yield machine_point(runs.now_s, card_labels(), {"gpu/utilization_pct": pct})

    line_of = recorded(cause.recording).line_of
    return judge(
        folder, cause.rule, windows, stored=cause.card is not None, line_of=line_of, prepare=prepare, each_second=each_second, cause=cause.name
    )  # fmt: skip


def _window(cause: ReplayCause, name: str, dice: random.Random) -> PlantedWindow:
    recording = recorded(cause.recording)
    ranks = 1 if recording.ranks == 1 else dice.randint(2, 6)
    pace = dice.uniform(0.8, 1.25) if not cause.stands else 1.0  # seconds of the replay for one of the recording
    healthy_s = dice.uniform(*cause.healthy_s)
    begins_s = T0 + dice.uniform(0, 10)
    planted_s = begins_s + healthy_s
    until_s = BY_NAME[cause.rule].needs_s + GRACE_S + LATE_S
    replay = Replay(
        recording,
        name,
        dice.sample(range(ranks), ranks),
        pace,
        planted_s,
        begins_s,
        cause,
        until_s,
        dice.uniform(0.7, 4.0),
    )
    what = f"{ranks} ranks, pace {pace:.2f}, after {healthy_s:.0f} s"
    return PlantedWindow(
        name, planted_s, iter(sorted(replay.records(), key=lambda row: row[0])), 0.0, begins_s, ranks, what=what
    )


@dataclass(frozen=True)
class Replay:
    """One run made from a recording. `ranks`: which rank each one of the recording becomes, the last one first of all to fail."""

    recording: PlantedRecording
    name: str
    ranks: Sequence[int]
    pace: float
    planted_s: float
    begins_s: float
    cause: ReplayCause
    until_s: float
    leak: float  # times as large

    def records(self) -> Iterator[tuple[float, Record]]:
        yield from self._points()
        yield from self._host()
        for event in self.recording.events:
            seconds = None if event.seconds is None else event.seconds * self.pace
            yield self._at(event.time_s), event._replace(run=self.name, time_s=self._at(event.time_s), seconds=seconds)
        for place, rank in enumerate(self.ranks):
            for time_s, profile in self._profiles(self._source(place)):
                yield time_s, _of_rank(profile, rank)

    def _at(self, since_s: float) -> float:
        return self.planted_s + since_s * self.pace

    def _source(self, place: int) -> int:
        """The rank of the recording: the last of the run is the last of it, the others are its first."""
        return self.recording.ranks - 1 if place == len(self.ranks) - 1 else 0

    def _points(self) -> Iterator[tuple[float, Record]]:
        first_s = (self.begins_s - self.planted_s) / self.pace
        for place, rank in enumerate(self.ranks):
            mine = [row for row in self.recording.points if row[1] == self._source(place)]
            block = [row for row in mine if -BLOCK_S <= row[0] < 0]
            rounds = math.ceil(-first_s / BLOCK_S)
            healthy = [
                (time_s - BLOCK_S * back, values)
                for back in range(rounds - 1, -1, -1)
                for time_s, _, _, values in block
            ]
            rows = [row for row in healthy if row[0] >= first_s] + [(row[0], row[3]) for row in mine if row[0] >= 0]
            for step, (time_s, values) in enumerate(rows):
                labels = labels_of(rank=rank) if rank else ()
                at_s = self._at(time_s)
                yield at_s, Points(self.name, labels, tuple(values), tuple(values.values()), at_s, step)

    def _host(self) -> Iterator[tuple[float, Record]]:
        for place, rank in enumerate(self.ranks):
            mine = [(time_s, values) for time_s, its, values in self.recording.host if its == self._source(place)]
            base = max((values.get("host/run_memory_bytes", 0.0) for time_s, values in mine if time_s < 0), default=0.0)
            for time_s, values in [*mine, *self._goes_on(mine)]:
                if "host/run_memory_bytes" in values and time_s > 0:
                    leaked = self.leak * (values["host/run_memory_bytes"] - base)
                    values = {**values, "host/run_memory_bytes": base + leaked}
                at_s = self._at(time_s)
                if at_s >= self.begins_s:
                    labels = labels_of(host=HOST, rank=rank, run=self.name)
                    yield at_s, Points(None, labels, tuple(values), tuple(values.values()), at_s, None)

    def _profiles(self, source: int) -> Iterator[tuple[float, StackRecording]]:
        mine = [(profile.start_s, profile) for profile in self.recording.profiles if profile.rank == source]
        if self.cause.before:
            pid = next(profile.pid for _, profile in mine if profile.role == "main")
            others = [
                (each.start_s, _of_process(each, pid))
                for each in recorded(self.cause.before).profiles
                if each.start_s < 0
            ]
            mine = [*others, *(row for row in mine if row[0] >= 0)]
        lo, hi = self.cause.stacks_s
        for since_s, profile in [*mine, *self._goes_on(mine)]:
            if lo <= since_s < hi or (self.cause.stands and since_s > self.until_s - 150.0):
                moved = _paced(profile, self.pace)._replace(run=self.name, start_s=self._at(since_s))
                yield moved.start_s + 1e-9 * moved.end_mono_ns, moved

    def _goes_on(self, rows: Sequence[tuple[float, AnyRow]]) -> list[tuple[float, AnyRow]]:
        """What stands still goes on as in its last seconds."""
        if not self.cause.stands or not rows:
            return []
        end_s = math.floor(max(time_s for time_s, _ in rows))
        last = [(time_s, row) for time_s, row in rows if end_s - STILL_S <= time_s < end_s]
        rounds = math.ceil(max(0.0, self.until_s - end_s) / STILL_S)
        return [(time_s + STILL_S * (1 + turn), row) for turn in range(rounds) for time_s, row in last]


def _of_process(profile: StackRecording, pid: int) -> StackRecording:
    """As if it were that process, with one thread: the main one, which gets a core whenever it computes; the host that it was recorded on was busy."""
    samples = [sample._replace(tid=pid) for sample in _on_cores(profile.samples) if sample.tid == profile.pid]
    return profile._replace(pid=pid, threads={pid: profile.threads[profile.pid]}, samples=samples)


def _on_cores(samples: Sequence[StackSpan]) -> list[StackSpan]:
    return [sample._replace(cpu_ns=sample.duration_ns) if sample.gil else sample for sample in samples]


def _of_rank(profile: StackRecording, rank: int) -> StackRecording:
    """Its processes and threads have ids of their own."""
    more = 10_000_000 * rank
    samples = [sample._replace(tid=sample.tid + more) for sample in profile.samples]
    threads = {tid + more: name for tid, name in profile.threads.items()}
    return profile._replace(rank=rank, pid=profile.pid + more, samples=samples, threads=threads)


def _paced(profile: StackRecording, pace: float) -> StackRecording:
    samples = [
        sample._replace(
            mono_ns=round(sample.mono_ns * pace),
            duration_ns=round(sample.duration_ns * pace),
            cpu_ns=None if sample.cpu_ns is None else round(sample.cpu_ns * pace),
        )
        for sample in profile.samples
    ]
    return profile._replace(end_mono_ns=round(profile.end_mono_ns * pace), samples=samples)
