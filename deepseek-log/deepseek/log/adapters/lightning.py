"""What Lightning's Trainer does, as a run: `Trainer(logger=RunLogger(), callbacks=[PhasesCallback()])`.

The logger takes what the module logs, its hyperparameters and its checkpoints; the callback adds a line per step with the phases
`data`, `forward`, `backward` and `optimizer`, and events of epochs and validations.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from .guard import Inert, guarded
from .late_log import Laps, LateLog


class RunLogger(Logger):
    """Every rank writes files of its own. Without a `run` it is named after the script and the time; several ranks after the script."""

    def __init__(self, log_dir: str | Path | None = None, run: str | None = None) -> None:
        super().__init__()
        self._late = LateLog(log_dir, run)

    @property
    def experiment(self) -> Any:
        """The RunLog, for what a module logs beside `self.log`."""
        return self._log() or Inert()

    @property
    def name(self) -> str:
        return str(self.experiment.run)

    @property
    def version(self) -> str:
        """None: a run has a name only. Checkpoints go to its folder."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """None where the log could not be opened: checkpoints then go to the trainer's `default_root_dir`."""
        return None if isinstance(self.experiment, Inert) else str(self._late.log_dir)

    @guarded
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._late.get().scalars_at(time(), step or 0, dict(metrics))

    @guarded
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *positional: Any, **named: Any) -> None:
        self._late.add_config(vars(params) if isinstance(params, Namespace) else params)

    @guarded
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        path = getattr(checkpoint_callback, "_last_checkpoint_saved", "") or checkpoint_callback.best_model_path
        step = getattr(checkpoint_callback, "_last_global_step_saved", None)
        self._late.get().event("checkpoint", text=Path(path).name, **({} if step is None else {"step": step}))

    @guarded
    def finalize(self, status: str) -> None:
        """The log goes on until the process ends: a test after the training is in it, too."""
        self._late.get().event("train_end", text=status)

    @guarded
    def _log(self) -> Any:
        return self._late.get()


class PhasesCallback(Callback):
    """Needs a RunLogger among the trainer's loggers; without one it does nothing."""

    def __init__(self) -> None:
        self._log: Any = Inert()
        self._laps = Laps(self._log)
        self._validation_s = 0.0

    @guarded
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._log = next((logger.experiment for logger in trainer.loggers if isinstance(logger, RunLogger)), Inert())
        self._laps = Laps(self._log)
        self._laps.restart("data")

    @guarded
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._laps.begin("forward")

    @guarded
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self._laps.begin("backward")

    @guarded
    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self._laps.begin("optimizer")

    @guarded
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A batch whose gradients are only added up is part of the step to come."""
        loop = trainer.fit_loop.epoch_loop
        if not loop._should_accumulate():
            self._laps.end()
            self._log.scalars(
                loop._batches_that_stepped
            )  # the step under which Lightning hands this batch's metrics to loggers
        self._laps.begin("data")

    @guarded
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._log.event("epoch", step=trainer.global_step, epoch=trainer.current_epoch)
        self._laps.restart("data")

    @guarded
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._validation_s = monotonic()

    @guarded
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._log.event("validation", step=trainer.global_step, seconds=round(monotonic() - self._validation_s, 6))
            self._laps.restart("data")

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins without a log: `on_train_start` finds its own."""
        return {**self.__dict__, "_log": Inert(), "_laps": Laps(Inert())}
