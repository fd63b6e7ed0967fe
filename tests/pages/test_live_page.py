"""What a person does on the Live page besides dragging a window: move lanes, pin, filter the log, point, pull the phone's sheet."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.conftest import Dashboard, address, dashboard, drag, script, standing, wait_for

TRAINER = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="steady") as log:
    for step in range(1_000_000):
        time.sleep(0.02)
        log.scalars(step, {"train/loss": 1 + 1 / (1 + step), "train/grad_norm": 0.5})
        if step % 10 == 0:
            log.text(f"step {step} went well")
        if step % 50 == 0:
            log.text(f"shard {step} is missing", "WARNING")
"""
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("live") / "logs"
    log_dir.mkdir()
    with script(TRAINER, str(log_dir)), dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: running.run("steady").get("last_step", 0) > 150, because="the run does not get on")
        yield running


def open_live(running: Dashboard, page: Page, query: str = "") -> None:
    page.goto(f"{running.address}/?{query}")
    wait_for(
        lambda: page.evaluate("() => 'train/loss' in (globalThis.deepseekPainted?.drawn ?? {})"),
        because="no loss on the chart",
    )


def lanes(page: Page) -> list[str]:
    names: list[str] = page.locator("section.lane").evaluate_all("lanes => lanes.map((lane) => lane.dataset.lane)")
    return names


def test_a_lane_is_dragged_by_its_name_and_the_browser_remembers(running: Dashboard, page: Page) -> None:
    open_live(running, page)
    standing(page, '[data-lane="grad_norm"]')
    before = lanes(page)
    name, above = (standing(page, f'[data-lane="{lane}"]') for lane in ("grad_norm", before[0]))
    page.mouse.move(name["x"] + 30, name["y"] + 12)
    page.mouse.down()
    page.mouse.move(above["x"] + 30, above["y"] + 2, steps=20)
    page.mouse.up()
    assert lanes(page) == ["grad_norm", *(lane for lane in before if lane != "grad_norm")]
    assert "folded" not in str(page.locator('[data-lane="grad_norm"]').get_attribute("class")), "a drag is no click"
    open_live(running, page)
    assert lanes(page)[0] == "grad_norm"


def test_a_lane_is_moved_by_keys_and_keeps_the_focus(running: Dashboard, page: Page) -> None:
    open_live(running, page)
    before = lanes(page)
    page.locator('[data-lane="grad_norm"] .name').focus()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    assert lanes(page).index("grad_norm") == before.index("grad_norm") + 2
    page.keyboard.press("Shift+ArrowUp")
    assert lanes(page).index("grad_norm") == before.index("grad_norm") + 1
    page.keyboard.press("Enter")
    assert "folded" in str(page.locator('[data-lane="grad_norm"]').get_attribute("class")), "Enter still folds"


def test_a_lane_keeps_the_focus_when_another_one_appears(running: Dashboard, page: Page) -> None:
    metrics = running.log_dir / "growing" / "metrics.jsonl"
    metrics.parent.mkdir()

    def write(*names: str) -> None:
        with metrics.open("a") as file:
            file.write(json.dumps({"time_s": time.time(), "step": 1, **dict.fromkeys(names, 0.5)}) + "\n")

    write("train/loss", "b")
    open_live(running, page, "run=growing")
    page.locator('[data-lane="other b"] .name').focus()
    write("train/loss", "b", "c")
    wait_for(lambda: "other c" in lanes(page), because="no lane for the new metric")
    before = lanes(page)
    page.keyboard.press("Shift+ArrowUp")
    assert lanes(page).index("other b") == before.index("other b") - 1


def test_a_pinned_window_stays_on_the_axis_and_in_the_address(running: Dashboard, page: Page) -> None:
    open_live(running, page)
    drag(page, 0.5, 0.7)
    told = wait_for(
        lambda: address(page) if "from" in address(page) else None, because="the address does not tell the window"
    )
    window = {name: told[name] for name in ("from", "to")}
    page.keyboard.press("p")
    assert page.locator(".pin").count() == 0, "the selected window has a tag of its own"
    page.keyboard.press("Escape")
    wait_for(lambda: page.locator(".pin").count() == 1, because="the pin is not shown")
    wait_for(lambda: "from" not in address(page), because="the window is still in the address")
    page.reload()
    wait_for(lambda: page.locator(".pin").count() == 1, because="the address does not keep the pin")
    assert page.locator(".pin").bounding_box() is not None
    page.locator(".pin").hover()
    page.mouse.down()
    page.wait_for_timeout(500)  # a slow finger, while the axis moves below it
    page.mouse.up()
    wait_for(
        lambda: {name: address(page).get(name) for name in window} == window,
        because="the pin does not select its window",
    )
    page.keyboard.press("p")
    wait_for(lambda: "pins" not in address(page), because="the pin is not taken away")


