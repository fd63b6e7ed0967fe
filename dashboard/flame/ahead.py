"""Fold the minutes of a run on view before its hours are requested, a little at a time."""

from __future__ import annotations

import threading
import time
from typing import Protocol

SHARE = 0.1  # of the time, so of one core, until all is folded


class Folds(Protocol):
    def fold_ahead(self, run: str) -> int:
        """Fold a little that is not folded yet; how much it was."""


class Ahead:
    """One thread, from the first wish on until `close`; a wish starts it anew if the store failed it."""

    def __init__(self, *folds: Folds) -> None:
        self._folds = folds
        self._run = ""
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def want(self, run: str) -> None:
        """This run is on view; the last call wins."""
        self._run = run
        with self._starting:
            if not self._closed.is_set() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="fold-ahead", daemon=True)
                self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._wanted.wait() and not self._closed.is_set():
            self._wanted.clear()
            self._fold()

    def _fold(self) -> None:
        """Until nothing is left, or all is over."""
        while not self._closed.is_set():
            begun_s = time.perf_counter()
            if not sum(folds.fold_ahead(self._run) for folds in self._folds):
                return
            self._closed.wait((time.perf_counter() - begun_s) * (1 / SHARE - 1))
