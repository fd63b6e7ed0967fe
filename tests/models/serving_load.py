"""The load programs and the peers run: what they measure on an idle machine is kept in benchmarks/results/."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.integrations.environment import ROOT

WITHIN_S = 900.0


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
def test_all_servers_bear_a_little_of_the_load() -> None:
    for package in ("litserve", "ray"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "MODELS_SCALE": "tiny"}
    command = [sys.executable, "-m", "benchmarks.models.serving"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    for row in (
        "bare FastAPI",
        "bare grpc.aio",
        "poisson, 150 %",
        "loaded anew",
        "of another request",
        "litserve's rate",
        "ray's rate",
    ):
        assert row in done.stdout, done.stdout
    mine = next(line for line in done.stdout.splitlines() if "requests failed while the model is loaded anew" in line)
    assert " 0 " in mine, mine
