"""What goes from plan to plan, as JSON in the queue's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .planning.fifo import Fifo
from .planning.state import Carried
from .planning.usage import Usage


def of_carried(carried: Carried) -> dict[str, object]:
    fifos = [_of_fifo(fifo) if fifo else None for fifo in (carried.fifo, carried.fifo_high)]
    return {"usage": carried.usage, "fifos": fifos, "gate": carried.gate}


def carried_from(kept: Mapping[str, Any]) -> Carried:
    fifo, high = (_fifo(each) if each else None for each in kept["fifos"])
    return Carried(Usage(*kept["usage"]), fifo, high, (kept["gate"][0], kept["gate"][1]) if kept["gate"] else None)


def _of_fifo(fifo: Fifo) -> dict[str, object]:
    return {
        "slots": fifo.slots, "running": [[job, *row] for job, row in fifo.running.items()], "queue": fifo.queue,
        "starts_s": list(fifo.starts_s.items()), "at_s": fifo.at_s, "longest_s": fifo.longest_s,
    }  # fmt: skip


def _fifo(kept: Mapping[str, Any]) -> Fifo:
    running = {int(job): (start_s, int(slots)) for job, start_s, slots in kept["running"]}
    queue = tuple((submitted_s, int(job), int(slots)) for submitted_s, job, slots in kept["queue"])
    starts_s = {int(job): start_s for job, start_s in kept["starts_s"]}
    return Fifo(kept["slots"], running, queue, starts_s, kept["at_s"], kept["longest_s"])
