"""Lines of source files: as they were kept when a run first ran them, else from today's file, with the rights of the run's owner."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ...log_tree import LogTree
from ...received import BY_OTHERS, is_received
from ...rights.whose import left_alone
from ...sampler.kept import is_own
from ...sampler.reading import Unreadable, read_as_user
from ...store.protocol import Store
from ..history import History
from .trust import LineOf

FILES = 400  # remembered
MOST_CHARACTERS = 16_000_000  # of all of them
LOOK_S, LOOK_AT_LIBRARIES_S = 2.0, 60.0  # how often a file is looked at for changes
KEPT = "Kept when the run first ran it."
LIVE = "Read from today's file; what the run ran was not kept."


@dataclass(frozen=True)
class Excerpt:
    file: str
    line: int
    first: int  # number of the first line
    lines: list[str]
    kept: bool  # the text that the run ran; False: today's file
    note: str  # one sentence on where the text is from


class SourceRefused(Exception):
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

    def of(self, run: str) -> set[str]:
        with self._lock:
            return set(self._files.get(run, ()))


class _Text(NamedTuple):
    lines: tuple[str, ...]
    kept: bool
    note: str


class Texts:
    """May be asked from many threads."""

    def __init__(self, store: Store, owner_of: Callable[[str], int] | None = None) -> None:
        """`owner_of` gives the user id whose files a run may show, by default our own."""
        self._store, self._owner_of = store, owner_of or (lambda _run: os.geteuid())
        self._known: dict[tuple[str, str], tuple[float, _Text]] = {}  # until when, CLOCK_MONOTONIC
        self._characters = 0

    def line_of(self, run: str) -> LineOf:
        """The lines of one run's files, "" where there is none."""

        def line_of(file: str, line: int) -> str:
            lines = self._text(run, file).lines
            return lines[line - 1] if 0 < line <= len(lines) else ""

        return line_of

    def excerpt(self, run: str, file: str, line: int, context: int, folder: str) -> Excerpt:
        """Raises Refused for what was not kept and is no readable text below the folder, links and `..` followed."""
        text = self._kept(run, file)
        if text is None or not text.kept:
            text = self._today(run, file, folder, text.note if text else "")
        first = max(1, min(line, len(text.lines)) - context)
        return Excerpt(file, line, first, list(text.lines[first - 1 : line + context]), text.kept, text.note)

    def _today(self, run: str, file: str, folder: str, why: str) -> _Text:
        try:
            path = inside(file, folder)
        except SourceRefused as refused:
            raise SourceRefused(why or str(refused)) from None
        lines = read_lines(str(path), self._owner_of(run))
        if not lines:
            name = Path(file).name
            raise SourceRefused(
                why or f"{name} cannot be read here; the run may have been started on another host, or the file is gone"
            )
        return _Text(lines, False, why or LIVE)

    def _text(self, run: str, file: str) -> _Text:
        key, now_s = (run, file), time.monotonic()
        until_s, text = self._known.get(key, (0.0, _Text((), False, "")))
        if now_s < until_s:
            return text
        own = is_own(file)
        kept = self._kept(run, file) if own else None
        if kept is None or not kept.kept:
            absolute = file.startswith("/")
            text = _Text(read_lines(file, self._owner_of(run)) if absolute else (), False, "")
        else:
            text = kept
        self._characters += sum(map(len, text.lines))
        if len(self._known) >= FILES or self._characters > MOST_CHARACTERS:
            self._known, self._characters = {}, sum(map(len, text.lines))
        self._known[key] = (now_s + (LOOK_S if own else LOOK_AT_LIBRARIES_S), text)
        return text

    def _kept(self, run: str, file: str) -> _Text | None:
        """None where nothing is known of the file; not `kept` where it is known why its text is not."""
        found = History(self._store, run).source_text(file)
        if found is None:
            return None
        return _Text(tuple(found.text.splitlines()), bool(found.sha), KEPT if found.sha else found.why)


def inside(file: str, folder: str) -> Path:
    """The file that is really meant; raises Refused where that does not lie below the folder."""
    root = Path(os.path.realpath(folder)) if folder else None  # a circle of links raises nothing there
    path = Path(os.path.realpath(root / file)) if root else Path(file)
    if root is None or root == Path(root.anchor) or not path.is_relative_to(root):
        raise SourceRefused("only files below the run's working folder are shown; run.json names it as cwd")
    return path


def line_of(file: str, line: int) -> str:
    """One line of today's file, "" where it cannot be read."""
    lines = _lines(file, int(time.monotonic() / LOOK_S))
    return lines[line - 1] if 0 < line <= len(lines) else ""


@lru_cache(FILES)
def _lines(file: str, _now: int) -> tuple[str, ...]:
    return read_lines(file, os.geteuid()) if file.startswith("/") else ()


def read_lines(file: str, uid: int) -> tuple[str, ...]:
    """() for what is missing, too large, no regular file, no text, or nothing that the user may read."""
    if uid == BY_OTHERS:
        return ()
    try:
        data, _ = read_as_user(file, uid)
        return tuple(data.decode().splitlines())
    except (Unreadable, UnicodeDecodeError):
        return ()


def owner_of_folders(logs: Path | LogTree) -> Callable[[str], int]:
    """The owner of a run is the owner of its folder: who may write there says which files it ran."""
    tree = LogTree.of(logs)

    def owner_of(run: str) -> int:
        if is_received(run):
            return BY_OTHERS
        folder = tree.path_of(run)
        for path in (folder, next((top for top in tree.tops if folder.is_relative_to(top)), tree.home)):
            try:
                uid = path.lstat().st_uid
            except (OSError, ValueError):  # a run of a single file, or a name that is none
                continue
            return BY_OTHERS if left_alone(uid) else uid
        return os.geteuid()

    return owner_of
