"""Answers where a window's device time went: reads counters, stacks and step log, and applies the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.queue_events import PLACED

from ..history import History
from ..stacks.frames import are_own
from ..stacks.spans import Interval, TrustedSpans
from ..stacks.threads import laid_out, main_threads
from ..stacks.trust import LineOf, no_source, trusted_spans
from ..stacks.wait_joins import join
from . import device as cards
from . import evidence, host, idle
from .cores import NONE_WAITED, core_use, core_waits, without_gil
from .device import GpuSeries
from .evidence import JOINED, BlockingLines, LoggedKinds, StackState, charged, during, stands_of
from .idle import AROUND_S, LedgerInput
from .kinds import BLOCK, NUMBER, SMALL, TimeKind
from .shares import EMPTY, MAX_EVENTS, Account, Ledger, LedgerDevice, Tier, ledger_of, queued_during, seconds_in
from .spinning import spinning_of

MAY_BE_LOGGED = ("python", "wait", "launch", "sync")  # kinds of a stack that shows nothing surer
EVENTS_WIN = (*MAY_BE_LOGGED, "data", "log", "lock")


@dataclass(frozen=True)
class LedgerContext:
    """What stays the same for all stretches of a window."""

    rank: int
    ranks: int
    cards: GpuSeries
    own_folder: str
    queued: Sequence[
        Interval
    ] = ()  # of the window that was asked for, which may begin before anything is known of the run

    @property
    def device(self) -> LedgerDevice:
        if self.cards.busy is not None:
            return "GPU"
        return "host" if self.cards.any and self.cards.signal == "none" else "CPU"

    def ledger(self, account: Account, window: Interval, tier: Tier, hz: float) -> Ledger:
        whole_s, queued_s = window[1] - window[0], seconds_in(self.queued, window)
        found = ledger_of(account, whole_s - queued_s, self.cards.signal, tier, self.device, hz)
        in_all_s = sum(hi - lo for lo, hi in self.queued)
        return replace(found, seconds=whole_s, ranks=self.ranks, rank=self.rank, window=window, queued_s=in_all_s)


def subject_of(history: History, window: Interval, rank: int | None, asked: Interval | None = None) -> LedgerContext:
    """`asked`: the window as it was asked for, where that is longer."""
    ranks = {int(value) for series in history.series() if (value := dict(series.labels).get("rank", "0")).isdecimal()}
    chosen = rank if rank is not None else min(ranks, default=0)
    queued = queued_during(history.events(MAX_EVENTS, (PLACED,)), asked or window)
    return LedgerContext(chosen, max(1, len(ranks)), cards.cards_of(history, window, chosen), history.folder(), queued)


def ledger(history: History, window: Interval, rank: int | None = None, line_of: LineOf = no_source) -> Ledger:
    """Reads all stacks of the window at once: for a window of minutes."""
    subject = subject_of(history, window, rank)
    account, tier, hz = account_in(history, subject, window, line_of)
    return subject.ledger(account, window, tier, hz)


def account_in(
    history: History, subject: LedgerContext, window: Interval, line_of: LineOf
) -> tuple[Account, Tier, float]:
    """One stretch; accounts of neighbouring ones add up. With its tier, and the rate at which stacks were taken."""
    around = window[0] - AROUND_S, window[1] + AROUND_S
    columns = history.stacks(around)
    log = evidence.read(history, window, subject.rank, 1 / max(columns.hz, 1.0))
    tier: Tier = "B" if log.any else "A"
    everything = trusted_spans(columns, line_of)
    main = _main(everything, subject.rank, columns.covered, line_of)
    if subject.device != "GPU":
        main = main.within([window])
    if not len(main.start_s):
        return EMPTY, tier, columns.hz
    if not everything.serves:
        log = log.beside(main, line_of)
    stands, kinds, gil_s = _seen(subject, log, main, everything, line_of)
    below = None if everything.serves else _below(subject, window, everything, (main, stands), line_of)
    if below is not None:
        stands = [stand._replace(kind=below.kind_of(stand)) for stand in stands]
    if subject.device == "GPU":
        account = _of_gpu(
            history, subject, window, log, (main, stands, kinds, gil_s, columns.hz), _spins_for(subject, everything)
        )
    else:
        collecting = _collecting(log, main)
        account = host.account_of(
            host.HostSpans(
                main,
                stands,
                kinds,
                collecting,
                gil_s,
                subject.device == "CPU",
                log.weights(main, stands) if not everything.serves else np.ones(len(main.start_s)),
                core_waits(history, window, subject.rank) if not everything.serves else NONE_WAITED,
                log.period_s,
                subject.ranks,
                core_use(history, window, everything.within([window]), main),
                are_own(main.frames, subject.own_folder),
            )
        )
    return charged(account, below) if below is not None else account, tier, columns.hz


def _below(
    subject: LedgerContext,
    window: Interval,
    everything: TrustedSpans,
    known: tuple[TrustedSpans, list[StackState]],
    line_of: LineOf,
) -> BlockingLines | None:
    """What others did where the main thread waited for them; None where it hardly did."""
    main, stands = known
    for_others = np.array([stand.how == "waits" and stand.joined in JOINED for stand in stands], bool)
    if subject.device != "GPU" and subject.ranks > 1:
        for_others |= np.array([stand.opaque for stand in stands], bool)  # gradients are exchanged in the backward pass
    if float(main.seconds[for_others[main.stack]].sum()) < SMALL.value / 100 * float(main.seconds.sum()):
        return None
    return BlockingLines(main_threads(join(everything, line_of), subject.rank).within([window]), subject.own_folder)


def _main(everything: TrustedSpans, rank: int, recorded: Sequence[Interval], line_of: LineOf) -> TrustedSpans:
    """The rank's main thread; of a service all of its threads as one, which waits for requests while none of them is at work."""
    if not everything.serves:
        return main_threads(everything, rank)
    return laid_out(everything, recorded, rank, line_of)


