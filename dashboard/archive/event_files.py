"""A run's points as TensorBoard event files, one folder a rank: what TensorBoard and its readers show as scalars.

A file is a row of records (length, its CRC, data, their CRC), the first one naming the version. Each other record is an Event of
protobuf: wall time, step, and the values of that moment. Points without a step are counted.
"""

from __future__ import annotations

import math
import socket
import struct
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from collectors.logs.formats.tensorboard.tfrecord import VERSION, crc32c, masked
from collectors.records import Points
from collectors.store.copying import points_of
from collectors.store.protocol import Store

PLACED = ("host", "rank", "source")  # labels that say nothing more there
HEAD, CRC = struct.Struct("<Q"), struct.Struct("<I")
WALL_TIME, STEP, FILE_VERSION, SUMMARY = 1, 2, 3, 5  # fields of Event
VALUE, TAG, SIMPLE_VALUE = 1, 1, 2  # of Summary; of Value
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of field


class Written(NamedTuple):
    points: int
    files: int
    left_out: list[str]  # in words


def write_event_files(store: Store, run: str, target: Path) -> Written:
    """Into a folder that is new: whole, or not at all. Raises UnknownRun, StoreError, TooMuch, OSError."""
    missed: set[str] = set()
    count, files, steps = 0, dict[int, BinaryIO](), Counter[tuple[int, tuple[str, ...]]]()
    all_points = points_of(store, run, missed)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as made:
        whole = Path(made) / "events"
        whole.mkdir()
        with ExitStack() as opened:
            for points in map(_tagged, all_points):
                rank = rank_of(points)
                if rank not in files:
                    first_s = points.time_s or 0.0
                    files[rank] = opened.enter_context(_new_file(whole, rank, first_s))
                    files[rank].write(framed(_double(WALL_TIME, first_s) + _bytes(FILE_VERSION, VERSION + b"2")))
                if points.step is None:  # counted, for each set of names: else all of them would stand in one place
                    points = points._replace(step=steps[rank, points.names])
                    steps[rank, points.names] += 1
                files[rank].write(event_of(points))
                count += len(points.values)
        whole.replace(target)
    return Written(count, len(files), sorted(missed))


def rank_of(points: Points) -> int:
    rank = dict(points.labels).get("rank", "0")
    return int(rank) if rank.isdecimal() else 0


def _new_file(folder: Path, rank: int, first_s: float) -> BinaryIO:
    place = folder / f"rank{rank}" if rank else folder
    place.mkdir(exist_ok=True)
    return (place / f"events.out.tfevents.{int(first_s)}.{socket.gethostname()}.{rank}").open("xb")


def _tagged(points: Points) -> Points:
    """A label that TensorBoard has no place for stands in the tag: `utilization_pct/gpu 1`."""
    more = "".join(f"/{key} {value}" for key, value in points.labels if key not in PLACED)
    return points._replace(names=tuple(f"{name}{more}" for name in points.names)) if more else points


def event_of(points: Points) -> bytes:
    """A record: the values of one moment."""
    values = b"".join(
        _bytes(VALUE, _bytes(TAG, name.encode(errors="replace")) + _float(SIMPLE_VALUE, value))
        for name, value in zip(points.names, points.values, strict=True)
    )
    return framed(_double(WALL_TIME, points.time_s or 0.0) + _varint(STEP, points.step or 0) + _bytes(SUMMARY, values))


def framed(data: bytes) -> bytes:
    """`length, masked CRC of it, data, masked CRC of them`"""
    head = HEAD.pack(len(data))
    return head + CRC.pack(masked(crc32c(head))) + data + CRC.pack(masked(crc32c(data)))


def _key(field: int, kind: int) -> bytes:
    return _number(field << 3 | kind)


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as their two's complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(field: int, value: int) -> bytes:
    return _key(field, VARINT) + _number(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # beyond a float32
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _key(field, FLOAT) + packed


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, BYTES) + _number(len(value)) + value
