"""The pages with runs that are not the project's own: no times, failing answers, odd names, thousands of runs and curves."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Browser, Page, Route

from collectors.records import Points
from collectors.store.engines import open_store
from dashboard.runs.runs import Runs
from tests.conftest import Dashboard, address, answering, dashboard, drag, wait_for

EXPECTED_ERRORS = ("Failed to load resource",)  # some answers fail on purpose
ODD = "odd <b>bold</b> \u202egnp.exe"
STEPS = 1000
OLD_S = 10 * 86400.0
RUNS = 8


def write(folder: Path, lines: list[object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)


def losses(first: int, count: int) -> list[object]:
    return [{"step": step, "loss": 2 + math.exp(-step / 100), "lr": 0.0003} for step in range(first, first + count)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("odd") / "logs"
    now_s = time.time()
    timed: list[object] = [
        {"time_s": now_s - 100 + step, "step": step, "train/loss": 1 / (1 + step), "train/lr": 0.0003}
        for step in range(100)
    ]
    write(log_dir / "steps-only", losses(1, STEPS))
    write(log_dir / "mixed", losses(1, 100))
    write(log_dir / "timed", [*timed, "not json\n", "not json either\n"])
    write(
        log_dir / ODD,
        [{"time_s": now_s - 50 + step, "step": step, "loss": 1, "<img src=x>": step} for step in range(50)],
    )
    curves = {f"layer{curve}/norm": curve for curve in range(1000)}
    write(log_dir / "many", [{"time_s": now_s - 50 + step, "step": step, "loss": 1, **curves} for step in range(5)])
    old: list[object] = [
        {"time_s": now_s - OLD_S + 2 * step, "step": step, "train_loss": 1, "eval_loss": 2} for step in range(900)
    ]
    write(log_dir / "old", old)
    write(log_dir / "one", [{"time_s": now_s - 300, "step": 7, "loss": 2.5}])
    (log_dir / "talk").mkdir()
    (log_dir / "talk" / "train.log").write_text("reading the shards\nstill reading\n")
    with dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: len(running.get("/api/v1/runs")["runs"]) == RUNS, because="not all runs are read")
        wait_for(lambda: running.run("steps-only").get("last_step") == STEPS, because="not all steps are read")
        yield running


def open_run(running: Dashboard, page: Page, run: str, series: str, query: str = "") -> None:
    page.goto(f"{running.address}/?run={run}&{query}")
    wait_for(lambda: drawn(page, series), because=f"no {series} on the chart")


def drawn(page: Page, series: str) -> int:
    """How many points its line stands for."""
    count: int = page.evaluate("(name) => globalThis.deepseekPainted?.drawn[name]?.count ?? 0", series)
    return count


def test_a_run_without_times_stands_over_its_steps_and_grows(running: Dashboard, page: Page) -> None:
    open_run(running, page, "steps-only", "loss")
    assert drawn(page, "loss") == STEPS
    ticks = page.locator(".ticks span").all_inner_texts()
    assert "200" in ticks
    assert all(tick.replace(",", "").isdigit() for tick in ticks)
    assert page.locator('[data-lane="cpu"]').count() == 0, "the machine has no steps"
    page.locator(".surface").hover()
    wait_for(
        lambda: page.locator(".hour").inner_text().startswith("step "), because="the crosshair does not tell the step"
    )
    drag(page, 0.4, 0.6)
    panel = page.locator(".panel")
    wait_for(
        lambda: "no stacks can be found for its steps" in panel.inner_text(),
        because="nothing says why there are no stacks",
    )
    assert panel.locator(".title").inner_text().startswith("Steps ")
    assert address(page)["axis"] == "step"
    page.keyboard.press("+")
    wait_for(lambda: "at" in address(page), because="it does not zoom")
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    page.keyboard.press("0")
    page.keyboard.press("Space")
    write(running.log_dir / "steps-only", losses(STEPS + 1, 200))
    wait_for(lambda: drawn(page, "loss") == STEPS + 200, because="it does not grow")


def test_an_old_run_is_shown_whole_and_tells_nothing_of_today(running: Dashboard, page: Page) -> None:
    """Nobody watched the machine then: its values of now are not the run's."""
    open_run(running, page, "old", "train_loss")
    assert (drawn(page, "train_loss"), drawn(page, "eval_loss")) == (900, 900)
    assert page.locator("section.lane").evaluate_all("lanes => lanes.map((lane) => lane.dataset.lane)") == [
        "loss",
        "rate",
    ]
    assert page.locator('[data-lane="loss"] .row').all_inner_texts() == ["train\n1.0000", "val\n2.0000"]
    wait_for(
        lambda: "not running during this run" in page.locator(".panel").inner_text(),
        10,
        "nothing says why there are no stacks",
    )
    assert not page.locator(".gesture").is_visible(), "there is nothing to drag for"
    assert "*.log file" in page.locator(".tail").inner_text()
    page.goto(f"{running.address}/flame?run=old")
    wait_for(
        lambda: "not running during this run" in page.locator(".graph-place").inner_text(),
        because="the Flame page stays blank",
    )


