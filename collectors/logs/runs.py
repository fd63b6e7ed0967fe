"""The runs of a log folder: which one a file belongs to, and what it is called."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..folders import LogTree
from ..records import Offset, Record, RunInfo
from .database import sibling
from .formats.databases import RunRef
from .formats.mlflow import MAX_META_BYTES
from .formats.values import escape_control, escape_control_in_path
from .open_files import NotRead, read_file
from .recognition import format_of
from .run import RunFolder, kept_names

SHORT_ID = 8  # characters
MAX_TITLE_CHARS = 200
log = logging.getLogger("collectors")
LATELY_S, MAX_LATELY = 3600.0, 64  # runs that may go on are looked at first


class RunPlace(NamedTuple):
    """Which run a file belongs to."""

    run: str
    folder: Path
    single_file: bool = False  # the run is this file
    is_id: bool = False  # `run` is but an id: the run is called by its title


def place_of(path: Path, tree: LogTree) -> RunPlace:
    """A run is a folder, its name the path below a followed folder; a file that lies in that itself is a run of its own, named like it.

    Where the format knows parts, `logs/a/train/FILE` is in run `a`, and `logs/FILE` in a run that is called `logs`. `LogTree` says which
    names have that of the followed folder in front.
    """
    root, tops = tree.root, tree.tops
    known = format_of(path)
    if known and known.run_folder and (found := known.run_folder(path)) is not None and root in found.parents:
        return RunPlace(escape_control_in_path(tree.name_of(found)), found, is_id=known.title is not None)
    path = known.stands_for(path) if known else path
    folder = path.parent
    if folder == tree.home and known is not None and known.part is not None:
        return RunPlace(escape_control_in_path(tree.front or folder.name) or "logs", folder, False)
    if folder in tops and (known is None or known.part is None):
        name = escape_control_in_path(tree.name_of(path))
        return RunPlace(
            name.rpartition(".")[0] if known is not None and known.without_suffix else name, tree.above(folder), True
        )
    if (
        known is not None
        and known.part is not None
        and folder not in tops
        and folder.parent not in tops
        and known.part(folder.name) is not None
    ):
        folder = folder.parent
    return RunPlace(escape_control_in_path(tree.name_of(folder)), folder, False)


class RunFolders:
    """A run is made when its first file is read."""

    def __init__(
        self,
        tree: LogTree,
        host: str,
        offsets: Mapping[str, Offset],
        last_times: Mapping[str, float | None] | None = None,
    ) -> None:
        """`offsets` are those of the store, by key.

        `last_times` are those of the lines that an earlier collector has read, Unix seconds by run.
        """
        self._tree, self._tops, self._host, self._last_times = tree, tree.tops, host, last_times or {}
        self._runs: dict[str, RunFolder] = {}
        self._configs: dict[str, dict[str, Any]] = {}  # of runs without a file read so far, by file
        self._units: dict[str, str] = {}  # ... and what its text counts by
        self._folders: dict[str, set[Path]] = {}  # by run, those of the files that an earlier collector has read
        self._series: dict[str, dict[Path, Sequence[str]]] = {}  # ... and the names of their series, by file
        for key, offset in offsets.items():
            self._folders.setdefault(offset.run, set()).add(tree.path_of(key).parent)
            if names := kept_names(offset.state):
                self._series.setdefault(offset.run, {})[tree.path_of(key)] = names
            if config := offset.state.get("config"):
                self._configs.setdefault(offset.run, {})[key.removeprefix(f"{offset.run}/")] = config
            if unit := offset.state.get("unit"):
                self._units[offset.run] = unit
        self._ran: dict[
            str, dict[str, Any]
        ] = {}  # of runs without a file read so far, what was seen of their processes
        self._learned: deque[tuple[str, dict[str, Any]]] = deque()
        self._titled = {
            self._id_of(key): offset.run for key, offset in offsets.items()
        }  # names of runs by what is but an id
        self._titled.pop("", None)
        self._ids = {name: key for key, name in self._titled.items()}  # and back
        self._stored = frozenset(self._folders)

    def written_lately(self) -> list[Path]:
        """The folders of the files of runs that an earlier collector saw being written in the last hour; some of them, the newest first."""
        lately = {
            run: time_s
            for run, time_s in self._last_times.items()
            if time_s is not None and time_s > time.time() - LATELY_S
        }
        newest = sorted(lately, key=lambda run: -lately[run])[:MAX_LATELY]
        return list(dict.fromkeys(folder for run in newest for folder in self._folders.get(run, ())))

    def get(self, name: str) -> RunFolder | None:
        return self._runs.get(name)

    def some(self, names: Collection[str] | None = None) -> list[RunFolder]:
        """Of these names, as far as they are known; without names all of them."""
        return (
            list(self._runs.values()) if names is None else [self._runs[name] for name in names if name in self._runs]
        )

    def of(self, path: Path, place: RunPlace | None = None) -> RunFolder:
        """Of a file; `place` is given where the file's own place does not say which run it belongs to."""
        name, folder, single, is_id = place or place_of(path, self._tree)
        if is_id:
            return self._of_id(path, name, folder)
        if place is None:
            self._leave_the_name(name)
        run = self._runs.get(name) or self._make(name, folder, single)
        if name in self._ran:
            self._learned.append((name, self._ran.pop(name)))
        return run

    def in_database(self, path: Path, key: str, run: RunRef) -> RunFolder:
        """A run of a database; it is called like the database, and then as that calls it."""
        if key not in self._titled:
            self._name(key, escape_control_in_path(self._tree.name_of(path.with_suffix(""))), run.title, run.id)
        name = self._titled[key]
        return self._runs.get(name) or self._make(name, path.parent, True, (path.name, sibling(path, "-wal").name))

    def name_of(self, path: Path) -> str | None:
        """What the run of a file below `root` is called; None where that is not known before the file is read."""
        place = place_of(path, self._tree)
        return self._titled.get(place.run) if place.is_id else place.run

    def top_of(self, path: Path) -> Path:
        """The followed folder that no link in it may leave; of a file elsewhere its own folder."""
        return next((top for top in self._tops if path.is_relative_to(top)), path.parent)

    def learn(self, name: str, what: dict[str, Any]) -> None:
        """What was seen of a run's processes; from any thread."""
        self._learned.append((name, what))

    def take_learned(self) -> list[Record]:
        """What is new of that, where the run's files say nothing of it."""
        records: list[Record] = []
        while self._learned:
            name, what = self._learned.popleft()
            if name not in self._runs:
                self._ran[name] = what
            elif (news := self._runs[name].take_ran(what)) is not None:
                records.append(RunInfo(name, news))
        return records

    def tell_again(self) -> None:
        """What was told of the runs is not stored: it is news again."""
        for run in self._runs.values():
            run.is_told = False
            if run.ran:
                self._learned.append((run.name, run.ran))

    def forget(self, name: str) -> None:
        for kept in (self._runs, self._configs, self._units, self._ran, self._series):
            kept.pop(name, None)

    def _make(self, name: str, folder: Path, single_file: bool, files: Sequence[str] = ()) -> RunFolder:
        configs, before_s = self._configs.pop(name, {}), self._last_times.get(name)
        run = RunFolder(name, folder, single_file, self._host, configs, files, before_s)
        if unit := self._units.pop(name, ""):
            run.kind["unit"] = unit
        for path, names in self._series.pop(name, {}).items():
            if os.path.exists(path):  # noqa: PTH110  # false for a name that no file can have
                run.source_priority.keep(names, path.name)
        self._runs[name] = run
        return run

    def _of_id(self, path: Path, id_: str, folder: Path) -> RunFolder:
        """The run of a folder whose name is but an id."""
        known = format_of(path)
        if id_ not in self._titled and known is not None and known.title is not None:
            above = folder.parent if folder.parent in (self._tree.root, *self._tops) else folder.parent.parent
            inside = (
                self._tree.front or "."
                if above == self._tree.home
                else escape_control_in_path(self._tree.name_of(above))
            )
            try:
                title = known.title(folder, self._small_file)
            except Exception as error:  # a title is a stranger's text: the run is read without it
                log.warning(
                    "%s is called by its id: its title cannot be read (%s: %s)", folder, type(error).__name__, error
                )
                title = f"{folder.parent.name}/{folder.name}"
            self._name(id_, inside, title, folder.name, folder)
        name = self._titled[id_]
        run = self._runs.get(name) or self._make(name, folder, False)
        run.note_file(path)
        return run

    def _id_of(self, key: str) -> str:
        """Of a file with that key, or of a run in a database; "" where the run is called by the file's place."""
        if "#" in key and format_of(key.partition("#")[0]) is not None:
            return key
        path = self._tree.path_of(key)
        place = place_of(path, self._tree) if path.is_relative_to(self._tree.root) else None
        return place.run if place is not None and place.is_id else ""

    def _small_file(self, path: Path) -> bytes:
        """b"" for what cannot be read."""
        try:
            return read_file(path, self.top_of(path), MAX_META_BYTES)[0]
        except (OSError, NotRead):
            return b""

    def _name(self, key: str, above: str, title: str, id_: str, own: Path | None = None) -> None:
        """A run with the title of another one, or with the place of one, has its id in its name, too. `own` is its folder."""
        plain = f"{above}/{titled(title)}".removeprefix("./")
        is_a_place = self._tree.path_of(plain) != own and os.path.lexists(self._tree.path_of(plain))
        self._title(key, self._free(plain, id_, but=plain if is_a_place else ""))

    def _leave_the_name(self, name: str) -> None:
        """A run that is called by its place: one with that title gets its id as a part of its name."""
        if (key := self._ids.pop(name, None)) is not None:
            self._runs.pop(name, None)
            self._title(key, self._free(name, key.rpartition("#" if "#" in key else "/")[2], but=name))

    def _title(self, key: str, name: str) -> None:
        self._titled[key], self._ids[name] = name, key

    def _free(self, plain: str, id_: str, but: str = "") -> str:
        """The first name that is no other run's, and is not `but`."""
        names = plain, f"{plain}-{titled(id_)[:SHORT_ID]}", f"{plain}-{titled(id_)}"
        numbered = (f"{names[-1]}-{number}" for number in itertools.count(len(self._titled)))
        return next(name for name in itertools.chain(names, numbered) if name != but and not self._is_taken(name))

    def _is_taken(self, name: str) -> bool:
        return name in self._ids or name in self._stored or name in self._runs


def titled(title: str) -> str:
    """A title that a program gave, as a part of a run's name: `"../a b" -> "a b"`."""
    kept = "/".join(part for part in escape_control(title.strip()).split("/") if part.strip() not in ("", ".", ".."))
    return kept[:MAX_TITLE_CHARS] or "unnamed"
