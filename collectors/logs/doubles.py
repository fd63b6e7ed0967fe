"""Files that are seen through two of the followed folders, by hard links or mounts: they are read once.

What the folder of a watched program has as a second name (`process/second_names.py`) belongs there. Of all others the name that was read
first counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..log_tree import LogTree
from ..records import Offset

OF_A_PROGRAM = "started.json"  # lies in the folder of a watched program


class Doubles:
    """Knows under which name each file is read. Where one folder is followed, it does nothing."""

    def __init__(self, tree: LogTree, offsets: Mapping[str, Offset]) -> None:
        """`offsets` are those of the store, by key."""
        self._tops = tree.tops
        self._names: dict[tuple[int, int], Path] = {}
        if len(self._tops) > 1:
            self._names = {(each.device, each.inode): tree.path_of(key) for key, each in offsets.items() if each.inode}

    def other(self, path: Path) -> Path | None:
        """The name in another folder under which this file is read; None where it is to be read under this one, which is remembered."""
        if len(self._tops) < 2:
            return None
        try:
            found = path.stat()
        except OSError:  # reading it says so
            return None
        key = found.st_dev, found.st_ino
        other = self._names.get(key)
        if (
            other is None
            or other == path
            or self._top_of(other) in (None, self._top_of(path))
            or not _is_at(other, key)
        ):
            self._names[key] = path
            return None
        return other

    def prefer(self, path: Path) -> None:
        """Read the file under this name from now on."""
        found = path.stat()
        self._names[found.st_dev, found.st_ino] = path

    def is_better(self, path: Path, other: Path) -> bool:
        return self._is_of_a_program(path) and not self._is_of_a_program(other)

    def _is_of_a_program(self, path: Path) -> bool:
        top = self._top_of(path)
        return any(
            (folder / OF_A_PROGRAM).exists()
            for folder in path.parents
            if top and folder != top and folder.is_relative_to(top)
        )

    def _top_of(self, path: Path) -> Path | None:
        return next((top for top in self._tops if path.is_relative_to(top)), None)


def _is_at(path: Path, key: tuple[int, int]) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == key
