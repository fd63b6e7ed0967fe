"""The GPU collector on a real libnvidia-ml.so.1 that replays described machines: see tests/fake_nvml."""

from __future__ import annotations

import ctypes
import ctypes.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.machine.nvml import NvmlCollector
from collectors.records import Points
from tests import fake_nvml

DEADLINE_S = 30.0
TICK_S = 0.02
Machine = Callable[..., tuple[NvmlCollector, fake_nvml.Shared]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = fake_nvml.build(tmp_path_factory.mktemp("fake_nvml"))
    ctypes.CDLL(str(path))  # the binding's own CDLL("libnvidia-ml.so.1") finds the one that is loaded, by its soname
    return path


@pytest.fixture
def machine(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """`machine(trace)` is a collector on a described machine, and the control block that reaches into it."""
    opened: list[NvmlCollector] = []

    def start(trace: str, root: Path = Path("/")) -> tuple[NvmlCollector, fake_nvml.Shared]:
        control = fake_nvml.Control(tmp_path / "control")
        (tmp_path / "trace").write_text(trace)
        monkeypatch.setenv("FAKE_NVML_TRACE", str(tmp_path / "trace"))
        monkeypatch.setenv("FAKE_NVML_CONTROL", str(control.path))
        opened.append(NvmlCollector("box", root))
        return opened[-1], control.shared

    yield start
    for collector in opened:
        collector.close()


def collect_until(collector: NvmlCollector, done: Callable[[list[Points]], bool]) -> list[Points]:
    """All points up to and with the call after which `done` holds."""
    deadline = time.monotonic() + DEADLINE_S
    points: list[Points] = []
    while time.monotonic() < deadline:
        points += collector.collect()
        if done(points):
            return points
        time.sleep(TICK_S)
    raise AssertionError(f"not reached in {DEADLINE_S:g} s; last inventory: {collector.inventory()}")


def names_in(points: list[Points]) -> set[str]:
    return {name for record in points for name in record.names}


def gpus_in(points: list[Points], name: str = "gpu/memory_used_bytes") -> set[str]:
    return {dict(record.labels)["gpu"] for record in points if name in record.names}


def values_of(points: list[Points], name: str) -> list[float]:
    return [
        value for record in points for found, value in zip(record.names, record.values, strict=True) if found == name
    ]


def states(collector: NvmlCollector) -> list[str]:
    return [gpu.state for gpu in collector.inventory().gpus]
