"""Trainings with one fault each: python ill_runs.py <log folder> <kind>; `hang` is one of two ranks."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deepseek.log import RunLog

STEP_S, ILL_AFTER = 0.05, 120  # steps


def train_step(seconds: float = STEP_S) -> None:
    time.sleep(seconds)


def load_batch() -> None:
    time.sleep(0.05)


def crash(log: RunLog, step: int, loss: float) -> float:
    if step > ILL_AFTER:
        raise ValueError("the batch has no samples")
    return loss


def killed(log: RunLog, step: int, loss: float) -> float:
    if step > ILL_AFTER:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return loss


def nan(log: RunLog, step: int, loss: float) -> float:
    return math.nan if step > ILL_AFTER else loss


def spike(log: RunLog, step: int, loss: float) -> float:
    return loss + 10 if ILL_AFTER < step < ILL_AFTER + 20 else loss


def slow_steps(log: RunLog, step: int, loss: float) -> float:
    if step % 15 == 0:
        time.sleep(0.4)
    return loss


def checkpoint_stall(log: RunLog, step: int, loss: float) -> float:
    if step == ILL_AFTER:
        time.sleep(3.0)
        log.event("checkpoint", step=step, seconds=3.0)
    return loss


def data_stall(log: RunLog, step: int, loss: float) -> float:
    load_batch()
    return loss


def healthy(log: RunLog, step: int, loss: float) -> float:
    return loss


KINDS = {kind.__name__: kind for kind in (crash, killed, nan, spike, slow_steps, checkpoint_stall, data_stall, healthy)}
FINISHED = "finished"


def leave(seconds: float) -> None:
    time.sleep(seconds)  # the other rank waits for this one


def hang(log_dir: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    with RunLog(log_dir, run="hang") as log:
        for step in range(100_000):
            value = torch.ones(4)
            if step == ILL_AFTER and log.rank == 1:
                leave(1e6)
            dist.all_reduce(value)
            time.sleep(0.02)
            log.scalars(step, {"train/loss": float(value.mean()) + random.random()})


def main(log_dir: str, kind: str) -> None:
    if kind == "hang":
        hang(log_dir)
    with RunLog(log_dir, run=kind) as log:
        for step in range(400 if kind == FINISHED else 1_000_000):
            train_step()
            loss = 1 + 0.02 * random.random()
            log.scalars(step, {"train/loss": KINDS.get(kind, healthy)(log, step, loss)})


if __name__ == "__main__":
    main(*sys.argv[1:3])
