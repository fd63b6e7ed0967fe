"""Choose the machine files to delete, by age and by the size of the whole folder (pure). Runs are never deleted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..protocol import Limits
from .files import RUNS_FILE, WEEK_S, is_future, week_start

JUDGE_S = 10.0  # how often sizes and ages are looked at
TOO_LARGE = "the store has reached --max-size without machine samples left to drop; raise it, or remove runs that are not needed"


class Retired(NamedTuple):
    remove: list[Path]  # oldest first
    over: bool  # even then the folder is larger than allowed, and collection is to pause


def judge(sizes: Sequence[tuple[Path, int]], limits: Limits, now_s: float) -> Retired:
    """`sizes` has all files; this week's is always kept. If they are too large, future weeks go first: no page shows them."""
    total = sum(size for _, size in sizes)
    remove = []
    for path, size in sorted(sizes, key=lambda file: (not is_future(file[0], now_s), file[0])):
        future = is_future(path, now_s)
        if path.name == RUNS_FILE or (week_start(path) + WEEK_S > now_s and not future):
            continue
        expired = (
            not future and limits.retention_s is not None and week_start(path) + WEEK_S < now_s - limits.retention_s
        )
        too_many = limits.max_bytes is not None and total > limits.max_bytes
        if expired or too_many:
            remove.append(path)
            total -= size
    return Retired(remove, limits.pause and limits.max_bytes is not None and total > limits.max_bytes)
