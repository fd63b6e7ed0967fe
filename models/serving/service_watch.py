"""What is wrong with a service, from its lines of a second: slow, refusing, falling behind. Each is said once when it begins."""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

LOOKS = 10  # lines that a verdict is of
MOST_LINES = 8  # of these, that are wrong
REFUSED_SHARE = 0.01
LEAST_QUEUE, GROWN = 8, 2.0
QUIET_LINES = 60  # without it, before it is said anew


class ServedLine(NamedTuple):
    requests: int
    refused: int
    queue: int
    p99_s: float


class ServiceComplaint(NamedTuple):
    kind: str  # "slow", "refuses", "behind"
    text: str
    severity: str  # of RunLog.alert


class ServiceWatch:
    """`target_s`: of p99; None: there is none."""

    def __init__(self, target_s: float | None = None) -> None:
        self._target_s = target_s
        self._lines: deque[ServedLine] = deque(maxlen=LOOKS)
        self._since: dict[str, int] = {}  # lines since a complaint last held

    def add(self, line: ServedLine) -> list[ServiceComplaint]:
        """Those that begin with this line."""
        self._lines.append(line)
        self._since = {kind: since + 1 for kind, since in self._since.items()}
        if len(self._lines) < LOOKS:
            return []
        found = [complaint for complaint in (self._slow(), self._refuses(), self._behind()) if complaint]
        new = [complaint for complaint in found if self._since.get(complaint.kind, QUIET_LINES) >= QUIET_LINES]
        self._since |= {complaint.kind: 0 for complaint in found}
        return new

    def _slow(self) -> ServiceComplaint | None:
        if self._target_s is None:
            return None
        slow_s = sorted(line.p99_s for line in self._lines if line.p99_s > self._target_s)
        if len(slow_s) < MOST_LINES:
            return None
        middle_s = slow_s[len(slow_s) // 2]
        return ServiceComplaint("slow", f"p99 is {middle_s * 1e3:.0f} ms, and its target is {self._target_s * 1e3:.0f} ms", "alert")

    def _refuses(self) -> ServiceComplaint | None:
        refused, answered = sum(line.refused for line in self._lines), sum(line.requests for line in self._lines)
        if refused <= REFUSED_SHARE * (refused + answered):
            return None
        text = (
            f"{refused / (refused + answered):.0%} of the requests are refused: there are more than the service can answer in time"
        )
        return ServiceComplaint("refuses", text, "alert")

    def _behind(self) -> ServiceComplaint | None:
        queues = [line.queue for line in self._lines]
        rises = sum(later > earlier for earlier, later in itertools.pairwise(queues))
        if queues[-1] < LEAST_QUEUE or queues[-1] < GROWN * max(1, queues[0]) or rises < MOST_LINES - 1:
            return None
        return ServiceComplaint("behind", f"the queue grows: {queues[0]} requests waited, now {queues[-1]} do", "note")
