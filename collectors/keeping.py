"""How long runs are kept: `keep: 30d` in the file that describes a run (`<data>/runs/<run>.yaml`). Without it, forever."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from access.files import bytes_of

from .store.store import Run
from .user_files import ABOUT_FOLDER, DAY_S, KEEP, days_of, file_name
from .yaml_tree import tree_of
from .yaml_values import YamlError

MAX_BYTES = 256 << 10
LOOK_S = 60.0


class Expiry:
    """When to look for runs that were kept long enough: after their descriptions have changed, and each minute, since they grow old."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / ABOUT_FOLDER
        self._changed_ns, self._due_s = 0, 0.0

    def is_due(self) -> bool:
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:  # nothing is described
            return False
        if changed_ns == self._changed_ns and time.monotonic() < self._due_s:
            return False
        self._changed_ns, self._due_s = changed_ns, time.monotonic() + LOOK_S
        return True


def over(runs: Iterable[Run], data_dir: Path, now_s: float) -> Iterator[tuple[Run, float]]:
    """Runs whose newest line is older than they are to be kept, with the days. A file that cannot be understood keeps its run."""
    try:
        described = {path.name for path in (data_dir / ABOUT_FOLDER).iterdir()}
    except OSError:
        return
    for run in runs:
        if run.last_time_s is None or (name := file_name(run.name)) not in described:
            continue
        with suppress(OSError, ValueError, YamlError):
            text = bytes_of(data_dir / ABOUT_FOLDER / name, most=MAX_BYTES).decode()
            if KEEP not in text:  # parsing thousands would take seconds
                continue
            table = tree_of(text).value
            node = table.get(KEEP) if isinstance(table, dict) else None
            days = days_of(node.value) if node is not None and isinstance(node.value, str) else None
            if days is not None and run.last_time_s + days * DAY_S < now_s:
                yield run, days
