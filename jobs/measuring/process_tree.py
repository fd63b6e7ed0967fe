"""Memory and CPU time of the processes of a job, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from collectors.process.proc import PROC, TICKS_PER_S

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Used(NamedTuple):
    rss_mib: float
    cpu_s: float  # of the living, and of their children that have ended


def used_by(pids: Iterable[int], proc: Path = PROC) -> Used:
    """Pages that several processes share count for each. About 20 us a process."""
    rss_mib, ticks = 0.0, 0
    for pid in pids:
        try:
            rss_mib += int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE_MIB
            ticks += sum(map(int, (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except (OSError, IndexError, ValueError):  # it has ended
            continue
    return Used(rss_mib, ticks / TICKS_PER_S)
