"""Serving over HTTP: a real server on a real port, the request of the source document, bad input, tokens, clients that vanish."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from models.artifact import write
from models.serving.access import KNOWN_S, new_token, revoke
from models.serving.model import ServingOptions
from models.serving.server import ServingPlan, serve
from tests.models.toys import INPUTS, WEIGHTS, manifest, toy, written

WITHIN_S = 30.0


class Served(NamedTuple):
    places: dict[str, str]
    plan: ServingPlan

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (or text), headers in lower case."""
        connection = http.client.HTTPConnection(self.places["http"], timeout=WITHIN_S)
        content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, content, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return (
            answer.status,
            json.loads(text) if "json" in found.get("content-type", "") else text.decode("utf-8", "replace"),
            found,
        )

    def infer(self, **fields: Any) -> tuple[int, Any]:
        return self.ask("POST", "/v1/infer", fields)[:2]


@contextmanager
def served(plan: ServingPlan) -> Iterator[Served]:
    """A server in a thread, on free ports, and its end."""
    places: dict[str, str] = {}
    ready, stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def started(found: dict[str, str]) -> None:
        places.update(found)
        ready.set()

    def work() -> None:
        try:
            serve(replace(plan, port=0, grpc_port=None if plan.grpc_port is None else 0), started, stop)
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(WITHIN_S)
        if failed:
            raise failed[0]
        yield Served(places, plan)
    finally:
        stop.set()
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def plan_of(folder: Path, **fields: Any) -> ServingPlan:
    return ServingPlan(**{"folders": {"toy": folder}, "grpc_port": None, "logs": None, **fields})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(plan_of(written(tmp_path_factory.mktemp("served") / "toy").folder)) as found:
        yield found


def answer_of(values: list[float]) -> list[float]:
    return [pytest.approx(value, abs=1e-5) for value in np.maximum(np.array(values, np.float32) @ WEIGHTS, 0).tolist()]


def test_the_request_of_the_source_document(server: Served) -> None:
    status, found, headers = server.ask(
        "POST",
        "/v1/infer",
        {"input": [[1, 2, 3, 4]], "model": "toy"},
        {"Authorization": "Bearer any", "Content-Type": "application/json"},
    )
    assert status == 200 and headers["content-type"] == "application/json"
    assert found == {"model": "toy", "version": "1", "output": [answer_of([1, 2, 3, 4])]}


def test_one_item_has_no_dimension_of_the_batch_and_names_may_be_given_or_left_out(server: Served) -> None:
    assert server.infer(input=[1, 2, 3, 4]) == (
        200,
        {"model": "toy", "version": "1", "output": answer_of([1, 2, 3, 4])},
    )
    assert server.infer(input={"x": [[1, 2, 3, 4], [4, 3, 2, 1]]}, model="toy", version="1", timeout_ms=20_000)[1][
        "output"
    ] == [
        answer_of([1, 2, 3, 4]),
        answer_of([4, 3, 2, 1]),
    ]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        (b"[" * 5000, 400, "the body is not JSON"),
        (b"[1]", 400, "the body is not a JSON object"),
        ({"model": "toy"}, 400, 'give the values as "input"'),
        ({"model": "other", "input": [1]}, 404, "there is no model 'other'; there are toy"),
        ({"model": 7, "input": [1]}, 400, "give the model's name"),
        ({"input": [1, 2, 3, 4], "version": "9"}, 404, "'toy' has no version '9'; it has 1"),
        ({"input": [1, 2, 3, 4], "version": []}, 400, '"version" is a text'),
        ({"input": [1, 2, 3]}, 400, "input 'x' is float32 [1, 3], and the model takes x (float32 [batch, 4])"),
        ({"input": [[1, 2], [3]]}, 400, "input 'x' has rows of different lengths"),
        ({"input": ["a", "b", "c", "d"]}, 400, "input 'x' has values that are no float32 numbers"),
        ({"input": [None, 1, 2, 3]}, 400, "input 'x' has values that are no float32 numbers"),
        ({"input": []}, 400, "input 'x' is float32 [1, 0]"),
        ({"input": {"z": [1]}}, 400, "the model takes x, and was given z"),
        ({"input": [1, 2, 3, 4], "inputs": 1}, 400, "there is no field 'inputs'"),
        ({"input": [1, 2, 3, 4], "timeout_ms": -1}, 400, '"timeout_ms" is a number of milliseconds'),
        ({"input": [1, 2, 3, 4], "timeout_ms": True}, 400, '"timeout_ms" is a number of milliseconds'),
        ({"input": "text"}, 400, "input 'x' has values that are no float32 numbers"),
    ],
)
def test_bad_input_is_one_sentence_with_its_status(server: Served, body: Any, status: int, sentence: str) -> None:
    found = server.ask("POST", "/v1/infer", body)
    assert found[0] == status and set(found[1]) == {"error"}
    assert found[1]["error"].startswith(sentence) and "\n" not in found[1]["error"]


