"""Turn families of metrics into values: counters into rates, histograms into p50 and p99 of what was observed since the last look.

`vllm:generation_tokens_total` 100, then 150 two seconds later -> `vllm:generation_tokens_per_s` 25
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.samples import Sample

from ..records import Labels

MOST_SERIES = 2000  # of one endpoint
MOST_NAME, MOST_LABEL, MOST_LABELS = 300, 200, 12  # characters, characters, number
QUANTILES = {"p50": 0.5, "p99": 0.99}


class ScrapedValue(NamedTuple):
    labels: Labels
    name: str
    value: float


class RatesSinceLast:
    """Of one endpoint, with what its counters said at the last look."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, Labels], tuple[float, ...]] = {}
        self._time_s: float | None = None  # of the last look, on one clock
        self._series: set[tuple[str, Labels]] = set()
        self.left_out = False  # there are more series than are kept

    def values(self, families: Iterable[Metric], time_s: float) -> list[ScrapedValue]:
        """Of a look at `time_s`, on any clock that only rises. A counter that fell was reset: it has no rate at that look."""
        passed_s = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s, self.left_out = time_s, False
        before, self._before = self._before, {}
        found = (value for family in families for value in self._of(family, before, passed_s))
        return [value for value in found if math.isfinite(value.value) and self._is_kept(value)]

    def _of(
        self, family: Metric, before: Mapping[tuple[str, Labels], tuple[float, ...]], passed_s: float
    ) -> Iterator[ScrapedValue]:
        if family.type == "histogram":
            yield from self._histogram(family, before, passed_s)
            return
        for sample in family.samples:
            labels = labels_of_sample(sample, leave_out="quantile")
            if sample.name.endswith("_created") or labels is None:
                continue
            if family.type == "counter":
                yield from self._rate(family.name, labels, sample.value, before, passed_s)
            elif family.type == "summary" and sample.name.endswith(("_sum", "_count")):
                yield from self._rate(sample.name, labels, sample.value, before, passed_s)
            elif family.type == "summary":
                yield ScrapedValue(
                    labels, f"{family.name}/p{100 * _number(sample.labels.get('quantile', '')):g}", sample.value
                )
            elif family.type in ("gauge", "unknown"):
                yield ScrapedValue(labels, family.name, sample.value)

    def _rate(
        self,
        name: str,
        labels: Labels,
        value: float,
        before: Mapping[tuple[str, Labels], tuple[float, ...]],
        passed_s: float,
    ) -> Iterator[ScrapedValue]:
        key = name, labels
        last = before.get(key)
        if len(self._before) < 2 * MOST_SERIES:
            self._before[key] = (value,)
        if last is not None and passed_s > 0 and value >= last[0]:
            yield ScrapedValue(labels, f"{name}_per_s", (value - last[0]) / passed_s)

    def _histogram(
        self, family: Metric, before: Mapping[tuple[str, Labels], tuple[float, ...]], passed_s: float
    ) -> Iterator[ScrapedValue]:
        buckets: dict[Labels, list[tuple[float, float]]] = {}
        for sample in family.samples:
            labels = labels_of_sample(sample, leave_out="le")
            if sample.name.endswith("_bucket") and labels is not None:
                buckets.setdefault(labels, []).append((_number(sample.labels.get("le", "")), sample.value))
        for labels, found in buckets.items():
            found.sort(key=lambda bucket: bucket[0])
            bounds, counts = [bound for bound, _ in found], tuple(count for _, count in found)
            last = before.get((family.name, labels))
            if len(self._before) < 2 * MOST_SERIES:
                self._before[family.name, labels] = counts
            if last is None or len(last) != len(counts) or passed_s <= 0:
                continue
            new = [count - old for count, old in zip(counts, last, strict=True)]
            if min(new) < 0 or not new[-1] > 0:  # it was reset, or nothing was observed
                continue
            for word, share in QUANTILES.items():
                yield ScrapedValue(labels, f"{family.name}/{word}", quantile(bounds, new, share))
            yield ScrapedValue(labels, f"{family.name}_per_s", new[-1] / passed_s)

    def _is_kept(self, value: ScrapedValue) -> bool:
        """The first series that there were; a name is kept for good, so that its curve has no holes."""
        key = value.name, value.labels
        if key not in self._series:
            if len(self._series) >= MOST_SERIES:
                self.left_out = True
                return False
            self._series.add(key)
        return True


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float:
    """As Prometheus estimates it: evenly spread inside a bucket. `counts` are cumulative, `bounds` upper edges.

    `quantile([1, 2, inf], [0, 10, 10], 0.5) -> 1.5`; in the last bucket its lower edge.
    """
    rank = share * counts[-1]
    place = next((i for i, count in enumerate(counts) if count >= rank), len(counts) - 1)
    lower = bounds[place - 1] if place else min(0.0, bounds[0])
    if not math.isfinite(bounds[place]) or not math.isfinite(lower):
        return lower
    below = counts[place - 1] if place else 0.0
    inside = counts[place] - below
    return lower + (bounds[place] - lower) * ((rank - below) / inside if inside > 0 else 1.0)


def labels_of_sample(sample: Sample, leave_out: str) -> Labels | None:
    """None where its name or labels are too long to be kept."""
    labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != leave_out and value != ""))
    long = (
        len(sample.name) > MOST_NAME
        or len(labels) > MOST_LABELS
        or any(len(name) + len(value) > MOST_LABEL for name, value in labels)
    )
    return None if long else labels


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
