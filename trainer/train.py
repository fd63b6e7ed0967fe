"""Train a small GPT on the Python standard library's own source.

    python -m trainer                                # the GPU if there is one, else the CPU, until Ctrl-C
    python -m trainer --steps 50 --run tiny          # a short one; the run's files are in logs/tiny
    python -m trainer --steps 90 --run tiny --resume # goes on where it stopped
    RANK=0 WORLD_SIZE=2 python -m trainer --run two  # with the same for RANK=1: two ranks of one run

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
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from . import checkpoint, precision
from .data import stdlib_text
from .errors import UserError
from .models.gpt import GPT, SIZES
from .phases import Phases
from .ranks import Ranks
from .run_log import RunLog
from .stop import Stop

STEPS = 1_000_000
WARMUP_STEPS = 100
CLIP_NORM = 1.0
PRINT_EVERY, VALIDATE_EVERY, SAVE_EVERY = 20, 100, 500  # steps
VALIDATION_BATCHES = 16

logger = logging.getLogger("trainer")


def train(options: argparse.Namespace) -> None:
    ranks = Ranks.join()
    torch.set_num_threads(options.threads or spare_threads(ranks.world_size))
    device = pick_device(options.device, ranks.local_rank)
    numbers = precision.choose(options.precision, device)
    resumed = checkpoint.load(run_folder(options)) if options.resume else None
    config = resumed["config"] if resumed else new_config(options, device)
    train_text, validation_text = stdlib_text.load()

    size, batch, seed = SIZES[config["size"]], config["batch"], config["seed"]
    torch.manual_seed(seed)
    model = GPT(size, stdlib_text.VOCABULARY).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    scaler = numbers.scaler(device)
    shared = ranks.share(model)
    first = checkpoint.restore(resumed, model, optimizer, scaler) if resumed else 0

    stop = Stop()  # from here on; until here there is nothing to save, and a signal ends it at once
    with open_log(options, ranks, size._asdict() | config | {"precision": numbers.name, "device": str(device)}) as log:
        parameters = sum(weight.numel() for weight in model.parameters())
        logger.info(f"{parameters:,} parameters on {device}, {torch.get_num_threads()} threads; {numbers.name}: {numbers.reason}")
        logger.info(f"training on {len(train_text.tokens):,} bytes of source from step {first}")
        phases = Phases()
        gc.freeze()  # PyTorch's modules stay: collections pass them over, and the end of the process takes 0.2 s instead of 0.8 s
        for step in range(first, options.steps):
            begun_s = perf_counter()
            with phases["data"]:
                draw = (seed * ranks.world_size + ranks.rank) * STEPS + step  # other windows on every rank and step
                tokens_BT, targets_BT = (part.to(device) for part in train_text.batch(batch, size.context, draw))
            with phases["forward"], numbers.autocast(device):
                loss = shared(tokens_BT, targets_BT)
            with phases["backward"]:
                scaler.scale(loss).backward()
            with phases["optimizer"]:
                lr = optimizer.param_groups[0]["lr"] = learning_rate(size.lr, step, options.steps)
                scaler.unscale_(optimizer)
                grad_norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
                scale = scaler.get_scale()  # waits for the GPU, but only under fp16, where step() does, too
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()

            tokens_per_s = round(tokens_BT.numel() * ranks.world_size / (perf_counter() - begun_s))
            scalars = {
                "train/loss": loss.detach(),
                "train/grad_norm": grad_norm,
                "train/lr": lr,
                "train/tokens_per_s": tokens_per_s,
            }
            if scaler.is_enabled():
                scalars["train/grad_scale"] = scale
            log.scalars(step, scalars | phases.take_s())
            if scaler.get_scale() < scale:
                log.event("overflow", step=step, text=f"step skipped, scale {scale:g} -> {scaler.get_scale():g}")
            if step % PRINT_EVERY == 0:  # reading the loss waits for the GPU
                logger.info(f"step {step} | loss {loss:.4f} | grad norm {grad_norm:.3f} | lr {lr:.2e} | {tokens_per_s:,} tokens/s")

            if step % VALIDATE_EVERY == 0:
                begun_s = perf_counter()
                with torch.no_grad(), numbers.autocast(device):
                    val_loss = validate(model, validation_text, batch, size.context, device)
                log.scalars(step, {"val/loss": val_loss})
                log.event("validation", step=step, seconds=round(perf_counter() - begun_s, 6), text=f"loss {val_loss:.4f}")
                logger.info(f"step {step} | validation loss {val_loss:.4f}")

            stopping = ranks.any(bool(stop))
            saving = stopping or (step + 1) % SAVE_EVERY == 0 or step + 1 == options.steps
            if saving and ranks.rank == 0:
                begun_s = perf_counter()
                path = checkpoint.save(log.folder, model, optimizer, scaler, step + 1, config)
                log.event("checkpoint", step=step, seconds=round(perf_counter() - begun_s, 6), text=path.name)
                logger.info(f"step {step} | saved {path.name}")
            if stopping:
                reason = stop.reason or "stopped with another rank"
                logger.info(reason)
                log.close(reason=reason)
                break
    ranks.leave()


def validate(model: nn.Module, text: stdlib_text.Text, batch: int, context: int, device: torch.device) -> float:
    """Mean loss in nats a byte, over the same windows every time."""
    losses: list[Tensor] = []
    for draw in range(VALIDATION_BATCHES):
        tokens_BT, targets_BT = text.batch(batch, context, draw)
        losses.append(model(tokens_BT.to(device), targets_BT.to(device)))
    return torch.stack(losses).mean().item()


def learning_rate(peak: float, step: int, steps: int) -> float:
    """A linear warm-up, then half a cosine down to a tenth of the peak."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.55 + 0.45 * math.cos(math.pi * done))