def test_a_path_and_a_method_that_are_not_there_are_a_sentence(server: Served) -> None:
    assert server.ask("GET", "/nowhere")[:2] == (
        404,
        {"error": "there is no such path: see docs/serving.md for what there is"},
    )
    assert server.ask("GET", "/v1/infer")[:2] == (
        405,
        {"error": "this path takes another method: see docs/serving.md for what there is"},
    )


def test_a_body_that_is_too_long_or_compressed_is_refused_before_it_is_read(server: Served) -> None:
    assert server.ask("POST", "/v1/infer", b"{}", {"Content-Length": "99999999999"})[0] == 413
    status, found, _ = server.ask("POST", "/v1/infer", b" " * (8 << 20) + b"{}")
    assert status == 413 and found["error"].startswith(
        "the JSON is longer than 8 MiB; send large tensors in the protocol's binary form"
    )
    status, found, _ = server.ask("POST", "/v1/infer", b"{}", {"Content-Encoding": "gzip"})
    assert status == 400 and "compressed" in found["error"]


def test_web_pages_are_not_answered(server: Served) -> None:
    status, found, _ = server.ask("POST", "/v1/infer", {"input": [1, 2, 3, 4]}, {"Origin": "http://evil.example"})
    assert status == 403 and found["error"] == "requests of web pages are not answered; call it from a program"


