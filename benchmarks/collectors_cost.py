"""What the GPU and host collectors cost with eight described Hopper cards, at their default cadence.

The library is tests/fake_nvml: the calls of a real driver cost more, the rest is the same.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from benchmarks.report import Row, run
from collectors.machine import gpu as gpu_device
from collectors.machine import nvml
from collectors.machine.host import HostCollector
from collectors.machine.nvml import NvmlCollector
from collectors.records import Points
from tests import fake_nvml

MEASURED_S = 20.0
GPU_COUNT = 8


class Collector(Protocol):
    name: str
    period_s: float

    def collect(self) -> list[Points]: ...


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        environment = fake_nvml.environment(Path(folder), fake_nvml.eight_gpus(os.getpid()))
        os.environ |= environment
        ctypes.CDLL(str(Path(folder) / fake_nvml.LIBRARY))
        control = fake_nvml.Control(Path(folder) / "control").shared
        gpu, host = NvmlCollector("box"), HostCollector("box", data_path=Path(folder))
        gpu.collect()
        calls, started_s = control.calls, time.monotonic()
        gpu_rows = cost_of(gpu, f"GPU collector, {GPU_COUNT} GPUs")
        calls_per_s = (control.calls - calls) / (time.monotonic() - started_s)
        gpu.close()
        host_rows = cost_of(host, "host collector")
    return [*gpu_rows, Row("NVML calls", calls_per_s, "1/s", budget=allowed_calls_per_s()), *host_rows]


def allowed_calls_per_s() -> float:
    """What the catalog's cadences add up to."""
    per_gpu = sum(source.calls / source.period_s for source in gpu_device.PER_GPU)
    return GPU_COUNT * per_gpu + sum(source.calls / source.period_s for source in nvml.FOR_ALL)


def cost_of(collector: Collector, title: str) -> list[Row]:
    cpu_s, points = time.process_time(), 0
    slowest_s = 0.0
    started_s = due_s = time.monotonic()
    while (now_s := time.monotonic()) < started_s + MEASURED_S:
        points += sum(len(record.names) for record in collector.collect())
        slowest_s = max(slowest_s, time.monotonic() - now_s)
        due_s += collector.period_s
        time.sleep(max(0.0, due_s - time.monotonic()))
    share_pct = 100 * (time.process_time() - cpu_s) / MEASURED_S
    return [
        Row(f"{title}: CPU", share_pct, "% of a core", budget=2.0, spread=f"{points / MEASURED_S:.0f} points/s"),
        Row(f"{title}: slowest collect()", 1e3 * slowest_s, "ms"),
    ]


if __name__ == "__main__":
    sys.exit(run(measure, __doc__.splitlines()[0]))
