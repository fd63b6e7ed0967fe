"""The Training page: every series of the chosen runs as a chart, what a user does with them, and what stands in the address."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Error, Locator, Page, Route

from collectors.records import Points, labels_of
from collectors.store.open import open_store
from collectors.store.protocol import Store
from dashboard.queries import Queries
from dashboard.user_files.about import save_about
from tests.conftest import standing, wait_for
from tests.serving import Web, served

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
ODD = "<b onclick=alert(1)>odd</b> 50%2F\u202e, run"
EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED", "/api/v1/run?run=leaves")  # it may be asked for while it leaves

NAMELESS = """() => [...document.querySelectorAll("#page button, #page input")]
  .filter((one) => one.checkVisibility() && !one.textContent.trim() && !one.ariaLabel && !one.labels?.length && !one.closest("label"))
  .map((one) => one.outerHTML.slice(0, 200))"""


class House(NamedTuple):
    web: Web
    writer: Store
    data_dir: Path


def curve(run: str, series: str, values: list[float], start_s: float = T0, step: int = 0, gap_s: float = 1.0) -> list[Points]:
    return [Points(run, HOST, (series,), (value,), start_s + i * gap_s, step + i) for i, value in enumerate(values)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A long run with a spike, two short ones of which one lacks a series, one of 1,000 series, one with an odd name, and the host."""
    data_dir = tmp_path_factory.mktemp("training")
    writer = open_store(data_dir, write=True)
    spiked = [1.0 + (i % 7) / 100 for i in range(100_000)]
    spiked[61_803] = 9.0
    writer.append(curve("long", "train/loss", spiked, gap_s=0.01))
    for run, last in (("a", 1.0), ("b", 2.0)):
        names = ("train/loss", "train/lr")
        writer.append([Points(run, HOST, names, (last + 1 / (1 + i), i - 50.0), T0 + i, i) for i in range(200)])
    writer.append(curve("a", "val/acc", [{50: float("nan"), 150: float("inf")}.get(i, 0.5) for i in range(200)]))
    writer.append(curve("a", "tokens", [float(i * 10) for i in range(200)]))
    thousand = tuple(f"layer{i // 4:03d}/part{i % 4}" for i in range(1000))
    writer.append([Points("tags", HOST, thousand, tuple(float(i * j % 17) for j in range(1000)), T0 + i, i) for i in range(20)])
    writer.append(curve(ODD, "<img src=x onerror=alert(1)>/a,b*", [1.0, 2.0, 3.0]))
    for rank in (0, 1):
        writer.append(
            [Points("ddp", labels_of(host="box", rank=str(rank)), ("loss",), (1.0 + rank,), T0 + i, i) for i in range(50)]
        )
    machine = [Points(None, HOST, ("host/cpu_pct", "host/memory_used_bytes"), (50.0, 2.0**33), T0 + i, None) for i in range(200)]
    writer.append(machine)
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield House(web, writer, data_dir)
    queries.close()
    writer.close()


def open_training(house: House, page: Page, drawn: str = "", **query: Any) -> None:
    """Until the chart of a series is on its canvas, and the controls are there."""
    page.goto(f"http://127.0.0.1:{house.web.port}/training?{urlencode(query, doseq=True)}")
    if drawn:
        wait_for(lambda: painted(page, drawn), because=f"{drawn} is not drawn")
    wait_for(lambda: page.locator("#training-x").count() > 0, because="the controls are not there")


def painted(page: Page, tag: str) -> dict[str, Any]:
    """What the chart of a series has on its canvas; {} until it holds what was asked for."""
    found: dict[str, Any] = page.evaluate("(tag) => globalThis.deepseek?.curves[tag] ?? {}", tag)
    return {} if found.get("stale", True) else found


def plot(page: Page, tag: str) -> Locator:
    return page.locator(f'.chart[data-tag="{tag}"] .chart-plot').last


def drag(page: Page, tag: str, lo: float, hi: float) -> None:
    """Over a chart, from one share of its plot's width to another."""
    box = plot(page, tag).bounding_box()
    assert box is not None
    left, width = box["x"] + 44, box["width"] - 52
    page.mouse.move(left + lo * width, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(left + hi * width, box["y"] + 44, steps=5)
    page.mouse.up()


def address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlparse(page.evaluate("() => location.href")).query)


def titles(page: Page) -> list[str]:
    names: list[str] = page.locator(".chart").evaluate_all("charts => charts.map((chart) => chart.dataset.tag)")
    return names


