"""Measures jobs while they run: memory, activity and duration, remembered per family."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from collectors.machine.exit_reason import killed_for_memory
from collectors.machine.proc import PROC, TICKS_PER_S

from .host import SlotStatus
from .plan import FamilyRecord
from .state_folder import open_plain

# Memory and CPU time of the processes of a job, from /proc.

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class ProcessUsage(NamedTuple):
    rss_mib: float
    cpu_s: float  # of the living, and of their children that have ended


def used_by(pids: Iterable[int], proc: Path = PROC) -> ProcessUsage:
    """Pages that several processes share count for each. About 20 us a process."""
    rss_mib, ticks = 0.0, 0
    for pid in pids:
        try:
            rss_mib += int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE_MIB
            ticks += sum(map(int, (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except (OSError, IndexError, ValueError):  # it has ended
            continue
    return ProcessUsage(rss_mib, ticks / TICKS_PER_S)


# What a running job says of its own pace: steps, their seconds, and the share of them that waits for data, from the JSONL of its run.
#
# Read as it grows, at most MAX_BYTES a look: of a file that grows faster, only its end.

MAX_BYTES = 1 << 20  # of a file, a look
MAX_LINES = 4096  # of steps that are kept
OTHERS = ("events", "logged_samples")  # files of a run that hold no numbers by step
CHECKPOINT = "checkpoint"
MAX_NUMBER = 10**12  # of a step, the units of a line, seconds
MIN_UNITS = 5  # below these a pace is noise


class StepLine(NamedTuple):
    time_s: float
    units: int  # of work that the line stands for
    data_s: float  # of these, waiting for data


class StepPace(NamedTuple):
    units: int
    units_per_s: float | None  # by the median step, so that a validation or a checkpoint between does not count
    data_bound: float | None  # share of the time


class StepLines:
    """Of the files in one run's folder that rank 0 writes."""

    def __init__(self, folder: Path, since_s: float) -> None:
        """Lines before `since_s` are an earlier attempt's."""
        self._folder, self._since_s = folder, since_s
        self._offsets: dict[str, int] = {}
        self._steps: deque[StepLine] = deque(maxlen=MAX_LINES)
        self._last: dict[str, int] = {}  # step, by file
        self.units = 0
        self.checkpoint_s: float | None = None  # the newest

    def look(self) -> None:
        for path in self._files():
            for fields in self._new(path):
                self._take(path.name, fields)

    def pace(self, since_s: float) -> StepPace:
        """Of the steps that began after `since_s`."""
        steps = [line for line in self._steps if line.time_s >= since_s]
        units = sum(line.units for line in steps[1:])
        between = list(itertools.pairwise(steps))
        paces = [
            (after.time_s - before.time_s) / after.units for before, after in between if after.time_s > before.time_s
        ]
        if units < MIN_UNITS or not paces:
            return StepPace(units, None, None)
        spent_s = steps[-1].time_s - steps[0].time_s
        data_s = sum(line.data_s for line in steps[1:])
        return StepPace(units, 1 / statistics.median(paces), min(1.0, data_s / spent_s) if spent_s > 0 else None)

    def _files(self) -> list[Path]:
        """The usual names, else any: rank 0 only."""
        with suppress(OSError):
            names = sorted(
                entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".jsonl") and entry.is_file()
            )
            mine = [name for name in names if ".rank" not in name and not name.startswith((".", *OTHERS))]
            chosen = ["metrics.jsonl"] if "metrics.jsonl" in mine else mine[:1]
            return [self._folder / name for name in [*chosen, *(["events.jsonl"] if "events.jsonl" in names else [])]]
        return []

    def _new(self, path: Path) -> Iterator[dict[str, Any]]:
        """Objects of whole lines that are new."""
        try:
            with open_plain(path) as file:
                size = os.fstat(file.fileno()).st_size
                offset = self._offsets.get(path.name, 0)
                offset = 0 if offset > size else offset
                if cut := size - offset > MAX_BYTES:
                    offset = size - MAX_BYTES
                file.seek(offset)
                data = file.read(MAX_BYTES)
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[path.name] = offset + len(whole)
        lines = whole.split(b"\n")
        for line in lines[1:] if cut else lines:
            with suppress(ValueError, RecursionError):
                fields = json.loads(line)
                if isinstance(fields, dict):
                    yield fields

    def _take(self, file: str, fields: dict[str, Any]) -> None:
        time_s, step, units = _number(fields.get("time_s")), fields.get("step"), fields.get("units", 1)
        if time_s is None or not self._since_s <= time_s <= MAX_NUMBER:
            return
        if file == "events.jsonl":
            if fields.get("kind") == CHECKPOINT:
                self.checkpoint_s = time_s
            return
        if (
            not isinstance(step, int)
            or not isinstance(units, int)
            or not 1 <= units <= MAX_NUMBER
            or not self._last.get(file, -1) < step <= MAX_NUMBER
        ):
            return  # more numbers of a step that is counted
        before = self._last.get(file)
        self._last[file] = step
        data_s = _number(fields.get("phase/data_s")) or 0.0
        units = max(units, step - before if before is not None else units)  # a log of every tenth step
        self._steps.append(StepLine(time_s, units, min(max(data_s, 0.0), float(MAX_NUMBER))))
        self.units += units


