"""Open a file below a log folder as root: by folders that no link leads through, and with the rights of the user whose folder it is in.

What is judged is what is held open, never a path that another user may exchange meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .acting import NotGiven, acting_as, rights_of_user
from .whose import EXPOSED, OTHERS_WRITE, ROOT_UID, is_root, leaves_others_alone, open_to_others, others

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 8  # one after the other
LEAVES = "is a link that leaves the log folder; copy the file, or pass its own folder as --log-dir"
BY_A_LINK = "is reached by a link to a folder, which a dashboard of root does not follow"


class LeftAlone(Exception):
    """A dashboard of root does not open it; the text says why, as the end of a sentence that begins with its name."""


class Reached(NamedTuple):
    """What a path names."""

    descriptor: int  # O_PATH: nothing at its other end notices
    status: os.stat_result
    uid: int  # with whose rights it is to be opened
    above_uid: int  # the first user besides root who owns a folder on the way, else root: who could exchange a part of the path

    def open(self, flags: int) -> int:
        """A descriptor, with these rights. Raises LeftAlone, OSError."""
        path = f"/proc/self/fd/{self.descriptor}"
        if self.uid == ROOT_UID:
            return os.open(path, flags)
        with acting(self.uid):
            return os.open(path, flags)


@contextmanager
def reached(path: Path, top: Path, *, links: int = MOST_LINKS) -> Iterator[Reached]:
    """The file at the end of so many links, as root; `top` is the absolute folder above it that no link may leave. About 30 us.

    Without `--as-root` all from `top` on must be root's, and nothing of it open to others. With it, a file is opened with the rights of
    its folder's owner; in a folder of root's that others may write to, of its own. Raises LeftAlone, OSError.
    """
    uid = ROOT_UID
    for _ in range(1 + links):
        found = _entry(path, top, uid)
        try:
            if not stat.S_ISLNK(found.status.st_mode):
                yield found
                return
            path = Path(os.path.normpath(path.parent / os.readlink("", dir_fd=found.descriptor)))
        finally:
            os.close(found.descriptor)
        uid = found.uid
        if not path.is_relative_to(top):
            raise LeftAlone(LEAVES)
    raise LeftAlone("is a link to a link to a link, and so on" if links else "is a link")


@contextmanager
def acting_for(path: Path, top: Path) -> Iterator[None]:
    """For a library that opens by path: this thread has the rights with which the file is to be opened. Raises LeftAlone, OSError."""
    if not is_root():
        yield
        return
    with reached(path, top) as found:
        uid = found.uid or found.above_uid
    with acting(uid):
        yield


@contextmanager
def acting(uid: int) -> Iterator[None]:
    """Raises LeftAlone where the rights of a user cannot be taken on."""
    try:
        with acting_as(rights_of_user(uid)):
            yield
    except NotGiven as error:
        raise LeftAlone(f"is left alone: {error}") from error


def check_ours(path: Path, top: Path) -> None:
    """Raises LeftAlone where a user besides root has a hand in what a path names, with or without `--as-root`; OSError where nothing is."""
    if is_root():
        os.close(_entry(path, top, ROOT_UID, strict=True).descriptor)


def _entry(path: Path, top: Path, uid: int, *, strict: bool = False) -> Reached:
    """What has that name, itself a link or not. What lies below `top` is looked up with the rights of `uid`."""
    strict = strict or leaves_others_alone()
    folder, above, depth = os.open("/", FOLDER), ROOT_UID, len(top.parts)
    try:
        status = os.fstat(folder)
        _judge(status, path.parts[:1], strict and depth == 1)
        for number, name in enumerate(path.parts[1:-1], 2):
            inner = _inner(folder, name, uid if number > depth else ROOT_UID)
            os.close(folder)
            folder = inner
            if number >= depth:
                status = os.fstat(folder)
                _judge(status, path.parts[:number], strict)
                above = above or status.st_uid
        descriptor = _inner(folder, path.name, uid, ENTRY)
    finally:
        os.close(folder)
    entry = os.fstat(descriptor)
    exposed = open_to_others(entry.st_mode) and not stat.S_ISLNK(entry.st_mode)
    if strict and (why := others(entry.st_uid) or (EXPOSED if exposed else "")):
        os.close(descriptor)
        raise LeftAlone(why)
    of_entry = entry.st_uid if status.st_mode & OTHERS_WRITE else ROOT_UID
    return Reached(descriptor, entry, uid or status.st_uid or of_entry, above)


def _inner(folder: int, name: str, uid: int, flags: int = FOLDER) -> int:
    """What has that name in a folder, looked up with the rights of a user."""
    try:
        if uid == ROOT_UID:
            return os.open(name, flags, dir_fd=folder)
        with acting(uid):
            return os.open(name, flags, dir_fd=folder)
    except NotADirectoryError:
        raise LeftAlone(BY_A_LINK) from None


def _judge(status: os.stat_result, parts: tuple[str, ...], strict: bool) -> None:
    """Raises LeftAlone for a folder that another user may change, where that is not to be."""
    if strict and (why := others(status.st_uid) or (EXPOSED if open_to_others(status.st_mode) else "")):
        raise LeftAlone(f"is in {Path(*parts)}, which {why}")
