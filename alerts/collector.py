"""The collector of alerts: the findings that the store has taken in, messages to receivers out, and the findings of own rules."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from access.files import Unwritable
from collectors.machine.finder import Finder, runs_by_pid
from collectors.machine.inventory import Inventory
from collectors.machine.run_state import MAY_GO_ON_S, OVER, OWN_LIFETIMES, SILENT, RunActivity, last_sign_s, state_of
from collectors.records import Finding, Points, Record
from collectors.store.store import Store

from .config import AlertSettings, AlertsFile
from .delivery import CourierPool, Outbox, Send, send
from .messages import Composer, test_message
from .routing import AlertRouter, MutesFile, SeenFindings
from .rules import UserRules

PERIOD_S = 1.0
KNOWN_S = 7 * 86400.0  # findings that are read at the start
MAX_KNOWN = 20_000
MAX_WAITING = 50_000  # points between two looks: the newest
MAX_LIVES = 500  # events of a run's processes
PAST_S = 900.0  # points older than that are those of a log that was there before

log = logging.getLogger("collectors")


class AlertsCollector:
    """`take` and `test` may be called by any thread, everything else by one."""

    name = "alerts"

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        finder: Finder,
        *,
        live_runs: Callable[[Collection[str]], Iterable[RunActivity]] = lambda names: (),
        inventory: Callable[[], Inventory] = Inventory,
        clock: Callable[[], float] = time.time,
        send: Send = send,
        threads: bool = True,
    ) -> None:
        """Without `threads`, `collect` delivers itself, and waits for it."""
        self._store, self._live_runs, self._finder, self._inventory, self._clock = (
            store,
            live_runs,
            finder,
            inventory,
            clock,
        )
        self._file, self._mutes = AlertsFile(data_dir), MutesFile(data_dir)
        self._settings: AlertSettings = self._file.look()
        self._changes = self._file.changes
        self._outbox = Outbox(data_dir)
        self._gpus: dict[str, int] = {}
        known = store.findings(lo=clock() - KNOWN_S, most=MAX_KNOWN)
        self._desk = AlertRouter(
            self._outbox, SeenFindings(data_dir), Composer(store, lambda run: self._gpus.get(run, 0))
        )
        self._desk.begin(known)
        self._own = UserRules(store, [found for found in known if not found.over], self._has_ended)
        self._own.use(self._settings)
        self._deliveries = CourierPool(self._outbox, lambda: self._settings, send, clock, threads)
        self._findings: deque[Finding] = deque()  # none is lost, however many points come
        self._points: deque[Points] = deque(maxlen=MAX_WAITING)
        self._error = ""

    def take(self, records: Sequence[Record]) -> None:
        """What the store has just taken."""
        wants_points, past_s = self._own.wants_points, self._clock() - PAST_S
        for record in records:
            if isinstance(record, Finding):
                self._findings.append(record)
            elif wants_points and isinstance(record, Points) and record.time_s is not None and record.time_s > past_s:
                self._points.append(record)

    @property
    def period_s(self) -> float:
        return PERIOD_S

    def collect(self) -> list[Record]:
        now_s = self._clock()
        self._settings = self._file.look()
        if self._file.changes != self._changes:
            self._changes = self._file.changes
            self._own.use(self._settings)
            with suppress(Unwritable):  # then the back-off goes on
                self._deliveries.settings_changed()
        mutes = [mute for mute in self._mutes.look() if mute.holds(now_s)]
        self._desk.take([self._findings.popleft() for _ in range(len(self._findings))])
        news = self._own_findings([self._points.popleft() for _ in range(len(self._points))], now_s)
        try:
            self._desk.look(self._settings, mutes, now_s)
            self._error = ""
        except (Unwritable, OSError) as error:  # a full disk: findings wait in memory, and in the store
            self._error = str(error)
        self._deliveries.look()
        return list(news)

    def test(self, receiver: str) -> dict[str, str]:
        """Have a test message sent; its id."""
        id_ = f"test-{secrets.token_hex(8)}"
        self._outbox.add(test_message(receiver, self._settings, self._clock(), id_))
        self._deliveries.look()
        return {"id": id_}

    def status(self) -> Mapping[str, Any]:
        """By own rule, what went wrong when it was computed."""
        return {"rules": self._own.troubles()}

    def trouble(self) -> str:
        """A rule or a file with a mistake is the page's business; that nothing can be written is the collector's."""
        return self._error

    def refused(self, refused: Sequence[object]) -> None:
        """A finding that the store does not take is left out."""

    def close(self) -> None:
        self._deliveries.close()

    def _own_findings(self, records: Iterable[Record], now_s: float) -> list[Finding]:
        processes = self._finder.found()
        self._count_gpus(runs_by_pid(processes))
        self._own.take(records, now_s)
        return self._own.look(processes, now_s)

    def _has_ended(self, run: str) -> bool:
        """Whether its state says so, and it is not about to be started again; of one that is only silent, not soon."""
        activity = next(iter(self._live_runs([run])), None)
        if activity is None:
            return False
        now_s = self._clock()
        lives = self._store.events(run, kinds=OWN_LIFETIMES, most=MAX_LIVES)
        state = state_of(activity.with_lives(lives), now_s)
        if state == SILENT:
            return now_s - last_sign_s(activity, now_s) > MAY_GO_ON_S
        return state.state in OVER and state.state != "preempted"

    def _count_gpus(self, owners: Mapping[int, Sequence[str]]) -> None:
        """The most that a run had: when it has crashed it has none."""
        found: dict[str, int] = {}
        for gpu in self._inventory().gpus:
            for run in {run for user in gpu.processes for run in owners.get(user.pid, ())}:
                found[run] = found.get(run, 0) + 1
        for run, many in found.items():
            self._gpus[run] = max(many, self._gpus.get(run, 0))
