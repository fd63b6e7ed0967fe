"""Read what Hugging Face's Trainer writes: `trainer_state.json` with the history of its log, and its final values.

`{"log_history": [{"step": 10, "loss": 2.5, "epoch": 0.1}]}` -> `Points(run, labels, ("train/loss", "train/epoch"), (2.5, 0.1), None, 10)`.
Series are called as the Trainer's own loggers call them: `loss` is `train/loss`, `eval_loss` is `eval/loss`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...records import Labels, Points, Record
from . import Tally
from .jsonl import flat, loads
from .values import MAX_STEP, as_count, as_number

STATE_FILE = "trainer_state.json"
MAX_STATE_BYTES = 64 << 20
RESULTS = re.compile(r"(all|train|eval|test|predict)_results\.json")
ALL_RESULTS = "all_results.json"
CHECKPOINT = re.compile(r"checkpoint-\d{1,12}")
FIRSTS = 16  # entries by which a history is known again
SPLITS = ("eval_", "test_")

Fault = Callable[[str], str]  # why a series of that name is left out; "" where it is kept


class TrainerState:
    """The history of one output folder: its `trainer_state.json` and those of its checkpoints have the same state."""

    def __init__(self, run: str, labels: Labels, fault: Fault, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.tally = Tally()
        self._run, self._labels, self._fault = run, labels, fault
        self._count: int = state.get("count", 0)  # entries that were read
        self._firsts: list[int] = list(state.get("firsts", ()))  # checksums of the first ones,
        self._newest: int = state.get("newest", 0)  # and of the last one
        self._step: int = state.get("step", -1)  # of the last one
        self._segment: int = state.get("segment", 0)
        self._names: dict[str, None] = dict.fromkeys(state.get("names", ()))

    def state(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "firsts": self._firsts,
            "newest": self._newest,
            "step": self._step,
            "segment": self._segment,
            "names": list(self._names),
        }

    def parse_whole(self, data: bytes) -> list[Record]:
        entries = self._entries(data)
        new = self._new(entries)
        if new:
            self._count, self._newest, self._step = len(entries), _checksum(entries[-1]), _step(entries[-1])
            self._firsts = [_checksum(entry) for entry in entries[:FIRSTS]]
        records: list[Record] = [points for entry in new for points in self._points(entry)]
        self.tally.lines_read = len(entries)
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")
        return records

    def _entries(self, data: bytes) -> list[dict[str, Any]]:
        """Those that have a step."""
        fields = json_object(data, self.tally)
        history = fields.get("log_history")
        if not isinstance(history, list):
            if fields:
                self.tally.skip_field("log_history", "is not a list")
            return []
        good = [entry for entry in history if isinstance(entry, dict) and _step(entry) >= 0]
        self.tally.lines_skipped += len(history) - len(good)
        if len(good) < len(history):
            self.tally.first_skip = self.tally.first_skip or "log_history has an entry without a step"
        return good

    def _new(self, entries: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Entries that were not read before; an older checkpoint has none."""
        known = min(len(entries), self._count)
        if [_checksum(entry) for entry in entries[: min(known, FIRSTS)]] != self._firsts[:known]:
            self._segment += 1  # another training in the same folder
            return entries
        if len(entries) > self._count and (not self._count or _checksum(entries[self._count - 1]) == self._newest):
            return entries[self._count :]
        return [entry for entry in entries if _step(entry) > self._step]  # went on from an older checkpoint

    def _points(self, entry: Mapping[str, Any]) -> Iterator[Points]:
        values = _numbers(entry, self.tally, self._fault, renamed)
        del values["step"]
        if values:
            names = tuple(map(renamed, values))
            self._names |= dict.fromkeys(names)
            yield Points(self._run, self._labels, names, tuple(values.values()), None, _step(entry), self._segment)


class Results:
    """`{"eval_loss": 2.5}` -> `Points(run, labels, ("final/eval_loss",), (2.5,), 1764000000.0, None)`, at the time of the file.

    All such files of a folder have the same state, since `all_results.json` repeats the others.
    """

    def __init__(
        self, run: str, labels: Labels, fault: Fault, written_s: float, state: Mapping[str, Any] | None = None
    ) -> None:
        self.tally = Tally()
        self._run, self._labels, self._fault, self._written_s = run, labels, fault, written_s
        self._known: dict[str, str] = dict((state or {}).get("known", {}))  # numbers as text: JSON has no NaN

    def state(self) -> dict[str, Any]:
        return {"known": self._known}

    def parse_whole(self, data: bytes) -> list[Record]:
        numbers = _numbers(json_object(data, self.tally), self.tally, self._fault, final)
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")  # the file is one value
        new = {name: value for name, value in numbers.items() if self._known.get(name) != repr(value)}
        self._known |= {name: repr(value) for name, value in new.items()}
        names = tuple(map(final, new))
        return [Points(self._run, self._labels, names, tuple(new.values()), self._written_s, None)] if new else []


def renamed(name: str) -> str:
    """As `transformers.integrations.rewrite_logs`: `"loss" -> "train/loss"`, `"eval_loss" -> "eval/loss"`."""
    for split in SPLITS:
        if name.startswith(split):
            return f"{split[:-1]}/{name[len(split) :]}"
    return f"train/{name}"


def final(name: str) -> str:
    return f"final/{name}"


def json_object(data: bytes, tally: Tally) -> dict[str, Any]:
    """{} where it is none; an empty file is one that is about to be written."""
    try:
        value = loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        tally.skip_line("not JSON")
        return {}
    if isinstance(value, dict):
        return value
    tally.skip_line("not a JSON object")
    return {}


def _numbers(fields: Mapping[str, Any], tally: Tally, fault: Fault, rename: Callable[[str], str]) -> dict[str, float]:
    """The numbers of an entry; what is none is counted, and what has a name that is left out."""
    numbers: dict[str, float] = {}
    for name, value in flat(fields, tally):
        number = as_number(value)
        why = "is not a number" if number is None else fault(rename(name)) if name != "step" else ""
        if why:
            tally.skip_field(name, why)
        elif number is not None:
            numbers[name] = number
    return numbers


def _step(entry: Mapping[str, Any]) -> int:
    """-1 where it has none."""
    step = as_count(entry.get("step"), 0, MAX_STEP)
    return -1 if step is None else step


def _checksum(entry: Mapping[str, Any]) -> int:
    return zlib.crc32(repr(sorted(entry.items(), key=lambda item: item[0])).encode("utf-8", "replace"))
