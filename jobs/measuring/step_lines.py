"""What a running job says of its own pace: steps, their seconds, and the share of them that waits for data, from the JSONL of its run.

Read as it grows, at most MOST_BYTES a look: of a file that grows faster, only its end.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .plain_file import open_plain

MOST_BYTES = 1 << 20  # of a file, a look
MOST_LINES = 4096  # of steps that are kept
OTHERS = ("events", "logged_samples")  # files of a run that hold no numbers by step
CHECKPOINT = "checkpoint"
MOST = 10**12  # of a step, the units of a line, seconds
LEAST_UNITS = 5  # below these a pace is noise


class StepLine(NamedTuple):
    time_s: float
    units: int  # of work that the line stands for
    data_s: float  # of these, waiting for data


class StepPace(NamedTuple):
    units: int
    units_per_s: float | None  # by the median step, so that a validation or a checkpoint between does not count
    data_bound: float | None  # share of the time


class StepLines:
    """Of the files in one run's folder that rank 0 writes."""

    def __init__(self, folder: Path, since_s: float) -> None:
        """Lines before `since_s` are an earlier attempt's."""
        self._folder, self._since_s = folder, since_s
        self._offsets: dict[str, int] = {}
        self._steps: deque[StepLine] = deque(maxlen=MOST_LINES)
        self._last: dict[str, int] = {}  # step, by file
        self.units = 0
        self.checkpoint_s: float | None = None  # the newest

    def look(self) -> None:
        for path in self._files():
            for fields in self._new(path):
                self._take(path.name, fields)

    def pace(self, since_s: float) -> StepPace:
        """Of the steps that began after `since_s`."""
        steps = [line for line in self._steps if line.time_s >= since_s]
        units = sum(line.units for line in steps[1:])
        between = list(itertools.pairwise(steps))
        paces = [
            (after.time_s - before.time_s) / after.units for before, after in between if after.time_s > before.time_s
        ]
        if units < LEAST_UNITS or not paces:
            return StepPace(units, None, None)
        spent_s = steps[-1].time_s - steps[0].time_s
        data_s = sum(line.data_s for line in steps[1:])
        return StepPace(units, 1 / statistics.median(paces), min(1.0, data_s / spent_s) if spent_s > 0 else None)

    def _files(self) -> list[Path]:
        """The usual names, else any: rank 0 only."""
        with suppress(OSError):
            names = sorted(
                entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".jsonl") and entry.is_file()
            )
            mine = [name for name in names if ".rank" not in name and not name.startswith((".", *OTHERS))]
            chosen = ["metrics.jsonl"] if "metrics.jsonl" in mine else mine[:1]
            return [self._folder / name for name in [*chosen, *(["events.jsonl"] if "events.jsonl" in names else [])]]
        return []

    def _new(self, path: Path) -> Iterator[dict[str, Any]]:
        """Objects of whole lines that are new."""
        try:
            with open_plain(path) as file:
                size = os.fstat(file.fileno()).st_size
                offset = self._offsets.get(path.name, 0)
                offset = 0 if offset > size else offset
                if cut := size - offset > MOST_BYTES:
                    offset = size - MOST_BYTES
                file.seek(offset)
                data = file.read(MOST_BYTES)
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[path.name] = offset + len(whole)
        lines = whole.split(b"\n")
        for line in lines[1:] if cut else lines:
            with suppress(ValueError, RecursionError):
                fields = json.loads(line)
                if isinstance(fields, dict):
                    yield fields

    def _take(self, file: str, fields: dict[str, Any]) -> None:
        time_s, step, units = _number(fields.get("time_s")), fields.get("step"), fields.get("units", 1)
        if time_s is None or not self._since_s <= time_s <= MOST:
            return
        if file == "events.jsonl":
            if fields.get("kind") == CHECKPOINT:
                self.checkpoint_s = time_s
            return
        if (
            not isinstance(step, int)
            or not isinstance(units, int)
            or not 1 <= units <= MOST
            or not self._last.get(file, -1) < step <= MOST
        ):
            return  # more numbers of a step that is counted
        before = self._last.get(file)
        self._last[file] = step
        data_s = _number(fields.get("phase/data_s")) or 0.0
        units = max(units, step - before if before is not None else units)  # a log of every tenth step
        self._steps.append(StepLine(time_s, units, min(max(data_s, 0.0), float(MOST))))
        self.units += units


def _number(value: object) -> float | None:
    """A finite one: what a program logs may be anything."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