def test_a_lone_point_is_drawn(running: Dashboard, page: Page) -> None:
    open_run(running, page, "one", "loss")
    inked = """(canvas) => {
      const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const lit = [...Array(data.length / 4).keys()].filter((i) => data[4 * i + 3] > 200 && Math.min(...data.slice(4 * i, 4 * i + 3)) > 200);
      return lit.filter((i) => i % width > 60).length;
    }"""
    page.emulate_media(color_scheme="dark")
    wait_for(lambda: page.locator('[data-lane="loss"] canvas').evaluate(inked) > 4, because="the canvas is empty")


def test_a_run_that_only_prints_says_how_it_gets_curves(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=talk")
    wait_for(
        lambda: "writes text only" in page.locator(".empty").inner_text(),
        because="nothing says why there are no curves",
    )
    wait_for(lambda: "still reading" in page.locator(".tail").inner_text(), because="its lines are not shown")


def test_an_unknown_run_is_said_to_be_unknown_and_the_others_are_offered(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=nope")
    help = page.locator(".empty")
    wait_for(lambda: "There is no run “nope”" in help.inner_text(), because="nothing says that there is no such run")
    wait_for(
        lambda: page.locator("button.picker").inner_text() == "no run “nope”", because="the picker does not say so"
    )
    assert page.locator("section.lane").count() == 0
    help.get_by_role("button", name="timed").click()
    wait_for(lambda: drawn(page, "train/loss"), because="the offered run is not shown")
    assert address(page)["run"] == "timed"
    assert not help.is_visible()


def test_a_series_that_fails_costs_itself_only_and_is_asked_again(running: Dashboard, page: Page) -> None:
    def fail(route: Route) -> None:
        if "train%2Flr" in route.request.url:
            route.fulfill(status=500, body="Internal Server Error")
        else:
            route.continue_()

    answer_again = answering(page, "**/api/v1/curves?*", fail)
    open_run(running, page, "timed", "train/loss")
    trouble = page.locator('[data-lane="lr"] .lane-trouble')
    wait_for(trouble.is_visible, because="nothing says why there is no learning rate")
    assert "Asking again in" in trouble.inner_text()
    assert not page.locator('[data-lane="loss"] .lane-trouble').is_visible()
    answer_again()
    wait_for(lambda: drawn(page, "train/lr") == 100, because="it is not asked again")
    wait_for(lambda: not trouble.is_visible(), because="the sentence stays")


@pytest.mark.parametrize("route", ["runs", "series", "curves"])
def test_a_page_whose_first_questions_fail_says_so_and_heals(running: Dashboard, page: Page, route: str) -> None:
    answer_again = answering(
        page, f"**/api/v1/{route}*", lambda failing: failing.fulfill(status=503, json={"error": "The store is locked."})
    )
    page.goto(f"{running.address}/?run=timed")
    wait_for(
        lambda: "The store is locked. Asking again in" in page.locator(".timeline").inner_text(),
        because="nothing is said",
    )
    answer_again()
    wait_for(lambda: drawn(page, "train/loss") == 100, because="it does not heal")
    wait_for(lambda: not page.locator(".notice").first.is_visible(), because="the sentence stays")


@pytest.mark.parametrize("path", ["/", "/flame"])
def test_a_window_whose_stacks_cannot_be_answered_says_so_and_asks_again(
    running: Dashboard, page: Page, path: str
) -> None:
    answers: list[int] = []

    def fail(route: Route) -> None:
        answers.append(503)
        route.fulfill(status=503, json={"error": "The store is locked."})

    answer_again = answering(page, "**/api/v1/flame?*", fail)
    now_s = time.time()
    page.goto(f"{running.address}{path}?run=timed&from={now_s - 60:.3f}&to={now_s - 40:.3f}")
    trouble = page.locator(".trouble")
    wait_for(lambda: "The store is locked. Asking again in" in trouble.inner_text(), because="nothing is said")
    wait_for(lambda: trouble.is_visible() and len(answers) > 1, because="it is not asked again")
    answer_again()
    wait_for(lambda: "locked" not in trouble.inner_text(), because="it does not heal")


def test_points_without_times_are_counted_and_the_step_axis_is_one_click_away(running: Dashboard, page: Page) -> None:
    """A log that was there before the dashboard, and goes on: its new lines have the times at which they came."""
    write(running.log_dir / "mixed", losses(101, 10))
    wait_for(lambda: running.run("mixed").get("last_time_s"), because="the new lines are not read")
    open_run(running, page, "mixed", "loss")
    note = page.locator(".untimed")
    wait_for(note.is_visible, because="nothing counts them")
    assert "100 of 110 points of loss have no time" in note.inner_text()
    note.get_by_role("button").click()
    wait_for(lambda: drawn(page, "loss") == 110, because="the axis is not turned")
    assert address(page)["axis"] == "step"
    assert not note.is_visible()
    page.keyboard.press("a")
    wait_for(note.is_visible, because="the time axis does not come back")


def test_names_are_text_and_the_picker_finds_a_run_by_a_part_of_its_name(running: Dashboard, page: Page) -> None:
    open_run(running, page, "timed", "train/loss")
    page.locator("button.picker").click()
    rows = page.locator(".runs [role=option]")
    assert rows.count() == RUNS
    wait_for(lambda: page.locator("#content").count() == 1, because="Dash lays nothing out")
    page.keyboard.type("bold exe")
    wait_for(lambda: rows.count() == 1, because="the list is not narrowed")
    page.locator(".surface").hover()
    page.keyboard.press("Enter")
    wait_for(
        lambda: page.locator("button.picker").inner_text() == "odd <b>bold</b> [U+202E]gnp.exe",
        20,
        "the name is not shown as it is",
    )
    wait_for(
        lambda: page.locator("#content .surface").count() == 1, because="the page does not move into Dash's layout"
    )
    assert page.locator(":popover-open").count() == 0, "the list opens again"
    wait_for(lambda: drawn(page, "<img src=x>"), because="its curve is not drawn")
    assert page.locator("img").count() == 0


def test_of_a_thousand_curves_those_that_are_shown_are_read_and_others_can_be_found(
    running: Dashboard, page: Page
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/curves?" in request.url else None)
    open_run(running, page, "many", "loss")
    further = page.locator(".left > .further")
    wait_for(lambda: "4 of 1,000 further curves" in further.inner_text(), because="nothing says how many there are")
    assert len(parse_qs(urlparse(next(url for url in asked if "run=many" in url)).query)["expr"]) == 5
    further.locator("input").fill("yer77")
    wait_for(lambda: drawn(page, "layer770/norm"), because="it is not found")
    assert "11 of 11" in further.inner_text()
    assert address(page)["curves"] == "yer77"


def test_what_was_not_read_is_counted_with_the_first_reason(running: Dashboard, page: Page) -> None:
    open_run(running, page, "timed", "train/loss")
    button = page.locator(".files-button")
    wait_for(lambda: button.is_visible() and button.inner_text() == "2 lines skipped", because="nothing counts them")
    button.click()
    wait_for(lambda: "line 101" in page.locator(".files").inner_text(), because="the reason is not told")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="More about this run").click()
    button.click()
    box = page.locator(".files").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390, "on a phone it leaves the window"


STRIP_PARTS = """() => {
  const at = (select) => document.querySelector(`#scope ${select}`);
  const lists = { state: ["Running 4 min", "Ended after 3 min 19 s", `Checkpointing for ${"12 h 34 min ".repeat(9)}`], last: [true, false],
    name: ["a", "lr-3e-4-".repeat(12)], files: ["", "1 file set aside", "12 files set aside, 1,234 lines skipped, 3 data files not read"],
    said: ["", "Writing …", "The dashboard does not answer. ".repeat(3)] };
  const combined = Object.entries(lists).reduce((all, [name, values]) => all.flatMap((had) => values.map((value) => ({ ...had, [name]: value }))), [{}]);
  const faults = [], places = new Set();
  const boxOf = (element) => element.getBoundingClientRect();
  for (const had of combined) {
    at(".picker").textContent = had.name;
    const [live, length] = [at(".state .live"), document.createTextNode(` ${had.state}`)];
    at(".state").replaceChildren(live, length);
    at(".last-button").hidden = !had.last;
    at(".files-button").hidden = !had.files;
    at(".files-button").textContent = had.files;
    at(".report [role='status']").textContent = had.said;
    const fault = (what) => faults.push([innerWidth, what, had]);
    const buttons = [...document.querySelectorAll("#scope button")].filter((button) => button.checkVisibility() && button.clientWidth);
    const parts = [...buttons, at(".state"), at(".range")].filter((part) => part.checkVisibility());
    for (const button of buttons) {
      const { left, right, top, bottom } = boxOf(button), row = boxOf(document.querySelector(".scope-middle"));
      if (at(".scope-middle").contains(button) && (left < row.left || right > row.right)) continue; // one scrolls to it
      if (!button.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2))) fault(`${button.className} is covered`);
    }
    const fixed = parts.filter((part) => !at(".scope-middle").contains(part)); // the others scroll
    for (const part of fixed) {
      const [mine, strip] = [boxOf(part), boxOf(at("#picker").contains(part) ? at("#picker") : document.getElementById("scope"))];
      if (mine.left < 0 || mine.right > innerWidth || mine.top < strip.top || mine.bottom > strip.bottom) fault(`${part.className} is outside`);
      const other = fixed.find((other) => other !== part && mine.left < boxOf(other).right && boxOf(other).left < mine.right && mine.top < boxOf(other).bottom && boxOf(other).top < mine.bottom);
      if (other) fault(`${part.className} is over ${other.className}`);
    }
    for (const whole of [at(".last-button"), ...document.querySelectorAll("#actions .ghost")])
      if (whole.scrollWidth > whole.clientWidth) fault(`${whole.className} is cut`);
    if (document.documentElement.scrollWidth > innerWidth) fault("the page is wider");
    const still = [at(".picker"), at(".range"), at(".back")].map(boxOf);
    places.add(JSON.stringify(still.map(({ left, top }) => [left, top])));
  }
  return [faults.slice(0, 3), faults.length, places.size > 1 ? [...places] : []];
}"""


@pytest.mark.parametrize("finger", [False, True])
def test_nothing_in_the_line_of_the_run_is_covered_or_moves_whatever_stands_there(
    running: Dashboard, browser: Browser, finger: bool
) -> None:
    page = browser.new_page(has_touch=finger, is_mobile=finger)
    page.goto(f"{running.address}/?run=timed")
    page.wait_for_selector(".files-button:visible")
    for width in (320, 360, 390, 560, 639, 640, 768, 1024, 1199, 1200, 1280, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(STRIP_PARTS) == [[], 0, []], width
    page.close()


def test_what_ran_is_shown_as_text(running: Dashboard, page: Page) -> None:
    about = {
        "command": "python <img src=x>",
        "config": {"lr": 3e-4, "<b>": [1, {"x": None}]},
        "git_commit": "5e3a72e",
        "mine": {"a": 1},
    }
    (running.log_dir / "timed" / "run.json").write_text(json.dumps(about))
    wait_for(lambda: running.run("timed")["info"].get("git_commit"))
    open_run(running, page, "timed", "train/loss")
    page.keyboard.press("i")
    dialog = page.locator("dialog.ran")
    wait_for(lambda: "5e3a72e" in dialog.inner_text(), because="it is not shown")
    assert all(part in dialog.inner_text() for part in ("python <img src=x>", "0.0003", '[1,{"x":null}]', '{"a":1}'))
    page.keyboard.press("Escape")
    wait_for(lambda: not dialog.is_visible())
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="More about this run").click()
    page.get_by_role("button", name="Run details").click()
    box = dialog.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_the_loss_stands_first_and_above_the_fold(running: Dashboard, page: Page) -> None:
    page.set_viewport_size({"width": 1000, "height": 700})
    open_run(running, page, "timed", "train/loss")
    loss = page.locator("section.lane").first
    box, log = loss.bounding_box(), page.locator(".tail").bounding_box()
    assert loss.get_attribute("data-lane") == "loss"
    assert box is not None
    assert log is not None
    assert box["y"] + box["height"] <= log["y"]


def test_the_mouse_moves_the_view_and_another_run_forgets_the_crosshair(running: Dashboard, page: Page) -> None:
    last_s = running.run("timed")["last_time_s"]  # the tests before this one may have taken minutes
    open_run(running, page, "timed", "train/loss", f"span=60&at={last_s - 20}")
    before = float(address(page)["at"])
    page.keyboard.down("Shift")
    drag(page, 0.6, 0.3)
    page.keyboard.up("Shift")
    wait_for(
        lambda: float(address(page)["at"]) == pytest.approx(before + 18, abs=1),
        because="Shift and a drag do not move it",
    )
    assert "from" not in address(page), "it selects nothing"
    page.mouse.wheel(-200, 0)
    wait_for(lambda: float(address(page)["at"]) < before + 17, because="the wheel does not move it sideways")
    assert page.locator(".cross").is_visible()
    page.locator("button.picker").click()
    page.keyboard.type("many")
    page.keyboard.press("Enter")
    wait_for(lambda: drawn(page, "loss"), because="the other run is not shown")
    assert not page.locator(".cross").is_visible()


def test_one_window_has_one_range_of_steps_on_every_page(running: Dashboard, page: Page) -> None:
    """Steps 41 to 59, whose points are a second apart: the window begins and ends between two of them."""
    first_s = running.get("/api/v1/curves?run=timed&expr=train/loss")["curves"][0]["x"][0]
    window = f"from={first_s + 40.5:.3f}&to={first_s + 59.5:.3f}"
    open_run(running, page, "timed", "train/loss", window)
    wait_for(lambda: "steps 41–59" in page.locator(".panel .sub").inner_text(), because="the panel tells other steps")
    page.goto(f"{running.address}/flame?run=timed&span=3600&{window}")
    wait_for(
        lambda: "steps 41–59" in page.locator("#actions").inner_text(),
        because="the Flame page tells other steps",
    )


def test_the_empty_page_names_the_log_folder_and_its_lines_make_a_run(tmp_path: Path, page: Page) -> None:
    with dashboard(tmp_path / "my logs", "--no-profile") as running:
        page.goto(running.address)
        page.get_by_text("Write a line of JSON per step").click()
        code = page.locator(".empty pre", has_text="import json")
        wait_for(lambda: str(running.log_dir) in code.inner_text(), because="the folder is not named")
        pasted = code.inner_text().replace("range(100)", "range(3)")
        subprocess.run([sys.executable, "-c", pasted], check=True, cwd=tmp_path, timeout=60)
        wait_for(lambda: drawn(page, "loss") == 3, because="the run does not appear by itself")
        page.goto("about:blank")  # else it misses the dashboard, which ends first


def test_a_run_of_the_far_future_does_not_come_first(tmp_path: Path) -> None:
    """Milliseconds that were taken for microseconds, a date mistyped: the newest honest run is the one that a user wants to see."""
    now_s = time.time()
    store = open_store(tmp_path, write=True)
    store.append(
        [
            Points(run, (), ("loss",), (1.0,), time_s, 1)
            for run, time_s in (("odd", now_s + 9e8), ("ahead", now_s + 60), ("now", now_s), ("old", now_s - 1e6))
        ]
    )
    assert [view.stored.name for view in Runs(store, tmp_path).views()] == ["ahead", "now", "old", "odd"]
    store.close()
