"""Build the fake `libnvidia-ml.so.1`, describe machines for it, and inject faults while it is in use; see README.md."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
LIBRARY = "libnvidia-ml.so.1"
GPUS = 16

LOOP_S = 60
DIP_S = (20.0, 28.0)
BUSY = {
    "utilization": 97,
    "memory_utilization": 62,
    "memory_used": 66e9,
    "power": 640,
    "temperature": 66,
    "memory_temperature": 78,
    "margin": 21,
    "sm_clock": 1755,
    "reasons": 4,
    "sm_active": 88,
    "sm_occupancy": 41,
    "tensor": 57,
    "dram": 64,
    "pcie_tx": 2.1e9,
    "pcie_rx": 3.4e9,
    "nvlink_tx": 88e9,
    "nvlink_rx": 87e9,
}
STARVED = {
    "utilization": 31,
    "memory_utilization": 18,
    "power": 215,
    "temperature": 55,
    "sm_clock": 1980,
    "reasons": 1,
    "sm_active": 24,
    "tensor": 15,
    "dram": 17,
    "pcie_rx": 0.9e9,
    "nvlink_tx": 22e9,
}


def build(target_dir: Path) -> Path:
    """Compile the library into a folder, about half a second; the path of the library."""
    target_dir.mkdir(parents=True, exist_ok=True)
    library = target_dir / LIBRARY
    flags = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run(["gcc", *flags, "-o", str(library), *map(str, SOURCES), "-lm"], check=True)
    return library


def environment(target_dir: Path, trace: str) -> dict[str, str]:
    """What a process needs to see the described machine; a `Control` at `<target_dir>/control` reaches into it."""
    build(target_dir)
    Control(target_dir / "control")
    (target_dir / "trace").write_text(trace)
    return {
        "LD_LIBRARY_PATH": str(target_dir),
        "FAKE_NVML_TRACE": str(target_dir / "trace"),
        "FAKE_NVML_CONTROL": str(target_dir / "control"),
    }


class Shared(ctypes.Structure):
    """`struct control` of machine.h."""

    _fields_ = (
        ("calls", ctypes.c_uint64),
        ("epoch_s", ctypes.c_double),
        ("now_s", ctypes.c_double),
        ("init_error", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("gpu_error", ctypes.c_int32 * GPUS),
        ("xid", ctypes.c_uint32 * GPUS),
        ("slow_us", ctypes.c_uint32),
        ("plugged", ctypes.c_uint32),
    )


class Control:
    """The mapped control block: `control.shared.gpu_error[3] = 15` takes GPU 3 off the bus at once."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(ctypes.sizeof(Shared)))
        file = os.open(path, os.O_RDWR)
        self._memory = mmap.mmap(file, ctypes.sizeof(Shared))
        os.close(file)
        self.path = path
        self.shared = Shared.from_buffer(self._memory)
        self.shared.epoch_s, self.shared.now_s = time.time(), -1.0


def hopper(gpus: int = 1) -> str:
    """Cards that support everything, at work."""
    return "\n".join([f"gpus {gpus}", *changes("*", 0, BUSY)]) + "\n"


def consumer() -> str:
    """A gaming card: no ECC, no power limit, no GPM, no NVLink, no memory temperature."""
    lacks = "gpm ecc remapped power_limit nvlink counters margin pcie_counters process_utilization"
    card = {"memory_total": 24e9, "memory_used": 9e9, "power": 320, "sm_clock": 2520, "sm_active": 0}
    return (
        "\n".join(["gpus 1", "name 0 NVIDIA GeForce RTX 4090", f"lacks * {lacks}", *changes("*", 0, BUSY | card)])
        + "\n"
    )


def dip(at_s: float, length_s: float, gpus: int = 1) -> str:
    """Cards at work whose utilization falls to 5 % once."""
    start, end = {"utilization": 5}, {"utilization": BUSY["utilization"]}
    return hopper(gpus) + "\n".join([*changes("*", at_s, start), *changes("*", at_s + length_s, end)]) + "\n"


def eight_gpus(pid: int | None = None) -> str:
    """A node that trains, over and over: all GPUs starve for 8 s of every minute, GPU 5 runs hot in its last 20 s.

    `pid` uses all GPUs.
    """
    lines = [hopper(8), f"loop {LOOP_S}", *changes("*", DIP_S[0], STARVED), *changes("*", DIP_S[1], BUSY)]
    lines += changes("5", 40, {"temperature": 87, "sm_clock": 1560, "reasons": 0x44, "power": 560, "margin": 0})
    lines += changes("*", LOOP_S, BUSY)
    lines += [f"process * {pid} 64e9 96 compute"] if pid else []
    return "\n".join(lines) + "\n"


def changes(gpu: str, at_s: float, signals: Mapping[str, float]) -> list[str]:
    return [f"at {gpu} {at_s:g} {signal} {value:.10g}" for signal, value in signals.items()]
