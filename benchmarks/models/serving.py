"""What serving costs and bears, beside bare handlers, LitServe and Ray Serve.

    .models/bin/python -m benchmarks.models.serving

CPU time of the server's processes for a request: over HTTP beside a bare FastAPI handler that reads the same JSON, over gRPC beside a bare
grpc.aio handler. Open loop (latency from when a request was due; Poisson arrivals, and bursts of 20): p99 at 70 % of the capacity against the
model's time, goodput at 150 %, failed requests while the model is loaded anew again and again, answers of another request, the highest rate
with p99 of at most 100 ms for a small model and for one of 10 ms. Of a model whose time grows with its rows no server keeps p99 at three times a
row's time near the capacity of its large batches: beside each p99 stands that of a server that costs nothing. Client and servers share the cores.
SERVING_PART=cpu, open_loop, reload, mixed or rates measures one of them.

About 15 minutes on an idle machine; MODELS_SCALE=tiny shows in a minute that it works. Peers that are not installed have no rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks import report
from benchmarks.models.open_loop import LoadFound, gaps_s
from benchmarks.models.served_model import FLAT, free_latencies_s, model_of, small_model, time_of, times_of
from models.artifact import Artifact
from models.runtimes.pick import quantile

TINY = os.environ.get("MODELS_SCALE") == "tiny"
PART = os.environ.get("SERVING_PART", "")
REST_CPU, GRPC_CPU = 1.6, 1.4  # times the bare handler's
P99_TIMES, GOODPUT, OF_LITSERVE, OF_RAY, NOT_BELOW = 3.0, 0.9, 1.5, 3.0, 0.95
MAX_P99_S = 0.1
ROUNDS, CPU_REQUESTS = (1, 200) if TINY else (7, 2000)
LOAD_S, SEARCH_S, SEARCHES = (1.0, 0.5, 2) if TINY else (20.0, 8.0, 7)
RELOADED, MIXED = (300, 500) if TINY else (10_000, 100_000)
CONNECTIONS = 64 if TINY else 256
MODEL_S, CALLS = 0.01, 50 if TINY else 1000
READY_S = 120.0
BODY = {"model": "toy", "input": [[1.0, 2.0, 3.0, 4.0]]}


class Serving(NamedTuple):
    process: psutil.Process
    place: str
    grpc: str = ""

    def cpu_s(self) -> float:
        """Of the process and its children, also those that have ended."""
        processes = [self.process, *self.process.children(recursive=True)]
        times = [each.cpu_times() for each in processes]
        return sum(each.user + each.system for each in times)


def main() -> list[report.Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, slow = small_model(folder / "toy"), model_of(folder / "slow", MODEL_S)
        parts = {
            "cpu": lambda: cpu(small, folder),
            "open_loop": lambda: open_loop(slow, folder),
            "reload": lambda: reload(small, folder),
            "mixed": lambda: mixed(small, folder),
            "rates": lambda: rates(small, slow, folder),
        }
        return [row for part in ([PART] if PART else parts) for row in parts[part]()]


def cpu(small: Artifact, folder: Path) -> list[report.Row]:
    """Microseconds of CPU time a request, one after the other, in rounds that take turns."""
    found: dict[str, list[float]] = {"REST": [], "bare FastAPI": [], "gRPC": [], "bare grpc.aio": []}
    with (
        ours(small, folder, tokens=True) as (server, token),
        peer("fastapi", small) as bare,
        peer("grpc", small) as bare_grpc,
    ):
        for _ in range(ROUNDS + 1):  # the first one warms up
            found["REST"].append(cpu_of(server, lambda: ask_rest(server.place, token)))
            found["bare FastAPI"].append(cpu_of(bare, lambda: ask_rest(bare.place, token)))
            found["gRPC"].append(cpu_of(server, lambda: asyncio.run(ask_grpc(server.grpc, token))))
            found["bare grpc.aio"].append(cpu_of(bare_grpc, lambda: asyncio.run(ask_grpc(bare_grpc.place, token))))
    us = {name: statistics.median(times[1:]) * 1e6 for name, times in found.items()}
    rows = []
    for name, bare_name, budget in (("REST", "bare FastAPI", REST_CPU), ("gRPC", "bare grpc.aio", GRPC_CPU)):
        ratios = [mine / theirs for mine, theirs in zip(found[name][1:], found[bare_name][1:], strict=True)]
        middle, low, high = report.paired(ratios)
        rows.append(
            report.Row(
                f"{name}: CPU of a request, token, checks, queue and model", us[name], "us", baseline=us[bare_name]
            )
        )
        rows.append(
            report.Row(
                f"{name}: times the {bare_name} handler",
                middle,
                "x",
                budget,
                spread=f"95 % interval {low:.2f} to {high:.2f}",
            )
        )
    return rows


def open_loop(slow: Artifact, folder: Path) -> list[report.Row]:
    """Of a model whose batches take hardly longer than a row; p99 at 70 % also of one whose largest takes three times as long."""
    flat = model_of(folder / "flat", MODEL_S, FLAT)
    rows = []
    for artifact, kinds, shares in ((flat, ("poisson", "burst"), (0.5, 1.0, 1.5)), (slow, ("poisson",), ())):
        with ours(artifact, folder) as (server, _):
            times_s = {size: time_of(artifact, size) for size in (1, 2, 4, 8, 16, 32)}
            capacity = good_rate(loaded(server, 0, "closed", LOAD_S, CONNECTIONS))
            known = ", ".join(f"{size} rows {seconds * 1e3:.1f} ms" for size, seconds in times_s.items())
            name = f"{times_s[32] / times_s[1]:.1f} x for 32 rows"
            rows.append(report.Row(f"a model of {name}: its own time, one row", times_s[1] * 1e3, "ms", spread=known))
            rows.append(report.Row(f"{name}: capacity, closed loop", capacity, "requests/s"))
            for kind in kinds:
                rows += at_seventy(server, capacity, kind, artifact, times_s, name)
                for share in shares:
                    found = loaded(server, share * capacity, kind, LOAD_S)
                    value, budget = good_rate(found) / capacity, GOODPUT if share == 1.5 else None
                    text = f"{name}, {kind}, {share * 100:.0f} %: goodput of the capacity"
                    rows.append(report.Row(text, value, "x", budget, at_least=True, spread=spread(found)))
    return rows


def at_seventy(
    server: Serving, capacity: float, kind: str, artifact: Artifact, times_s: dict[int, float], name: str
) -> list[report.Row]:
    """p99 at 70 % of the capacity, beside a server that costs nothing: with the model's medians, and with its times of one call after the other."""
    found = loaded(server, 0.7 * capacity, kind, LOAD_S)
    due_s, most_ms = due_within(0.7 * capacity, kind, LOAD_S), P99_TIMES * times_s[1] * 1e3
    alone_s = times_of(artifact, 8, CALLS)
    steady_s = free_latencies_s(times_s, due_s)
    real_s = free_latencies_s(times_s, due_s, [seconds / times_s[8] for seconds in alone_s])
    p99_alone = f"p99 of its {CALLS} calls {quantile(sorted(alone_s), 0.99) / times_s[8]:.1f} times their median"
    text = f"{name}, {kind}, 70 %: p99"
    return [
        report.Row(text, p99_ms(found), "ms", most_ms, spread=spread(found)),
        report.Row(
            f"{text} of a server that costs nothing", quantile(real_s, 0.99) * 1e3, "ms", most_ms, spread=p99_alone
        ),
        report.Row(f"{text} of one whose model always takes its median", quantile(steady_s, 0.99) * 1e3, "ms", most_ms),
    ]


