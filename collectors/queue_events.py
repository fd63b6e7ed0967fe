"""Events of a job queue: what it did with a job, in `events.queue.jsonl` of the job's run.

The queue writes them; the collector reads them as it reads the events of a script, and judges the run's state by `MOVES`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .records import Event

FILE = "events.queue.jsonl"

SUBMITTED: Final = "submitted"  # the job waits from now on
PLACED: Final = "queued"  # its wait of `seconds` is over: it starts
REQUEUED: Final = "requeued"  # an attempt has ended, and the job waits again
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"
PREEMPTED: Final = "preempted"  # it is asked to end, to make room for job `because`
ROLLED_BACK: Final = "rolled back"  # it is asked to end, since it and job `because` slow each other down
STOPPING: Final = "stopping"  # it has ended, `seconds` after it was asked to
SHARES: Final = "shares"  # it has a neighbour on its slot from now on
SHARED: Final = "shared"  # it had that neighbour for `seconds`
STUCK: Final = "stuck"  # since `since_s` it has waited for what no end of another job gives

QueueEventKind: TypeAlias = Literal[
    "submitted", "queued", "requeued", "cancelled", "failed", "preempted", "rolled back", "stopping", "shares", "shared", "stuck"
]  # fmt: skip
MOVES = (SUBMITTED, PLACED, REQUEUED, CANCELLED, FAILED)  # into the queue, or out of it


def moves_of(events: Iterable[Event]) -> list[Event]:
    """Those of a queue that begin or end the job's waiting; a script's own event of such a name has no `job`."""
    return [event for event in events if event.kind in MOVES and isinstance(event.fields.get("job"), int)]


def write_queue_event(
    run: Path | None,
    kind: QueueEventKind,
    time_s: float,
    text: str,
    *,
    seconds: float | None = None,
    job: int,
    **fields: object,
) -> None:
    """Appends a line to the run's file. A full disk, a folder that was removed, or a pipe in the file's place costs this line only."""
    if run is None:
        return
    spans = {} if seconds is None else {"seconds": round(seconds, 3)}
    line = json.dumps({"time_s": round(time_s, 6), "kind": kind, **spans, "text": text, "job": job, **fields}) + "\n"
    with suppress(OSError, ValueError):  # a name that no file can have
        descriptor = os.open(
            run / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
