"""Findings on the pages with a time axis: marks, the strip's Why, the way from one to the next, the detail."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from collectors.records import Points, labels_of
from tests.conftest import Ask, address, standing, wait_for
from tests.support.axe import serious
from tests.support.findings_scene import HOSTILE, FindingsScene, findings_scene

COUNT = itertools.count(1)
EXPECTED_ERRORS = ("404 (Not Found)",)  # of lines of code that are not there
PHONE = {"width": 390, "height": 844}
STACKS = [
    {"rank": rank, "pid": 400 + rank, "role": "main", "thread": thread, "frames": [["main", "/a/train.py", 9], [f"of_{rank}", "/a/data.py", 88]]}
    for rank in (0, 1)
    for thread in ("MainThread", "pin_memory")
]  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FindingsScene]:
    with findings_scene(tmp_path_factory.mktemp("findings")) as scene:
        yield scene


@pytest.fixture
def loud(scene: FindingsScene) -> str:
    """A run with four findings, which began for this test: those of minutes ago are no longer in view."""
    run = f"loud-{next(COUNT)}"
    scene.run(run)
    scene.find(run, "loss_spike", -200, said="train/loss jumps to 9.", step=800, numbers={"value": 9.0, "before": 1.0})
    scene.find(run, "nan", -150, said=f"{HOSTILE} is NaN.", id_=f"hostile-{run}")
    scene.find(run, "memory_creep", -100, -5, weight="alert", over=False, said="Memory is full within the hour.", numbers={"left_s": 3000.0, "bytes_per_s": 5e6})  # fmt: skip
    scene.find(run, "slow_steps", -60, -5, over=False, said="About 1 of 66 steps takes 9 times as long.", place={"function": "load", "file": "/a/data.py", "line": 88})  # fmt: skip
    return run


def focused(page: Page) -> str:
    return str(page.evaluate("() => document.activeElement.ariaLabel ?? ''"))


def chosen(page: Page) -> str:
    return page.locator(".found-detail h2").inner_text()


def test_a_finding_appears_live_and_nothing_moves(scene: FindingsScene, page: Page) -> None:
    scene.run("quiet")
    scene.open(page, run="quiet")
    expect(page.locator('[data-lane="loss"]')).to_be_visible()
    before = [standing(page, selector) for selector in ('[data-lane="loss"]', ".panel", "#scope", ".axis")]
    assert page.locator(".found-mark").count() == 0
    scene.find(
        "quiet",
        "hung",
        -20,
        -2,
        weight="alert",
        over=False,
        said="No line for 5 min.",
        stacks=STACKS,
        lines=["<b>last</b> line"],
    )
    expect(page.locator(".found-mark")).to_have_count(1)
    expect(page.locator(".finding-said")).to_have_text("Hung. No line for 5 min.")
    expect(page.locator(".finding-said .icon.bad")).to_have_count(1)
    after = [standing(page, selector) for selector in ('[data-lane="loss"]', ".panel", "#scope", ".axis")]
    assert before == after
    page.get_by_role("button", name="Why", exact=True).click()
    expect(page.locator(".found-detail h2")).to_have_text("Alert: Hung")
    expect(page.locator(".found-kept h3")).to_have_text(["Stacks of rank 0", "Stacks of rank 1", "The last lines"])
    expect(page.locator(".found-kept summary")).to_have_count(4)
    expect(page.locator(".found-kept > pre")).to_have_text("<b>last</b> line")


def test_good_news_is_a_green_disc_in_the_strip_too_and_never_amber(scene: FindingsScene, page: Page) -> None:
    scene.run("good")
    scene.find("good", "new_best", -20, -2, over=False, said="val/loss is 0.4, the lowest yet.")
    scene.open(page, run="good")
    expect(page.locator(".finding-said")).to_contain_text("val/loss is 0.4, the lowest yet.")
    shapes = [
        page.locator(f"{place} path").get_attribute("d") for place in (".finding-said .icon.ok", ".found-mark .icon.ok")
    ]
    assert shapes[0] == shapes[1] and str(shapes[0]).startswith("M5 0A5"), "a disc in both places"
    assert page.locator(".finding-said .warn, .found-mark .warn, .found-bar").count() == 0
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".found-detail h2 .icon.ok")).to_have_count(1)


def test_a_card_that_only_waits_is_hatched_and_its_finding_leads_the_strip(scene: FindingsScene, page: Page) -> None:
    scene.run("waits")
    cards = [labels_of(gpu=index, host="box", uuid=f"GPU-{index}") for index in range(2)]
    scene.store.append(
        [
            Points(None, card, ("gpu/utilization_pct",), (100.0,), scene.t0 + at, None)
            for at in range(-120, 0)
            for card in cards
        ]
    )
    wait_for(
        lambda: len(scene.web.ask("/api/v1/series").json["series"]) == len(cards), because="no series of the cards"
    )
    said = "GPU 1 reports 100% busy at 118 W, but no step has ended for 40 s: it is waiting."
    waits = scene.find("waits", "spinning", -40, -1, over=False, said=said, gpus=["GPU-1"])
    scene.open(page, run="waits")
    expect(page.locator(".finding-said")).to_contain_text(said)
    values = page.locator('.lane[data-lane="heat"] .vals')
    expect(values).to_have_text("GPU 0100%GPU 1waiting")
    expect(page.locator('.lane[data-lane="busy"] .vals')).to_have_text("busywaiting")
    scene.find("waits", "spinning", -40, -1, said=said, gpus=["GPU-1"], id_=waits)
    expect(values).to_have_text("GPU 0100%GPU 1100%")


def test_a_run_that_is_over_says_what_held_until_its_end(scene: FindingsScene, page: Page) -> None:
    for run, until in (("ruined", -602), ("mended", -750)):
        scene.store.append(
            [
                Points(run, labels_of(host="box", rank=0), ("train/loss",), (1.0,), scene.t0 + at, 1000 + at)
                for at in range(-900, -600)
            ]
        )
        scene.find(run, "slow_steps", -850, -800, weight="alert")
        scene.find(run, "nan_lasting", -790, until, weight="alert", said="train/loss is NaN.")
    scene.open(page, run="ruined")
    expect(page.locator(".finding-said")).to_have_text("NaN for ten steps. train/loss is NaN.")
    page.get_by_role("button", name="Why", exact=True).click()
    expect(page.locator(".found-detail h2")).to_have_text("Alert: NaN for ten steps")
    scene.open(page, run="mended")
    expect(page.locator(".found-count")).to_have_text("2 findings")
    expect(page.locator(".finding-said")).not_to_contain_text("NaN")


def test_why_selects_the_window_of_the_alert_and_the_rest_is_in_a_list(
    scene: FindingsScene, loud: str, page: Page
) -> None:
    scene.open(page, run=loud)
    expect(page.locator(".finding-said")).to_have_text("Memory creep. Memory is full within the hour.")
    page.get_by_role("button", name="and 1 more").click()
    expect(page.locator(".found-list .rows button")).to_have_count(2)
    assert serious(page, ".found-list") == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".found-detail h2")).to_have_text("Note: Slow steps")
    expect(page.locator(".found-line a")).to_have_text("data.py:88")
    page.get_by_role("button", name="Why", exact=True).click()
    expect(page.locator(".found-detail h2")).to_have_text("Alert: Memory creep")
    expect(page.locator(".found-numbers")).to_have_text("Left50 minBytes per second5.000 MB")
    found = address(page)
    assert float(found["from"]) == pytest.approx(scene.t0 - 100, abs=0.01) and float(found["to"]) == pytest.approx(
        scene.t0 - 5, abs=0.01
    )
    assert found["finding"].startswith("memory_creep")
    page.get_by_role("button", name="Mute Memory creep for 1 h").click()
    expect(page.locator(".found-mute")).to_contain_text("Muted for 1 h. Alerts takes it back.")
    assert "rule: memory_creep" in (scene.data_dir / "mutes.yaml").read_text()
    assert serious(page) == []
    page.keyboard.press("Escape")
    expect(page.locator(".found-detail")).to_be_hidden()
    assert "finding" not in address(page)


@pytest.mark.parametrize("place", ["/", "/logs"])
@pytest.mark.parametrize("how", ["key", "mouse", "Tab"])
def test_the_sentence_of_a_mark_goes_with_escape_and_comes_with_the_next_step(
    scene: FindingsScene, loud: str, page: Page, how: str, place: str
) -> None:
    scene.open(page, place, run=loud)
    expect(page.locator(".found-mark")).to_have_count(4)
    tip, newest = page.locator(".found-tip"), page.locator(".found-mark").last
    if how == "mouse":
        newest.hover()
    elif how == "Tab":
        newest.focus()
    else:
        page.keyboard.press("[")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    for key in "rdp":
        page.keyboard.press(key)
        expect(tip).to_be_hidden()
    page.mouse.move(5, 5)
    page.keyboard.press("[")
    expect(tip).to_have_text("Slow steps. About 1 of 66 steps takes 9 times as long.")


def test_the_sentence_of_a_mark_goes_with_its_mark(scene: FindingsScene, loud: str, page: Page) -> None:
    scene.open(page, run=loud)
    expect(page.locator(".found-mark")).to_have_count(4)
    page.keyboard.press("[")
    expect(page.locator(".found-tip")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("+")
    wait_for(lambda: page.locator(".found-mark").count() < 4, because="no mark has left the view")
    wait_for(lambda: not focused(page) and page.locator(".found-tip").is_hidden(), because="its sentence stays")


def test_brackets_step_through_and_the_focus_moves_and_the_sentence_is_said(
    scene: FindingsScene, loud: str, page: Page
) -> None:
    scene.open(page, run=loud)
    expect(page.locator(".found-count")).to_have_text("4 findings")
    said = page.locator(".found-nav [role=status]")
    for position, title in ((4, "Slow steps"), (3, "Memory creep"), (2, "NaN or infinity"), (1, "Loss spike")):
        page.keyboard.press("[")
        expect(said).to_contain_text(f"{position} of 4: {title}.")
        wait_for(lambda title=title: title in focused(page), because="the focus does not move")  # type: ignore[misc]
        expect(page.locator(".found-mark.chosen")).to_have_count(1)
        expect(page.locator(".found-count")).to_have_text(f"{position} of 4")
        expect(page.locator(".found-tip")).to_be_visible()
    page.keyboard.press("[")
    expect(said).to_have_text("That is the oldest finding.")
    page.keyboard.press("]")
    expect(page.locator(".found-detail h2")).to_have_text("Note: NaN or infinity")
    page.keyboard.press("ArrowRight")
    wait_for(lambda: "Memory creep" in focused(page), because="an arrow does not go to the next mark")
    assert page.locator(".found-mark[tabindex='0']").count() == 1, "Tab reaches one mark"
    page.keyboard.press("?")
    expect(page.locator("dialog.help[open]")).to_contain_text("the finding before")


def test_a_hostile_sentence_stays_text(scene: FindingsScene, loud: str, page: Page) -> None:
    scene.open(page, run=loud, finding=f"hostile-{loud}")
    expect(page.locator(".found-said")).to_contain_text("<img src=x onerror='hacked=1'>[U+202E] is NaN.")
    page.locator(".found-count").click()
    expect(page.locator(".found-list .rows button")).to_have_count(4)
    page.locator(".found-mark").first.hover(force=True)
    assert page.locator(".page img").count() == 0
    assert page.evaluate("() => globalThis.hacked") is None


def test_a_link_that_names_only_the_finding_selects_its_window(scene: FindingsScene, loud: str, page: Page) -> None:
    old = scene.find(loud, "checkpoint_stall", -290, -260, said="A checkpoint took 30 s.")
    scene.open(page, run=loud, finding=old, span=60)
    expect(page.locator(".found-detail h2")).to_have_text("Note: Checkpoint stall")
    wait_for(
        lambda: float(address(page).get("from", "0")) == pytest.approx(scene.t0 - 290, abs=0.01), because="no window"
    )
    expect(page.locator(".window")).to_be_visible()


def test_two_hundred_findings_stay_readable(scene: FindingsScene, page: Page) -> None:
    scene.run("many")
    for at in range(200):
        scene.find(
            "many",
            "loss_spike",
            -280 + 1.3 * at,
            -280 + 1.3 * at + (20 if at % 7 == 0 else 0),
            weight="alert" if at % 11 == 0 else "note",
        )
    scene.open(page, run="many")
    expect(page.locator(".found-count")).to_have_text("200 findings")
    wait_for(lambda: page.locator(".found-mark").count() > 5, because="no marks")
    marks = page.locator(".found-mark").evaluate_all("marks => marks.map((mark) => [mark.getBoundingClientRect().x, mark.getBoundingClientRect().right, Number(mark.textContent || 1)]).sort((a, b) => a[0] - b[0])")  # fmt: skip
    assert sum(many for _, _, many in marks) == 200
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(marks)), "marks cover each other"
    page.locator(".found-mark").nth(3).click()
    expect(page.locator(".found-list")).to_be_visible()
    assert page.locator(".found-list .rows button").count() == marks[3][2]
    page.locator(".found-list .rows button").first.click()
    expect(page.locator(".found-mark.chosen")).to_have_count(1)


def test_flame_shows_the_runs_findings_and_gpus_those_of_the_machine(
    scene: FindingsScene, loud: str, page: Page
) -> None:
    scene.find(None, "disk_out", -40, -2, weight="alert", over=False, said="The disk is full in 20 min.")
    scene.open(page, "/flame", run=loud)
    expect(page.locator(".found-count")).to_contain_text("findings")
    page.keyboard.press("[")
    expect(page.locator(".side .found-detail h2")).to_be_visible()
    scene.open(page, "/hosts")
    expect(page.locator(".found-count")).to_have_text("1 finding")
    page.keyboard.press("]")
    expect(page.locator(".found-detail h2")).to_have_text("Alert: Disk runs full")
    scene.open(page, "/logs", run=loud)
    expect(page.locator(".found-count")).to_contain_text("findings")


def test_on_a_phone_two_buttons_step_through(scene: FindingsScene, loud: str, browser: Browser) -> None:
    phone = browser.new_page(viewport=PHONE, has_touch=True)
    scene.open(phone, run=loud)
    phone.get_by_role("button", name="Previous finding").tap()
    expect(phone.locator(".panel[data-sheet=half] .found-said")).to_be_visible()
    for name in ("Previous finding", "Next finding", "Close the finding"):
        box = phone.get_by_role("button", name=name).bounding_box()
        assert box and min(box["width"], box["height"]) >= 44
    assert phone.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]
    assert serious(phone) == []
    phone.close()


SNAPSHOT = {
    "name": "oom.pickle",
    "reserved_bytes": 3 << 30,
    "allocated_bytes": 2 << 30,
    "rows": [{"file": "/a/model.py", "line": 31, "function": "<b>attention</b>", "bytes": 1536 << 20, "blocks": 12}],
    "rest_bytes": 512 << 20,
    "trouble": "",
}


def test_a_crash_for_want_of_memory_shows_what_held_it(scene: FindingsScene, page: Page) -> None:
    scene.run("full")
    scene.find(
        "full", "crash", -20, weight="alert", said="The run failed: CUDA out of memory.", id_="oom", snapshot=SNAPSHOT
    )
    scene.open(page, run="full", finding="oom")
    rows = page.locator(".found-memory tbody tr")
    expect(rows).to_have_text(["model.py:31 <b>attention</b>1,53612", "other lines512"])
    expect(page.locator(".found-kept")).to_contain_text(
        "By oom.pickle, 2,048 of 3,072 MiB that PyTorch had were in use."
    )
    assert serious(page, ".found-detail") == []


def test_bounds_have_the_unit_of_what_they_bound(scene: FindingsScene, page: Page) -> None:
    scene.run("bound")
    numbers = {"share": 31.0, "least": 20.0, "most": 40.0, "saves": 36.0, "saves_least": 30.0, "saves_most": 42.0}
    scene.find("bound", "data_stall", -20, said="It waits.", id_="bounds", numbers=numbers)
    scene.open(page, run="bound", finding="bounds")
    expect(page.locator(".found-numbers div")).to_have_text(
        ["Share31%", "At least20%", "At most40%", "A fix saves36%", "A fix saves at least30%", "A fix saves at most42%"]
    )


def test_a_finger_hits_what_leads_to_a_finding(scene: FindingsScene, loud: str, browser: Browser) -> None:
    phone = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    scene.open(phone, run=loud)
    for name in ("Why", "Run details", "Report"):
        if name == "Run details":
            phone.get_by_role("button", name="More about this run").tap()
        expect(phone.get_by_role("button", name=name, exact=True).first).to_be_visible()
        box = phone.get_by_role("button", name=name, exact=True).first.bounding_box()
        assert box and box["height"] >= 40, name
    phone.close()


def test_marks_are_put_together_by_the_scale_alone(ask: Ask) -> None:
    found = ask("""
      const { stretches, together, windowOf } = await load("findings/marks.js");
      const { STEP, TIME } = await load("lib/axis.js");
      const placed = [0, 1, 5, 6, 9, 30].map((from) => ({ from, to: from + 2 }));
      const moment = { start: 100, end: 100, step: 3, over: true };
      return {
        marks: together(placed, 6).map((mark) => mark.length),
        later: together(placed.map(({ from, to }) => ({ from: from + 4, to })), 6).map((mark) => mark.length),
        bars: stretches(placed),
        windows: [windowOf(moment, TIME), windowOf(moment, STEP), windowOf({ ...moment, step: null }, STEP), windowOf({ ...moment, end: 140 }, TIME)],
      };""")
    assert found["marks"] == found["later"] == [3, 2, 1]
    assert found["bars"] == [{"from": 0, "to": 3}, {"from": 5, "to": 8}, {"from": 9, "to": 11}, {"from": 30, "to": 32}]
    assert found["windows"] == [{"from": 95, "to": 105}, {"from": 0, "to": 8}, None, {"from": 100, "to": 140}]
