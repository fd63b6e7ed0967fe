"""GPUs as the client and the MCP server show them: eight recorded ones behind a real NVML library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from dashboard.mcp import answered
from deepseek.client import Dashboard
from tests import fake_nvml
from tests.conftest import Dashboard as RunningDashboard
from tests.conftest import dashboard, wait_for

GPUS = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    folder = tmp_path_factory.mktemp("gpus")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fake_nvml.environment(folder, fake_nvml.eight_gpus(os.getpid())).items():
            patch.setenv(name, value)
        with dashboard(folder / "logs", "--no-profile") as running:
            wait_for(lambda: len(running.get("/api/v1/gpus")["gpus"]) == GPUS)
            wait_for(lambda: "gpu/power_w" in running.get("/api/v1/gpus")["gpus"][0]["latest"])
            yield running


@pytest.fixture(scope="module")
def client(running: RunningDashboard) -> Dashboard:
    return Dashboard(running.address)


def test_a_gpu_is_a_row_with_its_metrics_as_columns(running: RunningDashboard, client: Dashboard) -> None:
    def same() -> bool:
        """Values come several times a second: a cell is that of the answer before or of the one after."""
        before, table, after = running.get("/api/v1/gpus")["gpus"], client.gpus(), running.get("/api/v1/gpus")["gpus"]
        return (
            len(table) == GPUS
            and all(
                is_cell(table[name].iloc[place], [side[place][name] for side in (before, after)])
                for place in range(GPUS)
                for name in before[place].keys() - {"latest"}
            )
            and all(
                is_cell(table[name].iloc[place], [side[place]["latest"].get(name) for side in (before, after)])
                for place in range(GPUS)
                for name in before[place]["latest"]
            )
        )

    wait_for(same, 20)


def is_cell(ours: Any, theirs: list[Any]) -> bool:
    return any(ours == value or (value is None and pd.isna(ours)) for value in theirs)


def test_processes_are_those_of_the_api(running: RunningDashboard, client: Dashboard) -> None:
    theirs = running.get("/api/v1/processes")["processes"]
    assert len(client.processes()) == len(theirs) > 0
    assert client.processes()["pid"].tolist() == [row["pid"] for row in theirs]


def test_a_metric_has_a_column_for_each_gpu(client: Dashboard) -> None:
    table = client.points(None, "gpu/power_w")
    assert len(table.columns) == GPUS and (table.max() > 0).all()
    assert client.points(None, "gpu/power_w", gpu=3).shape[1] == 1
    assert set(table.attrs["unit"].values()) == {"W"}


def test_an_assistant_sees_all_of_them_small(client: Dashboard) -> None:
    text, is_error = answered(lambda: client, "gpus", {})
    answer = json.loads(text)
    assert not is_error and len(text.encode()) <= 4096
    assert [row[0] for row in answer["rows"]] == list(range(GPUS))
    power = answer["columns"].index("power_w")
    assert all(row[power] > 0 for row in answer["rows"])
    assert "gpu/power_w" in json.loads(answered(lambda: client, "points", {"series": "gpu/power_w"})[0])["units"]
    one = json.loads(answered(lambda: client, "gpus", {"gpu": 2})[0])
    assert {"gpu/power_w", "gpu/temperature_c"} <= {row[1] for row in one["rows"]}
    assert json.loads(answered(lambda: client, "gpus", {"gpu": 99})[0])["rows"] == []
