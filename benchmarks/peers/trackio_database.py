"""Curves in Trackio's own database, written by its library: a row per step, as its `log` keeps them.

python -m benchmarks.peers.trackio_database NAME RUNS STEPS TAGS    in `.peers/`: the project NAME in the folder that TRACKIO_DIR names
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from benchmarks.peers.curves import Curves, time_s

VALUES = 200_000  # written at once


def write_trackio(curves: Curves) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    size = max(1, VALUES // curves.tags)
    for number, run in enumerate(curves.run_names):
        values = curves.values(number)
        for first in range(0, curves.steps, size):
            rows = values[first : first + size].tolist()
            steps = list(range(first, first + len(rows)))
            times = [datetime.fromtimestamp(time_s(step), UTC).isoformat() for step in steps]
            metrics = [dict(zip(curves.tag_names, row, strict=True)) for row in rows]
            SQLiteStorage.bulk_log(curves.name, run, metrics, steps, times)


if __name__ == "__main__":
    name, *counts = sys.argv[1:]
    write_trackio(Curves(name, *map(int, counts)))
