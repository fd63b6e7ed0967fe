"""The Flame page and the panel beside the lanes: a real run that starves, a real profile, a real Chromium."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, Route

from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.analysis.test_stacks import T0, recorded
from tests.conftest import Dashboard, address, answering, dashboard, drag, wait_for
from tests.conftest import script as started
from tests.support.axe import serious
from tests.support.serving import served

EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED",)  # the server may end before the page
TRAINER = '''"""Healthy for a while, then starved by a slow decode, then healthy until it is killed."""

import hashlib
import sys
import time

from deepseek.log import RunLog

HEALTHY_S, STARVED_S = 9.0, 5.0


def decode_image(slow):
    until = time.perf_counter() + (0.06 if slow else 0.001)
    while time.perf_counter() < until:
        hashlib.md5(bytes(5000))


def train_step():
    sum(range(50_000))
    time.sleep(0.01)


def train(log, begun_s):
    for step in range(1_000_000):
        slow = HEALTHY_S < time.time() - begun_s < HEALTHY_S + STARVED_S
        begun = time.perf_counter()
        decode_image(slow)
        decoded = time.perf_counter()
        train_step()
        log.scalars(step, {"train/loss": 1.0, "phase/data_s": decoded - begun, "phase/forward_s": time.perf_counter() - decoded})
        if slow and step % 10 == 0:
            log.text(f"slow at step {step}", "WARNING")


with RunLog(sys.argv[1], run="starves") as log:
    begun_s = time.time()
    print(begun_s, flush=True)
    train(log, begun_s)
'''
HEALTHY_S, STARVED_S = 9.0, 5.0  # as the trainer has them


class Run(NamedTuple):
    running: Dashboard
    begun_s: float

    @property
    def starved(self) -> str:
        """The address's words for a window inside the starved stretch, with the healthy one in view."""
        lo = self.begun_s + HEALTHY_S + 0.7
        return f"run=starves&from={lo:.3f}&to={lo + 3.5:.3f}&span=20&at={self.begun_s + 19:.3f}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run whose profile covers its starved stretch. The trainer lies in a folder of its own: its source is shown."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "job.py").write_text(TRAINER)
    code = f"import os, sys, runpy; os.chdir({str(folder)!r}); sys.path.insert(0, '.'); runpy.run_path('job.py', run_name='__main__')"
    with dashboard(folder / "logs") as running, started(code, str(running.log_dir)) as trainer:
        assert trainer.stdout is not None
        begun_s = float(trainer.stdout.readline())
        reached = begun_s + HEALTHY_S + STARVED_S + 1
        wait_for(lambda: (profile_until(running) or 0) > reached, 60, "the profile does not reach the starved stretch")
        yield Run(running, begun_s)


def profile_until(running: Dashboard) -> float | None:
    now = time.time()
    told: float | None = running.get(f"/api/v1/flame?run=starves&from={now - 1}&to={now}").get("profile_until")
    return told


def flame_names(page: Page) -> list[str]:
    told: list[str] = page.evaluate("() => globalThis.deepseekPainted?.flame?.names ?? []")
    return told


def open_starved(run: Run, page: Page, more: str = "") -> None:
    page.goto(f"{run.running.address}/flame?{run.starved}{more}")
    wait_for(lambda: "decode_image" in flame_names(page), because="no flame graph of the window")
    wait_for(
        lambda: "decode_image" in page.inner_text(".flame-head .said"), because="the head does not name the function"
    )


def pick(page: Page, menu: str, name: str, press: bool = True) -> None:
    """A row of a menu: without `press` the menu stays open."""
    page.get_by_role("button", name=re.compile(f"^{menu}(:|$)")).click()
    row = page.get_by_role("menu", name=menu).get_by_text(name, exact=True)
    row.wait_for()
    if press:
        row.click()


