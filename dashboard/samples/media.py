"""What the bytes of a sample are, by the bytes themselves: only what browsers show without running anything is named as that."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from collectors.logs.formats.tensorboard import summary
from collectors.logs.formats.tensorboard.media import OF_HISTOGRAM, OF_TENSOR, sign_of
from collectors.logs.formats.tensorboard.protobuf import Malformed
from collectors.records import Sample

PLAIN = "text/plain; charset=utf-8"
UNKNOWN = "application/octet-stream"
INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/wav", "audio/mpeg", "audio/ogg", "audio/flac")
OF_TEXT = ("text", "table", "histogram")
MOST_BUCKETS = 10_000
HEIGHT_FIRST = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
)  # JPEG's frames


def media_of(sample: Sample, data: bytes) -> str:
    """HTML, SVG and all other text is plain text; what is neither a known image nor audio is of no kind that is shown."""
    known = sign_of(data[:16])
    if known is not None and known[1] in INLINE:
        return known[1]
    return PLAIN if sample.kind in OF_TEXT else UNKNOWN


def readable(sample: Sample, data: bytes) -> bytes:
    """A histogram as `{"edges": [...], "counts": [...]}` and several texts as lines, of whatever program; all else is as it was."""
    try:
        if sample.media == OF_HISTOGRAM:
            return _histogram(summary.histogram(data))
        if sample.media == OF_TENSOR:
            tensor = summary.tensor(data)
            if sample.kind == "text":
                return b"\n".join(tensor.strings)
            table = tensor.numbers[: len(tensor.numbers) // 3 * 3].reshape(-1, 3)
            return _histogram(summary.Buckets1D(table[:, 0], table[:, 1], table[:, 2]))
    except Malformed:
        return b""
    return data


def pixels(data: bytes) -> tuple[int, int]:
    """Width and height as the image's first bytes say; (0, 0) where they do not."""
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"GIF8"):
            return struct.unpack_from("<HH", data, 6)
        if data.startswith(b"RIFF"):
            return _pixels_of_webp(data)
        if data.startswith(b"\xff\xd8"):
            return _pixels_of_jpeg(data)
    except (struct.error, IndexError):
        pass
    return 0, 0


def _histogram(buckets: summary.Buckets1D) -> bytes:
    """Without the empty buckets at both ends, whose edges writers choose freely."""
    filled = np.flatnonzero(buckets.count > 0)
    kept = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
    left, right, count = (column[kept][:MOST_BUCKETS] for column in buckets)
    edges = np.append(left, right[-1:])
    return json.dumps(
        {"edges": [_number(edge) for edge in edges.tolist()], "counts": [_number(each) for each in count.tolist()]}
    ).encode()


def _number(value: float) -> Any:
    return value if math.isfinite(value) else str(value)


def _pixels_of_webp(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _pixels_of_jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:
        if data[at + 1] in HEIGHT_FIRST:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0, 0
