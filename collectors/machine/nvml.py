"""Reads NVML: all GPUs of the machine and how they are connected."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from ..catalog import GPU, Timetable
from ..records import Labels, Points
from .gpu import DRIVER_GONE, NOTES, Device, open_card
from .inventory import NO_DEVICES, NO_DRIVER, Inventory, device_nodes, library_replaced, without_devices
from .polled_card import looks_of

Topology: TypeAlias = Mapping[str, Sequence[str]]
"""By kind of way, the pairs of cards: `{"NVLink": ["0-1"], "PCIe, another CPU": ["0-2", "1-2"]}`"""

WAYS = {
    nvml.NVML_TOPOLOGY_INTERNAL: "the same board",
    nvml.NVML_TOPOLOGY_SINGLE: "PCIe, one switch",
    nvml.NVML_TOPOLOGY_MULTIPLE: "PCIe, several switches",
    nvml.NVML_TOPOLOGY_HOSTBRIDGE: "PCIe, the host bridge",
    nvml.NVML_TOPOLOGY_NODE: "PCIe, the same CPU",
    nvml.NVML_TOPOLOGY_SYSTEM: "PCIe, another CPU",
}


def topology_of(handles: Mapping[int, Any]) -> dict[str, list[str]]:
    """Of the cards by index; pairs that the driver says nothing of are left out. Some 0.1 ms a pair.

    Raises the errors that mean that there is no driver.
    """
    found: dict[str, list[str]] = {}
    for (first, one_end), (second, other_end) in combinations(sorted(handles.items(), key=lambda item: item[0]), 2):
        if way := _way(one_end, other_end):
            found.setdefault(way, []).append(f"{first}-{second}")
    return found


def _way(first: Any, second: Any) -> str:
    """ "" where the driver does not know."""
    try:
        if nvml.nvmlDeviceGetP2PStatus(first, second, nvml.NVML_P2P_CAPS_INDEX_NVLINK) == nvml.NVML_P2P_STATUS_OK:
            return "NVLink"
    except nvml.NVMLError as error:
        _pass(error)
    try:
        return WAYS.get(nvml.nvmlDeviceGetTopologyCommonAncestor(first, second), "")
    except nvml.NVMLError as error:
        return _pass(error)


def _pass(error: Any) -> str:
    if error.value in DRIVER_GONE:
        raise error
    return ""


# Read the GPUs through NVML as often as the catalog says, and say in one sentence why there is nothing to read.
#
# The rule for errors, from the top: an unsupported source is tried once; a GPU that is lost or answers
# "unknown" leaves a gap with its reason and is tried again, while the others continue; a library that lost its driver is opened
# again; a library that no longer matches its driver needs a new process: `StaleLibrary`.

ABSENT_RETRY_S = 30.0
RELOAD_RETRY_S = 2.0  # a driver that worked in this process is probably being reloaded
PLUG_CHECK_S = 10.0
INVENTORY_S = 1.0
BUDGET_S = 0.05  # of one collect(); further due sources wait for the next
EVENT_WAIT_MS = 1  # 0 waits for ever in some versions

FOR_ALL = tuple(source for source in GPU if source.key == "gpu.xid")


class StaleLibrary(Exception):
    """The driver was replaced under the library that this process has loaded: the process must restart."""


class NvmlCollector:
    """All GPUs of this machine. `collect` is called every `period_s`; `inventory` may be called from any thread."""

    name = "gpu"
    period_s = 0.2

    def __init__(self, host: str, root: Path = Path("/")) -> None:
        self._host = host
        self._root = root
        self._devices: list[Device] = []
        self._events = XidEvents([])
        self._inventory = Inventory(note=NO_DRIVER)
        self._is_open = self._worked = False
        self._open_at_s = 0.0
        self._check_at_s = 0.0
        self._snapshot_at_s = 0.0
        self._nodes: list[str] = []
        self._driver, self._topology = "", dict[str, list[str]]()

    def collect(self) -> list[Points]:
        """The values that became due since the last call; nothing without a driver. Raises StaleLibrary."""
        now_s = time.monotonic()
        points: list[Points] = []
        try:
            if self._is_open or self._open(now_s):
                self._look(now_s, points)
                self._take_stock(now_s)
        except nvml.NVMLError as error:
            self._fail(error)
        return points

    def inventory(self) -> Inventory:
        return self._inventory

    def measured(self) -> dict[str, tuple[Labels, frozenset[str]]]:
        """By UUID, the labels of each GPU's series and the names of those that were read last; from any thread."""
        return {device.uuid: (device.labels, frozenset(dict(device.latest))) for device in self._devices if device.uuid}

    def close(self) -> None:
        """Release the driver; the next `collect` opens it again."""
        for device in self._devices:
            device.close()
        self._events.close()
        if self._is_open:
            with suppress(nvml.NVMLError):  # a library that lost its driver has nothing to shut down
                nvml.nvmlShutdown()
        self._devices, self._is_open = [], False

    def _open(self, now_s: float) -> bool:
        """Whether there are GPUs; if not, this is tried at a low rate."""
        if now_s < self._open_at_s:
            return False
        self._open_at_s = now_s + (RELOAD_RETRY_S if self._worked else ABSENT_RETRY_S)
        nvml.nvmlInit()
        self._is_open = True
        self._devices = [
            device for index in range(nvml.nvmlDeviceGetCount()) for device in open_card(self._host, index)
        ]
        if not self._devices:
            raise nvml.NVMLError(nvml.NVML_ERROR_GPU_NOT_FOUND)
        self._worked = True
        self._driver = text_of(nvml.nvmlSystemGetDriverVersion)
        self._topology = topology_of(
            {device.index: device.card.handle for device in self._devices if device.slot is None and not device.lost}
        )
        self._events = XidEvents(self._devices)
        self._nodes = device_nodes(self._root)
        self._check_at_s, self._snapshot_at_s = now_s + PLUG_CHECK_S, now_s
        return True

    def _fail(self, error: Any) -> None:
        """Note why there is no driver, and retry: at once if it worked until now."""
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH and (self._worked or library_replaced(self._root)):
            raise StaleLibrary("the NVIDIA driver was replaced while its old library was in use") from error
        if self._devices:
            self._open_at_s = 0.0
        self.close()
        note = NOTES.get(
            error.value, f"The NVIDIA driver answers {str(error)!r}: in a container, restart the container."
        )
        self._inventory = Inventory(note=NO_DEVICES if without_devices(self._root) else note)

    def _look(self, now_s: float, points: list[Points]) -> None:
        """Append what is due, oldest deadline first. Errors of one GPU stay with it; others are raised."""
        healed = [device for device in self._devices if device.heal(now_s)]
        if healed:
            self._events.close()
            self._events = XidEvents(self._devices)
        for device, xid in self._events.xids(now_s):
            device.xid, device.xid_s = xid, time.time()
            points.append(Points(None, device.labels, ("gpu/xid",), (float(xid),), device.xid_s, None))
        due = [(deadline_s, key, device) for device in self._devices for deadline_s, key in device.timetable.due(now_s)]
        try:
            for _, key, device in sorted(due, key=lambda look: look[0]):
                if time.monotonic() - now_s > BUDGET_S:
                    break
                if not device.lost:
                    points += device.look(key)
        finally:
            points += [row for device in self._devices for row in device.rows()]

    def _take_stock(self, now_s: float) -> None:
        if now_s >= self._snapshot_at_s:
            self._snapshot_at_s = now_s + INVENTORY_S
            self._inventory = Inventory(
                tuple(device.as_gpu() for device in self._devices),
                None,
                looks_of([device.costs for device in self._devices]),
                self._driver,
                self._topology,
            )
        if now_s >= self._check_at_s:
            self._check_at_s = now_s + PLUG_CHECK_S
            if self._nodes != device_nodes(self._root):
                self.close()
                self._open_at_s = 0.0


