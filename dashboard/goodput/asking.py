"""The goodput of a training: all of its attempts, in one run or in several, with what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collectors.analysis.goodput.account import Goodput, Recorded, Spent, extent_of, goodput
from collectors.analysis.goodput.kinds import GoodputKind
from collectors.analysis.goodput.spans import SPAN_KINDS, Named, NamedSpans, StepRows
from collectors.analysis.goodput.wording import missing_of, sentence_of
from collectors.analysis.stacks.traces import Range
from collectors.log_tree import LogTree
from collectors.store.protocol import Store
from collectors.store.question import TooMuch

from ..comparing.attempts import RunAttempts
from ..ledger.kept import Ledgers
from ..runs import ALIVE
from ..runs_table.facts import Facts
from ..user_files.settings import settings_of
from .reading import GoodputReader, RunRecord

MOST_RUNS = 50  # of one training, the newest
READING_S = 0.5  # on stacks that nothing has added up yet
NO_TIME = "Fewer than two moments of the run are known, so there is no wall time to share out: log lines with time_s, or use RunLog."


@dataclass(frozen=True)
class Price:
    per_gpu_hour: float  # 0 where unknown
    currency: str


def price_of(data_dir: Path) -> Price:
    """Of the settings."""
    values = settings_of(data_dir).values
    return Price(float(values["price_per_gpu_hour"]), str(values["currency"]))


@dataclass(frozen=True)
class RunGoodput:
    """`found` is None where nothing has a time; `sentence` then says so."""

    runs: tuple[str, ...]
    found: Goodput | None
    sentence: str
    missing: list[str]
    gpus: int | None
    price: Price


class Goodputs:
    """May be asked from many threads."""

    def __init__(
        self,
        store: Store,
        ledgers: Ledgers,
        logs: Path | LogTree,
        data_dir: Path,
        attempts: Callable[[str], RunAttempts | None] = lambda run: None,
    ) -> None:
        """`attempts` finds the other runs that are attempts of the same training; without it a run stands alone."""
        self._reader, self._ledgers, self._attempts = GoodputReader(store), ledgers, attempts
        self._logs, self._data_dir = logs, data_dir

    def goodput(self, run: str) -> RunGoodput:
        """Of the training that the run is an attempt of. A run that is not stored has none."""
        same = self._attempts(run)
        return self.of_runs(same.runs[-MOST_RUNS:] if same else (run,))

    def of_runs(self, names: Sequence[str]) -> RunGoodput:
        """Of runs that are attempts of one training, in order of their start."""
        views = [view for name in names if (view := self._reader.view(name, self._logs)) is not None]
        price = price_of(self._data_dir)
        if not views:
            return RunGoodput(tuple(names), None, NO_TIME, [], None, price)
        names, newest, now_s = tuple(view.stored.name for view in views), views[-1], time.time()
        records = [self._reader.record(view.stored.name, alive=view.state in ALIVE, now_s=now_s) for view in views]
        gpus = Facts(newest, self._reader.config(names[-1]), {}, now_s).gpus
        recorded = _together(records)
        spent = Spent(gpus, price.per_gpu_hour)
        window = extent_of(recorded.attempts)
        if gpus is not None and window is not None:
            ranks = newest.ranks.world_size or max(1, len(newest.ranks.seen))
            at_s, used_j = self._reader.energy(names[-1], window, ranks)
            spent = spent._replace(energy_at_s=at_s, energy_j=used_j)
        found = goodput(recorded, spent)
        if found is None:
            return RunGoodput(names, None, NO_TIME, [], gpus, price)
        if found.goodput is None and (split := self._by_stacks(names[-1], found)):
            found = goodput(recorded, spent, split) or found
        missing = missing_of(found, gpus=gpus is not None, priced=price.per_gpu_hour > 0)
        if not all(record.whole for record in records):
            missing.append("The run has too many lines to read each: neighbouring ones were read together.")
        return RunGoodput(names, found, sentence_of(found), missing, gpus, price)

    def line(self, run: str) -> str | None:
        """For a shell. None where nothing of the run has a time."""
        found = self.goodput(run)
        return f"Whole run: {found.sentence[:1].lower()}{found.sentence[1:]}" if found.found else None

    def _by_stacks(self, run: str, found: Goodput) -> dict[GoodputKind, float]:
        """Of a run that logs no steps: which shares of its time stacks show to be validation or checkpoints."""
        profiled = self._ledgers.profiled(run)
        running_s = sum(row.seconds for row in found.rows if row.kind == "running")
        if profiled is None or not running_s:
            return {}
        inside_s = sum(_overlap(profiled, (row.span.start_s, row.span.end_s)) for row in found.attempts)
        try:
            ledger = self._ledgers.ledger(run, profiled, reading_s=READING_S)
        except TooMuch:
            return {}
        part = min(1.0, inside_s / running_s)
        kinds: dict[str, GoodputKind] = {
            "checkpoint": "checkpoint",
            "validation": "validation",
            "compile": "initialisation",
        }
        logged = {row.kind for row in found.rows}
        return {
            kinds[row.kind]: row.share / 100 * part
            for row in ledger.rows
            if row.kind in kinds and kinds[row.kind] not in logged
        }


def _overlap(one: Range, other: Range) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _together(records: Sequence[RunRecord]) -> Recorded:
    rows = StepRows(*(np.concatenate(columns) for columns in zip(*(record.rows for record in records), strict=True)))
    named = {kind: _named([record.named[kind] for record in records]) for kind in SPAN_KINDS}
    first = {start_s: seconds for record in records for start_s, seconds in record.first_step_s.items()}
    return Recorded([span for record in records for span in record.attempts], rows, named, first)


def _named(parts: Sequence[Named]) -> Named:
    def joined(spans: Sequence[NamedSpans]) -> NamedSpans:
        return NamedSpans(*(np.concatenate(columns) for columns in zip(*spans, strict=True)))

    marks_s = np.concatenate([part.marks_s for part in parts])
    return Named(joined([part.phases for part in parts]), joined([part.events for part in parts]), marks_s)