def test_the_open_inference_protocol_in_json(server: Served) -> None:
    assert server.ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert server.ask("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert server.ask("GET", "/v2/models/toy/ready")[:2] == (200, {"name": "toy", "ready": True})
    assert server.ask("GET", "/v2/models/toy/versions/1")[1] == {
        "name": "toy",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    status, found, _ = server.ask("POST", "/v2/models/toy/infer", {"id": "a", "inputs": [tensor]})
    output = {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": answer_of([1, 2, 3, 4])}
    assert status == 200 and found == {"model_name": "toy", "model_version": "1", "id": "a", "outputs": [output]}


def tensor(**fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **fields}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("toy", {}, 400, '"inputs" is a list of objects'),
        ("toy", tensor(shape=[1, 3]), 400, "input 'x' has 4 values, and the shape [1, 3] takes 3"),
        ("toy", tensor(shape="a"), 400, "input 'x' has no shape such as [1, 3]"),
        ("toy", tensor(shape=[-1, -4]), 400, "input 'x' has no shape"),
        ("toy", tensor(datatype="FP31"), 400, "input 'x' has the datatype 'FP31'"),
        ("toy", tensor(datatype="INT64"), 400, "input 'x' is int64 [1, 4], and the model takes"),
        ("toy", tensor(datatype="BYTES"), 400, "input 'x' has values that are no text"),
        ("toy", tensor(name="z"), 400, "the model takes x (float32 [batch, 4]), and was given z"),
        (
            "toy",
            tensor(parameters={"binary_data_size": 16}),
            400,
            "input 'x' has a binary_data_size that the body does not have",
        ),
        (
            "toy",
            tensor(parameters={"shared_memory_region": "a"}),
            400,
            "the parameter shared_memory_region is not supported",
        ),
        ("toy", {**tensor(), "outputs": [{"name": "z"}]}, 400, "there is no output 'z'; there are y"),
        ("toy", {**tensor(), "parameters": {"timeout": "x"}}, 400, "the parameter timeout is a whole number"),
        ("toy/versions/3", tensor(), 404, "'toy' has no version '3'"),
        ("other", tensor(), 404, "there is no model 'other'"),
    ],
)
def test_bad_tensors_are_one_sentence(server: Served, path: str, body: Any, status: int, sentence: str) -> None:
    found = server.ask("POST", f"/v2/models/{path}/infer", body)
    assert found[0] == status and found[1]["error"].startswith(sentence)


def test_a_client_that_vanishes_is_counted_and_harms_none(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        assert gate.wait(WITHIN_S)
        return inputs

    folder = written(tmp_path / "toy").folder
    with served(plan_of(folder, options=ServingOptions(prepare=prepare, most_wait_s=60))) as server:
        body = json.dumps({"input": [1, 2, 3, 4]}).encode()
        request = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        host, _, port = server.places["http"].partition(":")
        sockets = [socket.create_connection((host, int(port)), timeout=WITHIN_S) for _ in range(5)]
        for each in sockets:
            each.sendall(request)
            assert entered.wait(WITHIN_S)
        half = socket.create_connection((host, int(port)))
        half.sendall(request[:-5])
        until_s = time.monotonic() + WITHIN_S
        while 'queue_requests{model="toy"} 4' not in server.ask("GET", "/metrics")[1]:
            assert time.monotonic() < until_s
        for each in (*sockets[1:], half):
            each.close()
        while 'outcome="gone"} 4' not in server.ask("GET", "/metrics")[1]:
            assert time.monotonic() < until_s
        gate.set()
        assert sockets[0].recv(100).startswith(b"HTTP/1.1 200")
        sockets[0].close()
        assert server.infer(input=[1, 2, 3, 4])[0] == 200
        assert 'batches_total{model="toy"} 2' in server.ask("GET", "/metrics")[1]


def test_too_many_requests_get_429_with_the_time_to_wait_and_late_ones_504(tmp_path: Path) -> None:
    def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.05)
        return inputs

    folder = written(tmp_path / "toy").folder
    with served(plan_of(folder, options=ServingOptions(prepare=slow, most_rows=1, most_wait_s=0.12))) as server:
        server.infer(input=[1, 2, 3, 4])
        server.infer(input=[1, 2, 3, 4])
        found: list[tuple[int, Any, dict[str, str]]] = []
        threads = [
            threading.Thread(target=lambda: found.append(server.ask("POST", "/v1/infer", {"input": [1, 2, 3, 4]})))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in found if answer[0] == 429]
        assert {answer[0] for answer in found} == {200, 429} and 0 < len(refused) < 40
        assert all(
            int(headers["retry-after"]) >= 1 and int(headers["retry-after-ms"]) >= 1 for _, _, headers in refused
        )
        status, answer = server.infer(input=[1, 2, 3, 4], timeout_ms=10)
        assert (status, answer["error"].split(";")[0]) == (504, "the deadline passed before the answer was there")


def test_a_token_has_models_a_rate_and_an_end(tmp_path: Path) -> None:
    folder, tokens = written(tmp_path / "toy").folder, tmp_path / "tokens"
    every = new_token(tokens, "every", manages=True)
    other = new_token(tokens, "other", ["another"])
    slow = new_token(tokens, "slow", ["toy"], rate_per_s=2)
    past = new_token(tokens, "past", days=1e-9)
    with served(plan_of(folder, tokens=tokens)) as server:

        def ask(token: str, path: str = "/v1/infer") -> tuple[int, Any, dict[str, str]]:
            return server.ask(
                "POST",
                path,
                {"input": [1, 2, 3, 4], "model": "toy"} if path == "/v1/infer" else {},
                {"Authorization": f"Bearer {token}"} if token else {},
            )

        assert ask(every)[0] == 200
        for wrong in ("", "dsk_" + "a" * 43, past, "\xe9"):
            status, found, headers = ask(wrong)
            assert status == 401 and headers["www-authenticate"] == "Bearer" and "token" in found["error"]
        assert ask(other)[:2] == (403, {"error": "this token is not for the model 'toy'"})
        assert [ask(slow)[0] for _ in range(3)] == [200, 200, 429] and ask(slow)[2]["retry-after"] == "1"
        assert ask(slow, "/v2/repository/models/toy/load")[0] == 403
        assert ask(every, "/v2/repository/models/toy/load")[0] == 200 and ask(every)[1]["version"] == "2"
        assert server.ask("GET", "/v2/health/ready")[0] == 200 and server.ask("GET", "/metrics")[0] == 401
        revoke(tokens, "every")
        time.sleep(2 * KNOWN_S)
        assert ask(every)[0] == 401
        (tokens / "tokens.json").chmod(0o644)
        time.sleep(2 * KNOWN_S)
        status, found, _ = ask(slow)
        assert status == 503 and str(tokens) not in found["error"]


def test_a_reload_over_http_fails_no_request(tmp_path: Path) -> None:
    folder = written(tmp_path / "toy").folder
    link = tmp_path / "link"
    link.symlink_to(folder)
    other = write(tmp_path / "other", toy(WEIGHTS * 2), manifest(), INPUTS).folder
    with served(plan_of(link, options=ServingOptions(most_wait_s=60))) as server:
        stop = threading.Event()
        found: list[tuple[int, str, float]] = []

        def ask() -> None:
            connection = http.client.HTTPConnection(server.places["http"], timeout=WITHIN_S)
            while not stop.is_set():
                connection.request("POST", "/v1/infer", b'{"input": [1, 1, 1, 1]}')
                answer = connection.getresponse()
                table = json.loads(answer.read())
                found.append((answer.status, table.get("version", ""), round(table["output"][0], 4)))
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        link.unlink()
        link.symlink_to(other)
        assert server.ask("POST", "/v2/repository/models/toy/load", b"")[0] == 200
        (other / "model.onnx").write_bytes(b"broken")
        status, answer, _ = server.ask("POST", "/v2/repository/models/toy/load", b"")
        assert status == 409 and "the version in use goes on" in answer["error"]
        stop.set()
        for thread in threads:
            thread.join()
        assert {status for status, _, _ in found} == {200} and {version for _, version, _ in found} == {"1", "2"}
        assert {(version, value) for _, version, value in found} == {("1", 1.8), ("2", 3.6)}
        assert server.ask("POST", "/v2/repository/index", {})[1][0]["reason"].startswith(f"{link}")


def test_metrics_are_open_metrics(server: Served) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    server.infer(input=[1, 2, 3, 4])
    status, text, headers = server.ask("GET", "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert status == 200 and headers["content-type"].startswith("application/openmetrics-text")
    assert families["deepseek_serving_latency_seconds"].type == "histogram"
    ok = [sample.value for sample in families["deepseek_serving_requests"].samples if sample.labels["outcome"] == "ok"]
    assert ok and ok[0] >= 1
