"""Curves of several runs on one axis, the names of their series, their points as a file, and expressions over them."""

from __future__ import annotations

from fastapi import APIRouter

from ...queries import Queries
from . import curves, export, expression, tags


def add_routes(router: APIRouter, queries: Queries) -> None:
    for noun in (curves, tags, export, expression):
        noun.add_routes(router, queries)
