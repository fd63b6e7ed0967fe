"""All GPUs of this machine, NVIDIA's and AMD's, behind one door."""

from __future__ import annotations

from pathlib import Path

from ..records import Labels, Points
from .amd import AmdCollector
from .inventory import Inventory
from .nvml import NvmlCollector


class GpuCollector:
    """`collect` is called every `period_s`; `inventory` may be called from any thread. AMD's cards are numbered behind NVIDIA's."""

    name = "gpu"
    period_s = NvmlCollector.period_s

    def __init__(self, host: str, root: Path = Path("/")) -> None:
        self._nvidia, self._amd = NvmlCollector(host, root), AmdCollector(host, root)

    def collect(self) -> list[Points]:
        """The values that became due since the last call. Raises StaleLibrary."""
        points = self._nvidia.collect()
        cards = {gpu.index for gpu in self._nvidia.inventory().gpus}
        return points + self._amd.collect(first=len(cards))

    def inventory(self) -> Inventory:
        nvidia, amd = self._nvidia.inventory(), self._amd.inventory()
        gpus = nvidia.gpus + amd.gpus
        driver = ", ".join(filter(None, (nvidia.driver, amd.driver)))
        return Inventory(
            gpus, None if gpus else amd.note or nvidia.note, nvidia.looks + amd.looks, driver, nvidia.topology
        )

    def measured(self) -> dict[str, tuple[Labels, frozenset[str]]]:
        """By UUID, the labels of each GPU's series and the names of those that were read last; from any thread."""
        return self._nvidia.measured() | self._amd.measured()

    def close(self) -> None:
        self._nvidia.close()
