"""After five minutes beside a neighbour: is each nearly as fast as alone?"""

from __future__ import annotations

from .job import Job
from .sharing import pair_of, speeds
from .state import Learned, QueueState, StopJob

NEWS = 0.02  # by which a measured speed must differ from the one that is known


def checked(state: QueueState, now_s: float) -> list[Learned | StopJob]:
    """What was measured of pairs, and which job leaves: of two the newer that can resume."""
    found, leaving = list[Learned | StopJob](), set[int]()
    neighbours = _neighbours(state)
    for job_id in sorted(neighbours):
        job = state.jobs[job_id]
        for other in neighbours[job_id]:
            if other.id < job.id or not _measured(job, state, now_s) or not _measured(other, state, now_s):
                continue
            to_blame = (
                _to_blame(job, neighbours[job.id], state) == other.id,
                _to_blame(other, neighbours[other.id], state) == job.id,
            )
            pair = pair_of(job.family, other.family)
            pace = (job.speed or 1.0, other.speed or 1.0)
            pace = pace if job.family <= other.family else pace[::-1]
            slow = (to_blame[0] and _slow(job, state)) or (to_blame[1] and _slow(other, state))
            change = max(abs(old - new) for old, new in zip(state.pairs.get(pair, (9.0, 9.0)), pace, strict=True))
            if all(to_blame) and (change > NEWS or (slow and change > 0)):
                found.append(Learned(pair, pace))
            newer, older = sorted((job, other), key=lambda each: (-each.started_s, -each.id))
            leaves = newer if newer.resumes else older
            if slow and leaves.resumes and leaves.id not in leaving:
                leaving.add(leaves.id)
                found.append(StopJob(leaves.id, "rolled back", older.id if leaves is newer else newer.id))
    return found


def _measured(job: Job, state: QueueState, now_s: float) -> bool:
    long_enough = job.shared_s is not None and now_s - job.shared_s >= state.rules.check_s
    return long_enough and job.speed is not None and job.steps >= state.rules.check_steps


def _slow(job: Job, state: QueueState) -> bool:
    return (job.speed or 1.0) < (state.rules.high_floor if job.high else state.rules.share_floor)


def _to_blame(job: Job, neighbours: list[Job], state: QueueState) -> int:
    """Of several neighbours the one beside which it is expected to be slowest; of equals the newest."""

    def expected(other: Job) -> tuple[float, float]:
        both = speeds(job.family, other.family, state)
        return (both[0] if both else 0.0, -other.started_s)

    return min(neighbours, key=expected).id


def _neighbours(state: QueueState) -> dict[int, list[Job]]:
    """By running job, those with which it has a slot in common."""
    on: dict[str, list[Job]] = {}
    for job in state.jobs.values():
        if job.state == "running":
            for slot in job.on:
                on.setdefault(slot, []).append(job)
    found: dict[int, dict[int, Job]] = {}
    for jobs in on.values():
        for job in jobs:
            found.setdefault(job.id, {}).update((other.id, other) for other in jobs if other.id != job.id)
    return {job: list(others.values()) for job, others in found.items() if others}
