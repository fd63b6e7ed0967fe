"""Findings wait a moment for others of the same rule, so that a whole sweep, or all ranks, are one message (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..records import Finding
from .message import MOST_MEMBERS, AlertMessage, MessagePhase

MOST_KEPT = 10_000
WAIT_S = 2.0  # the first of a rule waits so long; others within `group_s` are in the next message


class GroupKey(NamedTuple):
    receiver: str
    rule: str
    phase: MessagePhase


class Groups:
    """What is about to become messages. Nothing of it needs to be kept: after a kill the store has the findings."""

    def __init__(self, known: Iterable[AlertMessage] = ()) -> None:
        self._open: dict[GroupKey, dict[str, Finding]] = {}
        self._since_s: dict[GroupKey, float] = {}
        self._last_s: dict[GroupKey, float] = {}
        for message in known:
            key = GroupKey(message.receiver, message.rule, message.phase)
            self._last_s[key] = max(self._last_s.get(key, 0.0), message.created_s)

    def add(self, receiver: str, phase: MessagePhase, found: Finding, now_s: float) -> None:
        key = GroupKey(receiver, found.rule, phase)
        self._open.setdefault(key, {})[found.id] = found
        self._since_s.setdefault(key, now_s)

    def waits_for(self, id_: str) -> bool:
        return any(id_ in members for members in self._open.values())

    def due(self, group_s: float, now_s: float) -> list[tuple[GroupKey, list[Finding]]]:
        """Those whose time has come, in order of their start. They stay until `done`."""
        ready = []
        for key, since_s in sorted(self._since_s.items(), key=lambda row: row[1]):
            last_s = self._last_s.get(key)
            full = len(self._open[key]) >= MOST_MEMBERS
            in_time = not 0 <= now_s - since_s < WAIT_S and (last_s is None or not 0 <= now_s - last_s < group_s)
            if full or in_time:
                ready.append(
                    (key, sorted(self._open[key].values(), key=lambda found: (found.from_s, found.id))[:MOST_MEMBERS])
                )
        return ready

    def done(self, key: GroupKey, members: Iterable[Finding], now_s: float) -> None:
        """They are in a message."""
        for found in members:
            self._open[key].pop(found.id, None)
        if not self._open[key]:
            del self._open[key], self._since_s[key]
        self._last_s[key] = now_s
        if len(self._last_s) > MOST_KEPT:
            newest = sorted(self._last_s.items(), key=lambda row: row[1])[-MOST_KEPT // 2 :]
            self._last_s = dict(newest)