def test_of_a_thousand_series_only_those_in_view_are_made_and_read(house: House, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/curves?" in request.url else None)
    open_training(house, page, "layer000/part0", run="tags", size="s")
    assert re.search("1,00[0-9] series", page.locator(".curves-strip").inner_text()), "the run's, and soon the machine's"
    assert len(titles(page)) < 80
    wait_for(lambda: painted(page, "layer003/part3"))
    assert sum(url.count("series=") for url in asked) < 80
    page.locator(".curves-scroll").evaluate("scroll => (scroll.scrollTop = scroll.scrollHeight)")
    wait_for(lambda: painted(page, "layer249/part3"), because="the last chart is not drawn")
    assert len(titles(page)) < 80
    assert page.evaluate("() => document.querySelectorAll('.chart canvas').length") < 80


def test_a_spike_of_one_step_in_100_000_is_drawn_at_every_zoom_smoothed_or_not(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="long")
    for smooth in ("none", "ema", "gauss"):
        assert wait_for(lambda: painted(page, "train/loss"))["top"] > 0.9, smooth
        assert address(page).get("smooth", ["none"]) == [smooth]
        page.keyboard.press("s")
    foot = page.locator('.chart[data-tag="train/loss"] .chart-foot').inner_text()
    assert re.fullmatch(r"\d+ of 100,000 points", foot)
    drag(page, "train/loss", 0.6, 0.64)
    wait_for(lambda: painted(page, "train/loss").get("x", [0])[0] > 59_000)
    drawn = wait_for(lambda: painted(page, "train/loss"))
    assert drawn["top"] > 0.9
    assert drawn["x"][1] < 65_000


def test_a_drag_zooms_all_charts_and_0_shows_all_of_it_again(house: House, page: Page) -> None:
    open_training(house, page, "train/lr", runs=["a", "b"])
    whole = wait_for(lambda: painted(page, "train/loss"))["x"]
    drag(page, "train/lr", 0.25, 0.5)
    zoomed = wait_for(lambda: painted(page, "train/loss") if painted(page, "train/loss").get("x") != whole else {})["x"]
    assert zoomed == pytest.approx([50, 100], abs=3)
    assert painted(page, "train/lr")["x"] == zoomed
    assert page.locator(".strip-zoomed").inner_text().startswith("steps 5")
    assert [float(address(page)[name][0]) for name in ("lo", "hi")] == pytest.approx(zoomed, abs=0.01)
    page.keyboard.press("0")
    wait_for(lambda: painted(page, "train/loss").get("x") == whole, because="not all of it is shown again")
    assert "lo" not in address(page)


def test_a_permalink_shows_the_same(house: House, page: Page) -> None:
    query = {
        "runs": ["b", "a"],
        "x": "tokens",
        "smooth": "ema:25",
        "ylog": "1",
        "clip": "1",
        "base": "a",
        "q": "loss",
        "lo": 100,
        "hi": 900,
    }
    open_training(house, page, "train/loss", **query)
    wait_for(lambda: "2 selected" in page.locator("#training-runs").inner_text(), because="the controls do not show the runs")
    assert {name: address(page)[name] for name in query} == parse_qs(urlencode(query, doseq=True))
    assert painted(page, "train/loss")["x"] == [100, 900]
    assert page.locator("#training-q").input_value() == "loss"
    assert page.locator("#training-amount").input_value() == "25"
    before = page.evaluate("() => location.search")
    page.reload()
    drawn = wait_for(lambda: painted(page, "train/loss"))
    assert drawn["x"] == [100, 900]
    assert page.evaluate("() => location.search") == before


def test_every_control_has_a_name(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    names = ("Runs", "Find a series", "How", "x", "Smoothing", "Length of smoothing", "Group by", "Spread", "Baseline", "Size")
    assert [name for name in names if page.get_by_label(name, exact=False).count() == 0] == []
    nameless = page.evaluate(NAMELESS)
    assert nameless == [], "buttons and inputs without a name"


def test_keys_and_controls_change_the_same_view(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.keyboard.press("y")
    wait_for(lambda: page.locator("#training-flags input").nth(0).is_checked(), because="the control does not follow the key")
    assert wait_for(lambda: address(page).get("ylog")) == ["1"]
    wait_for(lambda: "not on a log axis" in page.locator('.chart[data-tag="train/lr"] .chart-foot').inner_text())
    page.locator("#training-flags input").nth(0).click()
    wait_for(lambda: "ylog" not in address(page), because="the charts do not follow the control")
    page.keyboard.press("/")
    page.keyboard.type("acc")
    wait_for(lambda: titles(page) == ["val/acc"], because="the search finds something else")
    assert "1 of" in page.locator(".strip-found").inner_text()
    page.keyboard.press("Control+a")
    page.keyboard.type("(")
    page.locator("#training-match").click()
    page.get_by_text("regex", exact=True).click()
    wait_for(lambda: "not a regular expression" in page.locator(".strip-found").inner_text())


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


def test_what_happened_at_a_point_is_a_window_of_that_run_on_live_and_flame(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="long")
    drag(page, "train/loss", 0.5, 0.6)
    wait_for(lambda: "lo" in address(page))
    page.get_by_text("What happened here?").click()
    wait_for(lambda: page.locator(".curves-card a").count() == 2, because="there are no links")
    live, flame = (urlparse(str(link.get_attribute("href"))) for link in page.locator(".curves-card a").all())
    assert (live.path, flame.path) == ("/", "/flame")
    lo, hi = (float(address(page)[name][0]) for name in ("lo", "hi"))
    window = {name: float(values[0]) for name, values in parse_qs(live.query).items() if name != "run"}
    assert window["from"] == pytest.approx(T0 + lo * 0.01, abs=0.05)
    assert window["to"] == pytest.approx(T0 + hi * 0.01, abs=0.05)
    assert parse_qs(flame.query)["run"] == ["long"]


def test_charts_are_pinned_hidden_moved_and_folded_and_the_browser_remembers(house: House, page: Page) -> None:
    open_training(house, page, "val/acc", run="a")
    page.locator('.chart[data-tag="val/acc"]').hover()
    page.locator('[aria-label="Pin val/acc"]').click()
    wait_for(lambda: "Pinned" in page.locator(".curves-head").first.inner_text())
    assert titles(page)[0] == "val/acc"
    page.locator('.chart[data-tag="train/lr"] .chart-name').focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.locator('.chart[data-tag="tokens"]').hover()
    page.locator('[aria-label="Hide tokens"]').click()
    wait_for(lambda: "tokens" not in titles(page))
    open_training(house, page, "train/loss", run="b")
    open_training(house, page, "val/acc", run="a")
    places = {tag: standing(page, f'.chart[data-tag="{tag}"]') for tag in ("val/acc", "train/loss", "train/lr")}
    assert places["val/acc"]["y"] < places["train/lr"]["y"]
    assert places["train/lr"]["x"] < places["train/loss"]["x"]
    page.get_by_text("1 hidden").click()
    page.get_by_text("Show tokens").click()
    wait_for(lambda: "tokens" in titles(page))


def test_a_chart_opens_to_full_size_with_a_row_for_each_run(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", runs=["a", "b"])
    page.locator('.chart[data-tag="train/loss"] .chart-name').click()
    wait_for(lambda: page.locator(".curves-full .full-rows tbody tr").count() == 2)
    assert address(page)["chart"] == ["train/loss"]
    assert plot(page, "train/loss").bounding_box()["width"] > 1000  # type: ignore[index]
    page.keyboard.press("Escape")
    assert not page.locator(".curves-full").is_visible()
    assert "chart" not in address(page)


def test_the_machine_is_drawn_along_time_and_on_steps_it_says_where(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.locator(".curves-scroll").evaluate("scroll => (scroll.scrollTop = scroll.scrollHeight)")
    wait_for(lambda: "recorded by time" in page.locator(".curves-field").inner_text())
    page.keyboard.press("a")
    drawn = wait_for(lambda: painted(page, "host/cpu_pct"), because="the host is not drawn along relative time")
    assert drawn["x"] == pytest.approx([0, 199], abs=2)
    assert "GiB" in page.locator('.chart[data-tag="host/memory_used_bytes"] .chart-name').inner_text()


def test_the_ranks_of_a_run_are_one_curve_or_each_its_own(house: House, page: Page) -> None:
    open_training(house, page, "loss", run="ddp", chart="loss")
    assert painted(page, "loss")["curves"] == 1
    assert painted(page, "loss")["y"] == pytest.approx([0.94, 2.06])
    page.locator("#training-flags input").nth(3).click()
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


@pytest.mark.parametrize(("item", "ending"), [("PNG", "png"), ("SVG", "svg"), ("CSV of what is visible", "csv"), ("JSON", "json")])
def test_a_chart_is_saved_as_a_file(house: House, page: Page, item: str, ending: str) -> None:
    open_training(house, page, "train/loss", runs=["a", "b"])
    page.locator('.chart[data-tag="train/loss"]').hover()
    page.locator('[aria-label="Export train/loss"]').click()
    with page.expect_download() as download:
        page.locator(".curves-menu").get_by_text(item, exact=True).click()
    assert download.value.suggested_filename == f"train-loss.{ending}"
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
        [*curve("growing", "loss", [3.0] * 5, time.time(), 60), *curve("growing", "new/series", [3.0] * 5, time.time(), 60)]
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
    wait_for(lambda: "the good one" in page.locator(".strip-names").inner_text(), because="the legend has the folder's name")
    plot(page, "train/loss").hover(position={"x": 80, "y": 40})  # where both have points
    wait_for(lambda: "the good one" in page.locator(".curves-tip").inner_text(), because="the tip has the folder's name")


def test_a_run_that_is_forgotten_leaves_the_charts(house: House, page: Page) -> None:
    for run in ("stays", "leaves"):
        house.writer.append(curve(run, "loss", [1.0] * 50, time.time() - 50))
    open_training(house, page, "loss", runs=["stays", "leaves"])
    assert painted(page, "loss")["curves"] == 2
    house.writer.forget("leaves")
    wait_for(lambda: painted(page, "loss").get("curves") == 1, because="the forgotten run is drawn still")


def test_where_nothing_is_found_the_search_can_be_changed(house: House, page: Page) -> None:
    open_training(house, page, run="a", q="(((", match="regex")
    page.locator("#training-q").fill("loss")
    wait_for(lambda: painted(page, "train/loss"))


def test_an_answer_that_breaks_off_is_asked_again(house: House, page: Page) -> None:
    page.route("**/api/v1/curves*", lambda route: route.fulfill(body='{"cur', content_type="application/json"), times=1)
    page.route("**/api/v1/tags*", lambda route: route.fulfill(body='{"ta', content_type="application/json"), times=1)
    open_training(house, page, "train/loss", run="a")


def test_a_letter_is_a_key_also_where_a_list_was_used_last(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.locator("#training-x").click()
    page.get_by_text("relative time", exact=True).click()
    wait_for(lambda: address(page).get("x") == ["relative"])
    page.keyboard.press("a")
    wait_for(lambda: address(page).get("x") == ["time"])
    assert page.locator(".dash-dropdown-content").count() == 0


def test_a_click_opens_what_happened_there_and_it_stays(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    plot(page, "train/loss").click(position={"x": 150, "y": 40})
    wait_for(lambda: page.locator(".curves-card a").count() == 2, because="there are no links")
    page.wait_for_timeout(300)
    assert page.locator(".curves-card").is_visible()


def test_a_control_counts_that_is_used_right_after_a_key(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    held: list[Route] = []
    page.route("**/_dash-update-component*", lambda route: held.append(route))
    flags = page.locator("#training-flags input")
    page.keyboard.press("y")
    wait_for(lambda: flags.nth(0).is_checked())
    wait_for(lambda: address(page).get("ylog") == ["1"])
    flags.nth(0).click()
    wait_for(lambda: not flags.nth(0).is_checked())
    page.unroute_all(behavior="ignoreErrors")  # lets go of those that are held
    for route in held:
        with suppress(Error):
            route.continue_()
    wait_for(lambda: "ylog" not in address(page), because="the charts do not follow the control")


def test_what_cannot_be_shown_is_said_in_a_sentence(house: House, page: Page) -> None:
    open_training(house, page, run="nobody")
    wait_for(lambda: "There is no run “nobody”" in page.locator(".curves-said").inner_text())
    open_training(house, page, runs=["a"], x="no such series", chart="train/loss")
    wait_for(lambda: page.locator(".curves-full .chart-instead").inner_text().endswith("."))


def test_without_a_run_the_page_says_how_to_make_one_and_tells_when_the_connection_is_lost(tmp_path: Path, page: Page) -> None:
    open_store(tmp_path, write=True).close()
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        page.goto(f"http://127.0.0.1:{web.port}/training")
        wait_for(lambda: "Any JSONL file there becomes one" in page.locator(".curves-said").inner_text())
        wait_for(lambda: page.locator("#training-x").count() > 0)
    wait_for(lambda: "Connection lost" in page.locator(".curves > .notice").inner_text())
    queries.close()


def test_the_list_of_keys_names_those_of_this_page(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.keyboard.press("?")
    said = page.locator("dialog.help[open]").inner_text()
    assert all(words in said for words in ("log y", "smoothing", "x axis", "zoom all charts", "search the series", "page Flame"))
