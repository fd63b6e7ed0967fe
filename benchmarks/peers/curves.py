"""Runs with curves that any tool can be given: the same values wherever they are made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

T0_S = 1_764_000_000.0
STEP_S = 0.01


class Curves(NamedTuple):
    """Runs of `steps` steps each, with a value of every tag at each of them."""

    name: str
    runs: int
    steps: int
    tags: int

    @property
    def points(self) -> int:
        return self.runs * self.steps * self.tags

    @property
    def run_names(self) -> list[str]:
        return [f"{self.name}-{run:03d}" for run in range(self.runs)]

    @property
    def tag_names(self) -> list[str]:
        """All of one length."""
        return ["loss"] if self.tags == 1 else [f"layer{i // 4:03d}/part{i % 4}" for i in range(self.tags)]

    def values(self, run: int) -> NDArray[np.float32]:
        """A row per step, a column per tag: what falls, with noise."""
        falling = 1 + 400 / (100 + np.arange(self.steps, dtype=np.float32))
        noise = np.random.default_rng(run).standard_normal((self.steps, self.tags), np.float32)
        return (falling[:, None] + np.float32(0.05) * noise).astype(np.float32)


def time_s(step: int) -> float:
    return T0_S + STEP_S * step
