"""Which folder wandb's calls are written into, and how far a run that goes on had come."""

from __future__ import annotations

import json
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .names import plain_name

RESUMES = ("allow", "must", "auto", True)
MOST_RUNS = 5_000  # that are searched for an id
MOST_INFO_BYTES = 1 << 20
TAIL_BYTES = 4 << 20


def folder_name(log_dir: Path, name: str, id: str, resume: Any, several_ranks: bool) -> str:
    """The run of this id, else the one of this name if `resume` asks for it and it has no other id, else a free name: `a -> a-2`.

    `name` may be the id. Several ranks agree on the name without a word between them, so theirs is never changed.
    """
    if id and resume != "never" and (found := with_id(log_dir, id)):
        return found
    name = free = plain_name(name)
    goes_on = resume in RESUMES or (id and name == plain_name(id) and resume != "never")
    if several_ranks or (goes_on and (not id or id_of(log_dir / name) in ("", id))):
        return name
    count = 1
    while (log_dir / free).exists():
        count += 1
        free = f"{name}-{count}"
    return free


def with_id(log_dir: Path, id: str) -> str:
    """The name of the run that was begun with this id, or ""."""
    files = chain(log_dir.glob("*/run.json"), log_dir.glob("*/*/run.json"))
    folders = (file.parent for file in islice(files, MOST_RUNS))
    return next((folder.relative_to(log_dir).as_posix() for folder in folders if id_of(folder) == id), "")


def id_of(folder: Path) -> str:
    """wandb's id of a run, or ""."""
    return known(config_of(folder), "id")


def config_of(folder: Path) -> dict[str, Any]:
    """The configuration of a run, with its names as `wandb`; empty where there is none."""
    try:
        with (folder / "run.json").open("rb") as file:
            config = json.loads(file.read(MOST_INFO_BYTES))["config"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def known(config: dict[str, Any], key: str) -> str:
    """Of wandb's `name`, `project` and `id` in a configuration, or ""."""
    names = config.get("wandb")
    return str(names.get(key, "")) if isinstance(names, dict) else ""


def begun(folder: Path, rank: int) -> bool:
    """Has this rank written into it before?"""
    return (folder / f"events{_suffix(rank)}.jsonl").exists()


def next_step(folder: Path, rank: int) -> int:
    """The step after the last one that is in this rank's file: wandb goes on there."""
    try:
        with (folder / f"metrics{_suffix(rank)}.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return 0
    return next((step + 1 for step in map(_step, reversed(lines)) if step is not None), 0)


def _suffix(rank: int) -> str:
    return f".rank{rank}" if rank else ""


def _step(line: bytes) -> int | None:
    """None of a line that is cut, or has none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None
