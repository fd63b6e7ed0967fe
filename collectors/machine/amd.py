"""Reads AMD's GPUs from what the amdgpu driver shows in /sys: no library, no privilege, and a card that sleeps is left asleep.

The files and their units are those of the kernel's documentation (gpu/amdgpu/thermal, hwmon, amdkfd). A file that is not there, or that
the driver refuses, is a value that is unknown, never 0.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from ..catalog import GPU
from ..records import Labels, Points, labels_of
from .inventory import HIDDEN_PROCESSES, GpuProcess, Inventory, owner_of
from .polled_card import CardValues, PolledCard, Reading, looks_of

AMD = "0x1002"
LOOK_S, PLUG_CHECK_S = 1.0, 10.0
BUDGET_S = 0.05  # of one collect(); further due sources wait for the next
SLEEPS = "suspended"
GENERATIONS: Final = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}  # GT/s of PCIe
NO_DEVICES = (
    "This machine has an AMD GPU that the container was not given: start it with --device=/dev/kfd --device=/dev/dri."
)
IN_USE_BYTES = 2**30  # a card without processes has less of its memory in use


class CardFolders(NamedTuple):
    """Where one card is described."""

    device: Path  # its PCI device
    hwmon: Path | None
    kfd: Path | None  # its node in the topology of compute devices
    proc: Path  # of all compute processes

    def number(self, name: str) -> float | None:
        """What a file of the device, or of its sensors (`hwmon/...`), says; None where it says nothing."""
        folder, _, file = name.rpartition("/")
        where = self.hwmon if folder else self.device
        text = text_of(where / file) if where is not None else ""
        try:
            return float(text)
        except ValueError:
            return None

    def sensor(self, kind: str, label: str) -> str:
        """`hwmon/temp2` for the temperature that is called `junction`; "" where none is."""
        for path in sorted(self.hwmon.glob(f"{kind}*_label")) if self.hwmon is not None else ():
            if text_of(path) == label:
                return f"hwmon/{path.name.removesuffix('_label')}"
        return ""


def text_of(path: Path) -> str:
    """ "" for a file that is not there, or that the driver refuses."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


CardReader: TypeAlias = Callable[[CardFolders], CardValues]


def values(*rows: tuple[str, str, float]) -> CardReader:
    """Of each (name, file, factor); of two files for one name the first that says something."""

    def read(card: CardFolders) -> CardValues:
        found: CardValues = {}
        for name, file, factor in rows:
            number = card.number(file) if name not in found else None
            if number is not None:
                found[name] = number * factor
        return found

    return read


def temperatures(card: CardFolders) -> CardValues:
    """The hottest place of the die, which the driver slows down by, else the only one."""
    sensor = card.sensor("temp", "junction") or "hwmon/temp1"
    memory = card.sensor("temp", "mem")
    found = {"gpu/temperature_c": card.number(f"{sensor}_input"), "gpu/memory_temperature_c": card.number(f"{memory}_input") if memory else None}  # fmt: skip
    return {name: number / 1000 for name, number in found.items() if number is not None}


def temperature_limit(name: str, file: str) -> CardReader:
    def read(card: CardFolders) -> CardValues:
        number = card.number(f"{card.sensor('temp', 'junction') or 'hwmon/temp1'}_{file}")
        return {} if number is None else {name: number / 1000}

    return read


def pcie_link(card: CardFolders) -> CardValues:
    """`16.0 GT/s PCIe` is the fourth generation."""
    speed = text_of(card.device / "current_link_speed").split(" ")[0]
    width = card.number("current_link_width")
    generation = GENERATIONS.get(speed)
    if generation is None or width is None or not 0 < width <= 32:
        return {}
    return {"gpu/pcie_generation": float(generation), "gpu/pcie_width": width}


def memory_errors(card: CardFolders) -> CardValues:
    """Since the driver was loaded: `ue: 0` and `ce: 0`."""
    counts = dict(re.findall(r"(?m)^(ue|ce): (\d+)$", text_of(card.device / "ras" / "umc_err_count")))
    names = {"ue": "gpu/ecc_uncorrected", "ce": "gpu/ecc_corrected"}
    return {names[kind]: float(number) for kind, number in counts.items()}


def fan(card: CardFolders) -> CardValues:
    now, most = card.number("hwmon/pwm1"), card.number("hwmon/pwm1_max") or 255.0
    return {} if now is None else {"gpu/fan_pct": 100 * now / most}