def reload(small: Artifact, folder: Path) -> list[report.Row]:
    """While the model is loaded anew without a pause."""
    with ours(small, folder) as (server, _):
        stop = threading.Event()
        loads: list[int] = []

        def work() -> None:
            while not stop.is_set():
                loads.append(posted(server.place, "/v2/repository/models/toy/load", b"{}"))

        thread = threading.Thread(target=work)
        thread.start()
        rate = 100.0 if TINY else 300.0
        found = loaded(server, rate, "poisson", RELOADED / rate)
        stop.set()
        thread.join()
    failed = found.sent - found.statuses.get("200", 0)
    text = f"{found.sent} requests, {loads.count(200)} loads of {len(loads)}; {spread(found)}"
    return [report.Row("requests failed while the model is loaded anew", failed, "requests", 0, spread=text)]


def mixed(small: Artifact, folder: Path) -> list[report.Row]:
    """Each request has an answer of its own."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    values = [float(number) for number in range(1, 200)]
    bodies = [
        {
            "body": {"model": "toy", "input": [[value] * 4]},
            "expected": json.dumps(round(float(value * weights[:, 2].sum()), 3))[:4],
        }
        for value in values
    ]
    wrong = sent = 0
    with ours(small, folder, "--most-wait", "10000") as (server, _):
        while sent < MIXED:
            found = loaded(server, 0, "closed", LOAD_S, CONNECTIONS, bodies)
            wrong, sent = wrong + found.wrong, sent + found.statuses.get("200", 0)
    return [report.Row("answers of another request", wrong, "answers", 0, spread=f"of {sent}")]


def rates(small: Artifact, slow: Artifact, folder: Path) -> list[report.Row]:
    """The highest rate with p99 <= 100 ms and all requests answered, beside the peers."""
    rows = []
    for artifact, text, budgets in (
        (small, "small model", (OF_LITSERVE, OF_RAY)),
        (slow, "model of 10 ms", (NOT_BELOW, NOT_BELOW)),
    ):
        with ours(artifact, folder) as (server, _):
            mine = highest_rate(server)
        rows.append(report.Row(f"{text}: highest rate with p99 <= 100 ms", mine, "requests/s"))
        for name, budget in zip(("litserve", "ray"), budgets, strict=True):
            if find_spec(name) is None:
                print(f"{name} is not installed: no rows", file=sys.stderr)
                continue
            with peer(name, artifact) as other:
                wait_for_answer(other.place)
                theirs = highest_rate(other)
            rows.append(
                report.Row(
                    f"{text}: times {name}'s rate",
                    mine / theirs,
                    "x",
                    budget,
                    at_least=True,
                    spread=f"{theirs:.0f} requests/s",
                )
            )
    return rows


def highest_rate(server: Serving) -> float:
    """By halving in logarithms between a tenth of the closed loop's rate and all of it."""
    top = good_rate(loaded(server, 0, "closed", SEARCH_S, CONNECTIONS))
    low, high = math.log(top / 10), math.log(top * 1.2)
    for _ in range(SEARCHES):
        middle = (low + high) / 2
        found = loaded(server, math.exp(middle), "poisson", SEARCH_S)
        good = (
            found.statuses.get("200", 0) >= 0.99 * found.sent
            and found.latencies_s
            and quantile(found.latencies_s, 0.99) <= MAX_P99_S
        )
        low, high = (middle, high) if good else (low, middle)
    return math.exp(low)


