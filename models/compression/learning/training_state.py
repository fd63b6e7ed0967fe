"""Where a training stands after an epoch: kept in a file, so that one that was stopped goes on with the next epoch."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

GAIN = 0.002  # of the validation's accuracy, over what it was at the last gain: less than this is nothing
PATIENCE = 3  # epochs without a gain, then it is at its plateau
FALL = 0.3  # of the learning rate, after an epoch without a gain


class EpochResult(NamedTuple):
    number: int  # from 0
    loss: float  # mean of its steps
    accuracy: float  # of the validation, 0 to 1
    seconds: float
    rate: float


@dataclass
class TrainingState:
    """`kept` are the weights of the best epoch, on the CPU; `gained`: the accuracy at the last gain."""

    module: nn.Module
    averaged: AveragedModel
    optimizer: torch.optim.Optimizer
    chance: torch.Generator
    rate: float
    step: int = 0
    gained: float = -1.0
    best: float = -1.0
    fruitless: int = 0  # epochs since the last gain
    kept: dict[str, Any] = field(default_factory=dict)
    results: list[EpochResult] = field(default_factory=list)

    @property
    def at_plateau(self) -> bool:
        return self.fruitless >= PATIENCE

    @property
    def spent_s(self) -> float:
        return sum(epoch.seconds for epoch in self.results)

    def judge(self, result: EpochResult) -> None:
        """Take in an epoch: its weights where it is the best, a lower rate where it brought nothing."""
        self.results.append(result)
        if result.accuracy >= self.gained + GAIN:
            self.gained, self.fruitless = result.accuracy, 0
        else:
            self.fruitless, self.rate = self.fruitless + 1, self.rate * FALL
        if result.accuracy > self.best:
            self.best = result.accuracy
            self.kept = {
                name: value.detach().cpu().clone() for name, value in self.averaged.module.state_dict().items()
            }

    def save(self, path: Path) -> None:
        """On a full disk the file of an earlier epoch stays: the training goes on, and repeats more if it is stopped."""
        content = io.BytesIO()
        numbers = {name: getattr(self, name) for name in ("rate", "step", "gained", "best", "fruitless", "kept")}
        parts = {name: getattr(self, name).state_dict() for name in ("module", "averaged", "optimizer")}
        torch.save(
            {
                **numbers,
                **parts,
                "chance": self.chance.get_state(),
                "results": [tuple(result) for result in self.results],
            },
            content,
        )
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_bytes(content.getbuffer())
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)

    def load(self, path: Path) -> None:
        """Go on from there; a file that is missing or cannot be read is left alone, and the training begins anew."""
        if not os.path.lexists(path):
            return
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            if shapes_of(found["module"]) != shapes_of(self.module.state_dict()):
                return
            results = [EpochResult(*result) for result in found["results"]]
            for name in ("module", "averaged", "optimizer"):
                getattr(self, name).load_state_dict(found[name])
            self.chance.set_state(found["chance"])
            for name in ("rate", "step", "gained", "best", "fruitless", "kept"):
                setattr(self, name, found[name])
            self.results = results
        except (
            Exception
        ):  # of a zip file, an unpickler, or weights of other shapes: whatever it is, it is no state of this training
            return


def shapes_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}
