"""Curves of several runs on one axis, the names of their series, and their points as a file."""

from __future__ import annotations

from fastapi import APIRouter

from ...queries import Queries
from . import curves, export, tags


def add_routes(router: APIRouter, queries: Queries) -> None:
    for noun in (curves, tags, export):
        noun.add_routes(router, queries)
