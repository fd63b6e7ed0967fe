"""Options of the collector, with durations and sizes as users write them: `30d`, `20GB`."""

from __future__ import annotations

import argparse
import base64
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from access.program import positive
from deepseek.log.redaction import redacted

from .folders import LogTree

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

NO_SIZE = 0  # of `none`

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]+)", re.IGNORECASE)


def seconds(text: str) -> float:
    """`30d -> 2592000.0`"""
    return _quantity(text, SECONDS, "duration such as 30d")


def size_bytes(text: str) -> int:
    """`20GB -> 20000000000`"""
    return int(_quantity(text, BYTES, "size such as 20GB"))


def size_or_none(text: str) -> int:
    """`20GB -> 20000000000`, `none -> NO_SIZE`"""
    return NO_SIZE if text.strip().lower() == "none" else size_bytes(text)


def written_seconds(value: float) -> str:
    return f"{value!r}s"


def written_bytes(value: int) -> str:
    return f"{value}B"


def written_size(value: int) -> str:
    return "none" if value == NO_SIZE else written_bytes(value)


def _quantity(text: str, units: Mapping[str, int], what: str) -> float:
    """A positive amount of a unit, in any case. Raises the error whose sentence argparse shows."""
    found = _QUANTITY.fullmatch(text.strip())
    scale = {unit.lower(): value for unit, value in units.items()}.get(found[2].lower()) if found else None
    if found is None or scale is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} (units: {', '.join(units)})")
    return float(found[1]) * scale


# The disk space that a store may take where no --max-size was given.

MAX_BYTES = 20 * 10**9
SHARE = 0.05  # of the disk
STEP_BYTES = 10**9  # what a larger store is rounded up to: the same at each start


class SizeLimit(NamedTuple):
    """`sentence` is for the start: the limit and where it comes from. `max_bytes` is None where the disk's size is unknown."""

    max_bytes: int | None
    sentence: str


def default_limit(data_dir: Path) -> SizeLimit:
    """The smaller of 20 GB and 5% of the disk. A store that is larger already keeps its size: an update deletes nothing."""
    try:
        disk, used_bytes = os.statvfs(data_dir), _used_bytes(data_dir)
    except OSError as error:
        return SizeLimit(None, f"the store in {data_dir} has no limit ({error.strerror}); set one with --max-size")
    share = int(disk.f_blocks * disk.f_frsize * SHARE)
    if not share:  # a file system without a size, as some network ones
        return SizeLimit(
            None, f"the store in {data_dir} has no limit: its disk reports no size; set one with --max-size"
        )
    limit, why = min((MAX_BYTES, "the default"), (share, f"{SHARE:.0%} of its disk"))
    if used_bytes > limit:
        limit, why = math.ceil(used_bytes / STEP_BYTES) * STEP_BYTES, "what it has already"
    amount = f"{limit / 1e9:.3g} GB" if limit >= 10**9 else f"{limit / 1e6:.3g} MB"
    return SizeLimit(
        limit,
        f"the store in {data_dir} may take {amount} ({why}): beyond it the oldest GPU, host and stack samples go; change it with --max-size",
    )


def _used_bytes(data_dir: Path) -> int:
    """Of the files in the folder itself, which are the store's and some small ones."""
    with os.scandir(data_dir) as entries:
        return sum(
            entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file(follow_symlinks=False)
        )


# What `--scrape [name=]URL` names.

NAME = re.compile(r"[\w][\w.:-]{0,99}")
FORM = "--scrape takes [name=]URL, such as vllm=http://localhost:8000/metrics"


class ScrapeTarget(NamedTuple):
    run: str
    url: SplitResult
    authorization: str  # "" where the address has no user

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return redacted(self.url._replace(netloc=self.url.netloc.rpartition("@")[2]).geturl())


def target_of(text: str) -> ScrapeTarget:
    """`"vllm=http://localhost:8000"` -> the run `vllm`, the address `http://localhost:8000/metrics`. Raises ValueError."""
    before, equals, after = text.partition("=")
    is_named = bool(equals) and "/" not in before
    address = after if is_named else text
    url = urlsplit(address)
    try:
        port = url.port
    except ValueError:
        raise ValueError(f"{FORM}; {address!r} has no such port") from None
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or any(ord(sign) <= 32 or ord(sign) > 126 for sign in address)
    ):
        raise ValueError(f"{FORM}; {address!r} is no such address")
    run = before if is_named else f"{url.hostname}:{port}" if port else url.hostname
    if not NAME.fullmatch(run):
        raise ValueError(f"{FORM}; a name has letters, digits, and . : - _ only, and {run!r} others")
    user = url.netloc.rpartition("@")[0]
    authorization = f"Basic {base64.b64encode(unquote(user).encode()).decode()}" if user else ""
    return ScrapeTarget(
        run, url._replace(path=url.path if url.path not in ("", "/") else "/metrics", fragment=""), authorization
    )


def checked(text: str) -> str:
    """For a command line: the text itself. Raises ArgumentTypeError."""
    try:
        target_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


# A collector's options, each written once: for the dashboard's command line, the collector process and its lock.

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
        seconds,
        written_seconds,
    ),
    "max_bytes": Flag(
        "--max-size",
        "maximum store size, e.g. 50GB, or none; deletes the oldest of those samples, then pauses collection (default: 20GB, at most 5%% of the disk, and never pauses)",
        "SIZE",
        size_or_none,
        written_size,
    ),
    "pause": Flag("--no-pause", "go on collecting where runs alone are larger than --max-size"),
    "profile": Flag("--no-profile", "do not sample the trainers' Python stacks"),
    "sampler": Flag("--sampler", "stack sampler (default: native, falling back to py-spy)", "NAME", choices=SAMPLERS),
    "profile_budget": Flag(
        "--profile-budget",
        "maximum CPU use of sampling, of one core (default: 2 for one process to 10 for a hundred; with py-spy 5 to 25)",
        "PERCENT",
        positive,
    ),
    "judge": Flag("--no-findings", "do not look for problems while runs are live: no findings, no alerts"),
    "as_root": Flag(
        "--as-root",
        "as root, also watch other users' runs, each with its owner's rights (default: only root's own)",
        turns_on=True,
    ),
    "scrape": Flag(
        "--scrape",
        "read an OpenMetrics or Prometheus endpoint (vLLM, SGLang, Triton, dcgm-exporter) as a run; may be repeated",
        "[NAME=]URL",
        checked,
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
