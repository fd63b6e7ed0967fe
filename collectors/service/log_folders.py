"""Which log folders a dashboard follows, and where it stores what it reads: of one to be started, and of the one that a command is about."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..process.second_names import USUAL
from . import folders, lock

SEVERAL = "-several"  # of the data folder, where several log folders are followed: their runs have other names


class LogFolders(NamedTuple):
    log_dir: Path  # names of runs are relative to it
    only: tuple[str, ...]  # paths of folders in it: nothing else of it is followed; () for all
    data_dir: Path

    @property
    def folders(self) -> list[Path]:
        return [self.log_dir / name for name in self.only] or [self.log_dir]

    def name_of(self, run: Path) -> str:
        """Of the run in this folder, as its dashboard shows it."""
        return run.relative_to(self.log_dir).as_posix()


def add_place(parser: argparse.ArgumentParser) -> None:
    """`--log-dir`, which may be repeated, and `--data-dir`, for a command about a dashboard or its store: `place_of` reads them."""
    parser.add_argument(
        "--log-dir",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="log folder of the dashboard; may be repeated (default: those of the dashboard that ran last here)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where its data is stored (default: <log-dir>/.deepseek, or .deepseek-several)",
    )


def place_of(parsed: argparse.Namespace) -> LogFolders:
    """Of the dashboard that runs over the named folders or those found here, else of the one that ran last. The data folder need not exist."""
    given: list[Path] = parsed.log_dir or found_here()
    if parsed.data_dir is None:
        return last_used(given)
    data_dir: Path = parsed.data_dir.resolve()
    usual = of_folders(given)._replace(data_dir=data_dir)
    recorded = _recorded(data_dir)
    return recorded if recorded and (not parsed.log_dir or recorded.log_dir == usual.log_dir) else usual


def found_here() -> list[Path]:
    """The usual log folders below the current one; `logs`, which may not exist, where there is none."""
    return [folder for name in USUAL if (folder := Path(name)).is_dir()] or [Path(USUAL[0])]


def of_folders(given: Sequence[Path]) -> LogFolders:
    """What a dashboard that is started over these folders follows."""
    log_dir, only = together([folder.resolve() for folder in given])
    data_dir = folders.data_dir_of(log_dir / only[0] if only else log_dir)
    return LogFolders(log_dir, only, _of_several(data_dir) if only else data_dir)


def last_used(given: Sequence[Path]) -> LogFolders:
    """Of the dashboards that follow one of these folders, alone or with others, the one that runs, else the one that was started last;
    `of_folders` where none ever was."""
    usual = of_folders(given)
    found = {usual.data_dir: usual} | {each.data_dir: each for folder in given for each in _that_follow(folder.resolve())}

    def use(each: LogFolders) -> tuple[bool, bool, float]:
        return lock.writer_of(each.data_dir) is not None, each.data_dir.is_dir(), lock.taken_s(each.data_dir)

    chosen = max(found.values(), key=use)  # the first of equals
    return chosen._replace(data_dir=chosen.data_dir.resolve())


def together(given: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """`[/a/logs] -> /a/logs, ()`; `[/a/logs, /a/b/runs] -> /a, ("logs", "b/runs")`. One that lies in another one is left out."""
    kept = [
        folder for folder in dict.fromkeys(given) if not any(folder != other and folder.is_relative_to(other) for other in given)
    ]
    if len(kept) == 1:
        return kept[0], ()
    common = Path(os.path.commonpath(kept))
    return common, tuple(str(folder.relative_to(common)) for folder in kept)


def _that_follow(folder: Path) -> Iterator[LogFolders]:
    """Those of the folder alone, and of several where their store is in this one or in a usual one beside it."""
    yield LogFolders(folder, (), folders.data_dir_of(folder))
    for first in dict.fromkeys([folder, *(folder.parent / name for name in USUAL)]):
        several = _recorded(_of_several(folders.data_dir_of(first)))
        parts = Path(several.only[0]).parts if several and several.only else ()
        if several and parts and first.parts[-len(parts) :] == parts:  # else the folder was moved since, and has another name
            here = several._replace(log_dir=first.parents[len(parts) - 1])
            if folder in here.folders:
                yield here


def _of_several(data_dir: Path) -> Path:
    return data_dir.with_name(f"{data_dir.name}{SEVERAL}")


def _recorded(data_dir: Path) -> LogFolders | None:
    """As the last collector of this data folder left word."""
    options = lock.last_options(data_dir)
    with suppress(KeyError, TypeError):
        return LogFolders(Path(options["log_dir"]), tuple(map(str, options["only"])), data_dir)
    return None
