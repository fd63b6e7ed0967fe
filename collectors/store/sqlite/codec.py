"""Encodes columns of values as bytes, and reports damaged ones."""

from __future__ import annotations

import logging
import sqlite3
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from .. import store
from ..store import StoreError

# Columns of numbers as bytes and back, without loss: the transform that suits each column, byte shuffle, zstd, checksum.
#
# A blob is one version byte, a checksum and a zstd frame. The frame holds a header per column, then the columns' byte planes: plane 0
# has the lowest byte of every row, so that bytes of a kind stand together and compress. A long plane is a zstd block of its own, with
# its own table of frequencies: 6 % less than one block for all planes of a column.

VERSION = b"\x01"
PLAIN, DELTA, SCALED, SCALED_DELTA, SHORT, SHORT_DECIMAL, WIDE = range(7)
FLOAT_KINDS = {SCALED, SCALED_DELTA, SHORT, SHORT_DECIMAL, WIDE}
POWERS = np.array([float(10**k) for k in range(23)])  # exact: 10**22 is the last power of ten that a double holds
CLOCK = 255  # instead of a power of ten: 2**22, which makes an integer of any double between 2**30 and 2**31, as Unix times are
CLOCK_SCALE = float(2**22)
MAX_EXACT = 2.0**53
PROBE = 16  # rows that are tried before a whole column is
LEVEL = 3  # of zstd: 6 gains 1 % here and takes twice the time
BLOCK_ROWS = 512  # a shorter plane does not repay a table of its own
ZERO, ONE = np.uint64(0), np.uint64(1)
PREFIX = 5  # bytes before the frame

U = TypeVar("U", np.uint32, np.uint64)
_Column: TypeAlias = NDArray[np.float64] | NDArray[np.int64]
_HEADER = struct.Struct("<BBBxIq")
_local = threading.local()


class CodecError(Exception):
    """A blob cannot be decoded: damaged, or written by a newer version."""


class _EncodedColumn(NamedTuple):
    kind: int
    width: int  # bytes per row
    scale: int  # decimal digits, or CLOCK
    base: int  # the least value (PLAIN) or the first one (DELTA)
    planes: bytes


def encode(columns: Sequence[_Column]) -> bytes:
    """`decode(encode(columns))` gives back the same bits, NaN payloads and negative zeros included."""
    coded = [_smallest(_candidates(column)) for column in columns]
    headers = [
        _HEADER.pack(c.kind, c.width, c.scale, len(column), c.base) for c, column in zip(coded, columns, strict=True)
    ]
    about = b"".join([bytes([len(columns)]), *headers])
    planes = [plane for c, column in zip(coded, columns, strict=True) for plane in _blocks(c, len(column))]
    return _sealed(
        _compress_blocks([about, *planes]) if len(planes) > len(coded) else _compress(about + b"".join(planes), LEVEL)
    )


def decode(blob: bytes) -> list[_Column]:
    """The columns, float64 or int64. Raises CodecError."""
    data = unseal(blob)
    try:
        return list(_columns(data))
    except (struct.error, IndexError, ValueError) as error:
        raise CodecError(f"inconsistent columns: {error}") from error


def seal(data: bytes, level: int = LEVEL) -> bytes:
    """Version, CRC-32 of the frame, zstd frame: how every blob of the store begins."""
    return _sealed(_compress(data, level))


def unseal(blob: bytes) -> bytes:
    """Raises CodecError where a single bit is wrong."""
    if blob[:1] != VERSION:
        raise CodecError(f"damaged blob, or of a newer version: it begins with {blob[:1].hex() or 'nothing'}")
    frame = blob[PREFIX:]
    if zlib.crc32(frame).to_bytes(4, "little") != blob[1:PREFIX]:
        raise CodecError("damaged blob: its checksum is wrong")
    return _decompress(frame)


def unsealed_bytes(blob: bytes) -> int:
    """How long `unseal(blob)` will be, without doing it; 0 for a damaged blob."""
    try:
        return max(0, zstandard.frame_content_size(blob[PREFIX:]))
    except zstandard.ZstdError:
        return 0


def _sealed(frame: bytes) -> bytes:
    return VERSION + zlib.crc32(frame).to_bytes(4, "little") + frame


def _blocks(coded: _EncodedColumn, rows: int) -> list[bytes]:
    if rows < BLOCK_ROWS:
        return [coded.planes]
    return [coded.planes[at : at + rows] for at in range(0, len(coded.planes), rows)]


