"""A job as the plan sees it: what its user asked for, what was done with it so far, and what is measured of it now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

JobState = Literal["queued", "held", "running", "stopping"]
MOST_OUT_OF_MEMORY = 2  # attempts that may end so; the next one is a failure
MORE_AFTER_OUT_OF_MEMORY = 1.25


@dataclass(frozen=True, slots=True)
class Job:
    """Times are Unix seconds. A job that is over is not among the plan's jobs."""

    id: int
    family: str  # jobs that resemble each other: user, script, arguments without seeds and rates, number of slots
    slots: int  # GPUs, or core slots on a host without GPUs
    submitted_s: float
    high: bool = False
    shares: bool = False  # its user allows a neighbour on its GPUs
    resumes: bool = False  # has `--resume-with`: the only jobs that are ever stopped for others
    declared_mib: float | None = None  # a slot, as its user says
    state: JobState = "queued"
    queued_s: float = 0.0  # since when it is queued, this time
    waited_s: float = 0.0  # in the queue before that
    ran_s: float = 0.0  # seconds of its own work that earlier attempts kept
    out_of_memory: int = 0
    stops: int = 0  # how often it was stopped for others
    needs_mib: float | None = None  # a slot, after an attempt ran out of memory; it runs alone then
    promised: tuple[str, ...] = ()  # slots that are kept for it
    on: tuple[str, ...] = ()  # slots that it holds
    started_s: float = 0.0
    shared_s: float | None = None  # since when it has the neighbours that it has now
    speed: float | None = None  # its units/s now, of its own baseline alone; None: not measured yet
    steps: int = 0  # that `speed` is measured over

    @property
    def waiting(self) -> bool:
        return self.state == "queued"

    @property
    def placed(self) -> bool:
        return self.state in ("running", "stopping")

    def waited(self, now_s: float) -> float:
        """Seconds in the queue since it was submitted."""
        return self.waited_s + (now_s - self.queued_s if self.state == "queued" else 0.0)

    def done(self, now_s: float) -> float:
        """Seconds of work behind it, at most."""
        return self.ran_s + (now_s - self.started_s if self.placed else 0.0)


def after_out_of_memory(job: Job, peak_mib: float, now_s: float, largest_mib: float) -> Job | None:
    """The job as it is queued again: alone, with a quarter more than the peak, or all of the largest card. None: it had its tries and has failed."""
    if job.out_of_memory >= MOST_OUT_OF_MEMORY:
        return None
    return replace(
        queued_again(job, now_s, kept_s=job.ran_s),
        out_of_memory=job.out_of_memory + 1,
        needs_mib=min(largest_mib, MORE_AFTER_OUT_OF_MEMORY * max(peak_mib, job.needs_mib or 0.0)),
    )


def queued_again(job: Job, now_s: float, kept_s: float) -> Job:
    """After an attempt that did not finish it; `kept_s` of work are in its checkpoint."""
    return replace(
        job,
        state="queued",
        queued_s=now_s,
        ran_s=kept_s,
        on=(),
        promised=(),
        started_s=0.0,
        shared_s=None,
        speed=None,
        steps=0,
    )
