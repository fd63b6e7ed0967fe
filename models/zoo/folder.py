"""The zoo's folder: caches, converted files, and the lock of revisions and hashes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import ModelsError

ZOO_FOLDER = "deepseek-models"
VARIABLE = "DEEPSEEK_MODELS_DIR"


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$DEEPSEEK_MODELS_DIR`, else `deepseek-models` in `$XDG_DATA_HOME` or `~/.local/share`; it need not exist."""
    if named := environment.get(VARIABLE):
        return Path(named).absolute()
    home = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME") or Path.home()) / ".local" / "share"
    return Path(home) / ZOO_FOLDER


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """That of huggingface_hub, found without importing it: what other programs have downloaded is not downloaded again."""
    if named := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "huggingface" / "hub"


def read_table(place: Path, remedy: str) -> Any:
    """What a file of JSON says, None where there is none. Raises ModelsError with the remedy where it cannot be read."""
    try:
        return json.loads(place.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelsError(f"{place} cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise ModelsError(f"{place} is not JSON ({error}); {remedy}") from error


def write_whole(place: Path, text: str) -> None:
    """The file is there whole, or as it was. Raises ModelsError where the folder may not be written, or is full."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    make(place.parent)
    try:
        beside.write_text(text)
        beside.replace(place)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise _cannot_keep(place, error) from error


@contextmanager
def lock_file(place: Path) -> Iterator[None]:
    """While no other process reads and writes this file. Raises ModelsError where the folder may not be written."""
    guard = make(place.parent) / f".{place.name}.guard"
    try:
        file = guard.open("w")
    except OSError as error:
        raise _cannot_keep(place, error) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(folder: Path) -> Path:
    """Raises ModelsError with the variable that names another one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelsError(f"cannot make {folder} ({error.strerror}); name another folder with {VARIABLE}") from error
    return folder


def _cannot_keep(place: Path, error: OSError) -> ModelsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelsError(
            f"the disk of {place} is full: make room, or name another folder with {VARIABLE}; what was there is unchanged"
        )
    return ModelsError(
        f"cannot write {place} ({error.strerror}); name another folder with {VARIABLE}; what was there is unchanged"
    )


# `zoo.lock`: revision, SHA-256 and size of what was fetched, recorded at the first fetch; what differs later is refused.

NAME = "zoo.lock"
FORMAT = 1
REMEDY = "restore it from a copy, or remove it to record what is fetched next"
LOCKED_REVISION = re.compile(r"([0-9a-f]{7,64})?")
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_CHARS = 200  # of a reason


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
        raise ModelsError(f"{place} cannot be read ({str(error)[:MAX_CHARS]}); {REMEDY}") from error


def _model(entry: Mapping[str, Any]) -> LockedModel:
    """Raises ValueError for what names a file elsewhere, or is of another type: the file may come from another host."""
    files = {_path(path): _file(file) for path, file in entry["files"].items()}
    licence, parameters, date = entry.get("licence", ""), entry.get("parameters"), entry.get("date", "")
    texts = all(isinstance(text, str) for text in (entry["id"], entry["revision"], licence, date))
    if (
        not texts
        or not LOCKED_REVISION.fullmatch(entry["revision"])
        or not (parameters is None or type(parameters) is int)
    ):
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
    with lock_file(folder / NAME):
        models = {**read(folder), name: model}
        table = {key: {**entry._asdict(), "files": _files(entry)} for key, entry in sorted(models.items())}
        write_whole(folder / NAME, json.dumps({"format": FORMAT, "models": table}, indent=1) + "\n")


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _files(model: LockedModel) -> dict[str, dict[str, object]]:
    return {path: file._asdict() for path, file in sorted(model.files.items())}
