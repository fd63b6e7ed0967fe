"""Read the endpoints that `--scrape` names, each for itself: a hostile or slow one costs only its own run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..records import Labels, Points, Record, RunInfo, labels_of
from ..store.storing import RefusedRecord
from .families import MOST_LINES, families_of
from .fetch import Exposition, Fetch
from .target import ScrapeTarget
from .values import MOST_SERIES, RatesSinceLast, ScrapedValue

PERIOD_S = (1.0, 15.0)  # between two looks: at least, and at most
SHARE = 0.02  # of a core, for one endpoint
DCGM: Mapping[
    str, str
] = {  # of dcgm-exporter, shares of 1: the GPU's own series where the driver does not measure them itself
    "DCGM_FI_PROF_SM_ACTIVE": "gpu/sm_active_pct",
    "DCGM_FI_PROF_SM_OCCUPANCY": "gpu/sm_occupancy_pct",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "gpu/tensor_active_pct",
    "DCGM_FI_PROF_DRAM_ACTIVE": "gpu/dram_active_pct",
}


class KnownGpu(NamedTuple):
    """A GPU of this machine: the labels of its series, and the names of those that the driver measures."""

    labels: Labels
    measured: frozenset[str]


class Endpoint:
    """One address, from look to look."""

    def __init__(self, target: ScrapeTarget) -> None:
        self.target = target
        self.fetch: Fetch | None = None
        self.trouble = ""
        self.rates = RatesSinceLast()
        self.at_s = 0.0  # of the next look, CLOCK_MONOTONIC
        self.introduced = False


class ScrapeCollector:
    name = "scrape"
    period_s = 0.2

    def __init__(self, targets: Sequence[ScrapeTarget], host: str, gpus: Callable[[], Mapping[str, KnownGpu]]) -> None:
        """`gpus` are those of this machine, by UUID."""
        self._endpoints = [Endpoint(target) for target in targets]
        self._host, self._gpus = host, gpus

    def collect(self) -> list[Record]:
        records: list[Record] = []
        for endpoint in self._endpoints:
            fetch, now_s = endpoint.fetch, time.monotonic()
            if fetch is None:
                if now_s >= endpoint.at_s:
                    endpoint.fetch = Fetch(endpoint.target)
                    endpoint.fetch.start()
            elif not fetch.is_alive():
                endpoint.fetch = None
                records += self._taken(endpoint, fetch)
            elif now_s > fetch.until_s:
                fetch.cut()
        return records

    def trouble(self) -> str:
        """One sentence that names an endpoint which is not read, or not whole; "" where all are."""
        bad = [endpoint for endpoint in self._endpoints if endpoint.trouble]
        more = f"; {len(bad) - 1} more have trouble" if len(bad) > 1 else ""
        return f"{bad[0].target.shown} {bad[0].trouble}{more}" if bad else ""

    def refused(self, refused: list[RefusedRecord]) -> None:
        """Nothing to count: the values were checked."""

    def close(self) -> None:
        for endpoint in self._endpoints:
            if endpoint.fetch:
                endpoint.fetch.cut()

    def _taken(self, endpoint: Endpoint, fetch: Fetch) -> list[Record]:
        begun_s = time.thread_time()
        endpoint.trouble = fetch.trouble
        records: list[Record] = []
        if fetch.answer is not None:
            if not endpoint.introduced:
                endpoint.introduced = True
                about = {"kind": "service", "unit": "request", "host": self._host, "url": endpoint.target.shown}
                records.append(RunInfo(endpoint.target.run, about))
            records += self._points(endpoint, fetch.answer)
        shortest_s, longest_s = PERIOD_S
        pause_s = (time.thread_time() - begun_s) / SHARE
        endpoint.at_s = time.monotonic() + (longest_s if fetch.trouble else min(longest_s, max(shortest_s, pause_s)))
        return records

    def _points(self, endpoint: Endpoint, answer: Exposition) -> list[Points]:
        families, bad, cut = families_of(answer)
        values = endpoint.rates.values(families, answer.mono_s)
        said = [
            f"has {bad} metrics that are not in the format of Prometheus" if bad else "",
            f"has more than {MOST_LINES:,} lines; the first ones are read" if cut else "",
            f"has more than {MOST_SERIES:,} series; the first ones are kept" if endpoint.rates.left_out else "",
        ]
        endpoint.trouble = ", and ".join(sentence for sentence in said if sentence)
        of_gpus, others = self._sorted(values)
        host = labels_of(host=self._host)
        return [
            *_grouped(None, of_gpus, answer.time_s),
            *_grouped(
                endpoint.target.run,
                [value._replace(labels=_with(value.labels, host)) for value in others],
                answer.time_s,
            ),
        ]

    def _sorted(self, values: Iterable[ScrapedValue]) -> tuple[list[ScrapedValue], list[ScrapedValue]]:
        """Those that are a GPU's own, and all others."""
        gpus = self._gpus()
        of_gpus: list[ScrapedValue] = []
        others: list[ScrapedValue] = []
        for value in values:
            labels = dict(value.labels)
            name, gpu = DCGM.get(value.name), gpus.get(labels.get("UUID", ""))
            if name is None or gpu is None or "GPU_I_ID" in labels:
                others.append(value)
            elif name not in gpu.measured and 0 <= value.value <= 1:
                of_gpus.append(ScrapedValue(gpu.labels, name, 100 * value.value))
        return of_gpus, others


def _with(labels: Labels, more: Labels) -> Labels:
    return tuple(sorted({**dict(more), **dict(labels)}.items()))


def _grouped(run: str | None, values: Iterable[ScrapedValue], time_s: float) -> Iterable[Points]:
    """A row for each set of labels; of a name that comes twice the last value."""
    rows: dict[Labels, dict[str, float]] = {}
    for value in values:
        rows.setdefault(value.labels, {})[value.name] = value.value
    for labels, row in rows.items():
        yield Points(run, labels, tuple(row), tuple(row.values()), time_s, None)
