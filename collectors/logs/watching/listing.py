"""List a folder piece by piece, with what shows of each file whether it has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Mapping
from typing import NamedTuple, TypeAlias

from ...received import FOLDER as RECEIVED

PIECE = 32  # entries of a folder, after which a slice may end


class Mark(NamedTuple):
    """What of a file shows that it changed."""

    inode: int
    size: int
    ctime_ns: int


Files: TypeAlias = dict[str, tuple[Mark, float]]
"""By path, what shows that a file changed, and when it was written, Unix seconds."""


Folders: TypeAlias = dict[str, int]
"""By path the inode, as the list of the folder above says it: another one is another folder of that name."""

ANY_INODE = -1  # of a folder that was in no list yet
NONE_KNOWN: Folders = {}


def listed(
    folder: str, accept: Callable[[str], bool], known: Mapping[str, int] = NONE_KNOWN
) -> Generator[set[str], None, tuple[Files, Folders]]:
    """Returns the accepted files of one folder, and the folders in it that are not hidden, nor `known`; yields where a slice may end."""
    files: Files = {}
    folders: Folders = {}
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries, 1):
                if number % PIECE == 0:
                    yield set()
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and known.get(entry.path) in (
                    entry.inode(),
                    ANY_INODE,
                ):  # one of 10,000 runs beside a new one
                    continue
                if is_folder and not is_hidden(entry.name):
                    folders[entry.path] = entry.inode()
                # A folder that is called like a file is reported; in a place where any name is a file's, it is only a folder.
                if (
                    accept(entry.path)
                    and (not is_folder or accept(entry.name))
                    and (mark := mark_of(entry.path)) is not None
                ):
                    files[entry.path] = mark
                    yield set()  # over a network each look at a file may take a while
    except OSError:  # gone since it was listed, or not ours to read
        pass
    return files, folders


def mtime_ns_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def mark_of(path: str) -> tuple[Mark, float] | None:
    """None for what is gone since it was listed. Of what is no file, and of a link to nowhere, only that it is there."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return _mark_of_link(path)
    if not stat.S_ISREG(found.st_mode):
        return Mark(found.st_ino, 0, 0), 0.0
    return Mark(found.st_ino, found.st_size, found.st_ctime_ns), found.st_mtime


def _mark_of_link(path: str) -> tuple[Mark, float] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return Mark(found.st_ino, 0, 0), 0.0


def is_hidden(name: str) -> bool:
    return name.startswith(".") and name != RECEIVED
