"""Values recorded by several runs, and how configuration correlates with them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis import step_log
from analysis.history import SERVICE, History
from collectors.folders import LogTree
from collectors.store.store import Run, Store, check

from .columns import Metric, metrics_of
from .comparison import (
    SECTIONS,
    CommonStep,
    Difference,
    Pace,
    Section,
    at_common_step,
    by_name,
    canonical,
    change_of,
    differences,
    is_cpu_contended,
    load_of,
    of_section,
    pace_of,
    shown,
    steady_steps,
)
from .previous_run import (
    AttemptFinder,
    PreviousRunComparison,
    RunAttempts,
    earlier,
    explaining,
    place_of,
    said,
    script_of,
)
from .runs import ALIVE, RunView

MAX_LOOKED_AT = 50  # earlier runs whose command is compared
MAX_TRIED = 3  # of them, whose steps are read
LAST_S = (1800.0, 21_600.0)  # of a run: the part that its pace is read from, longer where that has too few steps
MAX_SERIES = 5000  # of all runs together, whose last values are read


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
class RunValues:
    """For figures: an item for each run."""

    runs: list[RunView]
    configs: list[dict[str, Any]]  # flat
    values: dict[str, list[float | None]]  # the last value of each series, where `said` says no other
    left_out: int  # series that were not read
    said: dict[str, str] = field(default_factory=dict)  # by series, which value it is


class RunComparer:
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

    def measured(self, names: Sequence[str]) -> RunValues:
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
            chosen = series[: max(0, MAX_SERIES - read)]
            read, left_out = read + len(chosen), left_out + len(series) - len(chosen)
            last = self._store.last([row.id for row in chosen])
            for row in chosen:
                column = values.setdefault(row.name, [None] * len(views))
                column[place] = last[row.id].value if row.id in last else None
        return RunValues(views, configs, values, left_out)

    def metrics(self, names: Sequence[str]) -> list[Metric]:
        """What these runs measure, under whatever names: losses first, of these the one that most of them have."""
        runs_of: dict[str, set[str]] = {}
        for run in dict.fromkeys(names):
            check()
            for series in self._store.series(run):
                runs_of.setdefault(series.name, set()).add(run)
        return metrics_of(runs_of)

    def common_step(self, names: Sequence[str], series: Collection[str]) -> CommonStep:
        """The values of these series at the last step that all these runs have reached."""
        return at_common_step(self._store, names, lambda name: name in series)

    def attempts(self, run: str) -> RunAttempts | None:
        """The other runs that are attempts of the same one; None where there are none."""
        return self.finder.find(self._runs()).get(run)

    def since_last(self, run: str) -> PreviousRunComparison:
        """Beside the last run of the same script on the same card that has enough steps. Raises what `stored_run` raises."""
        stored = self._stored_run(run)
        script = script_of(stored.info)
        if stored.info.get("kind") == SERVICE:
            return PreviousRunComparison(reason="how often a service is asked is not how fast it is")
        if not script:
            return PreviousRunComparison(reason="nothing says which script it runs")
        views = self._runs()
        view = next((found for found in views if found.stored.name == run), None)
        pace, tried, others = self._pace(stored), 0, ""
        for other in earlier(views, view)[:MAX_LOOKED_AT] if view else ():
            check()
            if other.state in ALIVE:
                continue  # it runs beside this one
            before = self._store.run(other.stored.name)
            if before is None or script_of(before.info) != script:
                continue
            tried += 1
            pace_before = self._pace(before)
            if pace_before is not None and (pace is None or pace_before.unit == pace.unit):
                return self._beside(stored, pace, before, pace_before, script)
            others = others or (pace_before.unit if pace_before is not None else "")
            if tried >= MAX_TRIED:
                break
        if pace is not None and others:
            return PreviousRunComparison(
                reason=f"earlier runs of this script count {others}s, this one {pace.unit}s: the two cannot be compared",
                now=pace,
            )
        return PreviousRunComparison(
            reason=f"no earlier run of this script on {place_of(stored.info)} has enough steps"
            if tried
            else f"it is the first run of this script on {place_of(stored.info)}"
        )

    def _beside(
        self, run: Run, pace: Pace | None, before: Run, pace_before: Pace, script: str
    ) -> PreviousRunComparison:
        differs = explaining(before.info, run.info, (before.name, run.name))
        if pace is None:
            return PreviousRunComparison(before.name, reason="too few steps yet", before=pace_before, differs=differs)
        change = change_of(pace, pace_before)
        if change.counts and is_cpu_contended(pace, pace_before):
            reason = "other programs kept the cores busy during the slower one of the two"
            return PreviousRunComparison(before.name, "", reason, pace, pace_before, change, differs)
        sentence = said(before.name, script, place_of(run.info), pace, pace_before, change, differs)
        return PreviousRunComparison(
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
            log = step_log.read(history, window, around_s=0.0)
            if (pace := pace_of(steady_steps(log, window))) is not None:
                return pace._replace(unit=log.unit_name, window=window, host=load_of(history, window))
            if run.first_time_s is not None and window[0] <= run.first_time_s:
                break
        return None

    def _views(self, names: Sequence[str]) -> list[RunView]:
        """In the order of the names, those that there are."""
        known = {view.stored.name: view for view in self._runs()}
        return [known[name] for name in names if name in known]


# How the numbers of a configuration go with a value of the runs: Spearman's rank correlation with its interval, and medians of groups.
#
# The interval: Fisher's z of the rank correlation r with the variance (1 + r^2 / 2) / (n - 3), after D. G. Bonett and T. A. Wright,
# "Sample size requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65 (2000), pages 23-28.
# `docs/design/runs-table.md#0201-intervals-of-rank-correlations` has its measured coverage.

NORMAL_975 = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations
MIN_RUNS = 10  # for an interval
MIN_PAIRS = 3  # for a correlation
CLOSE = 0.95  # beyond it fewer than 95 of 100 such intervals hold
MAX_GROUPS = 20

Floats = NDArray[np.float64]


class Correlation(NamedTuple):
    """Of one key with the value, over the `n` runs that have both as finite numbers. `lo` and `hi` are None where `note` says why."""

    key: str
    n: int
    rho: float
    lo: float | None
    hi: float | None
    note: str  # one sentence, or ""


class GroupMedian(NamedTuple):
    group: str  # the value of the key, as text
    n: int
    median: float


class GroupSpread(NamedTuple):
    """Of a key whose values are no numbers: how far apart the medians of its groups lie. It is no test."""

    key: str
    n: int
    spread: float
    groups: list[GroupMedian]  # by their median


class Effects(NamedTuple):
    correlations: list[Correlation]  # the strongest first
    spreads: list[GroupSpread]  # the widest first
    left_out: list[tuple[str, str]]  # key, and why
    by_chance: float  # of the intervals, so many would leave out zero although nothing depends on anything


def effects(configs: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> Effects:
    """`configs` are flat, one a run; `values` the chosen value of each, None where it has none."""
    correlations, spreads, left_out = [], [], []
    for key in dict.fromkeys(key for config in configs for key in config):
        pairs = [
            (config[key], float(value))
            for config, value in zip(configs, values, strict=True)
            if key in config and value is not None and math.isfinite(value)
        ]
        keys = [item for item, _ in pairs]
        if len({canonical(item) for item in keys}) < 2:
            continue  # it is the same in all runs that have the value
        if all(map(is_number, keys)):
            if len(pairs) < MIN_PAIRS:
                left_out.append((key, f"only {len(pairs)} runs have it and the value"))
            elif len({value for _, value in pairs}) < 2:
                left_out.append((key, "the value is the same in all runs that have it"))
            else:
                correlations.append(correlation(key, np.array(keys, float), np.array([value for _, value in pairs])))
        elif (found := spread(key, pairs)) is not None:
            spreads.append(found)
        else:
            left_out.append((key, "no two runs share a value of it"))
    correlations.sort(key=lambda row: -abs(row.rho))
    spreads.sort(key=lambda row: -row.spread)
    with_interval = sum(row.lo is not None for row in correlations)
    return Effects(correlations, spreads, left_out, 0.05 * with_interval)


def correlation(key: str, x: Floats, y: Floats) -> Correlation:
    """`x` and `y` are finite, and have one item a run. A value that is the same in all runs has no order: NaN."""
    n, rho = len(x), spearman(x, y)
    if math.isnan(rho):
        return Correlation(key, n, rho, None, None, "the value is the same in all these runs")
    if n < MIN_RUNS:
        return Correlation(key, n, rho, None, None, f"{n} runs are too few for an interval; it takes {MIN_RUNS}")
    lo, hi = interval(rho, n)
    return Correlation(key, n, rho, lo, hi, "so close to 1, the interval is too narrow" if abs(rho) > CLOSE else "")


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks, so that ties are right; NaN where one of the two does not vary."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / scale)) if scale > 0 else math.nan


def ranks(values: Floats) -> Floats:
    """`[5, 1, 5] -> [2.5, 1, 2.5]`: equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = last - (counts - 1) / 2
    return mean[place]


