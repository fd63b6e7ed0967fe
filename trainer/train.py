"""Train a model in mixed precision: a small GPT, BERT, ResNet-50 or 3D U-Net on real data.

    python -m trainer                                    # a GPT on the GPU if there is one, else the CPU, until Ctrl-C
    python -m trainer --task unet3d --steps 50 --run ct  # a short one; the run's files are in logs/ct
    python -m trainer --run ct --resume --steps 90       # continues where it stopped
    torchrun --nproc-per-node 2 -m -- trainer --run two  # two ranks of one run; the -- keeps torchrun from reading --run

Installed, it is called deepseek-train. SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 save a checkpoint at the end of the step and end it.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import nn

from deepseek.log import RunLog
from deepseek.log.endings import NOTHING_SAVED, SAVED
from deepseek.log.flops import mfu

from . import batch_size, checkpoint, precision
from .checkpoint import TrainingState
from .data.sample_order import Batch, Data, ShuffledPlaces, batches, held_out
from .errors import NoCheckpoint, UserError
from .job import is_job, run_of_the_job
from .measure import Instruments, Vitals, peak_flops
from .models.recompute import recompute
from .options import Config, parse
from .precision import Precision
from .ranks import Ranks
from .stop import Stop
from .tasks import TASKS, flops_per_sample

WARMUP_STEPS, WARMUP_SHARE = 100, 0.1  # the lesser of the two
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.1
PRINT_EVERY, VALIDATE_EVERY, SAVE_EVERY = 20, 100, 500  # steps
WORKERS = 4  # at most, unless the command line says otherwise

logger = logging.getLogger("trainer")


def train(options: argparse.Namespace) -> bool:
    """Check all options, so that a user's mistake shows before the run starts; then run. Whether it was stopped before its last step."""
    ranks = Ranks.join()
    torch.set_num_threads(options.threads or spare_cores(ranks.world_size))
    device = pick_device(options.device, ranks.local_rank)
    numbers = precision.choose(options.precision, device)
    resumed = checkpoint.load(run_folder(options)) if options.resume else None
    config = Config.resumed(resumed["config"], options) if resumed else Config.new(options, device)
    workers = spare_workers(device, ranks.world_size) if options.workers is None else options.workers
    shape = TASKS[config.task].sizes[config.size].shape
    train_data, validation_data = TASKS[config.task].data(shape)
    settings = (
        shape._asdict() | config._asdict() | {"precision": numbers.name, "device": str(device), "workers": workers}
    )
    with open_log(options, ranks, settings) as log:
        try:
            plan = Plan(config, ranks, device, numbers, resumed, train_data, validation_data, workers, options.prefetch)
            stopped = run(plan, log)
        except RuntimeError as error:
            if not batch_size.is_out_of_memory(error):
                raise
        else:
            ranks.leave()
            return stopped
        raise UserError(
            batch_size.advice(config, validation_data, device, numbers)
        )  # here the run's own memory is free again


class Plan(NamedTuple):
    config: Config
    ranks: Ranks
    device: torch.device
    numbers: Precision
    resumed: dict[str, Any] | None  # a checkpoint
    train_data: Data
    validation_data: Data
    workers: int
    prefetch: int


