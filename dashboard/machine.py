"""The machine as it is now: its GPUs, the newest value of everything that is measured on it, and who uses which GPU (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from collectors import catalog
from collectors.catalog import Metric, Source
from collectors.store.protocol import Last, Series

MISSED_LOOKS = 3  # a value is no longer that of now when so many looks at its source have returned nothing new
LEAST_FRESH_S = 10.0  # ... and this much time has passed
LASTING = ("gpu.xid",)  # of what happens at a moment the last one stays known

_ROWS: dict[str, tuple[Metric, Source]] = {metric.name: (metric, source) for metric, source in catalog.rows()}


class Value(NamedTuple):
    """The current value of one series."""

    metric: Metric
    labels: Mapping[str, str]
    value: float


class RunOfProcess(NamedTuple):
    """The run that a process belongs to."""

    run: str
    rank: int
    is_worker: bool = False  # whether it is a child of the rank's own process


@dataclass(frozen=True)
class Machine:
    """`gpus` and `looks` are rows of the collector's inventory; `note` says why there is no GPU."""

    host: str
    gpus: list[dict[str, Any]]
    note: str | None
    looks: list[dict[str, Any]]
    values: list[Value]  # in the order of the catalog

    def latest(self, gpu: Mapping[str, Any]) -> dict[str, float]:
        """By metric, of one GPU or MIG instance."""
        return {value.metric.name: value.value for value in self.values if value.labels.get("uuid") == gpu["uuid"]}


@dataclass(frozen=True)
class GpuUser:
    """A process with a context on a GPU; `owner` where it belongs to a run."""

    gpu: int
    mig: int | None
    process: dict[str, Any]
    owner: RunOfProcess | None


def values_now(
    series: Iterable[Series], last: Mapping[int, Last], gpus: Iterable[Mapping[str, Any]], now_s: float
) -> list[Value]:
    """What of the stored values still holds: a silent source and a lost GPU have no current value."""
    lost = {gpu["uuid"] for gpu in gpus if gpu["state"] == "lost"}
    values = []
    for listed in series:
        if listed.name not in _ROWS or listed.id not in last:
            continue
        metric, source = _ROWS[listed.name]
        labels = dict(listed.labels)
        if source.key in LASTING or (labels.get("uuid") not in lost and _fresh(source, last[listed.id], now_s)):
            values.append(Value(metric, labels, last[listed.id].value))
    order = {name: place for place, name in enumerate(_ROWS)}
    return sorted(
        values,
        key=lambda value: (order[value.metric.name], int(value.labels.get("gpu", 0)), value.labels.get("mig", "")),
    )


def _fresh(source: Source, last: Last, now_s: float) -> bool:
    return now_s - (last.time_s or 0.0) < max(LEAST_FRESH_S, MISSED_LOOKS * source.period_s)
