"""Where each thread was last: over HTTP from a program that is killed, and on the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.conftest import Dashboard, dashboard, script, wait_for

CRASHES = """
import json, sys, threading, time

def fetch():
    while True:
        time.sleep(0.01)

def step(log, number):
    log.write(json.dumps({"time_s": time.time(), "step": number, "loss": 1.0}) + "\\n")
    crunch()

def crunch():
    sum(range(200_000))
    time.sleep(0.02)

threading.Thread(target=fetch, name="fetcher", daemon=True).start()
with open(sys.argv[1], "a", buffering=1) as log:
    for number in range(1_000_000):
        step(log, number)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of a run whose process was killed, and of one that has never had a process here."""
    log_dir = tmp_path_factory.mktemp("crash") / "logs"
    (log_dir / "crash").mkdir(parents=True)
    (log_dir / "old").mkdir()
    (log_dir / "old/metrics.jsonl").write_text('{"time_s": 1764000000.0, "step": 1, "loss": 1.0}\n')
    with dashboard(log_dir) as running:
        with script(CRASHES, str(log_dir / "crash/metrics.jsonl")) as training:
            wait_for(
                lambda: running.get("/api/v1/flame?run=crash&from=0&to=9e9").get("samples", 0) > 50,
                because="not profiled",
            )
            training.kill()
            training.wait()
            wait_for(lambda: running.run("crash")["state"] == "ended")
        yield running


def names(stack: dict[str, list[dict[str, str]]]) -> list[str]:
    return [frame["name"] for frame in stack["frames"]]


def test_each_thread_of_a_killed_program_is_shown_where_it_was(killed: Dashboard) -> None:
    def last() -> list[dict[str, object]]:
        found = killed.get("/api/v1/last_stacks?run=crash")["stacks"]
        return found if len(found) == 2 else []

    main, fetcher = wait_for(last)
    assert main["thread"] == "MainThread" and "step" in names(main)
    assert fetcher["thread"] == "fetcher" and names(fetcher)[-1] == "fetch"
    assert killed.get("/api/v1/last_stacks?run=nobody")["error"]


def test_the_page_shows_them_once_the_run_has_ended(killed: Dashboard, page: Page) -> None:
    page.goto(f"{killed.address}/?run=crash")
    page.get_by_role("button", name="last stacks").click()
    dialog = page.get_by_role("dialog", name="Last stacks")
    dialog.get_by_role("heading", name="MainThread").wait_for()
    text = dialog.inner_text()
    assert "step" in text and "fetch" in text
    dialog.get_by_role("button", name="Close").click()
    assert dialog.is_hidden()


def test_a_run_that_was_never_profiled_has_none_and_no_button(killed: Dashboard, page: Page) -> None:
    wait_for(lambda: killed.run("old"))
    assert killed.get("/api/v1/last_stacks?run=old") == {"stacks": []}
    page.goto(f"{killed.address}/?run=old")
    page.get_by_role("button", name="Run details").wait_for()
    assert page.get_by_role("button", name="last stacks").count() == 0
