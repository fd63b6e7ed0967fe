"""Scrapes endpoints in the Prometheus text format as runs of kind `service`."""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from prometheus_client.samples import Sample

from .options import ScrapeTarget
from .records import Labels, Points, Record, RunInfo, labels_of
from .store.batches import RefusedRecord

# Read an endpoint once: bounded in bytes and time, whatever it answers.

MAX_BYTES = 16 << 20
MAX_S = 10.0  # for a whole answer
MAX_REDIRECTS = 3
ACCEPT = (  # without allow-utf-8 the colon of `vllm:...` becomes an underscore in OpenMetrics
    "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5"
)
KINDS = ("application/openmetrics-text", "text/plain")


class Exposition(NamedTuple):
    text: str
    is_openmetrics: bool
    time_s: float  # when it began to arrive, Unix seconds
    mono_s: float  # the same, CLOCK_MONOTONIC


class NotScraped(Exception):
    """The text says why, as the end of a sentence that begins with the address."""


class ScrapeThread(threading.Thread):
    """One look at an endpoint, in a thread of its own; `answer` or `trouble` once it has ended."""

    def __init__(self, target: ScrapeTarget, most_s: float = MAX_S) -> None:
        super().__init__(name=f"scrape-{target.run}", daemon=True)
        self.target, self.trouble = target, ""
        self.answer: Exposition | None = None
        self.until_s = time.monotonic() + most_s
        self._most_s = most_s
        self._connection: http.client.HTTPConnection | None = None
        self._cut = False

    def run(self) -> None:
        try:
            self.answer = self._fetch()
        except NotScraped as error:
            self.trouble = str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.trouble = f"cannot be read ({error or type(error).__name__})"
        finally:
            if self._connection:
                self._connection.close()
        if self._cut:
            self.answer, self.trouble = None, f"did not answer within {self._most_s:g} s"

    def cut(self) -> None:
        """End it: its time is over. From any thread."""
        self._cut = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _fetch(self) -> Exposition:
        url, target = self.target.url, self.target
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(url.geturl(), target.authorization if url.netloc == target.url.netloc else "")
            if answer.status in (301, 302, 303, 307, 308):
                url = urlsplit(urljoin(url.geturl(), answer.getheader("location", "")))
                if url.scheme != target.url.scheme or not url.hostname:
                    raise NotScraped("leads to another kind of address, which is not followed")
                continue
            return self._read(answer)
        raise NotScraped(f"leads from address to address more than {MAX_REDIRECTS} times")

    def _ask(self, address: str, authorization: str) -> http.client.HTTPResponse:
        if self._connection:
            self._connection.close()
        url = urlsplit(address)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname or "", url.port, timeout=self._left_s())
        headers = {"Accept": ACCEPT, "User-Agent": "deepseek-dashboard"} | (
            {"Authorization": authorization} if authorization else {}
        )
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()

    def _read(self, answer: http.client.HTTPResponse) -> Exposition:
        time_s, mono_s = time.time(), time.monotonic()
        kind = answer.getheader("content-type", "text/plain").partition(";")[0].strip().lower()
        if answer.status != 200:
            raise NotScraped(f"answers {answer.status}")
        if kind not in KINDS or answer.getheader("content-encoding", "identity") != "identity":
            raise NotScraped(f"answers {kind[:80]!r} where text in the format of Prometheus was asked for")
        parts, size = [], 0
        while part := answer.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise NotScraped(f"answers more than {MAX_BYTES >> 20} MiB")
            self._left_s()
        if answer.length:
            raise NotScraped("ends before its answer is complete")
        return Exposition(b"".join(parts).decode("utf-8", "replace"), kind == KINDS[0], time_s, mono_s)

    def _left_s(self) -> float:
        left_s = self.until_s - time.monotonic()
        if self._cut or left_s <= 0:
            raise NotScraped(f"did not answer within {self._most_s:g} s")
        return left_s


# Take an exposition apart: the families of metrics that are of interest, each parsed for itself, so that a bad one costs only itself.

SERVERS = (
    "vllm:",
    "sglang:",
    "nv_",
    "DCGM_FI_",
    "tgi_",
    "trtllm_",
)  # vLLM, SGLang, Triton, dcgm-exporter, ...: only theirs where there are any
NOISE = ("python_", "process_", "go_", "promhttp_", "http_", "scrape_", "up")  # of the program that reports, otherwise
MAX_LINES = 40_000  # samples that are parsed: a microsecond or twenty each


def families_of(exposition: Exposition) -> tuple[list[Metric], int, bool]:
    """The families, how many blocks could not be read, and whether some were left out because there are too many lines."""
    blocks = [(name, lines) for name, lines in _blocks(exposition.text.splitlines()) if lines]
    known = [block for block in blocks if block[0].startswith(SERVERS)]
    wanted = known or [block for block in blocks if not block[0].startswith(NOISE)]
    found: list[Metric] = []
    bad = read = 0
    for _, lines in wanted:
        read += len(lines)
        if read > MAX_LINES:
            return found, bad, True
        try:
            found += _parsed(lines, is_openmetrics=exposition.is_openmetrics)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):  # what the parsers raise
            bad += 1
    return found, bad, False


def _parsed(lines: list[str], *, is_openmetrics: bool) -> Iterable[Metric]:
    if is_openmetrics:
        return list(openmetrics("\n".join([*lines, "# EOF\n"])))  # type: ignore[no-untyped-call]
    return list(prometheus("\n".join(lines) + "\n"))


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines from a family's first comment to the next one's; samples without a comment stand with the family before."""
    name, block = "", list[str]()
    for line in lines:
        words = line.split(" ", 3) if line.startswith("# ") else []
        if len(words) > 2 and words[1] in ("HELP", "TYPE", "UNIT") and words[2] != name:
            yield name, block
            name, block = words[2], []
        if line and line != "# EOF":
            if not name and not line.startswith("#"):
                name = line.partition("{")[0].partition(" ")[0]
            block.append(line)
    yield name, block


# Turn families of metrics into values: counters into rates, histograms into p50 and p99 of what was observed since the last look.
#
# `vllm:generation_tokens_total` 100, then 150 two seconds later -> `vllm:generation_tokens_per_s` 25

MAX_SERIES = 2000  # of one endpoint
MAX_NAME, MAX_LABEL, MAX_LABELS = 300, 200, 12  # characters, characters, number
QUANTILES = {"p50": 0.5, "p99": 0.99}


class ScrapedValue(NamedTuple):
    labels: Labels
    name: str
    value: float


class CounterRates:
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
        if len(self._before) < 2 * MAX_SERIES:
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
            if len(self._before) < 2 * MAX_SERIES:
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
            if len(self._series) >= MAX_SERIES:
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
        len(sample.name) > MAX_NAME
        or len(labels) > MAX_LABELS
        or any(len(name) + len(value) > MAX_LABEL for name, value in labels)
    )
    return None if long else labels


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# Read the endpoints that `--scrape` names, each for itself: a hostile or slow one costs only its own run.

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
        self.fetch: ScrapeThread | None = None
        self.trouble = ""
        self.rates = CounterRates()
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
                    endpoint.fetch = ScrapeThread(endpoint.target)
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

    def _taken(self, endpoint: Endpoint, fetch: ScrapeThread) -> list[Record]:
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
            f"has more than {MAX_LINES:,} lines; the first ones are read" if cut else "",
            f"has more than {MAX_SERIES:,} series; the first ones are kept" if endpoint.rates.left_out else "",
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
