"""What the daemon asks of the host: its slots, as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ..planning.slot import Slot


class SeenSlot(NamedTuple):
    """A slot, and what else is known of it."""

    slot: Slot
    name: str  # "GPU 0", "cores 0-3"
    why: str = ""  # who else uses it, in words
    activity: float | None = None  # of its multiprocessors since the last look, 0 to 1
    used_mib: Mapping[int, float] = {}  # by process, on a GPU


class JobsHost(Protocol):
    """A host has slots of one kind for as long as the daemon lives."""

    cores: int  # that all jobs together may use

    def look(self, ours: frozenset[int], used_mib: Mapping[str, float]) -> list[SeenSlot]:
        """`ours` are the processes of the queue's jobs; `used_mib` is what those on a core slot use of its memory. A GPU takes some ms."""

    def gpus(self, slots: tuple[str, ...]) -> tuple[str, ...]:
        """UUIDs for CUDA_VISIBLE_DEVICES; () on a host without."""

    def cores_of(self, slots: tuple[str, ...]) -> tuple[int, ...]:
        """Numbers of the cores that these slots have; () where a job may use all."""

    def close(self) -> None: ...
