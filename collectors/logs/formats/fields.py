"""Fields of a program's own log: which name the time, the step and the part of training, and which are metrics."""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from ..open_files import NotMetrics
from .values import MAX_STEP, MAX_TIME_S, as_count, as_number

STEPS = (
    *(
        "step",
        "global_step",
        "_step",
        "trainer/global_step",
        "train/global_step",
        "steps",
        "iteration",
        "iterations",
        "iter",
    ),
    *(
        "update",
        "num_updates",
        "total_timesteps",
        "time/total_timesteps",
        "timesteps_total",
        "num_timesteps",
        "timestep",
    ),
    *("training_iteration", "time/iterations", "batch", "batch_idx", "epoch", "epochs", "episode", "round"),
)  # the first of these that a line or a table has is its step
TIMES = ("time_s", "timestamp", "_timestamp", "wall_time", "walltime", "wall time", "datetime", "date", "time", "ts")
PARTS = ("split", "mode", "phase", "stage", "subset")
PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "dev"), "val"),
    "test": "test",
}
EPOCHS = ("epoch", "epochs")
BATCHES = ("batch", "batch_idx")  # counted within an epoch
FIRST_S = 946_684_800.0  # the year 2000: a smaller number is not a Unix time but seconds since the start
ISO = 0.0  # as a scale: a date and a time, as text
JUDGED_LINES = 100


class FieldRoles:
    """Found on the first lines that have them; then they keep them to the end of the file.

    `{"iter": 7, "timestamp": 1764000000250, "loss": 0.5}`: `iter` is the step, `timestamp` the time, in milliseconds.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._step: str | None = state.get("step")
        self._time: str | None = state.get("time")
        self._scale: float = state.get("scale", 1.0)
        self._lines: int = state.get("lines", 0)  # that were asked for either, and did not have it
        self._counter = EpochCounter(state.get("counter"))

    def state(self) -> dict[str, Any]:
        counter = {"counter": kept} if (kept := self._counter.state()) else {}
        if self._step is None and self._time is None:
            return counter | ({"lines": self._lines} if self._lines else {})
        return {"step": self._step, "time": self._time, "scale": self._scale, "lines": self._lines, **counter}

    def time(self, fields: dict[str, Any]) -> float | None:
        """Takes the time out of a line without `time_s`, in Unix seconds."""
        if self._time is None and self._is_open():
            for name in TIMES:
                if (scale := scale_of(fields.get(name))) is not None:
                    self._time, self._scale = name, scale
                    break
        if (
            self._time is None
            or self._time not in fields
            or (time_s := unix_s(fields[self._time], self._scale)) is None
        ):
            return None
        del fields[self._time]
        return time_s

    def step(self, fields: dict[str, Any]) -> int | None:
        """Takes the step out of a line without `step`."""
        if self._step is None and self._is_open():
            self._step = next((name for name in STEPS if _is_whole(fields.get(name))), None)
        if self._step is None or not _is_whole(fields.get(self._step)):
            return None
        step = int(fields.pop(self._step))
        return step if self._step in EPOCHS else self.counted(step, fields)

    def counted(self, step: int, fields: Mapping[str, Any]) -> int:
        """A count that begins anew with each epoch goes on where the last one ended."""
        epoch = next((number for name in EPOCHS if (number := as_number(fields.get(name))) is not None), None)
        return self._counter.step(step, epoch, frozenset(fields), only_within=self._step in BATCHES)

    def _is_open(self) -> bool:
        self._lines += self._lines < 2 * JUDGED_LINES  # each line asks for both
        return self._lines < 2 * JUDGED_LINES


class EpochCounter:
    """Steps over all epochs, of a count that may begin anew with each of them: batch 0 to 99 of epoch 1, then 0 to 99 of epoch 2."""

    def __init__(self, state: Sequence[Any] | None = None) -> None:
        """`state` is an earlier `state`."""
        self._epoch: float | None = None
        self._before = 0  # steps of the epochs before this one, less than its first count
        self._first: int | None = None  # count of the epoch
        self._last, self._by, self._usual = 0, 1, 1  # count; rises: the last one, and the one before it
        self._length: int | None = None  # of an epoch, once one has ended
        self._names: Set[str] = frozenset()  # of the fields of the last line
        if state:
            self._epoch, self._before, self._first, self._last, self._by, self._usual, self._length = state

    def state(self) -> list[Any]:
        """[] before the first count."""
        if self._first is None:
            return []
        return [self._epoch, self._before, self._first, self._last, self._by, self._usual, self._length]

    def step(self, count: int, epoch: float | None, names: Set[str] = frozenset(), *, only_within: bool = False) -> int:
        """`names` are those of the line. `only_within`: the count is one of an epoch, also where no epoch is named.

        A line that counts back, and has other fields than the one before it, is of another kind, of a validation: it begins no epoch.
        """
        if self._first is None:
            self._first = count
        elif count < self._last and count <= max(self._first, 1):
            if not (names <= self._names or names >= self._names):
                return self._before + self._last if only_within else count
            self._begin(count, epoch, only_within=only_within)
        elif count > self._last:
            self._usual, self._by = self._by, count - self._last
        self._last, self._names = count, names
        self._epoch = self._epoch if epoch is None else epoch
        return self._before + count

    def _begin(self, count: int, epoch: float | None, *, only_within: bool) -> None:
        """The count has begun anew: with the next epoch, with an earlier one after a start, or of another kind."""
        assert self._first is not None
        epochs = 1.0 if epoch is None or self._epoch is None else epoch - self._epoch
        if epochs > 0 and (epoch is not None or only_within):
            rise = (
                self._by if self._by == self._usual else 1
            )  # the last batch of an epoch is logged, too, whatever its number
            self._length = self._last + rise - self._first
            self._before += self._length
        elif epochs < 0 and self._length is not None:
            self._before = max(0, self._before + round(epochs) * self._length)
        elif epochs < 0:
            self._before = 0
        self._first, self._by, self._usual = count, self._usual, self._usual


def part_of(name: str, value: object) -> str:
    """`part_of("split", "valid") -> "val"`; "" where the field names no part."""
    return PART_OF.get(value.strip().lower(), "") if name in PARTS and isinstance(value, str) else ""


def scale_of(value: object) -> float | None:
    """By which the field's numbers become Unix seconds; ISO for text. None where it is no time of day, as a date alone is not."""
    if isinstance(value, str):
        return ISO if ":" in value and moment(value) is not None else None
    number = as_number(value)
    if number is not None and not isinstance(value, bool):
        for scale in (1.0, 1e-3, 1e-6, 1e-9):
            if FIRST_S <= number * scale < MAX_TIME_S / 10:
                return scale
    return None


