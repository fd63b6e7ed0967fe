"""Curves of several runs on one axis, and the names of their series."""

from __future__ import annotations

from fastapi import APIRouter

from ...queries import Queries
from . import curves, tags


def add_routes(router: APIRouter, queries: Queries) -> None:
    for noun in (curves, tags):
        noun.add_routes(router, queries)
