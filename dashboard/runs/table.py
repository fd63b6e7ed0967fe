"""All runs as a table: columns on demand, filtered, sorted and grouped."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from collectors.store.store import Outcomes

from ..user_files.directions import Direction
from ..user_files.settings import SettingValue
from .columns import (
    STATES,
    Cell,
    Facts,
    Outcome,
    Row,
    TableColumn,
    TableSetting,
    by_run,
    column_of,
    number_of,
    roles_of,
    text_of,
    usual_columns,
)
from .filters import Filter, KnownNames, filter_of, wanted_series
from .runs import RunView

if TYPE_CHECKING:
    import pandas as pd


# Rows in order of a column: what is missing comes last either way, and equal ones keep the usual order.

NUMBER, NAN, TEXT = range(3)


class OrderKey(NamedTuple):
    """Numbers before NaN before text."""

    kind: int
    number: float = 0.0
    text: str = ""


def ordered(rows: Sequence[Row], column: TableColumn | None, *, descending: bool) -> list[Row]:
    """Without a column the newest first, by when they started.

    Values of several series do not mix: those of the first series come first in either order.
    """
    if column is None:
        return sorted(rows, key=lambda row: (-row.started_s, row.place))
    keyed = [(order_key(column, row.cell(column)), row) for row in sorted(rows, key=lambda row: row.place)]
    known = [(key, row) for key, row in keyed if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    known.sort(key=lambda pair: (pair[0].kind == NAN, pair[1].series_of(column)))
    return [*(row for _, row in known), *(row for key, row in keyed if key is None)]


def order_key(column: TableColumn, value: Cell) -> OrderKey | None:
    """None where nothing is known."""
    if value is None:
        return None
    if column.kind == "state":
        return OrderKey(NUMBER, STATES.index(str(value)))
    if isinstance(value, bool):
        return OrderKey(TEXT, text=str(value))
    if isinstance(value, int | float):
        return OrderKey(NUMBER, float(value)) if value == value else OrderKey(NAN)
    return OrderKey(TEXT, text=(", ".join(value) if isinstance(value, tuple) else value).casefold())


# Rows under group rows: those with the same value of a column, with their number, the best and the mean of each other column.

NO_VALUE = "(none)"


class GroupCell(NamedTuple):
    """Of the finite numbers of a group's rows; `best` is None where no direction is known."""

    mean: float | None
    best: float | None
    least: float | None
    most: float | None
    same: str  # what all rows have, of a column of text; "" where they differ
    of: str  # the series of the numbers, where rows may have different ones: only those of its first series count


class GroupRow(NamedTuple):
    value: str  # what its rows have in common
    rows: Sequence[Row]

    def comparable(self, column: TableColumn) -> list[Row]:
        """Those whose cells are of the same series: the first that any of them is judged by."""
        series = [row.series_of(column) for row in self.rows]
        first = min(series)
        return [row for row, place in zip(self.rows, series, strict=True) if place == first]

    def cell(self, column: TableColumn) -> GroupCell:
        rows = self.comparable(column)
        values = [row.cell(column) for row in rows]
        numbers = [number for value in values if (number := number_of(value)) is not None and math.isfinite(number)]
        texts = {text_of(value) for value in values}
        same = texts.pop() if len(texts) == 1 and not numbers else ""
        if not numbers:
            return GroupCell(None, None, None, None, same, "")
        least, most = min(numbers), max(numbers)
        best = {"down": least, "up": most}.get(rows[0].direction(column) or "")
        of = "" if column.judged_by is None else rows[0].judged_by
        return GroupCell(math.fsum(value / len(numbers) for value in numbers), best, least, most, same, of)