def unix_s(value: object, scale: float) -> float | None:
    if scale == ISO:
        return moment(value) if isinstance(value, str) else None
    number = as_number(value)
    if number is None or not 0.0 <= number * scale < MAX_TIME_S:
        return None
    return number if scale == 1.0 else round(number * scale, 6)


def moment(text: str) -> float | None:
    """Unix seconds of ISO 8601, or of nvidia-smi's 2026/11/25 19:02:39.123; local unless it names a zone."""
    try:
        time_s = datetime.datetime.fromisoformat(text.strip().replace("/", "-")).timestamp()
    except (ValueError, OverflowError):
        return None
    return time_s if 0.0 <= time_s < MAX_TIME_S else None


def _is_whole(value: object) -> bool:
    return not isinstance(value, (bool, str)) and as_count(value, -(2**53), 2**53) is not None


# What the columns of a table with a header are: step, time, series or text; and whether they are metrics at all.

METRIC = re.compile(
    r"loss|acc(?:uracy)?(?:\b|_)|(?:\b|_)lr(?:\b|_)|learning_rate|error|reward|return|score|perplexity|(?:\b|_)ppl(?:\b|_)"
    r"|(?:\b|_)f1(?:\b|_)|(?:\b|_)auc(?:\b|_)|(?:\b|_)m?iou(?:\b|_)|bleu|rouge|grad_norm|precision|recall|throughput|per_s(?:ec)?\b"
)
METRIC_FILE = re.compile(r"(?:metrics?|progress|history|loss(?:es)?|train(?:ing)?[_-]?log)\b")
MAX_COLUMNS = 1_000
JUDGED_ROWS = 20
BACKWARD_SHARE = 0.25  # of rows whose step is lower than that of the row before; with more it is not a step
DECIMAL_COMMA = re.compile(rb"[-+]?\d+,\d+([eE][-+]?\d+)?")
BOM = "\ufeff"

