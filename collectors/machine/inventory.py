"""The GPUs of this machine, their state and their processes: the answers of `/gpus` and `/processes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from deepseek.log.redaction import without_secrets

from .proc import user_of

COMMAND_LENGTH = 400
"""Characters of a command line that are kept: enough to distinguish two runs, too few to fill the page."""


class GpuProcess(NamedTuple):
    """A process with a context on a GPU. In a container the driver may report the host's pids: then only the pid is known."""

    pid: int
    kind: Literal["compute", "graphics"]
    used_memory_bytes: int | None
    utilization_pct: int | None  # of the multiprocessors, over the driver's last sample period
    name: str
    command: str
    user: str
    time_s: float  # when the driver was asked


class Gpu(NamedTuple):
    """A card, or one MIG instance of a card."""

    index: int  # type: ignore[assignment]  # of the card, in PCI order; `tuple.index` is not missed
    uuid: str
    name: str
    memory_total_bytes: int | None
    power_limit_w: float | None
    mig: int | None = None  # GPU instance id; None for a whole card
    state: Literal["ok", "lost"] = "ok"
    reason: str = ""  # one sentence when it is lost
    since_s: float | None = None  # when it was lost, Unix seconds
    sample_period_s: float | None = None  # between two entries of the driver's utilization buffer, as measured
    processes: tuple[GpuProcess, ...] = ()
    processes_note: str = ""  # one sentence where the list of processes is not to be had, or cannot be whole


class PollCost(NamedTuple):
    """The cost of one source of the catalog on this machine, since the driver was opened."""

    source: str
    looks: int
    mean_ms: float
    slowest_ms: float
    sentence: str = ""  # why it is polled less often than in the catalog


class Inventory(NamedTuple):
    gpus: tuple[Gpu, ...] = ()
    note: str | None = None  # one sentence where there is no GPU to show
    looks: tuple[PollCost, ...] = ()
    driver: str = ""  # its version
    topology: Mapping[str, Sequence[str]] = {}  # by kind of way, the pairs of cards

    def as_dict(self) -> dict[str, Any]:
        """For JSON, down to the processes."""
        gpus = [gpu._asdict() | {"processes": [process._asdict() for process in gpu.processes]} for gpu in self.gpus]
        return {"gpus": gpus, "note": self.note, "looks": [looks._asdict() for looks in self.looks]}


def described(inventory: Inventory) -> dict[str, Any]:
    """`{"gpu": "8 x NVIDIA H100 80GB HBM3", "driver": "580.65.06", "gpu_topology": {"NVLink": ["0-1", ...]}}`, as far as known."""
    counts = Counter(gpu.name for gpu in inventory.gpus if gpu.name)
    found = {
        "gpu": ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items()),
        "driver": inventory.driver,
        "gpu_topology": {way: list(pairs) for way, pairs in inventory.topology.items()},
    }
    return {name: value for name, value in found.items() if value}


class Owner(NamedTuple):
    """The name, command and user of a pid."""

    name: str = ""
    command: str = ""
    user: str = ""


def owner_of(pid: int, proc: Path = Path("/proc")) -> Owner:
    """From /proc; empty where the process is gone, or lives in another pid namespace."""
    folder = proc / str(pid)
    try:
        name = (folder / "comm").read_text(errors="replace").strip()
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        return Owner(name, " ".join(without_secrets(words)).strip()[:COMMAND_LENGTH], user_of(folder.stat().st_uid))
    except OSError:
        return Owner()


NO_PROCESSES = "The driver does not name the processes of this GPU."
HIDDEN_PROCESSES = (
    "The driver names no process, though memory of this GPU is in use: in a container, start it with --pid=host."
)
NO_DRIVER = "No NVIDIA or AMD driver found: showing the host."
NO_GPU = "The NVIDIA driver sees no GPU: showing the host."
NO_DEVICES = "The NVIDIA driver is loaded, but this process was given no GPU: start the container with --gpus all."


def device_nodes(root: Path = Path("/")) -> list[str]:
    """A stamp that changes when a GPU is added or removed, a container's devices change, or a MIG instance comes or goes.

    Read from the file system, because asking the driver again requires shutting its library down first.
    """
    instances = (root / "proc/driver/nvidia/capabilities").glob("gpu*/mig/gi*")
    return sorted(str(path) for path in [*(root / "dev").glob("nvidia[0-9]*"), *instances])


def without_devices(root: Path = Path("/")) -> bool:
    """Whether the host's driver can be seen but none of its GPUs: a container that was started without them."""
    return (root / "proc/driver/nvidia/version").exists() and not device_nodes(root)


def library_replaced(root: Path = Path("/")) -> bool:
    """Whether the NVIDIA library that this process has mapped is no longer the file on disk: a driver upgrade."""
    lines = (root / "proc/self/maps").read_text().splitlines()
    return any("libnvidia-ml.so" in line and line.endswith("(deleted)") for line in lines)
