"""Resources of this host for jobs: GPUs, or shares of its cores, and what others use."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from collectors.machine.inventory import Gpu, GpuProcess
from collectors.machine.nvml import NvmlCollector
from collectors.machine.proc import user_of

from . import lease
from .plan import CORES, Slot, core_slots

# What the daemon asks of the host: its slots, as they are now.


class SlotStatus(NamedTuple):
    """A slot, and what else is known of it."""

    slot: Slot
    name: str  # "GPU 0", "cores 0-3"
    why: str = ""  # who else uses it, in words
    activity: float | None = None  # of its multiprocessors since the last look, 0 to 1
    used_mib: Mapping[int, float] = {}  # by process, on a GPU


class JobsHost(Protocol):
    """A host has slots of one kind for as long as the daemon lives."""

    cores: int  # that all jobs together may use

    def look(self, ours: frozenset[int], used_mib: Mapping[str, float]) -> list[SlotStatus]:
        """`ours` are the processes of the queue's jobs; `used_mib` is what those on a core slot use of its memory. A GPU takes some ms."""

    def gpus(self, slots: tuple[str, ...]) -> tuple[str, ...]:
        """UUIDs for CUDA_VISIBLE_DEVICES; () on a host without."""

    def cores_of(self, slots: tuple[str, ...]) -> tuple[int, ...]:
        """Numbers of the cores that these slots have; () where a job may use all."""

    def close(self) -> None: ...


# A host without GPUs: a slot is a share of its cores, with the same share of its memory.

MAX_A_SLOT = 4  # where --cores-a-slot does not say otherwise


