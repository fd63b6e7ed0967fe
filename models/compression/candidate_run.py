"""A candidate as a run of its own, for the Runs page: its configuration, its training, what was found of it.

It is written when the candidate is done, with the times at which things happened: while two runs are open in one process, the process, and
with it its stacks, would belong to the later one only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..extras import needed


class CandidateRun:
    """Numbers of a run that is written at the end."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.config = name, config
        self._lines: list[tuple[float, int, Mapping[str, object]]] = []

    def scalars(self, step: int, values: Mapping[str, object]) -> None:
        """Of a step of its training."""
        self._lines.append((time.time(), step, values))

    def write(self, logs: Path, found: Mapping[str, float]) -> None:
        """`found` stands at the last step. Raises OSError when the folder cannot be made."""
        self.scalars(self._lines[-1][1] if self._lines else 0, found)
        run_log = needed("deepseek.trainer.run_log")
        with run_log.RunLog(logs, self.name, config=self.config, name="candidate") as log:
            for time_s, step, values in self._lines:
                log.scalars_at(time_s, step, values)