def first_row(page: Page) -> str:
    """Of the table behind the graph: the function with most time of its own."""
    return page.locator(".flame .unseen table tr:has(td)").first.inner_text()


def test_the_page_names_the_line_its_source_its_callers_and_what_it_was_compared_with(run: Run, page: Page) -> None:
    open_starved(run, page)
    wait_for(
        lambda: "normal is" in page.inner_text(".flame-head .sub"), because="the head does not tell what normal is"
    )
    wait_for(
        lambda: page.inner_text(".flame-side .title") == "decode_image",
        because="the blamed function is not the selected one",
    )
    wait_for(lambda: "hashlib.md5(bytes(5000))" in page.inner_text(".source"), because="the source is not shown")
    assert re.fullmatch(r"\d+%|all|more than all", page.inner_text(".flame-head .said b"))
    assert re.fullmatch(r"decode_image \(job\.py:\d+\)", page.inner_text(".flame-head .said code"))
    assert re.search(r"\+\d+ ms", page.inner_text(".totals"))
    side = page.inner_text(".flame-side")
    assert "Called by" in side
    assert "train" in side
    assert "train_step" in page.inner_text(".ranking")
    pick(page, "Phases", "data", press=False)
    assert re.search(r"data\s+\d+%", page.get_by_role("menu", name="Phases").inner_text()), "no share of a phase"


def test_the_graph_can_be_walked_and_zoomed_by_keys_and_read_as_a_table(run: Run, page: Page) -> None:
    open_starved(run, page)
    wait_for(
        lambda: page.inner_text(".flame-side .title") == "decode_image",
        because="the blamed function is not the selected one",
    )
    page.keyboard.press("f")
    page.keyboard.press("ArrowUp")
    wait_for(lambda: page.inner_text(".flame-side .title") == "train", because="the caller is not selected")
    assert "in total" in page.inner_text(".flame .tip")
    page.keyboard.press("ArrowDown")
    wait_for(
        lambda: page.inner_text(".flame-side .title") == "decode_image", because="the widest callee is not selected"
    )
    page.keyboard.press("Enter")
    wait_for(
        lambda: "decode_image" in page.locator(".flame .unseen table").inner_text(),
        because="the table says something else",
    )
    page.keyboard.press("Escape")
    assert "from=" in page.url, "Esc leaves the zoom before it clears the window"


def test_a_window_is_redrawn_while_it_is_being_dragged(run: Run, page: Page) -> None:
    open_starved(run, page)
    before = page.evaluate("() => deepseekPainted.flame.window")
    surface = page.locator(".surface").bounding_box()
    assert surface is not None
    page.mouse.move(surface["x"] + 20, surface["y"] + 20)
    page.mouse.down()
    page.mouse.move(surface["x"] + 0.3 * surface["width"], surface["y"] + 20, steps=4)
    during = wait_for(lambda: changed(page, before), because="nothing is drawn before the mouse is released")
    page.mouse.up()
    window = wait_for(lambda: page.evaluate("() => deepseekPainted.window"))
    wait_for(
        lambda: page.evaluate("() => deepseekPainted.flame.window") == window,
        because="the last window is not the one that is drawn",
    )
    assert during["from"] == pytest.approx(window["from"], abs=0.1)
    wait_for(lambda: address(page)["from"] == str(round(window["from"], 3)), because="the window is not in the address")


def test_the_sentence_during_a_drag_and_the_one_that_replaces_it_name_the_same_function(run: Run, page: Page) -> None:
    """The window before lends its normal to the one that is drawn."""
    open_starved(run, page)
    wait_for(lambda: "normal is" in page.inner_text(".flame-head .sub"), because="the first window has no normal")
    surface = page.locator(".surface").bounding_box()
    assert surface is not None
    page.mouse.move(surface["x"] + 0.58 * surface["width"], surface["y"] + 20)
    page.mouse.down()
    page.mouse.move(surface["x"] + 0.72 * surface["width"], surface["y"] + 20, steps=4)
    wait_for(lambda: "Beside normal" in page.inner_text(".flame-head .sub"), because="no sentence of the page's own")
    during = page.inner_text(".flame-head .said")
    page.mouse.up()
    wait_for(lambda: "normal is" in page.inner_text(".flame-head .sub"), because="the server's sentence does not come")
    after = page.inner_text(".flame-head .said")
    for said in (during, after):
        assert re.search(r"decode_image \(job.py:\d+\)[^;]* takes \+\d+ ms per step, .* of the slowdown", said), said
    assert "By the flame graph alone" not in page.inner_text(".flame-head .sub")