def _compress_blocks(blocks: Sequence[bytes]) -> bytes:
    """One frame, with a block for each."""
    frame = _compressor(LEVEL).compressobj(size=sum(map(len, blocks)))
    parts = [
        part for block in blocks for part in (frame.compress(block), frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    ]
    return b"".join([*parts, frame.flush()])


def _compress(data: bytes, level: int) -> bytes:
    return _compressor(level).compress(data)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level]


def _decompress(frame: bytes) -> bytes:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    try:
        return decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise CodecError(f"damaged blob: {error}") from error


def _columns(data: bytes) -> Iterator[_Column]:
    count = data[0]
    at = 1 + count * _HEADER.size
    for i in range(count):
        kind, width, scale, rows, base = _HEADER.unpack_from(data, 1 + i * _HEADER.size)
        planes = np.frombuffer(data, np.uint8, rows * width, at).reshape(width, rows)
        at += rows * width
        yield _column(kind, scale, base, planes)


def _column(kind: int, scale: int, base: int, planes: NDArray[np.uint8]) -> _Column:
    if kind == WIDE:
        return _turned_back(_unshuffle(planes).view(np.uint64)).view(np.float64)
    if kind == SHORT:
        return _short(planes).astype(np.float64)
    if kind == SHORT_DECIMAL:
        powers = POWERS[planes[4]]
        with np.errstate(all="ignore"):
            return np.asarray(np.rint(_short(planes[:4]).astype(np.float64) * powers) / powers)
    whole = _unshuffle(planes)
    if kind in (DELTA, SCALED_DELTA):
        zigzag = whole.view(np.uint64)
        steps = (zigzag >> ONE) ^ (ZERO - (zigzag & ONE))
        whole = np.cumsum(steps.view(np.int64)) + base  # arithmetic wraps around, so that any int64 survives
    elif kind in (PLAIN, SCALED):
        whole = whole + base
    else:
        raise CodecError(f"unknown kind of column {kind}")
    return whole / _divisor(scale) if kind in FLOAT_KINDS else whole


def _candidates(column: _Column) -> Iterator[_EncodedColumn]:
    """Every way to write a column that gives back the same bits."""
    if column.dtype == np.int64:
        yield from _whole(np.ascontiguousarray(column, np.int64), PLAIN, DELTA, 0)
        return
    values = np.ascontiguousarray(column, np.float64)
    scaled = _scaled(values)
    if scaled is not None:
        yield from _whole(scaled[0], SCALED, SCALED_DELTA, scaled[1])
    with np.errstate(all="ignore"):
        short = values.astype(np.float32)
        if _same(short.astype(np.float64), values):
            yield _EncodedColumn(SHORT, 4, 0, 0, _shuffle(_turned(short.view(np.uint32)), 4))
        elif scaled is None or scaled[1] != CLOCK:
            decimals = _decimals(values, short.astype(np.float64))
            if decimals is not None:
                yield _EncodedColumn(
                    SHORT_DECIMAL, 5, 0, 0, _shuffle(_turned(short.view(np.uint32)), 4) + decimals.tobytes()
                )
    if scaled is None:
        yield _EncodedColumn(WIDE, 8, 0, 0, _shuffle(_turned(values.view(np.uint64)), 8))


def _smallest(candidates: Iterator[_EncodedColumn]) -> _EncodedColumn:
    options = list(candidates)
    if len(options) == 1:
        return options[0]
    return min(options, key=lambda coded: len(_compress(coded.planes, LEVEL)))


def _whole(whole: NDArray[np.int64], plain: int, delta: int, scale: int) -> Iterator[_EncodedColumn]:
    """Integers as the distance from the least, and as the distance from their neighbour (zigzag: 0, -1, 1, -2 -> 0, 1, 2, 3)."""
    if not len(whole):
        yield _EncodedColumn(plain, 0, scale, 0, b"")
        return
    least, first = int(whole.min()), int(whole[0])
    steps = np.diff(whole, prepend=whole[:1])
    zigzag = (steps << 1) ^ (steps >> 63)
    for kind, base, distance in ((plain, least, whole - least), (delta, first, zigzag)):
        unsigned = distance.view(np.uint64)
        width = (int(unsigned.max()).bit_length() + 7) // 8
        yield _EncodedColumn(kind, width, scale, base, _shuffle(unsigned, width))


