"""Ledgers of stored runs: the accounts of minutes are remembered and added up."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from analysis.history import History
from analysis.ledger.ledger import LedgerContext, account_in, subject_of
from analysis.ledger.shares import Account, Ledger, Tier, compacted, summed
from analysis.stacks.spans import Interval
from analysis.stacks.trust import LineOf
from collectors.store.store import Store, check, holding

READING_S = 2.0  # of one answer, on minutes that are not known yet

# Accounts of a run's minutes, remembered: the ledger of a day is their sum, and its two edges.
#
# What was recorded does not change once all of it has arrived. Of minutes that are not known yet, as many are read as fit into the
# time of an answer, spread over the window; how much of it was seen is part of the answer.

MINUTE_S = 60.0
MIN_MINUTES = 3  # a window with fewer whole minutes is read as it is
SETTLED_S = 60.0  # before the end of the profile: nothing comes late any more
MAX_KEPT = 6000  # minutes, of all runs: about 6 kB each
AHEAD = 24 * 60  # minutes before the end of the profile
AHEAD_AT_ONCE = 3
NO_TIME = (0.0, 1.0)


class _AccountKey(NamedTuple):
    run: str
    rank: int
    card: int  # id of the counter's series; 0 for none
    minute: int  # Unix time / 60


class _Part(NamedTuple):
    account: Account
    tier: Tier
    hz: float


class Ledgers:
    """May be asked from many threads."""

    def __init__(self, store: Store, line_of: Callable[[str], LineOf]) -> None:
        """`line_of` gives the lines of a run's files."""
        self._store, self._line_of = store, line_of
        self._lock = threading.Lock()
        self._known: OrderedDict[_AccountKey, _Part] = OrderedDict()

    def ledger(
        self, run: str, window: Interval | None = None, rank: int | None = None, reading_s: float = READING_S
    ) -> Ledger:
        """Of a window, or of all that was profiled of the run."""
        history = History(self._store, run)
        given, profiled = window, _profiled(history)
        window = history.inside(given or profiled or NO_TIME)
        subject = subject_of(history, window, rank, given or (0.0, window[1]))
        whole = _whole(history, window)
        if len(whole) < MIN_MINUTES:
            found = _ledger(subject, window, [self._read(history, subject, window)])
            return found if profiled else replace(found, profiled=False)
        edges = [(window[0], whole[0] * MINUTE_S), ((whole[-1] + 1) * MINUTE_S, window[1])]
        ends = [self._read(history, subject, edge) for edge in edges if edge[1] > edge[0]]
        asked = whole[:: 1 + len(whole) // MAX_KEPT]  # of weeks not every minute
        parts = self._minutes(history, subject, asked, time.monotonic() + reading_s)
        return _ledger(subject, window, [*ends[:1], *parts, *ends[1:]])

    def profiled(self, run: str) -> Interval | None:
        """From when to when stacks of the run are stored; None where none are."""
        return _profiled(History(self._store, run))

    def fold_ahead(self, run: str) -> int:
        """Remember the newest few minutes of rank 0 that are not known yet; how many it were."""
        history = History(self._store, run)
        window = _profiled(history)
        whole = _whole(history, window) if window else range(0)
        if not window or not whole:
            return 0
        subject = subject_of(history, window, None)
        with self._lock:
            missing = [minute for minute in whole[-AHEAD:] if _key(history, subject, minute) not in self._known]
        chosen = missing[-AHEAD_AT_ONCE:]
        self._minutes(history, subject, chosen, math.inf)
        return len(chosen)

    def _minutes(self, history: History, subject: LedgerContext, whole: Sequence[int], until_s: float) -> list[_Part]:
        """Those of the minutes that are known, or can be read until then, in their order."""
        with holding(self._lock):
            found = {minute: self._known.get(_key(history, subject, minute)) for minute in whole}
        for minute in spread([minute for minute in whole if found[minute] is None]):
            check()
            part = self._read(history, subject, (minute * MINUTE_S, (minute + 1) * MINUTE_S))
            found[minute] = part._replace(account=compacted(part.account))
            self._keep(_key(history, subject, minute), part)
            if time.monotonic() > until_s:
                break
        return [part for part in found.values() if part is not None]

    def _keep(self, key: _AccountKey, part: _Part) -> None:
        with holding(self._lock):
            self._known[key] = part._replace(account=compacted(part.account))
            while len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)

    def _read(self, history: History, subject: LedgerContext, window: Interval) -> _Part:
        return _Part(*account_in(history, subject, window, self._line_of(history.run)))


def spread(minutes: Sequence[int]) -> list[int]:
    """The same, in an order whose every beginning is spread over all of them: 0, 4, 2, 6, 1, 3, 5, 7."""
    bits = max(1, (len(minutes) - 1).bit_length())
    order = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits))
    return [minutes[i] for i in order if i < len(minutes)]


def _ledger(subject: LedgerContext, window: Interval, parts: Sequence[_Part]) -> Ledger:
    seen = [part for part in parts if part.account.covered_s > 0]
    tier: Tier = "B" if any(part.tier == "B" for part in seen or parts) else "A"
    hz = min((part.hz for part in seen), default=0.0)
    return subject.ledger(summed(part.account for part in parts), window, tier, hz)


def _profiled(history: History) -> Interval | None:
    from_s, until_s = history.profiled_from(), history.profiled_until()
    return (from_s, until_s) if from_s is not None and until_s is not None and from_s < until_s else None


def _whole(history: History, window: Interval) -> range:
    """The minutes that lie in the window and in the settled profile."""
    lo, hi = _profiled(history) or NO_TIME
    return range(math.ceil(max(window[0], lo) / MINUTE_S), int(min(window[1], hi - SETTLED_S) / MINUTE_S))


def _key(history: History, subject: LedgerContext, minute: int) -> _AccountKey:
    return _AccountKey(history.run, subject.rank, subject.cards.busy.id if subject.cards.busy else 0, minute)
