"""Reads wandb's offline files: `wandb/offline-run-*/run-*.wandb`."""

from __future__ import annotations

import enum
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ...records import Labels, Points, Record, RunInfo
from ..open_files import NotRead
from ..run import FAILED, FINISHED, RUNNING, RunLifetime
from . import Arrival, Tally
from .jsonl import BACKWARD_STEPS, MAX_NEW_SHAPES, flat, loads
from .protobuf import DecodeError, fields, signed, text
from .values import MAX_STEP, FieldBudget, as_count, as_number, as_time

# Cut records out of the bytes of a `.wandb` file: blocks of 32 KiB, in which no part of a record reaches beyond its block.
#
# CRC-32 of kind and data: 4 bytes   length: 2   kind (whole, first, middle or last part): 1   data

HEADER = b":W&B\xe1\xbe\x00"  # of the file, with its version
BLOCK_BYTES = 32 << 10
HEAD = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
MAX_RECORD_BYTES = 8 << 20  # a longer one is passed over


class BlockBatch(NamedTuple):
    records: list[bytes]
    damaged: int  # stretches without a record that can be read
    used: int  # bytes


class BlockSplitter:
    """`at` is the place in the file of the bytes to come, `lost` whether the rest of a damaged or long record is passed over."""

    def __init__(self, at: int = 0, lost: bool = False) -> None:
        self.at, self._lost = at, lost

    @property
    def lost(self) -> bool:
        return self._lost

    def cut(self, data: bytes) -> BlockBatch:
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
            if sum(map(len, parts)) > MAX_RECORD_BYTES:
                damaged, parts, self._lost = damaged + 1, [], True
            if kind in (WHOLE, LAST) and parts:
                records.append(b"".join(parts))
                parts = []
            if not parts:
                used = here
        used = min(used, len(data))
        self.at += used
        return BlockBatch(records, damaged, used)


def _check(kind: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(bytes([kind])))


RUN = r"/(?:offline-)?run-\d{8}_\d{6}-[^/]+"
OUTPUT = re.compile(rf"{RUN}/files$")  # the folder of what the program prints
OWN_LOG = re.compile(rf"(?:{RUN}/logs|/wandb)/debug[^/]*\.log$")
RUN_FOLDER = re.compile(RUN[1:])
OUTPUT_FILE = "output.log"
PARTS = ("files", "logs")  # folders of a run that the program itself holds files of open
SYNC = "read it with: wandb sync"
SYSTEM = "system/"  # before the names of what wandb measures of the machine
TYPE = "/_type"  # ends the name of an item that says that others are an image, a table, a histogram
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one run


class RecordField(enum.IntEnum):
    """Of a record."""

    HISTORY, CONFIG, STATS, RUN, EXIT = 2, 5, 7, 17, 18


