"""All metrics of the dashboard: one row each, under the call that fills it and the period of that call.

Collection, the API's units and labels, the OpenMetrics export and `docs/metrics.md` are driven by these rows, so a new
metric is a row here and a value in the function that reads its source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple


class Metric(NamedTuple):
    name: str  # may hold `*`, for a family of series: `phase/*_s`
    unit: str  # %, B, B/s, W, J, °C, MHz, s, 1/s; "" for counts, bit masks and numbers without a unit
    label: str
    description: str
    counter: bool = False  # only rises, until the driver is reloaded


class Source(NamedTuple):
    """One call to the driver, the kernel or a log, and the metrics that it fills."""

    key: str
    period_s: float  # between two calls; 0 where the log's own rate decides
    calls: int  # most calls of the NVML library
    call: str  # the call, as its documentation names it
    absent: str  # where it is missing, or ""
    metrics: tuple[Metric, ...]


# A row per line: the formatter would make seven of some.
# fmt: off
LOG: tuple[Source, ...] = (
    Source("log", 0, 0, "the run's metrics.jsonl", "runs that do not log it", (
        Metric("train/loss", "", "Training loss", "Loss of the step's batch"),
        Metric("loss", "", "Training loss", "Loss of the step's batch"),
        Metric("val/loss", "", "Validation loss", "Loss over the validation data"),
        Metric("train/grad_norm", "", "Gradient norm", "L2 norm over all gradients, before clipping"),
        Metric("grad_norm", "", "Gradient norm", "L2 norm over all gradients, before clipping"),
        Metric("train/grad_scale", "", "Gradient scale", "GradScaler's factor for an fp16 loss; halves on an overflow"),
        Metric("train/lr", "", "Learning rate", "Learning rate of the step"),
        Metric("lr", "", "Learning rate", "Learning rate of the step"),
        Metric("train/tokens_per_s", "1/s", "Tokens per second", "Trained tokens per second, over all ranks that log"),
        Metric("phase/*_s", "s", "Step phase", "Seconds of one phase of a step, on the host's clock"),
        Metric("gpu_phase/*_s", "s", "Step phase on the GPU", "Seconds of one phase of a step, on the GPU's clock"),
    )),
    Source("log.nccl", 0, 0, "the files of NCCL's Inspector", "runs without NCCL_INSPECTOR_ENABLE=1", (
        Metric("nccl/collective_s", "s", "Time in collectives",
               "Seconds that a rank spent in collectives of one communicator, of those written in the same second; waiting for the last rank is part of it"),
        Metric("nccl/bus_bytes_per_s", "B/s", "Bus bandwidth of collectives", "Mean bus bandwidth of these collectives, weighted by their time"),
        Metric("nccl/sampled_sequence", "", "Sampled collective",
               "Sequence number of a collective in its communicator, of those of its kind; all ranks sample the same ones, about four of a communicator a second"),
        Metric("nccl/sampled_s", "s", "Time in the sampled collective", "Seconds that the rank was in this collective; the shortest of all ranks is the work, the rest is waiting for the last one"),
        Metric("nccl/dropped", "", "Collectives not recorded", "Collectives that NCCL's Inspector dropped since it wrote last: its ring was full"),
    )),
)

HOST: tuple[Source, ...] = (
    Source("host.cpu", 0.5, 0, "psutil.cpu_times", "", (
        Metric("host/cpu_pct", "%", "CPU", "Busy share of all cores"),
        Metric("host/cpu_iowait_pct", "%", "CPU waiting for disk",
               "Share of all cores' time that was idle with disk requests pending"),
    )),
    Source("host.cores", 2, 0, "psutil.cpu_times(percpu)", "", (
        Metric("host/cpu_core_pct", "%", "CPU core", "Busy share of one core"),
    )),
    Source("host.memory", 1, 0, "psutil.virtual_memory, psutil.swap_memory", "", (
        Metric("host/memory_used_bytes", "B", "Memory used", "Total minus available memory"),
        Metric("host/memory_total_bytes", "B", "Memory", "Memory of the machine"),
        Metric("host/swap_used_bytes", "B", "Swap used", "Memory moved to disk"),
    )),
    Source("host.disk", 1, 0, "psutil.disk_io_counters", "machines whose disks are hidden, such as some containers", (
        Metric("host/disk_read_bytes_per_s", "B/s", "Disk read",
               "Over whole physical disks; partitions, loops and mappings are not counted again"),
        Metric("host/disk_write_bytes_per_s", "B/s", "Disk write",
               "Over whole physical disks; partitions, loops and mappings are not counted again"),
    )),
    Source("host.net", 1, 0, "psutil.net_io_counters", "", (
        Metric("host/net_recv_bytes_per_s", "B/s", "Network in", "Over real network cards; not the loopback, not bridges"),
        Metric("host/net_sent_bytes_per_s", "B/s", "Network out", "Over real network cards; not the loopback, not bridges"),
    )),
    Source("host.load", 1, 0, "os.getloadavg", "", (
        Metric("host/load_1m", "", "Load", "Tasks that run or wait for a core or a disk, mean over 1 min"),
    )),
    Source("host.pressure", 1, 0, "/proc/pressure", "kernels without CONFIG_PSI", (
        Metric("host/pressure_cpu_pct", "%", "CPU pressure", "Share of time in which some task waited for a core"),
        Metric("host/pressure_memory_pct", "%", "Memory pressure", "Share of time in which some task waited for memory"),
        Metric("host/pressure_io_pct", "%", "Disk pressure", "Share of time in which some task waited for a disk"),
    )),
    Source("host.cgroup", 2, 0, "memory.max, memory.current, cpu.max (cgroup v1 and v2)", "processes without a cgroup limit", (
        Metric("host/cgroup_memory_used_bytes", "B", "Container memory used", "Charged to the cgroup that sets the limit"),
        Metric("host/cgroup_memory_limit_bytes", "B", "Container memory limit",
               "The lowest memory limit from this process's cgroup upwards"),
        Metric("host/cgroup_cpu_limit_cores", "", "Container CPU limit", "Cores that the cgroup may use"),
    )),
    Source("host.data_disk", 10, 0, "psutil.disk_usage", "", (
        Metric("host/disk_free_bytes", "B", "Free on the data disk",
               "Free for an ordinary user on the disk of the data folder"),
        Metric("host/disk_total_bytes", "B", "Size of the data disk", "The file system that holds the dashboard's data"),
    )),
    Source("host.runs", 1, 0, "/proc/<pid>/stat, /proc/<pid>/io, /proc/<pid>/task/<pid>/schedstat",
           "runs whose processes are not known; bytes read and written of other users' processes", (
        Metric("host/run_cpu_pct", "%", "CPU of the run", "A rank and its children, in per cent of one core"),
        Metric("host/run_core_wait_pct", "%", "Waiting for a core",
               "Share of time in which the main thread of a rank was ready to run and no core ran it, by the kernel's run queue"),
        Metric("host/run_memory_bytes", "B", "Memory of the run",
               "Resident, summed over a rank and its children; shared pages count once per process"),
        Metric("host/run_processes", "", "Processes of the run", "A rank and its children"),
        Metric("host/run_threads", "", "Threads of the run", "Of a rank and its children"),
        Metric("host/run_read_bytes_per_s", "B/s", "Disk read by the run", "Read from disks by a rank and its children"),
        Metric("host/run_write_bytes_per_s", "B/s", "Disk write by the run",
               "Written to disks by a rank and its children"),
    )),
)

GPU: tuple[Source, ...] = (
    Source("gpu.utilization", 0.2, 3, "nvmlDeviceGetSamples(GPU_UTILIZATION), else nvmlDeviceGetUtilizationRates",
           "GPUs in MIG mode", (
        Metric("gpu/utilization_pct", "%", "GPU busy",
               "Share of time in which any kernel ran, a mean over each of the driver's own sample periods"),
    )),
    Source("gpu.memory_utilization", 1, 3, "nvmlDeviceGetSamples(MEMORY_UTILIZATION), else nvmlDeviceGetUtilizationRates",
           "GPUs in MIG mode", (
        Metric("gpu/memory_utilization_pct", "%", "GPU memory busy", "Share of time in which GPU memory was read or written"),
    )),
    Source("gpu.gpm", 0.2, 2, "nvmlGpmSampleGet, nvmlGpmMetricsGet",
           "cards before Hopper; vGPU shares of a GPU", (
        Metric("gpu/graphics_active_pct", "%", "GPU active", "Share of time in which the GPU's compute engine was active, finer than a percent"),
        Metric("gpu/sm_active_pct", "%", "SM active", "Share of the multiprocessors that were busy"),
        Metric("gpu/sm_occupancy_pct", "%", "SM occupancy", "Active warps, as a share of the maximum"),
        Metric("gpu/tensor_active_pct", "%", "Tensor cores",
               "Share of time in which tensor cores worked; near 0: mixed precision is off"),
        Metric("gpu/dram_active_pct", "%", "GPU memory bandwidth", "Share of the memory's peak bandwidth"),
    )),
    Source("gpu.memory", 0.5, 1, "nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo", "", (
        Metric("gpu/memory_used_bytes", "B", "GPU memory", "Allocated by processes, without the driver's reserve"),
        Metric("gpu/memory_total_bytes", "B", "GPU memory size", "Memory of the card, or of the MIG instance"),
        Metric("gpu/memory_reserved_bytes", "B", "GPU memory reserved", "Kept by the driver and its firmware"),
    )),
    Source("gpu.power", 0.5, 1, "nvmlDeviceGetPowerUsage", "some laptop cards; MIG instances", (
        Metric("gpu/power_w", "W", "Power", "Mean over 1 s on Ampere and later, else instantaneous"),
    )),
    Source("gpu.power_now", 0.5, 1, "nvmlDeviceGetFieldValues",
           "instantaneous power before Ampere, energy before Volta; MIG instances", (
        Metric("gpu/power_instant_w", "W", "Power now", "Instantaneous power"),
        Metric("gpu/energy_j", "J", "Energy", "Consumed since the driver was loaded", counter=True),
    )),
    Source("gpu.sm_clock", 0.5, 1, "nvmlDeviceGetClockInfo(SM)", "MIG instances", (
        Metric("gpu/sm_clock_mhz", "MHz", "SM clock", "Clock of the multiprocessors"),
    )),
    Source("gpu.memory_clock", 1, 1, "nvmlDeviceGetClockInfo(MEM)", "MIG instances", (
        Metric("gpu/memory_clock_mhz", "MHz", "Memory clock", "Clock of the GPU memory"),
    )),
    Source("gpu.clock_reasons", 0.5, 1, "nvmlDeviceGetCurrentClocksEventReasons, else nvmlDeviceGetCurrentClocksThrottleReasons",
           "MIG instances", (
        Metric("gpu/clock_event_reasons", "", "Clock event reasons",
               "Why the clock is not higher, a bit mask; see `reasons_of`. A power cap is normal at full load"),
    )),
    Source("gpu.temperature", 1, 1, "nvmlDeviceGetTemperatureV, else nvmlDeviceGetTemperature", "", (
        Metric("gpu/temperature_c", "°C", "Temperature", "Of the GPU's core"),
    )),
    Source("gpu.pstate", 1, 1, "nvmlDeviceGetPerformanceState", "MIG instances", (
        Metric("gpu/performance_state", "", "Performance state", "0 is fastest, 15 slowest"),
    )),
    Source("gpu.process_utilization", 1, 2, "nvmlDeviceGetProcessUtilization", "GPUs in MIG mode", ()),  # for /processes
    Source("gpu.processes", 1, 2, "nvmlDeviceGetComputeRunningProcesses", "", (
        Metric("gpu/processes", "", "Processes", "With a compute context on the GPU; their list is in /api/v1/processes"),
    )),
    Source("gpu.graphics_processes", 5, 2, "nvmlDeviceGetGraphicsRunningProcesses", "MIG instances", (
        Metric("gpu/graphics_processes", "", "Graphics processes", "With a graphics context on the GPU"),
    )),
    Source("gpu.xid", 0.4, 1, "nvmlEventSetWait_v2, one call for all GPUs", "cards whose driver offers no critical events", (
        Metric("gpu/xid", "", "XID error",
               "Number of a critical error at its moment, as in NVIDIA's XID catalogue; 48 and 79 are fatal"),
    )),
    Source("gpu.encoder", 5, 1, "nvmlDeviceGetEncoderUtilization", "cards without an encoder", (
        Metric("gpu/encoder_pct", "%", "Video encoder", "Busy share"),
    )),
    Source("gpu.decoder", 5, 1, "nvmlDeviceGetDecoderUtilization", "cards without a decoder", (
        Metric("gpu/decoder_pct", "%", "Video decoder", "Busy share"),
    )),
    Source("gpu.fan", 5, 1, "nvmlDeviceGetFanSpeed", "cards without a fan", (
        Metric("gpu/fan_pct", "%", "Fan", "Intended speed, of the fastest"),
    )),
    Source("gpu.margin", 5, 1, "nvmlDeviceGetMarginTemperature", "cards before Ada and Hopper", (
        Metric("gpu/temperature_margin_c", "°C", "Thermal margin", "Degrees left until the clock is lowered"),
    )),
    Source("gpu.counters", 5, 1, "nvmlDeviceGetFieldValues", "each where the card has no such counter; MIG instances", (
        Metric("gpu/memory_temperature_c", "°C", "Memory temperature", "Of the GPU memory"),
        Metric("gpu/slowed_by_power_s", "s", "Slowed by the power cap",
               "Time with a lowered clock since the driver was loaded", counter=True),
        Metric("gpu/slowed_by_heat_s", "s", "Slowed by heat (driver)",
               "Time with a lowered clock since the driver was loaded", counter=True),
        Metric("gpu/slowed_by_hw_heat_s", "s", "Slowed by heat (hardware)",
               "Time with a halved clock, or worse, since the driver was loaded", counter=True),
        Metric("gpu/slowed_by_power_brake_s", "s", "Slowed by the power brake",
               "Time with a halved clock, or worse, since the driver was loaded", counter=True),
        Metric("gpu/pcie_replays", "", "PCIe replays",
               "Transfers that had to be repeated; a rising count is a bad riser or slot", counter=True),
        Metric("gpu/nvlink_crc_errors", "", "NVLink CRC errors", "Flow-control and data CRC errors over all links", counter=True),
        Metric("gpu/nvlink_replays", "", "NVLink replays", "Over all links", counter=True),
    )),
    Source("gpu.pcie", 5, 2, "nvmlGpmMetricsGet, nvmlDeviceGetFieldValues or nvmlDeviceGetPcieThroughput",
           "GPUs in MIG mode before Hopper", (
        Metric("gpu/pcie_tx_bytes_per_s", "B/s", "PCIe from the GPU",
               "On Hopper and later 5 times a second, together with SM active"),
        Metric("gpu/pcie_rx_bytes_per_s", "B/s", "PCIe to the GPU",
               "On Hopper and later 5 times a second, together with SM active"),
    )),
    Source("gpu.nvlink", 1, 1, "nvmlGpmMetricsGet or nvmlDeviceGetFieldValues", "cards without NVLink", (
        Metric("gpu/nvlink_tx_bytes_per_s", "B/s", "NVLink from the GPU", "Over all links, without protocol overhead"),
        Metric("gpu/nvlink_rx_bytes_per_s", "B/s", "NVLink to the GPU", "Over all links, without protocol overhead"),
    )),
    Source("gpu.ecc", 10, 2, "nvmlDeviceGetTotalEccErrors(volatile)", "consumer cards; cards with ECC switched off", (
        Metric("gpu/ecc_corrected", "", "ECC errors corrected", "Since the driver was loaded", counter=True),
        Metric("gpu/ecc_uncorrected", "", "ECC errors not corrected",
               "Since the driver was loaded; any new one is an alarm", counter=True),
    )),
    Source("gpu.remapped", 10, 1, "nvmlDeviceGetRemappedRows", "cards before Ampere; consumer cards", (
        Metric("gpu/remapped_rows_corrected", "", "Rows remapped, corrected",
               "Memory rows replaced after errors that were corrected", counter=True),
        Metric("gpu/remapped_rows_uncorrected", "", "Rows remapped, not corrected",
               "Memory rows replaced after errors that were not corrected", counter=True),
        Metric("gpu/remap_pending", "", "Row remap pending", "1: a reset of the GPU would replace rows"),
        Metric("gpu/remap_failed", "", "Row remap failed", "1: a row could not be replaced; replace the card"),
    )),
    Source("gpu.power_limit", 10, 1, "nvmlDeviceGetEnforcedPowerLimit", "some consumer and laptop cards; MIG instances", (
        Metric("gpu/power_limit_w", "W", "Power limit", "The limit that the driver enforces now"),
    )),
    Source("gpu.max_sm_clock", 60, 1, "nvmlDeviceGetMaxClockInfo(SM)", "MIG instances", (
        Metric("gpu/sm_clock_max_mhz", "MHz", "Highest SM clock", "The highest clock of the card"),
    )),
    Source("gpu.max_memory_clock", 60, 1, "nvmlDeviceGetMaxClockInfo(MEM)", "MIG instances", (
        Metric("gpu/memory_clock_max_mhz", "MHz", "Highest memory clock", "The highest clock of the card"),
    )),
    Source("gpu.slowdown", 60, 1, "nvmlDeviceGetTemperatureThreshold(SLOWDOWN)", "cards that report their thermal margin instead", (
        Metric("gpu/temperature_slowdown_c", "°C", "Slowdown temperature", "Temperature at which the hardware lowers the clock"),
    )),
    Source("gpu.shutdown", 60, 1, "nvmlDeviceGetTemperatureThreshold(SHUTDOWN)", "cards that report their thermal margin instead", (
        Metric("gpu/temperature_shutdown_c", "°C", "Shutdown temperature", "Temperature at which the card switches itself off"),
    )),
    Source("gpu.pcie_link", 10, 2, "nvmlDeviceGetCurrPcieLinkGeneration, nvmlDeviceGetCurrPcieLinkWidth", "MIG instances", (
        Metric("gpu/pcie_generation", "", "PCIe generation", "Of the link now; it drops when the GPU is idle"),
        Metric("gpu/pcie_width", "", "PCIe lanes", "Of the link now"),
    )),
)
# fmt: on

SOURCES: tuple[Source, ...] = (*GPU, *HOST, *LOG)

_EXACT = {metric.name: metric for source in SOURCES for metric in source.metrics if "*" not in metric.name}
_PATTERNS = [metric for source in SOURCES for metric in source.metrics if "*" in metric.name]
_UNIT_OF_SUFFIX = {
    "_bytes_per_s": "B/s",
    "_per_s": "1/s",
    "_bytes": "B",
    "_pct": "%",
    "_w": "W",
    "_j": "J",
    "_c": "°C",
    "_mhz": "MHz",
    "_s": "s",
}

CLOCK_EVENT_REASONS = {  # nvmlClocksEventReason*
    0x1: "idle",
    0x2: "clocks set by a user",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (driver)",
    0x40: "heat (hardware)",
    0x80: "power brake",
    0x100: "display clock",
}


def metric_of(name: str) -> Metric | None:
    """The row of a series' name, also through a pattern."""
    return _EXACT.get(name) or next((metric for metric in _PATTERNS if fnmatchcase(name, metric.name)), None)


