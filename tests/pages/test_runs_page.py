"""The Runs page in a real browser, over a store that holds runs and no collector."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, Route

from collectors.records import Points, RunInfo
from collectors.store.store import Store
from dashboard.queries import Queries
from dashboard.user_files.run_notes import NOTHING, save_about
from tests.conftest import wait_for
from tests.pages.test_layout_page import WATCH_SHIFTS
from tests.support.many_runs import LABELS
from tests.support.runs_house import HTML, NAMES, NOTE, becomes, opened, shown, ticked
from tests.support.runs_house import queries as queries  # a fixture
from tests.support.runs_house import web as web  # a fixture
from tests.support.runs_house import writer as writer  # a fixture
from tests.support.serving import Web

EXPECTED_ERRORS = ("400 (Bad Request)",)  # a mistaken filter


def test_runs_are_filtered_sorted_and_ticked_and_ticks_outlive_both(page: Page, web: Web) -> None:
    opened(page, web)
    assert set(shown(page)) == {*NAMES, HTML} and page.title() != "1"
    for key in "jxjjx":
        page.keyboard.press(key)
    first, _, third = shown(page)[:3]
    wait_for(lambda: ticked(page) == sorted([first, third]), because="two are ticked")
    page.keyboard.press("/")
    page.keyboard.type("name:vit steps>=0")
    becomes(page, {name for name in NAMES if name.startswith("vit")})
    page.keyboard.press("Enter")
    page.locator(".ag-header-cell[col-id='name']").click()
    becomes(page, sorted(name for name in NAMES if name.startswith("vit")))
    page.locator(".ag-header-cell[col-id='name']").click()
    becomes(page, sorted((name for name in NAMES if name.startswith("vit")), reverse=True))
    page.keyboard.press("Escape")
    wait_for(lambda: ticked(page) == sorted([first, third]), because="ticks were lost")
    link = page.get_by_role("link", name="Open in Training").get_attribute("href")
    wait_for(lambda: page.url.count("runs=") == 2, because="ticks are not in the address")
    assert link is not None and link.startswith("/training?runs=") and link.count("runs=") == 2
    address = page.url
    page.goto(f"http://127.0.0.1:{web.port}/settings")
    page.wait_for_selector("#setting-currency")
    page.goto(address)
    page.wait_for_selector("#runs-grid .ag-row .run-cell")
    wait_for(lambda: ticked(page) == sorted([first, third]), because="the address does not hold the ticks")


def test_its_rows_are_there_also_when_it_is_reached_from_another_page(page: Page, web: Web) -> None:
    """The package of the table is loaded then, not with the document."""
    page.goto(f"http://127.0.0.1:{web.port}/settings")
    page.wait_for_selector("#setting-currency")
    page.locator("a[data-page='Runs']").first.click()
    page.wait_for_selector("#runs-grid .ag-row .run-cell")


def test_a_mistaken_filter_says_why_and_the_rows_stay(page: Page, web: Web, queries: Queries) -> None:
    opened(page, web)
    before = shown(page)
    page.fill("#filter", "lr<=")
    wait_for(
        lambda: page.locator(".runs-said").inner_text() == "lr<= needs a value (character 4)", because="no sentence"
    )
    assert shown(page) == before
    opacity = "(grid) => getComputedStyle(grid).opacity"
    grid = page.locator(".runs-page .ag-root-wrapper")
    assert grid.evaluate(opacity) == "0.45" and page.locator("#filter[aria-invalid=true]").count() == 1
    save_about(queries.data_dir, NAMES[0], {"name": "a new name"}, NOTHING)
    queries.table.stale()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the rows are read again
    becomes(page, [("a new name" if name == NAMES[0] else name) for name in before])
    page.fill("#filter", "state:crashed")
    wait_for(lambda: grid.evaluate(opacity) == "1", because="the rows are still dimmed")
    wait_for(lambda: page.locator(".runs-said").inner_text() == "crashed means failed or killed", because="no note")
    becomes(page, {"vit-l16-fp16", "gpt-small"})
    page.fill("#filter", "nowhere")
    wait_for(
        lambda: "No run matches" in page.locator(".runs-head .empty").inner_text(),
        because="no sentence on an empty table",
    )
    page.locator("#filter").press("Escape")
    becomes(page, [("a new name" if name == NAMES[0] else name) for name in before])


def test_chips_and_groups_count_what_the_filter_keeps(page: Page, web: Web) -> None:
    opened(page, web, "?q=name:vit")
    chips = page.locator(".state-chip").all_inner_texts()
    assert [chip.split() for chip in chips] == [
        ["All", "3"],
        ["Running", "0"],
        ["Finished", "2"],
        ["Stalled", "0"],
        ["Crashed", "1"],
    ]
    page.locator(".state-chip", has_text="Crashed").click()
    becomes(page, {"vit-l16-fp16"})
    assert page.locator(".ag-center-cols-container .run-state").all_inner_texts()[0].split() == ["✕", "crashed"]
    page.locator(".state-chip").first.click()
    page.locator(".runs-tools select").select_option("state")
    wait_for(lambda: page.locator(".group-name").count() == 2, because="no groups")
    page.locator(".group-name", has_text="finished").click()
    becomes(page, {"vit-b16-bf16", "vit-s16-fp32"})


def test_names_tags_and_notes_are_changed_and_nothing_in_a_note_runs(page: Page, web: Web, queries: Queries) -> None:
    opened(page, web, "?q=vit-l16")
    page.keyboard.press("j")
    page.keyboard.press("i")
    page.locator("#about-name").fill("<i>mine</i>")
    page.locator("#about-tags").fill("baseline, second try")
    page.locator("#about-note").fill(NOTE)
    page.locator("[data-act=save]").click()
    page.wait_for_selector(".note-shown strong")
    about = queries.run("vit-l16-fp16").run.about
    assert (about.name, about.tags, about.note) == ("<i>mine</i>", ("baseline", "second try"), NOTE)
    becomes(page, ["<i>mine</i>"])
    links = page.locator(".note-shown a").evaluate_all(
        "(links) => links.map((link) => link.getAttribute('href') ?? '')"
    )
    assert "https://example.com/" in links and all(
        link in ("https://example.com/", "javascript:void(0)") for link in links
    )
    for link in page.locator(".note-shown a", has_text="bad").all():
        link.click(modifiers=["Alt"])
    assert page.locator(".note-shown script, .note-shown [onclick]").count() == 0 and page.title() != "1"
    assert (
        "git_" not in page.locator("#about-ran").inner_text()
        and "Configuration" in page.locator("#about-ran").inner_text()
    )
    page.locator("[data-act=archive]").click()
    wait_for(lambda: page.locator(".found").inner_text() == "0 of 5 runs", because="an archived run is still there")
    page.locator(".runs-done button", has_text="Undo").click()
    wait_for(lambda: page.locator(".found").inner_text() == "1 of 5 runs", because="it is not brought back")
    page.locator("[data-act=archive]", has_text="Archive").click()
    wait_for(lambda: page.locator(".found").inner_text() == "0 of 5 runs", because="an archived run is still there")
    page.get_by_role("button", name="Hidden").click()
    page.get_by_label("Show archived").check()
    becomes(page, ["<i>mine</i>"])


def test_the_outline_goes_with_its_run_and_the_panel_keeps_it(page: Page, web: Web) -> None:
    opened(page, web, "?sort=name&q=name:vit")
    outlined = page.locator(".ag-cell-focus .run-cell")
    for key in ("j", "j", "i"):
        page.keyboard.press(key)
    assert outlined.inner_text() == "vit-l16-fp16"
    page.locator("[data-act=archive]").click()
    becomes(page, ["vit-b16-bf16", "vit-s16-fp32"])
    wait_for(lambda: outlined.count() == 0, because="another run is outlined than the panel shows")
    assert page.locator(".about .title").inner_text() == "vit-l16-fp16"
    page.locator(".ag-header-cell[col-id='state']").hover()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    wait_for(lambda: outlined.all_inner_texts() == ["vit-s16-fp32"], because="the next one is not outlined")


def test_the_keys_of_the_page_name_no_lanes(page: Page, web: Web) -> None:
    opened(page, web)
    page.keyboard.press("?")
    keys = page.locator(".help[open]").inner_text()
    assert "lane" not in keys and "tick the run" in keys
    page.set_viewport_size({"width": 800, "height": 300})
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    dialog = page.locator(".help[open]")
    page.wait_for_timeout(300)  # a browser scrolls to what has the focus in a later frame
    assert dialog.evaluate("(dialog) => [dialog.scrollTop, dialog.scrollHeight > dialog.clientHeight]") == [0, True]
    assert page.evaluate("() => document.activeElement.closest('.help') !== null"), "Escape and the arrows are its own"


def test_runs_are_grouped_by_a_key_of_the_configuration(page: Page, web: Web) -> None:
    opened(page, web)
    menu = page.locator(".runs-tools select")
    wait_for(
        lambda: "config.lr" in menu.locator("option").evaluate_all("(all) => all.map(({ value }) => value)"),
        because="no key",
    )
    menu.select_option("config.lr")
    wait_for(lambda: page.locator(".group-name").count() > 1, because="no groups")
    values = [float(name.split()[1]) for name in page.locator(".group-name").all_inner_texts()]
    assert values == sorted(values)


def test_only_what_was_changed_here_is_saved_and_nothing_that_is_typed_is_lost(
    page: Page, web: Web, queries: Queries, tmp_path: Path
) -> None:
    opened(page, web, "?q=vit-l16")
    page.keyboard.press("j")
    page.keyboard.press("i")
    name, note = page.locator("#about-name"), page.locator("#about-note")
    name.fill("mine")
    save_about(tmp_path, "vit-l16-fp16", {"note": "written elsewhere", "tags": ("theirs",)})
    held: list[Route] = []
    page.route("**/about", lambda route: held.append(route), times=1)
    page.locator("[data-act=save]").click()
    wait_for(lambda: bool(held), because="nothing is saved")
    name.press("End")
    name.press_sequentially(" and more")
    held[0].continue_()
    page.wait_for_selector(".note-shown")
    about = queries.run("vit-l16-fp16").run.about
    assert (about.name, about.tags, about.note) == ("mine", ("theirs",), "written elsewhere")
    wait_for(
        lambda: (name.input_value(), note.input_value()) == ("mine and more", "written elsewhere"),
        10,
        "what was typed is lost",
    )
    note.fill("x" * 4100)
    assert page.locator("#about-said").inner_text() == "The note has 4,100 characters; at most 4,000 can be saved."
    page.locator("[data-act=archive]").click()
    page.get_by_role("button", name="Bring back").wait_for()
    wait_for(
        lambda: (name.input_value(), len(note.input_value())) == ("mine and more", 4100),
        because="what was typed is lost",
    )
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if len(asked) > 1 else dialog.dismiss()

    page.on("dialog", answer)
    note.press("Escape")
    assert len(note.input_value()) == 4100
    note.press("Escape")
    note.wait_for(state="detached")
    assert asked == ["Discard the unsaved name and note?"] * 2


def test_no_number_of_the_grid_is_cut(page: Page, web: Web, writer: Store) -> None:
    for name, value in (("large", 1.234e12), ("negative", -1.234e12)):
        writer.append([Points(name, LABELS, ("train/loss",), (value,), time.time(), 10**14)])
    opened(page, web, "?q=name:large")
    assert page.locator('.ag-row [col-id="loss"]').inner_text() == "1.23e12"
    opened(page, web, "?q=loss<0")
    assert page.locator('.ag-row [col-id="loss"]').inner_text() == "−1.23e12"
    cut = """() => [...document.querySelectorAll('.ag-row .num')].filter((cell) => [...cell.querySelectorAll('span')]
      .some((span) => span.getBoundingClientRect().left < cell.getBoundingClientRect().left)).map((cell) => cell.textContent)"""
    assert page.evaluate(cut) == []
    page.goto(f"http://127.0.0.1:{web.port}/runs?group=host&q=loss<0")
    page.wait_for_selector("#runs-grid .ag-row .group-name")
    assert "−1.23e12" in page.locator('.ag-row [col-id="loss"]').inner_text() and page.evaluate(cut) == []


ODD_NAMES = ("__proto__", "constructor", "toString", "hasOwnProperty")


def test_names_that_objects_have_already_are_names_as_others(
    page: Page, web: Web, writer: Store, tmp_path: Path
) -> None:
    for name in ODD_NAMES:
        values = (0.5,) * len(ODD_NAMES)
        writer.append(
            [
                RunInfo(name, {"config": dict.fromkeys(ODD_NAMES, "told")}),
                Points(name, LABELS, ODD_NAMES, values, time.time(), 1),
            ]
        )
        save_about(tmp_path, name, {"tags": [name]})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error} {error.stack}"))
    columns = [
        "name",
        "state",
        "tags",
        *(f"{kind}.{name}" for kind in ("config", "last", "best") for name in ODD_NAMES),
    ]
    page.add_init_script(f"localStorage.setItem('runs.columns', {json.dumps(json.dumps(columns))})")
    page.add_init_script("""localStorage.setItem('runs.widths', '{"__proto__": 90, "constructor": 90}')""")
    for key in (*ODD_NAMES[:2], *(f"config.{name}" for name in ODD_NAMES[:2])):
        group = f"&group={key}&open=told" if key.startswith("config.") else ""
        query = f"?sort={key}{group}&runs=constructor&q=tags:{ODD_NAMES[0]}"
        opened(page, web, query)
        becomes(page, ["__proto__"])
        page.wait_for_selector('.ag-row [col-id="last.constructor"] >> text=0.5')
    for path in ("", "samples"):
        page.goto(f"http://127.0.0.1:{web.port}/{path}?run=__proto__&series=constructor")
        page.wait_for_load_state("networkidle")
    page.goto(f"http://127.0.0.1:{web.port}/settings")
    page.wait_for_selector("#setting-currency")
    assert errors == []


def test_a_run_opens_on_live(page: Page, web: Web) -> None:
    opened(page, web)
    page.route("**/?run=*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.locator(".run-cell a", has_text="onerror").click()
    page.wait_for_url("**/?run=*")
    assert page.evaluate("() => new URLSearchParams(location.search).get('run')") == HTML


def test_columns_are_chosen_remembered_and_exported(page: Page, web: Web, tmp_path: Path) -> None:
    opened(page, web)
    page.get_by_role("button", name="Columns").click()
    page.locator(".column-choice input[type=text]").first.fill("val/acc")
    page.get_by_label("last: val/acc").check()
    page.get_by_label("best: val/acc").check()
    page.locator(".column-choice input[type=text]").first.fill("")
    listed = page.locator(".choices label").all_inner_texts()
    unchosen = listed[page.locator(".choices input:checked").count() :]
    assert unchosen[0].startswith("config: "), "keys of the configuration come first of what can be added"
    page.locator(".column-choice .btn", has_text="Close").click()
    page.wait_for_selector(".ag-header-cell[col-id='best.val/acc']")
    box = page.locator(".ag-header-cell[col-id='best.val/acc']").bounding_box()
    size = page.viewport_size
    spacer = "getComputedStyle(document.querySelector('.ag-horizontal-left-spacer')).overflowX"
    assert page.evaluate(spacer) == "hidden", "a second scrollbar stands under the pinned columns"
    assert box is not None and size is not None and box["x"] + box["width"] <= size["width"], "it is out of sight"
    opened(page, web, "?sort=best.val/acc&desc=true")
    page.wait_for_selector(".ag-header-cell[col-id='best.val/acc']")
    wait_for(
        lambda: page.locator(".ag-header-cell[col-id='best.val/acc'][aria-sort=descending]").count() == 1,
        because="not sorted",
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == shown(page) and {"last.val/acc", "best.val/acc"} <= rows[0].keys()
    assert [float(row["best.val/acc"]) for row in rows[:4]] == sorted(
        (float(row["best.val/acc"]) for row in rows[:4]), reverse=True
    )


def test_sparklines_are_asked_for_together_and_drawn(page: Page, web: Web) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/sparklines" in request.url else None)
    opened(page, web)
    drawn = "() => [...document.querySelectorAll('canvas.spark')].filter((c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean)).length"
    wait_for(lambda: page.evaluate(drawn) == 5, because="not all are drawn")
    assert len(asked) == 1


def test_enter_opens_the_run_that_has_the_focus(page: Page, web: Web) -> None:
    opened(page, web, "?sort=name&q=name:vit")
    page.route("**/?run=*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    for key in ("j", "j", "k", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/?run=vit-l16-fp16")


def test_a_living_run_grows_in_its_row_and_nothing_moves(page: Page, web: Web, writer: Store) -> None:
    writer.append([Points("alive", LABELS, ("train/loss",), (2.0,), time.time(), 1)])
    opened(page, web, "?sort=name")
    steps = page.locator(".ag-center-cols-container .ag-row", has_text="running").locator("[col-id='steps']")
    wait_for(lambda: steps.inner_text() == "1", because="it does not run")
    page.keyboard.press("j")
    focused = page.locator(".ag-cell-focus").inner_text()
    before = shown(page)
    writer.append([Points("alive", LABELS, ("train/loss",), (1.5,), time.time(), 4321)])
    wait_for(lambda: steps.inner_text() == "4,321", because="the row does not grow")
    assert (page.locator(".ag-cell-focus").inner_text(), shown(page)) == (focused, before)


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_nothing_moves_while_the_page_loads(page: Page, web: Web, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.add_init_script(WATCH_SHIFTS)
    opened(page, web, f"?runs={NAMES[0]}&runs={NAMES[1]}")
    wait_for(lambda: page.evaluate("() => globalThis.deepseekPainted?.curves.metric?.curves") == 2)
    page.wait_for_selector(".comparison-table tbody td")
    shifts = page.evaluate("shifts")
    assert sum(value for value, _ in shifts) <= 0.02, shifts