def loaded(
    server: Serving,
    rate: float,
    kind: str,
    seconds: float,
    connections: int = CONNECTIONS,
    bodies: list[Any] | None = None,
) -> LoadFound:
    words = [
        server.place,
        "/v1/infer",
        json.dumps(bodies or [{"body": BODY}]),
        str(rate),
        str(seconds),
        kind,
        str(connections),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models.open_loop", *words], capture_output=True, text=True, check=True
    )
    return LoadFound(**json.loads(done.stdout))


def due_within(rate: float, kind: str, seconds: float) -> list[float]:
    """When the open loop sends its requests."""
    return list(takewhile(lambda due_s: due_s <= seconds, accumulate(gaps_s(rate, kind))))


def good_rate(found: LoadFound) -> float:
    return found.statuses.get("200", 0) / found.seconds


def p99_ms(found: LoadFound) -> float:
    return quantile(found.latencies_s, 0.99) * 1e3 if found.latencies_s else math.inf


def spread(found: LoadFound) -> str:
    statuses = ", ".join(f"{number} x {status}" for status, number in sorted(found.statuses.items()))
    middle = quantile(found.latencies_s, 0.5) * 1e3 if found.latencies_s else math.nan
    return f"p50 {middle:.1f}, p99 {p99_ms(found):.1f} ms; {statuses}, {found.unanswered} unanswered"


