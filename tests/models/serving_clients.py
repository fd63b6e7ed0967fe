"""Clients that others wrote: tritonclient over REST and gRPC, the openai package; and grpc.health.v1."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import openai
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf import wrappers_pb2
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tritonclient.utils import InferenceServerException

from models.artifact import Artifact, write
from models.serving.access import new_token
from models.serving.client import ServingClient, ServingClientError
from models.serving.model import ServingOptions
from tests.models.serving_http import Served, plan_of, served
from tests.models.toys import WEIGHTS, manifest, written

END = "<end>"
LETTERS = sorted(ByteLevel.alphabet())  # 256 tokens, one for each byte
TEXT_OPTIONS = ServingOptions(most_prompt_tokens=50, most_new_tokens=40, most_wait_s=60)


def letters(folder: Path) -> Artifact:
    """A language model of bytes: behind each comes the next one of "abc...xyz", behind "z" the end; behind "\xc3" comes "\xbc"."""
    tokenizer = Tokenizer(BPE({**{letter: place for place, letter in enumerate(LETTERS)}, END: 256}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False, use_regex=False), ByteDecoder()
    follows = np.zeros((257, 257), np.float32)
    for first, second in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True):
        follows[LETTERS.index(first), LETTERS.index(second)] = 50
    follows[LETTERS.index("z"), 256] = 50
    umlaut = tokenizer.encode("ü").ids
    follows[umlaut[0], umlaut[1]] = follows[LETTERS.index("!"), umlaut[0]] = follows[umlaut[1], LETTERS.index("z")] = 50
    graph = helper.make_graph(
        [helper.make_node("Gather", ["follows", "input_ids"], ["logits"])],
        "letters",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "time"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "time", 257])],
        [numpy_helper.from_array(follows, "follows")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    about = manifest(name="letters", task="text-generation", preprocessing={"end_tokens": [END]})
    golden = {"input_ids": np.array([[1, 2, 3]], np.int64)}
    return write(folder, model.SerializeToString(), about, golden, {"tokenizer.json": tokenizer.to_str().encode()})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    folders = {"toy": written(folder / "toy").folder, "deepseek/letters": letters(folder / "letters").folder}
    with served(plan_of(folder, folders=folders, grpc_port=0, options=TEXT_OPTIONS)) as found:
        yield found


X = np.array([[1, 2, 3, 4], [0, 1, 0, 1]], np.float32)
Y = np.maximum(X @ WEIGHTS, 0)


@pytest.fixture
def rest(server: Served) -> Iterator[Any]:
    with triton_http.InferenceServerClient(server.places["http"]) as client:
        yield client


@pytest.fixture
def remote(server: Served) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(server.places["grpc"]) as client:
        yield client


def tensors(module: Any, values: Any = X, **how: Any) -> list[Any]:
    given = module.InferInput("x", list(values.shape), "FP32")
    given.set_data_from_numpy(values, **how)
    return [given]


def test_triton_over_rest(rest: Any) -> None:
    assert rest.is_server_live() and rest.is_server_ready() and rest.is_model_ready("toy")
    assert rest.get_server_metadata()["name"] == "deepseek-models"
    assert rest.get_model_metadata("toy")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert [row["name"] for row in rest.get_model_repository_index()] == ["toy", "deepseek/letters"]
    for binary_in in (True, False):
        for binary_out in (True, False):
            outputs = [triton_http.InferRequestedOutput("y", binary_data=binary_out)]
            found = rest.infer("toy", tensors(triton_http, binary_data=binary_in), outputs=outputs, request_id="7")
            np.testing.assert_allclose(found.as_numpy("y"), Y, rtol=1e-5)
            assert found.get_response()["id"] == "7"
    np.testing.assert_allclose(rest.infer("toy", tensors(triton_http), model_version="1").as_numpy("y"), Y, rtol=1e-5)


def test_triton_over_grpc(remote: Any) -> None:
    assert remote.is_server_live() and remote.is_server_ready() and remote.is_model_ready("toy", "1")
    assert remote.get_server_metadata().name == "deepseek-models"
    assert remote.get_model_metadata("toy").outputs[0].shape == [-1, 3]
    assert [row.name for row in remote.get_model_repository_index().models] == ["toy", "deepseek/letters"]
    found = remote.infer("toy", tensors(triton_grpc), request_id="7", client_timeout=20)
    np.testing.assert_allclose(found.as_numpy("y"), Y, rtol=1e-5)
    assert found.get_response().id == "7"


def test_triton_streams_over_grpc(remote: Any) -> None:
    found: queue.Queue[Any] = queue.Queue()
    remote.start_stream(lambda result, error: found.put((result, error)))
    for number in range(5):
        remote.async_stream_infer("toy", tensors(triton_grpc, X + number), request_id=str(number))
    remote.async_stream_infer("toy", tensors(triton_grpc, X[:, :3]))
    for number in range(5):
        result, error = found.get(timeout=20)
        assert error is None and result.get_response().id == str(number)
        np.testing.assert_allclose(result.as_numpy("y"), np.maximum((X + number) @ WEIGHTS, 0), rtol=1e-5)
    result, error = found.get(timeout=20)
    assert "input 'x' is float32 [2, 3]" in str(error)
    prompt = triton_grpc.InferInput("prompt", [1], "BYTES")
    prompt.set_data_from_numpy(np.array([b"uv"], object))
    remote.async_stream_infer("deepseek/letters", [prompt], parameters={"max_tokens": 20})
    text = ""
    while True:
        result, error = found.get(timeout=20)
        assert error is None
        text += result.as_numpy("text")[0].decode()
        if result.get_response().parameters["triton_final_response"].bool_param:
            break
    assert text == "wxyz"
    remote.stop_stream()


@pytest.mark.parametrize(
    ("name", "values", "version", "sentence"),
    [
        ("toy", X[:, :3], "", "input 'x' is float32 [2, 3]"),
        ("other", X, "", "there is no model 'other'"),
        ("toy", X, "5", "'toy' has no version '5'"),
    ],
)
def test_triton_gets_the_sentence_in_both(
    rest: Any, remote: Any, name: str, values: Any, version: str, sentence: str
) -> None:
    with pytest.raises(InferenceServerException) as over_rest:
        rest.infer(name, tensors(triton_http, values), model_version=version)
    with pytest.raises(InferenceServerException) as over_grpc:
        remote.infer(name, tensors(triton_grpc, values), model_version=version)
    assert sentence in over_rest.value.message() and sentence in over_grpc.value.message()
    assert over_grpc.value.status() == ("StatusCode.NOT_FOUND" if "no " in sentence else "StatusCode.INVALID_ARGUMENT")


def test_triton_loads_a_model_anew(rest: Any, remote: Any) -> None:
    before = int(rest.get_model_metadata("toy")["versions"][-1])
    rest.load_model("toy")
    remote.load_model("toy")
    assert rest.get_model_metadata("toy")["versions"] == [str(before + 1), str(before + 2)]
    with pytest.raises(InferenceServerException, match="models are not unloaded"):
        rest.unload_model("toy")


def test_a_token_over_grpc(tmp_path: Path) -> None:
    folder, tokens = written(tmp_path / "toy").folder, tmp_path / "tokens"
    every, slow = new_token(tokens, "every"), new_token(tokens, "slow", rate_per_s=1)
    with (
        served(plan_of(folder, tokens=tokens, grpc_port=0)) as server,
        triton_grpc.InferenceServerClient(server.places["grpc"]) as client,
    ):
        assert client.is_server_ready()
        assert client.infer("toy", tensors(triton_grpc), headers={"authorization": f"Bearer {every}"})
        for headers, status in (({}, "UNAUTHENTICATED"), ({"authorization": "Bearer dsk_no"}, "UNAUTHENTICATED")):
            with pytest.raises(InferenceServerException) as refused:
                client.infer("toy", tensors(triton_grpc), headers=headers)
            assert refused.value.status() == f"StatusCode.{status}" and "token" in refused.value.message()
        with pytest.raises(InferenceServerException) as refused:
            for _ in range(3):
                client.infer("toy", tensors(triton_grpc), headers={"authorization": f"Bearer {slow}"})
        assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        with pytest.raises(InferenceServerException) as refused:
            client.load_model("toy", headers={"authorization": f"Bearer {every}"})
        assert refused.value.status() == "StatusCode.PERMISSION_DENIED"


def test_grpc_health(server: Served) -> None:
    with grpc.insecure_channel(server.places["grpc"]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            wrappers_pb2.StringValue.SerializeToString,
            wrappers_pb2.Int32Value.FromString,
        )
        assert [
            check(wrappers_pb2.StringValue(value=name)).value for name in ("", "toy", "inference.GRPCInferenceService")
        ] == [
            1,
            1,
            1,
        ]
        with pytest.raises(grpc.RpcError) as refused:
            check(wrappers_pb2.StringValue(value="other"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            wrappers_pb2.StringValue.SerializeToString,
            wrappers_pb2.Int32Value.FromString,
        )
        stream = watch(wrappers_pb2.StringValue(value="toy"))
        assert next(stream).value == 1
        stream.cancel()
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for content in (b"\xff\xff\xff", b"\x0a\x05ab"):
            with pytest.raises(grpc.RpcError) as refused:
                infer(content)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def completions(server: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"http://{server.places['http']}/v1", api_key="any", max_retries=0) as client:
        yield client


def complete(client: Any, prompt: Any, **fields: Any) -> Any:
    return client.completions.create(
        model="deepseek/letters", prompt=prompt, **{"temperature": 0, "max_tokens": 30, **fields}
    )


def test_completions_of_the_openai_package(completions: Any) -> None:
    assert [model.id for model in completions.models.list()] == ["toy", "deepseek/letters"]
    assert completions.models.retrieve("deepseek/letters").id == "deepseek/letters"
    found = complete(completions, "m")
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("nopqrstuvwxyz", "stop")
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (1, 14)
    assert complete(completions, "a", max_tokens=3).choices[0].finish_reason == "length"
    assert complete(completions, "a", stop=["fg", "zz"]).choices[0].text == "bcde"
    assert complete(completions, "!").choices[0].text == "üz"
    first, second = (complete(completions, "q", temperature=1, seed=5, max_tokens=4).choices[0].text for _ in range(2))
    assert first == second


def test_streams_of_the_openai_package(completions: Any) -> None:
    parts = list(complete(completions, "t!"[:1], stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts if part.choices) == "uvwxyz"
    assert parts[-2].choices[0].finish_reason == "stop" and parts[-1].usage.completion_tokens == 7
    texts = [part.choices[0].text for part in complete(completions, "!", stream=True)]
    assert "".join(texts) == "üz" and "\ufffd" not in "".join(texts)


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        (
            {"prompt": "a" * 51},
            openai.BadRequestError,
            "the prompt has 51 tokens, and 'deepseek/letters' takes 50; shorten it",
        ),
        ({"prompt": ""}, openai.BadRequestError, "the prompt is empty"),
        ({"prompt": [999]}, openai.BadRequestError, "the prompt has a token outside of 0 to 256"),
        ({"prompt": ["a", "b"]}, openai.BadRequestError, "one prompt a request"),
        ({"max_tokens": 41}, openai.BadRequestError, "'max_tokens' is a whole number from 1 to 40"),
        ({"n": 2}, openai.BadRequestError, "'n' is not supported; leave it out"),
        ({"temperature": 9}, openai.BadRequestError, "'temperature' is a number from 0 to 2"),
        ({"model": "none"}, openai.NotFoundError, "there is no model 'none'"),
        ({"model": "toy"}, openai.BadRequestError, "'toy' has no tokenizer"),
    ],
)
def test_errors_of_the_openai_package(completions: Any, fields: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as refused:
        completions.completions.create(**{"model": "deepseek/letters", "prompt": "a", **fields})
    assert sentence in refused.value.body["message"]  # type: ignore[attr-defined]


def test_a_text_over_v1_infer(server: Served) -> None:
    assert server.infer(model="deepseek/letters", input="w", max_tokens=20) == (
        200,
        {"model": "deepseek/letters", "version": "1", "output": "xyz"},
    )
    ids = [[3, 4]]
    assert server.infer(model="deepseek/letters", input=ids)[0] == 200


def test_answers_join_and_leave_a_batch_at_any_step(server: Served, completions: Any) -> None:
    import threading

    expected = {letter: "abcdefghijklmnopqrstuvwxyz"[ord(letter) - 96 :] for letter in "abcdefghijklmnop"}
    found: dict[str, str] = {}

    def ask(letter: str) -> None:
        found[letter] = complete(completions, f"{'ab' * (ord(letter) % 7)}{letter}").choices[0].text

    threads = [threading.Thread(target=ask, args=(letter,)) for letter in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_our_own_client(server: Served) -> None:
    with ServingClient(server.places["http"]) as client:
        assert (
            client.models() == ["toy", "deepseek/letters"] and client.is_ready() and client.is_ready("deepseek/letters")
        )
        np.testing.assert_allclose(client.infer(X, "toy"), Y, rtol=1e-5)
        np.testing.assert_allclose(client.infer({"x": X[0]}, model="toy", timeout_ms=20_000), Y[0], rtol=1e-5)
        assert client.infer("w", "deepseek/letters") == "xyz"
        assert "".join(client.complete("q", "deepseek/letters", max_tokens=30, temperature=0)) == "rstuvwxyz"
        client.load("toy")
        for part in client.complete("a", "deepseek/letters", max_tokens=30, temperature=0):
            assert part == "b"
            break
        with pytest.raises(ServingClientError, match=r"input 'x' is float32 \[1, 2\]") as refused:
            client.infer([1, 2], "toy")
        assert refused.value.status == 400 and client.infer([1, 2, 3, 4], "toy")
    with pytest.raises(ServingClientError, match=r"does not answer .*; is the server started\?"):
        ServingClient("127.0.0.1:1").models()
