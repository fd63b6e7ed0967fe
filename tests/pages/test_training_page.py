"""The Training page: every series of the chosen runs as a chart, what a user does with them, and what stands in the address."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.user_files.run_notes import save_about
from tests.conftest import standing, wait_for
from tests.support.serving import served
from tests.support.training_house import (
    NAMELESS,
    ODD,
    House,
    address,
    curve,
    drag,
    open_training,
    painted,
    plot,
    titles,
    use_menu,
)
from tests.support.training_house import house as house  # a fixture

EXPECTED_ERRORS = (
    "ERR_CONNECTION_REFUSED",
    "/api/v1/run?run=leaves",
    "/api/v1/series?run=leaves",
)  # it may be asked for while it leaves


def test_of_a_thousand_series_only_those_in_view_are_made_and_read(house: House, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/curves?" in request.url else None)
    open_training(house, page, "layer000/part0", run="tags", size="s")
    assert re.search("1,00[0-9] series", page.locator(".curves-strip").inner_text()), (
        "the run's, and soon the machine's"
    )
    assert len(titles(page)) < 80
    wait_for(lambda: painted(page, "layer003/part3"))
    assert sum(url.count("expr=") for url in asked) < 80
    page.locator(".curves-scroll").evaluate("scroll => (scroll.scrollTop = scroll.scrollHeight)")
    wait_for(lambda: painted(page, "layer249/part3"), because="the last chart is not drawn")
    assert len(titles(page)) < 80
    assert page.evaluate("() => document.querySelectorAll('.chart canvas').length") < 80


def test_every_control_has_a_name(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    names = (
        "Runs",
        "Find a series",
        "Match",
        "x",
        "Smoothing",
        "Length of smoothing",
        "Group by",
        "Spread",
        "Baseline",
        "Size",
    )
    for name in names:
        expect(page.get_by_label(name).first).to_be_attached()
    nameless = page.evaluate(NAMELESS)
    assert nameless == [], "buttons and inputs without a name"


def test_values_that_are_no_numbers_are_marked_and_runs_without_a_series_are_named(house: House, page: Page) -> None:
    open_training(house, page, "val/acc", runs=["a", "b"])
    assert painted(page, "val/acc")["bad"] == ["NaN", "inf"]
    assert painted(page, "train/loss")["curves"] == 2
    assert not page.get_by_text("not drawn").is_visible(), "a run without a series is usual"
    page.get_by_text("1 run without some of these series").click()
    assert "b" in page.locator(".left-out td").all_inner_texts()


def test_all_runs_below_the_pointer_are_told_the_highest_first_on_one_crosshair(house: House, page: Page) -> None:
    open_training(house, page, "train/lr", runs=["a", "b"])
    wait_for(lambda: painted(page, "train/loss"))
    plot(page, "train/loss").hover(position={"x": 80, "y": 40})  # where both have points
    wait_for(lambda: page.locator(".curves-tip").is_visible())
    rows = page.locator(".curves-tip tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["b", "a"]
    crosses = page.locator(".chart-cross")
    shown = [crosses.nth(i).is_visible() for i in range(crosses.count())]
    assert shown.count(True) >= 2


def test_charts_are_pinned_hidden_moved_and_folded_and_the_browser_remembers(house: House, page: Page) -> None:
    open_training(house, page, "val/acc", run="a")
    use_menu(page, "val/acc", "Pin")
    wait_for(lambda: "Pinned" in page.locator(".curves-head").first.inner_text())
    assert titles(page)[0] == "val/acc"
    page.locator('.chart[data-tag="train/lr"] .chart-name').focus()
    page.keyboard.press("Shift+ArrowLeft")
    use_menu(page, "tokens", "Hide")
    wait_for(lambda: "tokens" not in titles(page))
    open_training(house, page, "train/loss", run="b")
    open_training(house, page, "val/acc", run="a")
    places = {tag: standing(page, f'.chart[data-tag="{tag}"]') for tag in ("val/acc", "train/loss", "train/lr")}
    assert (places["val/acc"]["y"], places["val/acc"]["x"]) < (places["train/lr"]["y"], places["train/lr"]["x"])
    assert places["train/lr"]["x"] < places["train/loss"]["x"]
    page.get_by_text("1 hidden").click()
    page.get_by_text("Show tokens").click()
    wait_for(lambda: "tokens" in titles(page))


def test_the_ranks_of_a_run_are_one_curve_or_each_its_own(house: House, page: Page) -> None:
    open_training(house, page, "loss", run="ddp", chart="loss")
    assert painted(page, "loss")["curves"] == 1
    assert painted(page, "loss")["y"] == pytest.approx([0.94, 2.06])
    page.get_by_text("View options").click()
    page.get_by_text("each rank").click()
    wait_for(lambda: painted(page, "loss").get("curves") == 2, because="the ranks are not drawn")
    wait_for(lambda: page.locator(".full-rows tbody tr").count() == 2)
    names = page.locator(".full-rows tbody td:first-child").all_inner_texts()
    assert names == ["ddp, rank 0", "ddp, rank 1"], "of a loss, the lowest first"


def test_of_more_runs_than_fit_it_is_said_how_many_are_not_drawn(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", runs=["a", *(f"nobody/{i}" for i in range(202))])
    wait_for(lambda: "Not drawn: 3 of the 203 chosen runs" in page.locator(".curves > .notice").inner_text())
    assert len(address(page)["runs"]) == 203


def test_names_are_text_wherever_they_stand(house: House, page: Page) -> None:
    name = "<img src=x onerror=alert(1)>/a,b*"
    open_training(house, page, name, runs=[ODD, "a"], chart=name)
    plot(page, name).hover()
    assert page.locator(".curves img, .curves b[onclick], .curves-tip img").count() == 0
    assert "[U+202E]" in page.locator(".strip-names").inner_text()
    wait_for(lambda: page.locator(".full-rows tbody tr").count() == 1)
    assert painted(page, name)["points"] == 3


@pytest.mark.parametrize(
    ("item", "ending"),
    [("Save as PNG", "png"), ("Save as SVG", "svg"), ("Save as CSV", "csv"), ("Save as JSON", "json")],
)
def test_a_chart_is_saved_as_a_file(house: House, page: Page, item: str, ending: str) -> None:
    open_training(house, page, "train/loss", runs=["a", "b"])
    with page.expect_download() as download:
        use_menu(page, "train/loss", item)
    assert download.value.suggested_filename == f"a b train-loss.{ending}"
    content = Path(download.value.path()).read_bytes()
    if ending == "csv":
        lines = content.decode().splitlines()
        assert lines[0].startswith("run,group,series,x,")
        assert len(lines) == 1 + 400
    elif ending == "json":
        held = json.loads(content)
        assert [len(xs) for xs, _ in held["uplot"]["data"][1:]] == [200, 200]
    else:
        assert content.startswith(b"\x89PNG" if ending == "png" else b"<svg")


def test_a_run_that_grows_is_drawn_on_without_moving_what_a_user_set(house: House, page: Page) -> None:
    now = time.time()
    house.writer.append(curve("growing", "loss", [1.0] * 50, now - 50))
    open_training(house, page, "loss", runs=["growing"])
    assert painted(page, "loss")["x"] == [0, 49]
    house.writer.append(curve("growing", "loss", [2.0] * 10, time.time(), 50))
    wait_for(lambda: painted(page, "loss").get("x") == [0, 59], because="the new points are not drawn")
    drag(page, "loss", 0.2, 0.6)
    zoomed = wait_for(lambda: painted(page, "loss") if painted(page, "loss").get("x", [0])[0] > 5 else {})["x"]
    house.writer.append(
        [
            *curve("growing", "loss", [3.0] * 5, time.time(), 60),
            *curve("growing", "new/series", [3.0] * 5, time.time(), 60),
        ]
    )
    wait_for(lambda: "2 series" in page.locator(".strip-found").inner_text(), because="the new series is not there")
    assert painted(page, "loss")["x"] == zoomed


def test_a_series_that_comes_while_the_list_is_on_its_way_is_shown(house: House, page: Page) -> None:
    house.writer.append(curve("new", "loss", [1.0] * 50, time.time() - 50))

    def late(route: Route) -> None:
        answer = route.fetch()
        house.writer.append(curve("new", "new/series", [3.0] * 5, time.time(), 60))
        time.sleep(2.5)  # the server's state tells of it meanwhile
        route.fulfill(response=answer)

    page.route("**/api/v1/tags*", late, times=1)
    open_training(house, page, "loss", runs=["new"])
    wait_for(lambda: "2 series" in page.locator(".strip-found").inner_text(), because="the new series is not there")


def test_a_run_has_the_name_that_a_user_gave_it(house: House, page: Page) -> None:
    house.writer.append(curve("renamed", "train/loss", [1.0] * 50))
    save_about(house.data_dir, "renamed", {"name": "the good one"})
    open_training(house, page, "train/loss", runs=["renamed", "a"])
    wait_for(
        lambda: "the good one" in page.locator(".strip-names").inner_text(), because="the legend has the folder's name"
    )
    plot(page, "train/loss").hover(position={"x": 80, "y": 40})  # where both have points
    wait_for(
        lambda: "the good one" in page.locator(".curves-tip").inner_text(), because="the tip has the folder's name"
    )


def test_a_deleted_run_leaves_the_charts(house: House, page: Page) -> None:
    for run in ("stays", "leaves"):
        house.writer.append(curve(run, "loss", [1.0] * 50, time.time() - 50))
    open_training(house, page, "loss", runs=["stays", "leaves"])
    assert painted(page, "loss")["curves"] == 2
    house.writer.delete("leaves")
    wait_for(lambda: painted(page, "loss").get("curves") == 1, because="the deleted run is drawn still")


def test_where_nothing_is_found_the_search_can_be_changed(house: House, page: Page) -> None:
    open_training(house, page, run="a", q="(((", match="regex")
    page.locator("#training-q").fill("loss")
    wait_for(lambda: painted(page, "train/loss"))


def test_an_answer_that_breaks_off_is_asked_again(house: House, page: Page) -> None:
    page.route("**/api/v1/curves*", lambda route: route.fulfill(body='{"cur', content_type="application/json"), times=1)
    page.route("**/api/v1/tags*", lambda route: route.fulfill(body='{"ta', content_type="application/json"), times=1)
    open_training(house, page, "train/loss", run="a")


def test_what_cannot_be_shown_is_said_in_a_sentence(house: House, page: Page) -> None:
    open_training(house, page, run="nobody")
    wait_for(lambda: "There is no run “nobody”" in page.locator(".curves-said").inner_text())
    open_training(house, page, runs=["a"], x="no such series", chart="train/loss")
    wait_for(lambda: page.locator(".curves-full .chart-instead").inner_text().endswith("."))


def test_without_a_run_the_page_says_how_to_make_one_and_tells_when_the_connection_is_lost(
    tmp_path: Path, page: Page
) -> None:
    open_store(tmp_path, write=True).close()
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        page.goto(f"http://127.0.0.1:{web.port}/training")
        wait_for(lambda: "deepseek-dashboard run --log-dir" in page.locator(".curves-said").inner_text())
        wait_for(lambda: page.locator("#training-x").count() > 0)
    wait_for(lambda: "Connection lost" in page.locator(".curves > .notice").inner_text())
    queries.close()