def changed(page: Page, before: dict[str, float]) -> Any:
    now = page.evaluate("() => deepseekPainted.flame.window")
    return now if now != before else None


def test_another_window_can_be_compared_with(run: Run, page: Page) -> None:
    open_starved(run, page)
    page.keyboard.press("d")
    wait_for(lambda: page.get_by_text("Drag over the window to compare with").is_visible(), because="no hint")
    drag(page, 0.1, 0.35)
    wait_for(
        lambda: "compared with" in page.inner_text(".flame-head .sub"),
        because="the head does not tell of the comparison",
    )
    assert "baseline" in address(page)
    page.keyboard.press("Escape")
    wait_for(lambda: "normal is" in page.inner_text(".flame-head .sub"), because="Esc does not lead back to normal")
    assert "baseline" not in address(page)
    assert "from" in address(page)


def test_two_ticked_runs_lead_to_a_flame_graph_of_one_beside_the_other(page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(unquote(request.url)))
    (tmp_path / "data.py").write_text("def decode():\n    return 1\n")
    with contextlib.closing(open_store(tmp_path, write=True)) as store:
        for name, slow_ms in (("fast", 100), ("slow", 600)):
            store.append(recorded(name, str(tmp_path), slow_ms))
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        page.goto(f"http://127.0.0.1:{web.port}/runs?runs=slow&runs=fast")
        page.get_by_role("link", name="Flame difference").click()
        wait_for(lambda: "Compared with fast" in page.inner_text(".flame-head .sub"), because="not compared")
        assert "decode" in page.inner_text(".flame-head .said") and address(page)["baseline"] == "@fast"
        page.goto(f"http://127.0.0.1:{web.port}/flame?run=slow&baseline=@fast&from={T0 + 20}&to={T0 + 50}")
        wait_for(lambda: "Compared with fast" in page.inner_text(".flame-head .sub"), because="not compared")
        assert not [url for url in asked if "/blame?" in url and "@fast" in url]
        page.keyboard.press("Escape")
        wait_for(lambda: "baseline" not in address(page), because="the run's normal is not back")
    queries.close()


def test_what_a_colleague_opens_is_what_was_seen(run: Run, page: Page) -> None:
    open_starved(run, page)
    page.keyboard.press("/")
    page.keyboard.type("decode_im")  # Python has functions with `decode` in their names, which may run in the window
    with contextlib.suppress(AssertionError):
        wait_for(lambda: "1 function" in page.inner_text(".search"))
    assert "1 function" in page.inner_text(".search")
    page.locator(".ranking .fn", has_text="train_step").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    wait_for(lambda: "callers" in address(page))
    page.goto(page.evaluate("() => location.href"))
    wait_for(lambda: page.inner_text(".flame-side .title") == "train_step", because="another function is selected")
    pick(page, "More", "Callers of the selected function", press=False)
    assert page.locator(".menu-list [aria-checked=true]", has_text="Callers of the selected function").is_visible()
    assert "callers" in page.inner_text(".graph-foot")


