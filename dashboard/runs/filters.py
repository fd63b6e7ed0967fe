"""The filter language of the table: `model:vit lr<=1e-3 state:crashed -tag:old "two words"`."""

from __future__ import annotations

import argparse
import datetime
import difflib
import fnmatch
import math
import operator
import re
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from collectors import options

from .columns import (
    CHOSEN,
    DOINGS,
    FIXED,
    STATES,
    Cell,
    Kind,
    Row,
    TableColumn,
    TableSetting,
    column_of,
    number_of,
    text_of,
)

Operator: TypeAlias = Literal["", ":", "=", "!=", "<", "<=", ">", ">="]

MAX_TERMS = 64
OPERATORS: tuple[Operator, ...] = ("<=", ">=", "!=", "<", ">", "=", ":")  # longer ones first
QUOTE = '"'


class FilterError(ValueError):
    """One sentence: what is wrong, and at which character."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} (character {at + 1})")


class Term(NamedTuple):
    """`-lr<=1e-3` -> `Term(True, "lr", "<=", "1e-3", 0, 5)`; a word has no operator and no value.

    `at` is its first character, `value_at` that of the value; of a word both are the same.
    """

    negated: bool
    key: str
    operator: Operator
    value: str
    at: int
    value_at: int


def parse(text: str) -> list[Term]:
    """Raises FilterError. Costs its length."""
    terms: list[Term] = []
    at = _after_spaces(text, 0)
    while at < len(text):
        if len(terms) == MAX_TERMS:
            raise FilterError(f"more than {MAX_TERMS} terms", at)
        term, at = _term(text, at)
        terms.append(term)
        at = _after_spaces(text, at)
    return terms


def _term(text: str, start: int) -> tuple[Term, int]:
    negated = text[start] == "-" and start + 1 < len(text) and not text[start + 1].isspace()
    key, at = _atom(text, start + negated, stops=True)
    operator, after = _operator(text, at)
    if not operator:
        return Term(negated, key, "", "", start, start), at
    if not key:
        raise FilterError(f"no name before {operator!r}", start)
    value_at = after if operator == ":" else _after_spaces(text, after)
    if value_at >= len(text) or (operator == ":" and text[value_at].isspace()):
        raise FilterError(f"{_short(key)}{operator} needs a value", after - 1)
    value, at = _atom(text, value_at, stops=False)
    return Term(negated, key, operator, value, start, value_at), at


def _operator(text: str, at: int) -> tuple[Operator, int]:
    """The sign there and where it ends. Spaces may stand before all but `:`, which also ends words."""
    after = _after_spaces(text, at)
    for sign in OPERATORS:
        if text.startswith(sign, after) and (sign != ":" or after == at):
            return sign, after + len(sign)
    return "", at


def _atom(text: str, start: int, *, stops: bool) -> tuple[str, int]:
    """A quoted text, or what reaches to the next space; with `stops` to the next operator, too."""
    if text.startswith(QUOTE, start):
        return _quoted(text, start)
    at = start
    while at < len(text) and not text[at].isspace() and not (stops and _begins_operator(text, at)):
        at += 1
    return text[start:at], at


def _begins_operator(text: str, at: int) -> bool:
    return text[at] in "<>=:" or text.startswith("!=", at)


def _quoted(text: str, start: int) -> tuple[str, int]:
    found: list[str] = []
    at = start + 1
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            found.append(text[at + 1])
            at += 2
        elif text[at] == QUOTE:
            return "".join(found), at + 1
        else:
            found.append(text[at])
            at += 1
    raise FilterError("this quote is not closed", start)


def _after_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


# Which rows a filter keeps: each term is compiled once for all of them.

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
    """Raises FilterError."""
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
    except FilterError:
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
        raise FilterError(f"{_short_of(term.value)} is not a state; the states are {known}", term.value_at)
    if term.operator not in (":", "=", "!="):
        raise FilterError(f"state has no order; write state:{word}", term.at)
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
    raise FilterError(f"no run has anything called {_short_of(term.key)}{_meant(key, names)}", term.at)


def _chosen(key: str, setting: TableSetting, names: KnownNames) -> TableColumn | None:
    kind, _, name = key.partition(".")
    known = names.configured if kind == "config" else names.series if f"{kind}." in CHOSEN else ()
    return column_of(key, setting) if name in known else None


def _meant(key: str, names: KnownNames) -> str:
    near = (
        difflib.get_close_matches(key, [*FIXED, *ALIASES, *list(names.configured)[:2000]], 1) if len(key) <= 40 else []
    )
    return f"; did you mean {_short_of(near[0])}?" if near else ""


def _amount(term: Term, kind: Kind, zone: str) -> float:
    try:
        return float(term.value.replace(",", ""))
    except ValueError:
        pass
    try:
        if kind == "duration":
            return options.seconds(term.value)
        if kind == "bytes":
            return float(options.size_bytes(term.value))
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
    raise FilterError(f"{_short_of(term.value)} is {what.get(kind, 'no number')}", term.value_at)


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


def _short_of(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
