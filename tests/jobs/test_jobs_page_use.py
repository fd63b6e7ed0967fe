"""What a user meets on the Jobs page: the focus, words, colours and sizes that stay, and what is asked before something is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Ask
from tests.jobs.test_jobs_page import dialog_of, opened, row
from tests.support.jobs_scene import JobsScene, answering, jobs_served
from tests.support.serving import Web

EXPECTED_ERRORS = ("400 (Bad Request)",)
FOCUSED = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobsScene, Web]]:
    with jobs_served(tmp_path_factory.mktemp("use")) as (scene, web), answering(scene):
        yield scene, web


@pytest.fixture
def jobs(scene: tuple[JobsScene, Web]) -> JobsScene:
    return scene[0]


@pytest.fixture
def shown(scene: tuple[JobsScene, Web], page: Page) -> Page:
    opened(page, scene[1], "")
    return page


def test_a_job_that_was_not_started_says_only_that(shown: Page) -> None:
    row(shown, 9).get_by_role("button", name="Job 9: all about it").click()
    expect(dialog_of(shown)).to_contain_text("It has not been started yet.")
    assert not {"false", "null", "undefined"} & set(dialog_of(shown).inner_text().split())
    expect(dialog_of(shown).get_by_role("link", name="Its output")).to_have_attribute("href", "/logs?run=vit-9")


def test_the_focus_stays_where_the_keys_were(shown: Page, jobs: JobsScene) -> None:
    row(shown, 9).get_by_role("button", name="Hold job 9").focus()
    shown.keyboard.press("Enter")
    expect(row(shown, 9).locator("b")).to_have_text("on hold")
    assert shown.evaluate(FOCUSED) == "Release job 9"
    shown.keyboard.press("Enter")
    expect(row(shown, 9).locator("b")).to_have_text("queued")
    assert shown.evaluate(FOCUSED) == "Hold job 9"
    job = jobs.submit(["python", "again.py"], time.time())
    row(shown, job).get_by_role("button", name=f"Cancel job {job}").focus()
    shown.keyboard.press("Enter")
    sure = shown.get_by_role("dialog", name=f"Cancel job {job}, which waits?")
    expect(sure.get_by_role("button", name="Keep it")).to_be_focused()
    assert (
        sure.get_by_role("button", name="Keep it").evaluate("(button) => getComputedStyle(button).outlineStyle")
        == "solid"
    )
    shown.keyboard.press("Enter")
    expect(sure).to_have_count(0)
    assert jobs.queue.state_of(job) == "queued" and shown.evaluate(FOCUSED) == f"Cancel job {job}"
    shown.keyboard.press("Enter")
    sure.get_by_role("button", name=f"Cancel job {job}").click()
    expect(row(shown, job)).to_have_count(0)
    assert shown.evaluate(FOCUSED).startswith("Job "), "the number of the row that stands there now"


def test_the_form_is_closed_and_found_again_by_keys(shown: Page) -> None:
    form = shown.get_by_role("form", name="Submit a job")
    shown.keyboard.press("n")
    expect(form).to_be_visible()
    shown.locator("h1").click()
    shown.keyboard.press("n")
    expect(form.get_by_label("Command, run without a shell")).to_be_focused()
    shown.locator("h1").click()
    shown.keyboard.press("Escape")
    expect(form).to_be_hidden()


def test_the_form_speaks_of_its_fields(shown: Page) -> None:
    shown.keyboard.press("n")
    form, said = shown.get_by_role("form", name="Submit a job"), shown.get_by_role("form").get_by_role("alert")
    send = form.get_by_role("button", name="Submit", exact=True)
    send.click()
    expect(said).to_have_text("Write the command that is to run.")
    form.get_by_label("Command, run without a shell").fill("true && echo done")
    form.get_by_label("GPUs", exact=True).fill("0")
    send.click()
    expect(said).to_have_text("“GPUs”: write a whole number above 0.")
    form.get_by_label("GPUs", exact=True).fill("1")
    form.get_by_label("Folder in which it runs").fill("/tmp")
    expect(form.get_by_label("Submit it as it is written")).to_be_hidden()
    send.click()
    expect(said).to_contain_text("has '&&', which is for a shell")
    expect(form.get_by_label("Submit it as it is written")).to_be_visible()
    form.get_by_label("Command, run without a shell").fill("true")
    form.get_by_label("Memory per GPU").fill("much")
    send.click()
    expect(said).to_contain_text("“Memory per GPU” 'much' is no size")


def test_enter_in_the_history_opens_the_job(shown: Page) -> None:
    shown.locator("#jobs-history .ag-row[row-id='3'] [col-id=state]").focus()
    shown.keyboard.press("Enter")
    expect(dialog_of(shown)).to_contain_text("Job 3: prepare-3")


def test_a_message_moves_nothing_and_goes(shown: Page) -> None:
    before = shown.locator(".jobs-table").bounding_box()
    shown.evaluate("() => (globalThis.setTimeout = ((set) => (run, ms) => set(run, ms / 4))(setTimeout))")
    row(shown, 9).get_by_role("button", name="Hold job 9").click()
    said = shown.locator(".jobs-top > .jobs-said")
    expect(said).to_have_text("Job 9 is on hold until it is released.")
    assert shown.locator(".jobs-table").bounding_box() == before
    expect(said).to_be_hidden()
    row(shown, 9).get_by_role("button", name="Release job 9").click()


def test_columns_keep_their_places_when_a_reason_grows(shown: Page, jobs: JobsScene) -> None:
    lefts = "() => [...document.querySelectorAll('.jobs-table th')].map((head) => head.getBoundingClientRect().left)"
    before = shown.evaluate(lefts)
    with jobs.queue._transaction():
        jobs.queue._db.execute("UPDATE job SET reason = ? WHERE id = 9", ("waits " * 60,))
    expect(row(shown, 9)).to_contain_text("waits waits")
    assert shown.evaluate(lefts) == before


def test_slots_open_on_the_time_of_what_runs(shown: Page) -> None:
    pressed = shown.locator(".jobs-spans [aria-pressed=true]")
    expect(pressed).to_have_text("6 h")  # the oldest that runs began 130 minutes ago
    assert "span" not in shown.url


def test_running_jobs_are_teal_and_finished_ones_grey(shown: Page) -> None:
    found = shown.evaluate(
        "() => [...document.querySelectorAll('.gantt-bar')].map((bar) => [bar.title.includes(' to now'), bar.style.borderColor])"
    )
    assert {(is_running, colour) for is_running, colour in found} == {(True, "var(--c3)"), (False, "var(--c8)")}


def test_what_an_end_says_is_not_said_twice(ask: Ask) -> None:
    code = """const { endOf } = await load("pages/jobs/queue.js");
    const of = (why, because, said, exit_code) => endOf({ why, because, said, exit_code });
    return [of("", null, "ValueError: no (exit code 1)", 1), of("preempted", 13, "preempted, its checkpoint is written", 75), of("", null, "", 3), of("", null, "", 0), of("cancelled", null, "cancelled", -15), of("", null, "no (signal 9)", -9), of("rolled back", 4, "", null)];"""
    assert ask(code) == [
        "ValueError: no (exit code 1)",
        "preempted for job 13, its checkpoint is written; exit code 75",
        "exit code 3",
        "by itself",
        "cancelled; ended by signal 15",
        "no (signal 9)",
        "rolled back beside job 4",
    ]


def test_a_run_elsewhere_says_where_it_is(ask: Ask) -> None:
    code = """const { noLink } = await load("pages/jobs/queue.js");
    const of = (run, name) => noLink({ job: 7, run, name, log_dir: "/data/logs" }, "/home/me/logs");
    return [of("a", "a"), of(null, ""), of(null, "a")];"""
    linked, none, elsewhere = ask(code)
    assert (linked, none) == ("", "")
    assert all(word in elsewhere for word in ("/data/logs", "/home/me/logs", "deepseek-jobs logs 7"))


def test_without_a_daemon_buttons_say_why_they_do_nothing(tmp_path_factory: pytest.TempPathFactory, page: Page) -> None:
    with jobs_served(tmp_path_factory.mktemp("quiet")) as (scene, web):
        opened(page, web)
        hold = row(page, 9).get_by_role("button", name="Hold job 9")
        expect(hold).to_have_attribute("aria-disabled", "true")
        assert "deepseek-jobs daemon" in (hold.get_attribute("title") or "")
        hold.click(force=True)  # which Playwright holds to be disabled
        expect(page.locator(".jobs-top > .jobs-said")).to_contain_text("The job queue is not running")
        assert scene.queue.state_of(9) == "queued"


def test_a_finger_on_a_wide_screen_has_room(scene: tuple[JobsScene, Web], browser: Browser) -> None:
    """The bell, the run, the ledger's button and the log's levels stand inside of their rows."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{scene[1].port}/?run=vit-1")
    for shown in (".tail select", "#picker button", ".ledger-bar .btn", ".figure"):
        page.locator(shown).first.wait_for()
    assert page.evaluate("() => matchMedia('(pointer: coarse)').matches")
    inside = """([inner, outer]) => { const a = document.querySelector(inner).getBoundingClientRect(), b = document.querySelector(outer).getBoundingClientRect();
      return a.height > 0 && a.top >= b.top + 2 && a.bottom <= b.bottom - 2 && a.right <= b.right; }"""
    for inner, outer in (
        (".bell", ".bar"),
        (".range", ".scope"),
        (".ledger-bar .btn", ".ledger-bar"),
        (".tail select", ".tail-head"),
    ):
        assert page.evaluate(inside, [inner, outer]), inner
    context.close()


def test_a_reason_has_room_on_every_screen(scene: tuple[JobsScene, Web], browser: Browser) -> None:
    page = browser.new_page()
    opened(page, scene[1])
    for width in (390, 640, 768, 900, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        widths = page.evaluate(
            "() => [...document.querySelectorAll('.jobs-state')].map((cell) => cell.getBoundingClientRect().width)"
        )
        assert min(widths) >= 140 and page.evaluate("() => document.documentElement.scrollWidth") == width, (
            width,
            widths,
        )
    page.close()
