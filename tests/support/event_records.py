"""TensorBoard's event files: recorded ones, records made by hand, and what is read of them."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from collectors.logs import run
from collectors.logs.formats import Arrival, tfrecord
from collectors.logs.formats.jsonl import SeriesNames
from collectors.logs.formats.tensorboard import EventFile
from collectors.records import Points, Record, RunInfo

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "tensorboard"
MEDIA = RECORDED.with_name("tensorboard_media")
FILES = sorted(RECORDED.rglob("events.out.tfevents.*"))
NOW = Arrival(1_764_000_000.0, 1_764_000_000.2)


def event_file(
    state: dict[str, Any] | None = None, prefix: str = "", place: str = "events.out.tfevents.0.box"
) -> EventFile:
    folder = run.RunFolder("a", Path("/logs/a"), False, "box")
    take = lambda config: folder.take_config("f", config)  # noqa: E731
    return EventFile("a", (), place, prefix, SeriesNames().fault, take, state)


def parsed(data: bytes, file: EventFile | None = None) -> list[Record]:
    records, used = (file or event_file()).parse_bytes(data, None)
    assert used == len(data)
    return records


def told(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.with_name("told.json").read_text())
    return rows


def scalars(records: list[Record]) -> list[tuple[str, float, float | None, int | None]]:
    points = [one for one in records if isinstance(one, Points) and len(one.names) == 1]
    return [(one.names[0], one.values[0], one.time_s, one.step) for one in points]


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def file_of(name: str) -> Path:
    return next(path for path in FILES if path.parent == RECORDED / name)


def without_infos(records: list[Record]) -> list[Record]:
    return [one for one in records if not isinstance(one, RunInfo)]


def frames(data: bytes) -> list[tuple[int, int]]:
    """Where each record begins and ends."""
    found, at = [], 0
    while at < len(data):
        end = at + tfrecord.FRAME_BYTES + tfrecord.HEAD.unpack_from(data, at)[0]
        found.append((at, end))
        at = end
    return found


def framed(body: bytes) -> bytes:
    length = len(body).to_bytes(8, "little")
    crcs = [struct.pack("<I", tfrecord.masked(tfrecord.crc32c(part))) for part in (length, body)]
    return length + crcs[0] + body + crcs[1]


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low = b""
    while value > 127:
        low += bytes([value & 127 | 128])
        value >>= 7
    return low + bytes([value])


def number(tag: str, value: float, step: int, time_s: float = 1_764_000_000.5) -> bytes:
    held = field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    return b"\x09" + struct.pack("<d", time_s) + b"\x10" + varint(step & (1 << 64) - 1) + field(5, field(1, held))


def image(tag: str, pixels: bytes, step: int) -> bytes:
    held = field(1, tag.encode()) + field(4, b"\x08\x10\x10\x20" + field(4, pixels))
    return b"\x09" + struct.pack("<d", 1_764_000_000.5) + b"\x10" + varint(step) + field(5, field(1, held))
