#!/usr/bin/env python3
"""An `nvidia-smi` that asks the library, of the questions of tests/gpu/checks/smi.py those; NVIDIA_SMI_ADDS is added to each number."""

import os
import sys

import pynvml

ASKS = {
    "utilization.gpu": lambda card: pynvml.nvmlDeviceGetUtilizationRates(card).gpu,
    "memory.used": lambda card: pynvml.nvmlDeviceGetMemoryInfo(card, version=pynvml.nvmlMemory_v2).used / 2**20,
    "power.draw": lambda card: pynvml.nvmlDeviceGetPowerUsage(card) / 1e3,
    "clocks.sm": lambda card: pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM),
    "clocks.mem": lambda card: pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_MEM),
    "temperature.gpu": lambda card: pynvml.nvmlDeviceGetTemperatureV(card, pynvml.NVML_TEMPERATURE_GPU),
}


def answer(field: str, card: object) -> str:
    try:
        return f"{ASKS[field](card) + float(os.environ.get('NVIDIA_SMI_ADDS', '0')):.2f}"
    except pynvml.NVMLError:
        return "[N/A]"


if __name__ == "__main__":
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    query, _, fields = sys.argv[1].partition("=")
    if query == "--query-gpu":
        print(", ".join(answer(field, card) for field in fields.split(",")))
    else:
        print("\n".join(str(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(card)))
