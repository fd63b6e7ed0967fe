"""What places jobs in a replay: first-in-first-out, first fit, the source document's pseudocode, and our plan."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.replayed_cluster import ReplayedCluster
from jobs.plan import HIGH_WEIGHT, Action, PlannerState, PlanRules, QueueState, StartJob, plan


class StrictFifo:
    """Whole GPUs; nothing overtakes the first that waits."""

    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]:
        free, actions = cluster.free(), list[Action]()
        for job in cluster.waiting.values():
            if job.slots > len(free):
                break
            actions.append(StartJob(job.id, tuple(free[: job.slots])))
            del free[: job.slots]
        return actions


class FirstFit:
    """Whole GPUs; in the order of arrival whatever fits."""

    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]:
        free, actions = cluster.free(), list[Action]()
        for job in cluster.waiting.values():
            if not free:
                break
            if job.slots <= len(free):
                actions.append(StartJob(job.id, tuple(free[: job.slots])))
                del free[: job.slots]
        return actions


class SourceDocument:
    """A task starts where its memory is free, else it is pending; high priority first; the normal class has 30 % of the memory, and what the
    high class leaves while none of it is pending. `declared` times the true peak is what it believes."""

    def __init__(self, declared: float) -> None:
        self._declared = declared

    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]:
        whole = cluster.physics.memory_mib
        actions = list[Action]()
        free = {slot: whole - sum(self._need(cluster, job) for job in jobs) for slot, jobs in cluster.on.items()}
        normal = sum(
            self._need(cluster, job) for jobs in cluster.on.values() for job in jobs if not cluster.jobs[job].high
        )
        pending = sorted(cluster.waiting.values(), key=lambda job: (not job.high, job.id))
        left = max(free.values())
        high_waits = False
        for job in pending:
            need = self._need(cluster, job.id)
            if need > left or (
                not job.high and high_waits and normal + need * job.slots > (1 - HIGH_WEIGHT) * whole * len(free)
            ):
                high_waits |= job.high
                continue
            places = sorted((slot for slot in free if free[slot] >= need), key=lambda slot: -free[slot])[: job.slots]
            if len(places) < job.slots:
                high_waits |= job.high
                continue
            actions.append(StartJob(job.id, tuple(places)))
            for slot in places:
                free[slot] -= need
            left = max(free.values())
            normal += 0 if job.high else need * job.slots
        return actions

    def _need(self, cluster: ReplayedCluster, job: int) -> float:
        return min(cluster.physics.memory_mib, self._declared * cluster.attempts[job].submission.peak_mib)


class OurPlan:
    """The planner of the daemon, with what a dashboard measures."""

    def __init__(self, rules: PlanRules | None = None) -> None:
        self._rules = rules or PlanRules()
        self._carried = PlannerState()

    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]:
        state = QueueState(
            cluster.slots, cluster.jobs, cluster.records, cluster.pairs, cluster.ended_s,
            self._carried, cluster.physics.cores, self._rules,
        )  # fmt: skip
        made = plan(state, now_s)
        self._carried = made.carried
        return made.actions
