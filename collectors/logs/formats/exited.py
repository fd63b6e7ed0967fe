"""Read `exit.json`, which the keeper of a program writes when that has ended: how it ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from ...process.last_words import reason_of
from ...records import Event, Record
from . import Tally
from .values import as_count, as_time, inert

FILE = "exit.json"
SAVED = 75  # EX_TEMPFAIL: it is to go on later (docs/jobs.md)
MAX_LINES = 200  # of the program's last ones


class Exited:
    """The run's end: finished with exit code 0, killed by a signal, else failed."""

    def __init__(self, run: str, state: Mapping[str, Any]) -> None:
        self.tally = Tally()
        self._run = run
        self.lifetimes: list[Event] = [Event(run, *kept) for kept in state.get("lifetimes", [])]
        """The end, once it is known."""
        self.forgotten: dict[int, int] = {}

    def state(self) -> dict[str, Any]:
        return {"lifetimes": [list(event)[1:] for event in self.lifetimes]}

    def parse_whole(self, data: bytes) -> list[Record]:
        if not data:
            return []
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError:
            fields = None
        ended_s = as_time(fields.get("ended_s")) if isinstance(fields, dict) else None
        if ended_s is None and isinstance(fields, dict) and "ticks" in fields:  # the next attempt of a job has started
            self.lifetimes = []
            return []
        if ended_s is None:
            self.tally.skip_line("no JSON object with ended_s")
            return []
        status, reason = how(fields)
        said = {
            "status": status,
            "reason": reason,
            **{name: fields[name] for name in ("pid", "code") if as_count(fields.get(name)) is not None},
        }
        before, self.lifetimes = self.lifetimes, [Event(self._run, "end", ended_s, text=reason, fields=said)]
        return [*self.lifetimes] if self.lifetimes != before else []


def how(fields: Mapping[str, Any]) -> tuple[str, str]:
    """`{"code": 1, "last_lines": ["ValueError: no"]} -> ("failed", "ValueError: no (exit code 1)")`

    A program that saved and ended because a signal asked for room has not come to its own end: `("finished", "stopped by SIGTERM")`.
    """
    code, number = fields.get("code"), fields.get("signal")
    if isinstance(number, int) and number > 0:
        name = f"signal {number}"
        with suppress(ValueError):
            name = signal.Signals(number).name
        return "killed", f"Ended by {name}"
    asked = fields.get("stopped_by")
    if asked in (signal.SIGTERM, signal.SIGUSR1) and code in (0, SAVED):
        return "finished", f"stopped by {signal.Signals(asked).name}"
    if code == 0:
        return "finished", ""
    if code == SAVED and "attempt" in fields:  # of a queue, which has asked for it
        return "finished", "Saved and ended by SIGTERM"
    kept = fields.get("last_lines", [fields.get("last_line")])  # the latter of an earlier version, its last characters
    lines = [line for line in kept[-MAX_LINES:] if isinstance(line, str)] if isinstance(kept, list) else []
    why = inert(reason_of(lines))
    return "failed", f"{why} (exit code {code})" if why else f"Exit code {code}"
