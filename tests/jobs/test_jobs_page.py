"""The Jobs page in a browser: queue, slots over time, what a user asks for, history, and that it follows the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import Ask, tools_work, wait_for
from tests.support.axe import serious
from tests.support.jobs_scene import JobsScene, answering, jobs_served
from tests.support.serving import Web

EXPECTED_ERRORS = ("400 (Bad Request)",)  # of what cannot be submitted
HOSTILE = "<img src=x onerror='hacked=1'>\u202e"
LOAD = """const { barsOf, lanesOf } = await load("pages/jobs/gantt.js");
const attempt = (job, from, to, slots = ["a"]) => ({ job, number: 1, slots, start: from, started: from, end: to });
const of = (attempts, width = 1000) => barsOf(attempts, "a", { lo: 0, hi: 1000 }, 900, width);"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobsScene, Web]]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as (scene, web), answering(scene):
        yield scene, web


@pytest.fixture
def jobs(scene: tuple[JobsScene, Web]) -> JobsScene:
    return scene[0]


@pytest.fixture
def shown(scene: tuple[JobsScene, Web], page: Page) -> Page:
    opened(page, scene[1])
    return page


def opened(page: Page, web: Web, query: str = "span=21600") -> None:
    page.goto(f"http://127.0.0.1:{web.port}/jobs?{query}")
    expect(page.locator(".jobs-table tbody tr").first).to_be_visible()
    page.locator("#jobs-history .ag-row").first.wait_for(state="attached")


def row(page: Page, job: int) -> Locator:
    return page.locator(".jobs-table tbody tr").filter(
        has=page.get_by_role("button", name=f"Job {job}: all about it", exact=True)
    )


def dialog_of(page: Page) -> Locator:
    return page.locator("dialog.jobs-dialog")


def test_the_queue_says_what_runs_with_whom_and_what_waits_why(shown: Page) -> None:
    expect(shown.locator(".jobs-summary")).to_have_text("3 running, 2 queued, 1 on hold, 5 over")
    expect(row(shown, 7)).to_contain_text("on GPU 0, beside job 6")
    expect(row(shown, 7)).to_contain_text("measured at 93% of its speed alone")
    expect(row(shown, 9)).to_contain_text("waits for 1 GPU")
    expect(row(shown, 9)).to_contain_text("1, 40 GiB")
    expect(row(shown, 11)).to_contain_text("on hold by its owner")
    assert row(shown, 4).locator("a.run-name").get_attribute("href") == "/?run=pretrain-4"
    shown.get_by_text("Compared with FIFO").click()
    expect(shown.locator(".fifo-figures")).to_contain_text("First in, first out")
    expect(shown.locator(".jobs-page")).to_contain_text("First in, first out, replayed on 4 slots, it would have been")
    assert serious(shown) == []


def test_slots_have_a_lane_each_and_what_is_shared_is_stacked(shown: Page) -> None:
    lanes = shown.locator(".gantt-lane")
    expect(lanes).to_have_count(4)
    tops = [
        bar.evaluate("(bar) => bar.style.top + ' ' + bar.style.height")
        for bar in lanes.nth(0).locator(".gantt-bar").all()
    ]
    assert tops == ["0% 100%", "0% 100%", "0% 50%", "50% 50%"], "alone, then alone, then beside the other"
    expect(lanes.nth(1).locator(".gantt-foreign")).to_be_visible()
    expect(lanes.nth(1)).to_contain_text("ada's process 4711")
    expect(lanes.nth(0).locator(".gantt-foreign")).to_be_hidden()
    shown.get_by_role("button", name="1 h", exact=True).click()
    expect(shown.locator(".gantt-bar:not(.is-more)")).to_have_count(4)
    assert "span=3600" in shown.url
    expect(shown.locator(".jobs-page")).to_contain_text("The one job that was submitted")
    shown.reload()
    expect(shown.locator(".jobs-page")).to_contain_text("The one job that was submitted")
    expect(shown.get_by_role("button", name="1 h", exact=True)).to_have_attribute("aria-pressed", "true")


