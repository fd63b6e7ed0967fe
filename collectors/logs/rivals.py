"""Which kind of file a run's series come from, so that what two files say is counted once.

JSONL comes first. Of the others the first file that brings a name keeps it, and the name is left out of the rest.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..process.activity import is_text
from .formats import Tally
from .formats.data_set import HEAD_BYTES, check_head
from .formats.jsonl import flat, objects
from .formats.roles import STEPS, TIMES
from .formats.text.early import Early
from .opening import NotRead, open_file

ENDS_BYTES = HEAD_BYTES  # of a JSONL file that are looked at for names, at its start and at its end
MOST_FILES = 8  # of a folder, one a rank
LOOK_EVERY_S = 2.0
WRITES_S = 2.0  # from what a script prints to the same in a file that it writes line by line
FLUSHES_S = 130.0  # and in one of a library: TensorBoard's SummaryWriter flushes every 120 s
ANNOUNCES = re.compile(
    r"events\.(rank\d{1,9}\.)?jsonl|events\.out\.tfevents\..*|.*\.wandb"
)  # there from the start, with numbers later
TIMELESS = ("trainer_state.json", "all_results.json")
RANK_OF_TEXT = re.compile(r"\.rank\d{1,9}(?=\.(?:log|out|err|txt)$)")


class Rivals:
    """The kinds of file of one run, and the names of their series."""

    def __init__(self, folder: Path, single_file: str = "") -> None:
        """`single_file` is the stem that the files of a run in the log folder itself have."""
        self._folder, self._single_file = folder, single_file
        self._file_of: dict[str, str] = {}  # by name of the series
        self._jsonl: set[str] = set()
        self._texts: dict[str, dict[str, Early]] = {}  # by source and file
        self._read_bytes: dict[Path, int] = {}  # how large a JSONL file was when its names were read
        self._looked_s = self._listed_s = -LOOK_EVERY_S
        self._is_announced = False

    def fault(self, name: str, file: str) -> str:
        """Why this file's series of that name is left out; "" where it is kept, and then it belongs to this file."""
        if name in self.in_jsonl():
            return "is left out: the run's JSONL has it"
        file = _source(file)
        owner = self._file_of.setdefault(name, file)
        if file not in self._texts and self._waits(owner):
            owner = self._file_of[name] = file
        return "" if owner == file else f"is left out: {owner} has it"

    def keep(self, names: Iterable[str], file: str) -> None:
        """This file had these names before a restart."""
        for name in names:
            self._file_of.setdefault(name, _source(file))

    def take_jsonl(self, names: Iterable[str]) -> None:
        """The run's JSONL has them, also where a name stands on few lines in its middle."""
        self._jsonl.update(names)

    def is_a_text(self, file: str, early: Early) -> None:
        """Its metrics are read unless another kind of file brings some before it has told any; until then others take their names."""
        self._texts.setdefault(_source(file), {})[file] = early

    def wants(self, text: str, *, is_new: bool) -> bool:
        """Whether the metrics of a text are read. Those of one that `is_new` are, too, beside a file that has no times."""
        return self._has_told(_source(text)) or not self.has_numbers(TIMELESS if is_new else ())

    def has_told_text(self) -> bool:
        """Whether a text has told metrics of the run."""
        return any(map(self._has_told, self._texts))

    def _has_told(self, source: str) -> bool:
        texts = self._texts.get(source, {}).values()
        return any(early.is_told for early in texts) and source in self._file_of.values()

    def _waits(self, source: str) -> bool:
        """Whether it is a text that has told nothing yet."""
        texts = self._texts.get(source, {}).values()
        return bool(texts) and not any(early.is_told for early in texts)

    def wait_s(self) -> float:
        """How long the first metrics of a text wait for another file that brings them, seconds: it may be there already, without any.

        Every 2 s the folder is listed.
        """
        if time.monotonic() - self._listed_s >= LOOK_EVERY_S and not self._single_file:
            self._listed_s = time.monotonic()
            with suppress(OSError), os.scandir(self._folder) as entries:
                self._is_announced = any(ANNOUNCES.fullmatch(entry.name) for entry in entries)
        return FLUSHES_S if self._is_announced else WRITES_S

    def has_numbers(self, beside: Collection[str] = ()) -> bool:
        """Whether a file that is not text brings metrics of the run, other than these files."""
        return bool(self.in_jsonl()) or any(
            file not in self._texts and file not in beside and not is_text(file) for file in self._file_of.values()
        )

    def in_jsonl(self) -> set[str]:
        """Names of which the JSONL has series. Every 2 s the folder is listed; files are read that are new, or twice as large as when they were read."""
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            for path in self.jsonl_files():
                if (size := size_of(path)) >= 2 * self._read_bytes.get(path, 0) and size:
                    self._jsonl |= names_of(path)
                    self._read_bytes[path] = size
        return self._jsonl

    def jsonl_files(self) -> list[Path]:
        """Those whose names are looked at."""
        if self._single_file:
            return [self._folder / f"{self._single_file}.jsonl"]
        try:
            with os.scandir(self._folder) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False)
                ]
        except OSError:
            return []
        return [self._folder / name for name in sorted(names) if not name.startswith((".", "events"))][:MOST_FILES]


def kept_names(state: Mapping[str, Any]) -> Sequence[str]:
    """The series that a file with this state has brought; none of a text whose first numbers wait, or were dropped."""
    metrics = state.get("metrics")
    held = metrics if isinstance(metrics, dict) else state  # of an events file that holds metrics
    return () if "early" in held else held.get("names", ())


def _source(file: str) -> str:
    """A program that is started again writes another event file, and each rank its own text, with the same names."""
    return "events.out.tfevents.*" if ".tfevents." in file else RANK_OF_TEXT.sub("", file)


def size_of(path: Path) -> int:
    """0 for what is no file, or one that is reached through a link."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def names_of(path: Path) -> set[str]:
    """The series that stand in the first and last lines of a JSONL file; none where it is data, or cannot be read."""
    try:
        with os.fdopen(open_file(path, path.parent), "rb") as file:
            data = file.read(ENDS_BYTES)
            check_head(path.name, data)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(data), size - ENDS_BYTES))
            data += b"\n" + file.read(ENDS_BYTES)
    except (OSError, NotRead):
        return set()
    return {name for name in _fields(data) if name not in STEPS and name not in TIMES}


def _fields(data: bytes) -> Iterator[str]:
    for fields in objects(data.split(b"\n"), Tally()):
        yield from (name for name, _ in flat(fields, Tally()))