def cpu_of(server: Serving, ask: Any) -> float:
    before_s = server.cpu_s()
    ask()
    return (server.cpu_s() - before_s) / CPU_REQUESTS


def ask_rest(place: str, token: str) -> None:
    connection = http.client.HTTPConnection(place)
    content, headers = (
        json.dumps(BODY).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    for _ in range(CPU_REQUESTS):
        connection.request("POST", "/v1/infer", content, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


async def ask_grpc(place: str, token: str) -> None:
    import grpc
    from tritonclient.grpc import service_pb2 as pb

    message = pb.ModelInferRequest(model_name="toy", raw_input_contents=[np.array([1, 2, 3, 4], np.float32).tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    async with grpc.aio.insecure_channel(place) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelInferResponse.FromString,
        )
        for _ in range(CPU_REQUESTS):
            await call(message, metadata=(("authorization", f"Bearer {token}"),))


def posted(place: str, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(place, timeout=READY_S)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@contextlib.contextmanager
def ours(artifact: Artifact, folder: Path, *words: str, tokens: bool = False) -> Iterator[tuple[Serving, str]]:
    """As a user starts it, and a token where one is asked for."""
    from models.serving.access import new_token

    http_port, grpc_port = free_port(), free_port()
    token = ""
    if tokens:
        token = new_token(folder / "tokens", "bench")
        words = (*words, "--tokens", str(folder / "tokens"))
    command = [
        sys.executable,
        "-m",
        "models",
        "serve",
        f"toy={artifact.folder}",
        "--port",
        str(http_port),
        "--grpc-port",
        str(grpc_port),
    ]
    with started([*command, "--logs", str(folder / "logs"), *words], http_port) as process:
        yield Serving(process, f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"), token


@contextlib.contextmanager
def peer(name: str, artifact: Artifact) -> Iterator[Serving]:
    port = free_port()
    with started(
        [sys.executable, "-m", "benchmarks.models.serving_peers", name, str(artifact.folder), str(port)], port
    ) as process:
        yield Serving(process, f"127.0.0.1:{port}")


@contextlib.contextmanager
def started(command: list[str], port: int) -> Iterator[psutil.Process]:
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        found = psutil.Process(process.pid)
        try:
            until_s = time.monotonic() + READY_S
            while not is_open(port):
                if process.poll() is not None or time.monotonic() > until_s:
                    output.seek(0)
                    raise RuntimeError(f"{' '.join(command)} did not start: {output.read()[-2000:]}")
                time.sleep(0.05)
            yield found
        finally:
            children = found.children(recursive=True) if process.poll() is None else []
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def wait_for_answer(place: str) -> None:
    """Some listen before their model is there. Raises RuntimeError after `READY_S`."""
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(place, timeout=5)
            connection.request("POST", "/v1/infer", json.dumps(BODY), {"Content-Type": "application/json"})
            status = connection.getresponse().status
            connection.close()
            if status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{place} answers no request")


def is_open(port: int) -> bool:
    """Whether an HTTP server answers there, or anything listens that speaks something else."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status != 503
    except http.client.HTTPException:
        return True
    except OSError as error:
        return isinstance(error, ConnectionResetError)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.exit(report.run(main, __doc__ or ""))
