"""Where things stand on the pages, at the widths of a screen, half a screen and a phone: nothing is cut off, lies over its neighbour or jumps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page

from dashboard.pages import pages
from tests import fake_nvml
from tests.conftest import Dashboard, dashboard, script, wait_for

TRAINER = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="busy") as log:
    for step in range(1_000_000):
        with log.phase("data"):
            time.sleep(0.02)
        with log.phase("step"):
            for part in ("forward", "backward", "optimizer", "log"):
                with log.phase(part):
                    time.sleep(0.01)
        gpu = {f"gpu_phase/{part}_s": 0.01 for part in ("forward", "backward", "optimizer")}
        log.scalars(step, {"train/loss": float("nan") if step % 50 > 40 else 1.0, "train/lr": 3e-4, **gpu})
        log.text(f"step {step}" + 30 * " is going on")
"""
EXPECTED_ERRORS = ("/nowhere",)  # it has no page
SIZES = ((1440, 900), (1000, 700), (390, 844))
MAX_SHIFT = 0.02  # of the page, all together while it loads: https://web.dev/articles/cls
CALM_S = 1.0  # next to nothing has moved for so long
WATCH_SHIFTS = """
    globalThis.shifts = [];
    new PerformanceObserver((list) => {
      for (const { value, hadRecentInput, sources } of list.getEntries())
        if (!hadRecentInput) shifts.push([value, sources.map(({ node }) => node?.className ?? "")]);
    }).observe({ type: "layout-shift", buffered: true });
"""
CRASHER = """
import sys
from deepseek.log import RunLog

log = RunLog(sys.argv[1], "crash")
for step in range(200):
    log.scalars(step, {"loss": 1 / (1 + step)})
raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
"""
SWEEP = "".join(f"&runs=sweep/{i}" for i in range(12))
PATHS_OF_ODD_RUNS = (
    "/?run=crash",
    "/logs?run=crash",
    "/logs?run=busy&log=going&level=warning&span=600",
    f"/training?run=old{SWEEP}",
    "/samples?run=old",
    "/jobs",
)
MARKS = {  # what a page without lanes of its own is about
    "/alerts": ".alerts-page",
    "/boards": ".board-chart canvas",
    "/jobs": ".jobs-view",
    "/logs": ".log-rows .entry",
    "/runs": ".ag-row",
    "/samples": ".samples-page",
    "/settings": ".settings-page",
}
FAULTS = """() => {
  const faults = [];
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility({ visibilityProperty: true }));
  const box = (element) => element.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is wider than the window");
  const head = shown(".verdict > *");
  for (const a of head) for (const b of head) if (a !== b && meet(box(a), box(b))) faults.push(`${a.className} lies over ${b.className}`);
  for (const one of shown(".figure .v, .bar .nav a, .when > *"))
    if (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline") faults.push(`cut off: ${one.innerText}`);
  for (const lane of shown(".lane:not(.folded)")) {
    const [values, plot] = [lane.querySelector(".vals"), lane.querySelector(".plot")].map((one) => one && box(one));
    if (values?.height && meet(values, plot)) faults.push(`${lane.dataset.lane}: the values lie over the plot`);
    for (const row of lane.querySelectorAll(".row"))
      if (innerWidth > 639 && box(row).bottom > box(lane).bottom + 1) faults.push(`${lane.dataset.lane}: cut off: ${row.innerText}`);
  }
  return faults;
}"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Eight cards, a live run with phases that hold others, and one of ten days ago."""
    folder = tmp_path_factory.mktemp("layout")
    log_dir = folder / "logs"
    (log_dir / "old").mkdir(parents=True)
    first_s = time.time() - 10 * 86400
    lines = [json.dumps({"time_s": first_s + step, "step": step, "loss": 1 / (1 + step)}) for step in range(200)]
    (log_dir / "old" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for name in (f"sweep/{i}" for i in range(12)):
        (log_dir / name).mkdir(parents=True)
        (log_dir / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "crash.py").write_text(CRASHER)
    subprocess.run([sys.executable, str(folder / "crash.py"), str(log_dir)], capture_output=True, timeout=60)
    with script(TRAINER, str(log_dir)) as trainer, ExitStack() as started:
        with pytest.MonkeyPatch.context() as patch:  # of the dashboard alone
            for name, value in fake_nvml.environment(folder, fake_nvml.eight_gpus(trainer.pid)).items():
                patch.setenv(name, value)
            running = started.enter_context(dashboard(log_dir))
        wait_for(lambda: running.run("busy").get("last_step", 0) > 100, because="the run does not get on")
        yield running


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("empty") / "logs", "--no-profile") as running:
        yield running


