"""The kernel's own log, where this process may read it: often it may not, and then it says nothing."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from collectors.records import LogLine

KMSG = Path("/dev/kmsg")
RECORD = re.compile(r"(?P<level>\d+),\d+,(?P<us>\d+),[^;]*;(?P<text>[^\n]*)")
MOST_RECORDS, RECORD_BYTES = 20_000, 8192
BEFORE_S, AFTER_S = 180.0, 60.0  # of the run's last line


def lines_of(run: str, host: str, lines: Sequence[LogLine], kmsg: Path = KMSG) -> list[LogLine]:
    """Its lines about the time of the last of `lines`, of a run of this host."""
    if not lines or host not in ("", socket.gethostname()):
        return []
    last_s = max(line.time_s for line in lines)
    return [line for line in _read(run, kmsg) if last_s - BEFORE_S <= line.time_s <= last_s + AFTER_S]


def _read(run: str, kmsg: Path) -> list[LogLine]:
    booted_s = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        descriptor = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # not permitted, or not there
        return []
    found: list[LogLine] = []
    try:
        for _ in range(MOST_RECORDS):
            data = os.read(descriptor, RECORD_BYTES)  # one record
            if not data:
                break
            if record := RECORD.match(data.decode("utf-8", "replace")):
                found.append(LogLine(run, "kernel log", booted_s + int(record["us"]) / 1e6, 40, record["text"]))
    except OSError:  # BlockingIOError at the end; EPIPE where records were overwritten meanwhile
        pass
    finally:
        os.close(descriptor)
    return found