def _seen(
    subject: LedgerContext, log: LoggedKinds, main: TrustedSpans, everything: TrustedSpans, line_of: LineOf
) -> tuple[list[StackState], Ints, Floats]:
    """What each stack is at, what the log says of each span, and for how long another thread held the GIL.

    A service's phases are the seconds of requests that go on side by side, and its threads, taken as one, wait for no lock of each other.
    What it decodes and collates is its work.
    """
    stands = stands_of(main, subject.own_folder, line_of)
    if not everything.serves:
        return stands, _logged(log, main, stands), without_gil(main, everything, also_holding=subject.device != "GPU")
    stands = [stand._replace(kind="python") if stand.kind == "data" else stand for stand in stands]
    return stands, log.by_events(main.start_s), np.zeros(len(main.start_s))


def _of_gpu(
    history: History,
    subject: LedgerContext,
    window: Interval,
    log: LoggedKinds,
    stacks: tuple[TrustedSpans, list[StackState], Ints, Floats, float],
    spins_for: TimeKind,
) -> Account:
    main, stands, kinds, gil_s, hz = stacks
    moments = evidence.moments_of(main, stands, kinds, gil_s, hz)
    around = window[0] - BLOCK.value, window[1] + BLOCK.value
    spun = _spun(history, subject, around)
    busy = cards.busy_of(history, subject.cards, around).without(spun)
    copying = cards.copying_of(history, subject.cards, around) if subject.ranks == 1 else None
    account = idle.account_of(LedgerInput(moments, busy, log.steps, log.collections, copying, spun, spins_for), *window)
    sent = cards.communication_of(history, subject.cards, busy, window) if subject.ranks > 1 else None
    if sent is None:
        return account
    least_s, most_s = (min(account.busy_s, share * account.covered_s / 100) for share in sent)
    return account._replace(sent_least_s=least_s, sent_most_s=most_s)


def _spins_for(subject: LedgerContext, everything: TrustedSpans) -> TimeKind:
    """What a card that only waits keeps its rank waiting for: the others, where there are any."""
    ranks = {rank for _, rank, _, role in everything.processes if role == "main"}
    return "collective" if subject.ranks > 1 or len(ranks) > 1 else "sync"


def _spun(history: History, subject: LedgerContext, window: Interval) -> list[Interval]:
    """When the card counted as busy and only waited."""
    if subject.cards.busy is None:
        return []
    return [(each.start_s, each.end_s) for each in spinning_of(history, subject.cards.busy, window, subject.rank)]


def _logged(log: LoggedKinds, main: TrustedSpans, stands: list[StackState]) -> Ints:
    """Events count before phases, and both only where the stack does not show what it is at itself.

    A step log says how long a phase took, and not when it began: a stack belongs to the phase in which most of its time lies.
    """
    phase, event = log.by_phases(main), log.by_events(main.start_s)
    open_to_phase = np.array([stand.kind in MAY_BE_LOGGED for stand in stands], bool)[main.stack]
    open_to_event = np.array([stand.kind in EVENTS_WIN for stand in stands], bool)[main.stack]
    computes = np.array([stand.how == "computes" for stand in stands], bool)[main.stack]
    phase = np.where(open_to_phase & ~(computes & (phase != NUMBER["validation"])), phase, -1)
    return np.where(open_to_event & (event >= 0), event, phase)


def _collecting(log: LoggedKinds, main: TrustedSpans) -> Bools:
    return during(main.start_s, log.collections) if log.collections is not None else np.zeros(len(main.start_s), bool)
