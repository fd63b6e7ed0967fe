"""Findings and alerts as pages and clients ask for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, get_args

import numpy as np

from alerts.config import AlertSettings, AlertsFile, UserRule, shown_text
from alerts.delivery import DESKTOP_S, OutboxReader
from alerts.messages import AlertMessage
from alerts.routing import FINISHED, AcknowledgementsFile, Mute, MutesFile, fires, is_alert, is_muted
from analysis.findings.life import Activity, Standing
from analysis.findings.rules import is_tracked
from analysis.findings.working_set import MACHINE, RUNS_OWN
from collectors.arrays import Floats
from collectors.control import ControlError, ask
from collectors.machine.run_state import seconds
from collectors.records import Finding
from collectors.store.store import Store

# What living runs are at, as the collector judges it: starting, compiling, validating, idle, hung.

KEPT_S = 1.0
OLD_S = 5.0  # then what was known is known no more
PATIENCE_S = 0.05  # of who asks: a collector that lives answers sooner, and the list of runs waits for no other
WORDS = get_args(Standing)


class ActivityReader:
    """May be asked from many threads; the collector is asked once a second at most, and one that does not answer is not waited for."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._known: dict[str, Activity] = {}
        self._asking: threading.Thread | None = None
        self._asked_s = self._known_s = -OLD_S  # monotonic; the last question, and the last answer

    def of(self, run: str) -> Activity | None:
        """None while it makes steps, and where the collector does not know, does not judge or does not answer."""
        with self._lock:
            asking = None
            if self._asking is None and time.monotonic() - self._asked_s >= KEPT_S:
                asking = threading.Thread(target=self._renew, name="doings", daemon=True)
                asking.start()
                self._asking = asking
        if asking is not None:
            asking.join(PATIENCE_S)
        return self._known.get(run) if time.monotonic() - self._known_s < OLD_S else None

    def _renew(self) -> None:
        try:
            self._known, self._known_s = self._ask(), time.monotonic()
        finally:
            with self._lock:
                self._asked_s, self._asking = time.monotonic(), None

    def _ask(self) -> dict[str, Activity]:
        try:
            answer = ask(self._data_dir, "doings")
        except ControlError:
            return {}
        found = answer.items() if isinstance(answer, dict) else ()
        return {run: doing for run, given in found if (doing := _doing(given)) is not None}


def _doing(given: object) -> Activity | None:
    """Of a collector of another version, what is understood."""
    if not isinstance(given, list) or len(given) != 2 or given[0] not in WORDS:
        return None
    since_s = seconds(given[1])
    return Activity(given[0], since_s) if since_s is not None else None


# Read findings from the store.

MAX_FINDINGS = 5000  # of an answer, the newest
OF_MACHINE = ""  # the run of what was found on the machine
BEFORE_S, AFTER_S = 1800.0, 60.0  # of a case
MAX_CASE_SERIES, MAX_EVENTS = 200, 500


