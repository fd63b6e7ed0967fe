"""Programs as the libraries' own documents show them, which know nothing of the dashboard: each has a curve, a log and stacks.

They run as the README says, and log as they would without it. `make test-integrations`
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, wait_for
from tests.integrations.environment import PYTHON, SKIPPED, is_ready, plain_environment

EXAMPLES = Path(__file__).parent / "examples"
CURVES = {  # the first series that a user looks for, and what it is read from
    "mnist": ("loss", "text"),
    "fashion": ("Loss/train", "file"),
    "autoencoder": ("train_loss", "file"),
    "classification": ("loss", "text"),
    "full_training": ("loss", "text"),
}
WITHIN_S = 30.0


@contextmanager
def started(example: str, folder: Path) -> Iterator[str]:
    """The address of the dashboard that shows it."""
    command = [sys.executable, str(ROOT / "app.py"), "run", "--", str(PYTHON), str(EXAMPLES / f"{example}.py")]
    with (folder / "printed.txt").open("wb") as printed:
        process = subprocess.Popen(command, cwd=folder, stdout=printed, stderr=subprocess.PIPE, env=plain_environment())
    assert process.stderr is not None
    try:
        announced = b""
        while not (found := re.search(rb"deepseek-dashboard: (http://\S+) shows", announced)):
            line = process.stderr.readline()
            assert line, announced.decode()
            announced += line
        yield found[1].decode()
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()


def ask(address: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{address}{path}") as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return {}  # not there yet


def first_point_s(address: str, series: str) -> float | None:
    """When the first point of the curve was written."""
    for run in ask(address, "/api/v1/runs").get("runs", []):
        found = ask(address, f"/api/v1/curves?run={run['run']}&expr={series}&buckets=20000").get("curves", [])
        if found and found[0]["x"]:
            return float(found[0]["x"][0])
    return None


def has_log(address: str, run: str) -> bool:
    """Lines, or the state of a progress bar, which is all that some programs print."""
    log = ask(address, f"/api/v1/logs?run={run}")
    return bool(log.get("lines") or log.get("bars"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("example", CURVES)
def test_an_example_of_a_library_has_a_curve_a_log_and_stacks(example: str, tmp_path: Path) -> None:
    if not is_ready("short"):
        pytest.skip(SKIPPED)
    series, _ = CURVES[example]
    with started(example, tmp_path) as address:
        wait_for(lambda: ask(address, "/healthz").get("collectors"), 60, "the dashboard does not answer")
        ready_s = time.time()
        written_s = wait_for(lambda: first_point_s(address, series), 100, f"no {series}")
        assert time.time() - max(written_s, ready_s) < WITHIN_S
        (run,) = (row["run"] for row in ask(address, "/api/v1/runs")["runs"] if "/" not in row["run"])
        wait_for(lambda: has_log(address, run), 60, "no log")
        wait_for(
            lambda: ask(address, f"/api/v1/flame?run={run}&from={time.time() - 60}&to={time.time()}").get("samples"),
            60,
            "no stacks",
        )
