"""How a run stands, by what its library says of it: running, or ended in one of three ways."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..records import Event

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"


class Life:
    """The start and the end of one run."""

    def __init__(self, run: str, kept: Sequence[Sequence[Any]] = ()) -> None:
        """`kept` is an earlier `state`."""
        self._run = run
        self.lifetimes: list[Event] = [Event(run, *event) for event in kept]
        self.forgotten: dict[int, int] = {}

    def state(self) -> list[list[Any]]:
        return [list(event)[1:] for event in self.lifetimes]

    def take(self, status: str, started_s: float | None, ended_s: float | None) -> list[Event]:
        """The events that are new. A run that is over may go on: then it starts again, now."""
        known = self.lifetimes
        starts = [event for event in known if event.kind == "start"]
        if status == RUNNING:
            is_over = len(starts) < len(known)
            began_s = time.time() if is_over else started_s
            if began_s is not None and (is_over or not starts):
                self.lifetimes = [Event(self._run, "start", began_s)]
        elif ended_s is not None:
            if not starts and started_s is not None:
                starts = [Event(self._run, "start", started_s)]
            self.lifetimes = [*starts, Event(self._run, "end", ended_s, fields={"status": status, "reason": ""})]
        return [event for event in self.lifetimes if event not in known]
