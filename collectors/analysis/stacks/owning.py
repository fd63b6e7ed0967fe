"""Whose code a frame is: the user's own, a library's, a wait, or the mark of a join."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, TypeAlias

from ...records import Frame
from .joining import is_head
from .waits import wait_of

Kind: TypeAlias = Literal["own", "library", "wait", "joined"]

LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d|^<")
PACKAGE = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/(\w+)")


def kinds_of(frames: list[Frame], own_folder: str) -> list[Kind]:
    """Code below the run's folder is its own; where none is, whatever lies outside Python's own folders is."""
    mine = [not LIBRARY.search(frame.file) and bool(frame.file) for frame in frames]
    below = [is_mine and PurePath(frame.file).is_relative_to(own_folder) for is_mine, frame in zip(mine, frames, strict=True)]
    own = below if own_folder and any(below) else mine
    return [_kind(frame, is_own) for frame, is_own in zip(frames, own, strict=True)]


def library_name(frame: Frame) -> str:
    """`PIL ImageFile.load`: a function of a library as a person names it."""
    found = PACKAGE.match(frame.file)
    package = found[1] if found else ""
    return f"{package} {frame.name}".strip()


def _kind(frame: Frame, own: bool) -> Kind:
    if is_head(frame):
        return "joined"
    return "wait" if wait_of(frame) else "own" if own else "library"
