"""Windows of time that are kept whole when samples of the machine are thinned: of findings, notes and reports."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path

from access.files import bytes_of

from .store.store import Store

FILE = "kept.jsonl"
MAX_BYTES = 256 << 10  # some 2,500 windows; beyond that no further one is noted
MARGIN_S = 60.0  # on both sides: what led to it
WHOLE_S = 6 * 3600.0  # of a longer one the first and the last three hours are kept
NOTE = "note"

TimeWindow = tuple[float, float]


def windows(store: Store, data_dir: Path, lo: float, hi: float) -> list[TimeWindow]:
    """Those that touch the range, with their margins, in Unix seconds."""
    found = [(finding.from_s, finding.to_s) for finding in store.findings(None, lo, hi)]
    found += [
        (event.time_s, event.time_s + (event.seconds or 0.0)) for event in store.events(None, lo - WHOLE_S, hi, (NOTE,))
    ]
    found += read_windows(data_dir)
    kept = [part for window in found for part in _ends_of(*window)]
    return [(from_s, to_s) for from_s, to_s in kept if to_s >= lo and from_s <= hi]


def note(data_dir: Path, run: str, window: TimeWindow, why: str) -> None:
    """Keep a window from now on. A folder that takes no file costs only that."""
    if not all(map(math.isfinite, window)):
        return
    line = json.dumps({"run": run, "from_s": window[0], "to_s": window[1], "why": why}).encode() + b"\n"
    path = data_dir / FILE
    with suppress(OSError, ValueError):
        known = bytes_of(path, most=MAX_BYTES) if path.exists() else b""
        if line in known or len(known) + len(line) > MAX_BYTES:
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def read_windows(data_dir: Path) -> list[TimeWindow]:
    """The windows of the file; a line that cannot be read is left out."""
    try:
        text = bytes_of(data_dir / FILE, most=MAX_BYTES)
    except (OSError, ValueError):
        return []
    found = []
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            row = json.loads(line)
            window = float(row["from_s"]), float(row["to_s"])
            if all(map(math.isfinite, window)):
                found.append(window)
    return found


def _ends_of(from_s: float, to_s: float) -> list[TimeWindow]:
    if to_s - from_s <= WHOLE_S:
        return [(from_s - MARGIN_S, to_s + MARGIN_S)]
    return [(from_s - MARGIN_S, from_s + WHOLE_S / 2), (to_s - WHOLE_S / 2, to_s + MARGIN_S)]
