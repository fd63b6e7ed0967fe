"""A rule: what it looks at, when it holds, its words, and where its threshold comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ...records import FindingWeight

if TYPE_CHECKING:
    from .subjects import MachineSubject, RunSubject

RuleTopic: TypeAlias = Literal["training", "time", "memory", "ranks", "life", "requests", "card", "machine"]


class CodePlace(NamedTuple):
    """A line of code."""

    function: str
    file: str
    line: int | None


class Held(NamedTuple):
    """What a rule found at one look; several of one rule differ in their `key`: a rank, a card, a series, a step."""

    sentence: str
    from_s: float  # Unix seconds
    to_s: float
    key: str = ""
    moment: bool = False  # it happened once; else it goes on for as long as looks find it
    rank: int | None = None
    step: int | None = None
    numbers: Mapping[str, float] = {}
    place: CodePlace | None = None
    more: Mapping[str, Any] = {}  # JSON, beside numbers and place
    weight: FindingWeight | None = None  # where it is not that of the rule


class RunRule(NamedTuple):
    """A row of the table of rules. `look` may read the store; it is called every `every_s` while the run is awake."""

    name: str
    topic: RuleTopic
    title: str  # a few words
    weight: FindingWeight  # an alert leaves the machine unless it is muted, a note if its owner asked for it
    needs_s: float  # the least time of data after which it can hold, with the time until it is looked at
    needs: str  # in words
    holds: str  # when it holds, in words
    source: str  # of its thresholds
    look: Callable[[RunSubject], Iterable[Held]]
    every_s: float = 2.0
    series: Callable[[str], bool] | None = None  # that it looks at beside losses, gradients, scales, memory and results


class MachineRule(NamedTuple):
    """As RunRule, of the machine."""

    name: str
    topic: RuleTopic
    title: str
    weight: FindingWeight
    needs_s: float
    needs: str
    holds: str
    source: str
    look: Callable[[MachineSubject], Iterable[Held]]
    every_s: float = 2.0


AnyRule: TypeAlias = RunRule | MachineRule
