"""When a part of a program is slow, and by how much. The one thing in this folder that no user would have written.

`$SLOWDOWN` names a file of `[[since_s, until_s, factor], ...]` in Unix seconds, which may come and change while the program runs. What
a slowed part took is appended to `$SLOWDOWN.<pid>`: `begun_s ended_s extra_s`.
"""

import json
import os
import time
from pathlib import Path

PLAN = Path(os.environ.get("SLOWDOWN", "no-plan"))
_read: tuple[float, list[tuple[float, float, float]]] = (0.0, [])
_truth: tuple[int, int] = (0, -1)  # pid, descriptor


def factor(now_s: float) -> float:
    """By how much a unit of work is to be longer now; 1 while all is well. About 3 us."""
    return next((times for since_s, until_s, times in _plan() if since_s <= now_s < until_s), 1.0)


class slowed:
    """`with slowed(0.05) as extra_s`: the seconds that make a unit of 0.05 s as long as the plan says; 0 while all is well."""

    def __init__(self, unit_s: float) -> None:
        self._unit_s = unit_s

    def __enter__(self) -> float:
        self._begun_s = time.time()
        self._extra_s = (factor(self._begun_s) - 1) * self._unit_s
        return self._extra_s

    def __exit__(self, *_: object) -> None:
        if self._extra_s:
            os.write(_truth_file(), f"{self._begun_s:.6f} {time.time():.6f} {self._extra_s:.6f}\n".encode())


def _plan() -> list[tuple[float, float, float]]:
    global _read
    try:
        changed_s = PLAN.stat().st_mtime
        if changed_s != _read[0]:
            _read = changed_s, json.loads(PLAN.read_text())
    except (FileNotFoundError, ValueError):  # not there yet, or half written
        return []
    return _read[1]


def _truth_file() -> int:
    global _truth
    if _truth[0] != os.getpid():  # a forked worker writes its own
        _truth = os.getpid(), os.open(f"{PLAN}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    return _truth[1]
