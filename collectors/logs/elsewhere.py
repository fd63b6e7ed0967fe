"""Files of runs that lie outside the log folder, or have a name that is not read: the outputs of their processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..records import Offset
from .known import RunPlace, format_of
from .watch import Mark, mark_of

EVERY_S = 0.5  # they are polled
MOST_KNOWN = 256  # of an earlier collector, the newest


class Elsewhere:
    """Which they are, and which of them have changed."""

    def __init__(
        self, root: Path, tops: Sequence[Path], outputs: Callable[[], Mapping[Path, str]], offsets: Mapping[str, Offset]
    ) -> None:
        """`tops` are the folders that are followed; `outputs` by run; `offsets` of the store name those that were read before."""
        self._root, self._tops, self._outputs = root, tops, outputs
        texts = [(root / key, offset.run) for key, offset in offsets.items() if "entry" in offset.state]
        self._runs = dict([(path, run) for path, run in texts if self._is_left_to_us(path)][-MOST_KNOWN:])
        self._seen: dict[Path, tuple[Mark, float] | None] = {}
        self._due_s = 0.0

    def __contains__(self, path: Path) -> bool:
        return path in self._runs

    def known(self) -> list[Path]:
        """Those that an earlier collector has read: what was written since is read."""
        return list(self._runs)

    def place_of(self, path: Path) -> RunPlace | None:
        """The run that it belongs to."""
        run = self._runs.get(path)
        return None if run is None else RunPlace(run, self._root / run, False)

    def take(self) -> list[Path]:
        """Those that have changed since last asked."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + EVERY_S
        changed = []
        for path, run in self._outputs().items():
            if path not in self._runs and self._is_left_to_us(path):
                self._runs[path] = run
            if path in self._runs and (mark := mark_of(str(path))) != self._seen.get(path):
                self._seen[path] = mark
                changed.append(path)
        return changed

    def _is_left_to_us(self, path: Path) -> bool:
        """Whether the log folder's own rules do not read it."""
        top = next((top for top in self._tops if path.is_relative_to(top)), None)
        if top is None:
            return True
        hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
        return hidden or format_of(path) is None
