"""Save and resume a training, so that a killed save leaves the last checkpoint whole."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from .errors import UserError

NAME = "checkpoint.pt"


def save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    step: int,
    config: dict[str, Any],
) -> Path:
    """Write beside, sync, rename: after a crash at any moment one whole checkpoint is there. `step` is the one to go on with."""
    state = {
        "step": step,
        "config": config,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
    }
    path, temporary = folder / NAME, folder / f".{NAME}"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(folder)
    return path


def load(folder: Path) -> dict[str, Any]:
    """What `save` wrote, with every tensor in host memory."""
    path = folder / NAME
    if not path.exists():
        raise UserError(f"no checkpoint in {folder}: start the run without --resume, or name another with --run")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
        raise UserError(f"{path} is not a whole checkpoint: delete it and start the run under another name") from error
    return state


def restore(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> int:
    """Return the step to go on with. Call it last before the loop: it sets the random generators back, too."""
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if scaler.is_enabled() and state["scaler"]:  # empty when the run was trained without one until now
        scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["rng"])
    if len(state["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return int(state["step"])


def _sync(folder: Path) -> None:
    """A rename is safe only when its folder is on the disk, too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
