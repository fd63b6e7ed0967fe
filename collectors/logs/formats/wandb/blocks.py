"""Cut records out of the bytes of a `.wandb` file: blocks of 32 KiB, in which no part of a record reaches beyond its block.

CRC-32 of kind and data: 4 bytes   length: 2   kind (whole, first, middle or last part): 1   data
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

HEADER = b":W&B\xe1\xbe\x00"  # of the file, with its version
BLOCK_BYTES = 32 << 10
HEAD = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
MOST_RECORD_BYTES = 8 << 20  # a longer one is passed over


class CutBlocks(NamedTuple):
    records: list[bytes]
    damaged: int  # stretches without a record that can be read
    used: int  # bytes


class BlockCutter:
    """`at` is the place in the file of the bytes to come, `lost` whether the rest of a damaged or long record is passed over."""

    def __init__(self, at: int = 0, lost: bool = False) -> None:
        self.at, self._lost = at, lost

    @property
    def lost(self) -> bool:
        return self._lost

    def cut(self, data: bytes) -> CutBlocks:
        """A record that is not complete yet is left for the next time."""
        records: list[bytes] = []
        parts: list[bytes] = []
        damaged = used = here = 0
        while True:
            room = BLOCK_BYTES - (self.at + here) % BLOCK_BYTES
            if room < HEAD.size:
                here += room
                if here > len(data):
                    break
                used = here if not parts else used
                continue
            if here + HEAD.size > len(data):
                break
            check, length, kind = HEAD.unpack_from(data, here)
            start, end = here + HEAD.size, here + HEAD.size + length
            is_whole_block = here + room <= len(data)
            if (
                end > here + room
                or not WHOLE <= kind <= LAST
                or (end <= len(data) and _check(kind, data[start:end]) != check)
            ):
                if (
                    not is_whole_block
                ):  # zeros, as where the rest has not arrived yet, or damage: the rest of the block shows which
                    break
                damaged += not self._lost
                parts, self._lost, here = [], True, here + room
                used = here
                continue
            if end > len(data):
                break
            here = end
            if kind in (WHOLE, FIRST):
                damaged += bool(parts)
                parts, self._lost = [], False
            elif not parts and not self._lost:
                damaged, self._lost = damaged + 1, True
            if not self._lost:
                parts.append(data[start:end])
            if sum(map(len, parts)) > MOST_RECORD_BYTES:
                damaged, parts, self._lost = damaged + 1, [], True
            if kind in (WHOLE, LAST) and parts:
                records.append(b"".join(parts))
                parts = []
            if not parts:
                used = here
        used = min(used, len(data))
        self.at += used
        return CutBlocks(records, damaged, used)


def _check(kind: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(bytes([kind])))
