"""The collector of findings on a clock of the test's own: records come second by second, and the rules look as they do at work."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from analysis.findings.collector import FindingsCollector
from analysis.stacks.trust import LineOf, no_source
from collectors.machine.finder import Finder
from collectors.machine.inventory import Gpu, GpuProcess, Inventory
from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity, RunProcess
from collectors.records import Event, Finding, Labels, Points, Record, RunInfo, labels_of
from collectors.store.store import Store
from tests.support.claims import claiming_folder

T0 = 1_764_000_000.0
HOST = "box"
LOOK_S = 2.0  # as the collector
GIB = 1 << 30
CARD: Labels = (("gpu", "0"), ("host", HOST), ("uuid", "GPU-1"))
HOSTS: Labels = (("host", HOST),)


class OwnProcesses:
    """In place of the finder: the processes of runs, as a test says."""

    def __init__(self) -> None:
        self.processes: dict[str, list[RunProcess]] = {}

    def found(self) -> dict[str, list[RunProcess]]:
        return {run: found for run, found in self.processes.items() if found}


@dataclass
class PartHealth:
    """A part of the collector, as the supervisor shows it."""

    name: str
    state: str
    last_error: str = ""


@dataclass
class Lines:
    """When a run last wrote something, and how it began and ended."""

    starts: list[Event] = field(default_factory=list)
    ends: list[Event] = field(default_factory=list)
    last_s: float | None = None
    gaps: list[float] = field(default_factory=list)
    info: Mapping[str, object] = field(default_factory=dict)


class JudgedRuns:
    """A collector of findings; `stored=False` keeps points out of the store, which only the rules from stacks read them from."""

    def __init__(
        self,
        store: Store,
        *,
        gpus: Sequence[Gpu] = (),
        now_s: float = T0,
        stored: bool = True,
        line_of: LineOf = no_source,
        share: float = math.inf,
    ) -> None:
        """`share` of a core: what a test takes of one is not what the collector takes, so that it is not paced otherwise."""
        self.share, self.tolerant = share, False  # of troubles, such as looking less often
        self.store, self.gpus, self.now_s, self.stored = store, list(gpus), now_s, stored
        self.line_of = line_of
        self.finder, self.lines = OwnProcesses(), dict[str, Lines]()
        self.health: list[PartHealth] = []
        self.found: dict[str, Finding] = {}  # as last told, by id
        self.first_s: dict[str, float] = {}  # when each was first told
        self.written = 0
        store.append(
            [machine_point(now_s - 1, HOSTS, {"host/cores": 2.0})]
        )  # makes the file, which readers look for now and then
        self.restart()
        self._look_s = now_s

    def restart(self) -> None:
        """A new collector on the same store."""
        self.collector = FindingsCollector(
            self.store,
            self._live,
            cast(Finder, self.finder),
            host=HOST,
            line_of=lambda run: self.line_of,
            inventory=lambda: Inventory(tuple(self.gpus)),
            health=lambda: self.health,
            clock=lambda: self.now_s,
            monotonic=lambda: self.now_s,
            share=self.share,
        )

    def begin(self, run: str, ranks: int = 1) -> None:
        """Its processes are this one: it lives as long as a test does."""
        place = {"pid": os.getpid(), "pid_start_ticks": start_ticks(os.getpid()), "boot_id": boot_id(), "host": HOST}
        starts = [Event(run, "start", self.now_s, rank=rank, fields=place) for rank in range(ranks)]
        self.finder.processes[run] = [RunProcess(os.getpid() + rank, rank, 1) for rank in range(ranks)]
        self.take(starts)

    def take(self, records: Sequence[Record]) -> None:
        """Stored now."""
        for record in records:
            if isinstance(record, RunInfo):
                self.lines.setdefault(record.run, Lines()).info = record.info
            if isinstance(record, (Points, Event)) and record.run is not None:
                self._note(record)
        if self.stored or not all(isinstance(record, Points) for record in records):
            self.store.append(list(records))
        self.collector.take(list(records))

    def look(self) -> list[Finding]:
        news = [record for record in self.collector.collect() if isinstance(record, Finding)]
        if news:
            self.store.append(list(news))
        self.written += len(news)
        for found in news:
            self.first_s.setdefault(found.id, self.now_s)
            self.found[found.id] = found
        assert self.tolerant or not self.collector.trouble(), self.collector.trouble()
        return news

    def go_on(self, seconds: float, second: Callable[[float], Iterable[Record]] = lambda now_s: ()) -> None:
        """`second` gives the records of the second before a moment."""
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-6:
            self.now_s += 1.0
            records = list(second(self.now_s))
            if records:
                self.take(records)
            if self.now_s - self._look_s >= LOOK_S:
                self._look_s = self.now_s
                self.look()

    def of(self, rule: str) -> list[Finding]:
        return [found for found in self.found.values() if found.rule == rule]

    def rules(self) -> set[str]:
        return {found.rule for found in self.found.values()}

    def _note(self, record: Points | Event) -> None:
        lines = self.lines.setdefault(str(record.run), Lines())
        time_s = self.now_s if record.time_s is None else record.time_s
        if isinstance(record, Event):
            kept = {"start": lines.starts, "end": lines.ends}.get(record.kind)
            if kept is not None:
                kept.append(record)
        if lines.last_s is not None:
            lines.gaps = [*lines.gaps[-50:], time_s - lines.last_s]
        lines.last_s = time_s

    def _live(self, wanted: Collection[str]) -> list[RunActivity]:
        return [self._activity(run, lines) for run, lines in self.lines.items() if run in wanted]

    def _activity(self, run: str, lines: Lines) -> RunActivity:
        median_s = float(np.median(lines.gaps)) if lines.gaps else None
        return RunActivity(run, claiming_folder(), lines.info, lines.starts, lines.ends, lines.last_s, median_s)


def gpu(
    index: int = 0, *processes: GpuProcess, total: int = 80 * GIB, lost: str = "", name: str = "NVIDIA H100"
) -> Gpu:
    return Gpu(
        index,
        f"GPU-{index + 1}",
        name,
        total,
        700.0,
        state="lost" if lost else "ok",
        reason=lost,
        processes=tuple(processes),
    )


def gpu_process(pid: int | None = None, memory: int = 2 * GIB, user: str = "ada", name: str = "python") -> GpuProcess:
    return GpuProcess(os.getpid() if pid is None else pid, "compute", memory, 50, name, name, user, T0)


def card_labels(index: int = 0) -> Labels:
    return labels_of(gpu=index, host=HOST, uuid=f"GPU-{index + 1}")


def point(
    run: str, time_s: float | None, step: int | None, values: Mapping[str, float], rank: int | None = None
) -> Points:
    return Points(run, labels_of(rank=rank) if rank else (), tuple(values), tuple(values.values()), time_s, step)


def machine_point(time_s: float, labels: Labels, values: Mapping[str, float]) -> Points:
    return Points(None, labels, tuple(values), tuple(values.values()), time_s, None)


def folder_of(path: Path) -> Path:
    return path / "logs" / ".deepseek"
