"""`zoo.lock`: revision, SHA-256 and size of what was fetched, recorded at the first fetch; what differs later is refused."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelsError
from .folder import make, write_whole

NAME = "zoo.lock"
FORMAT = 1


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
    try:
        table = json.loads(place.read_text())
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}, and this version reads {FORMAT}")
        return {name: _model(entry) for name, entry in table["models"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelsError(
            f"{place} cannot be read ({error}); restore it from a copy, or remove it to record what is fetched next"
        ) from error


def _model(entry: Mapping[str, Any]) -> LockedModel:
    files = {path: LockedFile(str(file["sha256"]), int(file["bytes"])) for path, file in entry["files"].items()}
    return LockedModel(
        entry["id"], entry["revision"], files, entry.get("licence", ""), entry.get("parameters"), entry.get("date", "")
    )


def record(folder: Path, name: str, model: LockedModel) -> None:
    """Add or replace one, while no other process writes. Raises ModelsError where the file cannot be written."""
    with _alone(folder):
        models = {**read(folder), name: model}
        table = {key: {**entry._asdict(), "files": _files(entry)} for key, entry in sorted(models.items())}
        write_whole(folder / NAME, json.dumps({"format": FORMAT, "models": table}, indent=1) + "\n")


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _files(model: LockedModel) -> dict[str, dict[str, object]]:
    return {path: file._asdict() for path, file in sorted(model.files.items())}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    guard = make(folder) / f".{NAME}.guard"
    with guard.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