class FindingsReader:
    """May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def findings(
        self,
        run: str | None,
        lo: float | None = None,
        hi: float | None = None,
        *,
        holding: bool = False,
        most: int = MAX_FINDINGS,
    ) -> list[Finding]:
        """Of a run and of the machine meanwhile; of all runs and the machine without one. In order of their start."""
        if run is None:
            return self._store.findings(None, lo, hi, holding=holding, most=most)
        mine = self._store.findings(run, lo, hi, holding=holding, most=most)
        stored = self._store.run(run)
        first_s, last_s = (stored.first_time_s, stored.last_time_s) if stored else (None, None)
        if first_s is None or last_s is None:
            return mine
        window = max(first_s, lo if lo is not None else first_s), min(last_s, hi if hi is not None else last_s)
        others = self._store.findings(OF_MACHINE, *window, holding=holding, most=most)
        return sorted([*mine, *others], key=lambda found: (found.from_s, found.id))[-most:]

    def case(self, id_: str) -> dict[str, Any] | None:
        """What a finding was judged from: the series that rules look at, from half an hour before it to a minute after, and events.

        `{"finding": {...}, "series": [{name, labels, run, time_s, step, value}], "events": [...]}`; non-finite numbers are null.
        """
        found = self.finding(id_)
        if found is None:
            return None
        window = found.from_s - BEFORE_S, found.to_s + AFTER_S
        own = [row for row in self._store.series(found.run) if is_tracked(row.name)] if found.run is not None else []
        own += [row for row in self._store.series(None) if row.name in MACHINE or row.name in RUNS_OWN]
        rows = own[:MAX_CASE_SERIES]
        points = self._store.points([row.id for row in rows], *window)
        series = [
            {
                "name": row.name,
                "labels": dict(row.labels),
                "run": row.run is not None,
                "time_s": _plain(points[row.id].place),
                "step": _plain(points[row.id].step),
                "value": _plain(points[row.id].value),
            }
            for row in rows
            if len(points[row.id].place)
        ]
        events = (
            [event._asdict() for event in self._store.events(found.run, *window, most=MAX_EVENTS)]
            if found.run is not None
            else []
        )
        kept = found._asdict()
        del kept["message"]
        return {"finding": {**kept, "sentence": found.sentence}, "series": series, "events": events}

    def finding(self, id_: str) -> Finding | None:
        """By its id, whatever its run."""
        return self._store.finding(id_)


def _plain(column: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in column.tolist()]


# What fires, what is muted, what was sent, and what alerts.yaml says: from the store and from files; nothing here changes any.

DAY_S = 86400.0
MOMENTS_S = 30 * DAY_S  # so long a crash that nobody has acknowledged is an alert
UNDO_S = 3600.0
LOOK_S = 1.0  # what fires is asked for by every state


class AlertsSnapshot(NamedTuple):
    """`acknowledged` are the ids of findings that somebody has seen, `muted` findings that would fire; `troubles` are by the name of a rule what went wrong when it was evaluated."""

    settings: AlertSettings
    text: str
    firing: list[Finding]
    acknowledged: frozenset[str]
    recent: list[Finding]
    finished: list[Finding]
    muted: list[Finding]
    mutes: list[Mute]
    mutes_trouble: str
    waiting: list[AlertMessage]
    sent: list[AlertMessage]
    troubles: dict[str, str]


class Alerts:
    """May be asked from many threads."""

    def __init__(self, data_dir: Path, findings: FindingsReader, begun_s: Callable[[str], float]) -> None:
        """`begun_s` says when the newest attempt of a run began, Unix seconds."""
        self._data_dir, self._findings, self._begun_s = data_dir, findings, begun_s
        self._file, self._mutes, self._folders = AlertsFile(data_dir), MutesFile(data_dir), OutboxReader(data_dir)
        self._acknowledged = AcknowledgementsFile(data_dir)
        self._lock = Lock()
        self._firing: tuple[float, int] = (-LOOK_S, 0)

    def now(self) -> AlertsSnapshot:
        now_s = time.time()
        with self._lock:
            settings, mutes = self._file.look(), list(self._mutes.look())
            text, mutes_trouble, seen = self._file.text, self._mutes.trouble, self._acknowledged.look()
            waiting, sent = self._folders.look()
        found = self._loud(settings, seen, now_s)
        firing = [row for row in found if not is_muted(mutes, row.rule, row.run, now_s)]
        day = self._findings.findings(None, now_s - DAY_S, None)
        return AlertsSnapshot(
            settings,
            shown_text(text, settings.literals),
            firing,
            seen,
            [row for row in day if is_alert(settings, row) and row.rule != FINISHED],
            [row for row in day if row.rule == FINISHED],
            [row for row in found if is_muted(mutes, row.rule, row.run, now_s)],
            [mute for mute in mutes if mute.holds(now_s)],
            mutes_trouble,
            waiting,
            sent,
            self._troubles(),
        )

    def rules(self) -> tuple[UserRule, ...]:
        """Those of alerts.yaml about series."""
        with self._lock:
            return self._file.look().rules

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

    def desktop(self, now: AlertsSnapshot) -> list[AlertMessage]:
        """Of the last minutes, for a page to show."""
        names = {receiver.name for receiver in now.settings.receivers if receiver.kind == "desktop"}
        return [
            message
            for message in now.sent
            if message.receiver in names and time.time() - (message.ended_s or 0.0) < DESKTOP_S
        ]

    def firing(self) -> int:
        """How many alerts hold, with moments such as crashes, without acknowledged ones; about 1 ms, at most once a second."""
        now_s = time.time()
        if now_s - self._firing[0] >= LOOK_S:
            with self._lock:
                settings, mutes, seen = self._file.look(), list(self._mutes.look()), self._acknowledged.look()
            found = [row for row in self._loud(settings, seen, now_s) if row.id not in seen]
            self._firing = now_s, sum(not is_muted(mutes, row.rule, row.run, now_s) for row in found)
        return self._firing[1]

    def _loud(self, settings: AlertSettings, seen: Collection[str], now_s: float) -> list[Finding]:
        """What holds, and moments until they are acknowledged, which for an hour may be taken back, or their run has begun again."""
        rows = [*self._findings.findings(None, holding=True), *self._findings.findings(None, now_s - MOMENTS_S, None)]
        found = {row.id: row for row in rows if fires(settings, row)}
        left = [row for row in found.values() if not row.over or self._stays(row, seen, now_s)]
        return sorted(left, key=lambda row: (-row.from_s, row.id))

    def _stays(self, moment: Finding, seen: Collection[str], now_s: float) -> bool:
        is_settled = moment.id in seen and now_s - moment.from_s >= UNDO_S
        return not is_settled and (moment.run is None or self._begun_s(moment.run) <= moment.from_s)

    def _troubles(self) -> dict[str, str]:
        with suppress(ControlError):
            answer: dict[str, Any] = ask(self._data_dir, "alerts")
            return {str(name): str(trouble) for name, trouble in answer.get("rules", {}).items()}
        return {}
