"""The tail of the log folder that can forget a run, and take it back."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..logs.known import format_of
from ..logs.tail import Tail, is_followed
from ..records import Offset, Record
from ..store.protocol import StoreError
from .tombstones import MOST_FILES, NOTHING_KNOWN, LastKnown, Tombstone, Tombstones, identity_of_file

OF_A_DATABASE = "#"  # in the key of a run that shares its file with others
log = logging.getLogger("collectors")


class ForgettingTail(Tail):
    """`forget` and `take_back` may be called from any thread; the work is done in the tail's turn, when all that it has read is stored."""

    def __init__(
        self,
        root: Path,
        *others: Any,
        tombstones: Tombstones,
        remove: Callable[[str], None],
        rename: Callable[[str, str, Mapping[str, str]], bool] = lambda run, new, paths: False,
        **options: Any,
    ) -> None:
        """`remove` takes a run out of the store, `rename` is `Store.rename`; both raise StoreError."""
        self._tombstones, self._remove, self._rename = tombstones, remove, rename
        self._renaming: dict[str, str] = {}  # runs, by their new names, that get these or could not
        self._requests: deque[tuple[Callable[[str], None], str]] = deque()
        self._preferred: set[Path] = set()
        super().__init__(root, *others, accept=self._is_read, **options)
        for tombstone in tombstones.all():  # it may have ended between the tombstone and the store
            if self._is_wholly_covered(tombstone.run):
                self._take_out(tombstone.run, [str(self._tree.path_of(key)) for key in self._keys_of(tombstone.run)])

    def forget(self, run: str, known: LastKnown = NOTHING_KNOWN) -> str:
        """Why that is not possible, or ""; `known` stays readable."""
        shared = next((key for key in self._keys_of(run) if _is_in_database(key)), None)
        if shared is not None:
            return f"it is one of the runs in {shared.partition(OF_A_DATABASE)[0]}, and cannot be forgotten without the others; archive it instead"
        self._requests.append((partial(self._forget, known=known), run))
        self._wake.set()
        return ""

    def take_back(self, run: str) -> bool:
        """Whether it was forgotten; its files are read anew."""
        found = self._tombstones.has(run)
        self._requests.append((self._take_back, run))
        self._wake.set()
        return found

    def collect(self) -> list[Record]:
        while self._requests and not self.is_looking_for_runs:  # which files are a run's is known once all are found
            work, run = self._requests.popleft()
            try:
                work(run)
            except (OSError, StoreError) as error:  # a full disk: the run stays as it is, and the page still shows it
                log.warning("the run %r cannot be changed (%s)", run, error)
        return super().collect()

    def _is_read(self, path: str) -> bool:
        return is_followed(path) and not self._tombstones.covers(path)

    def _read(self, path: Path) -> None:
        if not self._tombstones.covers(str(path)):
            super()._read(path)

    def _prefer(self, path: Path, other: Path) -> None:
        """The run of the other name goes first, once what was read of it is stored."""
        if path not in self._preferred:
            self._preferred.add(path)
            self._requests.append((partial(self._give_way, path, other), self._runs.of(other).name))
        self._held.add(path)

    def _give_way(self, path: Path, other: Path, run: str) -> None:
        """Read a file under the first name alone; what else the run of the other one has is read anew."""
        self._preferred.discard(path)
        left = [each for each in self._paths_of(run) if each != str(other)]
        self._take_out(run, [*left, str(other)])
        self._doubles.prefer(path)
        self._backlog.update(map(Path, left))
        self._turns.new(Path(each) for each in left if is_followed(each))

    def _forget(self, run: str, known: LastKnown) -> None:
        paths = self._paths_of(run)
        files = tuple(found for path in paths[:MOST_FILES] if (found := identity_of_file(path)) is not None)
        self._tombstones.put(Tombstone(run, time.time(), self._own_folder(run, paths), files, known))
        try:
            self._take_out(run, paths)
        except BaseException:
            self._tombstones.remove(run)
            raise

    def _take_out(self, run: str, paths: list[str]) -> None:
        self._remove(run)
        for path in [path for path in self._files if self._name_of(path) == run]:
            self._close(path)
        for path in map(Path, paths):
            self._aside.heal(path)
        self._offsets = {key: offset for key, offset in self._offsets.items() if offset.run != run}
        self._runs.forget(run)

    def _is_of_a_renamed_run(self, before: Offset, path: Path) -> bool:
        """A run is renamed where none of its files is left at its old place."""
        new, old = self._runs.name_of(path), before.run
        if new is None or new == old or self._runs.name_of(self._tree.path_of(before.path)) != old:
            return False
        if new in self._renaming:
            return any(name == old for _, name in self._requests)
        keys = self._keys_of(old)
        if not self._root.is_dir() or any(
            _is_in_database(key) or os.path.lexists(self._tree.path_of(key)) for key in keys
        ):
            return False
        place, other = _without_common_end(before.path, self._key(path))
        paths = {
            key: f"{other}{key.removeprefix(place)}"
            for key in keys
            if key == before.path or key.startswith(f"{place}/")
        }
        self._renaming[new] = old
        self._requests.append((partial(self._give_name, new=new, paths=paths), old))
        self._wake.set()
        return True

    def _give_name(self, run: str, new: str, paths: Mapping[str, str]) -> None:
        if not self._rename(run, new, paths):
            return
        moved = [self._offsets[key]._replace(path=paths.get(key, key), run=new) for key in self._keys_of(run)]
        for key in self._keys_of(run):
            self._close(self._tree.path_of(key))
            self._aside.heal(self._tree.path_of(key))
            del self._offsets[key]
        self._offsets |= {offset.path: offset for offset in moved}
        self._inodes.note(moved)
        self._runs.forget(run)
        del self._renaming[new]

    def _take_back(self, run: str) -> None:
        found = self._tombstones.remove(run)
        paths = [Path(file.path) for file in found.files] if found else []
        self._backlog.update(paths)  # when its lines arrived is not known any more
        self._turns.new(path for path in paths if is_followed(str(path)))

    def _keys_of(self, run: str) -> list[str]:
        """Of the offsets of its files."""
        return [key for key, offset in list(self._offsets.items()) if offset.run == run]

    def _paths_of(self, run: str) -> list[str]:
        """All files that are the run's, also those that stand for each other, and the files of other places that were read."""
        folder = f"{self._folder_of(run)}/"
        inside = [path for path in self._watch.seen() if path.startswith(folder) and self._name_of(Path(path)) == run]
        elsewhere = [str(self._tree.path_of(key)) for key in self._keys_of(run)]
        return list(dict.fromkeys([*inside, *(path for path in elsewhere if os.path.isfile(path))]))  # noqa: PTH113

    def _folder_of(self, run: str) -> str:
        known = self._runs.get(run)
        return str(known.folder) if known else str(self._tree.path_of(next(iter(self._keys_of(run)), run)).parent)

    def _own_folder(self, run: str, paths: list[str]) -> str:
        """The run's folder, if no other run's files lie in it; else ""."""
        known, folder = self._runs.get(run), self._folder_of(run)
        if (known is not None and known.single_file) or Path(folder) in (self._root, *self._tops):
            return ""
        mine, start = set(paths), f"{folder}/"
        others = any(path.startswith(start) and path not in mine for path in self._watch.seen())
        return "" if others or self._tombstones.owner_below(folder, run) or not mine else folder

    def _name_of(self, path: Path) -> str | None:
        """The run that a file belongs to; None where it was never read."""
        if path.is_relative_to(self._root):
            return self._runs.name_of(path)
        offset = self._offsets.get(self._key(path))
        return offset.run if offset is not None else None

    def _is_wholly_covered(self, run: str) -> bool:
        keys = self._keys_of(run)
        return bool(keys) and all(self._tombstones.covers(str(self._tree.path_of(key))) for key in keys)


def _without_common_end(path: str, other: str) -> tuple[str, str]:
    """`("runs/a/x/m.jsonl", "runs/b/x/m.jsonl") -> ("runs/a", "runs/b")`, of files with one name; else the paths themselves."""
    names, others = path.split("/"), other.split("/")
    while len(names) > 1 and len(others) > 1 and names[-1] == others[-1]:
        names.pop()
        others.pop()
    return "/".join(names), "/".join(others)


def _is_in_database(key: str) -> bool:
    known = format_of(key.partition(OF_A_DATABASE)[0]) if OF_A_DATABASE in key else None
    return known is not None and known.reading == "database"
