"""Read the GPUs through NVML as often as the catalog says, and say in one sentence why there is nothing to read.

The rule for errors, from the top: what a card does not support is asked once and left; a GPU that is lost or answers
"unknown" leaves a gap with its reason and is tried again, while the others go on; a library that lost its driver is opened
again; a library that no longer fits its driver cannot be mended inside this process: `StaleLibrary`.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from .catalog import GPU, Timetable
from .inventory import (
    NO_DEVICES,
    NO_DRIVER,
    NO_GPU,
    Gpu,
    GpuProcess,
    Inventory,
    Looks,
    device_nodes,
    library_replaced,
    owner_of,
    without_devices,
)
from .records import Points, labels_of

Values: TypeAlias = dict[str, float]
Reading: TypeAlias = tuple[float, Values]  # when, Unix seconds; what, by name

ABSENT = {
    nvml.NVML_ERROR_NOT_SUPPORTED,
    nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    nvml.NVML_ERROR_NO_PERMISSION,
    nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    nvml.NVML_ERROR_DEPRECATED,
}
NOTHING_NOW = {
    nvml.NVML_SUCCESS,  # the binding raises on a success without rows
    nvml.NVML_ERROR_NOT_FOUND,
    nvml.NVML_ERROR_NO_DATA,
    nvml.NVML_ERROR_NOT_READY,
    nvml.NVML_ERROR_TIMEOUT,
    nvml.NVML_ERROR_INSUFFICIENT_SIZE,  # a process or a sample came between the two calls that size and fill a list
}
GONE = {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED, nvml.NVML_ERROR_GPU_NOT_FOUND}
DRIVER_GONE = {nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_DRIVER_NOT_LOADED, nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH}

NOTES = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA library is installed, but its driver is not loaded: showing the host.",
    nvml.NVML_ERROR_UNINITIALIZED: "The NVIDIA driver is being reloaded: showing the host.",
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver and its library are of different versions: reboot to mend it.",
    nvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
    nvml.NVML_ERROR_NO_PERMISSION: "This user may not use the NVIDIA driver: see the permissions of /dev/nvidiactl.",
}

ABSENT_RETRY_S = 30.0
RELOAD_RETRY_S = 2.0  # a driver that worked in this process is probably being reloaded
LOST_RETRY_S = 5.0  # until a lost GPU is tried again; doubles up to
LOST_RETRY_MOST_S = 60.0
PLUG_CHECK_S = 10.0
INVENTORY_S = 1.0
BUDGET_S = 0.05  # of one collect(); what is due beyond it waits for the next
SLOW_S = 0.02  # a look that takes longer, twice in a row, may take 1 % of the time at most
POLL_AFTER_S = 1.5  # without a new entry in the driver's buffer, whose period is 1 s at most: an idle GPU writes none
PROCESS_WINDOW_S = 2.5  # from which the newest utilization of each process is taken
GPM_LEAST_S = 0.1  # between the two samples of a GPM reading, the hardware's own limit
ALL_LINKS = 0xFFFFFFFF  # scope of an NVLink counter
XID_FRESH_S = 60.0  # an XID this near is taken for the cause of a loss
EVENT_WAIT_MS = 1  # 0 waits for ever in some versions
VITAL = "gpu.memory"  # every working GPU answers this; where it fails the GPU is lost, whatever the code says

PER_GPU = tuple(source for source in GPU if source.key != "gpu.xid")
FOR_ALL = tuple(source for source in GPU if source.key == "gpu.xid")


class StaleLibrary(Exception):
    """The driver was replaced under the library that this process has loaded: the process has to start again."""


class NvmlCollector:
    """All GPUs of this machine. `collect` is called every `period_s`; `inventory` may be called from any thread."""

    name = "gpu"
    period_s = 0.2

    def __init__(self, host: str, root: Path = Path("/")) -> None:
        self._host = host
        self._root = root
        self._devices: list[Device] = []
        self._events = Events([])
        self._inventory = Inventory(note=NO_DRIVER)
        self._is_open = self._worked = False
        self._open_at_s = 0.0
        self._check_at_s = 0.0
        self._snapshot_at_s = 0.0
        self._nodes: list[str] = []

    def collect(self) -> list[Points]:
        """What became due since the last call; nothing where there is no driver. Raises StaleLibrary."""
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

    def close(self) -> None:
        """Let the driver go; the next `collect` opens it again."""
        for device in self._devices:
            device.close()
        self._events.close()
        if self._is_open:
            with suppress(nvml.NVMLError):  # a library that lost its driver has nothing to shut down
                nvml.nvmlShutdown()
        self._devices, self._is_open = [], False

    def _open(self, now_s: float) -> bool:
        """Whether there are GPUs; where there are none this is tried at a low rate."""
        if now_s < self._open_at_s:
            return False
        self._open_at_s = now_s + (RELOAD_RETRY_S if self._worked else ABSENT_RETRY_S)
        nvml.nvmlInit()
        self._is_open = True
        self._devices = [device for index in range(nvml.nvmlDeviceGetCount()) for device in open_card(self._host, index)]
        if not self._devices:
            raise nvml.NVMLError(nvml.NVML_ERROR_GPU_NOT_FOUND)
        self._worked = True
        self._events = Events(self._devices)
        self._nodes = device_nodes(self._root)
        self._check_at_s, self._snapshot_at_s = now_s + PLUG_CHECK_S, now_s
        return True

    def _fail(self, error: Any) -> None:
        """Say why there is no driver, and come back: at once if it worked until now."""
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH and (self._worked or library_replaced(self._root)):
            raise StaleLibrary("the NVIDIA driver was replaced while its old library was in use") from error
        if self._devices:
            self._open_at_s = 0.0
        self.close()
        note = NOTES.get(error.value, f"The NVIDIA driver answers {str(error)!r}: in a container, restart the container.")
        self._inventory = Inventory(note=NO_DEVICES if without_devices(self._root) else note)

    def _look(self, now_s: float, points: list[Points]) -> None:
        """Append what is due, oldest deadline first. Errors of one GPU stay with it; others rise."""
        healed = [device for device in self._devices if device.heal(now_s)]
        if healed:
            self._events.close()
            self._events = Events(self._devices)
        for device, xid in self._events.xids(now_s):
            device.xid, device.xid_s = xid, time.time()
            points.append(Points(None, device.labels, ("gpu/xid",), (float(xid),), device.xid_s, None))
        due = [(deadline_s, key, device) for device in self._devices for deadline_s, key in device.timetable.due(now_s)]
        for _, key, device in sorted(due, key=lambda look: look[0]):
            if time.monotonic() - now_s > BUDGET_S:
                break
            if not device.lost:
                points += device.look(key)

    def _take_stock(self, now_s: float) -> None:
        if now_s >= self._snapshot_at_s:
            self._snapshot_at_s = now_s + INVENTORY_S
            self._inventory = Inventory(tuple(device.as_gpu() for device in self._devices), None, looks_of(self._devices))
        if now_s >= self._check_at_s:
            self._check_at_s = now_s + PLUG_CHECK_S
            if self._nodes != device_nodes(self._root):
                self.close()
                self._open_at_s = 0.0


@dataclass
class Cost:
    """Of one source on one GPU."""

    looks: int = 0
    total_s: float = 0.0
    slowest_s: float = 0.0
    slow_in_a_row: int = 0
    rest_s: float = 0.0  # until the next look, where it is too slow for its period

    def add(self, took_s: float) -> None:
        self.looks += 1
        self.total_s += took_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.slow_in_a_row = self.slow_in_a_row + 1 if took_s > SLOW_S else 0
        self.rest_s = 100 * took_s if self.slow_in_a_row > 1 else 0.0


def looks_of(devices: list[Device]) -> tuple[Looks, ...]:
    """The costs of each source, over all GPUs."""
    looks = []
    for source in PER_GPU:
        costs = [device.costs[source.key] for device in devices if source.key in device.costs]
        count = sum(cost.looks for cost in costs)
        if not count:
            continue
        rest_s = max(cost.rest_s for cost in costs)
        sentence = f"A look takes {rest_s * 10:.0f} ms: one in {rest_s:.1f} s, not in {source.period_s:g} s." if rest_s else ""
        mean_ms, slowest_ms = sum(c.total_s for c in costs) / count * 1e3, max(c.slowest_s for c in costs) * 1e3
        looks.append(Looks(source.key, count, mean_ms, slowest_ms, sentence))
    return tuple(looks)


class Device:
    """One card, or one MIG instance of it, and what it has told so far."""

    def __init__(self, host: str, index: int, slot: int | None = None) -> None:
        self.host = host
        self.index = index
        self.slot = slot  # among the card's MIG instances; None for the card itself
        self.uuid = self.name = ""
        self.mig: int | None = None
        self.lost = False
        self.since_s: float | None = None
        self.cause = ""
        self.xid = 0
        self.xid_s = 0.0
        self.pause_s = 0.0
        self.retry_at_s = 0.0
        self._forget()

    def _forget(self) -> None:
        self.timetable = Timetable(PER_GPU)
        self.readers = {source.key: list(READERS[source.key]) for source in PER_GPU}
        self.answered: set[str] = set()
        self.costs: dict[str, Cost] = {}
        self.latest: Values = {}
        self.absent_fields: set[int] = set()
        self.counters: dict[str, tuple[float, float]] = {}
        self.buffers: dict[int, Buffer] = {}
        self.gpm: Gpm | None = None
        self.users: dict[Literal["compute", "graphics"], list[GpuProcess]] = {}
        self.busy: dict[int, int] = {}  # pid -> per cent of the multiprocessors

    def open(self) -> None:
        self._forget()
        self.card = self.handle = nvml.nvmlDeviceGetHandleByIndex(self.index)
        if self.slot is not None:
            self.handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(self.card, self.slot)
            self.mig = nvml.nvmlDeviceGetGpuInstanceId(self.handle)
        self.uuid, self.name = nvml.nvmlDeviceGetUUID(self.handle), nvml.nvmlDeviceGetName(self.handle)
        self.labels = labels_of(host=self.host, uuid=self.uuid, gpu=self.index, mig=self.mig)

    def close(self) -> None:
        if self.gpm:
            self.gpm.close()
            self.gpm = None

    def look(self, key: str) -> list[Points]:
        """Read one source of the catalog. Raises the errors that mean that there is no driver."""
        started_s = time.monotonic()
        readings: list[Reading] = []
        try:
            readings = self._read(key)
            self.answered.add(key)
        except nvml.NVMLError as error:
            self._refused(key, error)
        cost = self.costs.setdefault(key, Cost())
        cost.add(time.monotonic() - started_s)
        self.timetable.done(key, started_s, cost.rest_s)
        for _, values in readings:
            self.latest |= values
        return [Points(None, self.labels, tuple(v), tuple(map(float, v.values())), time_s, None) for time_s, v in readings if v]

    def _read(self, key: str) -> list[Reading]:
        """By the first reader that this card supports; those before it are asked once and then left."""
        readers = self.readers[key]
        while readers:
            try:
                return readers[0](self)
            except nvml.NVMLError as error:
                if error.value in NOTHING_NOW:
                    return []
                if error.value not in ABSENT:
                    raise
            except nvml.NVMLLibraryMismatchError:  # the binding's word for a function that the library lacks
                pass
            readers.pop(0)
        self.timetable.drop(key)
        return []

    def _refused(self, key: str, error: Any) -> None:
        if error.value in DRIVER_GONE:
            raise error
        if error.value in GONE or key == VITAL or key in self.answered:
            self.lose(error)
        else:  # it never worked: a share of a GPU answers "unknown" to what only a whole one has
            self.readers[key].clear()

    def lose(self, error: Any) -> None:
        if not self.lost:
            self.lost, self.since_s, self.cause = True, time.time(), str(error)
            self.pause_s = LOST_RETRY_S
        self.retry_at_s = time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, LOST_RETRY_MOST_S)

    def heal(self, now_s: float) -> bool:
        """Try a lost GPU again when its pause is over; whether it came back."""
        if not self.lost or now_s < self.retry_at_s:
            return False
        try:
            self.close()
            self.open()
            self._read(VITAL)
        except nvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            self.lose(error)
            return False
        self.lost, self.since_s = False, None
        return True

    def as_gpu(self) -> Gpu:
        memory_bytes, power_limit_w = self.latest.get("gpu/memory_total_bytes"), self.latest.get("gpu/power_limit_w")
        buffer = self.buffers.get(nvml.NVML_GPU_UTILIZATION_SAMPLES)
        return Gpu(
            index=self.index,
            uuid=self.uuid,
            name=self.name,
            memory_total_bytes=None if memory_bytes is None else int(memory_bytes),
            power_limit_w=power_limit_w,
            mig=self.mig,
            state="lost" if self.lost else "ok",
            reason=self._reason(),
            since_s=self.since_s,
            sample_period_s=buffer.period_s() if buffer else None,
            processes=() if self.lost else tuple(user for users in self.users.values() for user in users),
        )

    def _reason(self) -> str:
        if self.since_s is None:
            return ""
        cause = f"XID {self.xid}" if abs(self.xid_s - self.since_s) < XID_FRESH_S else self.cause
        return f"GPU {self.index} stopped answering at {time.strftime('%H:%M:%S', time.localtime(self.since_s))} ({cause})."


def open_card(host: str, index: int) -> list[Device]:
    """The card and its MIG instances; a card that does not answer is lost from the start."""
    card = Device(host, index)
    devices = [card]
    try:
        card.open()
        if nvml.nvmlDeviceGetMigMode(card.handle)[0]:
            for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card.handle)):
                with suppress(nvml.NVMLError_NotFound):  # slots may be empty
                    instance = Device(host, index, slot)
                    instance.open()
                    devices.append(instance)
    except nvml.NVMLError as error:
        if error.value in DRIVER_GONE:
            raise
        if error.value not in ABSENT:  # most cards have no MIG mode
            card.lose(error)
    return devices


class Events:
    """Critical errors (XID) of all cards, from the driver's own queue."""

    def __init__(self, devices: list[Device]) -> None:
        self._timetable = Timetable(FOR_ALL)
        self._cards: dict[int, Device] = {}
        self._set: Any = None
        cards = [device for device in devices if device.slot is None and not device.lost]
        if cards:
            self._listen(cards)

    def _listen(self, cards: list[Device]) -> None:
        with suppress(nvml.NVMLError):  # a driver without events
            self._set = nvml.nvmlEventSetCreate()
        for card in cards if self._set else []:
            with suppress(nvml.NVMLError):  # a card without events
                nvml.nvmlDeviceRegisterEvents(card.handle, nvml.nvmlEventTypeXidCriticalError, self._set)
                self._cards[address_of(card.handle)] = card

    def xids(self, now_s: float) -> Iterable[tuple[Device, int]]:
        """What came since the last call."""
        if not self._cards or not self._timetable.due(now_s):
            return
        self._timetable.done(FOR_ALL[0].key, now_s)
        try:
            while True:
                event = nvml.nvmlEventSetWait(self._set, EVENT_WAIT_MS)
                if card := self._cards.get(address_of(event.device)):
                    yield card, event.eventData
        except nvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            if error.value != nvml.NVML_ERROR_TIMEOUT:
                self._cards = {}  # a lost GPU spoils the set; the collector makes a new one when it heals

    def close(self) -> None:
        if self._set:
            with suppress(nvml.NVMLError):
                nvml.nvmlEventSetFree(self._set)
            self._set = None


