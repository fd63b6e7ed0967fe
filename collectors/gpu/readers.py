"""Read each source of the catalog from one card: the calls, their units, and the alternatives of older drivers and cards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from .card import Buffer, Card, CardValues, Gpm
from .errors import ABSENT
from .inventory import GpuProcess, owner_of

Reading: TypeAlias = tuple[float | None, CardValues]  # when, Unix seconds, or None for now; what, by name
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
