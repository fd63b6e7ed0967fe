"""Checks the numbers from the device, some steps late: stops a training that went to NaN, reports skipped steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import Diverged
from ..run_log import RunLog

LEAST_SCALE = 1.0  # fp16: below it the scaler is not looking for the right scale any more


class Vitals:
    """A gradient that is not finite damages the weights; under a gradient scaler such a step is skipped instead."""

    def __init__(self, log: RunLog, checkpoint: Path | None) -> None:
        self._log = log
        self._checkpoint = checkpoint  # the last good one
        self._skipped_steps = 0.0

    def watch(self, step: int, values: Mapping[str, float]) -> None:
        """Call it once per step, in order. Raises Diverged."""
        skipped_steps = values.get("train/skipped_steps", 0.0)
        if skipped_steps > self._skipped_steps:
            self._log.event("overflow", step=step, text=f"step skipped, scale now {values['train/grad_scale']:g}")
        self._skipped_steps = skipped_steps
        self.require_finite(step, values)

    def require_finite(self, step: int, values: Mapping[str, float]) -> None:
        """Raises Diverged, which names the last good checkpoint."""
        skipped = values.get("train/grad_scale", 0.0) >= LEAST_SCALE
        for name in ("train/loss", "train/grad_norm"):
            if not math.isfinite(values[name]) and not skipped:
                raise Diverged(f"{name} is {values[name]} at step {step}: {self._remedy()}")

    def saved(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint

    def _remedy(self) -> str:
        if self._checkpoint is None:
            return "there is no checkpoint of it yet; start it again with a lower --lr"
        return f"the last good checkpoint is {self._checkpoint}; go on from it with --resume and a lower --lr"