@pytest.fixture
def page(page: Page) -> Page:
    page.add_init_script(WATCH_SHIFTS)
    return page


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "path",
    [
        "/?run=busy",
        "/?run=old",
        "/flame?run=busy",
        "/flame?run=old",
        "/hosts",
        "/runs?runs=busy&runs=old",
        "/training?run=busy",
        *(f"{page.path}?run=busy" for page in pages() if page.path not in ("/", "/flame", "/hosts", "/training")),
    ],
)
def test_nothing_is_cut_off_or_lies_over_its_neighbour_or_jumps(
    running: Dashboard, page: Page, path: str, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(running.address + path)
    wait_for(lambda: arrived(page, path), because="the page does not arrive")
    assert page.evaluate(FAULTS) == []
    assert_still(page)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_empty_folder_says_how_to_start_within_the_window_and_nothing_jumps(
    empty: Dashboard, page: Page, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(empty.address)
    command = page.locator("#react-entry-point .first-run pre", has_text="python train.py")
    command.wait_for()
    box = command.bounding_box()
    assert box and box["y"] + box["height"] < height
    assert page.locator(".no-runs .panel, .no-runs .lane, .no-runs .verdict").locator("visible=true").count() == 0
    assert_still(page)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("path", PATHS_OF_ODD_RUNS)
def test_nothing_jumps_with_a_crash_with_many_runs_or_with_an_address_that_asks_for_much(
    running: Dashboard, page: Page, path: str, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(running.address + path)
    page.wait_for_selector("#react-entry-point .page > *")
    assert_still(page)


def test_a_crash_is_said_once_and_its_lines_are_in_the_panel(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=crash")
    frame = page.locator(".panel .crash li a").first
    frame.wait_for()
    assert "crash.py:8" in frame.inner_text()
    said = page.locator(".live-page").inner_text().count("GPU ran out of memory")
    assert said == 1


def assert_still(page: Page) -> None:
    """All that moved while the page loaded, until it is calm."""
    shifts: list[tuple[float, Any]] = []
    while moved(shifts) != moved(shifts := page.evaluate("() => globalThis.shifts")):
        time.sleep(CALM_S)
    assert moved(shifts) < MAX_SHIFT, shifts


def moved(shifts: list[tuple[float, Any]]) -> float:
    """Rounded: what follows the time moves on by a pixel."""
    return round(sum(value for value, _ in shifts), 3)


def arrived(page: Page, path: str) -> bool:
    """What it is about is drawn, or the sentence in its place is there."""
    if path == "/flame?run=old":
        return "not running during this run" in page.locator(".graph-place").inner_text()
    if path == "/flame?run=busy":
        return page.locator(".flame-side .title").inner_text() != ""
    if (mark := MARKS.get(path.partition("?")[0])) is not None:
        return page.locator(f"#react-entry-point {mark}").count() > 0
    if path.startswith("/training"):
        charts: bool = page.evaluate("() => Object.keys(globalThis.deepseekPainted?.curves ?? {}).length > 2")
        return charts and page.locator("#training-size").count() > 0
    drawn: bool = page.evaluate(
        "() => Object.values(globalThis.deepseekPainted?.drawn ?? {}).some((one) => one?.count > 0)"
    )
    return drawn and page.locator(".arriving").count() == 0


def test_beside_gpus_the_host_has_its_lanes_and_the_phases_of_step_and_gpu_are_drawn(
    running: Dashboard, page: Page
) -> None:
    page.goto(f"{running.address}/?run=busy")
    wait_for(lambda: arrived(page, "/?run=busy"), because="the page does not arrive")
    lanes: list[str] = page.locator("section.lane").evaluate_all("lanes => lanes.map((lane) => lane.dataset.lane)")
    assert lanes[:3] == ["loss", "phases", "gpu_phases"]
    assert {"heat", "cpu", "host_memory"} <= set(lanes)
    assert lanes.index("heat") < lanes.index("cpu")
    phases = page.locator('[data-lane="phases"]')
    wait_for(
        lambda: "parts of step" in phases.inner_text(), because="the phase that holds the others is drawn beside them"
    )
    drawn_ms = float(phases.locator(".row.main b").inner_text())
    named = "expr=phase/data_s&expr=phase/step_s"
    held = running.get(f"/api/v1/curves?run=busy&{named}&buckets=1")["curves"]
    assert drawn_ms <= 1 + 1e3 * sum(curve["max"][0] for curve in held), "a part of the step is drawn twice"


def test_along_time_training_draws_the_machine_and_the_cards_of_the_run_alone(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/training?run=busy&x=time&q=gpu%2Fut*&match=glob&size=s")
    tag = "gpu/utilization_pct"
    drawn = wait_for(
        lambda: page.evaluate("(tag) => globalThis.deepseekPainted?.curves[tag]", tag),
        because="the cards are not drawn",
    )
    (process,) = running.get("/api/v1/run?run=busy")["processes"]
    assert drawn["curves"] == (len(process["gpus"]) or 8)
    assert page.locator(".curves-head").first.inner_text().split("\n")[1] == "GPUs of this machine"


@pytest.mark.parametrize("width", [360, 390, 640, 1000, 1440, 1920])
def test_the_bar_has_seven_entries_that_never_move(running: Dashboard, page: Page, width: int) -> None:
    """Nor does the range of time, on the pages that have one. Every page is in the bar, among its tabs, in the menu, or the bell."""
    page.set_viewport_size({"width": width, "height": 800})
    places = set()
    for path in ("/", "/hosts", "/settings", "/flame"):
        page.goto(f"{running.address}{path}?run=busy")
        page.wait_for_selector("#content .page > *", state="attached")
        links = page.locator(".nav a")
        boxes = [link.bounding_box() for link in [*links.all(), page.locator("#search"), page.locator(".bell")]]
        places.add(json.dumps(boxes))
        room = page.locator(".nav").bounding_box()
        assert room and all(box and box["x"] + box["width"] <= room["x"] + room["width"] + 1 for box in boxes[:7])
        assert links.count() == 7
    assert len(places) == 1
    linked = page.evaluate(
        "() => [...new Set([...document.querySelectorAll('a[data-page]')].map((link) => link.pathname))]"
    )
    assert sorted(linked) == sorted(page.path for page in pages())
    button = page.get_by_role("button", name="Menu")
    button.click()
    menu, beside = page.locator("#menu").bounding_box(), button.bounding_box()
    assert menu and beside and menu["y"] > beside["y"] and menu["x"] > width / 4
    assert menu["x"] + menu["width"] <= width, "it lies below its button"
    page.locator("#menu").get_by_role("link", name="Settings").click()
    page.wait_for_url("**/settings?**")


@pytest.mark.parametrize(("theme", "ground"), [("dark", "rgb(15, 18, 20)"), ("light", "rgb(252, 252, 251)")])
def test_an_address_without_a_page_follows_the_theme(empty: Dashboard, page: Page, theme: str, ground: str) -> None:
    page.goto(empty.address)
    page.evaluate("(theme) => localStorage.setItem('theme', theme)", theme)
    page.goto(f"{empty.address}/nowhere")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == ground


def test_a_lane_at_full_size_has_an_address_and_back_returns_to_the_lanes(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=busy")
    wait_for(lambda: arrived(page, "/?run=busy"), because="the page does not arrive")
    full = page.locator(".timeline.fills .lane.is-full")
    page.locator('.lane[data-lane="loss"] .plot').focus()
    page.keyboard.press("Enter")
    full.wait_for()
    assert "lane=loss" in page.url
    page.go_back()
    full.wait_for(state="detached")
    assert "lane=" not in page.url and page.locator(".live-page").is_visible()
    page.goto(f"{running.address}/?run=busy&lane=loss")
    full.wait_for()
    page.keyboard.press("Escape")
    full.wait_for(state="detached")
    assert "lane=" not in page.url


def test_the_csv_of_a_lane_holds_what_was_logged(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=old")
    wait_for(lambda: arrived(page, "/?run=old"), because="the page does not arrive")
    page.locator('.lane[data-lane="loss"] .plot').focus()
    with page.expect_download() as download:
        page.keyboard.press("e")
    head, first, *rest = download.value.path().read_text().splitlines()
    assert head.split(",") == ["run", "series", "labels", "segment", "step", "time_s", "value"]
    assert len(rest) == 199 and first.split(",")[4] == "0" and first.split(",")[-1] == "1.0"


def test_each_gpu_has_a_tile(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/hosts")
    wait_for(lambda: arrived(page, "/hosts"), because="the page does not arrive")
    tiles = page.locator(".gpu-tile")
    assert tiles.count() == 8
    wait_for(lambda: "°C" in tiles.last.inner_text() and "%" in tiles.last.inner_text(), because="a tile is empty")