def test_what_is_searched_for_before_the_stacks_have_come_is_found_as_they_come(run: Run, page: Page) -> None:
    held: list[Route] = []
    answer_again = answering(page, "**/api/v1/flame?*", held.append)
    page.goto(f"{run.running.address}/flame?{run.starved}")
    wait_for(lambda: held, because="no stacks are asked for")
    page.keyboard.press("/")
    page.keyboard.type("decode_im")
    answer_again()
    for route in held:
        route.continue_()
    wait_for(lambda: "1 function" in page.inner_text(".search"), because="it is not searched for")
    assert page.locator(".search input").input_value() == "decode_im" and "order" not in address(page)


def test_phases_threads_and_inversion_ask_the_server_anew(run: Run, page: Page) -> None:
    open_starved(run, page)
    pick(page, "Phases", "forward")
    wait_for(lambda: first_row(page).startswith("train_step"), because="not the phase alone")
    assert page.locator(".tools").get_by_role("button", name="Phases: forward").is_visible()
    pick(page, "Threads", "Every thread")
    pick(page, "Phases", "All phases")
    wait_for(
        lambda: any("run-log" in name or "python" in name for name in flame_names(page)), because="no other thread"
    )
    with page.expect_response(lambda answer: "/flame?" in answer.url and "waits=0" in answer.url) as answer:
        pick(page, "More", "Waits")
    assert "wait" not in answer.value.json()["nodes"]["kind"]
    page.keyboard.press("i")
    wait_for(lambda: address(page).get("invert") == "1")
    wait_for(lambda: page.locator(".flame-page.stale").count() == 0, because="no inverted graph arrives")


def test_what_is_searched_for_can_be_all_that_is_shown_or_be_left_out(run: Run, page: Page) -> None:
    open_starved(run, page)
    page.keyboard.press("/")
    page.keyboard.type("decode")
    page.get_by_role("button", name="Without these").click()
    wait_for(lambda: first_row(page).startswith("train"), because="the frame is not left out")
    assert address(page)["hide"] == "decode"
    page.get_by_role("button", name="without decode").click()
    wait_for(lambda: first_row(page).startswith("decode_image"), because="the frame does not come back")


def test_the_window_is_exported_to_speedscope_folded_and_as_a_trace(run: Run, page: Page) -> None:
    open_starved(run, page)
    with page.expect_download() as waiting:
        page.keyboard.press("e")
    told = json.loads(Path(waiting.value.path()).read_text())
    assert waiting.value.suggested_filename.endswith(".speedscope.json")
    assert "decode_image" in {frame["name"] for frame in told["shared"]["frames"]}
    with page.expect_download() as waiting:
        page.keyboard.press("E")
    assert "decode_image" in Path(waiting.value.path()).read_text()
    with page.expect_download() as waiting:
        pick(page, "Export", "speedscope")
    assert waiting.value.suggested_filename.endswith(".speedscope.json")
    with page.expect_download() as waiting:
        pick(page, "Export", "Perfetto trace")
    assert waiting.value.suggested_filename.endswith(".trace.json")
    told = json.loads(Path(waiting.value.path()).read_text())
    assert any(event["name"].endswith(": decode_image") for event in told["traceEvents"])


def test_the_verdict_has_the_width_of_the_page_and_its_actions_are_beside_it(run: Run, page: Page) -> None:
    open_starved(run, page)
    head, side = (box_of(page, selector) for selector in (".flame-head", ".flame-side"))
    assert head["width"] == page.evaluate("() => innerWidth")
    assert side["y"] >= head["y"] + head["height"], "the side stands beside the verdict"
    page.get_by_role("button", name="Compare").click()
    wait_for(lambda: page.get_by_text("Drag over the window to compare with").is_visible(), because="no hint")
    page.keyboard.press("Escape")


def test_a_menu_is_walked_by_keys_and_escape_only_closes_it(run: Run, page: Page) -> None:
    open_starved(run, page)
    page.get_by_role("button", name="Roll up").press("Enter")
    page.get_by_role("menu", name="Roll up").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(lambda: address(page).get("roll") == "module", because="the next choice is not made")
    page.get_by_role("button", name="Roll up: By module").press("Enter")
    page.keyboard.press("Escape")
    assert page.get_by_role("menu").count() == 0 and "from" in address(page)


