"""The condition of a user's rule: a comparison of one series with a number, which costs least, or any expression."""

from __future__ import annotations

import re
from typing import NamedTuple

from analysis.expressions.evaluation import Expression
from analysis.expressions.language import parsed

SIMPLE = re.compile(
    r"\s*(?P<name>[A-Za-z_](?:[\w.:/]*\w)?)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*"
)
NAME = re.compile(r"\s*(?P<name>[A-Za-z_](?:[\w.:/]*\w)?)\s*")
SERIES = re.compile(r"[^\s\"]{1,200}")
CLOCK = "step"  # in an expression the steps of the run, and no series


class SeriesComparison(NamedTuple):
    """A series and a number."""

    name: str
    operator: str
    number: float


class Condition(NamedTuple):
    """One of `simple`, `name` (the series alone) and `expression`."""

    simple: SeriesComparison | None = None
    name: str = ""
    expression: Expression | None = None


def condition_of(kind: str, text: str) -> Condition:
    """Raises ValueError: one sentence."""
    if kind == "when" and (found := SIMPLE.fullmatch(text)) and found["name"] != CLOCK:
        return Condition(simple=SeriesComparison(found["name"], found["operator"], float(found["number"])))
    if kind == "absent":
        if not SERIES.fullmatch(text.strip()):
            raise ValueError("the name of one series belongs here, such as train/loss")
        return Condition(name=text.strip())
    if kind == "anomaly" and (found := NAME.fullmatch(text)) and found["name"] != CLOCK:
        return Condition(name=found["name"])
    return Condition(expression=Expression(text, parsed(text)))


def series_of(kind: str, text: str) -> str:
    """The name of the series, where it is one alone; else ""."""
    if kind == "absent":
        return text.strip()
    found = SIMPLE.fullmatch(text) if kind == "when" else NAME.fullmatch(text)
    return found["name"] if found else ""
