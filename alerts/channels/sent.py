"""What channels share: the fields of a message, and the failure of a delivery."""

from __future__ import annotations

from typing import Any

from ..messages import AlertMessage, body

TIMEOUT_S = 10.0
AGENT = "deepseek-dashboard"
WORDS = {"begin": "firing", "end": "resolved", "summary": "firing", "test": "test"}


class NotDelivered(Exception):
    """The text says why. `dead`: the receiver does not work at all, and the next message would fare no better."""

    def __init__(self, sentence: str, *, dead: bool = False) -> None:
        super().__init__(sentence)
        self.dead = dead


def fields_of(message: AlertMessage) -> dict[str, Any]:
    """JSON, for programs: each text is as it was logged."""
    return {
        "id": message.id,
        "state": "unresolved" if message.unresolved else WORDS[message.phase],
        "text": body(message),
        "rule": message.rule,
        "title": message.title,
        "severity": message.severity,
        "sentences": list(message.sentences),
        "count": message.count,
        "run": message.runs[0] if len(message.runs) == 1 else None,
        "runs": list(message.runs),
        "ranks": list(message.ranks),
        "step": message.step,
        "time_s": message.time_s,
        "line": message.line or None,
        "gpu_hours": message.gpu_hours,
        "sparkline": message.sparkline or None,
        "sparkline_of": message.sparkline_of or None,
        "link": message.link or None,
        "findings": list(message.findings),
    }
