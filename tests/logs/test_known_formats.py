"""A format is one file and one row: of bytes that are followed, and of files that are read anew when they changed."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.logs import recognition
from collectors.logs.file import BATCH_BYTES
from collectors.logs.formats import Arrival, Tally
from collectors.logs.recognition import FORMATS, FileFormat, Origin, State
from collectors.records import Labels, Points, Record, labels_of
from tests.support.following import Follower

HEADER = struct.Struct("<dqI")  # time, step, how many values follow
VALUE = struct.Struct("<d")


class Packed:
    """A toy byte format: a header, then so many values of one series."""

    def __init__(self, run: str, labels: Labels, state: State) -> None:
        self.tally = Tally()
        self._run, self._labels = run, labels

    def state(self) -> dict[str, Any]:
        return {}

    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        records: list[Record] = []
        used = 0
        while used + HEADER.size <= len(data):
            time_s, step, count = HEADER.unpack_from(data, used)
            end = used + HEADER.size + count * VALUE.size
            if end > len(data):
                break
            mean = sum(value for (value,) in VALUE.iter_unpack(data[used + HEADER.size : end])) / count
            records.append(Points(self._run, self._labels, ("mean",), (mean,), time_s, step))
            self.tally.lines_read += 1
            used = end
        return records, used


class Table:
    """A toy whole-file format: a CSV that its program writes anew each time; `rows` of it are known."""

    def __init__(self, run: str, labels: Labels, state: State) -> None:
        self.tally = Tally()
        self._run, self._labels, self._rows = run, labels, int(state.get("rows", 0))

    def state(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def parse_whole(self, data: bytes) -> list[Record]:
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        new, self._rows = rows[self._rows :], len(rows)
        return [
            Points(self._run, self._labels, ("acc",), (float(row["acc"]),), float(row["time_s"]), int(row["step"]))
            for row in new
        ]


ROWS = (
    FileFormat(
        "packed",
        lambda name: name.endswith(".packed"),
        "bytes",
        lambda at, state: Packed(at.run.name, _labels(at), state),
        ".packed",
    ),
    FileFormat(
        "table", lambda name: name == "table.dat", "whole", lambda at, state: Table(at.run.name, _labels(at), state)
    ),
)


def _labels(origin: Origin) -> Labels:
    return labels_of(host=origin.host)


def packed(step: int, *values: float) -> bytes:
    return HEADER.pack(1_764_000_000.0 + step, step, len(values)) + b"".join(map(VALUE.pack, values))


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    monkeypatch.setattr(recognition, "FORMATS", (*FORMATS, *ROWS))
    follower = Follower(tmp_path)
    yield follower
    follower.tail.close()


def test_a_record_that_is_half_written_waits_and_comes_once_also_after_a_restart(
    follower: Follower, tmp_path: Path
) -> None:
    path, rest = tmp_path / "run.packed", packed(1, 3.0, 5.0)
    path.write_bytes(packed(0, 1.0) + rest[:25])
    assert follower.values(1) == [1.0]
    follower.restart()
    with path.open("ab") as file:
        file.write(rest[25:])
    assert follower.values(2) == [1.0, 4.0]
    assert {record.run for record in follower.records if isinstance(record, Points)} == {"run"}
    assert (
        follower.offsets["run.packed"].offset == path.stat().st_size and follower.offsets["run.packed"].lines_read == 2
    )


def test_a_record_may_be_longer_than_a_batch(follower: Follower, tmp_path: Path) -> None:
    many = 3 * BATCH_BYTES // VALUE.size
    (tmp_path / "run.packed").write_bytes(packed(0, *[2.0] * many) + packed(1, 7.0))
    assert follower.values(2) == [2.0, 7.0]


def test_a_file_that_is_written_anew_tells_what_is_new_in_it(follower: Follower, tmp_path: Path) -> None:
    path = tmp_path / "a" / "table.dat"
    path.parent.mkdir()
    path.write_text("time_s,step,acc\n1764000000,0,0.5\n")
    assert follower.values(1) == [0.5]
    for restarted in (False, True):
        if restarted:
            follower.restart()
        count = len(follower.values(1))
        path.with_suffix(".new").write_text(path.read_text() + f"1764000001,{count},0.{count}\n")
        path.with_suffix(".new").rename(path)
        follower.values(count + 1)
    assert follower.values(3) == [0.5, 0.1, 0.2]


def test_a_format_that_fails_costs_its_file(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "bad.packed").write_bytes(HEADER.pack(1.0, 0, 0))
    (tmp_path / "good.packed").write_bytes(packed(0, 1.5))
    assert follower.values(1) == [1.5]
    assert follower.offsets["bad.packed"].trouble.startswith("cannot be read (ZeroDivisionError")