VITAL = "gpu.memory"  # every working card answers this
PROCESSES = "gpu.processes"
READERS: Mapping[str, CardReader] = {  # by the catalog's source
    "gpu.utilization": values(("gpu/utilization_pct", "gpu_busy_percent", 1)),
    "gpu.memory_utilization": values(("gpu/memory_utilization_pct", "mem_busy_percent", 1)),
    "gpu.memory": values(("gpu/memory_used_bytes", "mem_info_vram_used", 1), ("gpu/memory_total_bytes", "mem_info_vram_total", 1)),
    "gpu.power": values(("gpu/power_w", "hwmon/power1_average", 1e-6), ("gpu/power_w", "hwmon/power1_input", 1e-6)),
    "gpu.power_now": values(("gpu/energy_j", "hwmon/energy1_input", 1e-6)),
    "gpu.sm_clock": values(("gpu/sm_clock_mhz", "hwmon/freq1_input", 1e-6)),
    "gpu.memory_clock": values(("gpu/memory_clock_mhz", "hwmon/freq2_input", 1e-6)),
    "gpu.temperature": temperatures,
    "gpu.fan": fan,
    "gpu.ecc": memory_errors,
    "gpu.power_limit": values(("gpu/power_limit_w", "hwmon/power1_cap", 1e-6)),
    "gpu.slowdown": temperature_limit("gpu/temperature_slowdown_c", "crit"),
    "gpu.shutdown": temperature_limit("gpu/temperature_shutdown_c", "emergency"),
    "gpu.pcie_link": pcie_link,
}  # fmt: skip
POLLED_S = {"gpu.utilization": 0.5}  # the driver answers with a mean of its own
SOURCES = tuple(
    source._replace(period_s=POLLED_S.get(source.key, source.period_s))
    for source in GPU
    if source.key in READERS or source.key == PROCESSES
)


class AmdCard(PolledCard):
    """One card, or one partition of it where it is divided."""

    def __init__(self, host: str, index: int, folders: CardFolders) -> None:
        super().__init__(host, index, SOURCES)
        self.folders = folders
        self.users: tuple[GpuProcess, ...] = ()
        self.uuid = f"GPU-{identity_of(folders)}"
        self.name = name_of(folders)
        self.labels = labels_of(host=host, uuid=self.uuid, gpu=index)

    def read(self, key: str) -> list[Reading]:
        if self._sleeps():
            return []
        if key == PROCESSES:
            self.users = tuple(users_of(self.folders))
            self.answered.add(key)
            return [(None, {"gpu/processes": float(len(self.users))})]
        found = READERS[key](self.folders)
        if key == VITAL and "gpu/memory_total_bytes" not in found:
            self.lose("the amdgpu driver does not answer")
            return []
        return [(None, found)] if found else []

    def _sleeps(self) -> bool:
        """Reading a value would wake a card that is powered down."""
        return text_of(self.folders.device / "power" / "runtime_status") == SLEEPS

    def revive(self) -> str:
        return "" if "gpu/memory_total_bytes" in READERS[VITAL](self.folders) else self.cause

    def processes(self) -> tuple[GpuProcess, ...]:
        return self.users

    def processes_note(self) -> str:
        if self.folders.kfd is None:
            return "The processes on this GPU are not known: it is no compute device, or /sys/class/kfd is hidden."
        in_use = self.latest.get("gpu/memory_used_bytes", 0) >= IN_USE_BYTES
        return HIDDEN_PROCESSES if in_use and PROCESSES in self.answered and not self.users else ""


def identity_of(card: CardFolders) -> str:
    """The serial number of the chip, else where it is plugged in; partitions of one chip share the former."""
    serial, place = text_of(card.device / "unique_id"), card.device.resolve().name
    partition = text_of(card.device / "current_compute_partition")
    return f"{serial}-{place}" if serial and partition not in ("", "SPX") else serial or place


def name_of(card: CardFolders) -> str:
    named = text_of(card.device / "product_name")
    return named or f"AMD GPU {text_of(card.device / 'device')}".strip()


