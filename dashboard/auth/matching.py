"""Which route answers a request: the same one that the application's own router takes, found before it is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from .roles import OWNERS, RouteNeed, need_of

KEPT = 4096  # addresses
MOST_KEPT_CHARS = 200  # of an address that is worth keeping: those of strangers may be 256 kB


class KnownRoute(NamedTuple):
    """`methods` is empty for a socket, and for what stands for a folder of routes."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    kind: str  # of a scope
    need: RouteNeed


def routes_of(app: FastAPI, others: Mapping[str, RouteNeed]) -> list[KnownRoute]:
    """In the router's order. `others`: by path, what routes need that are not ours to mark."""
    found = []
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        endpoint = getattr(route, "endpoint", None)
        need = others.get(route.path) or (need_of(endpoint) if endpoint is not None else OWNERS)
        kind = "websocket" if "WebSocket" in type(route).__name__ else "http"
        found.append(
            KnownRoute(route.path, route.path_regex, frozenset(getattr(route, "methods", None) or ()), kind, need)
        )
    return found


class Matching:
    """Asked at each request: the first route that takes path and method, else the first one that takes the path."""

    def __init__(self, routes: list[KnownRoute]) -> None:
        self.routes = routes
        self._kept = lru_cache(KEPT)(self._need)

    def need(self, kind: str, method: str, path: str) -> RouteNeed:
        return self._kept(kind, method, path) if len(path) <= MOST_KEPT_CHARS else self._need(kind, method, path)

    def _need(self, kind: str, method: str, path: str) -> RouteNeed:
        partly: KnownRoute | None = None
        for route in self.routes:
            if route.kind == kind and route.pattern.match(path):
                if not route.methods or method in route.methods:
                    return route.need
                partly = partly or route
        return partly.need if partly else OWNERS
