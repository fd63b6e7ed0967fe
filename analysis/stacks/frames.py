"""Who owns a frame: the user's own code, a library, or a mark of ours, with the source line it shows."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Literal, NamedTuple, TypeAlias

from collectors.folders import BY_OTHERS, LogTree, is_received
from collectors.records import Frame, Searched
from collectors.rights import left_alone
from collectors.sampler.sources import GENERATED, Unreadable, is_own, read_as_user
from collectors.store.store import Store

from ..history import History
from .trust import LineOf
from .wait_joins import LIBRARY, is_head
from .waits import BACKWARD, wait_of

FrameKind: TypeAlias = Literal["own", "library", "wait", "joined"]

PACKAGE = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/(\w+)")
CELL = re.compile(r"^<ipython-input-|^<command-|^<stdin>|/ipykernel_\d+/")  # notebooks, and what is piped into Python
OF_KERNEL, OF_IPYTHON = re.compile(r"/ipykernel_\d+/[^/]*$"), re.compile(r"^<ipython-input-(\d+)-.*>$")
SOURCE = re.compile(r"\.(py|pyx|ipynb)$")
MADE = re.compile(
    r"/huggingface/modules/|__autograph_generated_file|/debugpy/|/pydevd?/"
)  # downloaded, or put around the program
PARTS = re.compile(r"(\.?(<locals>\.)?<(listcomp|setcomp|dictcomp|genexpr)>)+$")
DISPATCHERS = {"_call_impl", "_wrapped_call_impl", "decorate_context", "_fn", "inner", "wrapper", "wrapped"}


def kinds_of(frames: list[Frame], own_folder: str, computes_backward: bool = False) -> list[FrameKind]:
    """Own is what lies below the run's folder, in the cells of a notebook, and in source files outside of Python's own folders (an
    editable install). What was installed, what a compiler wrote and what stands in no file is a library's. A backward pass is a library's where the thread computes it itself, else a wait."""
    return [_kind(frame, own_folder, computes_backward) for frame in frames]


def are_own(frames: list[Frame], own_folder: str) -> list[bool]:
    """Which frames are the user's own code."""
    return [_is_own(frame, own_folder) for frame in frames]


def owner_of(name: str) -> str:
    """The function that a comprehension or a generator expression is a part of; "" for any other function.

    `Loader.pad.<locals>.<listcomp>` -> `Loader.pad`; `<genexpr>` -> `<module>`. A lambda is a function: who defines it is seldom who calls it.
    """
    return (PARTS.sub("", name) or "<module>") if PARTS.search(name) else ""


def library_name(frame: Frame) -> str:
    """`PIL ImageFile.load`, `compiled code`: a function of a library as a user names it."""
    if GENERATED.search(frame.file):
        return "compiled code"
    found = PACKAGE.match(frame.file)
    package = found[1] if found else ""
    return f"{package} {frame.name}".strip()


@lru_cache(4096)
def package_path(file: str) -> str:
    """`torch/nn/functional.py`: where a file of an installed package or of Python lies below its library folder; "" for any other file."""
    found = PACKAGE.match(file)
    return file[found.start(1) :] if found else ""


def file_name(file: str) -> str:
    """`data.py`; of a notebook's cell, whose file has a number for a name, `cell`."""
    if OF_KERNEL.search(file):
        return "cell"
    return OF_IPYTHON.sub(r"cell \1", file).rpartition("/")[2]


def has_name(frame: Frame) -> bool:
    """Whether its name says anything to a user: not that of a module's top, of code that was generated, or of who calls what it is given."""
    function = frame.name.rpartition(".")[2]
    generated = frame.file.startswith("<") or bool(GENERATED.search(frame.file))
    return bool(frame.file) and not generated and not function.startswith("<") and function not in DISPATCHERS


def _kind(frame: Frame, own_folder: str, computes_backward: bool) -> FrameKind:
    if is_head(frame):
        return "joined"
    wait = wait_of(frame)
    return (
        "wait"
        if wait and not (wait is BACKWARD and computes_backward)
        else "own"
        if _is_own_file(frame.file, own_folder)
        else "library"
    )


def _is_own(frame: Frame, own_folder: str) -> bool:
    return not is_head(frame) and wait_of(frame) is None and _is_own_file(frame.file, own_folder)


@lru_cache(4096)
def _is_own_file(file: str, own_folder: str) -> bool:
    """A command without an ending, such as `/venv/bin/torchrun`, is a library's unless it lies below the folder."""
    if CELL.search(file):
        return True
    if not file or file.startswith("<") or any(pattern.search(file) for pattern in (LIBRARY, GENERATED, MADE)):
        return False
    return bool(SOURCE.search(file)) or (bool(own_folder) and PurePath(file).is_relative_to(own_folder))


# Lines of source files: as they were kept when a run first ran them, else from today's file, with the rights of the run's owner.

FILES = 400  # remembered
MAX_CHARACTERS = 16_000_000  # of all of them
LOOK_S, LOOK_AT_LIBRARIES_S = 2.0, 60.0  # how often a file is looked at for changes
KEPT = "Kept when the run first ran it."
LIVE = "Read from today's file; what the run ran was not kept."


@dataclass(frozen=True)
class Excerpt:
    file: Searched
    line: int
    first: int  # number of the first line
    lines: list[Searched]
    kept: bool  # the text that the run ran; False: today's file
    note: Searched  # one sentence on where the text is from


class SourceRefused(Exception):
    """The text is one sentence with the remedy."""


class ShownFiles:
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


class SourceTexts:
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
        """Raises SourceRefused for what was not kept and is no readable text below the folder, links and `..` followed."""
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
        if len(self._known) >= FILES or self._characters > MAX_CHARACTERS:
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
    """The file that is really meant; raises SourceRefused where that does not lie below the folder."""
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
