"""From findings to messages in the outbox: who gets which, once, muted ones never, and when one is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..records import Finding
from .composing import Composer
from .grouping import Groups
from .model import AlertSettings
from .mutes import Mute, is_muted
from .outbox import Outbox
from .routing import receivers_of
from .seen import SeenFindings

MOST_OPEN = 20_000
LOOK_S = 10.0  # a mute may be over


class AlertDesk:
    """For one thread. What it decided is in the outbox and in `seen`; the rest is made again from the store's findings."""

    def __init__(self, outbox: Outbox, seen: SeenFindings, composer: Composer) -> None:
        self._outbox, self._seen, self._composer = outbox, seen, composer
        self._groups = Groups([*outbox.sent(), *outbox.waiting()])
        self._open: dict[str, Finding] = {}  # that hold, are muted or wanted by no receiver now, and may be sent later
        self._ending: dict[str, Finding] = {}  # over, and a receiver may have to know
        self._news, self._looked_s = True, 0.0
        self._asked: tuple[AlertSettings, tuple[Mute, ...]] | None = None
        self._unseen: dict[str, Finding] = {}  # in a group that waits

    def begin(self, known: Iterable[Finding]) -> None:
        """What the store has at the start. In a new folder, what is over by then is no news."""
        found = list(known)
        if self._seen.is_new:
            self._seen.add(row.id for row in found if row.over)
        self.take(found)

    def take(self, found: Iterable[Finding]) -> None:
        for row in found:
            self._news = True
            if row.over:
                self._open.pop(row.id, None)
                self._ending[row.id] = row
            if row.id not in self._seen:
                self._open[row.id] = row
            if row.id in self._unseen:
                self._unseen[row.id] = row
        while len(self._open) > MOST_OPEN:
            self._open.pop(next(iter(self._open)))

    def look(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        """Make messages of what is due. A file that cannot be written leaves all as it was: Unwritable."""
        asked = (settings, tuple(mutes))
        if self._news or asked != self._asked or not 0 <= now_s - self._looked_s < LOOK_S:
            self._news, self._asked, self._looked_s = False, asked, now_s
            self._begun(settings, mutes, now_s)
        self._ended(settings, mutes, now_s)
        for key, members in self._groups.due(settings.group_s, now_s):
            newest = [self._unseen.get(row.id, row) for row in members]
            series = _series(settings, key.rule)
            self._outbox.add(self._composer.message(key.receiver, key.phase, newest, settings, now_s, series))
            self._groups.done(key, members, now_s)
        done = [id_ for id_ in self._unseen if not self._groups.waits_for(id_)]
        if done:
            self._seen.add(done)
            for id_ in done:
                del self._unseen[id_]

    def _begun(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        passed = []
        for row in list(self._open.values()):
            receivers = [] if is_muted(mutes, row.rule, row.run, now_s) else receivers_of(settings, row)
            if not receivers:
                if row.over:
                    passed.append(row.id)
                    del self._open[row.id]
                continue
            for receiver in receivers:
                if self._outbox.of(row.id, receiver.name, "begin") is None:
                    self._groups.add(receiver.name, "begin", row, now_s)
            self._unseen[row.id] = row
            del self._open[row.id]
        if passed:
            self._seen.add(passed)

    def _ended(self, settings: AlertSettings, mutes: Sequence[Mute], now_s: float) -> None:
        """A receiver that got the beginning of what lasted gets its end, once the beginning has arrived."""
        for row in list(self._ending.values()):
            waits = row.id in self._unseen
            for receiver in settings.receivers:
                begin = self._outbox.of(row.id, receiver.name, "begin")
                if (
                    begin is None
                    or row.id not in begin.lasting
                    or self._outbox.of(row.id, receiver.name, "end") is not None
                ):
                    continue
                if begin.state == "waiting":
                    waits = True
                elif begin.state == "delivered" and not is_muted(mutes, row.rule, row.run, now_s):
                    self._groups.add(receiver.name, "end", row, now_s)
            if not waits:
                del self._ending[row.id]


def _series(settings: AlertSettings, rule: str) -> str:
    """That an own rule is about, where it is one alone."""
    from .own.condition import series_of

    own = next((own for own in settings.rules if own.rule == rule), None)
    return series_of(own.kind, own.text) if own is not None else ""
