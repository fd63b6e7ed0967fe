"""What jobs are placed on: a GPU, or a share of the cores of a host without GPUs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """`memory_mib` None is a core slot: it has no memory of its own and is never shared."""

    id: str  # a GPU's UUID, "cores-0"
    memory_mib: float | None = None
    free_mib: float | None = None  # as the driver says now; None: not known, and the slot is not shared
    foreign: bool = False  # has a process that is not the queue's, or another queue's lease

    def holds(self, need_mib: float | None) -> bool:
        """Whether a job that needs so much fits when it is alone there."""
        return need_mib is None or self.memory_mib is None or need_mib <= self.memory_mib


def core_slots(cores: int, a_slot: int) -> list[Slot]:
    """A host without GPUs: `core_slots(8, 4) -> [cores-0, cores-1]`"""
    return [Slot(f"cores-{number}") for number in range(max(1, cores // max(1, a_slot)))]
