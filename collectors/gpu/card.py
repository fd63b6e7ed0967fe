"""One card for its readers: its handles, and their state between two polls."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from .inventory import GpuProcess

CardValues: TypeAlias = dict[str, float]

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
