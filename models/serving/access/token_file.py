"""The file of serving's tokens: the dashboard's own code, in a folder of its own (decision 0295)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ModelsError, WrongOption
from ...extras import needed
from .door import MANAGES, MODELS, RATE

DAY_S = 86400.0
MOST_DAYS, MOST_RATE = 36_500.0, 1e9  # a file with a time beyond what it takes is one without any token
FOLDER_MODE = 0o700


def token_folder() -> Path:
    """`$XDG_STATE_HOME/deepseek-models`"""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "deepseek-models"


def open_tokens(folder: Path) -> Any:
    """The dashboard's `Tokens`. Raises ModelsError where the folder cannot be made."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelsError(f"{folder} cannot be made ({error.strerror}); give another --tokens folder") from error
    return needed("dashboard.auth.tokens").Tokens(folder)


def new_token(
    folder: Path,
    name: str,
    models: Sequence[str] = (),
    rate_per_s: float = 0.0,
    days: float = 30.0,
    manages: bool = False,
) -> str:
    """The secret, which is shown once. `models`: none means all; a rate or days of 0 have no limit. Raises ModelsError."""
    if not 0 <= days <= MOST_DAYS:
        raise WrongOption(f"{days:g} is no number of days from 0 (never over) to {MOST_DAYS:g}")
    if not 0 <= rate_per_s <= MOST_RATE:
        raise WrongOption(f"{rate_per_s:g} is no number of requests a second from 0 (no limit) to {MOST_RATE:g}")
    scopes: dict[str, Any] = {}
    if models:
        scopes[MODELS] = list(models)
    if rate_per_s:
        scopes[RATE] = rate_per_s
    if manages:
        scopes[MANAGES] = True
    role = needed("dashboard.auth.roles").Role.WRITER  # of the dashboard's the one that reads nothing
    expires_s = time.time() + days * DAY_S if days else None
    return str(_changed(folder, "new", name, role, expires_s, scopes))


def revoke(folder: Path, name: str) -> None:
    """Raises ModelsError."""
    _changed(folder, "revoke", name)


def listed(folder: Path) -> list[Any]:
    """The dashboard's `Credential`s that are not over, the oldest first. Raises ModelsError."""
    found: list[Any] = _changed(folder, "all")
    return found


def _changed(folder: Path, method: str, *arguments: Any) -> Any:
    tokens, small_file = needed("dashboard.auth.tokens"), needed("collectors.small_file")
    try:
        return getattr(open_tokens(folder), method)(*arguments)
    except tokens.TokenMistake as error:
        raise WrongOption(str(error).replace("deepseek-dashboard token", "deepseek-models token")) from error
    except (tokens.DamagedTokens, small_file.Unwritable) as error:
        raise ModelsError(str(error)) from error
