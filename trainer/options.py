"""The command line, and the options that a resumed run keeps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from . import precision
from .errors import UserError
from .job import run_of_the_job
from .tasks import TASKS

STEPS = 1_000_000


class Config(NamedTuple):
    """The options stored in a checkpoint; the run's config on the dashboard."""

    task: str
    size: str
    batch: int  # samples of a micro-batch on each rank
    accumulate: int  # micro-batches of a step
    steps: int  # the step to end before
    lr: float  # at its peak
    seed: int
    checkpointing: bool
    compile: bool

    @classmethod
    def new(cls, options: argparse.Namespace, device: torch.device) -> Config:
        name = options.size or ("base" if device.type == "cuda" else "tiny")
        size = TASKS[options.task or "gpt"].sizes[name]
        return cls(
            task=options.task or "gpt",
            size=name,
            batch=options.batch or size.batch,
            accumulate=options.accumulate or 1,
            steps=options.steps or STEPS,
            lr=options.lr or size.lr,
            seed=options.seed or 0,
            checkpointing=bool(options.checkpointing),
            compile=bool(options.compile),
        )

    @classmethod
    def resumed(cls, saved: dict[str, Any], options: argparse.Namespace) -> Config:
        """Only the learning rate and the end may change: other changes would make it another run."""
        config = cls(**saved)
        for name, value in saved.items():
            wanted = getattr(options, name)
            if name not in ("steps", "lr") and wanted is not None and wanted != value:
                raise UserError(
                    f"run {options.run!r} was begun with {name} {value}: leave --{name} out, or start another --run"
                )
        return config._replace(steps=options.steps or config.steps, lr=options.lr or config.lr)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """None where no flag was given and the default depends on others, or must not overrule the options of a resumed run."""
    parser = Parser(
        "deepseek-train", description="Train one of four models in mixed precision, on data that is installed here."
    )
    parser.add_argument("--task", choices=TASKS, help="what to train (default: gpt)")
    parser.add_argument("--size", choices=("tiny", "base"), help="of the model (default: base on a GPU, tiny on a CPU)")
    parser.add_argument(
        "--precision", choices=precision.CHOICES, default="auto", help="of matrix products (default: auto)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument("--log-dir", type=Path, default=Path("logs"), help="folder of all runs (default: ./logs)")
    parser.add_argument("--run", help="name of this run (default: train-<date>-<time>)")
    parser.add_argument("--resume", action="store_true", help="go on with --run from its checkpoint, as it was begun")
    parser.add_argument("--steps", type=count, help=f"number of the step to end before (default: {STEPS:,})")
    parser.add_argument("--batch", type=count, help="samples of a micro-batch on each rank (default: that of the size)")
    parser.add_argument("--accumulate", type=count, help="micro-batches whose gradients make one step (default: 1)")
    parser.add_argument("--lr", type=rate, help="learning rate at its peak (default: that of the size)")
    parser.add_argument("--seed", type=int, help="of weights and data order (default: 0)")
    parser.add_argument(
        "--checkpointing",
        action="store_true",
        default=None,
        help="keep fewer activations and compute them again: slower, less memory",
    )
    parser.add_argument(
        "--compile", action="store_true", default=None, help="with torch.compile: the first steps take minutes"
    )
    parser.add_argument(
        "--workers", type=whole, help="processes that prepare data (default: up to 4 for a GPU, else 0: the loop does)"
    )
    parser.add_argument("--prefetch", type=count, default=2, help="batches that each worker stays ahead (default: 2)")
    parser.add_argument("--threads", type=count, help="CPU threads of PyTorch (default: all cores but one)")
    options = parser.parse_args(arguments)
    options.run = options.run or run_of_the_job(options.log_dir)
    if options.resume and not options.run:
        parser.error("--resume needs --run, the name of the run to go on with")
    return options


def count(text: str) -> int:
    if whole(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value
