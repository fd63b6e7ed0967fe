"""Files that are set aside: why, and when they are tried again."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

BACK_OFF_S = (1.0, 60.0)  # the first wait, and the longest
LOOK_EACH = 100  # files that are tried again at one time


@dataclass
class Aside:
    """One file."""

    reason: str  # one sentence about it, without its name
    wait_s: float
    due_s: float  # monotonic
    quiet: bool = False  # no fault: it waits until the file changes


class AsideFiles:
    """The files that could not be read, by path."""

    def __init__(self) -> None:
        self._files: dict[Path, Aside] = {}

    def __contains__(self, path: Path) -> bool:
        return path in self._files

    def __len__(self) -> int:
        """Without those that are no fault."""
        return sum(not aside.quiet for aside in self._files.values())

    def put(self, path: Path, reason: str, *, quiet: bool = False) -> bool:
        """Whether the reason is new."""
        before = self._files.get(path)
        wait_s = BACK_OFF_S[0] if before is None else min(2 * before.wait_s, BACK_OFF_S[1])
        self._files[path] = Aside(reason, wait_s, math.inf if quiet else time.monotonic() + wait_s, quiet)
        return before is None or before.reason != reason

    def changed(self, path: Path) -> None:
        """It may be readable again: try it soon, but not at every change of a busy file."""
        aside = self._files[path]
        aside.due_s = min(aside.due_s, time.monotonic() + BACK_OFF_S[0])

    def take_due(self) -> list[Path]:
        """Those to be tried now."""
        now_s = time.monotonic()
        due = [path for path, aside in self._files.items() if aside.due_s <= now_s][:LOOK_EACH]
        for path in due:
            self._files[path].due_s = now_s + self._files[path].wait_s
        return due

    def tell_again(self) -> None:
        """The reasons that were told are not stored: each is news again."""
        for aside in self._files.values():
            aside.reason = ""

    def heal(self, path: Path) -> bool:
        """Whether it had been set aside."""
        return self._files.pop(path, None) is not None

    def first(self) -> tuple[Path, str] | None:
        return next(((path, aside.reason) for path, aside in self._files.items() if not aside.quiet), None)
