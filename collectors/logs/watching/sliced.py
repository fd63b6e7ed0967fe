"""Work that is done a slice at a time, and goes on where it was left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


class Sliced:
    """Work that is done a slice at a time, and that yields the files that it finds changed."""

    def __init__(self, work: Callable[[], Iterator[set[str]]]) -> None:
        self._work = work
        self._rest: Iterator[set[str]] | None = None

    @property
    def is_under_way(self) -> bool:
        return self._rest is not None

    def go_on(self, slice_s: float) -> set[str]:
        """Until the slice or the work is over."""
        until_s, found = time.monotonic() + slice_s, set[str]()
        rest, self._rest = self._rest or self._work(), None  # after an error it begins anew
        for changed in rest:
            found |= changed
            if time.monotonic() > until_s:
                self._rest = rest
                break
        return found

    def drop(self) -> None:
        """Begin anew when it next goes on."""
        self._rest = None
