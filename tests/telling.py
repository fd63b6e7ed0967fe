"""What a library read back of what it logged, beside what the tail made of the same files."""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collectors.records import Points, Record, RunInfo

RECORDED = Path(__file__).parent / "recorded" / "formats"

Series = dict[str, list[tuple[int | None, float]]]


def unpacked(program: str, logs: Path) -> dict[str, Any]:
    """Put a recorded log folder there; return what the library read back."""
    with tarfile.open(RECORDED / f"{program}.tar.xz") as packed:
        members = [member for member in packed.getmembers() if member.name.startswith("logs/")]
        for member in members:
            member.name = member.name.removeprefix("logs/")
        packed.extractall(logs, members, filter="data")
    told: dict[str, Any] = json.loads((RECORDED / f"{program}.json").read_text())
    return told


def series_of(records: Sequence[object]) -> Series:
    """Step and value of each series, in the order in which they were read."""
    found: Series = {}
    for record in records:
        if isinstance(record, Points):
            for name, value in zip(record.names, record.values, strict=True):
                found.setdefault(name, []).append((record.step, value))
    return found


def of_run(records: Sequence[Record], run: str) -> list[Record]:
    return [record for record in records if getattr(record, "run", None) == run]


def check_told(records: Sequence[Record], told: dict[str, Any]) -> None:
    """Each series that the library read back is there, with its steps and values, and nothing twice."""
    for run, series in told["runs"].items():
        found = series_of(of_run(records, run))
        for name, rows in series.items():
            assert plain(found.get(name, [])) == plain(rows), f"{run}: {name}"
    for run, config in told["config"].items():
        infos = [record.info for record in of_run(records, run) if isinstance(record, RunInfo)]
        assert infos and infos[-1]["config"] == config, run


def count_of(told: dict[str, Any]) -> int:
    return sum(len(rows) for series in told["runs"].values() for rows in series.values())


def plain(rows: Sequence[Sequence[Any]]) -> list[tuple[int | None, str]]:
    """By step; a NaN is one."""
    numbers = [(step, float(value)) for step, value in rows]
    return sorted(((step, "nan" if math.isnan(value) else repr(value)) for step, value in numbers), key=lambda row: row[0] or 0)