def _scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int] | None:
    """The values as integers of the fewest decimals that hold them all exactly, or of the clock's resolution."""
    probe = values[:: max(1, len(values) // PROBE)]
    with np.errstate(all="ignore"):
        for scale in (*range(len(POWERS)), CLOCK):
            whole = _exact(probe, scale)
            if whole is not None and len(values) > len(probe):
                whole = _exact(values, scale)
            if whole is not None:
                return whole, scale
    return None


def _exact(values: NDArray[np.float64], scale: int) -> NDArray[np.int64] | None:
    divisor = _divisor(scale)
    scaled = np.rint(values * divisor)
    if not np.all(np.abs(scaled) < MAX_EXACT):  # false for NaN and infinities, too
        return None
    whole = scaled.astype(np.int64)
    return whole if _same(whole / divisor, values) else None


def _decimals(values: NDArray[np.float64], short: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """Per value: to how many decimals its float32 must be rounded to give it back, as for a float32 printed in shortest form."""
    stride = max(1, len(values) // PROBE)
    if len(values) > PROBE and _decimals(values[::stride][:PROBE], short[::stride][:PROBE]) is None:
        return None
    decimals = np.full(len(values), CLOCK, np.uint8)
    for digits, power in enumerate(POWERS):
        rounded = np.rint(short * power) / power
        found = (rounded.view(np.uint64) == values.view(np.uint64)) & (decimals == CLOCK)
        decimals[found] = digits
        if np.all(decimals != CLOCK):
            return decimals
    return None


def _divisor(scale: int) -> float:
    return CLOCK_SCALE if scale == CLOCK else float(POWERS[scale])


def _same(left: NDArray[np.float64], right: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(left.view(np.uint64), right.view(np.uint64)))


def _shuffle(values: NDArray[np.unsignedinteger], width: int) -> bytes:
    size = values.dtype.itemsize
    return values.astype(f"<u{size}", copy=False).view(np.uint8).reshape(len(values), size).T[:width].tobytes()


def _unshuffle(planes: NDArray[np.uint8]) -> NDArray[np.int64]:
    rows = np.zeros((planes.shape[1], 8), np.uint8)
    rows[:, : planes.shape[0]] = planes.T
    return rows.reshape(-1).view("<i8").astype(np.int64, copy=False)


def _short(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _turned_back(np.ascontiguousarray(planes.T).reshape(-1).view("<u4")).view(np.float32)


def _turned(bits: NDArray[U]) -> NDArray[U]:
    """The sign moved from the highest bit to the lowest, so that the exponent has the highest byte for itself."""
    top = bits.dtype.type(bits.dtype.itemsize * 8 - 1)
    return (bits << bits.dtype.type(1)) | (bits >> top)


def _turned_back(bits: NDArray[U]) -> NDArray[U]:
    top = bits.dtype.type(bits.dtype.itemsize * 8 - 1)
    return (bits >> bits.dtype.type(1)) | (bits << top)


T = TypeVar("T")
log = logging.getLogger(__name__)

DAMAGED = "the store is damaged; run deepseek-dashboard store check to find the file; move it away and the log folder is re-read"
REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full; make room, collection continues automatically",
    sqlite3.SQLITE_BUSY: "another program holds the store's file; close it (sqlite3, a backup), collection continues automatically",
    sqlite3.SQLITE_LOCKED: "another program holds the store's file; close it (sqlite3, a backup), collection continues automatically",
    sqlite3.SQLITE_PERM: "the data folder cannot be written; make it writable or pass another --data-dir",
    sqlite3.SQLITE_IOERR: "the disk fails; look at the kernel's log, or move --data-dir",
    sqlite3.SQLITE_READONLY: "the data folder is read-only; make it writable or pass another --data-dir",
    sqlite3.SQLITE_CANTOPEN: "the data folder cannot be written; make it writable or pass another --data-dir",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


LATER = "collection continues automatically once the store takes records"


def decoded(what: str, row: int, decode: Callable[[bytes], T], blob: bytes) -> T | None:
    """None, with a line in the log, if the blob is damaged; `store check` also names it."""
    try:
        return decode(blob)
    except CodecError as error:
        log.error("%s %d is left out: %s", what, row, error)
        return None


@contextmanager
def store_errors(so: str = "nothing was stored", otherwise: str | None = None) -> Iterator[None]:
    """SQLite's failures in one sentence with the remedy, as StoreError. A failure without one is raised as it is, or gets `otherwise`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            store.check()
        remedy = REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # what sqlite3 itself refuses has no code
        if remedy is None:
            remedy = otherwise or (
                LATER if isinstance(error, sqlite3.OperationalError) else None
            )  # else it is a record's fault
        if remedy is None:
            raise
        raise StoreError(f"{so} ({error}): {remedy}") from error
