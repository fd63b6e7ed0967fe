"""The rank and job of a process, from the environment that its launcher set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..records import Event

MOST_RANKS = 1 << 20
NO_STEP = 4_294_967_280  # Slurm's ids of steps that srun did not start (batch, interactive) lie from here on


class Identity(NamedTuple):
    """`Identity(rank=3, local_rank=1, world_size=16, job_id="4127")`; None is what the environment does not say."""

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


def identity_of(environment: Mapping[str, str]) -> Identity:
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
        return Identity(rank, _first(environment, names.local_rank), world_size, job, restarts)
    return Identity(job_id=job, restarts=restarts)


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


def _number(text: str | None, most: int = MOST_RANKS) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 12:
        return None
    return number if (number := int(text)) <= most else None