def _number(value: object) -> float | None:
    """A finite one: what a program logs may be anything."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


# Whether an attempt ended because memory ran out: of a card, or of the host.

TAIL_BYTES = 64 << 10
SAID = re.compile(
    rb"torch(?:\.cuda)?\.OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|RESOURCE_EXHAUSTED: Out of memory|^(?:numpy\.[\w.]*)?(?:_Array)?MemoryError\b|DefaultCPUAllocator: can't allocate memory"
    rb"|runs out of memory with --batch",
    re.MULTILINE,
)
NEAR = 0.95  # of the slot's memory: SIGKILL there is the kernel's
SIGKILL = -9


def out_of_memory(
    code: int | None, output: Path, process: tuple[int, int] | None, peak_mib: float, limit_mib: float | None
) -> bool:
    """`code` as of an AttemptEnd, `output` its output.log, `process` its pid and start ticks; peak and limit on one slot."""
    if code in (None, 0):
        return False
    if code == SIGKILL:
        near = limit_mib is not None and peak_mib >= NEAR * limit_mib
        return near or (process is not None and killed_for_memory(*process))
    return SAID.search(tail_of(output)) is not None


def tail_of(path: Path, most_bytes: int = TAIL_BYTES) -> bytes:
    """b"" where it cannot be read."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            return file.read(most_bytes)
    except OSError:
        return b""


# What is measured of one attempt while it runs, and what its family's record becomes by it.

MIN_ALONE = 20  # units alone, from which on a job has a baseline of its own
NEW, OLD = 0.3, 0.7  # of an activity: the mean moves slowly


class MeasuredAttempt:
    """`look` on every turn of the daemon."""

    def __init__(self, folder: Path, started_s: float, slots: Sequence[str], cores: int) -> None:
        """`cores` that it has for itself, where its slots are shares of the host's; 0 on GPUs."""
        self.lines = StepLines(folder, started_s)
        self.started_s = started_s
        self.peak_mib = 0.0  # of a slot
        self.rss_mib = 0.0
        self._slots, self._cores = slots, cores
        self._activities: list[float] = []  # alone
        self._loader_cores = 0.0
        self._cpu: tuple[float, float] | None = None  # CLOCK_MONOTONIC, and CPU time then
        self._alone: StepPace | None = None
        self._alone_since_s: float | None = started_s

    def look(self, pids: Iterable[int], seen: Mapping[str, SlotStatus], shared_s: float | None) -> None:
        """`pids` are its processes; `shared_s` since when it has neighbours."""
        self.lines.look()
        pids = list(pids)
        used = used_by(pids)
        mine = [seen[slot] for slot in self._slots if slot in seen]
        self.rss_mib = used.rss_mib
        a_slot = [sum(slot.used_mib.get(pid, 0.0) for pid in pids) for slot in mine] if not self._cores else []
        self.peak_mib = max(
            [self.peak_mib, *(a_slot or [used.rss_mib / max(1, len(self._slots)) if self._cores else 0.0])]
        )
        cores_busy = self._cores_busy(used.cpu_s)
        if shared_s is not None:
            self._alone_since_s = None
        else:
            self._alone_since_s = self._alone_since_s or time.time()
            self._note_alone(mine, cores_busy, self._alone_since_s)

    def _note_alone(self, mine: Sequence[SlotStatus], cores_busy: float | None, since_s: float) -> None:
        if self._cores and cores_busy is not None:
            self._activities.append(min(1.0, cores_busy / self._cores))
        on_gpus = [slot.activity for slot in mine if slot.activity is not None]
        if not self._cores and on_gpus:
            self._activities.append(sum(on_gpus) / len(on_gpus))
            if cores_busy is not None:
                self._loader_cores = max(0.0, cores_busy - 1.0)  # the process that computes has one
        pace = self.lines.pace(since_s)
        if pace.units_per_s is not None and pace.units >= MIN_ALONE:
            self._alone = pace

    def speed(self, shared_s: float, record: FamilyRecord) -> tuple[float | None, int]:
        """Its units/s since it has neighbours, of its own alone, and over how many units: by its own time alone, else its family's."""
        now = self.lines.pace(shared_s)
        alone = self._alone.units_per_s if self._alone else record.units_per_s
        if now.units_per_s is None or not alone:
            return None, now.units
        return now.units_per_s / alone, now.units

    def known(self, record: FamilyRecord) -> FamilyRecord:
        """The family's record with what was measured: the highest peak, the others moved towards the new.

        Activity, without which no neighbour is placed beside it, is known only where its pace is: else what they do to it could not be checked.
        """
        alone = self._alone
        activity = (
            sum(self._activities) / len(self._activities)
            if self._activities and (alone or record.units_per_s)
            else None
        )
        return record._replace(
            peak_mib=max(record.peak_mib or 0.0, self.peak_mib) or None,
            activity=_moved(record.activity, activity),
            units_per_s=_moved(record.units_per_s, alone.units_per_s if alone else None),
            data_bound=_moved(
                None if record.units_per_s is None else record.data_bound, alone.data_bound if alone else None
            )
            or 0.0,
            loader_cores=self._loader_cores or record.loader_cores,
        )

    def _cores_busy(self, cpu_s: float) -> float | None:
        now_s, before = time.monotonic(), self._cpu
        self._cpu = now_s, cpu_s
        if before is None or now_s - before[0] < 0.2:
            self._cpu = before or self._cpu
            return None
        return max(0.0, cpu_s - before[1]) / (now_s - before[0])


def _moved(known: float | None, new: float | None) -> float | None:
    return known if new is None else new if known is None else OLD * known + NEW * new
