"""What fires, what is muted, what was sent, and what alerts.yaml says: from the store and from files; nothing here changes any."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from collectors.alerts.acknowledged import AcknowledgedFile
from collectors.alerts.file import AlertsFile
from collectors.alerts.message import AlertMessage
from collectors.alerts.model import AlertSettings
from collectors.alerts.mutes import Mute, MutesFile, is_muted
from collectors.alerts.outbox import DESKTOP_S, MessageFolders
from collectors.alerts.routing import fires, is_alert
from collectors.alerts.secret import shown_text
from collectors.records import Finding
from collectors.service.control import ControlError, ask

from ..findings.reading import FoundFindings

HOUR_S, DAY_S = 3600.0, 86400.0
LOOK_S = 1.0  # what fires is asked for by every state


class AlertsNow(NamedTuple):
    """`acknowledged` are the ids of firing findings that somebody has seen, `muted` findings that would fire; `troubles` are by the name of a rule what went wrong when it was evaluated."""

    settings: AlertSettings
    text: str
    firing: list[Finding]
    acknowledged: frozenset[str]
    recent: list[Finding]
    muted: list[Finding]
    mutes: list[Mute]
    mutes_trouble: str
    waiting: list[AlertMessage]
    sent: list[AlertMessage]
    troubles: dict[str, str]


class Alerts:
    """May be asked from many threads."""

    def __init__(self, data_dir: Path, findings: FoundFindings) -> None:
        self._data_dir, self._findings = data_dir, findings
        self._file, self._mutes, self._folders = AlertsFile(data_dir), MutesFile(data_dir), MessageFolders(data_dir)
        self._acknowledged = AcknowledgedFile(data_dir)
        self._lock = Lock()
        self._firing: tuple[float, int] = (-LOOK_S, 0)

    def now(self) -> AlertsNow:
        now_s = time.time()
        with self._lock:
            settings, mutes = self._file.look(), list(self._mutes.look())
            text, mutes_trouble, seen = self._file.text, self._mutes.trouble, self._acknowledged.look()
            waiting, sent = self._folders.look()
        found = self._loud(settings, now_s)
        firing = [row for row in found if not is_muted(mutes, row.rule, row.run, now_s)]
        day = self._findings.findings(None, now_s - DAY_S, None)
        return AlertsNow(
            settings,
            shown_text(text, settings.literals),
            firing,
            seen & {row.id for row in firing},
            [row for row in day if is_alert(settings, row)],
            [row for row in found if is_muted(mutes, row.rule, row.run, now_s)],
            [mute for mute in mutes if mute.holds(now_s)],
            mutes_trouble,
            waiting,
            sent,
            self._troubles(),
        )

    def text(self) -> str:
        """Of alerts.yaml as it is, secrets included: for what writes it, never for an answer."""
        with self._lock:
            self._file.look()
            return self._file.text

    def messages(self, most: int) -> list[AlertMessage]:
        """Those that wait, and then the newest that were sent."""
        with self._lock:
            waiting, sent = self._folders.look()
        return [*reversed(waiting), *sent][:most]

    def desktop(self, now: AlertsNow) -> list[AlertMessage]:
        """Of the last minutes, for a page to show."""
        names = {receiver.name for receiver in now.settings.receivers if receiver.kind == "desktop"}
        return [
            message
            for message in now.sent
            if message.receiver in names and time.time() - (message.ended_s or 0.0) < DESKTOP_S
        ]

    def firing(self) -> int:
        """How many alerts hold, with the moments of the last hour, without acknowledged ones; about 1 ms, at most once a second."""
        now_s = time.time()
        if now_s - self._firing[0] >= LOOK_S:
            with self._lock:
                settings, mutes, seen = self._file.look(), list(self._mutes.look()), self._acknowledged.look()
            found = [row for row in self._loud(settings, now_s) if row.id not in seen]
            self._firing = now_s, sum(not is_muted(mutes, row.rule, row.run, now_s) for row in found)
        return self._firing[1]

    def _loud(self, settings: AlertSettings, now_s: float) -> list[Finding]:
        rows = [*self._findings.findings(None, holding=True), *self._findings.findings(None, now_s - HOUR_S, None)]
        found = {row.id: row for row in rows if fires(settings, row, now_s)}
        return sorted(found.values(), key=lambda row: (-row.from_s, row.id))

    def _troubles(self) -> dict[str, str]:
        with suppress(ControlError):
            answer: dict[str, Any] = ask(self._data_dir, "alerts")
            return {str(name): str(trouble) for name, trouble in answer.get("rules", {}).items()}
        return {}
