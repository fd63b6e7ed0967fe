"""The Logs page in a real Chromium: lines are scrolled, searched, filtered by a window and by a template, opened, drawn as curves, and stay inert."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from collectors.records import LogLine, ProgressBar
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.logs import search as searching
from dashboard.pages.logs import view_of
from dashboard.pages.page import query_of
from dashboard.queries import Queries
from tests.conftest import Ask, answering, drag, wait_for
from tests.support.axe import serious
from tests.support.serving import Web, served

EXPECTED_ERRORS = (
    "400 (Bad Request)",
    "503 (Service Unavailable)",
)  # of a wrong expression, and of an answer that a test breaks
BAD = "<img src=x onerror=alert(1)><b>bold</b>"
TRACE = (
    "Traceback (most recent call last):",
    '  File "data.py", line 88, in decode_image',
    "    return Image.open(raw)",
    "OSError: image file is truncated",
)
MANY = 30_000
ROW_PX = 18
END_S = time.time() - 60
TOPS = """() => [...document.querySelectorAll('.log-rows .entry')].map((entry) => [entry.innerText.split('\\n').join(' '), Math.round(entry.getBoundingClientRect().top)])"""


class Scene:
    def __init__(self, store: Store, web: Web) -> None:
        self.store, self.web = store, web

    def open(self, page: Page, run: str, query: str = "") -> None:
        page.goto(f"http://127.0.0.1:{self.web.port}/logs?run={run}{query}")
        page.wait_for_selector(".log-rows .entry .m")


def small() -> list[LogLine]:
    """10 minutes of steps, with what else stands in logs."""
    lines = []
    for i in range(600):
        when = END_S - 600 + i
        lines.append(LogLine("small", "train.log", when, 20, f"step {i} loss {600 - i}.5"))
        if i == 100:
            lines += [
                LogLine("small", "data.log", when, 30, "retrying shard", rank) for rank in (0, 1) for _ in range(20)
            ]
        if i == 200:
            lines += [LogLine("small", "data.log", when, 40, text, 1) for text in TRACE]
        if i == 300:
            lines.append(LogLine("small", "data.log", when, 20, f"\x1b[31mred\x1b[0m {BAD} \u202egpj.exe\x07"))
        if i == 400:
            lines.append(LogLine("small", "data.log", when, 20, 'saved checkpoint path="/a/b.pt" shards=7 rank=3'))
    return lines


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("logs")
    store = open_store(folder, write=True)
    store.append(
        [
            LogLine("many", "m.log", END_S - MANY + i, 40 if i % 10_000 == 5000 else 20, f"line {i} of many")
            for i in range(MANY)
        ]
    )
    store.append(small())
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield Scene(store, web)
    queries.close()
    store.close()


def rows(page: Page) -> Locator:
    return page.locator(".log-rows .entry .l .m")


def number(text: str) -> int:
    return int(text.split("line ")[1].split()[0])


def placed(page: Page) -> list[tuple[int, float]]:
    """Those that are read, with their places."""
    return [(number(text), top) for text, top in page.evaluate(TOPS) if "line " in text]


def shown(page: Page) -> list[int]:
    return [number(text) for text, _ in page.evaluate(TOPS) if "line " in text]


def view_option(page: Page, name: str) -> None:
    page.get_by_text("View options").click()
    page.get_by_label(name).check()
    page.keyboard.press("Escape")
    expect(page.get_by_label(name)).to_be_hidden()


def point_at_list(page: Page) -> None:
    box = page.locator(".log-scroll").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)


def test_the_end_is_shown_first_and_scrolling_is_steady(scene: Scene, page: Page) -> None:
    """Whatever is scrolled, the lines in view are consecutive, and each moves by as much as the wheel says."""
    scene.open(page, "many")
    wait_for(lambda: shown(page)[-1:] == [MANY - 1], because="the end is not shown")
    assert page.locator(".log-rows .entry").count() < 80
    point_at_list(page)
    for by in (-400, -5000, 333, -90):
        before = dict(page.evaluate(TOPS))
        page.mouse.wheel(0, by)
        wait_for(lambda before=before: page.evaluate(TOPS) != [*map(list, before.items())], because="nothing moves")  # type: ignore[misc]
        wait_for(lambda: page.locator(".awaited").count() == 0)
        now = shown(page)
        assert now == list(range(now[0], now[0] + len(now)))
        moved = {top - before[text] for text, top in page.evaluate(TOPS) if text in before}
        assert moved <= {-by}
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")


def test_wrapped_lines_move_by_what_was_scrolled(scene: Scene, page: Page) -> None:
    """Those above are as tall as they turn out to be: the others do not move for it."""
    scene.store.append(
        [LogLine("long", "l.log", END_S + i, 20, f"line {i} " + "word " * (1, 90, 5, 190)[i % 4]) for i in range(400)]
    )
    scene.open(page, "long")
    wait_for(lambda: 399 in shown(page))
    page.locator(".log-scroll").focus()
    page.keyboard.press("w")
    wait_for(lambda: page.locator(".log-rows .entry").count() < 15, because="nothing wraps")
    point_at_list(page)
    for by in (-120, -330, 200, -77, -250):
        before = {number(text): top for text, top in page.evaluate(TOPS)}
        page.mouse.wheel(0, by)
        wait_for(lambda before=before: {number(text): top for text, top in page.evaluate(TOPS)} != before)  # type: ignore[misc]
        moved = {top - before[number(text)] for text, top in page.evaluate(TOPS) if number(text) in before}
        assert moved == {-by}


def test_what_the_log_says_in_a_window_leads_to_its_lines(scene: Scene, page: Page) -> None:
    scene.open(page, "small", f"&from={END_S - 510}&to={END_S - 490}")
    unusual = page.locator(".change", has_text="retrying shard")
    expect(unusual).to_contain_text("40 times, never before")
    unusual.click()
    expect(page.locator(".chip.filter")).to_contain_text("only retrying shard")
    wait_for(lambda: set(rows(page).all_inner_texts()) == {"retrying shard"}, because="other lines are shown")


def test_a_far_place_is_reached_by_the_scroll_bar_and_by_a_link(scene: Scene, page: Page) -> None:
    scene.open(page, "many", "&line=12346")  # numbers begin at 1
    expect(page.locator(".entry.at .m")).to_have_text("line 12345 of many")
    page.locator(".log-scroll").press("Home")
    wait_for(lambda: 0 in shown(page), because="the beginning is not reached")
    page.locator(".log-scroll").press("End")
    wait_for(lambda: MANY - 1 in shown(page), because="the end is not reached")


def test_an_answer_that_is_on_its_way_leads_nowhere_else(scene: Scene, page: Page) -> None:
    held: list[Route] = []
    page.route(re.compile(r"/api/v1/logs/lines\?.*around="), lambda route: held.append(route))
    page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=many&line=12346")
    wait_for(
        lambda: page.wait_for_timeout(20) or held, because="the line is not asked for"
    )  # handlers of routes run meanwhile
    page.locator(".log-scroll").press("Home")
    for route in held:
        route.continue_()
    wait_for(lambda: 0 in shown(page), because="the beginning is not reached")
    page.wait_for_timeout(300)
    assert 0 in shown(page)


def test_hits_are_marked_counted_and_walked(scene: Scene, page: Page) -> None:
    scene.open(page, "many")
    page.locator("#logs-text").fill("line 1234")
    expect(page.locator(".hits")).to_have_text("11 matches")
    wait_for(lambda: 12349 in shown(page), because="the nearest hit does not come into view")
    expect(page.locator(".log-rows mark").first).to_have_text("line 1234")
    expect(page.locator(".entry.at .m")).to_have_text("line 12349 of many")
    page.locator(".log-scroll").focus()
    page.keyboard.press("N")
    expect(page.locator(".entry.at .m")).to_have_text("line 12348 of many")
    page.keyboard.press("n")
    expect(page.locator(".entry.at .m")).to_have_text("line 12349 of many")
    page.keyboard.press("n")
    expect(page.locator(".logs-said")).to_have_text("No match after this line.")
    page.keyboard.press("E")
    expect(page.locator(".entry.at .m")).to_have_text("line 5000 of many")
    page.keyboard.press("e")
    expect(page.locator(".entry.at .m")).to_have_text("line 15000 of many")
    wait_for(lambda: "log=line+1234" in page.url and "line=15001" in page.url, because="the address says otherwise")
    view_option(page, "Matches only")
    wait_for(lambda: shown(page) == [1234, *range(12340, 12350)], because="other lines are shown")


def test_a_wrong_expression_is_said_and_the_lines_stay(scene: Scene, page: Page) -> None:
    scene.open(page, "small", "&log=(a&regex=1")
    expect(page.locator(".logs-said")).to_contain_text("This is no regular expression")
    expect(rows(page).last).to_contain_text("step 599")
    page.locator("#logs-text").fill("loss 5.*5$")
    expect(page.locator(".hits")).to_have_text("111 matches")
    expect(page.locator(".logs-said")).to_be_hidden()


def test_equal_lines_and_tracebacks_are_one_entry(scene: Scene, page: Page) -> None:
    scene.open(page, "small", "&level=30")
    expect(page.locator(".log-rows .entry")).to_have_count(2)
    expect(page.locator(".fold").first).to_have_text("40 ×")
    trace = page.locator(".log-rows .entry").last
    expect(trace.locator(".l .m")).to_have_text(TRACE[-1])
    trace.locator(".l").click()
    expect(trace.locator("> .whole")).to_have_text([*TRACE])
    page.locator(".log-scroll").focus()
    page.keyboard.press("o")
    expect(trace.locator(".whole")).to_have_count(0)


def test_nothing_of_a_line_becomes_a_part_of_the_page(scene: Scene, page: Page) -> None:
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    scene.open(page, "small", "&log=bold&only=1")
    line = rows(page).first
    expect(line).to_have_text(f"red {BAD} [U+202E]gpj.exe[U+0007]")
    expect(line.locator(".ansi-red")).to_have_text("red")
    line.click()
    expect(page.locator(".detail")).to_contain_text(BAD)
    assert page.locator(".logs-page img, .logs-page script").count() == 0 and alerts == []


def test_a_window_filters_the_lines_and_a_line_moves_the_crosshair(scene: Scene, page: Page) -> None:
    scene.open(page, "small")
    expect(page.locator(".lane-density .row.bad")).to_contain_text("4")
    drag(page, 0.3, 0.5)
    expect(page.locator(".tag")).to_be_visible()
    wait_for(lambda: "from=" in page.url)
    expect(rows(page).first).to_contain_text("step 1")
    assert "step 599" not in page.locator(".log-rows").inner_text()
    expect(page.locator(".change-panel")).to_be_visible()
    rows(page).nth(3).click()
    expect(page.locator(".cross")).to_be_visible()
    text = rows(page).nth(3).inner_text()
    page.locator(".log-scroll").focus()
    page.keyboard.press("p")
    wait_for(lambda: "pins=" in page.url)
    page.keyboard.press("Escape")
    expect(page.locator(".tag")).to_be_hidden()
    expect(page.locator(".entry.at .l .m")).to_have_text(text)
    expect(page.locator(".pin")).to_be_visible()


def test_a_search_within_a_window_says_so_and_offers_all_lines(scene: Scene, page: Page) -> None:
    scene.open(page, "small", f"&from={END_S - 100}&to={END_S - 50}&log=retrying")
    expect(page.locator(".search-run .hits")).to_have_text("No match in 51 lines of the window")
    page.get_by_role("button", name="Search all lines").click()
    expect(page.locator(".search-run .hits")).to_have_text("40 matches")


def test_a_template_filters_and_a_number_becomes_a_curve(scene: Scene, page: Page) -> None:
    scene.open(page, "small")
    group = page.locator(".template", has_text="retrying shard")
    group.click(modifiers=["Alt"])
    expect(page.locator(".chip.filter")).to_contain_text("without retrying shard")
    wait_for(lambda: "hide=" in page.url, because="the address says otherwise")
    page.locator(".chip.filter").click()
    page.locator(".template", has_text="step # loss #").click()
    wait_for(lambda: "template=" in page.url)
    wait_for(
        lambda: (shown := rows(page).all_inner_texts()) and all("loss" in text for text in shown),
        because="other lines stay",
    )
    rows(page).last.click()
    page.locator(".number").nth(1).click()
    expect(page.locator('[data-lane^="field"] .name')).to_contain_text("loss")
    drawn = wait_for(
        lambda: page.evaluate("() => Object.entries(deepseekPainted.drawn).find(([name]) => name.startsWith('field:'))")
    )
    assert drawn[1]["v"] == 1.5 and drawn[1]["count"] == 600
    page.reload()
    expect(page.locator('[data-lane^="field"] .name')).to_contain_text("loss")
    page.get_by_role("button", name="loss ×").click()
    expect(page.locator('[data-lane^="field"]')).to_have_count(0)


def test_warnings_and_errors_are_counted_whichever_are_shown(scene: Scene, page: Page) -> None:
    scene.open(page, "small")
    expect(page.locator("#logs-count-30")).to_have_text("40")
    expect(page.locator("#logs-count-40")).to_have_text("1")  # one traceback of four lines
    page.locator(".segments").get_by_text("Errors").click()
    expect(page.locator(".log-rows .entry")).to_have_count(1)
    wait_for(lambda: "level=40" in page.url)
    expect(page.locator("#logs-count-30")).to_have_text("40")
    page.get_by_role("button", name="Next error").click()
    expect(page.locator(".entry.at .l .m")).to_have_text(TRACE[-1])
    page.locator(".nav").get_by_text("Flame").click()
    page.wait_for_selector(".flame-page")
    page.locator(".nav").get_by_text("Logs").click()
    expect(page.locator("#logs-count-30")).to_have_text("40")


@pytest.mark.parametrize("height", [700, 707, 713])
def test_the_first_line_in_view_is_never_cut(scene: Scene, page: Page, height: int) -> None:
    page.set_viewport_size({"width": 1440, "height": height})
    scene.open(page, "many")
    for key, line in (("", MANY - 1), ("Home", 0), ("End", MANY - 1)):
        if key:
            page.locator(".log-scroll").press(key)
        wait_for(lambda line=line: line in shown(page), because="the end is not reached")  # type: ignore[misc]
        top = page.locator(".log-scroll").evaluate("list => Math.round(list.getBoundingClientRect().top)")
        wait_for(lambda top=top: min(y for _, y in placed(page)) == top, because="the first line is cut")  # type: ignore[misc]


def test_milliseconds_are_shown_where_the_log_has_them(scene: Scene, page: Page) -> None:
    whole = [
        LogLine("whole", "w.log", 1764000000.25 + i, 20, f"2025-11-24 16:00:0{i} INFO saved {i}") for i in range(3)
    ]
    exact = [LogLine("exact", "e.log", 1764000000.25, 20, "2025-11-24 16:00:00,250 INFO saved")]
    arrived = [LogLine("arrived", "a.log", 1764000000.25, 20, "saved")]
    scene.store.append([*whole, *exact, *arrived])
    for run, pattern in (("whole", r"\d\d:\d\d:\d\d"), ("exact", r"[\d:]+\.250"), ("arrived", r"[\d:]+\.250")):
        scene.open(page, run)
        assert re.fullmatch(pattern, page.locator(".log-rows .entry .t").first.inner_text()), run
    page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=whole")
    expect(page.locator(".template code").first).to_have_text("saved #")


HITS_ON_THE_AXIS = """() => {
  const canvas = document.querySelector('.lane-density canvas');
  const foot = Math.round(canvas.height * 6 / 56);
  const { data } = canvas.getContext('2d').getImageData(0, canvas.height - foot, canvas.width, foot);
  return data.some((byte) => byte > 0);
}"""


def test_matches_stand_on_the_axis_and_nothing_moves_for_them(scene: Scene, page: Page) -> None:
    scene.open(page, "small")
    expect(page.locator(".lane-density .row.bad")).to_contain_text("4")
    top = page.locator(".log-scroll").bounding_box()
    assert not page.evaluate(HITS_ON_THE_AXIS)
    page.locator("#logs-text").fill("retrying")
    expect(page.locator(".hits")).to_have_text("40 matches")
    wait_for(lambda: page.evaluate(HITS_ON_THE_AXIS), because="no match is drawn")
    assert page.locator(".log-scroll").bounding_box() == top


@pytest.mark.parametrize("width", [1440, 1200, 820])
def test_the_tools_are_one_row_that_nothing_lies_over(scene: Scene, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    scene.open(page, "small", "&log=retrying" if width > 1199 else "")
    expect(page.locator("#logs-count-40")).to_have_text("1")
    parts = page.locator(".logs-controls > *, .logs-walk > *, .logs-bar > *").filter(visible=True)
    boxes = [box for part in parts.all() if (box := part.bounding_box()) and box["width"]]
    middles = {round(box["y"] + box["height"] / 2) for box in boxes}
    assert max(middles) - min(middles) <= 1, "not one row"
    ends = [(box["x"], box["x"] + box["width"]) for box in boxes]
    assert all(before[1] <= after[0] for before, after in pairwise(ends)), ends
    assert ends[-1][1] <= width


def test_view_options_close_by_a_click_elsewhere_and_by_escape_which_leaves_the_window(
    scene: Scene, page: Page
) -> None:
    scene.open(page, "small", f"&from={END_S - 510}&to={END_S - 490}&wrap=1")
    expect(page.locator(".log-rows.wraps")).to_be_visible()
    view_option(page, "Wrap long lines")
    assert "from=" in page.url
    page.get_by_text("View options").click()
    assert serious(page, ".logs-controls") == []
    page.locator(".template-panel h2").click()
    expect(page.get_by_label("All runs")).to_be_hidden()
    page.locator(".log-scroll").focus()
    page.keyboard.press("w")
    wait_for(lambda: "wrap" not in page.url, because="the key does not change the address")
    expect(page.locator(".log-rows.wraps")).to_have_count(0)


def test_fields_of_a_line_filter(scene: Scene, page: Page) -> None:
    scene.open(page, "small", "&log=checkpoint&only=1")
    rows(page).first.click()
    expect(page.locator(".detail .chip")).to_have_text(['path="/a/b.pt"', "shards=7", "rank=3"])
    page.locator(".detail .chip", has_text="shards=7").click()
    expect(page.locator("#logs-text")).to_have_value("shards=7")
    expect(rows(page)).to_have_count(1)


def test_lines_stand_still_below_a_pressed_button(scene: Scene, page: Page) -> None:
    """The browser forgets a click whose line is drawn anew meanwhile."""
    now = time.time()
    scene.store.append([LogLine("pressed", "p.log", now + i / 1000, 20, f"line {i}") for i in range(300)])
    scene.open(page, "pressed")
    expect(page.locator("#logs-lines .log-scroll")).to_be_visible()
    wait_for(lambda: shown(page)[-1:] == [299])
    stood = placed(page)
    point_at_list(page)
    page.mouse.down()
    with page.expect_response("**/logs/lines*"):
        scene.store.append([LogLine("pressed", "p.log", now + 1 + i / 1000, 20, f"line {300 + i}") for i in range(200)])
    page.wait_for_timeout(300)
    assert placed(page) == stood
    page.mouse.up()
    expect(page.locator(".log-rows .entry.open")).to_have_count(1)
    assert number(page.locator(".log-rows .entry.open").inner_text()) in dict(stood)


def test_new_lines_are_followed_until_a_user_scrolls_up(scene: Scene, page: Page) -> None:
    now = time.time()
    scene.store.append([LogLine("grows", "g.log", now + i / 1000, 20, f"line {i}") for i in range(300)])
    scene.open(page, "grows")
    wait_for(lambda: shown(page)[-1:] == [299])
    scene.store.append([LogLine("grows", "g.log", now + 1 + i / 1000, 20, f"line {300 + i}") for i in range(50)])
    wait_for(lambda: shown(page)[-1:] == [349], because="new lines are not followed")
    point_at_list(page)
    page.mouse.wheel(0, -900)
    wait_for(lambda: 349 not in shown(page))
    same = placed(page)
    scene.store.append([LogLine("grows", "g.log", now + 2 + i / 1000, 20, f"line {350 + i}") for i in range(50)])
    scene.store.append(
        [LogLine("grows", "late.log", now - 5, 20, "late")]
    )  # before all others: every line has another place
    expect(page.locator(".log-room")).to_have_attribute("style", f"height: {401 * 18}px;")
    wait_for(lambda: placed(page) == same, because="the lines jump")
    page.get_by_role("button", name="Follow").click()
    wait_for(lambda: shown(page)[-1:] == [399], because="the end is not shown again")


def test_a_search_streams_its_count_and_can_be_stopped(
    scene: Scene, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "SLICE_S", 0.0)  # each question searches one piece
    under_way = set[Request]()
    page.on("request", lambda request: under_way.add(request) if "/api/v1/logs/" in request.url else None)
    page.on("requestfinished", lambda request: under_way.discard(request))
    page.on("requestfailed", lambda request: under_way.discard(request))
    scene.open(page, "many")
    page.get_by_title("Regular expression").click()
    page.locator("#logs-text").fill(r"line \d*7 of")
    hits = page.locator(".hits")
    expect(hits).to_contain_text("matches in the newest")
    first = hits.inner_text()
    wait_for(lambda: hits.inner_text() != first, because="the count does not stream")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    wait_for(lambda: not under_way, because="a slice that was asked for before does not come")
    page.wait_for_timeout(300)  # until it is shown
    stopped = hits.inner_text()
    page.wait_for_timeout(300)
    assert hits.inner_text() == stopped and "of 30,000 lines" in stopped
    monkeypatch.setattr(searching, "SLICE_S", 5.0)
    page.get_by_role("button", name="Continue").click()
    expect(hits).to_have_text("3,000 matches")


def test_an_answer_that_fails_is_a_sentence_and_is_asked_for_again(scene: Scene, page: Page) -> None:
    fails = {"error": "the store cannot be read"}
    answer_again = answering(page, "**/api/v1/logs/lines*", lambda route: route.fulfill(status=503, json=fails))
    page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=small")
    expect(page.locator(".log-notice")).to_contain_text("The store cannot be read. Asking again in")
    answer_again()
    expect(rows(page).last).to_contain_text("step 599")
    expect(page.locator(".log-notice")).to_be_hidden()


def test_a_progress_bar_is_one_row_at_the_foot(scene: Scene, page: Page) -> None:
    scene.store.append(
        [
            LogLine("bars", "b.log", time.time(), 20, "begins"),
            ProgressBar("bars", "b.log", time.time(), " 40%|####  | 4/10"),
        ]
    )
    scene.open(page, "bars")
    expect(page.locator(".log-bars .m")).to_have_text("40%|####  | 4/10")
    scene.store.append([ProgressBar("bars", "b.log", time.time(), " 50%|##### | 5/10")])
    expect(page.locator(".log-bars .m")).to_have_text("50%|##### | 5/10")


def test_all_runs_and_none(scene: Scene, page: Page) -> None:
    scene.open(page, "small", "&all=1&log=step+7&only=1")
    expect(rows(page)).to_have_count(11)
    expect(page.locator(".log-rows .f.run").first).to_have_text("small")
    page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=none")
    expect(page.locator(".log-notice")).to_contain_text("There is no run “none”")
    page.goto(f"http://127.0.0.1:{scene.web.port}/logs?run=small&level=40&file=train.log")
    expect(page.locator(".log-notice")).to_have_text("No lines match the filters.")


def test_a_phone_shows_the_lines(scene: Scene, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    scene.open(page, "small")
    assert page.evaluate(
        "() => document.documentElement.scrollWidth <= innerWidth && document.querySelector('.logs-page').scrollWidth <= innerWidth"
    )
    page.locator(".log-rows .entry .l").last.click()
    expect(page.locator(".detail .btn").first).to_be_visible()
    page.get_by_text("View options").click()
    page.locator(".segments").get_by_text("Errors").click()
    page.get_by_label("Wrap long lines").check()
    wait_for(lambda: "level=40" in page.url and "wrap=1" in page.url, because="the options are out of reach")
    page.get_by_text("View options").click()
    expect(page.get_by_role("button", name="Follow")).to_be_visible()


@pytest.mark.parametrize(
    "search",
    [
        "",
        "?log=a+b&regex=1&case=1&only=1&all=1&wrap=1&level=30&file=x.log&file=y.log&rank=3&rank=0",
        "?level=7&rank=-1&rank=x&regex=yes&file=",
    ],
)
def test_python_and_javascript_read_addresses_alike(ask: Ask, search: str) -> None:
    read: dict[str, Any] = ask(f"const {{ viewOf }} = await load('logs/logs_view.js'); return viewOf({search!r});")
    assert read == view_of(query_of(search))
