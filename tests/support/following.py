"""A tail that is followed in a test, and what became of the files: beside what the library that wrote them read back."""

from __future__ import annotations

import json
import math
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from collectors.logs.tail import Tail
from collectors.records import Offset, Points, Record, RunInfo, labels_of

DEADLINE_S = 60.0
LABELS = labels_of(host="box")
RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "formats"

Series = dict[str, list[tuple[int | None, float]]]


class Follower:
    """A tail that is asked until what is waited for has come; keeps the offsets like the store does."""

    def __init__(self, root: Path) -> None:
        self.root, self.records, self.offsets = root, [], {}
        self._start()

    records: list[Record]
    offsets: dict[str, Offset]

    def _start(self) -> None:
        self.wake = threading.Event()
        self.tail = Tail(self.root, "box", self.offsets, self.wake)
        self.wake.set()

    def collect(self) -> None:
        self.wake.clear()
        got = self.tail.collect()
        self.records += got
        for record in got:
            if isinstance(record, Offset):
                self.offsets[record.path] = record._replace(state=orjson.loads(orjson.dumps(dict(record.state))))

    def restart(self) -> None:
        self.tail.close()
        self._start()

    def values(self, count: int) -> list[float]:
        """All values so far, once there are `count`; a little longer, to see that no more come."""
        deadline = time.monotonic() + DEADLINE_S
        while len(self._values()) < count and time.monotonic() < deadline:
            self.collect()
            self.wake.wait(0.05)
        self.collect()
        return self._values()

    def _values(self) -> list[float]:
        return [value for record in self.records if isinstance(record, Points) for value in record.values]


def until(follower: Follower, so: Callable[[], object]) -> None:
    """Collect until it is so, and a little longer, to see that no more comes."""
    deadline = time.monotonic() + DEADLINE_S
    while not so():
        assert time.monotonic() < deadline
        follower.collect()
        follower.wake.wait(min(0.05, follower.tail.period_s))
    for _ in range(3):
        follower.collect()


def offset_of(follower: Follower, path: str) -> Offset:
    return follower.offsets.get(path, Offset(path, "", 0, 0, 0, 0, 0, 0, "", {}))


def unpacked(program: str, logs: Path) -> dict[str, Any]:
    """Put a recorded log folder there; return what the library read back."""
    with tarfile.open(RECORDED / f"{program}.tar.xz") as packed:
        members = [member for member in packed.getmembers() if member.name.startswith("logs/")]
        for member in members:
            member.name = member.name.removeprefix("logs/")
        packed.extractall(logs, members, filter="data")
    told: dict[str, Any] = json.loads((RECORDED / f"{program}.json").read_text())
    return told


def points_of(records: Sequence[object]) -> list[Points]:
    return [record for record in records if isinstance(record, Points)]


def series_of(records: Sequence[object]) -> Series:
    """Step and value of each series, in the order in which they were read."""
    found: Series = {}
    for point in points_of(records):
        for name, value in zip(point.names, point.values, strict=True):
            found.setdefault(name, []).append((point.step, value))
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
    return sorted(
        ((step, "nan" if math.isnan(value) else repr(value)) for step, value in numbers), key=lambda row: row[0] or 0
    )
