"""Which rows a filter keeps: each term is compiled once for all of them."""

from __future__ import annotations

import argparse
import datetime
import difflib
import fnmatch
import math
import operator
import re
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from collectors import amounts

from .columns import CHOSEN, DOINGS, FIXED, STATES, Cell, Kind, TableColumn, TableSetting, column_of
from .filter_language import FilterMistake, Term, parse
from .row import Row, number_of, text_of

Test: TypeAlias = Callable[[Row], bool]

ALIASES = {"run": "name", "tag": "tags", "step": "steps", "time": "duration", "git": "commit", "state_reason": "reason"}
STATE_WORDS = {
    "crashed": ("failed", "killed"),
    "dead": ("failed", "killed"),
    "error": ("failed",),
    "alive": ("running", "stalled"),
    "active": ("running", "stalled"),
    "done": ("finished", "ended"),
    "waiting": ("queued",),
    "completed": ("finished",),
    "over": ("ended", "finished", "failed", "killed", "requeued", "preempted"),
    "interrupted": ("requeued", "preempted"),
}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CLOSE = 1e-9  # two numbers are equal if they differ by no more, relatively


class Filter(NamedTuple):
    """`notes` say how a word was understood, where that may surprise."""

    tests: list[Test]
    notes: list[str]

    def keeps(self, row: Row) -> bool:
        return all(test(row) for test in self.tests)


class KnownNames(NamedTuple):
    """What a key may name beside the columns."""

    configured: Collection[str]  # keys of any run's configuration
    series: Collection[str]


def filter_of(text: str, setting: TableSetting, names: KnownNames) -> Filter:
    """Raises FilterMistake."""
    found = Filter([], [])
    for term in parse(text):
        test = (
            _word(term)
            if not term.operator
            else _state(term, found.notes)
            if _key(term) == "state"
            else _compared(term, setting, names)
        )
        found.tests.append(_negated(test) if term.negated else test)
    return found


def wanted_series(text: str) -> set[str]:
    """The names of series that a filter asks for; none where it is mistaken."""
    try:
        keys = [term.key for term in parse(text) if term.operator]
    except FilterMistake:
        return set()
    return {key.partition(".")[2] for key in keys if key.startswith(CHOSEN) and not key.startswith("config.")}


def _negated(test: Test) -> Test:
    return lambda row: not test(row)


def _key(term: Term) -> str:
    key = term.key.lower()
    return ALIASES.get(key, key)


def _words(row: Row) -> tuple[str, ...]:
    """Its state, and what it is at."""
    view = row.facts.view
    return (view.state,) if view.doing is None else (view.state, view.doing.word)


def _word(term: Term) -> Test:
    word = term.key.casefold()
    if "*" in word or "?" in word:
        pattern = re.compile(fnmatch.translate(word))
        return lambda row: any(map(pattern.match, row.text.split("\n")))
    return lambda row: word in row.text


def _state(term: Term, notes: list[str]) -> Test:
    word = term.value.lower()
    if word in STATE_WORDS:
        wanted = frozenset(STATE_WORDS[word])
        notes.append(f"{word} means {' or '.join(STATE_WORDS[word])}")
    else:
        wanted = frozenset(state for state in (*STATES, *DOINGS) if _glob(word)(state))
    if not wanted:
        known = ", ".join([*STATES, *DOINGS, *STATE_WORDS])
        raise FilterMistake(f"{_short(term.value)} is no state; these are: {known}", term.value_at)
    if term.operator not in (":", "=", "!="):
        raise FilterMistake(f"state has no order; write state:{word}", term.at)
    return lambda row: (not wanted.isdisjoint(_words(row))) != (term.operator == "!=")


