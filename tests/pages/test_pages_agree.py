"""What is said of a run that is over is the same on every page, and is not shown as if it were of now."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Dashboard, dashboard, wait_for

TRAINS = """
import sys, time
time.sleep(3)  # imports
from deepseek.log import RunLog
with RunLog(sys.argv[1], "over") as log:
    for step in range(80):
        time.sleep(0.02 if step < 40 else 0.15)
        log.scalars(step, {"train/loss": 1 / (1 + step)})
        sum(range(100_000))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("agree") / "logs"
    log_dir.mkdir()
    with dashboard(log_dir, "--no-profile") as running:
        subprocess.run([sys.executable, "-c", TRAINS, str(log_dir)], check=True)
        wait_for(lambda: running.run("over").get("state") == "finished")
        yield running


def figure(page: Page, name: str) -> str:
    return page.locator(".figure", has=page.locator(".k", has_text=name)).locator(".v span").inner_text()


def test_a_finished_run_has_one_duration_and_one_rate(finished: Dashboard, page: Page) -> None:
    cells = finished.get("/api/v1/table?columns=duration,steps_per_s,state")["rows"][0]["cells"]
    run = finished.run("over")
    assert cells["duration"] == pytest.approx(run["ended_s"] - run["started_s"])
    assert finished.get("/api/v1/ledger?run=over")["seconds"] == pytest.approx(cells["duration"], abs=0.01)
    sentences = wait_for(lambda: [row["sentence"] for row in finished.get("/api/v1/alerts")["finished"]])
    said_s = re.match(r"The run finished after ([\d.]+) s", sentences[0])
    assert said_s and float(said_s[1]) == pytest.approx(cells["duration"], abs=0.6) and cells["duration"] > 9
    page.goto(f"{finished.address}/?run=over")
    said = f"{cells['steps_per_s']:.{2 if cells['steps_per_s'] < 10 else 1}f}"
    wait_for(lambda: figure(page, "Steps/s") == said, because=f"Live does not say {said}")
    page.goto("about:blank")


def test_the_hosts_page_shows_no_value_of_now_for_a_run_that_is_over(finished: Dashboard, page: Page) -> None:
    page.goto(f"{finished.address}/hosts?all=1")
    lane = page.locator(".lane", has_text="CPU of the run").first
    expect(lane).to_contain_text("over")
    wait_for(
        lambda: lane.locator(".vals b").all_inner_texts() == ["–"],
        because="its last value stands there as if it were of now",
    )
    page.goto("about:blank")