class CoreHost:
    def __init__(self, a_slot: int | None = None, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._meminfo = meminfo
        self._numbers = sorted(os.sched_getaffinity(0))
        self.cores = len(self._numbers)
        self._a_slot = min(a_slot or MAX_A_SLOT, self.cores)
        self._slots = core_slots(self.cores, self._a_slot, self._amounts().get("MemTotal"))

    def look(self, ours: frozenset[int], used_mib: Mapping[str, float]) -> list[SlotStatus]:
        available = self._amounts().get("MemAvailable")
        found = []
        for slot in self._slots:
            free = None
            if slot.memory_mib is not None and available is not None:
                free = max(0.0, min(available, slot.memory_mib - used_mib.get(slot.id, 0.0)))
            found.append(SlotStatus(replace(slot, free_mib=free), f"cores {spoken(self.cores_of((slot.id,)))}"))
        return found

    def gpus(self, slots: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    def cores_of(self, slots: tuple[str, ...]) -> tuple[int, ...]:
        places = [
            place for place, slot in enumerate(self._slots) if slot.id in slots
        ]  # not those of another daemon's host
        return tuple(number for place in places for number in self._numbers[place * self._a_slot :][: self._a_slot])

    def close(self) -> None:
        """Nothing is held open."""

    def _amounts(self) -> dict[str, float]:
        """MiB."""
        rows = (line.split() for line in self._meminfo.read_text().splitlines())
        return {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows if len(row) > 1}


def spoken(numbers: tuple[int, ...]) -> str:
    """`(0, 1, 2, 3) -> "0-3"`, `(0, 2) -> "0,2"`"""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


# The GPUs of this host: which are free, as NVML and the leases of other users' queues say.

MIB = 2**20
NOT_NAMED = "the driver does not name it; to use the cores instead, start the daemon with --cores-a-slot"
IDLE_S = 600.0  # after so long without work a process of others is idle
BUSY_PCT = 2.0
SETTLE_S = 3.0  # of the first look: the driver is asked in small slices


class GpuHost:
    """A card, or each MIG instance of one, is a slot."""

    def __init__(
        self,
        leases: Path,
        idle_limit_mib: float = 0.0,
        *,
        remembered: Sequence[SlotStatus] = (),
        collector: NvmlCollector | None = None,
    ) -> None:
        """`idle_limit_mib`: processes of others that hold no more, on a card that has been idle for ten minutes, do not count. `remembered`: the cards
        that this queue had before. Where the driver names none, as after a boot before it is there, these are taken until it does."""
        self._remembered = [
            SlotStatus(replace(each.slot, free_mib=None, foreign=True, absent=True), each.name, NOT_NAMED)
            for each in remembered
        ]
        self._leases, self._idle_limit_mib = leases, idle_limit_mib
        self._collector = collector or NvmlCollector(socket.gethostname())
        self._known: dict[str, Gpu] = {}  # once seen, a card stays a slot: taken where it no longer answers
        self._values: dict[str, dict[str, float]] = {}  # by UUID, the newest
        self._busy: dict[str, list[float]] = {}  # utilization since the last look
        self._busy_s: dict[str, float] = {}  # when it last was busy, CLOCK_MONOTONIC
        self.cores = len(os.sched_getaffinity(0))
        until_s = time.monotonic() + SETTLE_S
        while self._ask() and not self._is_settled() and time.monotonic() < until_s:
            time.sleep(0.05)

    @property
    def there(self) -> bool:
        """Whether the host has a GPU, or had one."""
        return bool(self._known or self._remembered)

    def look(self, ours: frozenset[int], used_mib: Mapping[str, float]) -> list[SlotStatus]:
        lease.make_folder(self._leases)  # what cleans /tmp may have taken it
        present = {gpu.uuid: gpu for gpu in self._ask()}
        if not self._known:
            return self._remembered
        leased = lease.foreign_leases(self._leases)
        return [self._slot(gpu, present.get(uuid), ours, leased.get(uuid)) for uuid, gpu in self._known.items()]

    def gpus(self, slots: tuple[str, ...]) -> tuple[str, ...]:
        return slots

    def cores_of(self, slots: tuple[str, ...]) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        self._collector.close()

    def _ask(self) -> list[Gpu]:
        """The cards that the driver names now."""
        for points in self._collector.collect():
            uuid = dict(points.labels).get("uuid", "")
            values = dict(zip(points.names, points.values, strict=True))
            self._values.setdefault(uuid, {}).update(values)
            if (busy := values.get("gpu/utilization_pct")) is not None:
                self._busy.setdefault(uuid, []).append(busy)
                if busy > BUSY_PCT:
                    self._busy_s[uuid] = time.monotonic()
        gpus = list(self._collector.inventory().gpus)
        split = {gpu.index for gpu in gpus if gpu.mig is not None}
        usable = [gpu for gpu in gpus if gpu.uuid and (gpu.mig is not None or gpu.index not in split)]
        for gpu in usable:
            if gpu.uuid not in self._known:
                self._busy_s.setdefault(gpu.uuid, time.monotonic())
            self._known[gpu.uuid] = gpu
        return usable

    def _is_settled(self) -> bool:
        return bool(self._known) and all("gpu/memory_total_bytes" in self._values.get(uuid, {}) for uuid in self._known)

    def _slot(self, known: Gpu, gpu: Gpu | None, ours: frozenset[int], leased_by: int | None) -> SlotStatus:
        values, uuid = self._values.get(known.uuid, {}), known.uuid
        total = known.memory_total_bytes or values.get("gpu/memory_total_bytes")
        used = values.get("gpu/memory_used_bytes")
        compute = [process for process in gpu.processes if process.kind == "compute"] if gpu else []
        strangers = [process for process in compute if process.pid not in ours]
        idle = [process for process in strangers if self._is_idle(uuid, process)]
        why = ""
        if absent := gpu is None or gpu.state == "lost":
            why = known.reason or "the driver does not name it any more"
        elif len(idle) < len(strangers):
            why = f"in use by {_spoken([process for process in strangers if process not in idle])}"
        elif leased_by is not None:
            why = f"the queue of {user_of(leased_by)} has it"
        kept_mib = sum((process.used_memory_bytes or 0) / MIB for process in idle)
        busy = self._busy.pop(uuid, [])
        slot = Slot(
            uuid,
            None if total is None else total / MIB - kept_mib,
            None if total is None or used is None else (total - used) / MIB,
            foreign=bool(why),
            absent=absent,
        )
        name = f"GPU {known.index}" if known.mig is None else f"GPU {known.index} MIG {known.mig}"
        used_mib = {process.pid: (process.used_memory_bytes or 0) / MIB for process in (gpu.processes if gpu else ())}
        return SlotStatus(slot, name, why, sum(busy) / len(busy) / 100 if busy else None, used_mib)

    def _is_idle(self, uuid: str, process: GpuProcess) -> bool:
        """A notebook that has ended its work and kept its memory."""
        if not self._idle_limit_mib or process.used_memory_bytes is None:
            return False
        return (
            process.used_memory_bytes / MIB <= self._idle_limit_mib and time.monotonic() - self._busy_s[uuid] >= IDLE_S
        )


def to_remember(slots: Iterable[SlotStatus], now_s: float) -> dict[str, object]:
    """What the queue keeps of the slots, for its readers and the next daemon."""
    rows = [
        {"id": slot.id, "name": name, "memory_mib": slot.memory_mib, "free_mib": slot.free_mib, "foreign": slot.foreign, "why": why}
        for slot, name, why, *_ in slots
    ]  # fmt: skip
    return {"seen_s": now_s, "slots": rows}


def remembered_from(kept: object) -> list[SlotStatus]:
    """The cards among the slots that a daemon of this queue has kept in its file; none where that is something else."""
    rows, found = kept.get("slots") if isinstance(kept, dict) else None, list[SlotStatus]()
    for row in rows if isinstance(rows, list) else []:
        with suppress(KeyError, TypeError, ValueError):
            uuid, memory_mib = str(row["id"]), row["memory_mib"]
            if not uuid.startswith(CORES):
                found.append(
                    SlotStatus(Slot(uuid, None if memory_mib is None else float(memory_mib)), str(row["name"]))
                )
    return found


def _spoken(processes: list[GpuProcess]) -> str:
    """`python of anna (pid 4127) and 2 more`"""
    first, *more = processes
    name = first.name or "a process"
    whose = f" of {first.user}" if first.user else ""
    return f"{name}{whose} (pid {first.pid}){f' and {len(more)} more' if more else ''}"
