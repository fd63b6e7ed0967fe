"""The Hosts page, `/gpus` of the API, `/processes` and `/metrics` on a node of eight cards: a real dashboard over the fake NVML, a real Chromium."""

from __future__ import annotations

import ctypes.util
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pynvml
import pytest
from playwright.sync_api import Page
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from collectors import catalog
from collectors.machine.inventory import NO_DRIVER
from dashboard.api import machine
from tests import fake_nvml
from tests.conftest import Dashboard, dashboard, script, wait_for

EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED",)  # the server may end before the page
TRAINER = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="on-gpus") as log:
    for step in range(1_000_000):
        time.sleep(0.05)
        log.scalars(step, {"train/loss": 1.0})
"""
LIVE_HEAT = '.lane[data-lane="heat"]'
HEAT = '.lane[data-lane="gpu/utilization_pct"]'
NO_DRIVER_TEXT = NO_DRIVER
DRIVER_NOT_LOADED_TEXT = "The NVIDIA library is installed, but its driver is not loaded: showing the host."


class Node(NamedTuple):
    running: Dashboard
    control: fake_nvml.Shared
    trainer_pid: int


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Eight cards, all of them used by one run, and one of them by a small process beside it."""
    folder = tmp_path_factory.mktemp("node")
    log_dir = folder / "logs"
    log_dir.mkdir()
    with script(TRAINER, str(log_dir)) as trainer, ExitStack() as started:
        with pytest.MonkeyPatch.context() as patch:  # of the dashboard alone
            cards = fake_nvml.eight_gpus(trainer.pid) + f"process 6 {os.getpid()} 5e8 3 compute\n"
            for name, value in fake_nvml.environment(folder, cards).items():
                patch.setenv(name, value)
            control = fake_nvml.Control(folder / "control")
            running = started.enter_context(dashboard(log_dir, "--no-profile"))
        yield Node(running, control.shared, trainer.pid)


def drawn(page: Page) -> set[str]:
    """Names of the series that have been painted."""
    names: list[str] = page.evaluate("() => Object.keys(globalThis.deepseekPainted?.drawn ?? {})")
    return set(names)


def heat_rows(page: Page, lane: str = HEAT) -> list[str]:
    """`["GPU 0 97%", ...]`: what stands beside the heat strip."""
    return [" ".join(row.split()) for row in page.locator(f"{lane} .row").all_inner_texts()]