def new_config(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What a resumed run must keep."""
    size = options.size or ("base" if device.type == "cuda" else "tiny")
    return {"model": "gpt", "size": size, "batch": options.batch or SIZES[size].batch, "seed": options.seed}


def pick_device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch finds no GPU here: use --device cpu, or install a CUDA build of torch and its driver")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def spare_threads(world_size: int) -> int:
    """One core stays free for everything else on the machine."""
    return max(1, (len(os.sched_getaffinity(0)) - 1) // world_size)


def run_folder(options: argparse.Namespace) -> Path:
    return Path(options.log_dir) / options.run


def open_log(options: argparse.Namespace, ranks: Ranks, config: dict[str, Any]) -> RunLog:
    """The run's log; what goes to the logging module goes to its text log, and that of rank 0 to the terminal."""
    if options.run and not options.resume and ranks.rank == 0 and (run_folder(options) / "run.json").exists():
        raise UserError(f"run {options.run!r} is in {options.log_dir} already: go on with it by --resume, or choose another --run")
    try:
        log = RunLog(options.log_dir, options.run, config=config, name="train", rank=ranks.rank, world_size=ranks.world_size)
    except OSError as error:
        raise UserError(f"cannot write to {options.log_dir} ({error.strerror}): choose another --log-dir") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    logger.setLevel(logging.INFO)
    logger.addHandler(log.handler())
    if ranks.rank == 0:
        logger.addHandler(logging.StreamHandler(sys.stdout))
    return log


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser("deepseek-train", description="Train a small GPT on the Python standard library's source.")
    parser.add_argument("--log-dir", type=Path, default=Path("logs"), help="folder of all runs (default: ./logs)")
    parser.add_argument("--run", help="name of this run (default: train-<date>-<time>)")
    parser.add_argument("--resume", action="store_true", help="go on with --run from its checkpoint, with its size, batch and seed")
    parser.add_argument("--steps", type=count, default=STEPS, help=f"number of the step to end before (default: {STEPS:,})")
    parser.add_argument("--size", choices=SIZES, help="of the model (default: base on a GPU, tiny on a CPU)")
    parser.add_argument("--batch", type=count, help="sequences a step on each rank (default: that of the size)")
    parser.add_argument("--precision", choices=precision.CHOICES, default="auto", help="of matrix products (default: auto)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data order (default: 0)")
    parser.add_argument("--threads", type=count, help="CPU threads of PyTorch (default: all cores but one)")
    options = parser.parse_args(arguments)
    if options.resume and not options.run:
        parser.error("--resume needs --run, the name of the run to go on with")
    return options


def main(arguments: list[str] | None = None) -> int:
    try:
        train(parse(arguments))
    except UserError as error:
        print(f"deepseek-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0
