"""Save and resume a training, so that a killed save leaves the last checkpoint whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from .errors import UserError

NAME = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write beside, sync, rename: after a crash at any moment there is one whole checkpoint. Adds the state of the random generators."""
    state = {**state, "rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state_all()}
    path, temporary = folder / NAME, folder / f".{NAME}"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(folder)
    return path


def load(folder: Path, device: torch.device) -> dict[str, Any]:
    """What `save` was given, on `device`; sets the random generators to where they were."""
    path = folder / NAME
    if not path.exists():
        raise UserError(f"no checkpoint in {folder}: leave out --resume to start this run anew, or name another with --run")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a whole checkpoint ({error}): delete it and start the run anew") from error
    torch.set_rng_state(state["rng"].cpu())
    if len(state["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda_rng"]])
    return state


def _sync(folder: Path) -> None:
    """A rename is safe only when its folder is on the disk, too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
