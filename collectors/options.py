"""A collector's options, each written once: for the dashboard's command line, the collector process and its lock."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from . import amounts
from .log_tree import LogTree
from .scrape.target import checked as scrape_target

SAMPLERS = ("native", "py-spy")


class Flag(NamedTuple):
    """How a field of `CollectorOptions` is written on a command line."""

    name: str
    help: str
    metavar: str | None = None  # None for a switch
    parse: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    choices: tuple[str, ...] | None = None
    turns_on: bool = False  # a switch; others turn the field off
    repeated: bool = False  # the field is a tuple, with a value for each time that the flag is there


FLAGS = {
    "log_dir": Flag("--log-dir", "log folder to follow (default: ./logs)", "FOLDER", Path),
    "data_dir": Flag("--data-dir", "where data is stored (default: <log-dir>/.deepseek)", "FOLDER", Path),
    "only": Flag(
        "--only", "a folder of the log folder: follow this one, and others that are named so", "FOLDER", repeated=True
    ),
    "front": Flag(
        "--front", "what stands before the names of runs in the first of these folders (default: nothing)", "NAME"
    ),
    "retention_s": Flag(
        "--retention",
        "delete GPU, host and profile samples older than this, e.g. 30d; runs are kept (default: never)",
        "TIME",
        amounts.seconds,
        amounts.written_seconds,
    ),
    "max_bytes": Flag(
        "--max-size",
        "maximum store size, e.g. 50GB, or none; deletes the oldest of those samples, then pauses collection (default: 20GB, at most 5 %% of the disk, and never pauses)",
        "SIZE",
        amounts.size_or_none,
        amounts.written_size,
    ),
    "pause": Flag("--no-pause", "go on collecting where runs alone are larger than --max-size"),
    "profile": Flag("--no-profile", "do not sample the trainers' Python stacks"),
    "sampler": Flag("--sampler", "stack sampler (default: native, falling back to py-spy)", "NAME", choices=SAMPLERS),
    "profile_budget": Flag(
        "--profile-budget",
        "maximum CPU use of sampling, of one core (default: 2 for one process to 10 for a hundred; with py-spy 5 to 25)",
        "PERCENT",
        amounts.positive,
    ),
    "judge": Flag("--no-findings", "do not judge the runs and the machine while they run: no findings, no alerts"),
    "as_root": Flag(
        "--as-root",
        "as root, look at other users' runs, too: at each with its owner's rights (default: at root's own only)",
        turns_on=True,
    ),
    "scrape": Flag(
        "--scrape",
        "read an OpenMetrics or Prometheus endpoint (vLLM, SGLang, Triton, dcgm-exporter) as a run; may be repeated",
        "[NAME=]URL",
        scrape_target,
        repeated=True,
    ),
}


@dataclass(frozen=True)
class CollectorOptions:
    """`parse(flags())` gives equal options."""

    log_dir: Path
    data_dir: Path
    only: tuple[str, ...] = ()  # paths of folders in log_dir: nothing else of it is followed; () for all
    front: str = ""  # as in LogTree
    retention_s: float | None = None
    max_bytes: int | None = None  # amounts.NO_SIZE: no limit was asked for; None: nothing was said
    pause: bool = True  # where nothing is left to delete
    profile: bool = True
    sampler: str | None = None
    profile_budget: float | None = None  # percent of a core
    judge: bool = True
    as_root: bool = False
    scrape: tuple[str, ...] = ()

    @property
    def tree(self) -> LogTree:
        return LogTree(self.log_dir, self.only, self.front)

    def flags(self) -> list[str]:
        """Those that differ from the defaults."""
        return list(self._words())

    def _words(self) -> Iterator[str]:
        for field in fields(self):
            flag, value = FLAGS[field.name], getattr(self, field.name)
            if value == field.default:
                continue
            for item in value if flag.repeated else (value,):
                yield flag.name
                if flag.metavar is not None:
                    yield flag.write(item)

    def as_json(self) -> dict[str, Any]:
        """For the writer's lock: two collectors of equal options do the same. The lock is in the data folder, which is therefore left out."""
        return {name: _plain(value) for name, value in asdict(self).items() if name != "data_dir"}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def add_flags(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(FLAGS)) -> None:
    """The folders and all others, or those of these fields."""
    for name in names:
        flag = FLAGS[name]
        if flag.metavar is None:
            parser.add_argument(
                flag.name, dest=name, action="store_true" if flag.turns_on else "store_false", help=flag.help
            )
        elif flag.repeated:
            parser.add_argument(
                flag.name, dest=name, type=flag.parse, metavar=flag.metavar, action="append", help=flag.help
            )
        elif flag.choices is not None:
            parser.add_argument(flag.name, dest=name, choices=flag.choices, help=flag.help)
        else:
            default = Path("logs") if name == "log_dir" else None
            parser.add_argument(
                flag.name, dest=name, type=flag.parse, metavar=flag.metavar, default=default, help=flag.help
            )


def options_of(parsed: argparse.Namespace, log_dir: Path, data_dir: Path) -> CollectorOptions:
    """From what `add_flags` parsed, with its folders as they were found."""
    known = {
        field.name: field.default for field in fields(CollectorOptions) if field.name not in ("log_dir", "data_dir")
    }
    given = {name: getattr(parsed, name, None) for name in known}
    others: dict[str, Any] = {name: default if given[name] is None else given[name] for name, default in known.items()}
    others |= {name: tuple(others[name] or ()) for name, flag in FLAGS.items() if flag.repeated}
    return CollectorOptions(log_dir, data_dir, **others)
