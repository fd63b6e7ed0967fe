"""The rank and job of a process, by the environment of its launcher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..records import Event
from .proc import PROC, PYTHON, children, command_of, environment_of, program_of

MAX_RANKS = 1 << 20
NO_STEP = 4_294_967_280  # Slurm's ids of steps that srun did not start (batch, interactive) lie from here on


class RankIdentity(NamedTuple):
    """`RankIdentity(rank=3, local_rank=1, world_size=16, job_id="4127")`; None is what the environment does not say."""

    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    job_id: str | None = None
    restarts: int | None = None  # how often the launcher has started the job's processes anew


class _Names(NamedTuple):
    rank: str
    local_rank: Sequence[str]
    world_size: Sequence[str]


# The first launcher that gave a rank counts: torchrun below srun has set RANK itself, srun knows only the nodes.
LAUNCHERS = (
    _Names("RANK", ("LOCAL_RANK",), ("WORLD_SIZE",)),
    _Names("OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_LOCAL_RANK",), ("OMPI_COMM_WORLD_SIZE",)),
    _Names("PMIX_RANK", ("OMPI_COMM_WORLD_LOCAL_RANK",), ("OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")),
    _Names("PMI_RANK", ("MPI_LOCALRANKID", "PMI_LOCAL_RANK"), ("PMI_SIZE",)),
    _Names("SLURM_PROCID", ("SLURM_LOCALID",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
)
JOBS = ("SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "RAY_JOB_ID", "TORCHELASTIC_RUN_ID")
RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
MEETINGS = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "WORLD_SIZE",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
)


def identity_of(environment: Mapping[str, str]) -> RankIdentity:
    """`{"RANK": "3", "WORLD_SIZE": "16"} -> Identity(rank=3, world_size=16)`"""
    job = next((environment[name] for name in JOBS if environment.get(name) not in (None, "", "none")), None)
    restarts = _first(environment, RESTARTS)
    for names in LAUNCHERS:
        rank = _number(environment.get(names.rank))
        if rank is None or (names.rank == "SLURM_PROCID" and not _is_step(environment)):
            continue
        world_size = _first(environment, names.world_size)
        if world_size is not None and rank >= world_size:
            continue
        return RankIdentity(rank, _first(environment, names.local_rank), world_size, job, restarts)
    return RankIdentity(job_id=job, restarts=restarts)


def meeting_of(environment: Mapping[str, str]) -> tuple[str | None, ...] | None:
    """The key that the ranks of one job share, or None where the environment gives no rank."""
    if identity_of(environment).rank is None:
        return None
    return tuple(environment.get(name) for name in MEETINGS)


def job_of(events: Iterable[Event]) -> tuple[str | None, int | None]:
    """The job of the newest of these events `start` and `process` that names one, and how often it was started anew."""
    for event in sorted(events, key=lambda event: event.time_s, reverse=True):
        job, restarts = event.fields.get("job_id"), event.fields.get("restarts")
        if isinstance(job, str) and job:
            return job, restarts if isinstance(restarts, int) and not isinstance(
                restarts, bool
            ) and restarts >= 0 else None
    return None, None


def _is_step(environment: Mapping[str, str]) -> bool:
    """Whether srun started it: a batch script also has SLURM_PROCID=0, and SLURM_NTASKS of the tasks it may start."""
    step = _number(environment.get("SLURM_STEP_ID") or environment.get("SLURM_STEPID"), NO_STEP + 16)
    return step is not None and step < NO_STEP


def _first(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    return next((number for name in names if (number := _number(environment.get(name))) is not None), None)


def _number(text: str | None, most: int = MAX_RANKS) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 12:
        return None
    return number if (number := int(text)) <= most else None


# Separate what only starts a training, or carries its output, from the training itself: torchrun, srun, `uv run`, shells, tee.

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
MAX_LAUNCHERS = 8  # above each other
FLAGS = re.compile(r"-[bBdEhiIOPqRsSuvVx]+$")


def is_launcher(pid: int, proc: Path = PROC) -> bool:
    """Whether a process only starts others: a known launcher, or one whose children have ranks that it lacks."""
    return is_launchers_command(command_of(pid, proc)) or _gives_ranks(pid, proc)


def _gives_ranks(pid: int, proc: Path, depth: int = 0) -> bool:
    """Itself, or what it has started and waits for: `python run.py` that calls torchrun."""
    if depth > MAX_LAUNCHERS or _has_rank(pid, proc):
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