def test_the_log_is_filtered_by_text_and_by_level_also_as_it_grows(running: Dashboard, page: Page) -> None:
    open_live(running, page)
    tail = page.locator(".tail")
    wait_for(lambda: "went well" in tail.inner_text(), because="no log lines")
    tail.locator("select").select_option("30")
    wait_for(lambda: "went well" not in tail.locator(".log").inner_text(), because="the level filters nothing")
    seen = tail.locator(".l .m").last.inner_text()
    assert seen.endswith("is missing")
    wait_for(lambda: tail.locator(".l .m").last.inner_text() not in (seen, ""), because="new lines do not come")
    assert tail.locator(".l.warn").count() == tail.locator(".l").count() == 5
    page.keyboard.press("/")
    page.keyboard.type("shard 100 ")
    wait_for(
        lambda: [*tail.locator(".l .m").all_inner_texts()] == ["shard 100 is missing"],
        because="the text filters nothing",
    )
    assert "last 1 of 1 lines that match" in tail.inner_text()
    assert (address(page)["log"], address(page)["level"]) == ("shard 100 ", "30")
    page.keyboard.press("Escape")
    wait_for(lambda: tail.locator(".l").count() == 5, because="Esc does not end the search")


def test_one_crosshair_shows_on_the_lanes_and_in_the_log(running: Dashboard, page: Page) -> None:
    open_live(running, page)
    page.keyboard.press("Space")
    line = page.locator(".tail .l").nth(2)
    line.hover()
    wait_for(
        lambda: page.locator(".cross").is_visible(), because="pointing at a line draws no crosshair over the lanes"
    )
    wait_for(
        lambda: "at" in str(page.locator(".tail .l").nth(2).get_attribute("class")).split(),
        because="the line is not marked",
    )
    page.locator(".tail input").fill("shard 100 ")  # a line that newer ones do not push away
    wait_for(lambda: page.locator(".tail .l").count() == 1, because="the text filters nothing")
    surface = page.locator(".surface").bounding_box()
    assert surface is not None
    page.mouse.move(surface["x"] + surface["width"] - 1, surface["y"] + 40)
    wait_for(lambda: page.locator(".tail .l.at").count() == 1, because="pointing at the lanes marks no line")


def test_the_sheet_of_a_phone_is_pulled_by_its_grip_or_tapped(running: Dashboard, page: Page) -> None:
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    open_live(running, page)
    panel = page.locator(".panel")
    grip = page.locator(".grip").bounding_box()
    assert grip is not None
    assert grip["height"] >= 44
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + 12
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 50, steps=2)
    page.mouse.move(x, y - 250, steps=4)
    wait_for(
        lambda: 330 < panel.evaluate("panel => panel.offsetHeight") < 350,
        because="the sheet does not follow the pointer",
    )
    page.mouse.move(x, 120, steps=6)
    page.mouse.up()
    wait_for(lambda: panel.get_attribute("data-sheet") == "full", because="the sheet does not stay where it was let go")
    page.locator(".grip").focus()
    page.keyboard.press("Enter")
    assert panel.get_attribute("data-sheet") == "peek"


def test_without_motion_nothing_moves_by_itself(running: Dashboard, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    open_live(running, page)
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) => {
          const { transitionDuration, animationName } = getComputedStyle(element);
          return animationName !== "none" || transitionDuration.split(",").some((one) => parseFloat(one) > 0);
        }).map((element) => element.className)"""
    )
    assert moving == []


def test_a_state_that_comes_before_the_series_asks_for_nothing_twice(running: Dashboard, page: Page) -> None:
    """The server sends its state each second."""
    asked: list[str] = []

    def late(route: Route) -> None:
        asked.append(route.request.url)
        time.sleep(1.2)
        route.continue_()

    page.route("**/api/v1/series?run=*", late)
    open_live(running, page, "run=steady")
    page.wait_for_load_state("networkidle")
    assert len(asked) == 1


@pytest.mark.parametrize(("path", "field"), [("/", ".tail input"), ("/logs", None)])
def test_charts_are_there_before_dash_and_stay_as_they_are_when_it_comes(
    running: Dashboard, page: Page, path: str, field: str | None
) -> None:
    """Where the user is in them, too."""
    waiting: list[Route] = []
    page.route("**/dash-renderer/**", lambda route: waiting.append(route))
    page.goto(f"{running.address}{path}?run=steady")
    wait_for(lambda: page.locator("#ahead .lane canvas").count() > 0 and waiting, because="Dash is not asked for")
    timeline = page.locator("#ahead .timeline").element_handle()
    if field:
        page.locator(field).press_sequentially("loss")
    for route in waiting:
        route.continue_()
    wait_for(lambda: page.locator("#content .lane canvas").count() > 0, because="the charts get no place")
    assert timeline and timeline.is_visible()
    assert page.locator("#ahead > *").count() == 0
    if field:
        page.keyboard.type(" 1")
        assert page.locator(field).input_value() == "loss 1"


@pytest.mark.parametrize("path", ["/", "/hosts", "/flame"])
def test_the_first_load_is_at_most_500_kilobytes_on_the_wire(running: Dashboard, browser: Browser, path: str) -> None:
    """What makes up the page, without the points that it shows."""
    page = browser.new_page()  # with a cache of its own
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    asked: dict[str, str] = {}
    sizes: dict[str, float] = {}
    network.on("Network.requestWillBeSent", lambda event: asked.update({event["requestId"]: event["request"]["url"]}))
    network.on(
        "Network.loadingFinished",
        lambda event: sizes.update({asked.get(event["requestId"], ""): event["encodedDataLength"]}),
    )
    page.goto(f"{running.address}{path}")
    wait_for(lambda: page.locator("#content .surface").count() == 1, because="Dash does not take the page over")
    page.close()
    assert 50_000 < sum(size for url, size in sizes.items() if "/api/" not in url) <= 500_000
