"""From what rules find at each look to findings that begin, go on and end."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from collectors.message import text_of
from collectors.records import Finding

from .rule import AnyRule, Detection

REST_S = 30.0  # a rule that does not hold for so long is over
UPDATE_S = 15.0  # between two writes of a finding that goes on
MAX_MOMENTS = 20_000  # that are remembered, of all runs
MAX_NEW = 20  # findings of one rule and run within
FLOOD_S = 600.0
MAX_SENTENCE = 600  # characters
WITH_RUN = "ended_with_run"  # a field of findings that held until their run ended: they were not resolved


class FindingTracker:
    """All findings that hold, and the moments that were said. A finding of a store is known again by its id."""

    def __init__(self, known: Iterable[Finding] = ()) -> None:
        self._holding: dict[tuple[str, str, str], Finding] = {}  # by run, rule and key
        self._written_s: dict[str, float] = {}
        self._said: OrderedDict[str, float] = OrderedDict()  # ids of moments, and when they were
        self._begun: dict[tuple[str, str], list[float]] = {}
        for found in known:
            if found.over:
                self._said[found.id] = found.from_s
            else:
                self._holding[found.run or "", found.rule, str(found.fields.get("key", ""))] = found

    def holding(self) -> list[Finding]:
        return list(self._holding.values())

    def holds(self, run: str, rule: str) -> bool:
        return any(found.run == run and found.rule == rule for found in self._holding.values())

    def look(
        self, rule: AnyRule, run: str | None, held: Iterable[Detection], now_s: float, *, run_is_over: bool = False
    ) -> list[Finding]:
        """The findings that are new, changed or over since the last look."""
        news: list[Finding] = []
        seen: set[str] = set()
        for fact in held:
            if fact.moment:
                news += self._moment(rule, run, fact, now_s)
            else:
                seen.add(fact.key)
                news += self._goes_on(rule, run, fact, now_s)
        for (name, ruled, key), found in list(self._holding.items()):
            if name == (run or "") and ruled == rule.name and key not in seen and now_s - found.to_s > REST_S:
                news.append(self._end(name, ruled, key, with_run=run_is_over))
        return news

    def end(self, run: str, *, with_run: bool = True) -> list[Finding]:
        """Ends all that holds in a run: unresolved if the run ended with it, else because no rule looks at it any more."""
        self._begun = {key: times for key, times in self._begun.items() if key[0] != run}
        return [self._end(*key, with_run=with_run) for key in list(self._holding) if key[0] == run]

    def forget(self, run: str) -> None:
        for key in [key for key in self._holding if key[0] == run]:
            self._written_s.pop(self._holding.pop(key).id, None)

    def _moment(self, rule: AnyRule, run: str | None, held: Detection, now_s: float) -> list[Finding]:
        found = finding(rule, run, held, id_of(rule.name, run, held.key), over=True)
        if found.id in self._said or self._floods(rule.name, run, now_s):
            return []
        self._said[found.id] = held.from_s
        while len(self._said) > MAX_MOMENTS:
            self._said.popitem(last=False)
        return [found]

    def _goes_on(self, rule: AnyRule, run: str | None, held: Detection, now_s: float) -> list[Finding]:
        key = run or "", rule.name, held.key
        before = self._holding.get(key)
        if before is None:
            if self._floods(rule.name, run, now_s):
                return []
            found = finding(rule, run, held, id_of(rule.name, run, f"{held.key}@{held.from_s:.3f}"), over=False)
        else:
            found = finding(rule, run, held, before.id, over=False)
            found = found._replace(from_s=min(before.from_s, held.from_s), to_s=max(before.to_s, held.to_s))
        self._holding[key] = found
        if (
            before is not None
            and now_s - self._written_s.get(found.id, 0.0) < UPDATE_S
            and found.weight == before.weight
        ):
            return []
        self._written_s[found.id] = now_s
        return [found]

    def _end(self, run: str, rule: str, key: str, *, with_run: bool) -> Finding:
        found = self._holding.pop((run, rule, key))
        self._written_s.pop(found.id, None)
        return found._replace(over=True, fields={**found.fields, WITH_RUN: True} if with_run else found.fields)

    def _floods(self, rule: str, run: str | None, now_s: float) -> bool:
        """Of a rule that holds again and again, the first ones are enough."""
        begun = [then_s for then_s in self._begun.get((run or "", rule), []) if now_s - then_s < FLOOD_S]
        self._begun[run or "", rule] = begun
        if len(begun) >= MAX_NEW:
            return True
        begun.append(now_s)
        return False


def finding(rule: AnyRule, run: str | None, held: Detection, id_: str, *, over: bool) -> Finding:
    fields: dict[str, Any] = {"key": held.key, **_some(held)}
    weight = held.weight or rule.weight
    text = text_of(held.message)
    message = held.message if len(text) <= MAX_SENTENCE else f"{text[:MAX_SENTENCE]} ..."
    return Finding(id_, run, rule.name, weight, held.from_s, held.to_s, over, message, held.rank, held.step, fields)


def _some(held: Detection) -> Mapping[str, Any]:
    parts = {"numbers": dict(held.numbers), "place": held.place._asdict() if held.place else None, **held.more}
    return {name: part for name, part in parts.items() if part}


def id_of(rule: str, run: str | None, key: str) -> str:
    """The same for the same cause, whenever and wherever it is computed."""
    text = "\0".join([rule, run or "", key])
    return f"{rule}-{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
