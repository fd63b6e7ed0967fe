"""The collector of findings: evaluates every rule on each active run and on the machine, every few seconds."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from collectors.machine.finder import Finder, runs_by_pid
from collectors.machine.inventory import Inventory
from collectors.machine.run_state import (
    MAY_GO_ON_S,
    OVER,
    OWN_LIFETIMES,
    SILENT,
    RunActivity,
    RunProcess,
    RunState,
    state_of,
)
from collectors.records import Event, Finding, LogLine, Offset, Points, Record
from collectors.store.store import Store, TooMuch

from ..history import History
from ..ledger.ledger import ledger
from ..ledger.shares import Ledger
from ..stacks.trust import LineOf
from .dumps import DumpReader
from .ledger import SPENT_ON
from .life import MISSED_S, Activity, doing_of
from .rule import AnyRule, MachineSubject, RecentPoints, RunSubject
from .rules import BY_NAME, MACHINE_RULES, RUN_RULES
from .watch import FindingTracker
from .working_set import MAX_EVENTS, STALE_S, KnownRun, KnownSubjects, PastRunScanner

# How often rules look where all of them together would take more than their share of a core; whose steps have slowed is looked at first.

PACE_PERIOD_S = 20.0  # between two settings
MAX_SLOWDOWN = 16.0  # times less often than meant
TRIFLE_S = 0.0005  # of a look that had nothing to read yet, such as the ledger's at a run that has only just begun
LATE_S, BEFORE_S, MIN_STEPS = 8.0, 24.0, 10  # seconds of steps that are compared, and how many are enough
MAX_OF_ALERTS = 2.0  # rules whose findings leave the machine look at least so often: they cost little
HALF_S = 1.0  # a turn is rarely on time
SLOWED = 0.9  # of the steps that were made before


class RuleSchedule:
    """`share` of a core is for all rules of all runs. Times are CLOCK_MONOTONIC and CPU seconds."""

    def __init__(self, share: float, mono_s: float) -> None:
        self._share, self._since_s, self._cost_s = share, mono_s, 0.0
        self.slack = 1.0  # by how many times less often than meant rules look
        self._due_s: dict[tuple[str, str], float] = {}  # by run and rule
        self._meant_s: dict[
            tuple[str, str], float
        ] = {}  # of rules that read the ledger: when they were due without slack

    def is_due(self, key: tuple[str, str], mono_s: float) -> bool:
        return self._due_s.get(key, 0.0) <= mono_s

    def may_be_early(self, key: tuple[str, str], mono_s: float) -> bool:
        """Whether it is late by the slack alone: a run whose steps have slowed is looked at as often as is meant."""
        return self._meant_s.get(key, np.inf) <= mono_s

    def looked(self, key: tuple[str, str], rule: AnyRule, mono_s: float, ledger_s: float) -> None:
        """A look at one run, or at the machine, is over; `ledger_s` of it went to the ledger."""
        reads_ledger = rule.name in SPENT_ON
        slack = min(self.slack, MAX_OF_ALERTS) if rule.weight == "alert" else self.slack
        if reads_ledger and ledger_s < TRIFLE_S:
            slack = 1.0
        self._due_s[key] = mono_s + rule.every_s * slack - HALF_S
        if reads_ledger:
            self._meant_s[key] = mono_s + rule.every_s - HALF_S

    def put_off(self, key: tuple[str, str], every_s: float, mono_s: float) -> None:
        """A look that is no rule's is over."""
        self._due_s[key] = mono_s + every_s * self.slack - HALF_S

    def passed(self, took_s: float, mono_s: float) -> None:
        """All looks of one turn took so long, with what belongs to them."""
        self._cost_s += took_s
        passed_s = mono_s - self._since_s
        if passed_s > PACE_PERIOD_S:
            self.slack = min(MAX_SLOWDOWN, max(1.0, self.slack * self._cost_s / passed_s / self._share))
            self._cost_s, self._since_s = 0.0, mono_s

    def let_go(self, run: str) -> None:
        for kept in (self._due_s, self._meant_s):
            for key in [key for key in kept if key[0] == run]:
                del kept[key]


