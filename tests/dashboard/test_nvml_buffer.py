"""Utilization of GPUs from the driver's own buffer of samples."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from collectors.machine import gpu
from collectors.machine.nvml import NvmlCollector
from collectors.records import Points
from collectors.store.engines import open_store
from dashboard import api
from dashboard.queries import Queries
from tests import fake_nvml
from tests.support.replayed_gpus import Machine, collect_until, values_of
from tests.support.replayed_gpus import library as library  # a fixture
from tests.support.replayed_gpus import machine as machine  # a fixture


def test_a_dip_between_two_polls_is_kept_by_the_drivers_own_buffer(machine: Machine) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4))
    points = poll_each_second(collector, control, seconds=3)
    assert min(values_of(points, "gpu/utilization_pct")) <= 20
    lowest = [record.time_s for record in points if record.names == ("gpu/utilization_pct",) and record.values[0] <= 20]
    assert all(1.3 <= time_s - control.epoch_s <= 1.9 for time_s in lowest if time_s)
    assert collector.inventory().gpus[0].sample_period_s == pytest.approx(1 / 6, abs=0.001)


def test_without_the_buffer_the_same_dip_is_missed(machine: Machine) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4) + "lacks * samples\n")
    assert min(values_of(poll_each_second(collector, control, seconds=3), "gpu/utilization_pct")) > 90


@pytest.mark.parametrize(("lacks", "lowest_pct"), [("", (0, 20)), ("lacks * samples\n", (90, 100))])
def test_the_dip_reads_in_points_what_the_buffer_kept_of_it(
    machine: Machine, tmp_path: Path, lacks: str, lowest_pct: tuple[float, float]
) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4) + lacks)
    store = open_store(tmp_path / "store", write=True)
    store.append(poll_each_second(collector, control, seconds=3))
    app = FastAPI()
    api.register(app, Queries(store, tmp_path, tmp_path / "store"))
    asked = {"expr": 'gpu/utilization_pct{gpu="0"}', "from": control.epoch_s, "to": control.epoch_s + 3}
    with ThreadPoolExecutor(1) as elsewhere:  # this thread has a loop already while a browser is open
        (told,) = elsewhere.submit(asyncio.run, answer(app, "/api/v1/curves", asked)).result()["curves"]
    store.close()
    low, high = lowest_pct
    assert low <= min(told["min"]) <= high


async def answer(app: FastAPI, path: str, parameters: dict[str, object]) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return (await client.get(path, params=parameters)).json()


def poll_each_second(collector: NvmlCollector, control: fake_nvml.Shared, seconds: int) -> list[Points]:
    points = []
    for second in range(seconds + 1):
        time.sleep(max(0.0, control.epoch_s + second - time.time()))
        points += collector.collect()
    return points


def test_no_sample_of_the_buffer_is_told_twice(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper())
    points = collect_until(collector, lambda points: len(values_of(points, "gpu/utilization_pct")) > 10)
    times = [record.time_s for record in points if "gpu/utilization_pct" in record.names]
    assert times == sorted(set(times), key=lambda time_s: time_s or 0)


def test_an_idle_gpu_whose_buffer_is_empty_is_polled(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "POLL_AFTER_S", 0.2)
    collector, _ = machine("gpus 1\n")
    points = collect_until(collector, lambda points: len(values_of(points, "gpu/utilization_pct")) >= 3)
    assert set(values_of(points, "gpu/utilization_pct")) == {0.0}