def run(plan: Plan, log: RunLog) -> bool:
    """Whether it was stopped before its last step."""
    config, ranks, device, numbers = plan.config, plan.ranks, plan.device, plan.numbers
    task, size = TASKS[config.task], TASKS[config.task].sizes[config.size]
    torch.manual_seed(config.seed + ranks.rank)  # dropout differs from rank to rank; weights come from rank 0
    model = task.model(size.shape).to(device)
    if config.checkpointing:
        recompute(model)
    if config.compile:
        model.compile()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    scaler = numbers.scaler(device)
    shared = ranks.share(model)
    trained = TrainingState(model, optimizer, scaler, device)
    first, position = (plan.resumed["step"], plan.resumed["position"]) if plan.resumed else (0, 0)

    validation = held_out(plan.validation_data, size.validation, config.batch, ranks.rank, ranks.world_size)
    places = ShuffledPlaces(len(plan.train_data), config.seed, position, ranks.rank, ranks.world_size)
    coming = batches(plan.train_data, places, config.batch, plan.workers, plan.prefetch, pin=device.type == "cuda")
    peak = peak_flops(device, numbers.name)
    flops = (
        config.accumulate * config.batch * flops_per_sample(lambda: task.model(size.shape), validation[0])
        if peak
        else 0.0
    )
    parameters = sum(weight.numel() for weight in model.parameters())
    logger.info(
        f"{parameters:,} parameters on {device}, {torch.get_num_threads()} threads; {numbers.name}: {numbers.reason}"
    )
    logger.info(f"{config.task} {config.size}: {len(plan.train_data):,} samples an epoch, from step {first}")

    stop = Stop()  # from here on; until here there is nothing to save, and a signal ends it at once
    vitals = Vitals(log, log.folder / checkpoint.NAME if plan.resumed else None)
    with closing(coming), Instruments(log, device) as instruments:
        instruments.time_first_all_reduce(shared)
        phases = instruments.phases
        if plan.resumed:
            checkpoint.restore(plan.resumed, trained, ranks)
        gc.freeze()  # PyTorch's modules stay: collections pass them over, and the end of the process takes 0.2 s instead of 0.8 s
        stopping, last = False, True
        for step in range(first, config.steps):
            begun_s = perf_counter()
            loss, units = torch.zeros((), device=device), 0
            for micro_batch in range(config.accumulate):
                with phases["data"]:
                    inputs, targets = next(coming)
                with phases["h2d"]:
                    inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
                with ranks.averaging(shared, last=micro_batch + 1 == config.accumulate):
                    with phases["forward"], numbers.autocast(device):
                        part = shared(inputs, targets) / config.accumulate
                    with phases["backward"]:
                        scaler.scale(part).backward()
                loss += part.detach()
                units += task.units(inputs) * ranks.world_size
            position += config.accumulate * config.batch * ranks.world_size
            with phases["optimizer"]:
                lr = learning_rate(config.lr, step, config.steps)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                scaler.unscale_(optimizer)
                grad_norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
            step_s = perf_counter() - begun_s
            values = {
                "train/loss": loss,
                "train/grad_norm": grad_norm,
                "train/lr": round(lr, 9),
                f"train/{task.unit}_per_s": round(units / step_s),
            }
            values |= scaler.readings()
            if peak:
                values["train/mfu"] = mfu(flops, step_s, peak)

            last = step + 1 == config.steps
            if step % VALIDATE_EVERY == 0 or last:
                with phases["validation"]:
                    val_loss = ranks.mean(validate(model, validation, numbers, device))
                log.scalars(step, {"val/loss": val_loss})
                seconds = round(phases["validation"].spent_ns / 1e9, 6)
                log.event("validation", step=step, seconds=seconds, text=f"loss {val_loss:.4f}")
                logger.info(f"step {step} | validation loss {val_loss:.4f}")

            stopping = ranks.any(bool(stop))
            if stopping or last or (step + 1) % SAVE_EVERY == 0:
                # Waits for the GPU, as saving does anyway
                vitals.require_finite(step, {name: float(value) for name, value in values.items()})
                with phases["checkpoint"]:
                    path = checkpoint.save(log.folder, trained, step + 1, position, config._asdict(), ranks)
                vitals.saved(path)
                if ranks.rank == 0:
                    seconds = round(phases["checkpoint"].spent_ns / 1e9, 6)
                    log.event("checkpoint", step=step, seconds=seconds, text=path.name)
                    logger.info(f"step {step} | saved {path.name}")

            for known in instruments.end_step(step, values):  # on a GPU of a step some time ago
                vitals.watch(known.step, known.values)
                if known.step % PRINT_EVERY == 0:
                    logger.info(line(known.step, known.values, task.unit))
            if stopping:
                break
    if stop:
        logger.info(stop.reason)
    log.close(reason=stop.reason or ("stopped with another rank" if stopping else ""))
    return stopping and not last


def line(step: int, values: Mapping[str, float], unit: str) -> str:
    return (
        f"step {step} | loss {values['train/loss']:.4f} | grad norm {values['train/grad_norm']:.3f} | "
        f"lr {values['train/lr']:.2e} | {values[f'train/{unit}_per_s']:,} {unit}/s"
    )


def validate(model: nn.Module, validation: list[Batch], numbers: Precision, device: torch.device) -> float:
    """Mean loss over the held-out batches."""
    model.eval()
    with torch.no_grad(), numbers.autocast(device):
        losses = [model(inputs.to(device), targets.to(device)) for inputs, targets in validation]
    model.train()
    return torch.stack(losses).mean().item()


def learning_rate(peak: float, step: int, steps: int) -> float:
    """A linear warm-up, then half a cosine down to a tenth of the peak."""
    warmup = min(WARMUP_STEPS, max(1, int(WARMUP_SHARE * steps)))
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.55 + 0.45 * math.cos(math.pi * done))


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices and kernels are pulled towards zero; norms and biases are not."""
    weights = list(model.parameters())
    return [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for weight in weights if weight.dim() <= 1], "weight_decay": 0.0},
    ]


def pick_device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch finds no GPU here: use --device cpu, or install a CUDA build of torch and its driver")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def spare_cores(world_size: int) -> int:
    """One core stays free for other programs."""
    return max(1, (len(os.sched_getaffinity(0)) - 1) // world_size)


def spare_workers(device: torch.device, world_size: int) -> int:
    """On a CPU the loop computes anyway while the data are prepared."""
    return min(WORKERS, spare_cores(world_size)) if device.type == "cuda" else 0


def run_folder(options: argparse.Namespace) -> Path:
    return Path(options.log_dir) / options.run


def open_log(options: argparse.Namespace, ranks: Ranks, config: dict[str, Any]) -> RunLog:
    """The run's log; the logging module writes to its text log, and rank 0 also to the terminal."""
    mine = options.run and options.run == run_of_the_job(options.log_dir)  # its keeper has written run.json
    if (
        options.run
        and not options.resume
        and not mine
        and ranks.rank == 0
        and (run_folder(options) / "run.json").exists()
    ):
        raise UserError(
            f"run {options.run!r} is in {options.log_dir} already: go on with it by --resume, or choose another --run"
        )
    try:
        log = RunLog(
            options.log_dir, options.run, config=config, name="train", rank=ranks.rank, world_size=ranks.world_size
        )
    except OSError as error:
        raise UserError(f"cannot write to {options.log_dir} ({error.strerror}): choose another --log-dir") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    logger.setLevel(logging.INFO)
    logger.addHandler(log.handler())
    if ranks.rank == 0:
        logger.addHandler(logging.StreamHandler(sys.stdout))
    return log


def main(arguments: list[str] | None = None) -> int:
    try:
        stopped = train(parse(arguments))
    except UserError as error:
        print(f"deepseek-train: {error}", file=sys.stderr)
        return NOTHING_SAVED if isinstance(error, NoCheckpoint) and is_job() else error.code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return SAVED if stopped and is_job() else 0
