"""Several ranks of one job, which meet in their collectives: data-parallel (DDP) or sharded (FSDP)."""

from __future__ import annotations

from .job import Job
from .machine import Machine
from .training import Collectives, train


def simulated_ranks(job: Job, seed: int, ranks: int, straggler: int | None = None) -> list[Machine]:
    """Each runs until it has a collective to meet the others in; a job that ends leaves the others."""
    machines = [Machine(job, seed + 1000 * rank) for rank in range(ranks)]
    trainings = [train(machine, job, straggles=rank == straggler) for rank, machine in enumerate(machines)]
    ready = [next(training) for training in trainings]
    while len(ready) == ranks:
        ready = _resumed(trainings, max(ready))
    for training in trainings:
        training.close()
    return machines


def _resumed(trainings: list[Collectives], all_ready_s: float) -> list[float]:
    ready = []
    for training in trainings:
        try:
            ready.append(training.send(all_ready_s))
        except StopIteration:
            continue
    return ready
