"""Raw points as rows of CSV, JSON lines or Parquet, in parts that fit into memory (pure).

run,series,labels,segment,step,time_s,value
baseline,train/loss,host=box rank=0,0,7,1764000001.5,0.25
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import orjson

from collectors.records import Labels
from collectors.store.store import RawPoints

RowFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]
MEDIA_TYPES: dict[RowFormat, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
AT_ONCE = 20_000  # rows of a piece of text
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that a spreadsheet would run
NO_PYARROW = "Parquet needs the package pyarrow beside the dashboard: pip install pyarrow; or choose format=csv"


class Rows(NamedTuple):
    """Points of one series; where they have no place, `points.place` is NaN."""

    run: str
    series: str
    labels: Labels
    points: RawPoints


def can_write(kind: RowFormat) -> bool:
    return kind != "parquet" or find_spec("pyarrow") is not None


def written(kind: RowFormat, place: str | None, parts: Iterable[Rows]) -> Iterator[bytes]:
    """`place` is the name of the column of places; None where it would be that of the steps."""
    if kind == "parquet":
        return _as_parquet(place, parts)
    return _as_csv(place, parts) if kind == "csv" else _as_json(place, parts)


def _as_csv(place: str | None, parts: Iterable[Rows]) -> Iterator[bytes]:
    """RFC 4180. Text that a spreadsheet would run as a formula begins with an apostrophe."""
    yield ",".join(["run", "series", "labels", *_numbers(place)]).encode() + b"\r\n"
    for part in parts:
        labels = " ".join(f"{key}={value}" for key, value in part.labels)
        head = ",".join(map(cell, (part.run, part.series, labels)))
        for rows in _pieces(part, place):
            yield "".join([f"{head},{','.join(map(_plain, row))}\r\n" for row in rows]).encode("utf-8", "replace")


def _as_json(place: str | None, parts: Iterable[Rows]) -> Iterator[bytes]:
    """An object a line; non-finite values are strings, what is missing is null."""
    names = [f',"{name}":' for name in _numbers(place)]
    for part in parts:
        run, series = (text.encode("utf-8", "replace").decode() for text in (part.run, part.series))
        head = orjson.dumps({"run": run, "series": series, "labels": dict(part.labels)}).decode()[:-1]
        for rows in _pieces(part, place):
            lines = [
                f"{head}{''.join(name + _json(value) for name, value in zip(names, row, strict=True))}}}\n"
                for row in rows
            ]
            yield "".join(lines).encode()


def _as_parquet(place: str | None, parts: Iterable[Rows]) -> Iterator[bytes]:
    """A row group a part; places, steps and labels may be null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = [(name, pa.dictionary(pa.int32(), pa.string())) for name in ("run", "series", "labels")]
    places = [] if place is None else [(place, pa.float64())]
    schema = pa.schema([*words, ("segment", pa.int64()), ("step", pa.int64()), *places, ("value", pa.float64())])
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for part in parts:
            labels = " ".join(f"{key}={value}" for key, value in part.labels)
            texts = [text.encode("utf-8", "replace").decode() for text in (part.run, part.series, labels)]
            none = np.isnan(part.points.step)
            step = np.where(none, 0, part.points.step).astype(np.int64)
            count = len(step)
            columns = [
                pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text])) for text in texts
            ]
            columns += [pa.array(part.points.segment), pa.array(step, mask=none)]
            columns += [] if place is None else [pa.array(part.points.place, mask=np.isnan(part.points.place))]
            writer.write_table(pa.Table.from_arrays([*columns, pa.array(part.points.value)], schema=schema))
            yield sink.taken()
    yield sink.taken()


def cell(text: str) -> str:
    """`=1+1 -> '=1+1`, `a,b -> "a,b"`"""
    text = f"'{text}" if text.startswith(FORMULA) else text
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if any(mark in text for mark in ',"\r\n') else text


def _numbers(place: str | None) -> list[str]:
    return ["segment", "step", "value"] if place is None else ["segment", "step", place, "value"]


def _pieces(part: Rows, place: str | None) -> Iterator[list[tuple[Any, ...]]]:
    points = part.points
    for start in range(0, len(points.value), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        steps = [None if math.isnan(step) else int(step) for step in points.step[some].tolist()]
        places = [None if math.isnan(at) else at for at in points.place[some].tolist()]
        columns = [points.segment[some].tolist(), steps, *([] if place is None else [places])]
        yield list(zip(*columns, points.value[some].tolist(), strict=True))


def _plain(value: float | None) -> str:
    """Of a table: empty where it is missing."""
    if value is None:
        return ""
    return repr(value) if math.isfinite(value) else _word(value)


def _json(value: float | None) -> str:
    if value is None:
        return "null"
    return repr(value) if math.isfinite(value) else f'"{_word(value)}"'


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class _Sink(io.RawIOBase):
    """What is written into it can be taken out again, and counts as written."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._waiting.append(piece)
        self._count += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._count

    def taken(self) -> bytes:
        found, self._waiting = b"".join(self._waiting), []
        return found
