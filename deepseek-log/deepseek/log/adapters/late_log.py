"""What the adapters log into: a RunLog that is opened at its first use, because adapters are made before ranks, names and configuration are known."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ..run_log import RunLog
from .guard import Inert

LOG_DIR = "DEEPSEEK_LOG_DIR"


class LateLog:
    """Where the log cannot be opened, `get` raises once and is inert from then on. It is pickled closed: copies open their own."""

    def __init__(self, log_dir: str | Path | None = None, run: str | None = None) -> None:
        """The log folder is this, else that of the environment variable DEEPSEEK_LOG_DIR, else ./logs."""
        self.log_dir = Path(log_dir or os.environ.get(LOG_DIR) or "logs").absolute()
        self.run = run
        self._config: dict[str, Any] = {}
        self._about: dict[str, Any] = {}  # tags and note
        self._log: RunLog | Inert | None = None

    def get(self) -> Any:
        """The RunLog, else an Inert."""
        if self._log is None:
            self._log = Inert()
            rank, world_size = place()
            run = plain_name(self.run) if self.run else shared_name(world_size)
            self._log = RunLog(self.log_dir, run, config=self._config, rank=rank, world_size=world_size)
            self._log.describe(**self._about)
        return self._log

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """As `get().scalars`; from the first call on it is the log's own, so that a step makes no calls in between."""
        log = self.get()
        self.__dict__["scalars"] = log.scalars
        log.scalars(step, values)

    def add_config(self, values: Mapping[str, Any]) -> None:
        self._config.update(values)
        if self._log is not None:
            self._log.add_config(values)

    def describe(self, **about: Any) -> None:
        """As `RunLog.describe`."""
        self._about.update(about)
        if self._log is not None:
            self._log.describe(**about)

    def close(self, error: BaseException | None = None) -> None:
        """The next use opens a new run, or continues the one that has this name."""
        if (log := self._take()) is not None:
            log.close_after(error)

    def close_failed(self, reason: str) -> None:
        """As `close`, where the run did not reach its end and its exception is not known."""
        if (log := self._take()) is not None:
            log.close("crashed", reason)

    @property
    def is_inert(self) -> bool:
        return isinstance(self._log, Inert)

    def never(self) -> None:
        """From now on nothing is logged."""
        self._take()
        self._log = Inert()

    def _take(self) -> RunLog | Inert | None:
        log, self._log, self._config, self._about = self._log, None, {}, {}
        self.__dict__.pop("scalars", None)
        return log

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "scalars"} | {"_log": None}


def place() -> tuple[int, int]:
    """Rank and world size: of torch.distributed where it is in use, else of the environment, as torchrun sets them."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return _env_int("RANK", 0), _env_int("WORLD_SIZE", 1)


def shared_name(world_size: int) -> str | None:
    """A name that all ranks find by themselves, for a run of several that has none; one alone is named by RunLog."""
    if world_size == 1 or os.environ.get("DEEPSEEK_RUN_FOLDER"):
        return None
    return Path(sys.argv[0] if sys.argv else "").stem or "python"


def _env_int(name: str, default: int) -> int:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return default


# The name of a run, from whatever a script gave as one: a folder inside the log folder, which every file system takes.

MAX_BYTES = 120  # of a part: a file system takes 255, and a number may follow
MAX_PARTS = 8
HASH_CHARS = 8


def plain_name(name: object) -> str:
    """`a/b -> a/b`; of a path that leaves the log folder its last part: `/tmp/x/out -> out`, `../out -> out`; `.out -> out`; a long name is cut."""
    parts = PurePath(str(name)).parts
    leaves = PurePath(str(name)).is_absolute() or ".." in parts
    plain = [part for part in map(_plain_part, parts) if part]
    return "/".join(plain[-1:] if leaves else plain[-MAX_PARTS:]) or "run"


def _plain_part(part: str) -> str:
    """Long names that differ in their ends only stay different: what is cut becomes a hash."""
    part = "".join(char if char.isprintable() else "-" for char in part.strip("/")).strip().lstrip(". ")
    data = part.encode()
    if len(data) <= MAX_BYTES:
        return part
    kept = data[: MAX_BYTES - HASH_CHARS - 1].decode(errors="ignore").rstrip()
    return f"{kept}-{hashlib.sha256(data).hexdigest()[:HASH_CHARS]}"


# The phases of a step that follow each other: a library says when one begins, and the one before it ends there.


class Laps:
    def __init__(self, log: Any) -> None:
        self._log = log
        self._running: Any = None

    def begin(self, name: str) -> None:
        """What ran until now ends."""
        self.end()
        self.restart(name)

    def restart(self, name: str) -> None:
        """What ran since the last call is not counted: an evaluation is no part of a step."""
        self._running = self._log.phase(name)
        self._running.__enter__()

    def end(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None
