"""A client, and the plain HTTP API beside it, of a dashboard with odd runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest

from deepseek.client import Dashboard
from tests.conftest import Dashboard as RunningDashboard
from tests.conftest import dashboard, wait_for
from tests.support.logged import COUNT, WINDOW, write_logs

LO, HI = WINDOW
Raw = Callable[..., Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    log_dir = tmp_path_factory.mktemp("client") / "logs"
    write_logs(log_dir)
    with dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: len(running.get("/api/v1/runs")["runs"]) == COUNT)
        wait_for(lambda: not tail_of(running)["waiting"], because="files are not read")
        yield running


def tail_of(running: RunningDashboard) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in running.get("/healthz")["collectors"] if row["name"] == "tail")
    return found


@pytest.fixture(scope="module")
def client(running: RunningDashboard) -> Dashboard:
    return Dashboard(running.address)


@pytest.fixture(scope="module")
def raw(running: RunningDashboard) -> Raw:
    def ask(route: str, **parameters: object) -> Any:
        given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
        return running.get(f"/api/v1/{route}?{urlencode(given, doseq=True)}")

    return ask


def same(ours: object, theirs: object) -> bool:
    """A cell and what JSON has there."""
    if theirs is None:
        return ours is None or bool(pd.isna(ours))  # type: ignore[call-overload]
    if isinstance(theirs, str) and isinstance(ours, float):
        return bool(np.array_equal(ours, float(theirs), equal_nan=True))
    return type(ours) is not bool and bool(ours == theirs) if not isinstance(theirs, bool) else bool(ours) is theirs


def check_rows(table: pd.DataFrame, found: Sequence[Mapping[str, Any]]) -> None:
    assert len(table) == len(found)
    names = {name for row in found for name in row}
    assert set(table.columns) >= names
    for place, row in enumerate(found):
        wrong = {
            name: (table[name].iloc[place], row.get(name))
            for name in names
            if not same(table[name].iloc[place], row.get(name))
        }
        assert not wrong, f"row {place}"
