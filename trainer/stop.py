"""A request to stop: SIGTERM, SIGINT and SIGUSR1 set a flag that the loop reads at the end of a step."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stop:
    """True after a signal. A second one changes nothing: Ctrl-C reaches a child twice, from the terminal and from its parent."""

    def __init__(self) -> None:
        self.reason = ""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return self.reason != ""

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or f"stopped by {signal.Signals(number).name}"
