"""A run's checkpoints: what its events say of them, and the files that lie in its folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collectors.received import BY_OTHERS
from collectors.records import Event
from collectors.rights.acting import NotGiven, acting_as, rights_of_user

MOST_FILES = 500
MOST_LOOKED_AT = 5_000  # entries of the run's folder
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
FOLDER = re.compile(r"(checkpoint|ckpt|step|epoch|global_step)[-_=]?\d+")
HOLD_THEM = ("checkpoints", "ckpts", "weights")  # folders of such files
STEP = re.compile(r"(\d+)(?!.*\d)")
REPLACED = "A later one was written under the same name."
NOT_HERE = "Its file is not in the run's folder."


@dataclass(frozen=True)
class Checkpoint:
    name: str  # of the file in the run's folder, else what the event says
    step: int | None
    time_s: float  # of the event, else of the last write
    bytes: int | None  # None where there is no file
    seconds: float | None  # that saving took
    note: str  # one sentence on why there is no size; "" where there is one


def checkpoints_of(events: Sequence[Event], folder: Path | None, uid: int) -> list[Checkpoint]:
    """By time. A file that several events name is that of the newest of them. Root looks for them with the rights of user `uid`."""
    files: dict[str, tuple[int, float]] = {}
    if folder and uid != BY_OTHERS:
        with suppress(NotGiven), acting_as(rights_of_user(uid)):
            files = dict(_files(folder))
    unnamed = dict(files)
    found: list[Checkpoint] = []
    for event in sorted(events, key=lambda event: event.time_s, reverse=True):
        name = _named(event, files)
        there = unnamed.pop(name, None)
        note = "" if there else REPLACED if name in files else NOT_HERE
        found.append(
            Checkpoint(name or event.text, event.step, event.time_s, there[0] if there else None, event.seconds, note)
        )
    found += [
        Checkpoint(name, _step_in(name), written_s, size, None, "") for name, (size, written_s) in unnamed.items()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.time_s)


def _named(event: Event, files: dict[str, tuple[int, float]]) -> str:
    """The file that an event means; "" where it is not there."""
    said = [event.fields.get("path"), event.fields.get("file"), event.text, *event.text.split()]
    names = [part for text in said if isinstance(text, str) for part in (text, text.rstrip("/").rpartition("/")[2])]
    return next((name for name in names if name in files), "")


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, float]]]:
    """Name, size and last write of what looks like a checkpoint."""
    looked = kept = 0
    for place in (folder, *(folder / name for name in HOLD_THEM)):
        prefix = "" if place == folder else f"{place.name}/"
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    looked += 1
                    if looked > MOST_LOOKED_AT or kept >= MOST_FILES:
                        return
                    if (found := _looked_at(entry)) is not None:
                        kept += 1
                        yield prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace"), found
        except OSError:
            continue


def _looked_at(entry: os.DirEntry[str]) -> tuple[int, float] | None:
    try:
        about = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(about.st_mode) and entry.name.lower().endswith(SUFFIXES):
            return about.st_size, about.st_mtime
        if stat.S_ISDIR(about.st_mode) and FOLDER.fullmatch(entry.name.lower()):
            return _size_of(entry.path), about.st_mtime
    except OSError:
        pass
    return None


def _size_of(folder: str) -> int:
    """Of the files that lie directly in it."""
    with os.scandir(folder) as entries:
        found = [entry.stat(follow_symlinks=False) for entry, _ in zip(entries, range(MOST_FILES), strict=False)]
    return sum(about.st_size for about in found if stat.S_ISREG(about.st_mode))


def _step_in(name: str) -> int | None:
    """`checkpoint-500 -> 500`, `epoch=3-step=1200.ckpt -> 1200`"""
    found = STEP.search(name.rpartition(".")[0] if "." in name else name)
    return int(found[1]) if found and len(found[1]) < 16 else None
