"""The roles, and which of them a route needs: it stands where the route is declared. A route that says nothing is the owner's."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
NEED = "deepseek_need"  # the attribute of an endpoint

SOURCE, EXPORTS, PROCESSES, DETAILS = GRANTS = ("source", "exports", "processes", "details")
GRANTED = {
    SOURCE: "source lines and the difference from the commit",
    EXPORTS: "exports and reports, which hold all details",
    PROCESSES: "other processes of the machine",
    DETAILS: "command lines, configurations and paths in full",
}


class Role(StrEnum):
    OWNER = "owner"  # reads and changes everything
    VIEWER = "viewer"  # reads, without what must be granted
    WRITER = "writer"  # appends to runs below one prefix of names, and reads nothing
    ANYONE = "anyone"  # has no role: gets what holds no data


MAY = {
    Role.OWNER: frozenset({Role.OWNER, Role.VIEWER, Role.WRITER, Role.ANYONE}),
    Role.VIEWER: frozenset({Role.VIEWER, Role.ANYONE}),
    Role.WRITER: frozenset({Role.WRITER, Role.ANYONE}),
    Role.ANYONE: frozenset({Role.ANYONE}),
}  # what a route may need, by what the client is


class RouteNeed(NamedTuple):
    """`grant`: what a viewer's token must name besides, "" for nothing."""

    role: Role
    grant: str = ""
    audited: bool = True  # whether a POST changes something


OWNERS = RouteNeed(Role.OWNER)


def needs(role: Role, grant: str = "", *, audited: bool = True) -> Callable[[F], F]:
    """Below the route's own decorator: `@router.get("/runs")`, `@needs(Role.VIEWER)`."""

    def marked(endpoint: F) -> F:
        setattr(endpoint, NEED, RouteNeed(role, grant, audited))
        return endpoint

    return marked


def need_of(endpoint: object) -> RouteNeed:
    found = getattr(endpoint, NEED, OWNERS)
    return found if isinstance(found, RouteNeed) else OWNERS
