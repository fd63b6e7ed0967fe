"""The counters of one card at their own periods, read as the collector reads them, with our clock at the moment of each reading."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pynvml as nvml  # the package nvidia-ml-py

from collectors.machine.gpu import GPM_LEAST_S, Device, open_card
from collectors.records import Points

LOOK_S = 0.05
PERIODS_S = {"gpu.utilization": LOOK_S, "gpu.gpm": GPM_LEAST_S + 0.002, "gpu.power": 0.5, "gpu.sm_clock": 0.5}
UTILIZATION, GRAPHICS, SM = "gpu/utilization_pct", "gpu/graphics_active_pct", "gpu/sm_active_pct"


class Value(NamedTuple):
    name: str
    time_s: float  # the driver's where it gives one: the end of its period
    value: float
    read_s: float  # our clock
    by_driver: bool  # whose time it is


class Recorder:
    """Of the first card, in a thread of its own."""

    def __init__(self) -> None:
        nvml.nvmlInit()
        self.device: Device = open_card("here", 0)[0]
        self.looks = 0  # at GPM
        self._values: list[Value] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._record, name="recorder")
        self._thread.start()

    def values(self, name: str, lo_s: float = 0.0, hi_s: float = float("inf")) -> list[Value]:
        return [value for value in self._values[:] if value.name == name and lo_s <= value.time_s <= hi_s]

    @property
    def has_gpm(self) -> bool:
        return self.device.card.gpm is not None

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.device.close()
        nvml.nvmlShutdown()

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(Value._fields)
            table.writerows(self._values)

    def _record(self) -> None:
        due_s = dict.fromkeys(PERIODS_S, 0.0)
        while not self._ending.wait(LOOK_S / 5):
            for key, at_s in due_s.items():
                now_s = time.monotonic()
                if now_s >= at_s:
                    due_s[key] = now_s + PERIODS_S[key]
                    self.looks += key == "gpu.gpm"
                    self._keep(self.device.look(key), by_driver=True)
                    self._keep(self.device.rows(), by_driver=False)

    def _keep(self, points: Iterable[Points], by_driver: bool) -> None:
        read_s = time.time()
        for record in points:
            for name, value in zip(record.names, record.values, strict=True):
                self._values.append(Value(name, record.time_s or read_s, value, read_s, by_driver))


@contextmanager
def recording() -> Iterator[Recorder]:
    """Raises NVMLError where there is no driver."""
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.close()
