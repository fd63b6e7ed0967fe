"""Curves as TensorBoard event files: a folder per run, a record per scalar, as `SummaryWriter.add_scalar` writes them.

Millions of records are made at once, in numpy, where those of a step number of equal length are of equal length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.curves import STEP_S, T0_S, Curves
from collectors.logs.formats.tfrecord import ALL_ONES, VERSION, crc32c, masked, masked_all
from dashboard.archive import framed

RECORDS = 200_000  # at once
FRAME, CRC_BYTES, BEFORE_STEP = 12, 4, 10  # bytes: length and its CRC; a CRC; wall time and the key of the step


def write_event_files(curves: Curves, log_dir: Path) -> None:
    for number, run in enumerate(curves.run_names):
        folder = log_dir / run
        folder.mkdir(parents=True)
        with (folder / f"events.out.tfevents.{int(T0_S)}.box.1.0").open("wb") as file:
            file.write(framed(b"\x09" + struct.pack("<d", T0_S) + b"\x1a\x0d" + VERSION + b"2"))
            values = curves.values(number)
            for first, last in blocks(curves):
                file.write(records(curves.tag_names, values[first:last], first).tobytes())


def blocks(curves: Curves) -> Iterator[tuple[int, int]]:
    """Ranges of steps (first, behind the last) whose numbers have one length as a varint."""
    most, first = max(1, RECORDS // curves.tags), 0
    while first < curves.steps:
        last = min(first + most, 1 << 7 * varint_bytes(first), curves.steps)
        yield first, last
        first = last


def varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))


def records(tags: list[str], values: NDArray[np.float32], first: int) -> NDArray[np.uint8]:
    """(steps, tags, bytes): `09 wall time, 10 step, 2a summary { 0a value { 0a tag, 15 value } }`, framed."""
    count, steps = len(values), np.arange(first, first + len(values))
    names = [bytes([0x2A, len(tag) + 9, 0x0A, len(tag) + 7, 0x0A, len(tag)]) + tag.encode() + b"\x15" for tag in tags]
    width = varint_bytes(first)
    length = BEFORE_STEP + width + len(names[0]) + 4
    made = np.empty((count, len(tags), FRAME + length + CRC_BYTES), np.uint8)
    head = struct.pack("<Q", length)
    made[..., :FRAME] = np.frombuffer(head + struct.pack("<I", masked(crc32c(head))), np.uint8)
    data = made[..., FRAME:-CRC_BYTES]
    data[..., 0], data[..., BEFORE_STEP - 1] = 0x09, 0x10
    data[..., 1:9] = (T0_S + STEP_S * steps).astype("<f8").view(np.uint8).reshape(count, 1, 8)
    for i in range(width):
        more = 0x80 if i < width - 1 else 0
        data[..., BEFORE_STEP + i] = ((steps >> 7 * i) & 0x7F | more)[:, None]
    data[..., BEFORE_STEP + width : -4] = np.frombuffer(b"".join(names), np.uint8).reshape(len(tags), -1)
    data[..., -4:] = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(count, len(tags), 4)
    crcs = masked_all(crcs_of(data.reshape(-1, length)))
    made[..., -CRC_BYTES:] = crcs.astype("<u4").view(np.uint8).reshape(count, len(tags), CRC_BYTES)
    return made


def crcs_of(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """CRC-32C of each row, a column at a time."""
    table = np.array([crc32c(bytes([255 - i])) ^ 0xFF000000 for i in range(256)], np.uint32)
    register = np.full(len(rows), ALL_ONES, np.uint32)
    for column in rows.T:
        register = table[(register ^ column) & np.uint32(255)] ^ (register >> np.uint32(8))
    return register ^ np.uint32(ALL_ONES)
