"""A clock that is moved, in place of the module `time` of those who read it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class MovedTime:
    """What a module reads of `time`; Unix seconds and the monotonic clock are the same."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def time(self) -> float:
        return self.now_s

    monotonic = time

    def time_ns(self) -> int:
        return int(self.now_s * 1e9)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def moved(now_s: float, modules: Sequence[ModuleType]) -> Iterator[MovedTime]:
    """Each of the modules has imported `time`."""
    clock = MovedTime(now_s)
    before = [module.time for module in modules]
    for module in modules:
        module.time = clock  # type: ignore[attr-defined]
    try:
        yield clock
    finally:
        for module, kept in zip(modules, before, strict=True):
            module.time = kept  # type: ignore[attr-defined]
