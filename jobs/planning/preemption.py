"""Which jobs make room for a job of the high class: only within its 70 %, only those that can resume, never twice in short time."""

from __future__ import annotations

from .job import Job
from .layout import Layout
from .state import QueueState
from .usage import high_slots


def victims(
    job: Job, free: list[str], layout: Layout, state: QueueState, spared: set[int], stopping: set[int]
) -> tuple[list[Job], list[str]] | None:
    """The jobs to stop, and the slots that `job` gets with `free` of them; None where it may not, cannot, or need not.

    Those that are `stopping` anyway come first, then those that hold no more slots than are needed, the newest first.
    Only the normal class is stopped and only the high class stops, so that no two jobs can stop each other.
    """
    rules, high = state.rules, high_slots(len(state.slots))
    held = {slot for slot, jobs in layout.jobs.items() if slot in layout.kept_for or any(other.high for other in jobs)}
    if not job.high or len(held) + job.slots > high:
        return None

    def gives_way(other: Job) -> bool:
        return other.id in stopping or (
            not other.high
            and other.resumes
            and other.state == "running"
            and other.id not in spared
            and other.stops < rules.most_stops
            and layout.now_s - other.started_s >= rules.least_run_s
        )

    need = job.slots - len(free)
    if need <= 0:  # its slots are free, and kept from it for a job that is overdue
        return None
    places = list[tuple[bool, int, float, str]]()
    for slot, jobs in layout.jobs.items():
        holds = layout.slots[slot].holds(job.needs_mib or job.declared_mib) and not layout.slots[slot].foreign
        if jobs and holds and slot not in layout.kept_for and all(map(gives_way, jobs)):
            more = [other for other in jobs if other.id not in stopping]
            surplus = max((max(0, other.slots - need) for other in more), default=0)
            places.append((bool(more), surplus, -max(other.started_s for other in jobs), slot))
    if len(places) < need:
        return None
    slots = [slot for _, _, _, slot in sorted(places)[:need]]
    stopped = {other.id: other for slot in slots for other in layout.jobs[slot] if other.id not in stopping}
    return list(stopped.values()), [*free, *slots]
