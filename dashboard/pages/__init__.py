"""The pages: one file per page, and the frame around them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module

from .page import Page

__all__ = ["Page", "add_own", "pages"]


_own: list[Page] = []


@cache
def pages() -> tuple[Page, ...]:
    """Every file of this folder with a PAGE, in the order of their keys, then those of the user's own."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return (*sorted((module.PAGE for module in modules if hasattr(module, "PAGE")), key=lambda page: page.key), *_own)


def add_own(found: Iterable[Page]) -> None:
    """Instead of those before; before the application is made."""
    _own[:] = found
    pages.cache_clear()
