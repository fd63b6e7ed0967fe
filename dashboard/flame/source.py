"""Lines of source files: for a page only those of a run's own folder that its profile names; for trust, any that can be read."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MOST_BYTES = 2_000_000
FILES = 400  # remembered
LOOK_S = 2.0  # how often a file is looked at for changes


@dataclass(frozen=True)
class Excerpt:
    file: str
    line: int
    first: int  # number of the first line
    lines: list[str]


class Refused(Exception):
    """The text is one sentence with the remedy."""


class Seen:
    """Which files the profiles named that pages were shown."""

    def __init__(self) -> None:
        self._files: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def add(self, run: str, files: set[str]) -> None:
        with self._lock:
            self._files.setdefault(run, set()).update(files)

    def has(self, run: str, file: str) -> bool:
        return file in self._files.get(run, ())


def excerpt(file: str, line: int, context: int, folder: str) -> Excerpt:
    """Raises Refused for what is no readable text below the folder, links and `..` followed."""
    path = inside(file, folder)
    lines = read_lines(str(path))
    if not lines:
        raise Refused(f"{path.name} cannot be read here; the run may have been started on another host, or the file is gone")
    first = max(1, min(line, len(lines)) - context)
    return Excerpt(file, line, first, list(lines[first - 1 : line + context]))


def inside(file: str, folder: str) -> Path:
    """The file that is really meant; raises Refused where that does not lie below the folder."""
    root = Path(folder).resolve() if folder else None
    path = (root / file).resolve() if root else Path(file)
    if root is None or root == Path(root.anchor) or not path.is_relative_to(root):
        raise Refused("only files below the run's working folder are shown; run.json names it as cwd")
    return path


def line_of(file: str, line: int) -> str:
    """One line of a file, "" where it cannot be read."""
    lines = _lines(file, int(time.monotonic() / LOOK_S))
    return lines[line - 1] if 0 < line <= len(lines) else ""


@lru_cache(FILES)
def _lines(file: str, _now: int) -> tuple[str, ...]:
    return read_lines(file) if file.startswith("/") else ()


def read_lines(file: str) -> tuple[str, ...]:
    """() for what is missing, too large, no regular file or no text."""
    path = Path(file)
    try:
        about = path.stat()
    except OSError:
        return ()
    return _read(file, about.st_mtime_ns) if path.is_file() and about.st_size <= MOST_BYTES else ()


@lru_cache(FILES)
def _read(file: str, _mtime_ns: int) -> tuple[str, ...]:
    try:
        return tuple(Path(file).read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()
