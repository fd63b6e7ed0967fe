"""A run's description: `run.json`, and the process in the start event."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Number
from pathlib import Path
from time import time
from typing import Any

from .files import MAX_ITEMS, excerpt, readable, text, warn
from .redaction import without_secrets

JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "RAY_JOB_ID", "TORCHELASTIC_RUN_ID")
RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
KEPT = ("pid", "host", "started_s", "tags", "note")  # of the first start, when the run goes on


class InfoFile:
    """`run.json`: written at the start, and anew when more of the configuration is known."""

    def __init__(
        self, path: Path, what: Mapping[str, object], config: Mapping[str, Any], process: Mapping[str, object]
    ) -> None:
        self._path = path
        self._config: dict[str, object] = _readable(config)
        self._info = {
            **what,
            "config": self._config,
            "command": shlex.join(without_secrets(_command())),
            "cwd": str(Path.cwd()),
            "git_commit": None,
            "pid": process["pid"],
            "host": process["host"],
            "started_s": round(time(), 6),
        }
        self._waits = False

    def write(self) -> None:
        """At the start, with the commit, and with what a run that is continued said of its first start."""
        self._info["git_commit"] = _git_commit()
        with suppress(FileNotFoundError, ValueError):
            first = json.loads(self._path.read_text())
            if isinstance(first, dict):
                self._info |= {key: first[key] for key in KEPT if key in first}
                if not self._config and isinstance(first.get("config"), dict):
                    self._info["config"] = self._config = first["config"]
        self._replace()

    def add(self, config: Mapping[str, Any]) -> None:
        """For the training thread: nothing is written yet."""
        self._info["config"] = self._config = dict([*self._config.items(), *_readable(config).items()][:MAX_ITEMS])
        self._waits = True

    def describe(self, fields: Mapping[str, object]) -> None:
        """For the training thread, likewise."""
        self._info |= fields
        self._waits = True

    def flush(self) -> None:
        """For the writer thread."""
        if self._waits:
            self._waits = False
            try:
                self._replace()
            except Exception as error:  # of the disk, or of a value of the script's own
                warn(f"cannot write {self._path} ({error}): what was added to the configuration is missing there")

    def _replace(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(readable(self._info), indent=1) + "\n")
        temporary.replace(self._path)


def _readable(config: object) -> dict[str, object]:
    """A mapping, or an object's attributes: `config=args` of argparse, a dataclass."""
    named = config if isinstance(config, Mapping) else getattr(config, "__dict__", None)
    if not isinstance(named, Mapping):
        warn(f"the configuration is not logged: {type(config).__name__} has no names")
        return {}
    found: dict[str, object] = readable(named)
    return found


def process() -> dict[str, object]:
    """The identity of this process, so that a later one with the same pid is not taken for it; fields missing in /proc are left out."""
    process: dict[str, object] = {"pid": os.getpid(), "host": os.uname().nodename}
    with suppress(OSError):
        stat = Path("/proc/self/stat").read_text()
        process["pid_start_ticks"] = int(
            stat.rpartition(")")[2].split()[19]
        )  # field 22; the name before it may hold spaces
        process["boot_id"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return process


def place(rank: int, world_size: int) -> dict[str, object]:
    """This process's place in the run, from its environment: `{"rank": 3, "world_size": 16, "local_rank": 1, "job_id": "4127"}`."""
    place: dict[str, object] = {"rank": rank, "world_size": world_size}
    if (local_rank := env_int("LOCAL_RANK", -1)) >= 0:
        place["local_rank"] = local_rank
    if job := next((value for name in JOBS if (value := os.environ.get(name)) not in (None, "", "none")), None):
        place["job_id"] = text(job)
    if (restarts := next((count for name in RESTARTS if (count := env_int(name, -1)) >= 0), -1)) >= 0:
        place["restarts"] = restarts
    return place


def env_int(name: str, default: int) -> int:
    """An integer of the environment, or the default."""
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return default


def _command() -> list[str]:
    """As it was typed; Python 3.9 does not say what stood before the script's name."""
    return sys.orig_argv if sys.version_info >= (3, 10) else [sys.executable, *sys.argv]


def _git_commit() -> str | None:
    folder = Path(sys.argv[0] if sys.argv else "").resolve().parent
    with suppress(OSError, subprocess.TimeoutExpired):
        git = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(git, capture_output=True, text=True, timeout=2, check=False).stdout.strip() or None
    return None


# The tags and the note that a script gives its run, in the form in which the Runs page shows them; nothing here may end a training.

MAX_TAGS, MAX_TAG_CHARS, MAX_NOTE_CHARS = 20, 50, 4000
MAX_GIVEN = 1000  # tags that are looked at: an iterator may have no end


def tags_of(given: object) -> list[str] | None:
    """`"baseline" -> ["baseline"]`, `["a", 1, None] -> ["a", "1"]`; None for what is no tags. What is lost is said on stderr."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, (bytes, bytearray, Mapping)):
        warn(f"tags are not set: {type(given).__name__} is neither a list of texts nor a text")
        return None
    try:
        found = list(itertools.islice(given, MAX_GIVEN))
    except Exception as error:  # the iterable's own
        warn(f"tags are not set: reading them raised {type(error).__name__}")
        return None
    tags = dict.fromkeys(filter(None, map(_tag, found)))
    if len(tags) > MAX_TAGS:
        warn(f"a run has at most {MAX_TAGS} tags: {len(tags) - MAX_TAGS} more are left out")
    return list(tags)[:MAX_TAGS]


def note_of(given: object) -> str | None:
    """Text or a number, as text; None for anything else, and a long one is cut: both are said on stderr."""
    if not isinstance(given, (str, Number)):
        warn(f"the note is not set: {type(given).__name__} is not text")
        return None
    note = _whole_text(given)
    if len(note) > MAX_NOTE_CHARS:
        warn(f"the note is cut: it has {len(note):,} characters, of which {MAX_NOTE_CHARS:,} are kept")
    return excerpt(note, MAX_NOTE_CHARS)


def _tag(given: object) -> str:
    """One line; "" for what is no tag."""
    if not isinstance(given, (str, Number)):
        warn(f"a tag is left out: {type(given).__name__} is not text")
        return ""
    tag = " ".join(_whole_text(given).replace("\0", " ").split())
    if not tag:
        warn("a tag is left out: it is empty")
    if len(tag) > MAX_TAG_CHARS:
        warn(f"a tag is cut: {excerpt(tag, MAX_TAG_CHARS)!r} has more than {MAX_TAG_CHARS} characters")
    return excerpt(tag, MAX_TAG_CHARS)


def _whole_text(given: object) -> str:
    """Not cut yet, as `text` would do."""
    return given.encode("utf-8", "backslashreplace").decode() if isinstance(given, str) else text(given)