def has_slowed(steps: RecentPoints | None, now_s: float) -> bool:
    """Whether clearly fewer steps came in the last seconds than in those before; what takes time of a training shows in that first."""
    if steps is None:
        return False
    time_s = steps.time_s
    late = int(np.count_nonzero(time_s >= now_s - LATE_S))
    before = int(np.count_nonzero((time_s >= now_s - LATE_S - BEFORE_S) & (time_s < now_s - LATE_S)))
    return before >= MIN_STEPS and late * BEFORE_S < SLOWED * before * LATE_S


PERIOD_S = 2.0
SHARE = 0.008  # of a core, for all rules; where they take more, they look less often
MUCH = 3.0  # times less often than meant: it is said
MAX_WAITING = 50_000  # records between two looks: the newest
AWAKE_S = (
    MAY_GO_ON_S  # a run without a sign and without a process is let go after this, unless it usually writes more rarely
)
TAKE_OVER_S = (
    10.0  # until then the files of runs are read that an earlier collector looked at; and between two looks at those
)
ENDED_S = 30.0  # a run that has ended is looked at for so long
AWAITED_S = 10.0  # without a record, until what a run's files hold beyond the stored offsets is no longer awaited: a line without an end
DOING_S = 4.0  # between two looks at what a run is at
KNOWN_S = 7 * 86400.0  # findings that are read at the start
MAX_KNOWN = 20_000
LAST_WORDS = tuple(BY_NAME[name] for name in ("script_alert", "crash", "finished"))

log = logging.getLogger("collectors")


