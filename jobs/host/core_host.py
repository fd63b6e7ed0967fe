"""A host without GPUs: a slot is a share of its cores, with the same share of its memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..planning.slot import core_slots
from .host import SeenSlot

MOST_A_SLOT = 4  # where --cores-a-slot does not say otherwise


class CoreHost:
    def __init__(self, a_slot: int | None = None, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._meminfo = meminfo
        self._numbers = sorted(os.sched_getaffinity(0))
        self.cores = len(self._numbers)
        self._a_slot = min(a_slot or MOST_A_SLOT, self.cores)
        self._slots = core_slots(self.cores, self._a_slot, self._amounts().get("MemTotal"))

    def look(self, ours: frozenset[int], used_mib: Mapping[str, float]) -> list[SeenSlot]:
        available = self._amounts().get("MemAvailable")
        found = []
        for slot in self._slots:
            free = None
            if slot.memory_mib is not None and available is not None:
                free = max(0.0, min(available, slot.memory_mib - used_mib.get(slot.id, 0.0)))
            found.append(SeenSlot(replace(slot, free_mib=free), f"cores {spoken(self.cores_of((slot.id,)))}"))
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