def test_on_a_phone_the_graph_is_in_the_first_screen(run: Run, page: Page) -> None:
    """The head and the tools take at most a third of it; what has no button there is in the last menu."""
    page.set_viewport_size({"width": 390, "height": 844})
    open_starved(run, page)
    head, tools, graph = (box_of(page, selector) for selector in (".flame-head", ".tools", ".flame canvas"))
    assert head["height"] + tools["height"] <= 844 / 3
    assert graph["y"] + 100 < box_of(page, ".nav")["y"], "less than four rows of it are in view"
    pick(page, "More", "forward", press=False)
    menu = box_of(page, "[role=menu]:popover-open")
    assert menu["y"] > 0 and menu["y"] + menu["height"] < 844, "the menu leaves the screen"
    assert serious(page, "[role=menu]:popover-open") == []
    page.get_by_role("menu", name="More").get_by_text("forward", exact=True).click()
    wait_for(lambda: first_row(page).startswith("train_step"), because="not the phase alone")


def box_of(page: Page, selector: str) -> dict[str, float]:
    box: dict[str, float] = page.locator(selector).first.evaluate("element => element.getBoundingClientRect().toJSON()")
    return box


def test_the_panel_on_live_says_the_same_and_leads_to_the_page_with_the_window(run: Run, page: Page) -> None:
    page.goto(f"{run.running.address}/?{run.starved}")
    wait_for(lambda: "decode_image" in page.inner_text(".panel .said"), because="the panel does not name the function")
    wait_for(lambda: "normal" in page.inner_text(".facts"), because="the panel's evidence is not against normal")
    wait_for(lambda: "slow at step" in page.inner_text(".window-log"), because="no log lines")
    window = page.evaluate("() => deepseekPainted.window")
    page.keyboard.press("f")
    wait_for(
        lambda: page.locator("#bar a[aria-current]").inner_text().endswith("Flame"), because="not on the Flame page"
    )
    wait_for(lambda: "decode_image" in flame_names(page), because="no flame graph of the window")
    assert page.evaluate("() => deepseekPainted.flame.window") == pytest.approx(window, abs=0.002)


def test_without_a_window_the_page_shows_what_python_is_doing_now(run: Run, page: Page) -> None:
    page.goto(f"{run.running.address}/flame?run=starves")
    wait_for(lambda: "train_step" in flame_names(page), because="no flame graph of now")
    assert "the last 10 s" in page.inner_text("#actions")
    first = page.evaluate("() => deepseekPainted.flame.window.to")
    wait_for(lambda: page.evaluate("() => deepseekPainted.flame.window.to") > first, because="it stands still")


def test_without_profiling_the_page_says_why_and_what_to_do(tmp_path: Path, page: Page) -> None:
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        losses = [1.0, 1.0, float("nan"), 1.0]
        points = [{"time_s": time.time() - 4 + i, "step": i, "train/loss": loss} for i, loss in enumerate(losses)]
        (running.log_dir / "a.jsonl").write_text("".join(f"{json.dumps(point)}\n" for point in points))
        wait_for(lambda: running.run("a").get("points"))
        page.goto(f"{running.address}/flame?run=a")
        wait_for(
            lambda: "Profiling is off" in page.inner_text(".graph-place"),
            because="the page does not say why it is empty",
        )
        wait_for(lambda: page.get_by_role("button", name="Turn on").is_visible(), because="no remedy")
        finding = page.locator(".found-here button", has_text="NaN")
        finding.wait_for()
        assert not page.locator(".tools").is_visible(), "there is nothing for the tools to change"
        finding.click()
        wait_for(lambda: "from" in address(page), because="the finding's window is not selected")
        page.locator(".flame-side .found-detail", has_text="NaN").wait_for()
