"""Edges of serving: clients that do not read, that cancel or have a deadline over gRPC, the run that a server writes, the command's sentences."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from models.serving import oip_grpc
from models.serving import server as serving
from models.serving.model import ServingOptions
from tests.models.serving_clients import letters
from tests.models.serving_http import WITHIN_S, plan_of, served
from tests.models.toys import written

ROOT = Path(__file__).parents[2]
INFER = "/inference.GRPCInferenceService/ModelInfer"


def message(values: Any = (1, 2, 3, 4)) -> bytes:
    found = pb.ModelInferRequest(model_name="toy", raw_input_contents=[np.array(values, np.float32).tobytes()])
    found.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    content: bytes = found.SerializeToString()
    return content


def until(condition: Any) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_call_over_grpc_that_is_cancelled_or_late_is_not_computed(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()
    calls: list[int] = []

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        calls.append(len(inputs["x"]))
        entered.set()
        assert gate.wait(WITHIN_S)
        return inputs

    folder = written(tmp_path / "toy").folder
    options = ServingOptions(prepare=prepare, most_wait_s=60)
    with (
        served(plan_of(folder, grpc_port=0, options=options)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        infer = channel.unary_unary(INFER)
        first = infer.future(message())
        assert entered.wait(WITHIN_S)
        cancelled = [infer.future(message()) for _ in range(3)]
        until(lambda: 'queue_requests{model="toy"} 3' in server.ask("GET", "/metrics")[1])
        for call in cancelled:
            call.cancel()
        with pytest.raises(grpc.RpcError) as late:
            infer(message(), timeout=0.1)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(
            lambda: (
                'outcome="gone"} 3' in server.ask("GET", "/metrics")[1]
                or 'outcome="gone"} 4' in server.ask("GET", "/metrics")[1]
            )
        )
        gate.set()
        assert first.result(WITHIN_S) and infer(message())
        assert calls == [1, 1]


def test_an_overload_over_grpc_is_resource_exhausted_with_the_time_to_wait(tmp_path: Path) -> None:
    def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.05)
        return inputs

    options = ServingOptions(prepare=slow, most_rows=1, most_wait_s=0.12)
    folder = written(tmp_path / "toy").folder
    with (
        served(plan_of(folder, grpc_port=0, options=options)) as server,
        grpc.insecure_channel(server.places["grpc"]) as channel,
    ):
        infer = channel.unary_unary(INFER)
        infer(message())
        infer(message())
        futures = [infer.future(message()) for _ in range(30)]
        codes = [future.exception(WITHIN_S).code() for future in futures if future.exception(WITHIN_S)]
        assert codes and set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED} and len(codes) < 30
        refused = next(future for future in futures if future.exception())
        assert int(dict(refused.trailing_metadata())["retry-after-ms"]) >= 1


def test_a_client_that_does_not_read_is_left_and_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SEND_S", 0.3)
    monkeypatch.setattr(oip_grpc, "SEND_S", 0.3)
    folders = {"toy": written(tmp_path / "toy").folder, "letters": letters(tmp_path / "letters").folder}
    with served(
        plan_of(
            tmp_path,
            folders=folders,
            options=ServingOptions(most_new_tokens=100_000, most_wait_s=60, most_prompt_tokens=100_000),
        )
    ) as server:
        rows = np.ones((200_000, 4)).tolist()
        body = json.dumps({"model": "toy", "input": rows}).encode()
        host, _, port = server.places["http"].partition(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(
                b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            until(lambda: 'outcome="ok"} 1' in server.ask("GET", "/metrics")[1])
            for _ in range(20):
                assert server.infer(model="toy", input=[1, 2, 3, 4])[0] == 200
            time.sleep(0.4)
            assert server.ask("GET", "/v2/health/ready")[0] == 200


def test_a_server_is_a_run_of_requests(tmp_path: Path) -> None:
    written(tmp_path / "toy")
    command = [sys.executable, "-m", "models", "serve", "toy", "--port", "0", "--grpc-port", "0", "--run", "shop"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:") and "grpc://127.0.0.1:" in line, (
            process.stderr and process.stderr.read()
        )
        place = line.split()[0].removeprefix("http://")
        from models.serving.client import ServingClient

        with ServingClient(place) as client:
            for _ in range(5):
                assert client.infer([1, 2, 3, 4], "toy")
            process.send_signal(signal.SIGHUP)
            until(lambda: client._asked("version", "POST", "/v1/infer", {"input": [1, 2, 3, 4]}) == "2")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.communicate()
    folder = tmp_path / "logs" / "shop"
    about = json.loads((folder / "run.json").read_text())
    assert (about["kind"], about["unit"], about["config"]["models"]) == ("service", "request", {"toy": "toy"})
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    units = sum(line["units"] for line in lines)
    assert units >= 6 and lines[-1]["step"] == units
    for line in lines:
        assert {
            "phase/queue_s",
            "phase/batch_s",
            "phase/infer_s",
            "phase/encode_s",
            "service/p50_s",
            "service/p99_s",
            "service/queue",
        } <= set(line)
        assert line["service/rejected"] == 0 <= line["service/p50_s"] <= line["service/p99_s"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert "toy: version 2 is in use" in "".join(event.get("text", "") for event in events)
    assert events[-1]["kind"] == "end" and events[-1]["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["none"], 1, "none is not a model: manifest.json cannot be read"),
        (["a=toy", "a=toy"], 2, "there are two models 'a'"),
        (["a b=toy"], 2, "'a b' is no name for a model"),
        (["toy", "--host", "0.0.0.0"], 2, "--host 0.0.0.0 is reachable from other machines: give --tokens FOLDER"),
        (["toy", "--threads", "100000"], 2, "'100000' is more than the"),
        (["toy", "--port", "99999"], 2, "'99999' is not a port number"),
        (["toy", "--host", "256.0.0.1", "--tokens", "t"], 1, "port 0 of 256.0.0.1 cannot be opened"),
        (
            ["toy", "--port", "0", "--precision", "fp4"],
            1,
            "onnxruntime runs this model in fp32 on this host, not in fp4",
        ),
        (["toy", "--logs", "/proc/nope"], 1, "the log folder /proc/nope cannot be written"),
    ],
)
def test_a_server_that_cannot_start_says_why(tmp_path: Path, words: list[str], code: int, sentence: str) -> None:
    from models.commands import main

    written(tmp_path / "toy")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        said = _said(["serve", *(["--port", "0"] if "--port" not in words else []), "--no-grpc", *words], main)
    finally:
        os.chdir(before)
    assert said[0] == code and sentence in said[1]


def _said(words: list[str], main: Any) -> tuple[int, str]:
    """In a thread: other tests may have left a loop running in this one."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text), ThreadPoolExecutor(1) as thread:
        return thread.submit(main, words).result(WITHIN_S), text.getvalue()


def test_tokens_are_made_listed_and_ended_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from models.commands import main

    where = ["--tokens", str(tmp_path / "t")]
    assert main(["token", "new", "shop", "--model", "toy", "--rate", "5", *where]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("dsk_") and secret not in (tmp_path / "t" / "tokens.json").read_text()
    assert main(["token", "list", *where]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("shop", "toy", "5/s"))
    assert main(["token", "new", "shop", *where]) == 2 and "there is a token 'shop' already" in capsys.readouterr().err
    assert main(["token", "revoke", "shop", *where]) == 0 and main(["token", "revoke", "shop", *where]) == 2
    assert "deepseek-models token list" in capsys.readouterr().err
    for words in (["--days", "1e9"], ["--days", "36501"], ["--days", "nan"], ["--rate", "-1"]):
        with contextlib.suppress(SystemExit):
            assert main(["token", "new", "far", *words, *where]) == 2
    assert main(["token", "new", "far", "--days", "36500", *where]) == 0 and main(["token", "list", *where]) == 0