def _compared(term: Term, setting: TableSetting, names: KnownNames) -> Test:
    cell, kind = _cell(term, setting, names)
    if term.operator in COMPARE:
        limit, holds = _amount(term, kind, setting.zone), COMPARE[term.operator]
        return lambda row: (found := number_of(cell(row))) is not None and holds(found, limit)
    fits = _contains(term.value) if term.operator == ":" else _equals(term.value)
    if term.operator == "!=":
        return lambda row: not fits(cell(row))
    return lambda row: fits(cell(row))


def _cell(term: Term, setting: TableSetting, names: KnownNames) -> tuple[Callable[[Row], Cell], Kind]:
    """What a key stands for: a column, a key of the configuration or its last part, or the last value of a series."""
    key = _key(term)
    column = FIXED.get(key) or (_chosen(term.key, setting, names))
    if column is not None:
        return lambda row: row.cell(column), column.kind
    ends = {name for name in names.configured if name.lower() == key or name.lower().endswith(f".{key}")}
    if ends:
        columns = [
            column_of(f"config.{name}", setting) for name in sorted(ends, key=lambda name: (name.count("."), name))
        ]
        known = [column for column in columns if column is not None]
        return lambda row: next((value for column in known if (value := row.cell(column)) is not None), None), "text"
    if term.key in names.series and (column := column_of(f"last.{term.key}", setting)):
        return lambda row: row.cell(column), column.kind
    raise FilterMistake(f"no run has anything called {_short(term.key)}{_meant(key, names)}", term.at)


def _chosen(key: str, setting: TableSetting, names: KnownNames) -> TableColumn | None:
    kind, _, name = key.partition(".")
    known = names.configured if kind == "config" else names.series if f"{kind}." in CHOSEN else ()
    return column_of(key, setting) if name in known else None


def _meant(key: str, names: KnownNames) -> str:
    near = (
        difflib.get_close_matches(key, [*FIXED, *ALIASES, *list(names.configured)[:2000]], 1) if len(key) <= 40 else []
    )
    return f"; did you mean {_short(near[0])}?" if near else ""


def _amount(term: Term, kind: Kind, zone: str) -> float:
    try:
        return float(term.value.replace(",", ""))
    except ValueError:
        pass
    try:
        if kind == "duration":
            return amounts.seconds(term.value)
        if kind == "bytes":
            return float(amounts.size_bytes(term.value))
        if kind == "time":
            moment = datetime.datetime.fromisoformat(term.value)
            return (moment if moment.tzinfo or not zone else moment.replace(tzinfo=ZoneInfo(zone))).timestamp()
    except (argparse.ArgumentTypeError, ValueError, OverflowError, OSError):
        pass
    what = {
        "duration": "no duration such as 90min",
        "bytes": "no size such as 20GB",
        "time": "no date such as 2026-11-24",
    }
    raise FilterMistake(f"{_short(term.value)} is {what.get(kind, 'no number')}", term.value_at)


def _contains(value: str) -> Callable[[Cell], bool]:
    equal, fits = _equals(value), _glob(value)
    as_number = _as_number(value) is not None

    def test(cell: Cell) -> bool:
        if cell is None:
            return False
        if as_number and number_of(cell) is not None:
            return equal(cell)
        return any(map(fits, cell)) if isinstance(cell, tuple) else fits(text_of(cell))

    return test


def _equals(value: str) -> Callable[[Cell], bool]:
    word, number = value.casefold(), _as_number(value)

    def test(cell: Cell) -> bool:
        if isinstance(cell, tuple):
            return any(word == part.casefold() for part in cell)
        found = number_of(cell)
        if number is not None and found is not None:
            return (
                found == number or math.isclose(found, number, rel_tol=CLOSE) or (number != number and found != found)
            )
        return text_of(cell).casefold() == word

    return test


def _glob(value: str) -> Callable[[str], bool]:
    """Whether a text holds the value, or matches it as a whole where it is a glob."""
    word = value.casefold()
    if "*" in word or "?" in word:
        pattern = re.compile(fnmatch.translate(word))
        return lambda text: pattern.match(text.casefold()) is not None
    return lambda text: word in text.casefold()


def _as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