def unit_of(name: str) -> str:
    """`unit_of("gpu/power_w") -> "W"`; a name without a row gives its unit by its ending, as in `my/copy_s`."""
    if metric := metric_of(name):
        return metric.unit
    return next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if name.endswith(suffix)), "")


def label_of(name: str) -> str:
    """`label_of("gpu/power_w") -> "Power"`; of a family the part that varies, `phase/data_s` -> `data`; else the name itself."""
    metric = metric_of(name)
    if metric is None:
        return name
    if "*" not in metric.name:
        return metric.label
    head, _, tail = metric.name.partition("*")
    return name.removeprefix(head).removesuffix(tail)


def reasons_of(mask: int) -> list[str]:
    """`reasons_of(0x44) -> ["power cap", "heat (hardware)"]`, for a value of `gpu/clock_event_reasons`."""
    return [reason for bit, reason in CLOCK_EVENT_REASONS.items() if mask & bit]


def rows() -> Iterator[tuple[Metric, Source]]:
    """Every metric with its source, in the order of `docs/metrics.md`."""
    return ((metric, source) for source in SOURCES for metric in source.metrics)


SLACK_S = 0.02
"""How much too early a look may come: the caller's ticks jitter, and waiting for the next one would halve the rate."""


class Timetable:
    """Which sources are due. Deadlines do not drift: a late call does not move those after it."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._period_s = {source.key: source.period_s for source in sources}
        self._deadline_s = dict.fromkeys(self._period_s, -math.inf)  # everything at once at first

    def due(self, now_s: float) -> list[tuple[float, str]]:
        """(deadline, key) of what is due, on the monotonic clock."""
        return [(deadline_s, key) for key, deadline_s in self._deadline_s.items() if deadline_s <= now_s + SLACK_S]

    def done(self, key: str, now_s: float, at_least_s: float = 0.0) -> None:
        """Schedule the source a period after its last deadline, skipping past deadlines.

        `at_least_s` is the shortest pause.
        """
        period_s = max(self._period_s[key], at_least_s)
        next_s = self._deadline_s[key] + period_s
        self._deadline_s[key] = next_s if next_s > now_s + SLACK_S else now_s + period_s

    def drop(self, key: str) -> None:
        """Never due again."""
        self._period_s[key] = math.inf
