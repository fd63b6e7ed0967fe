"""The Samples page: what a run, or two, logged to be looked at, and checkpoints."""

from __future__ import annotations

from typing import Any

from ..components import SamplesView
from .page import Page


def layout(**_: Any) -> SamplesView:
    return SamplesView()


PAGE = Page("v", "Samples", "/samples", layout, entry="Training")