class WandbFile:
    """One file of one run."""

    def __init__(
        self,
        run: str,
        labels: Labels,
        fault: Callable[[str], str],
        take: Callable[[dict[str, Any]], dict[str, Any] | None],
        state: Mapping[str, Any],
    ) -> None:
        """`fault` says why a series of that name is left out; `take` gets the configuration, and returns what is known of the run, where that is new."""
        self.tally = Tally()
        self._run, self._labels, self._fault, self._take = run, labels, fault, take
        self._cutter = BlockSplitter(state.get("at", 0), state.get("lost", False))
        self._top: int | None = state.get("top")  # the highest step of this segment
        self._segment: int = state.get("segment", 0)
        self._config: dict[str, Any] = dict(state.get("config", {}))
        self._names: dict[str, None] = dict.fromkeys(state.get("names", ()))
        self._started_s: float | None = state.get("started_s")
        self._last_s: float | None = state.get("last_s")
        self.life = RunLifetime(run, state.get("lifetimes", ()))

    def state(self) -> dict[str, Any]:
        state = {
            "at": self._cutter.at,
            "lost": self._cutter.lost,
            "top": self._top,
            "segment": self._segment,
            "config": self._config,
            "names": list(self._names)[:MAX_NEW_SHAPES],
            "started_s": self._started_s,
            "last_s": self._last_s,
            "lifetimes": self.life.state(),
        }
        return {name: value for name, value in state.items() if value}

    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        """Raises NotRead for a file of another version."""
        begun = 0
        if self._cutter.at == 0:
            if len(data) < len(HEADER):
                return [], 0
            if not data.startswith(HEADER):
                raise NotRead(f"is no file of a wandb that is known here; {SYNC} {Path(self._run).name}")
            begun = self._cutter.at = len(HEADER)
        cut = self._cutter.cut(data[begun:])
        records: list[Record] = []
        for record in cut.records:
            self.tally.lines_read += 1
            try:
                records += self._record(record)
            except (DecodeError, struct.error):
                self.tally.skip_line("is no record of wandb")
        for _ in range(cut.damaged):
            self.tally.skip_line("damaged, up to the next that can be read")
        self.tally.first_skip = re.sub("^line ", "record ", self.tally.first_skip)
        return records, begun + cut.used

    def _record(self, data: bytes) -> list[Record]:
        for number, value in fields(data):
            if not isinstance(value, bytes):
                continue
            match number:
                case RecordField.HISTORY:
                    return self._history(value)
                case RecordField.CONFIG:
                    return self._configured(value)
                case RecordField.STATS:
                    return self._stats(value)
                case RecordField.RUN:
                    return self._begun(value)
                case RecordField.EXIT:
                    return self._ended(value)
        return []

    def _history(self, data: bytes) -> list[Record]:
        items = dict(sorted(self._items(data, 1), key=itemgetter(0)))  # wandb has them in any order
        step, time_s = as_count(items.pop("_step", None), -MAX_STEP, MAX_STEP), as_time(items.pop("_timestamp", None))
        if step is None:
            step = next(
                (_number(part) for number, part in fields(data) if number == 2 and isinstance(part, bytes)), None
            )
        items.pop("_runtime", None)
        self._last_s = time_s or self._last_s
        if step is not None:
            if self._top is None or step > self._top:
                self._top = step
            elif step < self._top - BACKWARD_STEPS:
                self._segment += 1
                self._top = step
        return self._points(items, time_s, step)

    def _stats(self, data: bytes) -> list[Record]:
        time_s = next(
            (_timestamp(part) for number, part in fields(data) if number == 2 and isinstance(part, bytes)), None
        )
        return self._points({f"{SYSTEM}{name}": value for name, value in self._items(data, 3)}, time_s, None)

    def _points(self, items: Mapping[str, Any], time_s: float | None, step: int | None) -> list[Record]:
        typed = tuple(f"{name.removesuffix(TYPE)}/" for name in items if name.endswith(TYPE))
        values: dict[str, float] = {}
        for name, value in flat(items, self.tally):
            if typed and name.startswith(typed):
                if name.endswith(TYPE):
                    self.tally.skip_field(name.removesuffix(TYPE), "is not a number")
                continue
            number = as_number(value)
            if why := "is not a number" if number is None else self._fault(name):
                self.tally.skip_field(name, why)
            elif number is not None:
                values[name] = number
        if not values or (time_s is None and step is None):
            return []
        self._names |= dict.fromkeys(values)
        return [Points(self._run, self._labels, tuple(values), tuple(values.values()), time_s, step, self._segment)]

    def _begun(self, data: bytes) -> list[Record]:
        """A `RunRecord`, which may come again."""
        found = {number: value for number, value in fields(data) if isinstance(value, bytes)}
        self._started_s = _timestamp(found.get(17, b"")) or self._started_s
        named = {"project": text(found.get(3, b"")), "name": text(found.get(8, b""))}
        config = {"wandb": named} | dict(self._items(found.get(4, b""), 1))
        return [*self._known_as(config), *self.life.take(RUNNING, self._started_s, None)]

    def _configured(self, data: bytes) -> list[Record]:
        for name, _ in self._items(data, 2):
            self._config.pop(name, None)
        return self._known_as(dict(self._items(data, 1)))

    def _known_as(self, config: Mapping[str, Any]) -> list[Record]:
        own = {name: value for name, value in config.items() if not name.startswith("_wandb")}
        self._config = FieldBudget(MAX_CONFIG_BYTES, self.tally.skip_field).fields(self._config | own)
        info = self._take(self._config)
        return [] if info is None else [RunInfo(self._run, info)]

    def _ended(self, data: bytes) -> list[Record]:
        found = {number: value for number, value in fields(data) if isinstance(value, int)}
        lasted_s = found.get(2, 0)
        ended_s = self._last_s or (self._started_s + lasted_s if self._started_s else None)
        if ended_s is not None and self._started_s:
            ended_s = max(ended_s, as_time(self._started_s + lasted_s) or ended_s)
        return [*self.life.take(FAILED if signed(found.get(1, 0)) else FINISHED, self._started_s, ended_s)]

    def _items(self, data: bytes, wanted: int) -> Iterator[tuple[str, Any]]:
        """Names and values of the items in such fields: `key` (1) or parts of it (2), and its value as JSON (16)."""
        for number, item in fields(data):
            if number != wanted or not isinstance(item, bytes):
                continue
            parts, value = [], b"null"
            for place, part in fields(item):
                if isinstance(part, bytes):
                    if place in (1, 2):
                        parts.append(text(part))
                    elif place == 16:
                        value = part
            try:
                yield "/".join(parts), loads(value)
            except (ValueError, RecursionError):
                self.tally.skip_field("/".join(parts), "is not JSON")


def _number(data: bytes) -> int | None:
    """Of a message whose first field is an integer."""
    return next((signed(value) for number, value in fields(data) if number == 1 and isinstance(value, int)), None)


def _timestamp(data: bytes) -> float | None:
    """Seconds and nanoseconds."""
    found = {number: value for number, value in fields(data) if isinstance(value, int)}
    return as_time(signed(found.get(1, 0)) + found.get(2, 0) / 1e9) if found else None


def run_folder(path: Path) -> Path | None:
    """`.../offline-run-20261125_213701-jg24uplj/files/output.log -> .../offline-run-20261125_213701-jg24uplj`"""
    return next((folder for folder in path.parents if RUN_FOLDER.fullmatch(folder.name)), None)