def users_of(card: CardFolders) -> list[GpuProcess]:
    """Compute processes, with the memory that each holds on this card, and the share of the compute units that it used just now."""
    if card.kfd is None:
        return []
    gpu = text_of(card.kfd / "gpu_id")
    properties = dict(re.findall(r"(?m)^(\w+) (\d+)$", text_of(card.kfd / "properties")))
    units = int(properties.get("simd_count", 0)) // max(1, int(properties.get("simd_per_cu", 0)))
    found, now_s = [], time.time()
    for folder in sorted(card.proc.glob("[0-9]*")):
        used, working = text_of(folder / f"vram_{gpu}"), text_of(folder / f"stats_{gpu}" / "cu_occupancy")
        if not used.isdigit() or (int(used) == 0 and working in ("", "0")):
            continue  # of another card
        pid = int(folder.name)
        owner = owner_of(pid)
        share = min(100, round(100 * int(working) / units)) if working.isdigit() and units else None
        found.append(GpuProcess(pid, "compute", int(used), share, owner.name, owner.command, owner.user, now_s))
    return found


class AmdCollector:
    """All AMD GPUs of this machine that this process was given. `collect` is called every second or more often."""

    def __init__(self, host: str, root: Path = Path("/")) -> None:
        self._host, self._root = host, root
        self._cards: list[AmdCard] = []
        self._nodes: list[str] | None = None
        self._first = 0
        self._check_at_s = 0.0
        self._note = ""

    def collect(self, first: int = 0) -> list[Points]:
        """The values that became due since the last call. `first`: the index of the first card, behind those of other makers."""
        now_s = time.monotonic()
        if now_s >= self._check_at_s or first != self._first:
            self._check_at_s, self._first = now_s + PLUG_CHECK_S, first
            self._find()
        points: list[Points] = []
        due = [(at_s, key, card) for card in self._cards for at_s, key in card.timetable.due(now_s)]
        for _, key, card in sorted(due, key=lambda look: look[0]):
            if time.monotonic() - now_s > BUDGET_S:
                break
            card.heal(now_s)
            if not card.lost:
                points += card.look(key)
        return points + [row for card in self._cards for row in card.rows()]

    def _find(self) -> None:
        """Cards that stay keep what is known of them."""
        devices = devices_of(self._root)
        given = [device for device in devices if is_given(device, self._root)]
        self._note = NO_DEVICES if devices and not given else ""
        nodes = [f"{self._first} {device.resolve()}" for device in given]
        if nodes != self._nodes:
            self._nodes = nodes
            self._cards = [
                AmdCard(self._host, index, folders_of(device, self._root))
                for index, device in enumerate(given, self._first)
            ]

    def inventory(self) -> Inventory:
        gpus = tuple(card.as_gpu() for card in self._cards)
        looks = looks_of([card.costs for card in self._cards])
        return Inventory(gpus, self._note or None, looks, driver_of(self._root) if gpus else "")

    def measured(self) -> dict[str, tuple[Labels, frozenset[str]]]:
        return {card.uuid: (card.labels, frozenset(dict(card.latest))) for card in self._cards}


def driver_of(root: Path) -> str:
    """The kernel's own module has no version."""
    return f"amdgpu {text_of(root / 'sys/module/amdgpu/version')}".strip()


def devices_of(root: Path) -> list[Path]:
    """The PCI devices of AMD's cards that the amdgpu driver has, in PCI order, as ROCm numbers them."""
    cards = (path / "device" for path in (root / "sys/class/drm").glob("card*") if path.name[4:].isdigit())
    ours = (card for card in cards if text_of(card / "vendor") == AMD and (card / "mem_info_vram_total").exists())
    return sorted(ours, key=lambda card: (card.resolve().name, card.parent.name))


def is_given(device: Path, root: Path) -> bool:
    """Whether its render node is among this process's devices; a container has only those that it was given."""
    nodes = [path.name for path in (device / "drm").glob("renderD*")]
    return any((root / "dev/dri" / node).exists() for node in nodes)


def folders_of(device: Path, root: Path) -> CardFolders:
    minors = {path.name.removeprefix("renderD") for path in (device / "drm").glob("renderD*")}
    kfd = root / "sys/class/kfd/kfd"
    nodes = [
        node
        for node in sorted((kfd / "topology/nodes").glob("*"))
        if minors & set(re.findall(r"(?m)^drm_render_minor (\d+)$", text_of(node / "properties")))
    ]
    sensors = sorted((device / "hwmon").glob("hwmon*"))
    return CardFolders(device, sensors[0] if sensors else None, nodes[0] if nodes else None, kfd / "proc")
