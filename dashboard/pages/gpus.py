"""The Hosts page, of this host: the heat strip, a lane per metric, and the processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from access.roles import PROCESSES

from ..components import GpusView
from ..visitors import visitor
from .page import Page, PageRequest, question


def early(_: PageRequest) -> Iterable[str]:
    if visitor().has(PROCESSES):
        yield question("processes")
    yield question("gpus")
    yield question("series")


def layout(**_: Any) -> GpusView:
    return GpusView()


PAGE = Page("7", "Hosts", "/hosts", layout, early=early, tab="Host and GPUs")
