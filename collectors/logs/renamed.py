"""Files that get another name: what was read under the old one is not read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..log_tree import LogTree
from ..records import Offset, Record
from .known import Known, format_of
from .opening import NotMetrics, born_s, has_read_part, open_file


class ReadInodes:
    """How far each file was read, whatever its name is now."""

    def __init__(self, offsets: Mapping[str, Offset]) -> None:
        self._offsets: dict[tuple[int, int], Offset] = {}
        shortest_first: list[Offset] = sorted(offsets.values(), key=lambda offset: offset.offset)
        self.note(shortest_first)

    def note(self, records: Iterable[Record]) -> None:
        """These are about to be stored."""
        self._offsets |= {
            (record.device, record.inode): record for record in records if isinstance(record, Offset) and record.offset
        }

    def before(self, path: Path, tree: LogTree, known: Known) -> Offset | None:
        """That of a file at a new path which has lost its old one."""
        try:
            found = path.stat()
        except OSError:  # opening it says so
            return None
        offset = self._offsets.get((found.st_dev, found.st_ino))
        if offset is None or format_of(old := tree.path_of(offset.path)) is not known or os.path.lexists(old):
            return None
        return offset if _is_what_was_read(path, tree, offset) else None

    def of(self, path: Path, tree: LogTree, run: str, known: Known) -> Offset | None:
        """That of a file that stands at a new path, if it was read at another one of the same run. Raises NotMetrics where it stands there, too."""
        try:
            found = path.stat()
        except OSError:  # opening it says so
            return None
        offset = self._offsets.get((found.st_dev, found.st_ino))
        if (
            offset is None
            or offset.run != run
            or format_of(old := tree.path_of(offset.path)) is not known
            or old == path
        ):
            return None
        if not _is_what_was_read(path, tree, offset):
            return None
        if old.exists() and old.samefile(path):
            raise NotMetrics(f"is the same file as {offset.path}, which is read")
        return offset


def _is_what_was_read(path: Path, tree: LogTree, offset: Offset) -> bool:
    """Whether the file is the one of the offset, which has its inode: the system gives that of a removed file to the next one.

    It was made at the same time, where the offset and the file system know that, and begins with the bytes that were read. A file
    that is read as a whole has no marks of those, so its time alone decides.
    """
    born, end = offset.state.get("born"), offset.state.get("end")
    descriptor = open_file(path, tree.root)
    try:
        if born and born_s(descriptor) != born:
            return False
        return has_read_part(descriptor, offset.offset, offset.state.get("head", ""), end) if end else bool(born)
    finally:
        os.close(descriptor)
