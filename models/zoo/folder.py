"""Where the zoo keeps what it fetches, converts and measures, and how it writes there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ModelsError, cannot_write

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


def write_whole(place: Path, text: str) -> None:
    """The file is there whole, or as it was. Raises ModelsError where the folder may not be written, or is full."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        make(place.parent)
        beside.write_text(text)
        beside.replace(place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise cannot_write(place, error) from error


def make(folder: Path) -> Path:
    """Raises ModelsError with the variable that names another one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelsError(f"cannot make {folder} ({error.strerror}); name another folder with {VARIABLE}") from error
    return folder
