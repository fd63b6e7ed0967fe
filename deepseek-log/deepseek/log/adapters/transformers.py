"""What Hugging Face's Trainer does, as a run: `Trainer(..., callbacks=[RunLogCallback()])`.

Transformers 4 and 5 know the names of their own integrations only, so `report_to` cannot name this one. Phases are what the Trainer
reports: `data` (until the next batches are there), `forward_backward` (one phase: it reports both together) and `optimizer`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

from transformers import TrainerCallback

from .guard import Inert, guarded
from .late_log import Laps, LateLog

SPLITS = ("eval_", "test_")


class RunLogCallback(TrainerCallback):
    """A line per step with its phases, the Trainer's own logs, its configuration and the model's; each `train()` is a run.

    `run` names it, else the arguments' `run_name`; the log ends with the process, so that an evaluation after the training is in it.
    """

    def __init__(self, log_dir: str | Path | None = None, run: str | None = None) -> None:
        self._late = LateLog(log_dir, run)
        self._run = run
        self._laps = Laps(Inert())
        self._opened = False
        self._training = False  # between the begin and the end of a training: one that raised has no end

    @property
    def log(self) -> Any:
        """The RunLog, for what a script logs beside the Trainer."""
        return self._get() or Inert()

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if self._opened:
            self._opened = False
            if self._training:
                self._late.close_failed("the training did not reach its end, and train() was called again")
            else:
                self._late.close()
        self._training = True
        self._open(args, others.get("model"))
        self._laps.restart("data")

    @guarded
    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._laps.begin("forward_backward")

    @guarded
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._laps.begin("optimizer")

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._laps.end()
        self._late.get().scalars(state.global_step)
        self._laps.restart("data")

    @guarded
    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **others: Any) -> None:
        self._open(args, others.get("model"))
        if logs:
            self._late.get().scalars_at(
                time(), state.global_step, {series(name): value for name, value in logs.items()}
            )
        self._laps.restart("data")

    @guarded
    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._late.get().event("epoch", step=state.global_step, epoch=state.epoch)

    @guarded
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **others: Any
    ) -> None:
        seconds = next((value for name, value in (metrics or {}).items() if name.endswith("_runtime")), None)
        took = {} if seconds is None else {"seconds": seconds}
        self._late.get().event("validation", step=state.global_step, **took)
        self._laps.restart("data")

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._late.get().event("checkpoint", step=state.global_step, text=f"checkpoint-{state.global_step}")
        self._laps.restart("data")

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self._training = False
        self._late.get().event("train_end", step=state.global_step)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_laps": Laps(Inert()), "_opened": False, "_training": False}

    @guarded
    def _get(self) -> Any:
        return self._late.get()

    def _open(self, args: Any, model: Any) -> None:
        """Once a training; an evaluation without one is a run, too."""
        if self._opened:
            return
        self._opened = True
        self._late.run = self._run or getattr(args, "run_name", None)
        of_model: dict[str, Any] = getattr(getattr(model, "config", None), "to_dict", dict)()
        self._late.add_config({**of_model, **args.to_sanitized_dict()})
        self._laps = Laps(self._late.get())


@functools.lru_cache(maxsize=4096)
def series(name: str) -> str:
    """As the Trainer's own loggers name it, and as its `trainer_state.json` is read: `loss -> train/loss`, `eval_loss -> eval/loss`."""
    split = name[:5]
    return f"{split[:-1]}/{name[5:]}" if split in SPLITS else f"train/{name}"
