"""When the lines of a file were written, as the keeper of its program noted beside it (`process/printed.py`)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..process.printed import CHECK, GAP_S, RECORD, times_path
from .formats import Arrival
from .opening import NotRead, read_file

MOST_BYTES = 32 << 20  # of records: ten years
SLACK_S = 2.0  # between two clocks


class PrintTimes(NamedTuple):
    """Both columns have the same length, and the places rise."""

    places: NDArray[np.int64]  # bytes of the file that were written before
    times_s: NDArray[np.float64]  # Unix seconds
    upto: int  # bytes of the file that they are known for
    known_s: float = math.inf  # when they were read: no line of these is newer

    def parts(self, lengths: Sequence[int], start: int) -> list[tuple[int, Arrival | None]]:
        """How many of the next lines were written within one record, and when; None where it is not known.

        `lengths` are those of lines from byte `start` on, with their newlines; the newline's time is the line's.
        """
        newlines = np.fromiter(accumulate(lengths, initial=start), np.int64)[1:] - 1
        at = np.searchsorted(self.places, newlines, "right") - 1
        return [(len(list(same)), self._arrival(record)) for record, same in groupby(at.tolist())]

    def _arrival(self, record: int) -> Arrival | None:
        if record < 0:
            return None
        since_s = float(self.times_s[record])
        until_s = float(self.times_s[record + 1]) if record + 1 < len(self.times_s) else self.known_s
        return Arrival(since_s, max(since_s, min(until_s, since_s + GAP_S)))


NO_TIMES = PrintTimes(np.empty(0, np.int64), np.empty(0, np.float64), 0)


def print_times_of(path: Path, root: Path, upto: int, since_s: float) -> PrintTimes:
    """Those of a file that has `upto` bytes, of a program that started at `since_s`. Damage costs the times that it hits."""
    try:
        data, _ = read_file(times_path(path), root, MOST_BYTES)
    except (NotRead, OSError):
        return NO_TIMES._replace(upto=upto)
    records = np.frombuffer(data[: len(data) // RECORD.size * RECORD.size], "<u8").reshape(-1, 3)
    records = records[records[:, 0] ^ records[:, 1] ^ np.uint64(CHECK) == records[:, 2]]
    records = records[(records[:, 0] <= upto) & (records[:, 1] < 2**53)]
    places, times_s = records[:, 0].astype(np.int64), records[:, 1] / 1e6
    kept = (
        (times_s >= since_s - SLACK_S) & (times_s <= time.time() + SLACK_S) & (places == np.maximum.accumulate(places))
    )
    return PrintTimes(places[kept], times_s[kept], upto, time.time())
