"""What `<data>/alerts.yaml` says: receivers, rules, quiet hours, limits."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from ..records import FindingWeight

ReceiverKind: TypeAlias = Literal["webhook", "email", "ntfy", "desktop", "apprise"]
OwnRuleKind: TypeAlias = Literal["when", "absent", "anomaly"]
OWN = "rule:"  # begins the rule of a finding that an own rule made
GROUP_S, RATE, RATE_PER_S = 60.0, 30, 3600.0


@dataclass(frozen=True)
class Receiver:
    """`values` are those of its kind; `env:NAME` and `file:PATH` among them stand for secrets."""

    name: str
    kind: ReceiverKind
    line: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class OwnRule:
    """Holds where its expression does for `for_s` seconds; of `absent` where a series gets no point for so long."""

    name: str
    kind: OwnRuleKind
    text: str  # the expression
    for_s: float
    line: int
    runs: str = "*"
    to: tuple[str, ...] | None = None  # None: all receivers
    weight: FindingWeight = "alert"
    times: float = 8.0  # of an anomaly: how many spreads from the median

    @property
    def rule(self) -> str:
        """The rule of its findings."""
        return OWN + self.name


@dataclass(frozen=True)
class FindingPolicy:
    """Which findings of runs alert, and whom; the first that is about a finding counts."""

    rules: tuple[str, ...]
    alerts: bool
    line: int
    runs: str = "*"
    to: tuple[str, ...] | None = None


class QuietHours(NamedTuple):
    """From a minute of the day until another, in a time zone; `but` are rules that come through."""

    from_min: int
    to_min: int
    zone: ZoneInfo
    but: tuple[str, ...] = ()


class AlertTrouble(NamedTuple):
    """What is wrong with a line, as a sentence; `name` is that of the entry of `part` which is left out, where it has one."""

    line: int
    what: str
    part: str = ""  # "rules", "receivers"
    name: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


@dataclass(frozen=True)
class AlertSettings:
    """`literals` are secrets that stand in the file where they must not."""

    receivers: tuple[Receiver, ...] = ()
    rules: tuple[OwnRule, ...] = ()
    policies: tuple[FindingPolicy, ...] = ()
    quiet: QuietHours | None = None
    rate: int = RATE  # messages to a receiver, within
    rate_per_s: float = RATE_PER_S
    group_s: float = GROUP_S
    link: str = ""
    troubles: tuple[AlertTrouble, ...] = ()
    literals: tuple[str, ...] = field(default=(), repr=False)

    def receiver(self, name: str) -> Receiver | None:
        return next((receiver for receiver in self.receivers if receiver.name == name), None)


def web_address(text: str) -> SplitResult | None:
    """Of http or https, with a host, and a port from 1 to 65535 if any; None for any other text."""
    try:
        found = urlsplit(text)
        return found if found.scheme in ("http", "https") and found.hostname and found.port != 0 else None
    except ValueError:  # half a bracket, a port of letters, characters that no host has
        return None


def is_of(glob: str, run: str | None) -> bool:
    """Whether a run is one of these: `sweep/*`. What was found on the machine is of `*` only."""
    return glob == "*" or (run is not None and _pattern(glob).fullmatch(run) is not None)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob.replace("[", "[[]")))
