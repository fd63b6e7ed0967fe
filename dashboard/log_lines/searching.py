"""A search through the texts of some runs, newest first, in slices: each question works for a while and goes on where the last one ended."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.store.lines import LineExtent, LineTexts
from collectors.store.question import holding

from .needle import Finder, Needle, finder, pieces

SLICE_S = 0.25  # of work for a question,
FIRST_SLICE_S = 0.1  # and for the first one, which waits for its first hits
MOST_PARTS = 10_000
MOST_SEARCHES = 8  # that are remembered,
MOST_HITS = 6_000_000  # with so many hits together: 4 bytes each

ReadTexts: TypeAlias = Callable[[str, int, int, Callable[[LineTexts], bool]], None]
"""`Store.line_texts`."""


class Unsearched(NamedTuple):
    """Numbers of lines of a run that are not searched yet, both inclusive."""

    run: str
    lo: int
    hi: int


class SearchedSoFar(NamedTuple):
    """How far a search has come."""

    searched: int  # lines,
    lines: int  # of so many
    hits: int
    done: bool


class LineHits(NamedTuple):
    """Numbers of lines, in no order: each part's less the base."""

    base: int
    parts: list[NDArray[Any]]
    total: int


class LineSearch:
    """The hits of one needle so far."""

    def __init__(self, needle: Needle) -> None:
        """Raises BadExpression."""
        self.needle = needle
        self.lock = threading.Lock()
        self._find: Finder = finder(needle)
        self._extents: dict[str, LineExtent] = {}
        self._waiting: list[Unsearched] = []  # the newest last
        self._base = 0
        self._parts: list[NDArray[Any]] = []  # of numbers, less the base; 4 bytes each as long as that is enough
        self._searched = self._lines = self.hit_count = 0

    @property
    def has_begun(self) -> bool:
        return self._searched > 0

    def work(self, extents: Mapping[str, LineExtent], read: ReadTexts, until_mono_s: float) -> SearchedSoFar:
        """The caller holds the lock. Works at least on one piece. Raises what `read` raises; the search can go on then."""
        self._note(extents)
        while self._waiting:
            stretch = self._waiting.pop()
            rest = self._search(stretch, read, until_mono_s)
            if rest is not None:
                self._waiting.append(rest)
                break
        done = not self._waiting
        return SearchedSoFar(
            self._lines if done else min(self._searched, self._lines), self._lines, self.hit_count, done
        )

    def hits(self) -> LineHits:
        if len(self._parts) > MOST_PARTS:
            self._parts = [np.concatenate(self._parts)]
        return LineHits(self._base, list(self._parts), self.hit_count)

    def _note(self, extents: Mapping[str, LineExtent]) -> None:
        """Lines that have come; where a run was forgotten the search starts again."""
        if any(run not in extents or extents[run].first != before.first for run, before in self._extents.items()):
            self._extents, self._waiting, self._parts = {}, [], []
            self._searched = self.hit_count = 0
        if not self._extents:
            self._base = min((extent.first for extent in extents.values()), default=0)
        for run, extent in sorted(extents.items(), key=lambda item: item[1].last):
            before = self._extents.get(run)
            lo = extent.first if before is None else before.last + 1
            if lo <= extent.last:
                self._waiting.append(Unsearched(run, lo, extent.last))
        self._extents = dict(extents)
        self._lines = sum(extent.lines for extent in extents.values())

    def _search(self, stretch: Unsearched, read: ReadTexts, until_mono_s: float) -> Unsearched | None:
        """What is left of it."""
        hi = stretch.hi

        def take(block: LineTexts) -> bool:
            nonlocal hi
            for piece in pieces(self.needle, self._find, block.texts, len(block.number)):
                if int(block.number[piece.first]) > hi:
                    continue  # searched by an earlier slice
                numbers = block.number[piece.first : piece.first + piece.lines]
                found = block.number[piece.found]
                found = found[(found >= stretch.lo) & (found <= hi)]
                below, above = np.searchsorted(numbers, (stretch.lo, hi + 1)).tolist()
                self._searched += above - below
                self.hit_count += len(found)
                if len(found):
                    less = found - self._base
                    self._parts.append(less.astype(np.uint32) if less.max() < 1 << 32 else less)
                hi = int(numbers[0]) - 1
                if hi < stretch.lo or time.monotonic() >= until_mono_s:
                    return False
            return True

        is_over = False

        def take_until(block: LineTexts) -> bool:
            nonlocal is_over
            goes_on = take(block)
            is_over = not goes_on
            return goes_on

        try:
            read(stretch.run, stretch.lo, stretch.hi, take_until)
        except BaseException:
            self._waiting.append(stretch._replace(hi=hi))
            raise
        return stretch._replace(hi=hi) if is_over and hi >= stretch.lo else None


class LineSearches:
    """The searches that were asked for lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], LineSearch] = OrderedDict()

    def work(
        self, runs: tuple[str, ...] | None, needle: Needle, extents: Mapping[str, LineExtent], read: ReadTexts
    ) -> tuple[SearchedSoFar, LineHits]:
        """Go on with a search for a while, or begin it; its hits so far. Raises BadExpression."""
        search = self._search(runs, needle)
        with holding(search.lock):
            slice_s = SLICE_S if search.has_begun else min(FIRST_SLICE_S, SLICE_S)
            progress = search.work(extents, read, time.monotonic() + slice_s)
            return progress, search.hits()

    def _search(self, runs: tuple[str, ...] | None, needle: Needle) -> LineSearch:
        with self._lock:
            found = self._kept.pop((runs, needle), None) or LineSearch(needle)
            self._kept[runs, needle] = found
            while len(self._kept) > 1 and (
                len(self._kept) > MOST_SEARCHES or sum(search.hit_count for search in self._kept.values()) > MOST_HITS
            ):
                self._kept.popitem(last=False)
            return found
