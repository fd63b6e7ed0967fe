"""Whatever is sent over HTTP or gRPC: a status of the protocol and one sentence, never a 500, and the next good request is answered."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from tests.models.serving_clients import TEXT_OPTIONS, letters
from tests.models.serving_http import Served, plan_of, served
from tests.models.toys import written

FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
NAMES = st.sampled_from(["toy", "letters", "x", "y", "tokens", "input_ids", "prompt", "", "\ud800"[:0] + "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
NUMBERS = st.lists(
    st.lists(st.integers(-3, 300) | st.floats(allow_nan=False, width=32), min_size=3, max_size=4), max_size=3
)
TENSOR = st.fixed_dictionaries(
    {
        "name": NAMES,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "FP16", "BOOL"]) | JSON,
    },
    optional={
        "data": NUMBERS | JSON,
        "parameters": JSON | st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}),
    },
)
BODIES = {
    "/v1/infer": st.fixed_dictionaries(
        {},
        optional={
            "model": NAMES | JSON,
            "input": NUMBERS | JSON,
            "version": JSON,
            "timeout_ms": JSON,
            "max_tokens": JSON,
        },
    ),
    "/v2/models/toy/infer": st.fixed_dictionaries(
        {}, optional={"inputs": st.lists(TENSOR, max_size=2) | JSON, "outputs": JSON, "id": JSON, "parameters": JSON}
    ),
    "/v1/completions": st.fixed_dictionaries(
        {"model": st.just("letters")},
        optional=dict.fromkeys(
            (
                "prompt",
                "max_tokens",
                "temperature",
                "top_p",
                "seed",
                "stop",
                "stream",
                "stream_options",
                "n",
                "logprobs",
            ),
            JSON,
        ),
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    folders = {"toy": written(folder / "toy").folder, "letters": letters(folder / "letters").folder}
    with served(plan_of(folder, folders=folders, grpc_port=0, options=TEXT_OPTIONS)) as found:
        yield found


def check(server: Served, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    status, found, _ = server.ask("POST", path, body, headers)
    assert status < 500, (path, body, found)
    if status >= 400:
        error = found["error"]
        sentence = error["message"] if isinstance(error, dict) else error
        assert sentence and "\n" not in sentence and "Traceback" not in sentence


def is_well(server: Served) -> None:
    assert server.infer(model="toy", input=[1, 2, 3, 4])[0] == 200


@pytest.mark.parametrize("path", BODIES)
def test_json_of_any_form(server: Served, path: str) -> None:
    @FEW
    @given(BODIES[path])
    def whole(body: Any) -> None:
        check(server, path, json.dumps(body).encode("utf-8", "replace"))

    whole()
    is_well(server)


def test_bytes_of_any_form_and_binary_tensors(server: Served) -> None:
    head = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}
    good = json.dumps(head).encode()

    @FEW
    @given(st.binary(max_size=40), st.integers(-1, 200) | st.just(len(good)), st.sampled_from(list(BODIES)))
    def whole(raw: bytes, length: int, path: str) -> None:
        check(server, path, raw)
        check(server, "/v2/models/toy/infer", good + raw, {"Inference-Header-Content-Length": str(length)})

    whole()
    is_well(server)


def test_broken_http_of_any_form(server: Served) -> None:
    """Requests with bytes changed, cut or doubled: an answer below 500 or a closed connection."""
    host, _, port = server.places["http"].partition(":")
    body = b'{"input": [1, 2, 3, 4], "model": "toy"}'
    good = b"POST /v1/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        len(body),
        body,
    )
    chance = random.Random(0)
    for _ in range(150):
        sent = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(sent))
            match chance.randrange(3):
                case 0:
                    sent[place] = chance.randrange(256)
                case 1:
                    del sent[place : place + chance.randint(1, 30)]
                case _:
                    sent[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 30)))
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while part := connection.recv(4096):
                found += part
            assert not found.startswith(b"HTTP/1.1 5"), (bytes(sent), found)
    is_well(server)


MESSAGES = st.builds(
    lambda model, version, name, datatype, shape, raw, floats, parameter: pb.ModelInferRequest(
        model_name=model,
        model_version=version,
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=name, datatype=datatype, shape=shape, contents=pb.InferTensorContents(fp32_contents=floats)
            )
        ],
        raw_input_contents=raw,
        parameters=parameter,
    ),
    st.sampled_from(["toy", "toy", "letters", "none", ""]),
    st.sampled_from(["", "", "1", "7", "é"]),
    st.sampled_from(["x", "x", "y", "prompt", "tokens"]),
    st.sampled_from(["FP32", "FP32", "INT64", "BYTES", "FP16", "nothing", ""]),
    st.lists(st.integers(-2, 5) | st.just(1 << 62), max_size=4),
    st.lists(st.binary(max_size=20), max_size=2),
    st.lists(st.floats(width=32), max_size=5),
    st.dictionaries(
        st.sampled_from(["timeout", "max_tokens", "sequence_id", "a"]),
        st.sampled_from(
            [
                pb.InferParameter(int64_param=-1),
                pb.InferParameter(string_param="a"),
                pb.InferParameter(bool_param=True),
                pb.InferParameter(),
            ]
        ),
        max_size=2,
    ),
)


def test_grpc_messages_of_any_form(server: Served) -> None:
    with grpc.insecure_channel(server.places["grpc"]) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        others = [
            channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
            for name in ("ModelMetadata", "ModelReady", "RepositoryIndex", "Nothing")
        ]
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")

        def status(call: Any, content: Any) -> None:
            try:
                found = call(content)
                if call is stream:
                    list(found)
            except grpc.RpcError as error:
                assert error.code() not in FAULTS, (content, error.details())
                assert error.details() and "\n" not in error.details()

        @FEW
        @given(st.binary(max_size=60), MESSAGES)
        def whole(raw: bytes, message: Any) -> None:
            content = message.SerializeToString()
            for sent in (raw, content, content[: len(content) // 2]):
                status(infer, sent)
            for call in others:
                status(call, raw)
            status(stream, iter([content, raw, content]))

        whole()
    is_well(server)
