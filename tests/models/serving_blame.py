"""A service in which a line becomes slow, watched by a real dashboard: blame names the line, a finding says it, the ledger adds up."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.environment import ROOT
from tests.models.toys import written

WITHIN_S, USUAL_S, SLOW_S = 60.0, 24.0, 11.0
TARGET_S = 0.02
RATE = 40.0  # requests a second
SERVICE = """
import sys, time
from pathlib import Path
from deepseek.models.serving.model import ServingOptions
from deepseek.models.serving.server import ServingPlan, serve

def widen(x):
    if Path("slow").exists():
        PLANTED
    return x

def prepare(inputs):
    return {"x": widen(inputs["x"])}

def started(places):
    Path("places.txt").write_text(places["http"])

serve(ServingPlan({"toy": Path("toy")}, ServingOptions(prepare=prepare), port=0, grpc_port=None, logs=Path("logs"), run="svc", target_s=TARGET), started)
"""
SLEEPS = "time.sleep(0.03)"
COMPUTES = "sum(i * i for i in range(250_000))"


@pytest.mark.parametrize(
    "planted", [SLEEPS, pytest.param(COMPUTES, marks=pytest.mark.long)], ids=["sleeps", "computes"]
)
def test_a_slow_line_in_a_preparation_is_named_and_found(tmp_path: Path, planted: str) -> None:
    written(tmp_path / "toy")
    (tmp_path / "logs").mkdir()
    script = tmp_path / "service.py"
    script.write_text(SERVICE.replace("PLANTED", planted).replace("TARGET", str(TARGET_S)))
    line = next(number for number, text in enumerate(script.read_text().splitlines(), 1) if planted in text)
    with dashboard(tmp_path) as ask, process([sys.executable, str(script)], tmp_path):
        place = until(lambda: (tmp_path / "places.txt").read_text() if (tmp_path / "places.txt").exists() else None)
        stop = threading.Event()
        client = threading.Thread(target=load, args=(place, stop))
        client.start()
        try:
            time.sleep(USUAL_S)
            (tmp_path / "slow").touch()
            from_s = time.time()
            time.sleep(SLOW_S)
            to_s = time.time()
            verdict = until(lambda: answered(ask, from_s + 1, to_s - 1))
            found = until(
                lambda: [row for row in ask("/findings?run=svc")["findings"] if row["rule"] == "slow_answers"]
            )
            ledger = ask(f"/ledger?run=svc&from={from_s + 1}&to={to_s - 1}")
        finally:
            stop.set()
            client.join()
    assert (verdict["verdict"], verdict["place"]) == ("line", f"widen (service.py:{line})"), verdict["sentence"]
    assert verdict["confidence"] in ("high", "medium") and not verdict["contradiction"], verdict
    assert verdict["answer_s"][0] > 2 * verdict["answer_s"][1]
    assert "target is 20 ms" in found[0]["sentence"]
    shares = {row["kind"]: row["share"] for row in ledger["rows"]}
    assert sum(shares.values()) == pytest.approx(100, abs=0.1) and shares["idle"] > 0
    assert any(part["line"] == line for row in ledger["rows"] for part in row["lines"])


def answered(ask: Callable[[str], Any], from_s: float, to_s: float) -> Any | None:
    """Once stacks and lines of the window are there."""
    verdict = ask(f"/blame?run=svc&from={from_s}&to={to_s}")
    known_until_s = verdict["profile_until"] or 0.0
    return verdict if known_until_s > to_s and verdict["answer_s"] is not None else None


def load(place: str, stop: threading.Event) -> None:
    """One connection, a request after the other, no more than `RATE` a second."""
    connection = http.client.HTTPConnection(place, timeout=WITHIN_S)
    body = json.dumps({"model": "toy", "input": [[1, 2, 3, 4]]})
    while not stop.is_set():
        begun_s = time.monotonic()
        connection.request("POST", "/v1/infer", body)
        connection.getresponse().read()
        stop.wait(max(0.0, 1 / RATE - (time.monotonic() - begun_s)))
    connection.close()


@contextmanager
def dashboard(folder: Path) -> Iterator[Callable[[str], Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--log-dir", str(folder / "logs")]

    def ask(path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
        connection.request("GET", f"/api/v1{path}")
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status == 200, text
        return json.loads(text)

    def is_up() -> Any | None:
        try:
            return ask("/runs")
        except OSError:
            return None

    with process([*command, "--data-dir", str(folder / "data")], ROOT):
        until(is_up)
        yield ask


@contextmanager
def process(command: list[str], folder: Path) -> Iterator[None]:
    running = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(WITHIN_S)


def until(look: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError("not within a minute")
