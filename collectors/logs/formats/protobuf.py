"""Reads protocol buffers without their schema."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
MAX_SHIFT = 63


class DecodeError(ValueError):
    """Bytes that are no message."""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int of a varint, else its bytes. A field that is cut off is the last one. Raises DecodeError."""
    for number, kind, start, stop in spans(data):
        yield number, varint(data, start)[0] if kind == VARINT else data[start:stop]


def spans(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Number and kind of each field, and where its value begins and ends. Raises DecodeError."""
    end = len(data) if end is None else end
    while at < end:
        key, at = varint(data, at)
        kind = key & 7
        if kind == VARINT:
            stop = varint(data, at)[1]
        elif kind == LENGTH:
            size, at = varint(data, at)
            stop = min(at + size, end)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            stop = at + (8 if kind == EIGHT_BYTES else 4)
        else:
            raise DecodeError
        if stop > end:
            return
        yield key >> 3, kind, at, stop
        at = stop


def extents(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and length of each field of bytes, as long as it says it is: the last may go on beyond `end`. Raises DecodeError."""
    while at < end:
        key, at = varint(data, at)
        kind = key & 7
        if kind == LENGTH:
            size, at = varint(data, at)
            yield key >> 3, at, size
            at += size
        elif kind == VARINT:
            at = varint(data, at)[1]
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            at += 8 if kind == EIGHT_BYTES else 4
        else:
            raise DecodeError


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, of 64 bits, and where it ends. Raises DecodeError."""
    found = shift = 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        found |= (byte & 127) << shift
        if byte < 128:
            return found & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    raise DecodeError


def signed(number: int) -> int:
    return number - (1 << 64) if number >> MAX_SHIFT else number


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
