"""Read what `nvidia-smi --query-gpu=... --format=csv` writes: a row a GPU, a series a column.

Header `timestamp, index, utilization.gpu [%], memory.used [MiB]`, then `2026/11/25 19:02:39.123, 0, 45 %, 1024 MiB` ->
`Points(run, (("gpu", "0"),), ("nvidia_smi/utilization_gpu_pct", "nvidia_smi/memory_used_bytes"), (45.0, 1073741824.0), 1764097359.123, None)`
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...records import Labels, Points
from .columns import Cells, time_of
from .roles import ISO
from .values import inert

COLUMN = re.compile(r"(?P<name>[a-z][a-z0-9_.]*)(?: \[(?P<unit>[^\]]{1,10})\])?")
UNITS = {"%": ("_pct", 1.0), "MiB": ("_bytes", 2.0**20), "W": ("_w", 1.0), "MHz": ("_mhz", 1.0), "us": ("_s", 1e-6)}
WITHOUT_UNIT = {"temperature": "_c"}
IDENTITY = {"index": "gpu", "uuid": "uuid", "gpu_uuid": "uuid", "pci.bus_id": "bus", "gpu_bus_id": "bus"}
"""Columns that say which GPU it is, and the label that they become; the bus only where nothing else says it."""
TEXT = {"name", "gpu_name", "driver_version", "vbios_version", "serial", "gpu_serial", "count"}
NUMBER = re.compile(rb"P?([-+]?\d+(?:\.\d+)?)(?: ?[A-Za-z%]+)?")  # 45 %, 1024 MiB, P0


def is_nvidia_smi(header: Sequence[str]) -> bool:
    """Whether these are names of its columns, at least one of them with a unit in brackets."""
    found = [COLUMN.fullmatch(name) for name in header]
    return all(found) and any(column and column["unit"] in UNITS for column in found)


class GpuTable:
    """The rows of one file."""

    def __init__(self, run: str, labels: Labels, header: Sequence[str]) -> None:
        self._run, self._labels = run, labels
        self._time: int | None = header.index("timestamp") if "timestamp" in header else None
        self._identity = {IDENTITY[name]: place for place, name in enumerate(header) if name in IDENTITY}
        if len(self._identity) > 1:
            self._identity.pop("bus", None)
        left_out = {"timestamp", *IDENTITY, *TEXT}
        self._series = {place: series_of(name) for place, name in enumerate(header) if name not in left_out}
        self._known: dict[tuple[bytes, ...], Labels] = {}  # of a GPU

    def points(self, cells: Cells, arrival_s: float | None, row: int) -> Points | None:
        """What is not available (`[N/A]`) has no point. `row` is the step of a row that has no time."""
        values: dict[str, float] = {}
        for place, (name, factor) in self._series.items():
            if found := NUMBER.fullmatch(cells[place].strip()):
                values[name] = float(found[1]) * factor
        time_s = time_of(cells[self._time], ISO) if self._time is not None else None
        time_s = arrival_s if time_s is None else time_s
        if not values:
            return None
        return Points(
            self._run,
            self._labels_of(cells),
            tuple(values),
            tuple(values.values()),
            time_s,
            row if time_s is None else None,
        )

    def _labels_of(self, cells: Cells) -> Labels:
        key = tuple(cells[place].strip()[:100] for place in self._identity.values())
        if (labels := self._known.get(key)) is None:
            if len(self._known) > 1_000:
                self._known.clear()
            own = {
                name: inert(value.decode("utf-8", "replace"))
                for name, value in zip(self._identity, key, strict=True)
                if value
            }
            labels = self._known[key] = tuple(sorted((dict(self._labels) | own).items()))
        return labels


def series_of(column: str) -> tuple[str, float]:
    """`"memory.used [MiB]" -> ("nvidia_smi/memory_used_bytes", 1048576.0)`: the name, and what its numbers are multiplied with."""
    found = COLUMN.fullmatch(column)
    name, unit = (found["name"], found["unit"]) if found else (column, None)
    suffix, factor = UNITS.get(unit or "", (WITHOUT_UNIT.get(name.partition(".")[0], ""), 1.0))
    return f"nvidia_smi/{name.replace('.', '_')}{suffix}", factor
