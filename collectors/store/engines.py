"""Open a store: choose the engine of a place. An engine is a folder beside this file and a row here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from .store import NO_LIMITS, Limits, Maintenance, Store, StoreError

ENGINES = {"sqlite": ".sqlite"}  # by the scheme of its URLs; loaded when it is asked for
DEFAULT = "sqlite"


class Engine(Protocol):
    """What an engine's package provides. `place` is the URL without its scheme: a folder for an engine that keeps files."""

    def open_store(self, place: str, *, write: bool, limits: Limits) -> Store: ...

    def maintenance(self, place: str) -> Maintenance: ...


def open_store(url: str | Path, *, write: bool, limits: Limits = NO_LIMITS) -> Store:
    """`sqlite:///home/me/logs/.deepseek`, or a folder, which the default engine keeps its files in.

    Raises StoreError where there is no such engine, or where its store cannot be used.
    """
    engine, place = _engine_of(url)
    return engine.open_store(place, write=write, limits=limits)


def maintenance(url: str | Path) -> Maintenance:
    """The maintenance of the same place, for `deepseek-dashboard store`."""
    engine, place = _engine_of(url)
    return engine.maintenance(place)


def _engine_of(url: str | Path) -> tuple[Engine, str]:
    scheme, place = (DEFAULT, str(url)) if isinstance(url, Path) else _parts(url)
    if scheme not in ENGINES:
        raise StoreError(
            f"there is no engine for {url!r}; a store's URL begins with one of: {', '.join(f'{name}://' for name in ENGINES)}"
        )
    engine: Engine = import_module(ENGINES[scheme], __package__)  # a module is the engine
    return engine, place


def _parts(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, unquote(parts.netloc + parts.path)
