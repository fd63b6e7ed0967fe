"""One GPU as NVML reports it: its counters, and the errors that leave it out."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from ..catalog import GPU
from ..records import labels_of
from .inventory import HIDDEN_PROCESSES, NO_DRIVER, NO_GPU, NO_PROCESSES, GpuProcess, owner_of
from .polled_card import CardValues, PolledCard, Reading

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
    nvml.NVML_ERROR_INSUFFICIENT_SIZE,  # a process or a sample appeared between the two calls that size and fill a list
}
GONE = {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED, nvml.NVML_ERROR_GPU_NOT_FOUND}
DRIVER_GONE = {
    nvml.NVML_ERROR_UNINITIALIZED,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}

NOTES = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA library is installed, but its driver is not loaded: showing the host.",
    nvml.NVML_ERROR_UNINITIALIZED: "The NVIDIA driver is being reloaded: showing the host.",
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver and its library are of different versions: reboot to fix it.",
    nvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
    nvml.NVML_ERROR_NO_PERMISSION: "This user may not use the NVIDIA driver: see the permissions of /dev/nvidiactl.",
}


# One card for its readers: its handles, and their state between two polls.

POLL_AFTER_S = 1.5  # without a new entry in the driver's buffer, whose period is 1 s at most: an idle GPU writes none
GPM_LEAST_S = 0.1  # between the two samples of a GPM reading, the hardware's own limit


@dataclass
class Card:
    """A card, or one MIG instance of a card, from the moment when it was opened."""

    handle: Any = None  # None until the card answers
    whole: Any = None  # the card of a MIG instance; of a card itself the same
    mig: int | None = None
    absent_fields: set[int] = field(default_factory=set)
    counters: dict[str, tuple[float, float]] = field(default_factory=dict)  # when, value
    buffers: dict[int, Buffer] = field(default_factory=dict)
    gpm: Gpm | None = None
    filled_elsewhere: set[str] = field(default_factory=set)  # sources that another one fills better
    users: dict[Literal["compute", "graphics"], list[GpuProcess]] = field(default_factory=dict)
    busy: dict[int, int] = field(default_factory=dict)  # pid -> per cent of the multiprocessors

    def close(self) -> None:
        if self.gpm:
            self.gpm.close()
            self.gpm = None


class Buffer:
    """The driver's own samples of one utilization: the mean over each of its periods, so that no dip falls between two polls."""

    def __init__(self) -> None:
        self.seen_us: int | None = None  # entries after this are new
        self._newest_us = 0
        self._spacing_us: deque[int] = deque(maxlen=15)

    def new(self, card: Card, kind: int) -> list[tuple[float, int]]:
        """(time_s, value) of the entries since the last call, oldest first."""
        _, samples = nvml.nvmlDeviceGetSamples(card.handle, kind, self.seen_us)
        entries = sorted((sample.timeStamp, sample.sampleValue.uiVal) for sample in samples)
        entries = [entry for entry in entries if entry[0] > (self.seen_us or 0)]
        for at_us, _ in entries:
            self._spacing_us.append(at_us - self._newest_us)
            self._newest_us = self.seen_us = at_us
        return [(at_us / 1e6, value) for at_us, value in entries]

    def must_poll(self, now_us: int) -> bool:
        """Whether the buffer has been silent; what it may still hold of the time before the poll is then left out."""
        if self.seen_us is not None and abs(now_us - self.seen_us) < POLL_AFTER_S * 1e6:
            return False
        self.seen_us = now_us
        return True

    def period_s(self) -> float | None:
        return statistics.median(self._spacing_us) / 1e6 if len(self._spacing_us) > 2 else None


