"""The pages: one file per page, and the frame around them."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from .page import Page

__all__ = ["Page", "pages"]


@cache
def pages() -> tuple[Page, ...]:
    """Every file of this folder with a PAGE, in the order of their keys."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return tuple(sorted((module.PAGE for module in modules if hasattr(module, "PAGE")), key=lambda page: page.key))
