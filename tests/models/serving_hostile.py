"""Clients, models and folders that misbehave: each is answered or left in time, and the server lives on and ends when it is asked to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from access.hosts import is_loopback
from models.serving import http, model
from models.serving import server as serving
from models.serving.access import KNOWN_S, new_token, revoke
from models.serving.model import ServingOptions
from models.serving.server import place_of
from tests.models.serving_clients import TEXT_OPTIONS, letters
from tests.models.serving_edges import INFER, message, until
from tests.models.serving_http import WITHIN_S, Served, plan_of, served
from tests.models.toys import WEIGHTS, written

SOON_S = 0.3
ROW = [1, 2, 3, 4]


class Wordless(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def exchanged(server: Served, *parts: bytes) -> bytes:
    """All that the server sends until it ends the connection."""
    host, _, port = server.places["http"].partition(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as sock:
        for part in parts:
            sock.sendall(part)
            time.sleep(0.05)  # a part is a packet
        found = b""
        while more := sock.recv(65536):
            found += more
    return found


def test_whatever_a_preparation_raises_the_worker_goes_on_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "LOGGED_S", 0.0)
    errors: list[BaseException] = []

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return inputs

    folder = written(tmp_path / "toy").folder
    with served(plan_of(folder, options=ServingOptions(prepare=prepare, most_wait_s=60))) as server:
        for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Wordless(), RuntimeError("planted")):
            errors.append(error)
            status, found = server.infer(input=ROW)
            assert (status, found["error"].split(";")[0]) == (500, f"the model failed ({type(error).__name__})")
            assert server.infer(input=ROW)[0] == 200
        errors.append(ValueError("first\nsecond"))
        assert server.infer(input=ROW) == (400, {"error": "first second"})
    assert "planted" in caplog.text and "raise errors.pop()" in caplog.text


@pytest.mark.parametrize("place", ["call", "load"])
def test_a_server_ends_while_its_model_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    gate, entered = threading.Event(), threading.Event()

    def hang(*_: Any) -> Any:
        entered.set()
        gate.wait(WITHIN_S)
        raise ValueError("late")

    for module in (model, model):
        monkeypatch.setattr(module, "END_S", SOON_S)
    monkeypatch.setattr("models.serving.server.STOP_S", SOON_S)
    folder = written(tmp_path / "toy").folder
    try:
        with served(plan_of(folder, options=ServingOptions(prepare=hang if place == "call" else None))) as server:
            if place == "load":
                monkeypatch.setattr(model, "load", hang)
            host, _, port = server.places["http"].partition(":")
            path = b"/v1/infer" if place == "call" else b"/v2/repository/models/toy/load"
            with socket.create_connection((host, int(port))) as sock:
                sock.sendall(
                    b'POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{"input": [1,2,3,4]}' % path
                )
                assert entered.wait(WITHIN_S)
                begun_s = time.monotonic()
        assert time.monotonic() - begun_s < WITHIN_S / 2
    finally:
        gate.set()


def test_streams_that_are_idle_do_not_hold_up_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.serving.server.STOP_S", WITHIN_S)
    done = threading.Event()

    def requests() -> Iterator[bytes]:
        yield message()
        done.wait(WITHIN_S)

    with served(plan_of(written(tmp_path / "toy").folder, grpc_port=0)) as server:
        channel = grpc.insecure_channel(server.places["grpc"])
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(requests())
        assert next(watch) == b"\x08\x01" and next(stream)
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < WITHIN_S / 2, "of what requests have"
    assert list(watch) == [b"\x08\x02"]  # not serving, and its end
    with pytest.raises(grpc.RpcError):
        next(stream)
    done.set()
    channel.close()


def test_a_stream_goes_on_behind_a_message_that_its_rate_refuses_and_ends_with_its_token(tmp_path: Path) -> None:
    folder, tokens = written(tmp_path / "toy").folder, tmp_path / "tokens"
    metadata = [("authorization", f"Bearer {new_token(tokens, 'slow', rate_per_s=1)}")]
    turn: queue.Queue[bytes] = queue.Queue()
    with (
        served(plan_of(folder, tokens=tokens, grpc_port=0)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        method = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        stream = method(iter(turn.get, b"end"), metadata=metadata)

        def asked() -> str:
            turn.put(message())
            found: str = pb.ModelStreamInferResponse.FromString(next(stream)).error_message
            return found

        assert asked() == "" and asked().startswith("this token may make 1 requests a second")
        time.sleep(1.1)
        assert asked() == ""
        revoke(tokens, "slow")
        time.sleep(2 * KNOWN_S)
        with pytest.raises(grpc.RpcError) as ended:
            asked()
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        turn.put(b"end")


def test_a_deadline_that_has_passed_is_late_and_no_overload(tmp_path: Path) -> None:
    def nothing(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"x": inputs["x"][:0]}

    folder = written(tmp_path / "toy").folder
    with served(plan_of(folder, options=ServingOptions(prepare=nothing))) as server:
        assert server.infer(input=ROW, timeout_ms=1e-9)[0] == 504
        status, found = server.infer(input=ROW)
        assert status == 500 and found["error"].startswith("the model failed (it gave no row for the item)")


def test_heads_and_bodies_that_do_not_end_are_answered_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "BODY_S", SOON_S)
    monkeypatch.setattr(serving, "HEAD_S", SOON_S)
    post, live = (
        b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n",
    )
    with served(plan_of(written(tmp_path / "toy").folder)) as server:
        assert exchanged(server) == b""
        cases = [
            ([live[:20]], b"408", b"the headers did not come within"),
            ([live + b"\r\n", live[:20]], b"408", b"the headers did not come within"),
            ([post + b"Content-Length: 5\r\n\r\n"], b"408", b"the body did not come within"),
            ([post + b"Transfer-Encoding: chunked\r\n\r\n"], b"408", b"the body did not come within"),
            (
                [post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
                b"400",
                b"this cannot be read as a request of HTTP/1.1",
            ),
            (
                [post.replace(b"/v1/infer", b"/none") + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
                b"400",
                b"this cannot be read as a request of HTTP/1.1",
            ),
            ([b"\x16\x03\x01\x02\x00"], b"400", b"this cannot be read as a request of HTTP/1.1"),
            ([live + b"A: " + b"a" * 1_000_000 + b"\r\n\r\n"], b"431", b"the headers are longer than 64 KiB"),
        ]
        caplog.clear()
        for parts, status, sentence in cases:
            found = exchanged(server, *parts).rpartition(b"HTTP/1.1 ")[2]
            head, _, body = found.partition(b"\r\n\r\n")
            assert head.startswith(status) and json.loads(body)["error"].encode().startswith(sentence), (
                parts[0][:99],
                found,
            )
        assert server.infer(input=ROW)[0] == 200
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_each_body_on_a_connection_has_a_time_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BODY_S", 6.0)
    body = json.dumps({"input": ROW}).encode()
    head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    with (
        served(plan_of(written(tmp_path / "toy").folder)) as server,
        socket.create_connection(server.places["http"].split(":")) as slow,  # type: ignore[arg-type]
    ):
        for part in (head + b"\r\n" + body[:3], body[3:] + head + b"Connection: close\r\n\r\n" + body[:3], body[3:]):
            slow.sendall(part)
            time.sleep(4.0 if part != body[3:] else 0.0)
        found = b""
        while more := slow.recv(1 << 16):
            found += more
        assert found.count(b"HTTP/1.1 200") == 2, found


def test_a_connection_whose_client_does_not_read_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SEND_S", SOON_S)
    body = json.dumps({"input": np.ones((300_000, 4), int).tolist()}).encode()
    with (
        served(plan_of(written(tmp_path / "toy").folder, options=ServingOptions(most_wait_s=60))) as server,
        socket.socket() as deaf,
    ):
        host, _, port = server.places["http"].partition(":")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(WITHIN_S)
        deaf.connect((host, int(port)))
        deaf.sendall(b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        deaf.recv(1, socket.MSG_PEEK)  # the answer has begun
        time.sleep(6 * SOON_S)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while more := deaf.recv(1 << 20):
                found += more
        head, _, content = found.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert len(content) < length  # the rest is thrown away, not kept until it reads
        assert server.infer(input=ROW)[0] == 200


def test_while_a_large_answer_is_written_others_are_answered(tmp_path: Path) -> None:
    values = np.arange(8_000_000, dtype=np.float32).reshape(-1, 4) % 7
    row = {"name": "x", "datatype": "FP32", "shape": values.shape, "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"inputs": [row]}).encode()
    wanted = np.maximum(values @ WEIGHTS, 0).astype(np.float32)
    begun_s = time.monotonic()
    http.as_json(wanted)  # in one go
    whole_s = time.monotonic() - begun_s
    found: list[bytes] = []

    def ask() -> None:
        connection = HTTPConnection(server.places["http"], timeout=WITHIN_S)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", "/v2/models/toy/infer", head + values.tobytes(), headers)
        found.append(connection.getresponse().read())
        connection.close()

    with served(
        plan_of(written(tmp_path / "toy").folder, options=ServingOptions(most_wait_s=60, most_rows=1 << 16))
    ) as server:
        asking = threading.Thread(target=ask)
        asking.start()
        longest_s = 0.0
        while asking.is_alive():
            begun_s = time.monotonic()
            assert server.ask("GET", "/v2/health/live")[0] == 200
            longest_s = max(longest_s, time.monotonic() - begun_s)
        assert longest_s < whole_s / 4, (longest_s, whole_s)
        assert np.allclose(np.array(json.loads(found[0])["outputs"][0]["data"]).reshape(-1, 3), wanted, rtol=1e-5)
        rows = values[:20_000].tolist()
        assert np.allclose(server.infer(input=rows)[1]["output"], wanted[:20_000], rtol=1e-5)


def test_a_prompt_that_is_too_long_is_refused_unread(tmp_path: Path) -> None:
    folders = {"letters": letters(tmp_path / "letters").folder, "toy": written(tmp_path / "toy").folder}
    with served(plan_of(tmp_path, folders=folders, grpc_port=0, options=TEXT_OPTIONS)) as server:
        prompt, sentence = (
            "a" * 7_000_000,
            "the prompt has 7000000 characters, more than the 50 tokens that 'letters' takes",
        )
        begun_s = time.monotonic()
        assert server.infer(model="letters", input=prompt)[1]["error"].startswith(sentence)
        table = server.ask("POST", "/v1/completions", {"model": "letters", "prompt": prompt})[1]
        assert table["error"]["message"].startswith(sentence)
        request = pb.ModelInferRequest(model_name="letters")
        request.inputs.add(name="prompt", datatype="BYTES", shape=[1]).contents.bytes_contents.append(prompt.encode())
        with grpc.insecure_channel(server.places["grpc"]) as channel:
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            (answer,) = stream(iter([request.SerializeToString()]))
        assert pb.ModelStreamInferResponse.FromString(answer).error_message.startswith(sentence)
        assert time.monotonic() - begun_s < 30
        assert server.infer(model="letters", input="a" * 50, max_tokens=2) == (
            200,
            {"model": "letters", "version": "1", "output": "bc"},
        )


def test_what_is_sent_does_not_swell_the_answer(tmp_path: Path) -> None:
    with (
        served(plan_of(written(tmp_path / "toy").folder, grpc_port=0)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        twice = {
            "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}],
            "outputs": [{"name": "y"}] * 2,
        }
        assert server.ask("POST", "/v2/models/toy/infer", twice)[:2] == (
            400,
            {"error": "output 'y' is asked for twice"},
        )
        request = pb.ModelInferRequest.FromString(message())
        for _ in range(2):
            request.outputs.add(name="y")
        calls: list[tuple[str, bytes, str]] = [(INFER, request.SerializeToString(), "output 'y' is asked for twice")]
        request = pb.ModelInferRequest.FromString(message())
        request.inputs[0].name = "z\n" * 100_000
        calls.append((INFER, request.SerializeToString(), "the model takes x (float32 [batch, 4]), and was given z z"))
        for method, content, sentence in calls:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method)(content)
            details = refused.value.details()
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert details.startswith(sentence) and details.isprintable() and len(details) < 600
        with pytest.raises(grpc.RpcError) as refused:
            next(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff\xff"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_of_many_rows_is_run_in_batches_that_prepare_may_write(tmp_path: Path) -> None:
    batches: list[int] = []

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        batches.append(len(inputs["x"]))
        inputs["x"] *= 2
        return inputs

    values = np.arange(40, dtype=np.float32).reshape(10, 4)
    options = ServingOptions(prepare=prepare, most_rows=4, most_wait_s=60)
    folder = written(tmp_path / "toy").folder
    with (
        served(plan_of(folder, grpc_port=0, options=options)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        request = pb.ModelInferRequest(model_name="toy", raw_input_contents=[values.tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=values.shape)
        answer = pb.ModelInferResponse.FromString(channel.unary_unary(INFER)(request.SerializeToString()))
        found = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(10, 3)
        assert np.allclose(found, np.maximum(2 * values @ WEIGHTS, 0), rtol=1e-5)
    assert max(batches) <= 4 and sum(batches) == 10


def test_an_answer_that_would_be_too_large_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    folder = letters(tmp_path / "letters").folder
    with served(plan_of(folder, folders={"letters": folder}, options=TEXT_OPTIONS)) as server:
        status, found = server.infer(input=[[1] * 80] * 2000)
        assert status == 413 and found["error"].startswith("the answer would have 156 MiB, and the limit is 64 MiB")
        for token in (-1, 257, 1 << 62):
            assert server.infer(input=[[1, token]]) == (
                400,
                {"error": "input 'input_ids' has a token outside of 0 to 256"},
            )
        assert server.infer(input=[[0, 256]])[0] == 200
        assert server.infer(input=[[1] * 91]) == (
            400,
            {"error": "the texts have 91 tokens, and the model takes 90; shorten them"},
        )


def test_numbers_beyond_the_type_are_refused(tmp_path: Path) -> None:
    with served(plan_of(written(tmp_path / "toy").folder)) as server:
        assert server.infer(input=[1e300, 1, 1, 1]) == (
            400,
            {"error": "input 'x' has values beyond 3.40282e+38 of float32"},
        )


def pipe(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def no_text(folder: Path) -> None:
    content = b"\xff{}"
    (folder / "tokenizer.json").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["tokenizer.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(pipe, "manifest.json cannot be read (not a file)"), (no_text, "tokenizer.json cannot be read")],
)
def test_a_folder_that_cannot_be_loaded_is_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], sentence: str
) -> None:
    folder = letters(tmp_path / "letters").folder
    with served(plan_of(folder, folders={"letters": folder}, options=TEXT_OPTIONS)) as server:
        damage(folder)
        status, found, _ = server.ask("POST", "/v2/repository/models/letters/load", b"")
        assert status == 409 and sentence in found["error"] and "the version in use goes on" in found["error"]
        assert server.infer(input="abc", max_tokens=1)[1]["output"] == "d"


def test_an_unforeseen_error_of_a_load_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Any:
        sys.exit("planted")

    with served(plan_of(written(tmp_path / "toy").folder)) as server:
        monkeypatch.setattr(model, "load", load)
        status, found, _ = server.ask("POST", "/v2/repository/models/toy/load", b"")
        assert status == 409 and "planted" in found["error"]
        assert server.infer(input=ROW)[0] == 200


def test_bodies_that_are_half_there_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_READING_BYTES", 1 << 20)
    long = b'{"input": [1, 2, 3, 4]' + b" " * 700_000
    with served(plan_of(written(tmp_path / "toy").folder)) as server:
        host, _, port = server.places["http"].partition(":")

        def is_refused_beside_half_a_body() -> bool:
            """False where both were read at once and the half one came to the limit first."""
            with socket.create_connection((host, int(port))) as half:
                half.sendall(b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 800000\r\n\r\n" + long)
                status, found, headers = server.ask("POST", "/v1/infer", long + b"}")
                if status != 429:
                    return False
                assert headers["retry-after"] == "1" and "many long requests" in found["error"]
                assert server.infer(input=ROW)[0] == 200
                return True

        until(is_refused_beside_half_a_body)
        until(lambda: server.ask("POST", "/v1/infer", long + b"}")[0] == 200)


def test_a_model_that_hangs_refuses_what_would_wait_for_it(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        assert gate.wait(WITHIN_S)
        return inputs

    folder = written(tmp_path / "toy").folder
    with served(plan_of(folder, options=ServingOptions(prepare=prepare, most_wait_s=0.2))) as server:
        found: list[tuple[int, Any]] = []
        first = threading.Thread(target=lambda: found.append(server.infer(input=ROW)))
        first.start()
        assert entered.wait(WITHIN_S)
        time.sleep(SOON_S)
        status, answer = server.infer(input=ROW)
        assert status == 429 and "'toy' has too many requests: this one would wait" in answer["error"]
        gate.set()
        first.join()
        assert found[0][0] == 200 and server.infer(input=ROW)[0] == 200


def test_loopback_is_all_of_it() -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "example.org", "")
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 5


def test_addresses_can_be_pasted() -> None:
    assert (place_of("127.0.0.1", 8100), place_of("::1", 8100)) == ("127.0.0.1:8100", "[::1]:8100")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_without_tokens_the_own_user_is_answered_at_each_loopback_address(tmp_path: Path, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("no ::1 here")
    with served(plan_of(written(tmp_path / "toy").folder, host=host, grpc_port=0)) as server:
        assert server.infer(input=ROW)[0] == 200
        with grpc.insecure_channel(server.places["grpc"]) as channel:
            assert channel.unary_unary(INFER)(message(), timeout=WITHIN_S)


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


PROXIES = ["x-forwarded-for", "x-forwarded-proto", "via", "forwarded", "x-real-ip", "x-envoy-external-address"]


@pytest.mark.parametrize("name", PROXIES)
def test_without_tokens_what_comes_through_a_proxy_is_not_answered_over_grpc(tmp_path: Path, name: str) -> None:
    """A proxy of the same user on this machine passes on what others ask."""
    index = "/inference.GRPCInferenceService/RepositoryIndex"
    with (
        served(plan_of(written(tmp_path / "toy").folder, grpc_port=0)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        proxied = ((name, "203.0.113.7"),)
        assert channel.unary_unary(INFER)(message(), timeout=WITHIN_S), "known to be its own user's connection"
        for method, content in ((INFER, message()), (index, b"")):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method)(content, timeout=WITHIN_S, metadata=proxied)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as refused:
            list(
                channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(
                    iter([message()]), metadata=proxied
                )
            )
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        live = "/inference.GRPCInferenceService/ServerLive"
        assert channel.unary_unary(live)(b"", timeout=WITHIN_S, metadata=proxied) is not None, "health is open to all"


FORWARDER = """
import encodings.idna, os, socket, sys, threading
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        ours, _ = server.accept()
        theirs = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for pair in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_tokens_another_user_of_this_machine_is_not_answered(tmp_path: Path) -> None:
    """Over gRPC, whose library does not say whose the socket is; and over HTTP."""
    folder = written(tmp_path / "toy").folder
    index = "/inference.GRPCInferenceService/RepositoryIndex"
    with served(plan_of(folder, grpc_port=0)) as server:
        for scheme in ("grpc", "http"):
            port = server.places[scheme].rpartition(":")[2]
            with subprocess.Popen(
                [sys.executable, "-c", FORWARDER, port], stdout=subprocess.PIPE, text=True
            ) as forwarder:
                try:
                    assert forwarder.stdout is not None
                    theirs = f"127.0.0.1:{int(forwarder.stdout.readline())}"
                    if scheme == "http":
                        assert (
                            Served({"http": theirs}, server.plan).infer(input=ROW)[0] == 401
                            and server.infer(input=ROW)[0] == 200
                        )
                        continue
                    for place, method, content in ((theirs, INFER, message()), (theirs, index, b"")):
                        with grpc.insecure_channel(place) as channel, pytest.raises(grpc.RpcError) as refused:
                            channel.unary_unary(method)(content, timeout=WITHIN_S)
                        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                    with grpc.insecure_channel(server.places["grpc"]) as channel:
                        assert channel.unary_unary(INFER)(message(), timeout=WITHIN_S)
                    with grpc.insecure_channel(theirs) as channel:
                        assert channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=WITHIN_S)
                finally:
                    forwarder.kill()