class Gpm:
    """The hardware's own activity counters (Hopper and later), as differences between two samples of ours."""

    METRICS: Mapping[int, tuple[str, float]] = {
        nvml.NVML_GPM_METRIC_GRAPHICS_UTIL: ("gpu/graphics_active_pct", 1),
        nvml.NVML_GPM_METRIC_SM_UTIL: ("gpu/sm_active_pct", 1),
        nvml.NVML_GPM_METRIC_SM_OCCUPANCY: ("gpu/sm_occupancy_pct", 1),
        nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL: ("gpu/tensor_active_pct", 1),
        nvml.NVML_GPM_METRIC_DRAM_BW_UTIL: ("gpu/dram_active_pct", 1),
        nvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC: ("gpu/pcie_tx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC: ("gpu/pcie_rx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC: ("gpu/nvlink_tx_bytes_per_s", 2**20),
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC: ("gpu/nvlink_rx_bytes_per_s", 2**20),
    }

    def __init__(self, card: Card) -> None:
        if not nvml.nvmlGpmQueryDeviceSupport(card.whole).isSupportedDevice:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        self._request = nvml.c_nvmlGpmMetricsGet_t(
            version=nvml.NVML_GPM_METRICS_GET_VERSION, numMetrics=len(self.METRICS)
        )
        for slot, metric in enumerate(self.METRICS):
            self._request.metrics[slot].metricId = metric
        self._older, self._newer = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        self._taken_s: float | None = None

    def read(self, card: Card) -> CardValues:
        now_s, taken_s = time.monotonic(), self._taken_s
        if taken_s is not None and now_s - taken_s < GPM_LEAST_S:
            return {}
        self._older, self._newer = self._newer, self._older
        if card.mig is None:
            nvml.nvmlGpmSampleGet(card.handle, self._newer)
        else:
            nvml.nvmlGpmMigSampleGet(card.whole, card.mig, self._newer)
        self._taken_s = now_s
        return {} if taken_s is None else self._difference()

    def _difference(self) -> CardValues:
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


# Read each source of the catalog from one card: the calls, their units, and the alternatives of older drivers and cards.

SourceReader: TypeAlias = Callable[[Card], list[Reading]]

PROCESS_WINDOW_S = 2.5  # from which the newest utilization of each process is taken
ALL_LINKS = 0xFFFFFFFF  # scope of an NVLink counter


def now(values: CardValues) -> list[Reading]:
    return [(None, values)]


def scalar(name: str, ask: Callable[..., float], *arguments: int, factor: float = 1) -> SourceReader:
    """A reader for a call that returns one number."""
    return lambda card: now({name: ask(card.handle, *arguments) * factor})


def buffered(name: str, kind: int, share: str) -> SourceReader:
    """A reader of the driver's sample buffer, and of the poll while the buffer is silent."""

    def read(card: Card) -> list[Reading]:
        buffer = card.buffers.setdefault(kind, Buffer())
        entries: list[tuple[float, int]] = []
        if buffer.seen_us is not None:
            with suppress(nvml.NVMLError_NotFound):  # an idle GPU's buffer is empty
                entries = buffer.new(card, kind)
        if not entries and buffer.must_poll(time.time_ns() // 1000):
            return polled(name, share)(card)
        return [(time_s, {name: float(value)}) for time_s, value in entries]

    return read


def polled(name: str, share: str) -> SourceReader:
    return lambda card: now({name: getattr(nvml.nvmlDeviceGetUtilizationRates(card.handle), share)})


def memory(card: Card) -> list[Reading]:
    """`used` excludes the driver's reserve, as in nvidia-smi."""
    info = nvml.nvmlDeviceGetMemoryInfo(card.handle, version=nvml.nvmlMemory_v2)
    return now(
        {
            "gpu/memory_used_bytes": info.used,
            "gpu/memory_total_bytes": info.total,
            "gpu/memory_reserved_bytes": info.reserved,
        }
    )


def memory_before_r510(card: Card) -> list[Reading]:
    info = nvml.nvmlDeviceGetMemoryInfo(card.handle)
    return now({"gpu/memory_used_bytes": info.used, "gpu/memory_total_bytes": info.total})


def gpm(card: Card) -> list[Reading]:
    card.gpm = card.gpm or Gpm(card)
    values = card.gpm.read(card)
    card.filled_elsewhere |= {"gpu.pcie", "gpu.nvlink"}  # GPM reads them without integrating 20 ms
    return now(values)


def remapped(card: Card) -> list[Reading]:
    names = ("gpu/remapped_rows_corrected", "gpu/remapped_rows_uncorrected", "gpu/remap_pending", "gpu/remap_failed")
    return now(dict(zip(names, nvml.nvmlDeviceGetRemappedRows(card.handle), strict=True)))


def ecc(card: Card) -> list[Reading]:
    kinds = {
        "gpu/ecc_corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
        "gpu/ecc_uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
    }
    return now(
        {
            name: nvml.nvmlDeviceGetTotalEccErrors(card.handle, kind, nvml.NVML_VOLATILE_ECC)
            for name, kind in kinds.items()
        }
    )


def pcie_link(card: Card) -> list[Reading]:
    return now(
        {
            "gpu/pcie_generation": nvml.nvmlDeviceGetCurrPcieLinkGeneration(card.handle),
            "gpu/pcie_width": nvml.nvmlDeviceGetCurrPcieLinkWidth(card.handle),
        }
    )


def pcie_throughput(card: Card) -> list[Reading]:
    """Blocks for 2 x 20 ms, over which the driver counts."""
    kinds = {
        "gpu/pcie_tx_bytes_per_s": nvml.NVML_PCIE_UTIL_TX_BYTES,
        "gpu/pcie_rx_bytes_per_s": nvml.NVML_PCIE_UTIL_RX_BYTES,
    }
    return now({name: nvml.nvmlDeviceGetPcieThroughput(card.handle, kind) * 1024 for name, kind in kinds.items()})


def processes(kind: Literal["compute", "graphics"], ask: Callable[[Any], list[Any]], name: str) -> SourceReader:
    def read(card: Card) -> list[Reading]:
        time_s = time.time()
        running = [(process.pid, process.usedGpuMemory) for process in ask(card.handle)]
        card.users[kind] = [process_of(pid, kind, used, card.busy.get(pid), time_s) for pid, used in running]
        return now({name: len(running)})

    return read


def process_of(
    pid: int, kind: Literal["compute", "graphics"], used: int | None, busy: int | None, time_s: float
) -> GpuProcess:
    owner = owner_of(pid)
    return GpuProcess(pid, kind, used, busy, owner.name, owner.command, owner.user, time_s)


def process_utilization(card: Card) -> list[Reading]:
    """No series: the list of processes shows it."""
    card.busy = {}
    since_us = int((time.time() - PROCESS_WINDOW_S) * 1e6)
    samples = nvml.nvmlDeviceGetProcessUtilization(card.handle, since_us)
    card.busy = {sample.pid: sample.smUtil for sample in sorted(samples, key=lambda sample: sample.timeStamp)}
    return []


class Field(NamedTuple):
    """One of the driver's numbered values."""

    id: int
    name: str  # two fields with one name are summed
    factor: float = 1
    scope: int = 0


UNION_MEMBER = {
    0: "dVal",
    1: "uiVal",
    2: "ulVal",
    3: "ullVal",
    4: "sllVal",
    5: "siVal",
    6: "usVal",
}  # by nvmlValueType_t


def ask_fields(card: Card, fields: tuple[Field, ...]) -> CardValues:
    """All of them in one call; a field that the card lacks is tried once. Raises NotSupported when none is left."""
    asked = [row for row in fields if row.id not in card.absent_fields]
    answers = nvml.nvmlDeviceGetFieldValues(card.handle, [(row.id, row.scope) for row in asked])
    values: CardValues = {}
    for row, answer in zip(asked, answers, strict=True):
        if answer.nvmlReturn == nvml.NVML_SUCCESS:
            value = getattr(answer.value, UNION_MEMBER[answer.valueType]) * row.factor
            values[row.name] = values.get(row.name, 0) + value
        elif answer.nvmlReturn in ABSENT | {
            nvml.NVML_ERROR_INVALID_ARGUMENT
        }:  # a number that an older driver does not know
            card.absent_fields.add(row.id)
    if card.absent_fields.issuperset(row.id for row in fields):
        raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
    return values


def gauges(*fields: Field) -> SourceReader:
    return lambda card: now(ask_fields(card, fields))


def rates(*fields: Field) -> SourceReader:
    """Counters, as change per second; nothing at first, nor after a counter went back."""

    def read(card: Card) -> list[Reading]:
        at_s = time.monotonic()
        before, after = card.counters, {name: (at_s, value) for name, value in ask_fields(card, fields).items()}
        card.counters = before | after
        pairs = [(name, before[name], after[name]) for name in after if name in before]
        return now(
            {name: (new - old) / (at - then) for name, (then, old), (at, new) in pairs if new >= old and at > then}
        )

    return read


READERS: dict[str, tuple[SourceReader, ...]] = {  # by the catalog's source; the first that the card supports is used
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
    "gpu.graphics_processes": (
        processes("graphics", nvml.nvmlDeviceGetGraphicsRunningProcesses, "gpu/graphics_processes"),
    ),
    "gpu.encoder": (lambda card: now({"gpu/encoder_pct": nvml.nvmlDeviceGetEncoderUtilization(card.handle)[0]}),),
    "gpu.decoder": (lambda card: now({"gpu/decoder_pct": nvml.nvmlDeviceGetDecoderUtilization(card.handle)[0]}),),
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
        scalar(
            "gpu/temperature_slowdown_c",
            nvml.nvmlDeviceGetTemperatureThreshold,
            nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        ),
    ),
    "gpu.shutdown": (
        scalar(
            "gpu/temperature_shutdown_c",
            nvml.nvmlDeviceGetTemperatureThreshold,
            nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
        ),
    ),
    "gpu.pcie_link": (pcie_link,),
}


# One GPU over time.

IN_USE_BYTES = 2**30  # a card without processes has less of its memory in use
PROCESSES = "gpu.processes"
VITAL = "gpu.memory"  # every working GPU answers this; if it fails, the GPU is lost, with any error code

PER_GPU = tuple(source for source in GPU if source.key in READERS)


class Device(PolledCard):
    """One card, or one MIG instance of it, and what was read from it so far. Raises the errors that mean that there is no driver."""

    def __init__(self, host: str, index: int, slot: int | None = None) -> None:
        self.slot = slot  # among the card's MIG instances; None for the card itself
        super().__init__(host, index, PER_GPU)

    def forget(self) -> None:
        super().forget()
        self.readers = {source.key: list(READERS[source.key]) for source in PER_GPU}
        self.card = Card()

    def open(self) -> None:
        self.forget()
        whole = handle = nvml.nvmlDeviceGetHandleByIndex(self.index)
        if self.slot is not None:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, self.slot)
            self.mig = nvml.nvmlDeviceGetGpuInstanceId(handle)
        self.card = Card(handle, whole, self.mig)
        self.uuid, self.name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.labels = labels_of(host=self.host, uuid=self.uuid, gpu=self.index, mig=self.mig)

    def close(self) -> None:
        self.card.close()

    def read(self, key: str) -> list[Reading]:
        try:
            readings = self._read(key)
            self.answered.add(key)
            return readings
        except nvml.NVMLError as error:
            self._refused(key, error)
            return []

    def _read(self, key: str) -> list[Reading]:
        """By the first reader that this card supports; those before it are tried once."""
        readers = [] if key in self.card.filled_elsewhere else self.readers[key]
        while readers:
            try:
                return readers[0](self.card)
            except nvml.NVMLError as error:
                if error.value in NOTHING_NOW:
                    return []
                if error.value not in ABSENT:
                    raise
            except nvml.NVMLLibraryMismatchError:  # the binding's error for a function that the library lacks
                pass
            readers.pop(0)
        self.timetable.drop(key)
        return []

    def _refused(self, key: str, error: Any) -> None:
        if error.value in DRIVER_GONE:
            raise error
        if error.value in GONE or key == VITAL or key in self.answered:
            self.lose(str(error))
        else:  # it never worked: a share of a GPU answers "unknown" to calls for a whole one
            self.readers[key].clear()

    def revive(self) -> str:
        try:
            self.close()
            self.open()
            self._read(VITAL)
        except nvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            return str(error)
        return ""

    def sample_period_s(self) -> float | None:
        buffer = self.card.buffers.get(nvml.NVML_GPU_UTILIZATION_SAMPLES)
        return buffer.period_s() if buffer else None

    def processes(self) -> tuple[GpuProcess, ...]:
        return tuple(user for users in self.card.users.values() for user in users)

    def processes_note(self) -> str:
        if self.card.handle is None:
            return ""
        if not self.readers[PROCESSES]:
            return NO_PROCESSES
        if PROCESSES not in self.answered:
            return ""
        in_use = self.latest.get("gpu/memory_used_bytes", 0) >= IN_USE_BYTES
        return HIDDEN_PROCESSES if in_use and not self.processes() else ""


def open_card(host: str, index: int) -> list[Device]:
    """The card and its MIG instances; a card that does not answer is lost from the start."""
    whole = Device(host, index)
    devices = [whole]
    try:
        whole.open()
        if nvml.nvmlDeviceGetMigMode(whole.card.handle)[0]:
            for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(whole.card.handle)):
                with suppress(nvml.NVMLError_NotFound):  # slots may be empty
                    instance = Device(host, index, slot)
                    instance.open()
                    devices.append(instance)
    except nvml.NVMLError as error:
        if error.value in DRIVER_GONE:
            raise
        if error.value not in ABSENT:  # most cards have no MIG mode
            whole.lose(str(error))
    return devices
