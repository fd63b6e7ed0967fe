"""Separate what only starts a training, or carries its output, from the training itself: torchrun, srun, `uv run`, shells, tee."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .identity import identity_of
from .proc import PROC, PYTHON, children, command_of, environment_of, program_of

MODULES = {
    "torch.distributed.run",
    "torch.distributed.launch",
    "torch.distributed.elastic",
    "accelerate.commands.launch",
    "accelerate.commands.accelerate_cli",
    "deepspeed.launcher.runner",
    "deepspeed.launcher.launch",
    "colossalai.cli",
    "horovod.runner.launch",
    "conda",
}
SCRIPTS = {
    "torchrun",
    "accelerate",
    "accelerate-launch",
    "deepspeed",
    "deepspeed.pt",
    "colossalai",
    "horovodrun",
    "conda",
    "mamba",
    "micromamba",
}
SCRIPTS |= {"uv", "uvx", "poetry", "pdm", "hatch", "pipenv", "rye", "tox", "nox", "composer"}
TAKES_A_VALUE = {"-W", "-X", "--check-hash-based-pycs"}
HELPERS = ("multiprocessing", "/torch/_inductor/")
MOST_LAUNCHERS = 8  # above each other
FLAGS = re.compile(r"-[bBdEhiIOPqRsSuvVx]+$")


def is_launcher(pid: int, proc: Path = PROC) -> bool:
    """Whether a process only starts others: a known launcher, or one whose children have ranks that it lacks."""
    return is_launchers_command(command_of(pid, proc)) or _gives_ranks(pid, proc)


def _gives_ranks(pid: int, proc: Path, depth: int = 0) -> bool:
    """Itself, or what it has started and waits for: `python run.py` that calls torchrun."""
    if depth > MOST_LAUNCHERS or _has_rank(pid, proc):
        return False
    below = children(pid, proc)
    return any(_was_given_a_rank(child, proc) for child in below) or any(
        _gives_ranks(child, proc, depth + 1) for child in below
    )


def _was_given_a_rank(child: int, proc: Path) -> bool:
    """Not the helper of a process that has set RANK itself."""
    if not PYTHON.match(program_of(child, proc)):
        return False
    return _has_rank(child, proc) and not any(
        helper in word for word in command_of(child, proc)[1:] for helper in HELPERS
    )


def _has_rank(pid: int, proc: Path) -> bool:
    return identity_of(environment_of(pid, proc)).rank is not None


def is_launchers_command(words: Sequence[str]) -> bool:
    """`["python", "-m", "torch.distributed.run", "train.py"] -> True`, `["python", "train.py"] -> False`"""
    if not words:
        return False
    module, script = started(words)
    return (
        module in MODULES
        or Path(script).name in SCRIPTS
        or (not script and not module and Path(words[0]).name in SCRIPTS)
    )


def started(words: Sequence[str]) -> tuple[str, str]:
    """The module, or the script, that a Python command line starts: one of them is ""."""
    waiting = iter(words[1:])
    for word in waiting:
        if word == "-m":
            return next(waiting, ""), ""
        if word.startswith("-m") and len(word) > 2:
            return word[2:], ""
        if word == "-c":
            return "", ""
        if word in TAKES_A_VALUE:
            next(waiting, "")
        elif not word.startswith("-") or word == "-":
            return "", word
        elif word[1:2] in "WX" or word.startswith("--") or FLAGS.match(word):
            continue
        elif word.endswith("m") and FLAGS.match(word[:-1]):  # `python -um module`
            return next(waiting, ""), ""
    return "", ""
