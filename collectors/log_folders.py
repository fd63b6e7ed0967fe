"""Which log folders a dashboard follows, and where it stores what it reads: of one to be started, and of the one that a command is about."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from . import folders, writer_lock
from .folders import LogTree
from .keeper.linked_folders import USUAL

STORE_FILES = "runs.sqlite", writer_lock.FILE  # of a data folder in which a dashboard has worked
OF_SEVERAL = "-several"  # ended the names of data folders that earlier versions made for several log folders


class LogFolders(NamedTuple):
    log_dir: Path  # holds all that is followed
    only: tuple[
        str, ...
    ]  # paths of folders in it, the one with the store first: nothing else of it is followed; () for all
    data_dir: Path
    front: str = ""  # as in LogTree

    @property
    def tree(self) -> LogTree:
        return LogTree(self.log_dir, self.only, self.front)

    @property
    def folders(self) -> list[Path]:
        return self.tree.tops

    def name_of(self, run: Path) -> str:
        """Of the run in this folder, as its dashboard shows it."""
        return self.tree.name_of(run)


def add_place(parser: argparse.ArgumentParser) -> None:
    """`--log-dir`, which may be repeated, and `--data-dir`, for a command about a dashboard or its store: `place_of` reads them."""
    parser.add_argument(
        "--log-dir",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="log folder of the dashboard; may be repeated (default: those of the dashboard last run here)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where its data is stored (default: <log-dir>/.deepseek of the folder that has one)",
    )


def place_of(parsed: argparse.Namespace) -> LogFolders:
    """Of the dashboard that runs over the named folders or those found here, else of the one that ran last. The data folder need not exist."""
    given: list[Path] = parsed.log_dir or default_log_folders()
    if parsed.data_dir is None:
        return last_used(given)
    data_dir: Path = parsed.data_dir.resolve()
    usual, recorded = of_folders(given, data_dir), _recorded(data_dir)
    return recorded if recorded and (not parsed.log_dir or recorded.log_dir == usual.log_dir) else usual


def default_log_folders() -> list[Path]:
    """The usual log folders below the current one; `logs`, which may not exist, where there is none."""
    return [folder for name in USUAL if (folder := Path(name)).is_dir()] or [Path(USUAL[0])]


def of_folders(given: Sequence[Path], data_dir: Path | None = None) -> LogFolders:
    """What a dashboard that is started over these folders follows, and its store: that of the first folder which has one, be it of this
    folder alone or of several, else in the first one."""
    log_dir, only = common_root([folder.resolve() for folder in given])
    if only:
        only = tuple(sorted(only, key=lambda name: _order(log_dir / name, data_dir)))
    home = log_dir / only[0] if only else log_dir
    found = data_dir or store_of(home)
    recorded = _recorded(found)
    return LogFolders(log_dir, only, found, recorded.front if recorded else "")


def store_of(log_dir: Path) -> Path:
    """The data folder of a log folder; one that an earlier version made for several, where only that is there."""
    usual = folders.data_dir_of(log_dir)
    return legacy_store_of(log_dir) if not is_store(usual) and is_store(legacy_store_of(log_dir)) else usual


def legacy_store_of(log_dir: Path) -> Path:
    """Where earlier versions stored what they read of several log folders, this one first."""
    usual = folders.data_dir_of(log_dir)
    return usual.with_name(f"{usual.name}{OF_SEVERAL}")


def is_store(data_dir: Path) -> bool:
    return any((data_dir / name).exists() for name in STORE_FILES)


def unused_stores(place: LogFolders) -> dict[Path, Path]:
    """Stores of its folders that are not the one it uses, and the folder of each."""
    stores = {store_of(folder).resolve(): folder for folder in place.folders}
    return {store: folder for store, folder in stores.items() if is_store(store) and store != place.data_dir.resolve()}


def last_used(given: Sequence[Path]) -> LogFolders:
    """Of the dashboards that follow one of these folders, alone or with others, the one that runs, else the one that was started last;
    `of_folders` where none ever was."""
    usual = of_folders(given)
    found = {usual.data_dir: usual}
    for each in (each for folder in given for each in _that_follow(folder.resolve())):
        if each.data_dir not in found or len(each.only) > len(found[each.data_dir].only):
            found[each.data_dir] = each

    def use(each: LogFolders) -> tuple[bool, bool, float]:
        return (
            writer_lock.writer_of(each.data_dir) is not None,
            each.data_dir.is_dir(),
            writer_lock.taken_s(each.data_dir),
        )

    chosen = max(found.values(), key=use)  # the first of equals
    return chosen._replace(data_dir=chosen.data_dir.resolve())


def common_root(given: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """`[/a/logs] -> /a/logs, ()`; `[/a/logs, /a/b/runs] -> /a, ("logs", "b/runs")`. One that lies in another one is left out."""
    kept = [
        folder
        for folder in dict.fromkeys(given)
        if not any(folder != other and folder.is_relative_to(other) for other in given)
    ]
    if len(kept) == 1:
        return kept[0], ()
    common = Path(os.path.commonpath(kept))
    return common, tuple(str(folder.relative_to(common)) for folder in kept)


def _order(folder: Path, data_dir: Path | None) -> int:
    """Where the store of several folders is looked for first."""
    if data_dir is not None:
        recorded = _recorded(data_dir)
        return int(recorded is None or recorded.tree.home != folder)
    usual = folders.data_dir_of(folder)
    if not is_store(usual):
        return 2 if is_store(legacy_store_of(folder)) else 3 if folder.is_dir() else 4
    recorded = _recorded(usual)
    return 0 if recorded and recorded.only else 1


def _that_follow(folder: Path) -> Iterator[LogFolders]:
    """Those with their store in this folder, or in a usual one beside it that is followed together with it."""
    for first in dict.fromkeys([folder, *(folder.parent / name for name in USUAL)]):
        data_dir = store_of(first)
        recorded = _recorded(data_dir)
        parts = Path(recorded.only[0]).parts if recorded and recorded.only else ()
        if (
            recorded and parts and first.parts[-len(parts) :] == parts
        ):  # else the folder was moved since, and has another name
            here = recorded._replace(log_dir=first.parents[len(parts) - 1])
            if folder in here.folders:
                yield here
        elif first == folder:
            yield LogFolders(folder, (), data_dir, recorded.front if recorded else "")


def _recorded(data_dir: Path) -> LogFolders | None:
    """As the last collector of this data folder left word. Earlier versions put the folder's name before all runs of several folders."""
    options = writer_lock.last_options(data_dir)
    with suppress(KeyError, TypeError):
        only = tuple(map(str, options["only"]))
        return LogFolders(Path(options["log_dir"]), only, data_dir, str(options.get("front", only[0] if only else "")))
    return None