def grouped(rows: Sequence[Row], column: TableColumn, *, are_sorted: bool = False) -> list[GroupRow]:
    """Groups of numbers in the order of these, others as their first rows come; those without a value last.

    Rows that `are_sorted` as a user asked for keep their order: the group with the first row comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(text_of(row.cell(column)) or NO_VALUE, []).append(row)
    without = groups.pop(NO_VALUE, [])
    made = [GroupRow(value, found) for value, found in groups.items()]
    if not are_sorted:
        made.sort(key=lambda group: _numbers_first(order_key(column, group.rows[0].cell(column))))
    return [*made, *([GroupRow(NO_VALUE, without)] if without else [])]


def _numbers_first(key: OrderKey | None) -> tuple[int, float]:
    """Of words all the same: the sort leaves their order."""
    return (2, 0.0) if key is None else (key.kind, key.number)


def unfolded(groups: Sequence[GroupRow], opened: Collection[str]) -> Iterator[GroupRow | Row]:
    """Each group's row, and below it the rows of those that are open."""
    for group in groups:
        yield group
        if group.value in opened:
            yield from group.rows


# The table of all runs, kept from look to look: only runs that have changed are read again.

LOOK_S = 1.0  # a look is good for so long where the store has nothing new, since processes end
SHARE = 2.0  # a look that took so long is good for this many times as long, also where the store has something new
MAX_SURVEYED = 1000  # runs, the newest: whose values and settings say which columns are usual
FEW = 500  # changed runs: of more, all are read, in one go
CHIPS = {
    "running": ("running",),
    "finished": ("finished", "ended"),
    "stalled": ("stalled",),
    "crashed": ("failed", "killed"),
}


class RunsSource(NamedTuple):
    """What the table is made of; the methods of `Store`, and what users set."""

    cursor: Callable[[], int]
    views: Callable[[], list[RunView]]
    outcomes: Callable[[Collection[str] | None, Collection[str] | None], Outcomes]
    names: Callable[[Collection[str] | None], dict[str, int]]
    configs: Callable[[Collection[str] | None], dict[str, dict[str, object]]]
    directions: Callable[[], Mapping[str, Direction]]
    settings: Callable[[], Mapping[str, SettingValue]]


@dataclass(frozen=True)
class TableQuery:
    """`sort` and `group` are keys of columns, "" for none; `states` a chip, "" for all."""

    text: str = ""
    chip: str = ""
    sort: str = ""
    descending: bool = False
    archived: bool = False
    deleted: bool = False
    group: str = ""
    opened: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()  # none: the usual ones


@dataclass(frozen=True)
class TableResult:
    """`rows` are in order; `lines` are what is shown, with group rows; `counts` has a number a chip, and "all"."""

    rows: list[Row]
    lines: Sequence[Row | GroupRow]
    counts: dict[str, int]
    known: int  # runs in all
    notes: list[str]
    columns: dict[str, TableColumn] = field(default_factory=dict)


