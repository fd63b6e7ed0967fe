"""The Boards page in a real Chromium: boards draw and are live, a file that changes is shown, and what is edited in the page is the file."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from collectors.records import LogLine, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.boards.board import KINDS, plain_board
from dashboard.boards.files import board_of
from dashboard.queries import Queries
from tests.conftest import answering, wait_for
from tests.support.serving import Web, served

EXPECTED_ERRORS = (
    "400 (Bad Request)",
    "net::ERR_FAILED",
    "404 (Not Found)",
    "409 (Conflict)",
)  # of texts that are no boards, and of a second editor
HOST = labels_of(host="box", rank=0)
MINE = "# my board\ntitle: Mine\nrows:\n  - charts:\n      - {kind: line, title: Loss, series: [train/loss]}   # the loss\n      - {kind: line, title: Power, series: [gpu/power_w]}\n"
SERIES = {"scatter": "series: [gpu/power_w], x: train/loss", "text": "text: <b>inert</b>"}
EVERY = "title: Every kind\nrows:\n" + "".join(
    f"  - height: 120\n    charts: [{{kind: {kind.name}, title: {kind.name}, {SERIES.get(kind.name, 'series: [gpu/power_w]' if kind.asks else '')}}}]\n"
    for kind in KINDS
)
PAINTED = "(name) => { const found = globalThis.deepseekPainted?.curves[name]; return found?.points ? found : null; }"  # an empty frame comes first
UNCOVERED = "element => { const box = element.getBoundingClientRect(); return element.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"
INKED = """(kind) => { const canvas = document.querySelector(`[data-kind="${kind}"] canvas`); if (!canvas?.width) return false;
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0); }"""


class Scene:
    def __init__(self, data_dir: Path, log_dir: Path, store: Store, web: Web) -> None:
        self.boards, self.log_dir, self.store, self.web = data_dir / "boards", log_dir, store, web

    def open(self, page: Page, board: str, **more: object) -> None:
        query = "&".join(f"{name}={value}" for name, value in {"board": board, "run": "a", **more}.items())
        page.goto(f"http://127.0.0.1:{self.web.port}/boards?{query}")

    def write(self, name: str, text: str) -> Path:
        self.boards.mkdir(exist_ok=True)
        path = self.boards / f"{name}.yaml"
        path.write_text(text)
        return path


def points(seconds: range, loss: float = 1.0) -> Iterator[Record]:
    now = time.time()
    for second in seconds:
        yield Points("a", HOST, ("train/loss",), (loss,), now + second, 1000 + second)
        for gpu in (0, 1):
            yield Points(
                None,
                labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}"),
                ("gpu/power_w", "gpu/temperature_c"),
                (300.0 + gpu, 60.0),
                now + second,
                None,
            )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("boards")
    data_dir, log_dir = folder / "data", folder / "logs"
    (log_dir / "boards").mkdir(parents=True)
    store = open_store(data_dir, write=True)
    store.append(points(range(-120, 0)))
    store.append([LogLine("a", "train.log", time.time() - 5, 20, f"line {n} of the log") for n in range(3)])
    queries = Queries(open_store(data_dir, write=False), log_dir, data_dir)
    with served(queries) as web:
        yield Scene(data_dir, log_dir, store, web)
    queries.close()
    store.close()


def painted(page: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_for(lambda: page.evaluate(PAINTED, name), because=f"{name} is not painted")
    return found


def chart(page: Page, title: str) -> Any:
    return page.locator(".board-chart").filter(has=page.locator("h3", has_text=title)).first


def test_a_board_draws_and_what_the_host_lacks_is_one_sentence(scene: Scene, page: Page) -> None:
    scene.open(page, "gpus")
    assert painted(page, "GPU power")["curves"] == 2
    expect(chart(page, "GPU power").locator(".board-legend")).to_have_text("GPU 0GPU 1")
    expect(chart(page, "Total power").locator(".board-value")).to_have_text("601")
    expect(page.locator(".board-gone")).to_contain_text("NVLink")
    expect(chart(page, "NVLink")).to_have_count(0)


def test_the_numbers_of_a_row_stand_on_one_line_whether_they_have_a_label_or_not(scene: Scene, page: Page) -> None:
    titles = ["train/loss", "Newest"]
    tiles = "".join(f"\n      - {{kind: number, title: {title}, series: [train/loss]}}" for title in titles)
    scene.write("tiles", f"title: Tiles\nrows:\n  - charts:{tiles}\n")
    scene.open(page, "tiles")
    expect(chart(page, "Newest").locator(".board-label")).to_have_text("train/loss")
    tops = [chart(page, title).locator(".board-value").bounding_box()["y"] for title in titles]
    assert tops[0] == tops[1]


def test_new_points_are_drawn_without_reading_all_again(scene: Scene, page: Page) -> None:
    scene.write("mine", MINE)
    scene.open(page, "mine", window=300)
    before = painted(page, "Loss")
    page.wait_for_load_state("networkidle")  # what the page asks while it opens is over
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/curves?" in request.url else None)
    scene.store.append(points(range(1), loss=9.0))
    wait_for(lambda: painted(page, "Loss")["y"][1] > 9, because="the new point is not drawn")
    after = painted(page, "Loss")
    assert after["points"] > before["points"] / 2 and after["y"][0] < 1, "the oldest have left the window since"
    assert asked and all("from=" in url for url in asked)
    first = float(asked[0].split("from=")[1].split("&")[0])
    assert time.time() - first < 60, "the end of the range is read, not all of it"


def test_every_kind_draws(scene: Scene, page: Page) -> None:
    scene.write("every", EVERY)
    scene.open(page, "every")
    for kind in KINDS:
        shown = page.locator(f'.board-chart[data-kind="{kind.name}"]')
        shown.scroll_into_view_if_needed()
        expect(shown).not_to_have_class("waiting")
        if kind.asks and kind.name != "table":
            wait_for(lambda kind=kind: page.evaluate(INKED, kind.name), because=f"{kind.name} is empty")  # type: ignore[misc]
    expect(page.locator('[data-kind="text"] .board-note')).to_have_text("<b>inert</b>")
    expect(page.locator('[data-kind="table"] tbody tr')).to_have_count(2)
    expect(page.locator('[data-kind="log lines"] .l')).to_have_count(3)
    expect(page.locator('[data-kind="flame graph"] .board-flame .chart-instead')).not_to_be_empty()


def test_what_a_chart_cannot_draw_costs_no_other(scene: Scene, page: Page) -> None:
    charts = {
        "Wrong": "{kind: line, title: Wrong, series: [gpu/power_w + gpu/temperature_c]}",
        "By step": "{kind: line, title: By step, axis: step, series: [train/loss], smooth: 10 s}",
    }
    scene.write("odd", MINE + "".join(f"      - {chart}\n" for chart in charts.values()))
    scene.open(page, "odd")
    assert painted(page, "Loss")["curves"] == 1
    for title, words in {"Wrong": "cannot add W and", "By step": "20 steps"}.items():
        expect(chart(page, title).locator(".board-body > .chart-instead")).to_contain_text(words)


def test_a_drag_is_a_range_of_all_charts_and_0_is_live_again(scene: Scene, page: Page) -> None:
    scene.write("mine", MINE)
    scene.open(page, "mine", window=300)
    whole = painted(page, "Loss")["x"]
    painted(page, "Power")
    box = chart(page, "Loss").locator(".chart-plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 42, steps=4)
    page.mouse.up()
    wait_for(
        lambda: painted(page, "Power")["x"][1] - painted(page, "Power")["x"][0] < 0.5 * (whole[1] - whole[0]),
        because="not zoomed",
    )
    wait_for(lambda: "lo=" in page.url and "hi=" in page.url, because="the address says otherwise")
    page.keyboard.press("0")
    wait_for(lambda: painted(page, "Power")["x"][1] - painted(page, "Power")["x"][0] > 250, because="not live again")
    wait_for(lambda: "lo=" not in page.url, because="the address says otherwise")


def test_a_chart_on_an_axis_of_its_own_shows_all_of_it(scene: Scene, page: Page) -> None:
    scene.write("both", MINE.replace("series: [train/loss]}", "series: [train/loss], axis: step}"))
    scene.open(page, "both")
    lo, hi = painted(page, "Loss")["x"]
    assert 880 <= lo < hi <= 1000 and hi - lo > 100, "steps, and not seconds"


def test_a_changed_file_is_shown_and_a_broken_one_keeps_its_last_good_state(scene: Scene, page: Page) -> None:
    path = scene.write("byhand", MINE)
    scene.open(page, "byhand")
    painted(page, "Loss")
    path.write_text(MINE.replace("title: Power", "title: Watts"))
    expect(chart(page, "Watts")).to_be_visible()
    path.write_text(MINE.replace("kind: line", "kind: lime", 1))
    expect(page.locator(".notice")).to_contain_text("byhand.yaml is broken, line 5: 'lime' is not one of line, ")
    expect(chart(page, "Watts")).to_be_visible()
    path.write_text(MINE)
    expect(chart(page, "Power")).to_be_visible()
    expect(page.locator(".notice")).to_be_hidden()


def test_boards_that_cannot_be_shown_are_sentences(scene: Scene, page: Page) -> None:
    scene.write("seven", "rows: 7\n")
    scene.write("empty", "title: Empty\n")
    for name, sentence in {
        "nothing": "There is no board “nothing”",
        "seven": "line 1: rows is a list",
        "empty": "has no charts yet",
    }.items():
        scene.open(page, name)
        expect(page.locator(".board-said")).to_contain_text(sentence)


def test_a_chart_is_added_by_search_changed_undone_and_saved(scene: Scene, page: Page) -> None:
    path = scene.write("edited", MINE)
    scene.open(page, "edited")
    painted(page, "Loss")
    page.keyboard.press("e")
    page.get_by_label("Find a series to add").fill("temp")
    page.locator(".board-hit").click()
    assert painted(page, "gpu/temperature_c")["curves"] == 2, "it is drawn before it is saved"
    page.locator(".board-form").get_by_label("Title").first.fill("Heat")
    page.keyboard.press("Enter")
    expect(chart(page, "Heat")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(chart(page, "Heat")).to_have_count(0)
    assert path.read_text() == MINE, "nothing is saved yet"
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".board-edit-said")).to_have_text("Saved.")
    text = path.read_text()
    assert text.startswith("# my board\n") and "# the loss" in text
    (row,) = board_of(text).rows
    assert [entry.series[0].text for entry in row.charts] == ["train/loss", "gpu/power_w", "gpu/temperature_c"]
    page.get_by_role("button", name="YAML").click()
    expect(page.get_by_label("The board as YAML")).to_have_value(text)
    page.get_by_label("The board as YAML").fill(text.replace("title: Loss", "title: The loss"))
    expect(chart(page, "The loss")).to_be_visible()
    page.get_by_label("The board as YAML").fill(text.replace("kind: line", "kind: lyne", 1))
    expect(page.locator(".board-edit-said")).to_contain_text("line 5: 'lyne' is not one of line, ")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()


def test_a_new_board_of_one_metric_takes_three_clicks_from_any_page(scene: Scene, page: Page) -> None:
    for name in ("new-board", "new-board-2"):
        page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=a")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Boards").click()
        page.get_by_role("button", name="New n").click()
        expect(page.get_by_label("Find a series to add")).to_be_focused()
        page.keyboard.type("temp")
        page.keyboard.press("Enter")
        assert painted(page, "gpu/temperature_c")["curves"] == 2
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".board-edit-said")).to_have_text("Saved.")
        (row,) = board_of((scene.boards / f"{name}.yaml").read_text()).rows
        assert [entry.series[0].text for entry in row.charts] == ["gpu/temperature_c"]


def test_text_that_is_no_board_yet_is_not_lost_without_a_question(scene: Scene, page: Page) -> None:
    scene.write("typed", MINE)
    scene.open(page, "typed")
    painted(page, "Power")
    page.keyboard.press("e")
    page.get_by_role("button", name="YAML").click()
    page.get_by_label("The board as YAML").fill("title: [")
    asked = list[str]()
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Close").click()
    assert asked == ["There are changes that are not saved. Leave without them?"]
    expect(page.get_by_label("The board as YAML")).to_have_value("title: [")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".board-editor")).to_have_count(0)


def test_the_key_that_edits_waits_for_the_file_of_the_board(scene: Scene, page: Page) -> None:
    scene.write("late", MINE)
    held, comes = list[Route](), list[bool]()
    page.route("**/api/v1/boards/late?*", lambda route: route.continue_() if comes else held.append(route))
    scene.open(page, "late")
    wait_for(lambda: len(held) >= 1, because="the file is not asked for")
    page.keyboard.press("e")
    page.keyboard.press("e")
    comes.append(True)
    for route in held:
        route.continue_()
    expect(page.locator(".board-editor")).to_have_count(1)
    expect(page.get_by_label("Name of the file")).to_have_value("late")
    expect(page.get_by_role("region", name="The board").get_by_label("Title")).to_have_value("Mine")


def test_charts_are_moved_and_sized_by_hand(scene: Scene, page: Page) -> None:
    path = scene.write("moved", MINE)
    scene.open(page, "moved")
    painted(page, "Power")
    page.keyboard.press("e")
    expect(page.locator(".board-corner")).to_have_count(2)
    head, target = chart(page, "Power").locator(".chart-head").bounding_box(), chart(page, "Loss").bounding_box()
    page.mouse.move(head["x"] + 60, head["y"] + 10)
    page.mouse.down()
    page.mouse.move(target["x"] + 20, target["y"] + 60, steps=5)
    page.mouse.up()
    wait_for(lambda: page.locator(".board-chart h3").all_inner_texts()[0].startswith("Power"), because="not moved")
    corner = chart(page, "Power").locator(".board-corner").bounding_box()
    page.mouse.move(corner["x"] + 5, corner["y"] + 5)
    page.mouse.down()
    page.mouse.move(corner["x"] - 120, corner["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.locator(".board-form").get_by_label("Height")).to_have_value(re.compile("2[78]0"))
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".board-edit-said")).to_have_text("Saved.")
    (row,) = board_of(path.read_text()).rows
    assert (
        [entry.title for entry in row.charts] == ["Power", "Loss"]
        and row.height in (270, 280)
        and row.charts[0].width in (4, 5)
    )
    assert "# the loss" in path.read_text()


def test_a_series_is_divided_and_grouped_by_fields_which_write_the_expression(scene: Scene, page: Page) -> None:
    scene.write("mine", MINE)
    scene.open(page, "mine")
    painted(page, "Power")
    page.keyboard.press("e")
    chart(page, "Power").click()
    form = page.locator(".board-form[aria-label=Chart]")
    expect(form.get_by_label("Summary")).to_have_count(0)
    form.get_by_label("Group by").fill("host")
    page.keyboard.press("Enter")
    form.get_by_label("Summary").select_option("sum")
    expect(form.get_by_label("Series", exact=True)).to_have_value("sum(gpu/power_w) by (host)")
    wait_for(lambda: painted(page, "Power")["curves"] == 1, because="the board does not show it at once")
    form.get_by_label("Divide by").fill("gpu/temperature_c")
    page.keyboard.press("Enter")
    expect(form.get_by_label("Series", exact=True)).to_have_value("sum(gpu/power_w) by (host) / gpu/temperature_c")
    form.get_by_label("Series", exact=True).fill("max(gpu/power_w) / 2")
    page.keyboard.press("Enter")
    expect(form.get_by_label("Group by")).to_have_value("all")
    expect(form.get_by_label("Divide by")).to_have_value("2")
    expect(form.get_by_label("Summary")).to_have_value("max")
    form.get_by_label("Group by").fill("")
    page.keyboard.press("Enter")
    form.get_by_label("Divide by").fill("")
    page.keyboard.press("Enter")
    expect(form.get_by_label("Series", exact=True)).to_have_value("gpu/power_w")
    form.get_by_label("Series", exact=True).fill("mean(gpu/power_w) over 10 s")
    page.keyboard.press("Enter")
    expect(form.get_by_label("Divide by")).to_have_count(0)


def test_a_field_that_is_changed_while_another_change_is_on_its_way_keeps_both(scene: Scene, page: Page) -> None:
    scene.write("mine", MINE)
    scene.open(page, "mine")
    painted(page, "Power")
    page.keyboard.press("e")
    chart(page, "Power").click()
    form, held = page.locator(".board-form[aria-label=Chart]"), list[Route]()
    page.route("**/api/v1/board_edits", lambda route: route.continue_() if held else held.append(route))
    form.get_by_label("Group by").fill("host")
    page.keyboard.press("Tab")
    form.get_by_label("Divide by").fill("2")
    page.keyboard.press("Enter")
    wait_for(lambda: len(held) == 1, because="the first change is not sent")
    held[0].continue_()
    expect(form.get_by_label("Series", exact=True)).to_have_value("mean(gpu/power_w) by (host) / 2")


def test_the_second_of_two_editors_loses_nothing(scene: Scene, page: Page) -> None:
    path = scene.write("shared", MINE)
    scene.open(page, "shared")
    painted(page, "Loss")
    page.keyboard.press("e")
    page.locator(".board-form").get_by_label("Title").fill("From here")
    page.keyboard.press("Enter")
    expect(page.locator(".board-edit-said")).to_have_text("Not saved yet.")
    path.write_text(MINE.replace("title: Mine", "title: From elsewhere"))
    expect(page.locator(".board-edit-said")).to_contain_text("changed elsewhere meanwhile")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".board-edit-said")).to_contain_text("nothing is saved")
    assert board_of(path.read_text()).title == "From elsewhere"
    page.get_by_role("button", name="Save mine under another name").click()
    wait_for(lambda: (scene.boards / "shared-2.yaml").exists(), because="mine is not saved")
    assert board_of((scene.boards / "shared-2.yaml").read_text()).title == "From here"
    assert board_of(path.read_text()).title == "From elsewhere"


def test_a_template_becomes_a_board_of_ones_own_and_deleting_it_brings_the_template_back(
    scene: Scene, page: Page
) -> None:
    scene.open(page, "energy")
    painted(page, "Power")
    page.keyboard.press("e")
    page.locator(".board-form").get_by_label("Title").fill("Ours")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    wait_for(lambda: (scene.boards / "energy.yaml").exists(), because="not saved")
    assert plain_board(board_of((scene.boards / "energy.yaml").read_text()))["title"] == "Ours"
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    wait_for(lambda: not (scene.boards / "energy.yaml").exists(), because="not deleted")
    expect(page.get_by_label("Board", exact=True)).to_have_value("energy")
    expect(page.locator(".board-editor")).to_have_count(0)


def test_the_focus_stays_in_its_field_where_the_form_is_made_anew(scene: Scene, page: Page) -> None:
    """As it is once the names of the series have come, which are listed above the field."""
    scene.write("mine", MINE)
    held: list[Route] = []
    scene.open(page, "mine")
    painted(page, "Loss")
    page.wait_for_load_state("networkidle")  # the page itself has asked for the boards
    holds = True
    page.route("**/api/v1/boards", lambda route: held.append(route) if holds else route.continue_())
    page.keyboard.press("e")
    title = page.locator(".board-form").get_by_label("Title")
    title.focus()
    title.select_text()
    assert page.locator(".board-hit").count() == 0
    wait_for(lambda: held, because="the kinds of charts are not asked for")
    holds = False
    for route in held:  # the page looks for changes of the files, too
        route.continue_()
    expect(page.locator(".board-hit").first).to_be_visible()
    expect(title).to_be_focused()
    page.keyboard.type("Ours")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    wait_for(lambda: board_of((scene.boards / "mine.yaml").read_text()).title == "Ours", because="not saved")


def test_a_board_is_not_saved_without_a_change_that_was_lost(scene: Scene, page: Page) -> None:
    path = scene.write("mine", MINE)
    scene.open(page, "mine")
    painted(page, "Loss")
    page.keyboard.press("e")
    lost: list[Route] = []
    answer_again = answering(page, "**/api/v1/board_edits", lost.append)
    page.locator(".board-form").get_by_label("Title").fill("Ours")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    wait_for(lambda: lost, because="the change is not sent")
    lost[0].abort()
    said = page.locator(".board-edit-said")
    expect(said).to_contain_text("does not answer")
    page.wait_for_timeout(300)
    assert path.read_text() == MINE and "Saved" not in said.inner_text()
    answer_again()
    page.locator(".board-form").get_by_label("Title").fill("Still ours")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    expect(said).to_have_text("Saved.")
    assert board_of(path.read_text()).title == "Still ours"


def test_on_a_phone_charts_stand_below_each_other(scene: Scene, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    scene.write("mine", MINE)
    scene.open(page, "mine", theme="light")
    painted(page, "Loss")
    boxes = [chart(page, title).bounding_box() for title in ("Loss", "Power")]
    assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] < boxes[1]["y"] and boxes[0]["width"] > 330
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