Cells = Sequence[bytes]


class TableColumns(NamedTuple):
    """Indices into the header; `scale` turns the time column's numbers into Unix seconds."""

    header: tuple[str, ...]
    step: int | None
    time: int | None
    scale: float
    series: tuple[int, ...]
    text: tuple[int, ...]


def has_decimal_commas(rows: Sequence[Cells]) -> bool:
    """Whether numbers stand as `0,25`, as spreadsheets write them in much of Europe, and none as `0.25`."""
    cells = [cell.strip() for row in rows for cell in row]
    return any(map(DECIMAL_COMMA.fullmatch, cells)) and not any(
        b"." in cell and _number(cell) is not None for cell in cells
    )


def header_of(cells: Cells) -> tuple[str, ...]:
    """The names of the columns. Raises NotMetrics where the first line does not name them."""
    names = tuple(cell.decode("utf-8", "replace").removeprefix(BOM).strip() for cell in cells)
    if len(names) > MAX_COLUMNS:
        raise NotMetrics(f"has {len(names):,} columns, and more than {MAX_COLUMNS:,} are not read")
    if any(_number(name) is not None for name in names) or not any(names):
        raise NotMetrics("has no header: its first line does not name the columns")
    return names


def judged(header: tuple[str, ...], rows: Sequence[Cells], file: str) -> TableColumns:
    """What each column is, by the first rows. Raises NotMetrics where they do not look like metrics.

    Metrics have numbers, no more columns of text than of numbers, and a step or a time; else a name that says so.
    """
    kinds = [_kind([row[place].decode("utf-8", "replace").strip() for row in rows]) for place in range(len(header))]
    lower = [name.lower() for name in header]
    step, time, scale = _step(lower, rows, kinds), None, 1.0
    for name in TIMES:
        if time is None and name in lower and (found := _scale(name, rows, lower.index(name))) is not None:
            time, scale = lower.index(name), found
    rest = [
        place for place, name in enumerate(header) if name and header.index(name) == place and place not in (step, time)
    ]
    series = tuple(place for place in rest if kinds[place] != "text")
    text = tuple(place for place in rest if kinds[place] == "text")
    numbers = sum(kinds[place] == "number" for place in rest)
    if not numbers:
        raise NotMetrics("does not look like metrics: it has no column of numbers beside step and time")
    if len(text) > len(series):
        raise NotMetrics(f"does not look like metrics: {len(text)} of its {len(header)} columns are text")
    if step is None and time is None and not METRIC_FILE.match(file.lower()) and not any(map(METRIC.search, lower)):
        raise NotMetrics(
            "does not look like metrics: it has neither a step nor a time, and no column is named like a metric"
        )
    return TableColumns(header, step, time, scale, series, text)


def step_of(cell: bytes) -> int | None:
    """`b"7.0" -> 7`; None for what is not a number that can be a step."""
    number = _number(cell)
    return int(number) if number is not None and abs(number) <= MAX_STEP else None


def time_of(cell: bytes, scale: float) -> float | None:
    """Unix seconds; None for what is not a time."""
    return unix_s(cell.decode("utf-8", "replace") if scale == ISO else _number(cell), scale)


def _kind(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell]
    if not filled:
        return "empty"
    return "text" if sum(_number(cell) is None for cell in filled) * 2 > len(filled) else "number"


def _step(names: Sequence[str], rows: Sequence[Cells], kinds: Sequence[str]) -> int | None:
    for name in STEPS:
        if name in names and kinds[place := names.index(name)] == "number":
            steps = [number for row in rows if (number := _number(row[place])) is not None and math.isfinite(number)]
            back = sum(later < earlier for earlier, later in itertools.pairwise(steps))
            if steps and all(step == int(step) for step in steps) and back <= BACKWARD_SHARE * len(steps):
                return place
    return None


def _scale(name: str, rows: Sequence[Cells], place: int) -> float | None:
    """By the first cell that is filled; None where the column is no time of day."""
    first = next((row[place] for row in rows if row[place].strip()), b"")
    number = _number(first)
    scale = scale_of(first.decode("utf-8", "replace") if number is None else number)
    return 1.0 if scale is None and name == "time_s" and unix_s(number, 1.0) is not None else scale


def _number(cell: bytes | str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