class RunsTable:
    """May be asked from many threads."""

    def __init__(self, source: RunsSource, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        self._configs: dict[str, dict[str, object]] = {}
        self._series: dict[str, int] = {}  # names of series, with their number
        self._configured: set[str] = set()  # keys of configurations
        self._read: set[str] = set()  # names of series that were read
        self._setting = TableSetting()
        self._price = 0.0
        self._looked_s, self._look_cost_s, self._cursor = -math.inf, 0.0, -1
        self._usual: tuple[str, ...] | None = None  # of the last look

    def stale(self) -> None:
        """The next question looks again, since a user has changed something."""
        self._looked_s = -math.inf

    def ask(self, question: TableQuery) -> TableResult:
        """Raises FilterError."""
        with self._lock:
            self._look()
            self._need(question)
            wanted = self.filter(question.text)
            shown = [row for row in self._rows.values() if _is_shown(row, question) and not _is_earlier(row, question)]
            kept = [row for row in shown if wanted.keeps(row)] if wanted.tests else shown
            counts = _counts(kept)
            if question.chip:
                kept = [row for row in kept if row.facts.view.state in CHIPS[question.chip]]
            rows = ordered(kept, self.column(question.sort), descending=question.descending)
            by = self.column(question.group)
            lines = (
                rows
                if by is None
                else list(unfolded(grouped(rows, by, are_sorted=bool(question.sort)), question.opened))
            )
            columns = {
                key: column for key in question.columns or self._usual_now() if (column := self.column(key)) is not None
            }
            return TableResult(rows, lines, counts, len(self._rows), wanted.notes, columns)

    def column(self, key: str) -> TableColumn | None:
        return column_of(key, self._setting) if key else None

    def filter(self, text: str) -> Filter:
        return filter_of(text, self._setting, KnownNames(self._configured, self._series))

    def names(self) -> KnownNames:
        """What columns by choice there may be."""
        with self._lock:
            self._look()
            return KnownNames(sorted(self._configured), sorted(self._series))

    def usual(self) -> tuple[str, ...]:
        """Keys of the columns that are shown unless a user chooses others."""
        with self._lock:
            self._look()
            return self._usual_now()

    def _usual_now(self) -> tuple[str, ...]:
        if self._usual is None:
            rows = [row for row in self._rows.values() if _is_shown(row, TableQuery())]
            self._usual = usual_columns(sorted(rows, key=lambda row: row.place)[:MAX_SURVEYED])
        return self._usual

    def best(self, runs: Sequence[str], series: Sequence[str]) -> dict[str, dict[str, float]]:
        """The best value of each of these runs, by series: of those whose direction is known."""
        keys = {name: f"best.{name}" for name in series}
        with self._lock:
            self._look()
            self._need(TableQuery(columns=tuple(keys.values())))
            columns = {name: column for name, key in keys.items() if (column := self.column(key)) and column.direction}
            rows = [self._rows[run] for run in runs if run in self._rows]
            return {
                name: {row.name: value for row in rows if isinstance(value := row.cell(column), float)}
                for name, column in columns.items()
            }

    def losses(self, runs: Sequence[str]) -> dict[str, str]:
        """The loss series of each of these runs that has one."""
        return {run: str(name) for run, name in self.cells("curve", runs).items()}

    def cells(self, key: str, runs: Sequence[str]) -> dict[str, Cell]:
        """What stands in a column for each of these runs that has something there."""
        with self._lock:
            self._look()
            column = self.column(key)
            rows = {run: self._rows[run] for run in runs if run in self._rows}
            return {run: cell for run, row in rows.items() if column and (cell := row.cell(column)) is not None}

    def _look(self) -> None:
        began_s, cursor = time.monotonic(), self._source.cursor()
        if began_s - self._looked_s < (LOOK_S if cursor == self._cursor else min(LOOK_S, SHARE * self._look_cost_s)):
            return
        self._cursor = cursor
        views = self._source.views()
        changed = {view.stored.name for view in views if self._is_changed(view)}
        gone = self._rows.keys() - {view.stored.name for view in views}
        for run in gone:
            self._outcomes.pop(run, None)
            self._configs.pop(run, None)
        if changed or gone:
            self._learn(changed)
        self._settle()
        now_s = self._clock()
        self._rows = {view.stored.name: self._row(view, place, now_s, changed) for place, view in enumerate(views)}
        self._usual = None
        self._looked_s = time.monotonic()
        self._look_cost_s = self._looked_s - began_s

    def _is_changed(self, view: RunView) -> bool:
        """Whether its files have something new."""
        row = self._rows.get(view.stored.name)
        return row is None or row.facts.view.stored is not view.stored

    def _learn(self, changed: set[str]) -> None:
        some = changed if len(changed) <= FEW else None
        names = self._source.names(some)
        self._series = (
            names
            if some is None
            else {**self._series, **{name: max(count, self._series.get(name, 0)) for name, count in names.items()}}
        )
        configs = self._source.configs(some)
        self._configs = configs if some is None else {**self._configs, **configs}
        self._configured = (
            {key for config in self._configs.values() for key in config}
            if some is None
            else self._configured.union(*configs.values())
        )
        roles = roles_of(self._series, self._setting.directions)
        self._read |= roles.names
        self._enter(some, self._read)

    def _enter(self, runs: Collection[str] | None, names: Collection[str]) -> None:
        for run, found in by_run(self._source.outcomes(runs, names)).items():
            self._outcomes[run] = {**self._outcomes.get(run, {}), **found}

    def _settle(self) -> None:
        """The roles and what users set; where they differ from before, all cells are made anew."""
        directions, settings = dict(self._source.directions()), self._source.settings()
        setting = TableSetting(roles_of(self._series, directions), directions, str(settings["time_zone"]))
        self._price = float(settings["price_per_gpu_hour"])
        if setting != self._setting:
            missing = setting.roles.names - self._read
            if missing:
                self._read |= missing
                self._enter(None, missing)
            self._setting = setting
            for row in self._rows.values():
                row.forget(setting)

    def _row(self, view: RunView, place: int, now_s: float, changed: set[str]) -> Row:
        row = self._rows.get(view.stored.name)
        if (
            row is not None
            and view.stored.name not in changed
            and not row.facts.lives
            and row.facts.view == view
            and row.facts.price == self._price
        ):
            row.place = place
            return row
        run = view.stored.name
        return Row(
            Facts(view, self._configs.get(run, {}), self._outcomes.get(run, {}), now_s, self._price),
            self._setting,
            place,
        )

    def _need(self, question: TableQuery) -> None:
        """Read the outcomes of further series that a question names."""
        keys = [*question.columns, question.sort, question.group]
        named = {key.partition(".")[2] for key in keys if key.startswith(("last.", "best.", "least.", "most."))}
        missing = (
            (named | wanted_series(question.text) | _plain_keys(question.text, self._series)) & self._series.keys()
        ) - self._read
        if missing:
            self._read |= missing
            self._enter(None, missing)
            for run, row in self._rows.items():
                self._rows[run] = Row(_with(row.facts, self._outcomes.get(run, {})), self._setting, row.place)


def _with(found: Facts, outcomes: Mapping[str, Outcome]) -> Facts:
    return Facts(found.view, found.config, outcomes, found.now_s, found.price)


def _plain_keys(text: str, series: Collection[str]) -> set[str]:
    """Series that a filter names without `last.` before them."""
    return {name for name in series if name in text} if text else set()


def _is_shown(row: Row, question: TableQuery) -> bool:
    view = row.facts.view
    return (question.archived or not view.about.archived) and (question.deleted or not view.deleted)


def _is_earlier(row: Row, question: TableQuery) -> bool:
    """Whether its newest attempt stands for it; in groups, and where a user looks for something, each run has its row."""
    attempts = row.facts.view.attempts
    return bool(attempts) and row.name != attempts[-1] and not question.text and not question.group


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    chip_of = {state: chip for chip, states in CHIPS.items() for state in states}
    counts = dict.fromkeys(["all", *CHIPS], 0)
    for row in rows:
        counts["all"] += 1
        if (chip := chip_of.get(row.facts.view.state)) is not None:  # none is for a run that was only interrupted
            counts[chip] += 1
    return counts


# The table as a pandas DataFrame, for statistics over runs.

NUMBERS = ("number", "count", "duration", "time", "bytes", "share")


def frame(rows: Sequence[Row], columns: Sequence[TableColumn]) -> pd.DataFrame:
    """A row a run, indexed by its name. Columns of numbers are float64 with NaN where nothing is known; others hold what the cells do.

    A column of the configuration is one of numbers where all that is known of it are numbers.
    """
    import pandas as pd  # a second: only who asks for a DataFrame waits for it

    index = pd.Index([row.name for row in rows], name="run", dtype=object)
    made = {column.key: _series([row.cell(column) for row in rows], column, index) for column in columns}
    return pd.DataFrame(made, index=index)


def _series(cells: list[Cell], column: TableColumn, index: pd.Index[str]) -> pd.Series[float] | pd.Series[str]:
    import pandas as pd

    known = [cell for cell in cells if cell is not None]
    numbers = bool(known) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known)
    if numbers or column.kind in NUMBERS:
        return pd.Series([float("nan") if cell is None else cell for cell in cells], index, dtype="float64")
    return pd.Series(cells, index, dtype=object)
