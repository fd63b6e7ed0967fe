"""The GPUs page: `assets/pages/gpus/page.js` fills it with the heat strip, a lane per metric, and the processes."""

from __future__ import annotations

from collections.abc import Iterable

from access.roles import PROCESSES

from ..visitors import visitor
from .page import Page, PageRequest, question


def early(_: PageRequest) -> Iterable[str]:
    if visitor().has(PROCESSES):
        yield question("processes")
    yield question("gpus")
    yield question("series")


PAGE = Page("2", "GPUs", "/gpus", module="gpus", early=early)
