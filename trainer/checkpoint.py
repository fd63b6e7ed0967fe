"""Save and resume a training, so that a killed save leaves the last checkpoint whole."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import nn

from .errors import NoCheckpoint, UserError
from .precision import Scaler
from .ranks import Ranks

NAME = "checkpoint.pt"
NOT_WHOLE = (
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    UnpicklingError,
)  # what damage makes readers raise
FORMAT = 2  # of what is saved; rises when older checkpoints cannot be read any more


class TrainingState(NamedTuple):
    """The state that training changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Scaler
    device: torch.device


def save(folder: Path, trained: TrainingState, step: int, position: int, config: dict[str, Any], ranks: Ranks) -> Path:
    """All ranks call it at the same step, because each has its own random generators; rank 0 writes.

    Write a temporary file, sync, rename: after a crash at any moment a whole checkpoint exists. `step` is the next one,
    `position` the number of samples that all ranks drew from their data.
    """
    path, temporary = folder / NAME, folder / f".{NAME}"
    generators = ranks.gather(_generators(trained.device))
    if ranks.rank != 0:
        return path
    state = {
        "format": FORMAT,
        "step": step,
        "position": position,
        "config": config,
        "model": trained.model.state_dict(),
        "optimizer": trained.optimizer.state_dict(),
        "scaler": trained.scaler.state_dict(),
        "generators": generators,
    }
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(folder)
    return path


def load(folder: Path) -> dict[str, Any]:
    """The contents that `save` wrote, with every tensor in host memory. Verifies the checksums of torch.save, which torch.load does not."""
    path = folder / NAME
    if not path.exists():
        raise NoCheckpoint(f"no checkpoint in {folder}: start the run without --resume, or name another with --run")
    try:
        with zipfile.ZipFile(path) as records:
            damaged = records.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_WHOLE as error:
        raise UserError(f"{path} is not a whole checkpoint: delete it and start the run under another name") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(
            f"{path} is of another version of this trainer: resume it with that one, or start the run under another name"
        )
    return state


def restore(state: dict[str, Any], trained: TrainingState, ranks: Ranks) -> None:
    """Call it last before the loop: it also restores the random generators, if the number of ranks is the same."""
    trained.model.load_state_dict(state["model"])
    trained.optimizer.load_state_dict(state["optimizer"])
    if trained.scaler.is_enabled() and state["scaler"]:  # empty when the run was trained without one until now
        trained.scaler.load_state_dict(state["scaler"])
    if len(state["generators"]) == ranks.world_size:
        _set_generators(state["generators"][ranks.rank], trained.device)


def _generators(device: torch.device) -> dict[str, torch.Tensor]:
    host = {"cpu": torch.get_rng_state()}
    return host | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else host


def _set_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _sync(folder: Path) -> None:
    """Make the rename durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