def address_of(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


class Buffer:
    """The driver's own samples of one utilization: the mean over each of its periods, so that no dip falls between two polls."""

    def __init__(self) -> None:
        self.seen_us: int | None = None  # newer entries are new
        self._newest_us = 0
        self._spacing_us: deque[int] = deque(maxlen=15)

    def new(self, device: Device, kind: int) -> list[tuple[float, int]]:
        """(time_s, value) of the entries since the last call, oldest first."""
        _, samples = nvml.nvmlDeviceGetSamples(device.handle, kind, self.seen_us)
        entries = sorted((sample.timeStamp, sample.sampleValue.uiVal) for sample in samples)
        entries = [entry for entry in entries if entry[0] > (self.seen_us or 0)]
        for at_us, _ in entries:
            self._spacing_us.append(at_us - self._newest_us)
            self._newest_us = self.seen_us = at_us
        return [(at_us / 1e6, value) for at_us, value in entries]

    def must_poll(self, now_us: int) -> bool:
        """Whether the buffer has been silent; what it may yet tell of the time before the poll is then left out."""
        if self.seen_us is not None and abs(now_us - self.seen_us) < POLL_AFTER_S * 1e6:
            return False
        self.seen_us = now_us
        return True

    def period_s(self) -> float | None:
        return statistics.median(self._spacing_us) / 1e6 if len(self._spacing_us) > 2 else None


class Gpm:
    """The hardware's own activity counters (Hopper and later), as differences between two samples of ours."""

    METRICS: Mapping[int, tuple[str, float]] = {
        nvml.NVML_GPM_METRIC_SM_UTIL: ("gpu/sm_active_pct", 1),
        nvml.NVML_GPM_METRIC_SM_OCCUPANCY: ("gpu/sm_occupancy_pct", 1),
        nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL: ("gpu/tensor_active_pct", 1),
        nvml.NVML_GPM_METRIC_DRAM_BW_UTIL: ("gpu/dram_active_pct", 1),
        nvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC: ("gpu/pcie_tx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC: ("gpu/pcie_rx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC: ("gpu/nvlink_tx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC: ("gpu/nvlink_rx_bytes_per_s", 2**20),
    }

    def __init__(self, device: Device) -> None:
        if not nvml.nvmlGpmQueryDeviceSupport(device.card).isSupportedDevice:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        self._request = nvml.c_nvmlGpmMetricsGet_t(version=nvml.NVML_GPM_METRICS_GET_VERSION, numMetrics=len(self.METRICS))
        for slot, metric in enumerate(self.METRICS):
            self._request.metrics[slot].metricId = metric
        self._older, self._newer = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        self._taken_s: float | None = None

    def read(self, device: Device) -> Values:
        now_s, taken_s = time.monotonic(), self._taken_s
        if taken_s is not None and now_s - taken_s < GPM_LEAST_S:
            return {}
        self._older, self._newer = self._newer, self._older
        if device.mig is None:
            nvml.nvmlGpmSampleGet(device.handle, self._newer)
        else:
            nvml.nvmlGpmMigSampleGet(device.card, device.mig, self._newer)
        self._taken_s = now_s
        return {} if taken_s is None else self._difference()

    def _difference(self) -> Values:
        self._request.sample1, self._request.sample2 = self._older, self._newer
        nvml.nvmlGpmMetricsGet(self._request)
        answers = zip(self.METRICS.values(), self._request.metrics, strict=False)
        return {
            name: answer.value * factor
            for (name, factor), answer in answers
            if answer.nvmlReturn == nvml.NVML_SUCCESS and math.isfinite(answer.value)
        }

    def close(self) -> None:
        with suppress(nvml.NVMLError):
            nvml.nvmlGpmSampleFree(self._older)
            nvml.nvmlGpmSampleFree(self._newer)


def now(values: Values) -> list[Reading]:
    return [(time.time(), values)]


def scalar(name: str, ask: Callable[..., float], *arguments: int, factor: float = 1) -> Reader:
    """A reader for a call that answers with one number."""
    return lambda device: now({name: ask(device.handle, *arguments) * factor})


def buffered(name: str, kind: int, share: str) -> Reader:
    """A reader of the driver's sample buffer, and of the poll while the buffer is silent."""

    def read(device: Device) -> list[Reading]:
        buffer = device.buffers.setdefault(kind, Buffer())
        entries: list[tuple[float, int]] = []
        if buffer.seen_us is not None:
            with suppress(nvml.NVMLError_NotFound):  # an idle GPU's buffer is empty
                entries = buffer.new(device, kind)
        if not entries and buffer.must_poll(time.time_ns() // 1000):
            return polled(name, share)(device)
        return [(time_s, {name: float(value)}) for time_s, value in entries]

    return read


def polled(name: str, share: str) -> Reader:
    return lambda device: now({name: getattr(nvml.nvmlDeviceGetUtilizationRates(device.handle), share)})


def memory(device: Device) -> list[Reading]:
    """`used` is without what the driver reserves, as nvidia-smi shows it."""
    info = nvml.nvmlDeviceGetMemoryInfo(device.handle, version=nvml.nvmlMemory_v2)
    return now(
        {"gpu/memory_used_bytes": info.used, "gpu/memory_total_bytes": info.total, "gpu/memory_reserved_bytes": info.reserved}
    )


def memory_before_r510(device: Device) -> list[Reading]:
    info = nvml.nvmlDeviceGetMemoryInfo(device.handle)
    return now({"gpu/memory_used_bytes": info.used, "gpu/memory_total_bytes": info.total})


def gpm(device: Device) -> list[Reading]:
    device.gpm = device.gpm or Gpm(device)
    values = device.gpm.read(device)
    for source in ("gpu.pcie", "gpu.nvlink"):  # GPM tells them, and without integrating 20 ms
        device.readers[source].clear()
    return now(values)


def remapped(device: Device) -> list[Reading]:
    names = ("gpu/remapped_rows_corrected", "gpu/remapped_rows_uncorrected", "gpu/remap_pending", "gpu/remap_failed")
    return now(dict(zip(names, nvml.nvmlDeviceGetRemappedRows(device.handle), strict=True)))


def ecc(device: Device) -> list[Reading]:
    kinds = {
        "gpu/ecc_corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
        "gpu/ecc_uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
    }
    return now(
        {name: nvml.nvmlDeviceGetTotalEccErrors(device.handle, kind, nvml.NVML_VOLATILE_ECC) for name, kind in kinds.items()}
    )


def pcie_link(device: Device) -> list[Reading]:
    return now(
        {
            "gpu/pcie_generation": nvml.nvmlDeviceGetCurrPcieLinkGeneration(device.handle),
            "gpu/pcie_width": nvml.nvmlDeviceGetCurrPcieLinkWidth(device.handle),
        }
    )


def pcie_throughput(device: Device) -> list[Reading]:
    """Blocks for 2 x 20 ms, over which the driver counts."""
    kinds = {"gpu/pcie_tx_bytes_per_s": nvml.NVML_PCIE_UTIL_TX_BYTES, "gpu/pcie_rx_bytes_per_s": nvml.NVML_PCIE_UTIL_RX_BYTES}
    return now({name: nvml.nvmlDeviceGetPcieThroughput(device.handle, kind) * 1024 for name, kind in kinds.items()})


def processes(kind: Literal["compute", "graphics"], ask: Callable[[Any], list[Any]], name: str) -> Reader:
    def read(device: Device) -> list[Reading]:
        time_s = time.time()
        running = [(process.pid, process.usedGpuMemory) for process in ask(device.handle)]
        device.users[kind] = [process_of(pid, kind, used, device.busy.get(pid), time_s) for pid, used in running]
        return [(time_s, {name: len(running)})]

    return read


def process_of(pid: int, kind: Literal["compute", "graphics"], used: int | None, busy: int | None, time_s: float) -> GpuProcess:
    owner = owner_of(pid)
    return GpuProcess(pid, kind, used, busy, owner.name, owner.command, owner.user, time_s)


def process_utilization(device: Device) -> list[Reading]:
    """No series: it stands in the list of processes."""
    device.busy = {}
    since_us = int((time.time() - PROCESS_WINDOW_S) * 1e6)
    samples = nvml.nvmlDeviceGetProcessUtilization(device.handle, since_us)
    device.busy = {sample.pid: sample.smUtil for sample in sorted(samples, key=lambda sample: sample.timeStamp)}
    return []


class Field(NamedTuple):
    """One of the driver's numbered values."""

    id: int
    name: str  # of two fields with one name the sum is meant
    factor: float = 1
    scope: int = 0


UNION_MEMBER = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}  # by nvmlValueType_t


def ask_fields(device: Device, fields: tuple[Field, ...]) -> Values:
    """All of them in one call; a field that the card lacks is asked once. Raises NotSupported when none is left."""
    asked = [field for field in fields if field.id not in device.absent_fields]
    answers = nvml.nvmlDeviceGetFieldValues(device.handle, [(field.id, field.scope) for field in asked])
    values: Values = {}
    for field, answer in zip(asked, answers, strict=True):
        if answer.nvmlReturn == nvml.NVML_SUCCESS:
            value = getattr(answer.value, UNION_MEMBER[answer.valueType]) * field.factor
            values[field.name] = values.get(field.name, 0) + value
        elif answer.nvmlReturn in ABSENT | {nvml.NVML_ERROR_INVALID_ARGUMENT}:  # a number that an older driver does not know
            device.absent_fields.add(field.id)
    if device.absent_fields.issuperset(field.id for field in fields):
        raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
    return values


def gauges(*fields: Field) -> Reader:
    return lambda device: now(ask_fields(device, fields))


def rates(*fields: Field) -> Reader:
    """Counters, told as change per second; nothing at first, nor after a counter went back."""

    def read(device: Device) -> list[Reading]:
        at_s = time.monotonic()
        before, after = device.counters, {name: (at_s, value) for name, value in ask_fields(device, fields).items()}
        device.counters = before | after
        pairs = [(name, before[name], after[name]) for name in after if name in before]
        return now({name: (new - old) / (at - then) for name, (then, old), (at, new) in pairs if new >= old and at > then})

    return read


Reader: TypeAlias = Callable[[Device], list[Reading]]

READERS: dict[str, tuple[Reader, ...]] = {  # by the catalog's source; the first that the card supports is used
    "gpu.utilization": (
        buffered("gpu/utilization_pct", nvml.NVML_GPU_UTILIZATION_SAMPLES, "gpu"),
        polled("gpu/utilization_pct", "gpu"),
    ),
    "gpu.memory_utilization": (
        buffered("gpu/memory_utilization_pct", nvml.NVML_MEMORY_UTILIZATION_SAMPLES, "memory"),
        polled("gpu/memory_utilization_pct", "memory"),
    ),
    "gpu.gpm": (gpm,),
    "gpu.memory": (memory, memory_before_r510),
    "gpu.power": (scalar("gpu/power_w", nvml.nvmlDeviceGetPowerUsage, factor=1e-3),),
    "gpu.power_now": (
        gauges(
            Field(nvml.NVML_FI_DEV_POWER_INSTANT, "gpu/power_instant_w", 1e-3),
            Field(nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "gpu/energy_j", 1e-3),
        ),
    ),
    "gpu.sm_clock": (scalar("gpu/sm_clock_mhz", nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),),
    "gpu.memory_clock": (scalar("gpu/memory_clock_mhz", nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),),
    "gpu.clock_reasons": (
        scalar("gpu/clock_event_reasons", nvml.nvmlDeviceGetCurrentClocksEventReasons),
        scalar("gpu/clock_event_reasons", nvml.nvmlDeviceGetCurrentClocksThrottleReasons),
    ),
    "gpu.temperature": (
        scalar("gpu/temperature_c", nvml.nvmlDeviceGetTemperatureV, nvml.NVML_TEMPERATURE_GPU),
        scalar("gpu/temperature_c", nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    ),
    "gpu.pstate": (scalar("gpu/performance_state", nvml.nvmlDeviceGetPerformanceState),),
    "gpu.process_utilization": (process_utilization,),
    "gpu.processes": (processes("compute", nvml.nvmlDeviceGetComputeRunningProcesses, "gpu/processes"),),
    "gpu.graphics_processes": (processes("graphics", nvml.nvmlDeviceGetGraphicsRunningProcesses, "gpu/graphics_processes"),),
    "gpu.encoder": (lambda device: now({"gpu/encoder_pct": nvml.nvmlDeviceGetEncoderUtilization(device.handle)[0]}),),
    "gpu.decoder": (lambda device: now({"gpu/decoder_pct": nvml.nvmlDeviceGetDecoderUtilization(device.handle)[0]}),),
    "gpu.fan": (scalar("gpu/fan_pct", nvml.nvmlDeviceGetFanSpeed),),
    "gpu.margin": (scalar("gpu/temperature_margin_c", nvml.nvmlDeviceGetMarginTemperature),),
    "gpu.counters": (
        gauges(
            Field(nvml.NVML_FI_DEV_MEMORY_TEMP, "gpu/memory_temperature_c"),
            Field(nvml.NVML_FI_DEV_PERF_POLICY_POWER, "gpu/slowed_by_power_s", 1e-9),
            Field(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, "gpu/slowed_by_heat_s", 1e-9),
            Field(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, "gpu/slowed_by_hw_heat_s", 1e-9),
            Field(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, "gpu/slowed_by_power_brake_s", 1e-9),
            Field(nvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER, "gpu/pcie_replays"),
            Field(nvml.NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, "gpu/nvlink_crc_errors"),
            Field(nvml.NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL, "gpu/nvlink_crc_errors"),
            Field(nvml.NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL, "gpu/nvlink_replays"),
        ),
    ),
    "gpu.pcie": (
        rates(
            Field(nvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, "gpu/pcie_tx_bytes_per_s"),
            Field(nvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, "gpu/pcie_rx_bytes_per_s"),
        ),
        pcie_throughput,
    ),
    "gpu.nvlink": (
        rates(
            Field(nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, "gpu/nvlink_tx_bytes_per_s", 1024, ALL_LINKS),
            Field(nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, "gpu/nvlink_rx_bytes_per_s", 1024, ALL_LINKS),
        ),
    ),
    "gpu.ecc": (ecc,),
    "gpu.remapped": (remapped,),
    "gpu.power_limit": (scalar("gpu/power_limit_w", nvml.nvmlDeviceGetEnforcedPowerLimit, factor=1e-3),),
    "gpu.max_sm_clock": (scalar("gpu/sm_clock_max_mhz", nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM),),
    "gpu.max_memory_clock": (scalar("gpu/memory_clock_max_mhz", nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_MEM),),
    "gpu.slowdown": (
        scalar("gpu/temperature_slowdown_c", nvml.nvmlDeviceGetTemperatureThreshold, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    ),
    "gpu.shutdown": (
        scalar("gpu/temperature_shutdown_c", nvml.nvmlDeviceGetTemperatureThreshold, nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
    ),
    "gpu.pcie_link": (pcie_link,),
}