class XidEvents:
    """Critical errors (XID) of all cards, from the driver's own queue."""

    def __init__(self, devices: list[Device]) -> None:
        self._timetable = Timetable(FOR_ALL)
        self._devices: dict[int, Device] = {}
        self._set: Any = None
        cards = [device for device in devices if device.slot is None and not device.lost]
        if cards:
            self._listen(cards)

    def _listen(self, cards: list[Device]) -> None:
        with suppress(nvml.NVMLError):  # a driver without events
            self._set = nvml.nvmlEventSetCreate()
        for device in cards if self._set else []:
            with suppress(nvml.NVMLError):  # a card without events
                nvml.nvmlDeviceRegisterEvents(device.card.handle, nvml.nvmlEventTypeXidCriticalError, self._set)
                self._devices[address_of(device.card.handle)] = device

    def xids(self, now_s: float) -> Iterable[tuple[Device, int]]:
        """The events since the last call."""
        if not self._devices or not self._timetable.due(now_s):
            return
        self._timetable.done(FOR_ALL[0].key, now_s)
        try:
            while True:
                event = nvml.nvmlEventSetWait(self._set, EVENT_WAIT_MS)
                if device := self._devices.get(address_of(event.device)):
                    yield device, event.eventData
        except nvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            if error.value != nvml.NVML_ERROR_TIMEOUT:
                self._devices = {}  # a lost GPU breaks the set; the collector makes a new one when it recovers

    def close(self) -> None:
        if self._set:
            with suppress(nvml.NVMLError):
                nvml.nvmlEventSetFree(self._set)
            self._set = None


def text_of(ask: Callable[[], str]) -> str:
    """What the driver answers, "" where it does not."""
    try:
        return ask()
    except nvml.NVMLError as error:
        if error.value in DRIVER_GONE:
            raise
        return ""


def address_of(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
