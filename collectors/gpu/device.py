"""One GPU over time: its due sources, what it supports, whether it is lost, when it is retried."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pynvml as nvml  # the package nvidia-ml-py

from ..catalog import GPU, Timetable
from ..records import Points, labels_of
from .card import Card, CardValues
from .cost import SourceCost
from .errors import ABSENT, DRIVER_GONE, GONE, NOTHING_NOW
from .inventory import HIDDEN_PROCESSES, NO_PROCESSES, Gpu
from .readers import READERS, Reading

LOST_RETRY_S = 5.0  # until a lost GPU is retried; doubles up to
LOST_RETRY_MOST_S = 60.0
XID_FRESH_S = 60.0  # an XID this near is taken for the cause of a loss
IN_USE_BYTES = 2**30  # a card without processes has less of its memory in use
PROCESSES = "gpu.processes"
VITAL = "gpu.memory"  # every working GPU answers this; if it fails, the GPU is lost, with any error code

PER_GPU = tuple(source for source in GPU if source.key in READERS)
PERIODS_S = {source.key: source.period_s for source in PER_GPU}


class Device:
    """One card, or one MIG instance of it, and what was read from it so far."""

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
        self.costs: dict[str, SourceCost] = {}
        self.latest: CardValues = {}
        self.gathered: dict[float, tuple[float, CardValues]] = {}  # by period: when, Unix seconds; what
        self.card = Card()

    def open(self) -> None:
        self._forget()
        whole = handle = nvml.nvmlDeviceGetHandleByIndex(self.index)
        if self.slot is not None:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, self.slot)
            self.mig = nvml.nvmlDeviceGetGpuInstanceId(handle)
        self.card = Card(handle, whole, self.mig)
        self.uuid, self.name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.labels = labels_of(host=self.host, uuid=self.uuid, gpu=self.index, mig=self.mig)

    def close(self) -> None:
        self.card.close()

    def look(self, key: str) -> list[Points]:
        """Read one source of the catalog; values wait for `rows`. Raises the errors that mean that there is no driver."""
        started_s = time.monotonic()
        readings: list[Reading] = []
        try:
            readings = self._read(key)
            self.answered.add(key)
        except nvml.NVMLError as error:
            self._refused(key, error)
        cost = self.costs.setdefault(key, SourceCost())
        cost.add(time.monotonic() - started_s)
        self.timetable.done(key, started_s, cost.rest_s)
        for time_s, values in readings:
            self.latest |= values
            if time_s is None and values:
                self.gathered.setdefault(PERIODS_S[key], (time.time(), {}))[1].update(values)
        return [self._points(time_s, values) for time_s, values in readings if time_s is not None]

    def rows(self) -> list[Points]:
        """The values that `look` has read: a row for all sources of one period, which then share a commit's row and a chunk's axis."""
        gathered, self.gathered = self.gathered, {}
        return [self._points(time_s, values) for time_s, values in gathered.values()]

    def _points(self, time_s: float, values: CardValues) -> Points:
        return Points(None, self.labels, tuple(values), tuple(map(float, values.values())), time_s, None)

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
            self.lose(error)
        else:  # it never worked: a share of a GPU answers "unknown" to calls for a whole one
            self.readers[key].clear()

    def lose(self, error: Any) -> None:
        if not self.lost:
            self.lost, self.since_s, self.cause = True, time.time(), str(error)
            self.pause_s = LOST_RETRY_S
        self.retry_at_s = time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, LOST_RETRY_MOST_S)

    def heal(self, now_s: float) -> bool:
        """Retry a lost GPU when its pause is over; return whether it came back."""
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
        buffer = self.card.buffers.get(nvml.NVML_GPU_UTILIZATION_SAMPLES)
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
            processes=() if self.lost else tuple(user for users in self.card.users.values() for user in users),
            processes_note=self._processes_note(),
        )

    def _processes_note(self) -> str:
        if self.lost or self.card.handle is None:
            return ""
        if not self.readers[PROCESSES]:
            return NO_PROCESSES
        if PROCESSES not in self.answered:
            return ""
        in_use = self.latest.get("gpu/memory_used_bytes", 0) >= IN_USE_BYTES
        return HIDDEN_PROCESSES if in_use and not any(self.card.users.values()) else ""

    def _reason(self) -> str:
        if self.since_s is None:
            return ""
        cause = f"XID {self.xid}" if abs(self.xid_s - self.since_s) < XID_FRESH_S else self.cause
        return f"GPU {self.index} stopped answering at {time.strftime('%H:%M:%S', time.localtime(self.since_s))} ({cause})."


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
            whole.lose(error)
    return devices