def interval(rho: float, n: int) -> tuple[float, float]:
    """95%. A perfect order has the interval of the order that two neighbours' exchange makes of it, up to 1: no sample shows that there is no other."""
    next_to_perfect = 1 - 12 / (n * (n * n - 1))
    within = max(-next_to_perfect, min(next_to_perfect, rho))
    z, half = math.atanh(within), NORMAL_975 * math.sqrt((1 + within**2 / 2) / (n - 3))
    lo, hi = math.tanh(z - half), math.tanh(z + half)
    return (-1.0 if rho < -next_to_perfect else lo), (1.0 if rho > next_to_perfect else hi)


def spread(key: str, pairs: Sequence[tuple[Any, float]]) -> GroupSpread | None:
    """None where no group has two runs, or where there are too many groups to say anything."""
    groups: dict[str | bytes, list[float]] = {}
    names: dict[str | bytes, str] = {}
    for item, value in pairs:
        form = canonical(item)
        groups.setdefault(form, []).append(value)
        names.setdefault(form, str(shown(item)))
    if len(groups) > MAX_GROUPS or all(len(found) < 2 for found in groups.values()):
        return None
    medians = sorted(
        (GroupMedian(names[form], len(found), float(np.median(found))) for form, found in groups.items()),
        key=lambda group: group.median,
    )
    return GroupSpread(key, len(pairs), medians[-1].median - medians[0].median, medians)


