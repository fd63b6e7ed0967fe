"""A file called `events.jsonl`: events of the run, or metrics of a script that has chosen the same name. Its first object tells which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ...records import Record
from . import Arrival, Tally
from .json_lines import JsonLines
from .jsonl import Events, flat, objects
from .roles import TIMES

State: TypeAlias = Mapping[str, Any]


class EventLines:
    """Events, unless the first object has numbers and no `kind` and `time_s`."""

    def __init__(self, events: Events, metrics: Callable[[State], JsonLines], state: State | None = None) -> None:
        """`metrics` makes the format of metrics from its state."""
        self._events, self._make_metrics = events, metrics
        self._metrics = metrics(state["metrics"]) if state and "metrics" in state else None
        self._is_known = bool(state)

    @property
    def tally(self) -> Tally:
        return self._format.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._format.tally = tally

    @property
    def _format(self) -> Events | JsonLines:
        return self._metrics or self._events

    def state(self) -> dict[str, Any]:
        if self._metrics is not None:
            return {"metrics": self._metrics.state()}
        return self._events.state() if self._is_known else {}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        if not self._is_known and (first := next(objects(lines, Tally()), None)) is not None:
            self._is_known = True
            is_event = "kind" in first and "time_s" in first
            if not is_event and any(name not in TIMES for name, _ in flat(first, Tally())):
                tally, self._metrics = self.tally, self._make_metrics({})
                self._metrics.tally = tally
        return self._format.parse(lines, arrival)
