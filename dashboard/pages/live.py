"""The Live page: lanes, what Python did in a window of them, and the log."""

from __future__ import annotations

from typing import Any

from ..components import LiveView
from .page import Page, about_run


def layout(**_: Any) -> LiveView:
    return LiveView()


PAGE = Page("1", "Live", "/", layout, early=about_run)