def metrics(running: Dashboard) -> dict[str, Family]:
    with urllib.request.urlopen(running.address + "/metrics") as answer:
        assert answer.headers["Content-Type"] == machine.CONTENT_TYPE
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_eight_gpus_arrive_with_a_lane_a_metric_and_the_measured_sample_period(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts")
    wait_for(
        lambda: len(heat_rows(page)) == 8 and all(row.endswith("%") for row in heat_rows(page)),
        because="not eight rows",
    )
    wanted = {
        "gpu/sm_active_pct",
        "gpu/memory_used_bytes",
        "gpu/power_w",
        "gpu/temperature_c",
        "gpu/sm_clock_mhz",
        "gpu/pcie_rx_bytes_per_s",
    }
    wait_for(lambda: wanted <= drawn(page), because="lanes are missing")
    wait_for(
        lambda: "over each 167 ms" in page.inner_text(".reading"), because="the page does not tell the sample period"
    )
    assert "8 GPUs" in page.inner_text(".verdict")


def test_every_other_metric_is_one_key_away(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/gpus?all=1")  # as older versions called it
    assert "/hosts?all=1" in page.url
    host = {row["name"] for row in node.running.get("/api/v1/series")["series"] if row["name"].startswith("host/")}
    shown = {metric.name for source in catalog.GPU for metric in source.metrics} | host
    assert len(host) > 10
    told_otherwise = {"gpu/clock_event_reasons", "gpu/xid"}  # in words, and as marks
    wait_for(lambda: shown - told_otherwise <= drawn(page) | limits(), because="metrics are missing")
    page.keyboard.press("m")
    wait_for(lambda: "more metrics" in page.inner_text(".further"), because="they do not go away again")
    wait_for(lambda: "all=" not in page.url, because="the address says otherwise")


def limits() -> set[str]:
    """Drawn as limits of lanes."""
    return {
        "gpu/memory_total_bytes",
        "gpu/power_limit_w",
        "gpu/temperature_slowdown_c",
        "gpu/sm_clock_max_mhz",
        "gpu/memory_clock_max_mhz",
        "host/memory_total_bytes",
        "host/cgroup_memory_limit_bytes",
    }


def test_a_process_leads_to_the_flame_graph_of_its_run(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts")
    row = page.locator(f'.processes tbody[data-pid="{node.trainer_pid}"]')
    wait_for(lambda: "0–7" in row.inner_text(), because="the process is not listed")
    told = row.inner_text()
    assert "476.8" in told, "64 GB on each of eight cards"
    assert "96" in told
    row.get_by_role("link").click()
    wait_for(
        lambda: page.evaluate("() => document.querySelector('.picker')?.value") == "on-gpus",
        because="not the run's page",
    )
    wait_for(lambda: page.url.startswith(f"{node.running.address}/flame?"), because="the address says otherwise")


def test_a_dragged_window_is_the_same_on_the_flame_page(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts?theme=light")
    wait_for(lambda: "gpu/utilization_pct" in drawn(page), because="nothing drawn")
    surface = page.locator(".surface").bounding_box()
    assert surface is not None
    right = surface["x"] + surface["width"] - 10
    page.mouse.move(right - 200, surface["y"] + 40)
    page.mouse.down()
    page.mouse.move(right, surface["y"] + 40, steps=5)
    page.mouse.up()
    window = wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted.window"), because="no window was selected"
    )
    wait_for(lambda: "from=" in page.url, because="the address says otherwise")
    page.get_by_role("link", name="Flame graph of this window").click()
    wait_for(
        lambda: page.locator("#bar a[aria-current]").inner_text().endswith("Flame"), because="not on the Flame page"
    )
    there = wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted?.window"), because="the window is lost on the way"
    )
    assert there == pytest.approx(window, abs=0.002)
    assert page.evaluate("() => document.documentElement.dataset.theme") == "light"
    page.keyboard.press("7")
    wait_for(
        lambda: page.locator("#bar a[aria-current]").inner_text().endswith("Hosts"), because="key 7 does not lead back"
    )
    assert wait_for(lambda: page.evaluate("() => globalThis.deepseekPainted?.window"), 20) == pytest.approx(
        window, abs=0.002
    )


def test_the_api_tells_the_latest_values_and_the_run_of_a_process(node: Node) -> None:
    def gpus() -> list[Any]:
        found: list[Any] = node.running.get("/api/v1/gpus")["gpus"]
        return found

    def processes() -> set[tuple[Any, ...]]:
        found = node.running.get("/api/v1/processes")["processes"]
        return {(one["gpu"], one["pid"], one["run"], one["rank"]) for one in found}

    assert [gpu["index"] for gpu in gpus()] == list(range(8))
    wait_for(lambda: min(len(gpu["latest"]) for gpu in gpus()) > 40, because="too few metrics")
    assert gpus()[0]["latest"]["gpu/memory_used_bytes"] == 66e9
    assert set(gpus()[0]["clock_reasons"]) <= set(catalog.CLOCK_EVENT_REASONS.values())
    wanted = {*((gpu, node.trainer_pid, "on-gpus", 0) for gpu in range(8)), (6, os.getpid(), None, None)}
    wait_for(lambda: processes() == wanted, because="the processes have not all their run")


def test_prometheus_reads_every_metric_of_all_cards(node: Node) -> None:
    rows = [metric for source in catalog.GPU for metric in source.metrics if metric.name != "gpu/xid"]
    wanted = {machine.name_of(metric) for metric in rows}
    wait_for(lambda: wanted <= metrics(node.running).keys(), because="metrics are missing")
    told = metrics(node.running)
    assert {len(told[name].samples) for name in wanted} == {8}
    labels = told["deepseek_gpu_power_watts"].samples[5].labels
    assert labels == labels | {"gpu": "5", "modelName": "NVIDIA H100 80GB HBM3"}
    assert {"UUID", "Hostname"} <= labels.keys()


def test_a_lost_gpu_leaves_seven_lanes_and_says_why(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts")
    wait_for(lambda: len(heat_rows(page)) == 8, because="not eight rows")
    node.control.xid[3], node.control.gpu_error[3] = 79, pynvml.NVML_ERROR_GPU_IS_LOST
    wait_for(lambda: "GPU 3 lost" in heat_rows(page), because="the strip does not show the loss")
    clock = time.strftime("%H:%M:", time.localtime(node.running.get("/api/v1/gpus")["gpus"][3]["since_s"]))
    wait_for(lambda: "(XID 79)" in page.inner_text(".finding"), because="the reason is not told")
    assert f"GPU 3 stopped answering at {clock}" in page.inner_text(".finding")
    assert "7 of 8 GPUs" in page.inner_text(".verdict")
    wait_for(lambda: [row.endswith("%") for row in heat_rows(page)].count(True) == 7, because="not seven working rows")
    before = newest_by_gpu(node)
    page.goto(f"{node.running.address}/")
    wait_for(lambda: "GPU 3 lost" in heat_rows(page, LIVE_HEAT), because="the Live page does not show the loss")
    assert "(XID 79)" in page.inner_text(".verdict")
    after = wait_for(lambda: advanced(before, newest_by_gpu(node), 7), because="the others do not go on")
    assert after["3"] == before["3"]
    up = {sample.labels["gpu"]: sample.value for sample in metrics(node.running)["deepseek_gpu_up"].samples}
    assert up == {str(gpu): float(gpu != 3) for gpu in range(8)}
    assert len(metrics(node.running)["deepseek_gpu_power_watts"].samples) == 7


def test_a_card_that_several_processes_use_is_marked_as_shared(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts")
    wait_for(lambda: len(page.locator(".gpu-tile").all()) == 8, because="no tiles")
    expected = ["", "", "", "", "", "", "shared by 2", ""]
    wait_for(
        lambda: page.locator(".tile-shared").all_inner_texts() == expected, because="not the one card that is shared"
    )


def newest_by_gpu(node: Node) -> dict[str, float]:
    told = node.running.get("/api/v1/series?match=gpu/utilization_pct")["series"]
    return {one["labels"]["gpu"]: one["last_time_s"] for one in told}


def advanced(before: dict[str, float], after: dict[str, float], gpus: int) -> dict[str, float] | None:
    """`after`, when so many GPUs have newer points."""
    return after if sum(after[gpu] > before[gpu] for gpu in before) >= gpus else None


def test_a_gpu_that_was_lost_before_the_start_is_found_by_its_index(node: Node, page: Page) -> None:
    page.goto(f"{node.running.address}/hosts")
    told: Any = page.evaluate(
        """async () => {
          const { lostSince } = await import("/assets/data/gpu_states.js");
          const card = (index, uuid, state) => ({ index, uuid, state, since_s: state === "lost" ? 500 : null });
          const meta = (gpu, uuid, last_time_s) => ({ name: "gpu/power_w", labels: { gpu: String(gpu), uuid }, last_time_s });
          const machine = [meta(0, "A", 900), meta(1, "B", 400), meta(1, "B", 410), meta(2, "C", 505)];
          return [...lostSince([card(0, "A", "ok"), card(1, "", "lost"), card(2, "C", "lost")], machine)];
        }"""
    )
    assert dict(told) == {"B": 410, "C": 500}


def test_a_machine_without_a_gpu_says_so_and_shows_the_host(tmp_path: Path, page: Page) -> None:
    if ctypes.util.find_library("nvidia-ml"):
        pytest.skip("this machine has a driver")
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        page.goto(f"{running.address}/hosts")
        wait_for(
            lambda: {"host/cpu_pct", "host/memory_used_bytes", "host/cpu_core_pct"} <= drawn(page),
            because="no host lanes",
        )
        wait_for(lambda: page.inner_text(".finding") == NO_DRIVER_TEXT, because="not one clear sentence")
        assert page.locator(".side").is_visible(), "the host's processes are there without a GPU"
        assert running.get("/api/v1/gpus") == {"gpus": [], "note": NO_DRIVER_TEXT, "looks": []}


def test_a_library_without_its_driver_says_so_and_shows_the_host(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml.build(tmp_path / "library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "library"))
    monkeypatch.delenv("FAKE_NVML_TRACE", raising=False)
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        page.goto(f"{running.address}/hosts")
        wait_for(lambda: "host/cpu_pct" in drawn(page), because="no host lanes")
        wait_for(lambda: page.inner_text(".finding") == DRIVER_NOT_LOADED_TEXT, because="not one clear sentence")
