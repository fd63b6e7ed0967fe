"""What is recorded of several runs, for questions about all of them: every read of the store that comparing makes beside the common step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from collectors.analysis.baseline import steplog
from collectors.analysis.history import SERVICE, History
from collectors.log_tree import LogTree
from collectors.store.protocol import Run, Store
from collectors.store.question import check

from ..runs import RunView
from .attempts import AttemptFinder, RunAttempts
from .common_step import CommonStep, at_common_step, by_name
from .differences import SECTIONS, Difference, Section, differences, of_section
from .pace import Pace, change_of, load_of, pace_of, steady_steps, taken
from .since_last import SinceLast, earlier, explaining, place_of, said, script_of

MOST_LOOKED_AT = 50  # earlier runs whose command is compared
MOST_TRIED = 3  # of them, whose steps are read
LAST_S = (1800.0, 21_600.0)  # of a run: the part that its pace is read from, longer where that has too few steps
MOST_SERIES = 5000  # of all runs together, whose last values are read


@dataclass(frozen=True)
class SectionKeys:
    """How many keys of a section the runs have together, and how many of them differ."""

    section: Section
    differ: int
    known: int


@dataclass(frozen=True)
class Comparison:
    """Of each row the values are in the order of `runs`."""

    runs: list[RunView]
    rows: list[Difference]
    keys: list[SectionKeys]
    common: CommonStep


@dataclass(frozen=True)
class Measured:
    """For figures: an item for each run."""

    runs: list[RunView]
    configs: list[dict[str, Any]]  # flat
    values: dict[str, list[float | None]]  # the last value of each series, where `said` says no other
    left_out: int  # series that were not read
    said: dict[str, str] = field(default_factory=dict)  # by series, which value it is


class Comparing:
    """May be asked from many threads."""

    def __init__(
        self, store: Store, runs: Callable[[], list[RunView]], stored_run: Callable[[str], Run], tree: LogTree
    ) -> None:
        """`stored_run` raises where there is no such run."""
        self._store, self._runs, self._stored_run = store, runs, stored_run
        self.finder = AttemptFinder(tree)

    def compare(
        self, names: Sequence[str], *, everything: bool = False, wanted: Callable[[str], bool] = lambda name: True
    ) -> Comparison:
        """`wanted` names the series whose values are read. Raises what `stored_run` raises."""
        names = list(dict.fromkeys(names))
        infos = [self._stored_run(name).info for name in names]
        all_rows = differences(infos, everything=True)
        differ = Counter(row.section for row in all_rows if row.differs)
        known = Counter(row.section for row in all_rows)
        return Comparison(
            self._views(names),
            all_rows if everything else [row for row in all_rows if row.differs],
            [SectionKeys(section, differ[section], known[section]) for section in SECTIONS if known[section]],
            at_common_step(self._store, names, wanted),
        )

    def measured(self, names: Sequence[str]) -> Measured:
        """Their configurations and last values; runs that are gone meanwhile are left out."""
        views = self._views(list(dict.fromkeys(names)))
        configs: list[dict[str, Any]] = []
        values: dict[str, list[float | None]] = {}
        read = left_out = 0
        for place, view in enumerate(views):
            check()
            stored = self._store.run(view.stored.name)
            configs.append(of_section(stored.info if stored else {}, "config"))
            series = list(by_name(self._store.series(view.stored.name)).values())
            chosen = series[: max(0, MOST_SERIES - read)]
            read, left_out = read + len(chosen), left_out + len(series) - len(chosen)
            last = self._store.last([row.id for row in chosen])
            for row in chosen:
                column = values.setdefault(row.name, [None] * len(views))
                column[place] = last[row.id].value if row.id in last else None
        return Measured(views, configs, values, left_out)

    def common_step(self, names: Sequence[str], series: Collection[str]) -> CommonStep:
        """The values of these series at the last step that all these runs have reached."""
        return at_common_step(self._store, names, lambda name: name in series)

    def attempts(self, run: str) -> RunAttempts | None:
        """The other runs that are attempts of the same one; None where there are none."""
        return self.finder.find(self._runs()).get(run)

    def since_last(self, run: str) -> SinceLast:
        """Beside the last run of the same script on the same card that has enough steps. Raises what `stored_run` raises."""
        stored = self._stored_run(run)
        script = script_of(stored.info)
        if stored.info.get("kind") == SERVICE:
            return SinceLast(reason="how often a service is asked is not how fast it is")
        if not script:
            return SinceLast(reason="nothing says which script it runs")
        views = self._runs()
        view = next((found for found in views if found.stored.name == run), None)
        pace, tried, others = self._pace(stored), 0, ""
        for other in earlier(views, view)[:MOST_LOOKED_AT] if view else ():
            check()
            before = self._store.run(other.stored.name)
            if before is None or script_of(before.info) != script:
                continue
            tried += 1
            pace_before = self._pace(before)
            if pace_before is not None and (pace is None or pace_before.unit == pace.unit):
                return self._beside(stored, pace, before, pace_before, script)
            others = others or (pace_before.unit if pace_before is not None else "")
            if tried >= MOST_TRIED:
                break
        if pace is not None and others:
            return SinceLast(
                reason=f"earlier runs of this script count {others}s, this one {pace.unit}s: the two cannot be compared",
                now=pace,
            )
        return SinceLast(
            reason=f"no earlier run of this script on {place_of(stored.info)} has enough steps"
            if tried
            else f"it is the first run of this script on {place_of(stored.info)}"
        )

    def _beside(self, run: Run, pace: Pace | None, before: Run, pace_before: Pace, script: str) -> SinceLast:
        differs = explaining(before.info, run.info, (before.name, run.name))
        if pace is None:
            return SinceLast(before.name, reason="too few steps yet", before=pace_before, differs=differs)
        change = change_of(pace, pace_before)
        if change.counts and taken(pace, pace_before):
            reason = "other programs kept the cores busy during the slower one of the two"
            return SinceLast(before.name, "", reason, pace, pace_before, change, differs)
        sentence = said(before.name, script, place_of(run.info), pace, pace_before, change, differs)
        return SinceLast(
            before.name,
            sentence,
            "" if sentence else "as fast as before, as far as both vary",
            pace,
            pace_before,
            change,
            differs,
        )

    def _pace(self, run: Run) -> Pace | None:
        """Of its last part."""
        if run.last_time_s is None:
            return None
        history = History(self._store, run.name)
        for length_s in LAST_S:
            window = (run.last_time_s - length_s, run.last_time_s)
            log = steplog.read(history, window, around_s=0.0)
            if (pace := pace_of(steady_steps(log, window))) is not None:
                return pace._replace(unit=log.unit_name, window=window, host=load_of(history, window))
            if run.first_time_s is not None and window[0] <= run.first_time_s:
                break
        return None

    def _views(self, names: Sequence[str]) -> list[RunView]:
        """In the order of the names, those that there are."""
        known = {view.stored.name: view for view in self._runs()}
        return [known[name] for name in names if name in known]
