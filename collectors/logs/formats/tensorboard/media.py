"""Where the images, audio, texts and histograms of a value lie in its bytes: they are referred to, never copied.

Value: 4 image {4: encoded}   5 histogram   6 audio {4: encoded}   8 tensor {8: strings}
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ....records import HEAD_CRC_BYTES, SampleKind
from .protobuf import extents

IMAGE, HISTOGRAM, AUDIO, TENSOR = 4, 5, 6, 8  # fields of a value
ENCODED, STRINGS = 4, 8  # fields of an image or audio; of a tensor
MOST_OF_ONE = 16  # images or audio clips of one value
OF_HISTOGRAM = "application/x-tensorboard-histogram"  # a `HistogramProto`
OF_TENSOR = (
    "application/x-tensorboard-tensor"  # a `TensorProto` of strings, or of left and right edge and count of each bucket
)
SIGNS: tuple[tuple[bytes, SampleKind, str], ...] = (
    (b"\x89PNG\r\n", "image", "image/png"),
    (b"\xff\xd8\xff", "image", "image/jpeg"),
    (b"GIF8", "image", "image/gif"),
    (b"OggS", "audio", "audio/ogg"),
    (b"fLaC", "audio", "audio/flac"),
    (b"ID3", "audio", "audio/mpeg"),
    (b"\xff\xfb", "audio", "audio/mpeg"),
    (b"\xff\xf3", "audio", "audio/mpeg"),
)


class Payload(NamedTuple):
    kind: SampleKind
    media: str  # "" where it is not known
    start: int  # in the value
    length: int
    head_crc: int


def payloads(value: bytes, plugin: str) -> list[Payload]:
    """Of one `Summary.Value`; what begins behind its known bytes is left out. Raises Malformed."""
    found: list[Payload] = []
    for number, start, size in extents(value, 0, len(value)):
        if number in (IMAGE, AUDIO):
            inner = [
                (at, long) for part, at, long in extents(value, start, _end(value, start, size)) if part == ENCODED
            ]
            found += _encoded(value, inner[-1:], "image" if number == IMAGE else "audio")
        elif number == HISTOGRAM:
            found += _payload(value, start, size, "histogram", OF_HISTOGRAM)
        elif number == TENSOR:
            found += _of_tensor(value, start, size, plugin)
    return found


def sign_of(head: bytes) -> tuple[SampleKind, str] | None:
    """What the first bytes say: `b"GIF89a" -> ("image", "image/gif")`"""
    if head[:4] == b"RIFF":
        return {b"WAVE": ("audio", "audio/wav"), b"WEBP": ("image", "image/webp")}.get(head[8:12])  # type: ignore[return-value]
    return next(((kind, media) for sign, kind, media in SIGNS if head.startswith(sign)), None)


def _of_tensor(value: bytes, start: int, size: int, plugin: str) -> Iterator[Payload]:
    strings = [(at, long) for part, at, long in extents(value, start, _end(value, start, size)) if part == STRINGS]
    if plugin == "histograms":
        yield from _payload(value, start, size, "histogram", OF_TENSOR)
    elif plugin == "text":
        one = strings[0] if len(strings) == 1 else (start, size)
        yield from _payload(value, *one, "text", "text/plain" if len(strings) == 1 else OF_TENSOR)
    elif plugin == "audio":
        yield from _encoded(value, strings[::2], "audio")  # each is followed by its label
    elif plugin in ("", "images") and all(value[at : at + min(long, 10)].isdigit() for at, long in strings[:2]):
        yield from _encoded(value, strings[2:], "image")  # behind width and height
    elif not plugin:  # its name is cut off behind what is in it
        yield from _encoded(value, [place for place in strings if sign_of(value[place[0] : place[0] + 16])], "file")


def _encoded(value: bytes, places: list[tuple[int, int]], kind: SampleKind) -> Iterator[Payload]:
    for start, size in places[:MOST_OF_ONE]:
        known = sign_of(value[start : start + 16])
        yield from _payload(value, start, size, *(known or (kind, "")))


def _payload(value: bytes, start: int, size: int, kind: SampleKind, media: str) -> Iterator[Payload]:
    head = value[start : start + min(size, HEAD_CRC_BYTES)]
    if size and len(head) == min(size, HEAD_CRC_BYTES):
        yield Payload(kind, media, start, size, zlib.crc32(head))


def _end(value: bytes, start: int, size: int) -> int:
    return min(start + size, len(value))
