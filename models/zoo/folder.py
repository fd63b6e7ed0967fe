"""Where the zoo keeps what it fetches, converts and measures, and how it writes there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ModelsError

NAME = "deepseek-models"
VARIABLE = "DEEPSEEK_MODELS_DIR"


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$DEEPSEEK_MODELS_DIR`, else `deepseek-models` in `$XDG_DATA_HOME` or `~/.local/share`; it need not exist."""
    if named := environment.get(VARIABLE):
        return Path(named).absolute()
    home = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME") or Path.home()) / ".local" / "share"
    return Path(home) / NAME


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
def alone(place: Path) -> Iterator[None]:
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
