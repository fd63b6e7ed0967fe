"""Own rules of alerts.yaml: what holds now becomes findings, by the same watch as those of the built-in rules.

A comparison of a series with a number looks at each new point, all rules of a series at once; an expression, and what is unlike
the last hour, is computed from the store, in turn and within a share of a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ...analysis.findings.rule import Held, RunRule
from ...analysis.findings.watch import Watch
from ...process.activity import spoken
from ...records import Finding, Points, Record
from ...store.protocol import Store
from ..model import OWN, AlertSettings, OwnRule, is_of
from .comparing import Comparisons, HoldingRules
from .computing import ComputedRules

SHARE = 0.02  # of a core, for expressions
MOST_TURN_S = 0.1
MOST_HOLDING = 5000  # findings of own rules
AWAKE_S = 3600.0  # a run without a point is let go after this
ENDED_S = (
    35.0  # without a point, before it is asked whether a run has ended: what was resolved before that is over by then
)
ASK_S = 5.0  # between two such questions


class OwnRules:
    """For one thread. `alive` are the runs of which a process is known."""

    def __init__(
        self, store: Store, known: Iterable[Finding] = (), has_ended: Callable[[str], bool] = lambda run: False
    ) -> None:
        mine = [row for row in known if row.rule.startswith(OWN)]
        self._has_ended = has_ended
        self._watch = Watch(mine)
        self._settings = AlertSettings()
        self._rules: dict[str, tuple[OwnRule, RunRule]] = {}
        self._comparisons = Comparisons(())
        self._computed = ComputedRules(store, ())
        self._awaiting: list[tuple[OwnRule, str]] = []  # with the name of the series
        self._awaited: set[str] = set()
        self._last_s: dict[str | None, dict[str, float]] = {}  # by run and awaited series, the time of its newest point
        self._sign_s: dict[str | None, float] = {}  # by run, the time of its newest point
        self._heard_s: dict[str | None, float] = {}  # by run, when its newest point came
        self._since_s: dict[str | None, float] = {
            row.run: row.to_s for row in mine if not row.over
        }  # since when a run is known
        self._asked_s = -ASK_S  # when it was last asked which runs have ended
        self._credit_s, self._then_s = 0.0, time.monotonic()

    def use(self, settings: AlertSettings) -> None:
        """Rules that are the same go on where they were."""
        if settings.rules == self._settings.rules:
            self._settings = settings
            return
        self._settings = settings
        self._rules = {rule.name: (rule, as_rule(rule)) for rule in settings.rules}
        self._comparisons = Comparisons(settings.rules, self._comparisons)
        self._computed.use(settings.rules)
        self._awaiting = [(rule, self._computed.name_of(rule.name)) for rule in settings.rules if rule.kind == "absent"]
        self._awaited = {name for _, name in self._awaiting}

    @property
    def wants_points(self) -> bool:
        """Whether there is any."""
        return bool(self._rules)

    def take(self, records: Iterable[Record], now_s: float) -> None:
        for record in records:
            if isinstance(record, Points):
                time_s = now_s if record.time_s is None else min(record.time_s, now_s)  # another clock may be ahead
                self._sign_s[record.run] = max(time_s, self._sign_s.get(record.run, time_s))
                self._heard_s[record.run] = now_s
                self._since_s.setdefault(record.run, now_s)
                for name, value in zip(record.names, record.values, strict=True):
                    if name in self._awaited:
                        self._last_s.setdefault(record.run, {})[name] = time_s
                    self._comparisons.take(record.run, name, record.labels, time_s, value)
                self._computed.fresh(record.run, record.names)

    def look(self, alive: Iterable[str], now_s: float) -> list[Finding]:
        """Findings that are new, changed or over."""
        if not self._rules and not self._watch.holding():
            return []
        living = set(alive)
        for name in living:
            self._since_s.setdefault(name, now_s)
        news = self._ends(living, now_s)
        kept: HoldingRules = {}
        for row in self._watch.holding():
            kept[row.run, row.rule.removeprefix(OWN)] = now_s if row.run is None else self._sign_s.get(row.run, now_s)
        held: dict[tuple[str | None, str], list[Held]] = {}
        facts = [
            *self._comparisons.look(now_s, kept),
            *self._absent(living, kept, now_s),
            *self._expressions(now_s, kept),
        ]
        for run, rule_name, fact in facts:
            held.setdefault((run, rule_name), []).append(fact)
        for run, name in kept.keys() | held.keys():
            if (run, name) not in held and name in self._rules and self._is_awaited(run):
                continue
            rule = self._rules[name][1] if name in self._rules else as_rule(OwnRule(name, "when", "", 0.0, 0))
            if (run, name) in kept or len(kept) < MOST_HOLDING:
                news += self._watch.look(rule, run, held.get((run, name), []), now_s)
        for run, since_s in list(self._since_s.items()):
            if run is not None and run not in living and now_s - max(since_s, self._sign_s.get(run, 0.0)) > AWAKE_S:
                self._let_go(run)
        return news

    def _ends(self, living: set[str], now_s: float) -> list[Finding]:
        """What still held when its run ended."""
        if 0 <= now_s - self._asked_s < ASK_S:
            return []
        self._asked_s = now_s
        news: list[Finding] = []
        for run in {row.run for row in self._watch.holding() if row.run is not None} - living:
            if now_s - self._heard_s.get(run, 0.0) > ENDED_S and self._has_ended(run):
                news += self._watch.end(run)
                self._let_go(run)
        return news

    def _is_awaited(self, run: str | None) -> bool:
        """Whether nothing was heard yet of a run in which something held when this began."""
        return run is not None and run in self._since_s and run not in self._heard_s

    def _let_go(self, run: str) -> None:
        for kept in (self._last_s, self._since_s, self._sign_s, self._heard_s):
            kept.pop(run, None)
        self._comparisons.let_go(run)
        self._computed.let_go(run)

    def troubles(self) -> dict[str, str]:
        """By rule, why it could not be computed when it was tried last."""
        return dict(self._computed.troubles)

    def _absent(self, living: set[str], kept: HoldingRules, now_s: float) -> Iterator[tuple[str | None, str, Held]]:
        """Of runs that are alive, or were when it began: a series has no new point for so long, or never had one."""
        for rule, name in self._awaiting:
            for run, known_s in self._since_s.items():
                if run is None or not is_of(rule.runs, run):
                    continue
                from_s = self._last_s.get(run, {}).get(name, known_s)
                is_alive = run in living or now_s - self._sign_s.get(run, 0.0) < rule.for_s
                if (is_alive or (run, rule.name) in kept) and now_s - from_s >= rule.for_s:
                    yield run, rule.name, Held(f"No point of {name} for {spoken(now_s - from_s)}.", from_s, now_s)

    def _expressions(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Held]]:
        passed_s, self._then_s = time.monotonic() - self._then_s, time.monotonic()
        self._credit_s = min(MOST_TURN_S, self._credit_s + SHARE * passed_s)
        began_s = time.thread_time()
        self._computed.work(lambda: time.thread_time() - began_s < self._credit_s, now_s)
        self._credit_s -= time.thread_time() - began_s
        return self._computed.held(now_s, kept)


def as_rule(rule: OwnRule) -> RunRule:
    """As the watch knows rules."""
    return RunRule(rule.rule, "training", rule.name, rule.weight, 0.0, "", rule.text, "alerts.yaml", lambda subject: ())
