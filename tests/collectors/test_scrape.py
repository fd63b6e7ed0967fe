"""Endpoints in the format of Prometheus, read from real servers: prometheus_client's own, and hostile ones."""

from __future__ import annotations

import argparse
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, start_http_server

from collectors.options import CollectorOptions, checked, target_of
from collectors.records import Points, Record, RunInfo, labels_of
from collectors.scrape import (
    MAX_SERIES,
    CounterRates,
    Exposition,
    KnownGpu,
    ScrapeCollector,
    ScrapeThread,
    families_of,
    quantile,
)
from tests.conftest import dashboard, wait_for

UUID = "GPU-1"


def exposition(text: str, *, is_openmetrics: bool = False) -> Exposition:
    return Exposition(text, is_openmetrics, 0.0, 0.0)


def values(rates: CounterRates, text: str, time_s: float) -> dict[str, float]:
    families, _, _ = families_of(exposition(text))
    return {value.name: value.value for value in rates.values(families, time_s)}


@contextmanager
def serving(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one's own: `answer` gets each connection after its request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                try:
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def said(
    body: bytes, status: str = "200 OK", kind: str = "text/plain", more: str = ""
) -> Callable[[socket.socket], None]:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Connection: close\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def looked(url: str, most_s: float = 30.0) -> ScrapeThread:
    fetch = ScrapeThread(target_of(url), most_s)
    fetch.start()
    while fetch.is_alive():
        fetch.join(0.05)
        if time.monotonic() > fetch.until_s:
            fetch.cut()
    return fetch


def collected(collector: ScrapeCollector, done: Callable[[list[Record]], bool]) -> list[Record]:
    records: list[Record] = []

    def more() -> bool:
        records.extend(collector.collect())
        return done(records)

    wait_for(more, because="it was not read")
    return records


def names_in(records: list[Record]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in records:
        for name, value in zip(record.names, record.values, strict=True) if isinstance(record, Points) else ():
            found.setdefault(name, []).append(value)
    return found


def test_a_real_server_is_a_run_of_kind_service_with_rates_and_quantiles() -> None:
    registry = CollectorRegistry()
    tokens = Counter("vllm:generation_tokens", "of all requests", ["model"], registry=registry)
    running = Gauge("vllm:num_requests_running", "now", registry=registry)
    latency = Histogram("vllm:e2e_request_latency_seconds", "of a request", buckets=[1, 2, 4], registry=registry)
    size = Summary("vllm:prompt_tokens", "of a request", registry=registry)
    Gauge("python_noise", "not of the server", registry=registry)
    running.set(7)
    with serving(registry) as url:
        collector = ScrapeCollector([target_of(f"vllm={url}")], "box", dict)
        records = collected(collector, lambda records: bool(names_in(records)))
        tokens.labels("deepseek").inc(100)
        records += collected(collector, lambda records: bool(names_in(records)))
        for _ in range(10):
            latency.observe(1.5)
        tokens.labels("deepseek").inc(100)
        size.observe(3)
        records += collected(collector, lambda records: "vllm:e2e_request_latency_seconds/p50" in names_in(records))
        collector.close()
        assert collector.trouble() == ""
    (info,) = [record for record in records if isinstance(record, RunInfo)]
    assert (info.run, info.info["kind"], info.info["url"]) == ("vllm", "service", f"{url}/metrics")
    found = names_in(records)
    assert set(found["vllm:num_requests_running"]) == {7.0}
    assert found["vllm:e2e_request_latency_seconds/p50"] == [1.5]
    assert (
        max(found["vllm:generation_tokens_per_s"]) > 0
        and "python_noise" not in found
        and "vllm:prompt_tokens_count_per_s" in found
    )
    rates = [
        record for record in records if isinstance(record, Points) and "vllm:generation_tokens_per_s" in record.names
    ]
    assert {record.labels for record in rates} == {labels_of(host="box", model="deepseek")}


def test_a_counter_that_was_reset_has_no_negative_rate() -> None:
    rates = CounterRates()
    line = '# TYPE a_total counter\na_total {}\n# TYPE h histogram\nh_bucket{{le="1"}} {}\nh_bucket{{le="+Inf"}} {}\n'.format
    assert values(rates, line(100, 10, 10), 0) == {}
    assert values(rates, line(150, 20, 20), 2)["a_per_s"] == 25
    assert values(rates, line(3, 1, 1), 4) == {}
    assert values(rates, line(5, 2, 3), 6) == {"a_per_s": 1.0, "h/p50": 1.0, "h/p99": 1.0, "h_per_s": 1.0}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_a_quantile_lies_where_the_observations_are(observed: list[int], share: float) -> None:
    bounds = [float(edge + 1) for edge in range(len(observed))] + [math.inf]
    counts = [float(sum(observed[: place + 1])) for place in range(len(observed))]
    counts.append(counts[-1])
    if counts[-1] == 0:
        return
    found = quantile(bounds, counts, share)
    below = sum(count for edge, count in enumerate(observed) if edge + 1 <= found)
    assert 0 <= found <= len(observed) and below <= share * counts[-1] + 1e-6


def test_the_activity_that_dcgm_measures_is_the_gpus_own_where_the_driver_does_not() -> None:
    text = "".join(
        f'# TYPE {name} gauge\n{name}{{gpu="0",UUID="{UUID}"}} 0.25\n{name}{{gpu="1",UUID="GPU-elsewhere"}} 0.5\n'
        for name in ("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE")
    )
    gpu = KnownGpu(labels_of(host="box", uuid=UUID, gpu=0), frozenset({"gpu/dram_active_pct"}))
    with answering(said(text.encode())) as url:
        collector = ScrapeCollector([target_of(f"dcgm={url}")], "box", lambda: {UUID: gpu})
        records = collected(collector, lambda records: bool(names_in(records)))
        collector.close()
    (own,) = [record for record in records if isinstance(record, Points) and record.run is None]
    assert dict(zip(own.names, own.values, strict=True)) == {"gpu/sm_active_pct": 25.0, "gpu/tensor_active_pct": 25.0}
    assert own.labels == gpu.labels
    (other,) = [record for record in records if isinstance(record, Points) and record.run == "dcgm"]
    assert dict(other.labels)["UUID"] == "GPU-elsewhere" and set(other.values) == {0.5}


HOSTILE: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "another scheme": (said(b"", "302 Found", more="Location: file:///etc/passwd\r\n"), "another kind of address"),
    "https": (said(b"", "302 Found", more="Location: https://127.0.0.1:1/\r\n"), "another kind of address"),
    "round and round": (said(b"", "302 Found", more="Location: /metrics\r\n"), "from address to address"),
    "an error": (said(b"", "500 No"), "answers 500"),
    "a page": (said(b"<html>", kind="text/html"), "answers 'text/html'"),
    "protobuf": (said(b"\x0a", kind="application/vnd.google.protobuf"), "in the format of Prometheus was asked for"),
    "compressed": (said(b"\x1f\x8b", more="Content-Encoding: gzip\r\n"), "was asked for"),
    "no http": (lambda connection: connection.sendall(b"hello\n" * 100), "cannot be read"),
    "nothing": (lambda connection: None, "cannot be read"),
    "a shorter body": (said(b"a 1\n", more="Content-Length: 100\r\n"), "before its answer is complete"),
    "17 MiB": (said(b"#" * (17 << 20)), "more than 16 MiB"),
    "endless headers": (
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_endpoint_gets_a_sentence(case: str) -> None:
    answer, sentence = HOSTILE[case]
    with answering(answer) as url:
        fetch = looked(url)
    assert fetch.answer is None and sentence in fetch.trouble


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
def test_an_endpoint_that_drips_is_cut_off(head: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(3000):
            connection.sendall(b"#")
            time.sleep(0.02)

    with answering(drip) as url:
        fetch = looked(url, 0.5)
    assert fetch.answer is None and "did not answer within 0.5 s" in fetch.trouble


def test_a_bad_endpoint_costs_only_its_own_run() -> None:
    registry = CollectorRegistry()
    Gauge("good", "", registry=registry).set(1)
    with serving(registry) as good, answering(said(b"a b c d\n\xff{{{\n# TYPE\n")) as bad:
        collector = ScrapeCollector([target_of(f"bad={bad}"), target_of(f"good={good}")], "box", dict)
        records = collected(collector, lambda records: "good" in names_in(records) and bool(collector.trouble()))
        collector.close()
    assert bad in collector.trouble()
    assert {record.run for record in records if isinstance(record, Points)} == {"good"}


@pytest.mark.parametrize("is_openmetrics", [False, True])
@pytest.mark.parametrize(
    "bad", ["a{b= 1", "# TYPE a counter\na_total x", 'a{le="x"} 1e', "\0", "# TYPE h histogram\nh_bucket 1"]
)
def test_a_bad_family_costs_only_itself(bad: str, is_openmetrics: bool) -> None:
    text = f"# TYPE x gauge\nx 1\n# HELP bad it is\n{bad}\n# TYPE y gauge\ny 2\n# EOF\n"
    families, _, _ = families_of(exposition(text, is_openmetrics=is_openmetrics))
    found = {value.name: value.value for value in CounterRates().values(families, 0)}
    assert (found["x"], found["y"]) == (1.0, 2.0)


@given(st.text(max_size=300), st.booleans())
def test_any_text_gives_values_that_a_store_takes(text: str, is_openmetrics: bool) -> None:
    rates = CounterRates()
    for time_s in (0.0, 1.0):
        families, _, _ = families_of(exposition(text, is_openmetrics=is_openmetrics))
        for value in rates.values(families, time_s):
            assert math.isfinite(value.value) and len(value.name) < 500


def test_series_and_lines_are_bounded() -> None:
    many = "# TYPE a gauge\n" + "".join(f'a{{b="{i}"}} 1\n' for i in range(MAX_SERIES + 50))
    rates = CounterRates()
    families, _, cut = families_of(exposition(many))
    assert len(rates.values(families, 0)) == MAX_SERIES and rates.left_out and not cut
    long = "# TYPE a gauge\na 1\n# TYPE b gauge\n" + "b 1\n" * 100_000
    families, _, cut = families_of(exposition(long))
    assert cut and [family.name for family in families] == ["a"]


@pytest.mark.parametrize(
    ("text", "run", "shown"),
    [
        ("http://localhost:8000", "localhost:8000", "http://localhost:8000/metrics"),
        ("vllm=https://host/m?x=1#y", "vllm", "https://host/m?x=1"),
        ("a.b=http://me:secret@host:1/", "a.b", "http://host:1/metrics"),
    ],
)
def test_a_target_has_a_name_and_an_address_without_secrets(text: str, run: str, shown: str) -> None:
    target = target_of(text)
    assert (target.run, target.shown) == (run, shown)
    assert bool(target.authorization) == ("secret" in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8000",
        "file:///etc/passwd",
        "a=ftp://h/",
        "../x=http://h/",
        "=http://h/",
        "http://",
        "http://h:99999/",
        "http://h/ x\r\ny",
    ],
)
def test_a_wrong_target_gets_the_form(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"takes \[name=\]URL"):
        checked(text)


def test_the_flag_may_be_repeated_and_comes_back_equal() -> None:
    options = CollectorOptions(Path("/l"), Path("/d"), scrape=("a=http://h/", "http://g/"))
    assert options.flags()[-4:] == ["--scrape", "a=http://h/", "--scrape", "http://g/"]
    assert options.as_json()["scrape"] == ["a=http://h/", "http://g/"]


def test_the_dashboard_shows_a_scraped_service_as_a_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    registry = CollectorRegistry()
    Gauge("vllm:num_requests_running", "now", registry=registry).set(3)
    with serving(registry) as url, dashboard(tmp_path / "logs", "--no-profile", "--scrape", f"vllm={url}") as running:
        row: dict[str, Any] = wait_for(lambda: running.run("vllm") if running.run("vllm").get("points") else {})
        assert (row["state"], row["info"]["kind"]) == ("running", "service")
        (series,) = running.get("/api/v1/series?run=vllm")["series"]
        assert series["name"] == "vllm:num_requests_running"
