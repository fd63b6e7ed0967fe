"""A run's points as TensorBoard event files, one folder a rank: what TensorBoard and its readers show as scalars.

A file is a row of records (length, its CRC, data, their CRC), the first one naming the version. Each other record is an Event of
protobuf: wall time, step, and the values of that moment. A point without a step has the step 0, as TensorBoard itself does it.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from collectors.logs.formats.tensorboard.tfrecord import VERSION, crc32c, masked
from collectors.records import Points
from collectors.store.copying import points_of
from collectors.store.protocol import Store

HEAD, CRC = struct.Struct("<Q"), struct.Struct("<I")
WALL_TIME, STEP, FILE_VERSION, SUMMARY = 1, 2, 3, 5  # fields of Event
VALUE, TAG, SIMPLE_VALUE = 1, 1, 2  # of Summary; of Value
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of field


def write_event_files(store: Store, run: str, target: Path) -> dict[str, int]:
    """Points by the name of each file, which is new. Raises UnknownRun, StoreError, OSError."""
    counts: dict[str, int] = {}
    for rank, points in _by_rank(points_of(store, run)).items():
        folder = target / f"rank{rank}" if rank else target
        folder.mkdir(parents=True, exist_ok=True)
        first_s = min((found.time_s for found in points if found.time_s is not None), default=0.0)
        path = folder / f"events.out.tfevents.{int(first_s)}.{socket.gethostname()}.{rank}"
        with path.open("xb") as file:
            for record in records(points, first_s):
                file.write(record)
        counts[str(path.relative_to(target))] = sum(len(found.values) for found in points)
    return counts


def _by_rank(points: Iterable[Points]) -> Mapping[int, list[Points]]:
    ranks: dict[int, list[Points]] = {}
    for found in points:
        rank = dict(found.labels).get("rank", "0")
        ranks.setdefault(int(rank) if rank.isdecimal() else 0, []).append(found)
    return {rank: sorted(found, key=_moment) for rank, found in sorted(ranks.items())}


def _moment(points: Points) -> tuple[int, float, int]:
    return points.segment, points.time_s if points.time_s is not None else -math.inf, points.step or 0


def records(points: Iterable[Points], first_s: float) -> Iterator[bytes]:
    yield framed(_double(WALL_TIME, first_s) + _bytes(FILE_VERSION, VERSION + b"2"))
    for found in points:
        values = b"".join(
            _bytes(VALUE, _bytes(TAG, name.encode(errors="replace")) + _float(SIMPLE_VALUE, value))
            for name, value in zip(found.names, found.values, strict=True)
        )
        moment = _double(WALL_TIME, first_s if found.time_s is None else found.time_s) + _varint(STEP, found.step or 0)
        yield framed(moment + _bytes(SUMMARY, values))


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