class CollectorHealth(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def last_error(self) -> str: ...


class FindingsCollector:
    """`take` may be called by any thread, everything else by one."""

    name = "findings"

    def __init__(
        self,
        store: Store,
        live_runs: Callable[[Collection[str]], Iterable[RunActivity]],
        finder: Finder,
        *,
        host: str,
        line_of: Callable[[str], LineOf],
        inventory: Callable[[], Inventory] = Inventory,
        health: Callable[[], Iterable[CollectorHealth]] = tuple,
        last_lines: Callable[[str], Sequence[str]] = lambda run: (),
        is_behind: Callable[[str, Mapping[str, int]], bool] = lambda run, reached: False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        share: float = SHARE,
    ) -> None:
        """`is_behind` is asked whether the files of a run hold more than is stored of them: bytes by the keys of their offsets."""
        self._store, self._live_runs, self._finder, self._host, self._line_of = store, live_runs, finder, host, line_of
        self._inventory, self._health, self._last_lines, self._is_behind = inventory, health, last_lines, is_behind
        self._clock, self._monotonic = clock, monotonic
        self._waiting: deque[Record] = deque(maxlen=MAX_WAITING)
        self._back = PastRunScanner(store)
        self._known = KnownSubjects(self._back.came)
        known = [*store.findings(lo=clock() - KNOWN_S, most=MAX_KNOWN), *store.findings(holding=True, most=MAX_KNOWN)]
        self._dumps = DumpReader()
        self._watch = FindingTracker(found for found in known if found.rule in BY_NAME)
        self._begun_s = clock()
        self._has_looked_back = False
        self._failed: dict[str, str] = {}  # rules that failed, and how
        self._trouble: dict[str, tuple[float, str]] = {}
        self._doings: dict[str, Activity] = {}  # by run, of those that do not make steps; replaced as a whole
        self._paces = RuleSchedule(share, self._monotonic())
        self.cost_by_rule: dict[str, float] = {}

    def take(self, records: Sequence[Record]) -> None:
        """What the store has just taken. Of lines and of points of the past only that they came is kept: a log may be of any length."""
        past_s = self._clock() - STALE_S
        lines: dict[str, float] = {}
        past: set[str] = set()
        for record in records:
            if isinstance(record, Points):
                if record.run is not None and (record.time_s is None or record.time_s <= past_s):
                    past.add(record.run)
                else:
                    self._waiting.append(record)
            elif isinstance(record, LogLine):
                lines[record.run] = max(record.time_s, lines.get(record.run, 0.0))
            elif isinstance(record, Event):
                self._waiting.append(record)
            elif isinstance(record, Offset):  # behind the records of its file, as they are stored
                self._waiting.append(record._replace(state={}))
        self._waiting.extend(LogLine(run, "", time_s, 0, "") for run, time_s in lines.items())
        self._waiting.extend(Points(run, (), (), (), past_s, None) for run in past)

    @property
    def period_s(self) -> float:
        return PERIOD_S

    def collect(self) -> list[Record]:
        began_s = time.thread_time()
        now_s = self._clock()
        self._known.take(self._drained(), now_s)
        for run in self._finder.found():
            if run not in self._known.runs:
                self._known.runs[run] = KnownRun(now_s)
        asleep = {found.run for found in self._watch.holding() if found.run} - self._known.runs.keys()
        activities = {activity.run: activity for activity in self._live_runs([*self._known.runs, *asleep])}
        machine = self._machine(now_s)
        news: list[Finding] = self._looked(MACHINE_RULES, None, machine, now_s)
        if now_s - self._begun_s > TAKE_OVER_S:
            for run in asleep:
                news += self._end_of_asleep(run, activities.get(run), now_s)
            news += self._look_back(machine, now_s)
        for run, known in list(self._known.runs.items()):
            news += self._judge(run, known, activities.get(run), machine, now_s)
        self._doings = {run: doing for run, doing in self._doings.items() if run in self._known.runs}
        self._paces.passed(time.thread_time() - began_s, self._monotonic())
        return [*news, *self._back.work(now_s)]

    @property
    def slack(self) -> float:
        """By how many times less often than meant rules look; 1 unless they would take more than their share of a core."""
        return self._paces.slack

    def trouble(self) -> str:
        failed = next((f"the rule {rule} failed: {why}" for rule, why in self._failed.items()), "")
        late = (
            f"rules look every {PERIOD_S * self._paces.slack:.0f} s: so many runs write at the same time"
            if self._paces.slack > MUCH
            else ""
        )
        return failed or late

    def refused(self, refused: Sequence[object]) -> None:
        """A finding that the store does not take is left out."""

    def close(self) -> None:
        self._dumps.close()

    def _drained(self) -> list[Record]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _processes(self, run: str) -> list[RunProcess]:
        return self._finder.found().get(run, [])

    def _machine(self, now_s: float) -> MachineSubject:
        owners = runs_by_pid(self._finder.found())
        now_failing = {
            row.name: row.last_error for row in self._health() if row.state not in ("ok",) and row.name != self.name
        }
        self._trouble = {name: (self._trouble.get(name, (now_s, ""))[0], why) for name, why in now_failing.items()}
        return MachineSubject(now_s, self._known.machine, self._inventory().gpus, owners, self._trouble)

    def _judge(
        self, run: str, known: KnownRun, activity: RunActivity | None, machine: MachineSubject, now_s: float
    ) -> list[Finding]:
        if known.ended and now_s - known.sign_s <= AWAKE_S:
            return []
        processes = self._processes(run)
        history = History(self._store, run)
        self._known.warm(run, history, now_s)
        if activity is not None:
            activity = activity.with_lives(known.lives)._replace(beside_s=self._beside_s(run, processes))
        state = state_of(activity, now_s, host=self._host) if activity is not None else None
        over = self._is_over(run, state)
        if known.ended or (not processes and now_s - known.sign_s > AWAKE_S and over is not False):
            self._known.let_go(run)
            self._paces.let_go(run)
            return self._watch.end(run, with_run=known.ended or over is True)
        subject = self._subject(run, known, history, machine, now_s, activity, state, processes)
        news = self._looked(RUN_RULES, run, subject, now_s)
        self._look_at_doing(run, subject)
        if over and state != SILENT and now_s - known.sign_s > ENDED_S:  # one that is only silent may go on
            known.ended = True
            news += self._watch.end(run)
        return news

    def _beside_s(self, run: str, processes: Collection[RunProcess]) -> float | None:
        """The newest line of the other runs of its processes."""
        mine = {process.pid for process in processes}
        others = {
            name for name, some in self._finder.found().items() if name != run and any(one.pid in mine for one in some)
        }
        lines_s = (activity.last_line_s for activity in self._live_runs(others)) if others else ()
        return max((line_s for line_s in lines_s if line_s is not None), default=None)

    def _is_over(self, run: str, state: RunState | None) -> bool | None:
        """Whether it ended and will not come back; None where its files are not known."""
        if self._watch.holds(run, "queue_stuck"):
            return False
        return None if state is None else state.state in OVER and state.state != "preempted"

    def _end_of_asleep(self, run: str, activity: RunActivity | None, now_s: float) -> list[Finding]:
        """Ends what holds in a run of which nothing came since the start, unless it goes on; at once where something says that it is over."""
        mono_s = self._monotonic()
        if not self._paces.is_due((run, "asleep"), mono_s):
            return []
        self._paces.put_off((run, "asleep"), TAKE_OVER_S, mono_s)
        state = None
        if activity is not None:
            lives = self._store.events(run, kinds=OWN_LIFETIMES, most=MAX_EVENTS)
            state = state_of(activity.with_lives(lives), now_s, host=self._host)
        over = self._is_over(run, state)
        if over and state != SILENT:
            self._back.take_over(run, [found for found in self._watch.holding() if found.run == run])
            self._watch.forget(run)
            self._paces.let_go(run)
        elif over is not False and now_s - self._begun_s > AWAKE_S:
            return self._watch.end(run, with_run=over is True)
        return []

    def _look_back(self, machine: MachineSubject, now_s: float) -> list[Finding]:
        """Looks once at runs that ended shortly before the start: an earlier collector may have been stopped between storing an end and
        judging it."""
        if self._has_looked_back:
            return []
        self._has_looked_back = True
        since_s = self._begun_s - MISSED_S
        recent = {run.name for run in self._store.runs() if run.last_time_s is not None and run.last_time_s > since_s}
        news: list[Finding] = []
        for activity in self._live_runs(recent - self._known.runs.keys()):
            run = activity.run
            lives = self._store.events(run, kinds=OWN_LIFETIMES, most=MAX_EVENTS)
            state = state_of(activity.with_lives(lives), now_s, host=self._host)
            if not self._is_over(run, state) or state == SILENT:
                continue
            known, history = KnownRun(now_s), History(self._store, run)
            self._known.runs[run] = known
            self._known.warm(run, history, now_s)
            subject = self._subject(run, known, history, machine, now_s, activity, state, ())
            news += self._looked(LAST_WORDS, run, subject, now_s)
            self._known.let_go(run)
            self._paces.let_go(run)
        return news

    def _subject(
        self,
        run: str,
        known: KnownRun,
        history: History,
        machine: MachineSubject,
        now_s: float,
        activity: RunActivity | None,
        state: RunState | None,
        processes: Sequence[RunProcess],
    ) -> RunSubject:
        found: dict[tuple[int, float], Ledger | None] = {}

        def ledger_of(rank: int, seconds: float) -> Ledger | None:
            if (rank, seconds) not in found:
                found[rank, seconds] = self._ledger(history, rank, seconds)
            return found[rank, seconds]

        return RunSubject(
            run,
            now_s,
            history,
            machine,
            known.tracks,
            known.events,
            activity,
            state,
            processes,
            known.since_s,
            ledger_of,
            lambda: self._last_lines(run),
            lambda since_s: self._dumps.flight(processes, since_s),
            lambda since_s, until_s: self._dumps.snapshot(_folders_of(activity), since_s, until_s),
            self._line_of(run),
            known.memory,
            is_behind=lambda: now_s - known.sign_s < AWAITED_S and self._is_behind(run, known.reached),
        )

    def _look_at_doing(self, run: str, subject: RunSubject) -> None:
        mono_s = self._monotonic()
        if not self._paces.is_due((run, "doing"), mono_s):
            return
        self._paces.put_off((run, "doing"), DOING_S, mono_s)
        holding = {found.rule for found in self._watch.holding() if found.run == run}
        doing = doing_of(subject, holding)
        kept = {name: known for name, known in self._doings.items() if name != run}
        self._doings = kept if doing is None else {**kept, run: doing}

    def _ledger(self, history: History, rank: int, seconds: float) -> Ledger | None:
        until_s = history.profiled_until()
        if until_s is None or self._clock() - until_s > seconds:
            return None
        try:
            return ledger(history, (until_s - seconds, until_s), rank, self._line_of(history.run))
        except TooMuch:
            return None

    def _looked(
        self, rules: Sequence[AnyRule], run: str | None, subject: RunSubject | MachineSubject, now_s: float
    ) -> list[Finding]:
        news: list[Finding] = []
        mono_s = self._monotonic()
        slowed: bool | None = None
        ledger_s = 0.0  # one is made for all rules that read it, by the first
        for rule in rules:
            key = run or "", rule.name
            if not self._paces.is_due(key, mono_s):
                if not self._paces.may_be_early(key, mono_s):
                    continue
                slowed = self._has_slowed(subject) if slowed is None else slowed
                if not slowed:
                    continue
            began_s = time.thread_time()
            self._mark_fresh(rule, run, subject)
            try:
                with np.errstate(all="ignore"):  # numbers that are no numbers compare as false
                    held = list(rule.look(subject))  # type: ignore[arg-type]
                self._failed.pop(rule.name, None)
            except Exception as error:  # a rule that fails costs itself, for this run
                if rule.name not in self._failed:
                    log.exception("the rule %s failed", rule.name)
                self._failed[rule.name] = f"{type(error).__name__}: {error}"
                held = []
            state = subject.state if isinstance(subject, RunSubject) else None
            is_over = state is not None and state.state in OVER and state != SILENT
            news += self._watch.look(rule, run, held, now_s, run_is_over=is_over)
            took_s = time.thread_time() - began_s
            self.cost_by_rule[rule.name] = self.cost_by_rule.get(rule.name, 0.0) + took_s
            ledger_s = max(ledger_s, took_s) if rule.name in SPENT_ON else ledger_s
            self._paces.looked(key, rule, mono_s, ledger_s)
        return news

    def _mark_fresh(self, rule: AnyRule, run: str | None, subject: RunSubject | MachineSubject) -> None:
        """Each rule has its own last look at the run's points: they are not due at the same times."""
        if run is None or rule.topic != "training" or not isinstance(subject, RunSubject):
            return
        seen = self._known.runs[run].seen.setdefault(rule.name, {})
        for key, track in subject.tracks.items():
            track.look_since(seen.get(key))
            seen[key] = track.ever

    @staticmethod
    def _has_slowed(subject: RunSubject | MachineSubject) -> bool:
        return isinstance(subject, RunSubject) and has_slowed(
            subject.steps(min(subject.ranks(), default=0)), subject.now_s
        )

    def doings(self) -> dict[str, Activity]:
        """What living runs are at that make no steps. May be called by any thread."""
        return self._doings

    def costs(self) -> Mapping[str, float]:
        """CPU seconds by rule, since the start."""
        return dict(self.cost_by_rule)


def _folders_of(activity: RunActivity | None) -> list[Path]:
    """Where a script leaves what is no log: the run's folder, and that in which it was started."""
    if activity is None or activity.is_received:
        return []
    started = [activity.info.get("cwd"), *(event.fields.get("cwd") for event in activity.seen)]
    return [
        activity.folder.parent if activity.single_file else activity.folder,
        *(Path(folder) for folder in started if folder and isinstance(folder, str)),
    ]
