"""From seconds to the ledger of a window: rows that add up to 100 %, each with its line, its range and what a fix saves at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ..stacks.traces import Range
from . import rules
from .account import Account, CostRange
from .idle.device import Signal
from .kinds import BUSY, Charged, TimeKind
from .traced import BusyPart, Traced, busy_parts

Tier: TypeAlias = Literal["A", "B", "C"]
Sureness: TypeAlias = Literal["high", "medium", "low"]
LedgerDevice: TypeAlias = Literal["GPU", "CPU", "host"]
MOST_LINES = 5  # of a row
OF_HOST: tuple[TimeKind, ...] = ("python", "gil", "lock", "wait", "log", "launch", "sync")


class LineShare(NamedTuple):
    place: Charged
    share: float  # of the window, percent
    samples: int


class KindRow(NamedTuple):
    """Shares are percent of the window's covered time, of the device's; of the host's where no counter says how busy the device was."""

    kind: TimeKind
    share: float
    seconds: float
    least: float
    most: float
    saves_at_most: float
    lines: list[LineShare]  # the dearest first
    exposed_by: Charged | None  # the wait for the device that made it cost time
    confidence: Sureness


@dataclass(frozen=True)
class Ledger:
    """`rows`: busy first, then by share, `unexplained` last; they add up to 100."""

    device: LedgerDevice
    tier: Tier
    signal: Signal
    seconds: float  # of the window
    covered_share: float  # of them but those in the queue, with a counter and with stacks
    rows: list[KindRow]
    account: Account
    ranks: int = 1  # of the run
    rank: int = 0
    window: Range = (0.0, 0.0)
    traced: Traced | None = None  # steps of the window that were traced on demand: then the tier is C
    queued_s: float = (
        0.0  # in a queue of jobs: before the window, too, where it was asked for from then on; no part of the rows
    )

    @property
    def busy_share(self) -> float:
        """Percent of the window; 0 where nothing says how busy the device was."""
        return next((row.share for row in self.rows if row.kind == BUSY), 0.0)

    @property
    def busy_parts(self) -> list[BusyPart]:
        """What the busy time was spent on, if all of it was as in the traced steps; [] where none were traced on the GPU."""
        return busy_parts(self.traced.trace, self.busy_share) if self.traced and self.device == "GPU" else []

    @property
    def communication(self) -> tuple[float, float] | None:
        """Least and most percent of the window that probably is communication within the busy time; None where nothing says so."""
        account = self.account
        if account.covered_s <= 0 or account.sent_most_s <= 0:
            return None
        return 100 * account.sent_least_s / account.covered_s, 100 * account.sent_most_s / account.covered_s


def ledger_of(
    account: Account, seconds: float, signal: Signal, tier: Tier, device: LedgerDevice = "GPU", hz: float = 100.0
) -> Ledger:
    """Rows are empty where nothing is covered, and for a window that is too short."""
    if seconds < rules.LEAST_S.value:
        return Ledger(device, tier, signal, seconds, 0.0, [], account)
    covered_share = min(1.0, account.covered_s / seconds) if seconds > 0 else 0.0
    trusted = seconds >= rules.SOON_S.value and hz >= rules.LEAST_HZ.value and covered_share >= rules.COVERED.value
    moved = _with_syncs(account)
    total_s = max(account.covered_s, 1e-9)
    by_kind: dict[TimeKind, list[tuple[Charged, float]]] = {}
    for place, given_s in moved.given.items():
        by_kind.setdefault(place.kind, []).append((place, given_s))
    rows = [_row(kind, places, moved, total_s, trusted) for kind, places in by_kind.items()]
    rows.sort(key=lambda row: (row.kind == "unexplained", -row.seconds))
    busy = _busy(moved, total_s, trusted) if device != "host" else []
    return Ledger(
        device, tier, signal, seconds, covered_share, [*busy, *rows] if account.covered_s > 0 else [], account
    )


def _busy(account: Account, total_s: float, trusted: bool) -> list[KindRow]:
    share = 100 * account.busy_s / total_s
    lines = _lines(list(account.computed.items()), account, total_s)
    return [KindRow(BUSY, share, account.busy_s, share, share, 0.0, lines, None, "high" if trusted else "low")]


def _row(
    kind: TimeKind, places: list[tuple[Charged, float]], account: Account, total_s: float, trusted: bool
) -> KindRow:
    seconds = sum(given_s for _, given_s in places)
    bounds = account.bounds.get(kind, CostRange(seconds, seconds, seconds))
    least, share, most, saves = (
        100 * s / total_s for s in (min(bounds.least_s, seconds), seconds, max(bounds.most_s, seconds), bounds.saves_s)
    )
    if kind in OF_HOST and account.blocks and account.paced > rules.WORKERS.value * account.blocks:
        saves = min(saves, share)  # workers set the pace: less work here only lengthens the wait for them
    sureness: Sureness = "high" if most - least <= rules.SURE.value else "medium" if most - least <= share else "low"
    return KindRow(
        kind=kind,
        share=share,
        seconds=seconds,
        least=least,
        most=most,
        saves_at_most=0.0 if kind in ("unexplained", "idle") else max(saves, share),
        lines=_lines(places, account, total_s),
        exposed_by=_exposed_by(kind, account.exposed, seconds),
        confidence=sureness if trusted else "low",
    )


def _lines(places: list[tuple[Charged, float]], account: Account, total_s: float) -> list[LineShare]:
    dearest = sorted(places, key=lambda pair: -pair[1])[:MOST_LINES]
    return [
        LineShare(place, 100 * s / total_s, int(account.samples.get(place, 0))) for place, s in dearest if place.frame
    ]


def _exposed_by(kind: TimeKind, exposed: Mapping[tuple[Charged, Charged], float], seconds: float) -> Charged | None:
    """The wait for the device after which most of the row's time was lost, if that is more than half of it."""
    by_wait: dict[Charged, float] = {}
    for (place, wait), lost_s in exposed.items():
        if place.kind == kind:
            by_wait[wait] = by_wait.get(wait, 0.0) + lost_s
    return max(by_wait, key=lambda place: by_wait[place]) if sum(by_wait.values()) > seconds / 2 else None


def _with_syncs(account: Account) -> Account:
    """Launches after a wait for the device are late by as much as the host waited: it destroyed its lead. Those seconds are the wait's.

    What the wait made visible of other lines has used up as much of that lead.
    """
    waited_s = sum(account.waited.values())
    lead_s = max(0.0, waited_s - sum(account.exposed.values()))
    launch_s = sum(s for place, s in account.given.items() if place.kind == "launch")
    moved_s = min(launch_s, lead_s) if waited_s > rules.SYNC.value * account.covered_s else 0.0
    if moved_s <= 0:
        return account
    given = {place: s * (1 - moved_s / launch_s) if place.kind == "launch" else s for place, s in account.given.items()}
    for place, its_s in account.waited.items():
        given[place] = given.get(place, 0.0) + moved_s * its_s / waited_s
    launch = account.bounds.get("launch", CostRange())
    bounds = dict(account.bounds)
    bounds["launch"] = launch._replace(least_s=max(0.0, launch.least_s - waited_s))
    bounds["sync"] = CostRange(min(launch.least_s, waited_s), min(launch.most_s, waited_s), account.waited_saves_s)
    return account._replace(given={place: s for place, s in given.items() if s > 0}, bounds=bounds)
