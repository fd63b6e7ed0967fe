"""The traces of runs, read from their entries when they are asked for, and remembered while their files stay as they are."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .entry import RESULT
from .result import OddTrace, StepsTraced, read_trace

MOST_KEPT = 4  # of all runs: at most 15 MB each
MOST_ENTRIES = 1_000  # files of an entry that are looked at

log = logging.getLogger(__name__)


class _TraceFile(NamedTuple):
    path: str
    inode: int
    size: int
    modified_ns: int


class KeptTraces:
    """May be asked from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_TraceFile, StepsTraced | str] = OrderedDict()

    def newest(self, entry: Path) -> Iterator[StepsTraced]:
        """Those of an entry, the newest first; what cannot be read is left out, and named in the log once."""
        for key in _files(entry):
            found = self._read(key)
            if isinstance(found, StepsTraced):
                yield found

    def answer(self, entry: Path, name: str) -> StepsTraced | str | None:
        """That with this id; why it cannot be read; None where it is not there."""
        wanted = f"trace-{name}.json"
        return next((self._read(key) for key in _files(entry) if key.path.endswith(f"/{wanted}")), None)

    def _read(self, key: _TraceFile) -> StepsTraced | str:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found: StepsTraced | str
        try:
            found = read_trace(Path(key.path))
        except OddTrace as error:
            found = f"{key.path} {error}"
        except OSError as error:
            found = f"{key.path} cannot be read ({error.strerror})"
        if isinstance(found, str):
            log.warning("%s", found)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found


def _files(entry: Path) -> list[_TraceFile]:
    """The newest first."""
    found = []
    with suppress(OSError), os.scandir(entry) as files:
        for _, file in zip(range(MOST_ENTRIES), files, strict=False):
            if RESULT.fullmatch(file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(_TraceFile(file.path, status.st_ino, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda key: -key.modified_ns)
