"""`zoo.lock`: revision, SHA-256 and size of what was fetched, recorded at the first fetch; what differs later is refused."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import ModelsError
from .folder import alone, read_table, write_whole

NAME = "zoo.lock"
FORMAT = 1
REMEDY = "restore it from a copy, or remove it to record what is fetched next"
REVISION = re.compile(r"([0-9a-f]{7,64})?")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_CHARS = 200  # of a reason


class LockedFile(NamedTuple):
    sha256: str
    bytes: int


class LockedModel(NamedTuple):
    """What was fetched under a name of the zoo."""

    id: str  # of the row: a fetch of another id is another model
    revision: str  # the commit of the hub; of an address, ""
    files: dict[str, LockedFile]  # by path within the repository
    licence: str  # as the source stated it at that time; "" where it states none
    parameters: int | None  # as the files state, where they do
    date: str


def read(folder: Path) -> dict[str, LockedModel]:
    """By name. Raises ModelsError for a file that is no lock."""
    place = folder / NAME
    table = read_table(place, REMEDY)
    if table is None:
        return {}
    try:
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}, and this version reads {FORMAT}")
        return {name: _model(entry) for name, entry in table["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelsError(f"{place} cannot be read ({str(error)[:MOST_CHARS]}); {REMEDY}") from error


def _model(entry: Mapping[str, Any]) -> LockedModel:
    """Raises ValueError for what names a file elsewhere, or is of another type: the file may come from another host."""
    files = {_path(path): _file(file) for path, file in entry["files"].items()}
    licence, parameters, date = entry.get("licence", ""), entry.get("parameters"), entry.get("date", "")
    texts = all(isinstance(text, str) for text in (entry["id"], entry["revision"], licence, date))
    if not texts or not REVISION.fullmatch(entry["revision"]) or not (parameters is None or type(parameters) is int):
        raise ValueError(f"the entry of {entry['id']!r} has a field of another kind")
    return LockedModel(entry["id"], entry["revision"], files, licence, parameters, date)


def _path(text: str) -> str:
    parts = PurePosixPath(text).parts
    if not parts or ".." in parts or parts[0] == "/" or not text.isprintable():
        raise ValueError(f"{text!r} is no file of a model")
    return text


def _file(entry: Mapping[str, Any]) -> LockedFile:
    if not SHA256.fullmatch(entry["sha256"]) or type(entry["bytes"]) is not int or entry["bytes"] < 0:
        raise ValueError("a file without SHA-256 and bytes")
    return LockedFile(entry["sha256"], entry["bytes"])


def record(folder: Path, name: str, model: LockedModel) -> None:
    """Add or replace one, while no other process writes. Raises ModelsError where the file cannot be written."""
    with alone(folder / NAME):
        models = {**read(folder), name: model}
        table = {key: {**entry._asdict(), "files": _files(entry)} for key, entry in sorted(models.items())}
        write_whole(folder / NAME, json.dumps({"format": FORMAT, "models": table}, indent=1) + "\n")


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _files(model: LockedModel) -> dict[str, dict[str, object]]:
    return {path: file._asdict() for path, file in sorted(model.files.items())}
