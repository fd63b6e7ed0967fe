"""The phases of a step that follow each other: a library says when one begins, and the one before it ends there."""

from __future__ import annotations

from typing import Any


class Laps:
    def __init__(self, log: Any) -> None:
        self._log = log
        self._running: Any = None

    def begin(self, name: str) -> None:
        """What ran until now ends."""
        self.end()
        self.restart(name)

    def restart(self, name: str) -> None:
        """What ran since the last call is not counted: an evaluation is no part of a step."""
        self._running = self._log.phase(name)
        self._running.__enter__()

    def end(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None
