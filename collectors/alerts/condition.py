"""The condition of an own rule: a comparison of one series with a number, which costs least, or any expression."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..analysis.expressions.expression import Expression
from ..analysis.expressions.parsing import parsed

SIMPLE = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.:/]*[\w])\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*"
)
NAME = re.compile(r"\s*(?P<name>[A-Za-z_][\w.:/]*[\w])\s*")
CLOCK = "step"  # in an expression the steps of the run, and no series


class Comparison(NamedTuple):
    """A series and a number."""

    name: str
    operator: str
    number: float


class Condition(NamedTuple):
    """One of `simple`, `name` (the series alone) and `expression`."""

    simple: Comparison | None = None
    name: str = ""
    expression: Expression | None = None


def condition_of(kind: str, text: str) -> Condition:
    """Raises ValueError: one sentence."""
    if kind == "when" and (found := SIMPLE.fullmatch(text)) and found["name"] != CLOCK:
        return Condition(simple=Comparison(found["name"], found["operator"], float(found["number"])))
    if kind != "when" and (found := NAME.fullmatch(text)) and found["name"] != CLOCK:
        return Condition(name=found["name"])
    return Condition(expression=Expression(text, parsed(text)))
