"""What the queue did with a job, on the clock of its run: lines of `events.queue.jsonl` in the run's folder (docs/log-format.md).

    {"time_s": 1764000120.0, "kind": "queued", "seconds": 120.0, "text": "waited for 2 GPUs", "job": 7}

A line with `seconds` ends a span: `queued`, `shared`, `stopping`. One without is a moment: `submitted`, `shares`, `preempted`, `rolled back`,
`requeued`, `cancelled`, `failed`, `stuck`.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

FILE = "events.queue.jsonl"


def note(
    run: Path | None, kind: str, time_s: float, text: str, *, seconds: float | None = None, **fields: object
) -> None:
    """A full disk, a folder that was removed, or a pipe in the place of the file costs the line only."""
    if run is None:
        return
    spans = {} if seconds is None else {"seconds": round(seconds, 3)}
    line = json.dumps({"time_s": round(time_s, 6), "kind": kind, **spans, "text": text, **fields}) + "\n"
    with suppress(OSError, ValueError):  # a name that no file can have
        descriptor = os.open(
            run / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
