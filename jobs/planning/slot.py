"""What jobs are placed on: a GPU, or a share of the cores of a host without GPUs."""

from __future__ import annotations

from dataclasses import dataclass

CORES = "cores-"  # before the number of a core slot, which is its id then


@dataclass(frozen=True, slots=True)
class Slot:
    """Its memory is a card's, or of a core slot its share of the host's; None where that is not known, and then it is never shared."""

    id: str  # a GPU's UUID, "cores-0"
    memory_mib: float | None = None
    free_mib: float | None = None  # as the driver says now; None: not known, and the slot is not shared
    foreign: bool = False  # has a process that is not the queue's, or another queue's lease
    cores: int = 0  # of a core slot; 0 is a GPU
    absent: bool = False  # it is foreign since the driver does not name it, or has lost it

    def holds(self, need_mib: float | None) -> bool:
        """Whether a job that needs so much fits when it is alone there."""
        return need_mib is None or self.memory_mib is None or need_mib <= self.memory_mib


def core_slots(cores: int, a_slot: int, memory_mib: float | None = None) -> list[Slot]:
    """A host without GPUs and with so much memory: `core_slots(8, 4, 16384) -> [cores-0, cores-1]` with 8192 MiB each"""
    a_slot = min(max(1, a_slot), max(1, cores))
    number = max(1, cores // a_slot)
    share = None if memory_mib is None else memory_mib / number
    return [Slot(f"{CORES}{place}", share, share, cores=a_slot) for place in range(number)]