def is_number(value: Any) -> bool:
    """Finite, and none that stands for yes or no."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


# Columns of several runs for figures: the keys of their configurations and the last values of their series, by name.

CONFIG, SERIES = "config:", "series:"  # before a column's name
USUAL = (
    "val/loss",
    "eval/loss",
    "val_loss",
    "eval_loss",
    "train/loss",
    "loss",
    "train_loss",
)  # shown first, where runs have it


class RunColumn(NamedTuple):
    """An item for each run: a finite number or None. Of other values `words` are their texts, and the numbers their places among these."""

    name: str
    numbers: tuple[float | None, ...]
    words: tuple[str, ...] = ()
    said: str = ""  # which value of a series it is

    @property
    def title(self) -> str:
        """`val/loss (best)`"""
        return f"{title_of(self.name)} ({self.said})" if self.said else title_of(self.name)

    @property
    def known(self) -> int:
        return sum(value is not None for value in self.numbers)

    @property
    def varies(self) -> bool:
        return len({value for value in self.numbers if value is not None}) > 1


def options_of(measured: RunValues) -> list[str]:
    """Names of columns, series first; those that most runs have come first."""
    counts = {f"{SERIES}{name}": sum(value is not None for value in column) for name, column in measured.values.items()}
    series = sorted(counts, key=lambda name: (_usual(name), -counts[name]))
    keys = dict.fromkeys(f"{CONFIG}{key}" for config in measured.configs for key in config)
    return [*series, *(key for key in keys if column_of(measured, key).varies)]


def column_of(measured: RunValues, name: str) -> RunColumn:
    """One that no run has is empty."""
    if name.startswith(SERIES):
        series = name.removeprefix(SERIES)
        column = measured.values.get(series, [])
        numbers = tuple(value if value is not None and math.isfinite(value) else None for value in column)
        return RunColumn(name, numbers or (None,) * len(measured.runs), said=measured.said.get(series, "last"))
    key = name.removeprefix(CONFIG)
    return of_values(name, [config.get(key) for config in measured.configs])


def of_values(name: str, values: Sequence[Any]) -> RunColumn:
    """Numbers as they are; where a value is none, all are words."""
    given = [value for value in values if value is not None]
    if all(map(is_number, given)):
        return RunColumn(name, tuple(None if value is None else float(value) for value in values))
    texts = {canonical(value): str(shown(value)) for value in given}
    places = {form: place for place, form in enumerate(sorted(texts, key=lambda form: texts[form]))}
    numbers = tuple(None if value is None else float(places[canonical(value)]) for value in values)
    return RunColumn(name, numbers, tuple(texts[form] for form in places))


def title_of(name: str) -> str:
    """`config:lr -> lr`"""
    return name.removeprefix(CONFIG).removeprefix(SERIES)


def _usual(name: str) -> int:
    plain = title_of(name)
    return USUAL.index(plain) if plain in USUAL else len(USUAL)


# Which value of a series stands for a run in a figure: its best, its last, or that at the last step that all the runs have reached.

SeriesReading: TypeAlias = Literal["best", "last", "step"]
READINGS: dict[SeriesReading, str] = {"best": "best", "last": "last", "step": "at common step"}


def with_best(measured: RunValues, best: Mapping[str, Mapping[str, float]]) -> RunValues:
    """`best` has the value of each run by series. Series that it lacks stay at their last value: no direction is known of them."""
    found: dict[str, list[float | None]] = {
        name: [values.get(view.stored.name) for view in measured.runs] for name, values in best.items()
    }
    return replace(
        measured, values={**measured.values, **found}, said={**measured.said, **dict.fromkeys(found, "best")}
    )


def with_common_step(measured: RunValues, common: CommonStep) -> RunValues:
    """Series that are not in `common` stay at their last value. `common` is of the same runs, in their order."""
    if common.step is None:
        return measured
    found = {row.series: list(row.values) for row in common.values}
    said = f"at step {common.step:,}"
    return replace(measured, values={**measured.values, **found}, said={**measured.said, **dict.fromkeys(found, said)})