def test_bars_are_walked_by_arrows_and_open_their_job(shown: Page) -> None:
    bars = shown.locator(".gantt-bar[tabindex='0']")
    expect(bars).to_have_count(1)
    bars.focus()
    shown.keyboard.press("ArrowUp")
    shown.keyboard.press("ArrowLeft")
    focused = shown.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("job 4 pretrain-4") and "preempted" in focused and focused.endswith("on GPU 2"), focused
    shown.keyboard.press("Enter")
    expect(dialog_of(shown)).to_be_visible()
    expect(dialog_of(shown)).to_contain_text("preempted for job 5")
    assert "job=4" in shown.url
    assert serious(shown, "dialog.jobs-dialog") == []
    shown.keyboard.press("Escape")
    expect(dialog_of(shown)).to_be_hidden()
    wait_for(lambda: "job=" not in shown.url)


def test_a_job_is_held_and_released_by_keys(shown: Page) -> None:
    row(shown, 9).get_by_role("button", name="Hold job 9").focus()
    shown.keyboard.press("Enter")
    expect(row(shown, 9).locator("b")).to_have_text("on hold")
    expect(shown.locator(".jobs-top > .jobs-said")).to_have_text("Job 9 is on hold until it is released.")
    row(shown, 9).get_by_role("button", name="Release job 9").focus()
    shown.keyboard.press("Enter")
    expect(row(shown, 9).locator("b")).to_have_text("queued")


def test_a_running_job_is_cancelled_only_once_a_user_says_so(shown: Page, jobs: JobsScene) -> None:
    row(shown, 6).get_by_role("button", name="Cancel job 6").click()
    sure = shown.get_by_role("dialog", name="Cancel job 6, which runs?")
    expect(sure).to_contain_text("what it has not saved is lost")
    assert serious(shown, "dialog.jobs-sure") == []
    shown.keyboard.press("Escape")
    expect(sure).to_have_count(0)
    assert jobs.queue.state_of(6) == "running"
    row(shown, 6).get_by_role("button", name="Cancel job 6").click()
    sure.get_by_role("button", name="Cancel job 6").click()
    expect(row(shown, 6).locator("b")).to_have_text("stopping")
    jobs.end(6, time.time(), 60.0, -15)
    expect(row(shown, 6)).to_have_count(0)
    expect(shown.locator("#jobs-history .ag-row").first).to_contain_text("cancelled")


def test_a_job_is_submitted_from_the_form(shown: Page, jobs: JobsScene) -> None:
    shown.keyboard.press("n")
    form = shown.get_by_role("form", name="Submit a job")
    expect(form.get_by_label("Command, run without a shell")).to_be_focused()
    expect(form.get_by_label("Folder in which it runs")).to_have_value("/home/me/vision")
    expect(form.get_by_label("Log folder")).to_have_value(str(jobs.log_dir))
    form.get_by_label("Command, run without a shell").fill("sh -c 'echo $HOME'")
    shown.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text("'/home/me/vision' is no folder of this host")
    form.get_by_label("Folder in which it runs").fill("/tmp")
    form.get_by_label("Memory per GPU").fill("20GiB")
    form.get_by_label("Priority").select_option("high")
    form.get_by_label("May share").check()
    assert serious(shown) == []
    form.get_by_role("button", name="Submit").click()
    said = shown.locator(".jobs-top > .jobs-said")
    expect(said).to_contain_text("is in the queue")
    job = int(said.inner_text().split()[1])
    request = jobs.queue.request(job)
    assert (
        request.argv == ("sh", "-c", "echo $HOME")
        and request.high
        and request.shares
        and request.declared_mib == 20 * 1024
    )
    expect(row(shown, job)).to_contain_text("high, may share")
    jobs.queue.cancel(job, time.time())


def test_what_changes_is_shown_and_nothing_else_moves(shown: Page, jobs: JobsScene) -> None:
    hold = row(shown, 9).get_by_role("button", name="Hold job 9")
    hold.focus()
    before = hold.element_handle()
    job = jobs.submit([HOSTILE, "x"], time.time(), name="new")
    expect(row(shown, job)).to_contain_text("<img src=x")
    expect(row(shown, job)).to_contain_text("[U+202E]")
    assert shown.evaluate("(before) => document.activeElement === before", before)
    jobs.queue.cancel(job, time.time())
    expect(row(shown, job)).to_have_count(0)
    assert shown.evaluate("() => globalThis.hacked") is None


def test_history_is_found_and_a_row_opens_its_job(shown: Page) -> None:
    shown.keyboard.press("/")
    shown.keyboard.type("prepare")
    rows = shown.locator("#jobs-history .ag-row")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("FileNotFoundError")
    rows.locator("[col-id=job]").click()
    expect(dialog_of(shown)).to_contain_text("Job 3: prepare-3")
    shown.keyboard.press("Escape")
    shown.locator("#jobs-find").fill("nothing like it")
    expect(shown.locator("#jobs-found")).to_have_text("No finished job matches.")


