"""The Flame page: a window's stacks in time order and as a tree."""

from __future__ import annotations

from typing import Any

from ..components import FlameView
from .page import Page, about_run


def layout(**_: Any) -> FlameView:
    return FlameView()


PAGE = Page("3", "Flame", "/flame", layout, early=about_run)
