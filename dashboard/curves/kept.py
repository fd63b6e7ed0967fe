"""Curves of very many points are kept for a while: the next question for the same one, in another tab or after a zoom, costs nothing."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from .drawing import Drawn

MOST_BYTES = 16 << 20  # of all that is kept: some hundred curves
MOST_S = 600.0


class KeptCurves:
    """A key names everything that a curve depends on, with the number of its points. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, Drawn]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Drawn | None:
        with self._lock:
            made_s, drawn = self._kept.get(key, (0.0, None))
            if drawn is None or time.monotonic() - made_s > MOST_S:
                return None
            self._kept.move_to_end(key)
            return drawn

    def put(self, key: Hashable, drawn: Drawn) -> None:
        with self._lock:
            if key in self._kept:
                self._bytes -= _bytes_of(self._kept.pop(key)[1])
            self._kept[key] = time.monotonic(), drawn
            self._bytes += _bytes_of(drawn)
            while self._bytes > MOST_BYTES:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= _bytes_of(oldest)


def _bytes_of(drawn: Drawn) -> int:
    arrays = [column for column in (*drawn.buckets, drawn.smooth, drawn.superseded) if isinstance(column, np.ndarray)]
    return sum(array.nbytes for array in arrays) + 1000