def test_a_hidden_page_asks_for_nothing(shown: Page) -> None:
    shown.evaluate("() => Object.defineProperty(document, 'hidden', { get: () => true })")
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.wait_for_timeout(4500)
    assert not [url for url in asked if "/jobs" in url]


def test_on_a_phone_nothing_is_wider_than_the_screen(scene: tuple[JobsScene, Web], browser: Browser) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    opened(phone, scene[1])
    assert phone.evaluate("() => Math.max(document.documentElement.scrollWidth, document.querySelector('.jobs-top').parentElement.scrollWidth)") == 390  # fmt: skip
    box = phone.get_by_role("button", name="Hold job 9").bounding_box()
    assert box and min(box["width"], box["height"]) >= 44
    assert serious(phone) == []
    phone.close()


def test_an_empty_queue_says_what_to_type(tmp_path_factory: pytest.TempPathFactory, page: Page) -> None:
    with jobs_served(tmp_path_factory.mktemp("none"), lambda scene, now_s: None) as (_, web):
        page.goto(f"http://127.0.0.1:{web.port}/jobs")
        expect(page.locator(".jobs-empty pre")).to_have_text("deepseek-jobs submit -- python train.py")
        expect(page.locator(".jobs-top > .warn")).to_contain_text("Start it with: deepseek-jobs daemon")
        expect(page.locator("#jobs-found")).to_have_text("No finished jobs yet.")
        expect(page.locator(".jobs-page")).to_contain_text("there is nothing to compare")
        expect(page.locator(".jobs-slots")).to_contain_text("Slots appear once the queue has run.")
        assert serious(page) == []


def test_bars_that_overlap_are_stacked_and_others_are_not(ask: Ask) -> None:
    code = f"""{LOAD}
    const bars = of([attempt(1, -50, 100), attempt(2, 200, null), attempt(3, 300, 400), attempt(4, 450, 500), attempt(5, 950, 990, ["b"]), attempt(6, -90, -10)]);
    return bars.map(({{ key, from, to, row, rows }}) => [key, from, to, row, rows]);"""
    assert ask(code) == [
        ["1.1", 0, 100, 0, 1],
        ["2.1.0", 200, 300, 0, 1], ["2.1.1", 300, 400, 0, 2], ["2.1.2", 400, 450, 0, 1], ["2.1.3", 450, 500, 0, 2], ["2.1", 500, 900, 0, 1],
        ["3.1", 300, 400, 1, 2],
        ["4.1", 450, 500, 1, 2],
    ]  # fmt: skip


def test_jobs_too_short_to_see_are_one_bar(ask: Ask) -> None:
    code = f"""{LOAD}
    const many = Array.from({{ length: 500 }}, (_, i) => attempt(i, i, i + 0.9));
    const [joined, ...rest] = of([...many, attempt(900, 600, 700)]);
    return [joined.attempts.length, joined.from, joined.to, rest.map(({{ key }}) => key), of(many, 10_000).length];"""
    assert ask(code) == [500, 0, pytest.approx(499.9), ["900.1"], 500]


def test_lanes_are_the_hosts_slots_and_then_those_that_are_gone(ask: Ask) -> None:
    code = f"""{LOAD}
    return lanesOf([{{ id: "b", name: "GPU 0" }}], [attempt(1, 0, 1, ["a", "b"]), attempt(2, 0, 1, ["c"])]).map(({{ id, name }}) => id + name);"""
    assert ask(code) == ["bGPU 0", "aa", "cc"]


def test_the_slots_have_the_tools_of_every_chart_without_a_log_axis(shown: Page) -> None:
    head, *rows = tools_work(shown, shown.locator(".gantt-lanes"), grows=1.5)
    assert head == "slot,job,name,attempt,from_s,to_s,state"
    assert any(row.startswith("GPU 0,7,") and row.endswith(",running") for row in rows), rows
    shown.get_by_role("button", name="Chart tools: Jobs by slot").click()
    assert shown.locator(".chart-menu button").all_inner_texts() == [
        "Fill the window\nEnter",
        "Save as CSV\ne",
        "Save as PNG\np",
    ]
