"""What an adapter costs a step of its caller, in calls as the library makes them, beside the same calls of an empty adapter.

    python -m benchmarks.adapters           all, each in a process of its own, as a script has one
    python -m benchmarks.adapters wandb     the times of one of them, as JSON

Flat out: steps back to back. Paced: the calls of one step are made between other work, as in `benchmarks/run_log.py`, without the library's own loop around them: a Trainer's
step takes milliseconds, and its spread would hide microseconds. The budget of a step is RunLog's for each call of the library:
between other work 10 us, or half as much again as RunLog itself takes in the same run, where the processor is slower to wake up.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.run_log import PACED_CALLS, Call, empty, quantiles, rounds, work

CALL_P50_US, CALL_P99_US = 10.0, 30.0  # RunLog's own budget
BESIDE_RUN_LOG = 1.5
FLAT_CALLS, FLAT_P50_US = 2_000, 2.0


class Adapter(NamedTuple):
    step: Call
    close: Callable[[], None]
    calls: int  # of the library, in a step


class Times(NamedTuple):
    """Of the calls in us, by round."""

    flat: list[list[float]]
    paced: list[list[float]]
    empty: list[list[float]]  # of a call that does nothing, paced
    calls: int  # of the library, in a step


def measure() -> list[report.Row]:
    rows: list[report.Row] = []
    call_us = (CALL_P50_US, CALL_P99_US)
    for name in ADAPTERS:
        done = subprocess.run([sys.executable, "-m", "benchmarks.adapters", name], stdout=subprocess.PIPE, check=True)
        flat, paced, baseline, calls = Times(*json.loads(done.stdout))
        step = f"{name}, a step of {calls} calls"
        rows += quantiles(f"{step}, flat out", flat, None, calls * FLAT_P50_US)
        p50, p99 = quantiles(f"{step}, paced", paced, baseline, calls * call_us[0], calls * call_us[1])
        if name == RUN_LOG:
            call_us = max(CALL_P50_US, BESIDE_RUN_LOG * p50.value), max(CALL_P99_US, BESIDE_RUN_LOG * p99.value)
        rows += [p50, p99]
    return rows


def times_of(name: str) -> Times:
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        call, close, calls = ADAPTERS[name](Path(folder))
        baseline = rounds(empty, PACED_CALLS, work)
        found = Times(rounds(call, FLAT_CALLS), rounds(call, PACED_CALLS, work), baseline, calls)
        close()
    return found


def run_log(folder: Path) -> Adapter:
    from deepseek.log import RunLog

    log = RunLog(folder, "run_log")
    return Adapter(log.scalars, log.close, 1)


def transformers(folder: Path) -> Adapter:
    from deepseek.log.adapters.transformers import RunLogCallback

    state, control = SimpleNamespace(global_step=0, epoch=0.0), SimpleNamespace()
    arguments = SimpleNamespace(run_name="transformers", to_sanitized_dict=lambda: {"lr": 0.1})
    callback = RunLogCallback(folder)
    callback.on_train_begin(arguments, state, control)

    def step(number: int, values: dict[str, float]) -> None:
        state.global_step = number
        callback.on_step_begin(arguments, state, control)
        callback.on_pre_optimizer_step(arguments, state, control)
        callback.on_step_end(arguments, state, control)
        callback.on_log(arguments, state, control, logs=values)

    return Adapter(step, callback.log.close, 4)


def lightning(folder: Path) -> Adapter:
    from deepseek.log.adapters.lightning import PhasesCallback, RunLogger

    logger, phases = RunLogger(folder, "lightning"), PhasesCallback()
    loop = SimpleNamespace(_should_accumulate=lambda: False, _batches_that_stepped=0)
    trainer: Any = SimpleNamespace(loggers=[logger], fit_loop=SimpleNamespace(epoch_loop=loop), global_step=0)
    module: Any = None
    phases.on_train_start(trainer, module)

    def step(number: int, values: dict[str, float]) -> None:
        loop._batches_that_stepped = number
        phases.on_train_batch_start(trainer, module, None, number)
        phases.on_before_backward(trainer, module, None)
        phases.on_after_backward(trainer, module)
        phases.on_train_batch_end(trainer, module, None, None, number)
        logger.log_metrics(values, number)

    return Adapter(step, logger.experiment.close, 5)


def accelerate(folder: Path) -> Adapter:
    from deepseek.log.adapters.accelerate import RunLogTracker

    tracker = RunLogTracker(folder, "accelerate")
    return Adapter(lambda number, values: tracker.log(values, step=number), tracker.finish, 1)


def wandb(folder: Path) -> Adapter:
    from deepseek.log.adapters import wandb

    run = wandb.init(name="wandb", dir=folder)
    return Adapter(lambda number, values: run.log(values), wandb.finish, 1)


RUN_LOG = "RunLog itself"
ADAPTERS: dict[str, Callable[[Path], Adapter]] = {
    RUN_LOG: run_log,
    "transformers": transformers,
    "lightning": lightning,
    "accelerate": accelerate,
    "wandb": wandb,
}


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(times_of(sys.argv[1])))
        sys.exit()
    sys.exit(report.run(measure, "What an adapter costs a step."))
