"""What a loop logs through Accelerate, as a run: `Accelerator(log_with=RunLogTracker())`, then `init_trackers`, `log`, `end_training`.

Accelerate reports neither phases nor events: `accelerator.get_tracker("deepseek", unwrap=True)` is the RunLog, with `phase("forward")` and
`event("epoch")`. It calls trackers on the main process only; another rank that calls `start()` itself writes files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from .guard import Inert, guarded, report
from .late_log import LateLog


class RunLogTracker(GeneralTracker):
    name = "deepseek"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, log_dir: str | Path | None = None, run: str | None = None) -> None:
        super().__init__()
        self._late = LateLog(log_dir, run)
        self._step = 0

    @property
    def tracker(self) -> Any:
        """The RunLog."""
        return self._log() or Inert()

    @guarded
    def start(self) -> None:
        self._late.get()

    @guarded
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        self._late.add_config(values)

    def log(self, values: Mapping[str, Any], step: int | None = None, **others: Any) -> None:
        """A call without a step is the next one."""
        try:  # in place of `guarded`, which is a call more of the one that each step makes
            self._step = self._step + 1 if step is None else step
            self._late.scalars(self._step, values)
        except Exception as error:
            report("RunLogTracker.log", error)

    @guarded
    def finish(self) -> None:
        self._late.close()

    @guarded
    def _log(self) -> Any:
        return self._late.get()
