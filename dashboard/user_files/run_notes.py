"""What users say about a run: display name, tags, a note, archived, how long it is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import time_ns
from typing import Any, NamedTuple

from access.files import SETTLED_NS, FileStamp, stamp_of
from collectors.records import Searched
from collectors.user_files import ABOUT_FOLDER, days_of, file_name
from collectors.yaml_tree import HALF_CHARACTER, MalformedFile

from . import yaml_file
from .yaml_file import SUFFIX, Table, is_seen

MAX_NAME, MAX_TAGS, MAX_TAG, MAX_NOTE = (
    200,
    20,
    50,
    4000,
)  # characters; escaped and all together they fit into a file
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": False}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunNotes:
    """`name` is "" where the run goes by its own; `trouble` says why all else is at its default although there is a file."""

    name: Searched = ""
    tags: tuple[Searched, ...] = ()
    note: Searched = ""
    archived: bool = False
    keep: str = ""  # after its newest line, such as "30d"; "" is forever
    trouble: Searched = ""


NOTHING = RunNotes()
FIELDS = ("name", "tags", "note", "archived", "keep")
OLD_ARCHIVED = "forgotten"  # a key of older versions: such a run is hidden as an archived one is


class RunNotesReader:
    """Of many runs, read again where a file has changed. May be asked from many threads."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / ABOUT_FOLDER
        self._lock = Lock()
        self._kept: dict[str, _LastRead] = {}

    def of(self, runs: Collection[str]) -> dict[str, RunNotes]:
        """Of those of these runs that have a file. Costs a look at the folder, and what has changed in it."""
        with self._lock:
            stamps = _stamps(self._folder)
            named = {name: run for run in runs if (name := file_name(run)) in stamps} if stamps else {}
            self._kept = {name: self._read(name, stamps[name]) for name in named}
            return {run: self._kept[name].about for name, run in named.items()}

    def _read(self, name: str, stamp: FileStamp) -> _LastRead:
        kept = self._kept.get(name)
        if kept is not None and kept.stamp == stamp and kept.settled:
            return kept
        about = _about_in(self._folder / name)
        if about.trouble and (kept is None or kept.about != about):
            log.warning("%s", about.trouble)
        return _LastRead(stamp, time_ns() - stamp.modified_ns > SETTLED_NS, about)


class _LastRead(NamedTuple):
    stamp: FileStamp
    settled: bool
    about: RunNotes


def of_program(info: Mapping[str, Any]) -> RunNotes:
    """The tags and the note that a program wrote into run.json; what is of no use of them is left out."""
    if not ("tags" in info or "note" in info):
        return NOTHING
    given, note = info.get("tags"), info.get("note")
    found = [tag.strip() for tag in given if isinstance(tag, str)] if isinstance(given, list) else []
    tags = [
        tag
        for tag in dict.fromkeys(found)
        if len(tag) <= MAX_TAG and _is_line(tag) and is_seen(tag) and not HALF_CHARACTER.search(tag)
    ]
    return RunNotes(
        tags=tuple(tags[:MAX_TAGS]),
        note=HALF_CHARACTER.sub("\ufffd", note[:MAX_NOTE]) if isinstance(note, str) else "",
    )


def about_run(data_dir: Path, run: str, program: RunNotes = NOTHING) -> RunNotes:
    """Read anew; `program` is what its program says, where there is no file. An odd file has its `trouble`."""
    path = file_of(data_dir, run)
    return _about_in(path) if path.exists() else program


def save_about(data_dir: Path, run: str, fields: Mapping[str, Any], program: RunNotes = NOTHING) -> RunNotes:
    """Change these fields and leave the others, which are the program's where there is no file yet; the answer is what is said now.

    Between two processes the last whole file wins; inside one the caller holds a lock.
    Raises ValueError for a wrong field, MalformedFile rather than write over what a user meant, Unwritable.
    """
    path = file_of(data_dir, run)
    about = replace(checked(fields, _strict(path) if path.exists() else program), trouble="")
    if "name" in fields and about.name and not is_seen(about.name):
        raise ValueError("name: at least one character that can be seen")
    if not all(map(is_seen, about.tags if "tags" in fields else ())):
        raise ValueError("tags: each with a character that can be seen")
    yaml_file.write(
        path, {name: _plain(getattr(about, name)) for name in FIELDS}, f"What is said about the run {run[:MAX_NAME]!a}"
    )
    return about


def file_of(data_dir: Path, run: str) -> Path:
    return data_dir / ABOUT_FOLDER / file_name(run)


def checked(fields: Mapping[str, Any], before: RunNotes = NOTHING) -> RunNotes:
    """With these fields of their own types. Raises ValueError: one sentence."""
    if unknown := fields.keys() - set(FIELDS):
        raise ValueError(f"unknown key {min(unknown)!r}; known: {', '.join(FIELDS)}")
    about = replace(before, **fields)
    tags = tuple(dict.fromkeys(tag.strip() for tag in about.tags))
    if len(about.name) > MAX_NAME or not _is_line(about.name):
        raise ValueError(f"name: one line of at most {MAX_NAME} characters")
    if len(tags) > MAX_TAGS or not all(tag and len(tag) <= MAX_TAG and _is_line(tag) for tag in tags):
        raise ValueError(f"tags: at most {MAX_TAGS}, each of 1 to {MAX_TAG} characters")
    if len(about.note) > MAX_NOTE:
        raise ValueError(f"note: at most {MAX_NOTE:,} characters")
    if HALF_CHARACTER.search("".join((about.name, *tags, about.note))):
        raise ValueError("name, tags and note: no half characters (lone surrogates)")
    keep = "" if days_of(about.keep) is None else about.keep
    return replace(about, name=about.name.strip(), tags=tags, keep=keep)


def _about_in(path: Path) -> RunNotes:
    try:
        return _strict(path)
    except MalformedFile as error:
        return RunNotes(trouble=str(error))


def _strict(path: Path) -> RunNotes:
    """Raises MalformedFile."""
    return yaml_file.read(path, lambda table: checked(_typed(table)))


def _typed(table: Table) -> dict[str, Any]:
    """Words as what they stand for: `{"archived": "yes"} -> {"archived": True}`. Raises ValueError."""
    typed = {key: _field(key, value) for key, value in table.items()}
    if typed.pop(OLD_ARCHIVED, False):
        typed["archived"] = True
    return typed


def _field(key: str, value: str | list[str]) -> Any:
    if key == "tags":
        if isinstance(value, str) and value:
            raise ValueError("tags: a list such as [baseline, lr-sweep]")
        return tuple(value)
    if isinstance(value, list):
        raise ValueError(f"{key}: not a list")
    if key in ("archived", OLD_ARCHIVED):
        if value.lower() not in WORDS:
            raise ValueError(f"{key}: true or false")
        return WORDS[value.lower()]
    return value


def _stamps(folder: Path) -> dict[str, FileStamp]:
    """By name; what vanishes meanwhile is not there."""
    stamps = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                with suppress(FileNotFoundError):
                    stamps[entry.name] = stamp_of(entry.stat(follow_symlinks=False))
    return stamps


def _is_line(text: str) -> bool:
    return len(text.splitlines()) <= 1 and "\x00" not in text


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
