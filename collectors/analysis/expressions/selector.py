"""Which series an expression is about: by name and by labels."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from ...records import Labels
from .errors import MOST_COMPARED, meant

MatchOperator: TypeAlias = Literal["=", "!=", "=~", "!~"]
NAME, RUN = "name", "run"  # keys of a selector that are no labels


class Matcher(NamedTuple):
    """`Matcher("gpu", "=~", "1*")`: a glob of * and ?, case-insensitive. A missing label is the empty text."""

    key: str
    operator: MatchOperator
    text: str

    def matches(self, value: str) -> bool:
        same = (
            value == self.text
            if self.operator in ("=", "!=")
            else _glob(self.text).fullmatch(value.lower()) is not None
        )
        return same == (self.operator in ("=", "=~"))


class SeriesSelector(NamedTuple):
    """`name` is "" where the matchers alone decide. `clock` asks for the steps of the runs instead of a series."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    clock: bool = False

    def matches(self, run: str, name: str, labels: Labels) -> bool:
        """`run` is "" for the machine's series."""
        if self.clock or (self.name and name != self.name):
            return False
        values = {**dict(labels), NAME: name, RUN: run} if self.matchers else {}
        return all(matcher.matches(values.get(matcher.key, "")) for matcher in self.matchers)

    def __str__(self) -> str:
        inside = ", ".join(f'{matcher.key}{matcher.operator}"{matcher.text}"' for matcher in self.matchers)
        return self.name + (f"{{{inside}}}" if inside else "")


STEPS = SeriesSelector("step", clock=True)


def absent(selector: SeriesSelector, known: Collection[str]) -> str:
    """A sentence on a selector that matches none of the series with these names."""
    if selector.clock:
        return "the points of these runs have no steps"
    if not selector.name or selector.name in known:
        return f"no series matches {selector}"
    return f"no series {selector.name}" + (_divided(selector.name, known) or meant(selector.name, known))


def _divided(name: str, known: Iterable[str]) -> str:
    """`train/loss/2` may be meant as a division, `eval-loss` is read as a difference."""
    names = set(list(known)[:MOST_COMPARED])
    parts = name.split("/")
    for place in range(len(parts) - 1, 0, -1):
        left, right = "/".join(parts[:place]), "/".join(parts[place:])
        if left in names and (right in names or right.replace(".", "").isdigit()):
            return f"; a division has spaces around it: {left} / {right}"
    odd = next((known_name for known_name in sorted(names) if known_name.startswith(f"{name}-")), "")
    return f'; is it "{odd}"? Names with odd characters stand in quotes' if odd else ""


@lru_cache(maxsize=1024)
def _glob(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text.lower().replace("[", "[[]")))
