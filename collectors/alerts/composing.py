"""From findings to a message: its words, with what the store knows of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from ..analysis.findings.names import is_training_loss
from ..analysis.findings.rules import BY_NAME
from ..analysis.findings.watch import WITH_RUN
from ..process.activity import spoken
from ..records import Finding
from ..store.protocol import Series, Store, StoreError
from .message import AlertMessage, MessagePhase, id_of
from .model import OWN, AlertSettings
from .wording import MOST_RUN, MOST_SENTENCES, clean, sparkline

BUCKETS = 32  # of a sparkline
MOST_RUNS = 50
MOST_LINKED = 5  # runs of an address
LOST = ("lost_s", "silent_s")  # seconds that a finding says were lost


class Composer:
    """Reads the store a few times a message, and nothing between two messages."""

    def __init__(self, store: Store, gpus_of: Callable[[str], int] = lambda run: 0) -> None:
        """`gpus_of` is how many GPUs a run has."""
        self._store, self._gpus_of = store, gpus_of

    def message(
        self,
        receiver: str,
        phase: MessagePhase,
        found: Sequence[Finding],
        settings: AlertSettings,
        now_s: float,
        series: str = "",
    ) -> AlertMessage:
        """Of findings of one rule; `series` is that of an own rule."""
        first = min(found, key=lambda row: (row.from_s, row.id))
        runs = list(dict.fromkeys(clean(row.run, MOST_RUN) for row in found if row.run is not None))
        real = list(dict.fromkeys(row.run for row in found if row.run is not None))
        alone = len(real) <= 1
        name, blocks = self._sparkline(real[0], series) if alone and real else ("", "")
        ranks = sorted({row.rank for row in found if row.rank is not None})
        return AlertMessage(
            id=id_of(phase, receiver, [row.id for row in found]),
            receiver=receiver,
            phase=phase,
            rule=clean(first.rule, MOST_RUN),
            title=title_of(first.rule),
            severity="alert" if any(row.weight == "alert" for row in found) else "note",
            sentences=tuple(_sentence(row, phase, now_s, alone=alone) for row in _distinct(found)[:MOST_SENTENCES]),
            runs=tuple(runs[:MOST_RUNS]),
            findings=tuple(row.id for row in found),
            created_s=now_s,
            time_s=first.from_s,
            count=len(_distinct(found)),
            lasting=tuple(row.id for row in found if not row.over) if phase == "begin" else (),
            ranks=tuple(ranks) if alone else (),
            step=first.step if alone else None,
            line=_line(first) if alone else "",
            gpu_hours=self._gpu_hours(found, now_s),
            sparkline=blocks,
            sparkline_of=name,
            link=_link(settings.link, real),
            unresolved=phase == "end" and all(row.fields.get(WITH_RUN) for row in found),
        )

    def _sparkline(self, run: str, wanted: str) -> tuple[str, str]:
        """The name of the rule's series, else of the run's loss, and its course in blocks."""
        try:
            rows = self._store.series(run)
            chosen = next((row for row in rows if row.name == wanted), None) or _loss(rows)
            if chosen is None:
                return "", ""
            buckets = self._store.range(
                [chosen.id], None, None, "time" if chosen.first_time_s is not None else "step", BUCKETS
            )
        except StoreError:
            return "", ""
        return clean(chosen.name, MOST_RUN), sparkline(buckets[chosen.id].mean.tolist())

    def _gpu_hours(self, found: Sequence[Finding], now_s: float) -> float | None:
        lost_s = 0.0
        for row in found:
            if row.run is not None:
                lost_s += _lost_s(row) * self._gpus_of(row.run)
        return round(lost_s / 3600.0, 3) if lost_s > 0 else None


def title_of(rule: str) -> str:
    return clean(BY_NAME[rule].title if rule in BY_NAME else rule.removeprefix(OWN), MOST_RUN)


def test_message(receiver: str, settings: AlertSettings, now_s: float, id_: str) -> AlertMessage:
    text = "This is a test: messages of the dashboard reach you here."
    return AlertMessage(
        id_, receiver, "test", "test", "Test", "note", (text,), (), (), now_s, now_s, link=settings.link
    )


def _distinct(found: Sequence[Finding]) -> list[Finding]:
    """One a run and sentence: several ranks of a run often have the same."""
    return list({(row.run, row.sentence): row for row in reversed(found)}.values())[::-1]


def _sentence(row: Finding, phase: MessagePhase, now_s: float, *, alone: bool) -> str:
    head = "" if alone or row.run is None else f"{clean(row.run, MOST_RUN)}: "
    over = ""
    if phase == "end" or (row.over and row.to_s > row.from_s):
        lasted = spoken(max(0.0, row.to_s - row.from_s))
        over = (
            f"Unresolved when the run ended, after {lasted}: " if row.fields.get(WITH_RUN) else f"Over after {lasted}: "
        )
    return clean(f"{head}{over}{row.sentence}")


def _line(row: Finding) -> str:
    place: Any = row.fields.get("place")
    if not isinstance(place, dict) or not place.get("file"):
        return ""
    line = f":{place['line']}" if place.get("line") else ""
    return clean(f"{place['file']}{line} in {place.get('function', '')}", MOST_RUN)


def _lost_s(row: Finding) -> float:
    numbers: Any = row.fields.get("numbers")
    known = {**(numbers if isinstance(numbers, dict) else {}), **row.fields}
    lost = next((known[name] for name in LOST if isinstance(known.get(name), int | float)), 0.0)
    return max(0.0, float(lost))


def _loss(rows: Sequence[Series]) -> Series | None:
    losses = [row for row in rows if is_training_loss(row.name)]
    return max(losses, key=lambda row: (dict(row.labels).get("rank", "0") == "0", row.points), default=None)


def _link(base: str, runs: Sequence[str]) -> str:
    if not base:
        return ""
    if not runs:
        return f"{base}/gpus"
    if len(runs) > MOST_LINKED:
        return f"{base}/runs"
    query = "&".join(f"runs={quote(run, safe='', errors='replace')}" for run in runs)
    return clean(f"{base}/training?{query}", 2000)
