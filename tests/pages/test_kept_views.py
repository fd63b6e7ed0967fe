"""Views stay alive between pages: what was drawn, selected and scrolled is there again at once, unless the address asks for something else."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from collectors.records import LogLine, Points, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import drag, wait_for
from tests.support.serving import Web, served

LABELS = labels_of(host="box", rank=0)
TAGS = tuple(f"part{i:02}/loss" for i in range(40))
MARK = "element => { element.dataset.mark = 'kept'; }"


class Scene:
    def __init__(self, store: Store, web: Web) -> None:
        self.store, self.web = store, web
        self.step = 0

    def open(self, page: Page, path: str) -> None:
        page.goto(f"http://127.0.0.1:{self.web.port}{path}")

    def write(self, run: str, *, steps: int, value: float = 1.0) -> None:
        """Steps of that run that end now."""
        now_s = time.time()
        for i in range(steps):
            at_s = now_s - steps + i
            self.store.append([Points(run, LABELS, ("train/loss", *TAGS), (value,) * 41, at_s, self.step + i)])
        self.store.append([LogLine(run, "train.log", now_s - steps + i, 20, f"step {i}") for i in range(steps)])
        self.step += steps


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("kept")
    store = open_store(folder, write=True)
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        scene = Scene(store, web)
        scene.write("a", steps=300)
        scene.write("b", steps=300, value=7.0)
        yield scene
    queries.close()
    store.close()


def go(page: Page, name: str) -> None:
    page.locator(f"a[data-page='{name}']").first.click()


def arrive(page: Page, name: str, selector: str) -> None:
    go(page, name)
    expect(page.locator(selector).first).to_be_visible()


def pick_run(page: Page, name: str) -> None:
    page.locator("button.picker").click()
    page.locator(".pick .rows").get_by_text(name, exact=True).click()


def test_a_chart_is_the_same_element_and_is_there_without_an_answer(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 1)
    expect(page.locator("#react-entry-point section.lane canvas").first).to_be_visible()
    page.locator("section.lane canvas").first.evaluate(MARK)
    arrive(page, "Training", ".chart .uplot")
    page.route("**/api/v1/curves?**", lambda route: None)  # nothing is answered from now on
    arrive(page, "Live", "[data-mark='kept']")


def test_the_window_that_another_page_chose_is_shown(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    expect(page.locator("section.lane canvas").first).to_be_visible()
    arrive(page, "Logs", "#react-entry-point .log-rows .entry")
    drag(page, 0.4, 0.6)
    wait_for(lambda: "from=" in page.url)
    chosen = re.findall(r"from=([\d.]+)", page.url)
    go(page, "Live")
    wait_for(lambda: str(page.evaluate("() => deepseekPainted.window?.from ?? ''")).startswith(chosen[0][:13]))
    assert re.findall(r"from=([\d.]+)", page.url) == chosen
    assert page.evaluate("() => deepseekPainted.window") is not None


def test_another_run_of_the_address_is_drawn_anew(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    expect(page.locator("section.lane canvas").first).to_be_visible()
    arrive(page, "Training", ".chart .uplot")
    pick_run(page, "b")
    wait_for(lambda: "run=b" in page.url)
    go(page, "Live")
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 7)
    assert "run=b" in page.url


def test_back_leads_to_the_run_before_and_closes_a_chart_that_was_opened(scene: Scene, page: Page) -> None:
    scene.open(page, "/training?run=a")
    page.locator(".chart .chart-name").first.click()
    expect(page.locator(".curves-full")).to_be_visible()
    page.go_back()
    expect(page.locator(".curves-full")).to_be_hidden()
    page.go_forward()
    expect(page.locator(".curves-full")).to_be_visible()
    arrive(page, "Live", "section.lane canvas")
    pick_run(page, "b")
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 7)
    page.go_back()
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 1)
    assert "run=a" in page.url


def test_what_was_scrolled_stays_scrolled(scene: Scene, page: Page) -> None:
    scene.open(page, "/training?run=a&size=s")
    expect(page.locator(".chart .uplot").first).to_be_visible()
    scroll = page.locator(".curves-scroll")
    scroll.evaluate("element => (element.scrollTop = 400)")
    before = scroll.evaluate("element => element.scrollTop")
    assert before > 0
    arrive(page, "Live", "section.lane canvas")
    arrive(page, "Training", ".chart .uplot")
    expect(page.locator("#react-entry-point .curves-scroll")).to_be_visible()  # it is in Dash's layout again
    assert page.locator(".curves-scroll").evaluate("element => element.scrollTop") == before


def test_points_that_came_meanwhile_are_drawn(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 1)
    arrive(page, "Boards", "[data-kind] .uplot, .board-say, .boards-page")
    scene.write("a", steps=3, value=3.0)
    go(page, "Live")
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 3)
    scene.write("a", steps=3, value=4.0)  # and what comes now is heard again
    wait_for(lambda: page.evaluate("() => deepseekPainted.drawn['train/loss']?.v") == 4)


def test_a_page_that_is_left_asks_for_nothing_and_hears_no_key(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    expect(page.locator("section.lane canvas").first).to_be_visible()
    page.keyboard.press("9")
    wait_for(lambda: "/settings" in page.url)
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if re.search("/curves|/flame|/blame|/ledger", request.url) else None,
    )
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(2500)  # longer than what a shown page waits between two questions
    assert asked == []
    assert "at=" not in page.url


def test_controls_in_the_row_of_the_scope_are_those_of_the_page(scene: Scene, page: Page) -> None:
    scene.open(page, "/?run=a")
    ranges = page.locator("#when select")
    expect(ranges).to_have_count(1)
    arrive(page, "Training", ".chart .uplot")
    expect(ranges).to_have_count(0)
    arrive(page, "Live", "section.lane canvas")
    expect(ranges).to_have_count(1)
    ranges.select_option(index=1)
    wait_for(lambda: "span=" in page.url)


def test_what_a_control_of_one_page_said_is_not_heard_by_another(scene: Scene, page: Page) -> None:
    """The properties of Training's charts reached the Logs page, which then asked for a file named undefined."""
    scene.open(page, "/training?run=a")
    expect(page.locator("#training-size")).to_be_attached()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    arrive(page, "Logs", ".log-rows .entry")
    arrive(page, "Training", ".chart .uplot")
    arrive(page, "Logs", ".log-rows .entry")
    assert not [url for url in asked if "undefined" in url]
