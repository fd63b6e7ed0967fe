"""Columns of several runs for figures: the keys of their configurations and the last values of their series, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .correlation import is_number
from .differences import canonical, shown
from .recorded import Measured

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


def options_of(measured: Measured) -> list[str]:
    """Names of columns, series first; those that most runs have come first."""
    counts = {f"{SERIES}{name}": sum(value is not None for value in column) for name, column in measured.values.items()}
    series = sorted(counts, key=lambda name: (_usual(name), -counts[name]))
    keys = dict.fromkeys(f"{CONFIG}{key}" for config in measured.configs for key in config)
    return [*series, *(key for key in keys if column_of(measured, key).varies)]


def column_of(measured: Measured, name: str) -> RunColumn:
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
