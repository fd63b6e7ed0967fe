"""The Samples page in a real Chromium: what PyTorch's SummaryWriter, RunLog and wandb's calls logged, one run or two, and nothing that runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from collectors.records import Event, Points, Sample, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.event_records import MEDIA
from tests.support.following import Follower, until
from tests.support.pictures import png
from tests.support.serving import Web, served

BAD = "<img src=x onerror=alert(1)>"
RED = "() => [...document.querySelector('[data-name=\"val/image\"] canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"


class Scene:
    def __init__(self, log_dir: Path, store: Store, web: Web) -> None:
        self.log_dir, self.store, self.web = log_dir, store, web

    def open(self, page: Page, query: str) -> None:
        page.goto(f"http://127.0.0.1:{self.web.port}/samples?{query}")

    def text(self, run: str, name: str, step: int | None, text: str, **about: Any) -> None:
        given = {"kind": "text", "media": "text/plain", "data": text.encode(), "time_s": None, **about}
        self.store.append([Sample(run, name, step=step, length=len(text), **given)])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("page")
    log_dir = folder / "logs"
    for run in ("torch", "b"):
        (log_dir / run).mkdir(parents=True)
    for path in MEDIA.glob("events*"):
        (log_dir / "torch" / path.name).write_bytes(path.read_bytes())
    follower = Follower(log_dir)
    until(follower, lambda: sum(isinstance(one, Sample) for one in follower.records) == 12)
    follower.tail.close()
    store = open_store(folder / "data", write=True)
    store.append(follower.records)
    (log_dir / "b" / "blue.png").write_bytes(png(24, 16, (0, 0, 255)))
    (log_dir / "b" / "last.pt").write_bytes(bytes(5_200_000))
    store.append(
        [
            Sample("b", "val/image", "image", "image/png", None, 12, path="blue.png"),
            Event("b", "checkpoint", 1e9, 0, 12, 0.25, "last.pt"),
        ]
    )
    queries = Queries(open_store(folder / "data", write=False), log_dir, folder / "data")
    with served(queries) as web:
        yield Scene(log_dir, store, web)
    queries.close()
    store.close()


def card(page: Page, name: str) -> Any:
    return page.locator(f'.sample-card[data-name="{name}"]')


def test_what_a_summary_writer_wrote_is_seen_and_heard_at_a_step(scene: Scene, page: Page) -> None:
    scene.open(page, "run=torch")
    expect(card(page, "notes/text_summary").locator("pre")).to_have_text("step 20 <script>alert(1)</script>")
    wait_for(
        lambda: page.locator("audio").count() and page.locator("audio").evaluate("(player) => player.duration") == 0.25,
        because="no audio",
    )
    page.wait_for_selector('[data-name="val/image"] canvas')
    assert page.evaluate(RED)[:3] == [255, 255, 255]
    expect(card(page, "weights").locator("p.sub").last).to_contain_text("500 values from")
    page.keyboard.press("ArrowLeft")
    expect(card(page, "notes/text_summary").locator("pre")).to_have_text("step 10 <script>alert(1)</script>")
    wait_for(lambda: page.evaluate(RED)[0] == 127, because="the image of step 10 is not shown")
    wait_for(lambda: "step=10" in page.url, because="the address says otherwise")
    page.get_by_role("button", name="Newest").click()
    wait_for(lambda: page.evaluate(RED)[0] == 255)
    wait_for(lambda: "step=" not in page.url, because="the address says otherwise")
    card(page, "val/image").get_by_role("button").click()
    expect(page.locator("dialog.sample-large img")).to_have_js_property("naturalWidth", 24)


def test_two_runs_stand_side_by_side_at_the_nearest_step_which_is_said(scene: Scene, page: Page) -> None:
    scene.open(page, "run=torch&runs=torch&runs=b&step=20")
    captions = card(page, "val/image").locator(".caption")
    expect(captions.nth(0)).to_contain_text("step 20")
    expect(captions.nth(1)).to_contain_text("step 12, nearest to 20")
    expect(card(page, "weights").locator(".caption").nth(1)).to_contain_text("none of this name")
    page.get_by_role("button", name="Newest").click()
    expect(captions.nth(0)).to_contain_text("step 10, nearest to 12")
    page.get_by_role("button", name="Alone").click()
    expect(captions).to_have_count(1)
    wait_for(lambda: "runs=" not in page.url, because="the address says otherwise")


def test_nothing_that_was_logged_becomes_a_part_of_the_page(scene: Scene, page: Page) -> None:
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    scene.text("bad", f"{BAD} \"'&,%2F\u202e", 1, BAD)
    scene.text(
        "bad",
        "table",
        1,
        json.dumps({"columns": [BAD], "rows": [[BAD, {"a": BAD}], "odd"], "total": BAD}),
        kind="table",
    )
    scene.text("bad", "no table", 1, "{" + BAD, kind="table")
    scene.text("bad", "no histogram", 1, '{"edges": [1, "x"], "counts": [1]}', kind="histogram")
    scene.store.append([Sample("bad", "gone", "image", "image/png", None, 1, path=f"{BAD}.png")])
    (scene.log_dir / "bad").mkdir()
    (scene.log_dir / "bad" / "x.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{BAD}</svg>'
    )
    scene.store.append([Sample("bad", "drawing", "text", "image/svg+xml", None, 1, path="x.svg")])
    (scene.log_dir / "bad" / "broken.png").write_bytes(png()[:50])
    scene.store.append([Sample("bad", "broken", "image", "image/png", None, 1, path="broken.png")])
    scene.open(page, "run=bad")
    expect(page.locator(".sample-card")).to_have_count(7)
    expect(card(page, "drawing").locator("pre")).to_contain_text("onload")
    expect(card(page, "table").locator("th").first).to_have_text(BAD)
    expect(card(page, "no table").locator("pre")).to_have_text("{" + BAD)
    expect(card(page, "no histogram").locator(".sample")).to_contain_text("holds no values")
    expect(card(page, "gone").locator(".sample")).to_contain_text("not there")
    expect(card(page, "broken").locator(".sample")).to_contain_text("damaged")
    assert page.locator(".samples img, .samples script, .samples svg, .samples iframe").count() == 0 and alerts == []


MARKDOWN = """# Title <img src=x onerror=alert(1)>
**bold** and `code <b>`
- one <script>alert(1)</script>
- [web](https://example.org/a) [run](javascript:alert(1)) [data](data:text/html,x) [odd](JaVaScRiPt:alert(1)) ![pixel](https://example.org/track.png)

> quote <iframe src=https://example.org></iframe>

| a | b |
|---|---|
| <svg onload=alert(1)> | 2 |
```
<style>*{display:none}</style>
```
"""


def test_markdown_is_rendered_and_nothing_in_it_is_html_or_runs(scene: Scene, page: Page) -> None:
    alerts: list[str] = []
    asked: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url) if "example.org" in request.url else None)
    scene.text("marked", "notes", 1, MARKDOWN)
    scene.text("marked", "nested", 1, "> " * 500 + "**" * 3000 + "[" * 3000)
    scene.open(page, "run=marked")
    notes = card(page, "notes").locator(".markdown")
    expect(notes.locator("h4")).to_have_text("Title <img src=x onerror=alert(1)>")
    expect(notes.locator("strong")).to_have_text("bold")
    expect(notes.locator("td").first).to_have_text("<svg onload=alert(1)>")
    expect(card(page, "nested").locator(".markdown")).to_be_attached()
    links = notes.locator("a")
    assert links.evaluate_all("links => links.map((link) => link.href)") == [
        "https://example.org/a",
        "https://example.org/track.png",
    ]
    assert links.first.get_attribute("rel") == "noopener noreferrer nofollow"
    assert page.locator(".samples :is(img, script, svg, iframe, style)").count() == 0 and alerts == [] and asked == []
    card(page, "notes").get_by_role("button", name="Source").click()
    expect(card(page, "notes").locator("pre")).to_contain_text("# Title <img")


def test_a_list_of_images_is_one_gallery_with_captions(scene: Scene, page: Page) -> None:
    (scene.log_dir / "lists").mkdir()
    names = ["examples", "examples/1", "examples/2"]
    for name in names:
        path = f"{name.replace('/', '-')}.png"
        (scene.log_dir / "lists" / path).write_bytes(png(24, 16, (0, 0, 255)))
        scene.store.append([Sample("lists", name, "image", "image/png", None, 1, path=path)])
    captions = {"columns": ["caption"], "rows": [["a cat"], [BAD], [""]]}
    scene.text("lists", "examples/captions", 1, json.dumps(captions), kind="table")
    scene.open(page, "run=lists")
    expect(page.locator(".sample-card")).to_have_count(1)
    expect(card(page, "examples").locator("canvas")).to_have_count(3)
    expect(card(page, "examples").locator(".sample-words")).to_have_text(["a cat", BAD, ""])
    image = card(page, "examples").locator("canvas").first
    assert image.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    page.get_by_role("button", name="Pixels").click()
    wait_for(lambda: image.evaluate("image => image.clientWidth") == 24, because="a pixel is not a pixel")
    wait_for(lambda: "fit=pixels" in page.url)
    card(page, "examples").get_by_role("button").first.click()
    large = page.locator("dialog.sample-large img")
    wait_for(lambda: large.evaluate("image => image.clientWidth") > 200)
    assert large.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_the_histograms_of_a_run_stand_below_its_curves(scene: Scene, page: Page) -> None:
    scene.store.append([Points("torch", labels_of(rank=0), ("loss",), (1.0,), 1e9, 1)])
    page.goto(f"http://127.0.0.1:{scene.web.port}/training?run=torch")
    cards = page.get_by_role("region", name="Histograms").locator(".sample-card")
    expect(cards).to_have_count(1)
    expect(cards).to_have_attribute("data-kind", "histogram")
    cards.scroll_into_view_if_needed()
    expect(cards.locator("canvas")).to_have_attribute("aria-label", re.compile("Histogram at step"))
    page.goto(f"http://127.0.0.1:{scene.web.port}/training?run=torch&q=nothing")
    expect(page.get_by_role("region", name="Histograms")).to_have_count(0)


def test_a_run_without_samples_links_to_runs_that_have_some(scene: Scene, page: Page) -> None:
    scene.store.append([Event("bare", "note", 1e9)])
    scene.open(page, "run=bare")
    page.locator(".sample-elsewhere").get_by_role("link").first.click()
    wait_for(lambda: page.locator(".sample-card").count() > 0)


def test_thousands_of_names_are_searched_and_few_are_loaded(scene: Scene, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v1/sample" in request.url else None)
    scene.store.append(
        [Sample("many", f"layer{i}/text", "text", "text/plain", None, 1, data=b"x", length=1) for i in range(3000)]
    )
    scene.open(page, "run=many")
    expect(page.locator(".sample-card")).to_have_count(60)
    expect(page.locator(".sample-bar")).to_contain_text("3,000 names")
    page.get_by_label("Find a name").fill("layer29 text")
    expect(page.locator(".sample-bar")).to_contain_text("111 of 3,000 names")
    page.get_by_role("button", name="further names").click()
    expect(page.locator(".sample-card")).to_have_count(111)
    wait_for(lambda: "find=layer29" in page.url, because="the address says otherwise")
    assert len(asked) < 250


def test_new_samples_and_none_at_all_are_told(scene: Scene, page: Page) -> None:
    scene.text("grows", "answer", 1, "one", time_s=time.time())
    scene.open(page, "run=grows")
    expect(card(page, "answer").locator("pre")).to_have_text("one")
    scene.text("grows", "answer", 2, "two", time_s=time.time())
    expect(card(page, "answer").locator("pre")).to_have_text("two")
    scene.store.append([Event("nothing", "note", 1e9)])
    scene.open(page, "run=nothing")
    expect(page.locator(".sample-notice")).to_contain_text("No samples yet")
    scene.open(page, "run=there+is+none")
    expect(page.locator(".sample-notice")).to_contain_text("No samples yet")


def test_checkpoints_have_their_step_age_and_size(scene: Scene, page: Page) -> None:
    scene.open(page, "run=b")
    row = page.locator(".checkpoints tbody tr")
    expect(row).to_have_count(1)
    cells = row.locator("td").all_inner_texts()
    assert cells[0] == "12" and cells[1].endswith("days") and cells[2:] == ["5.2 MB", "250 ms", "last.pt"]


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_nothing_is_cut_off(scene: Scene, page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    scene.open(page, "run=torch&runs=torch&runs=b")
    page.wait_for_selector(".sample-image canvas")
    assert page.evaluate(
        "() => document.documentElement.scrollWidth <= innerWidth && document.querySelector('.samples-page').scrollWidth <= innerWidth"
    )
