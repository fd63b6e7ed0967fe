"""Who asks: the client of the request at hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from .roles import GRANTED, GRANTS, MAY, Role, RouteNeed


class NotGranted(Exception):
    """A viewer asks for what was not granted; the text is one sentence."""


class Visitor(NamedTuple):
    """`name` is that of a token, else `uid 1000`; `key` is the hash of the token or session that it shows, "" for none."""

    role: Role
    name: str = ""
    key: str = ""
    grants: frozenset[str] = frozenset()
    prefix: str = ""  # of the names of runs that a writer may append to

    def may(self, need: RouteNeed) -> bool:
        return need.role in MAY[self.role] and (not need.grant or self.has(need.grant))

    def has(self, grant: str) -> bool:
        return self.role is Role.OWNER or grant in self.grants


OWNER = Visitor(Role.OWNER)  # this process itself
ANYONE = Visitor(Role.ANYONE)

_visitor: ContextVar[Visitor] = ContextVar("visitor", default=OWNER)
enter, leave = _visitor.set, _visitor.reset


def visitor() -> Visitor:
    """The client of the request that is being answered; the owner where there is none: a command, a background thread."""
    return _visitor.get()


def check_grant(grant: str) -> None:
    """Raises NotGranted."""
    if not visitor().has(grant):
        raise NotGranted(sentence_of(grant))


def sentence_of(grant: str) -> str:
    return f"{GRANTED[grant]} are not part of this link; its owner may make one with: deepseek-dashboard token new NAME --grant {grant}"


def grants_of(scopes: Mapping[str, Any]) -> frozenset[str]:
    """`{"grants": ["source"]} -> {"source"}`; what is unknown grants nothing."""
    given = scopes.get("grants")
    return frozenset(given).intersection(GRANTS) if isinstance(given, list) else frozenset()
