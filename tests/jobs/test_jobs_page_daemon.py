"""The Jobs page beside the real daemon: what is submitted in the browser runs, is cancelled there, and stands in the history."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.support.jobs_house import JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture

EXPECTED_ERRORS = ("401 (Unauthorized)",)


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        yield house  # with one slot


@pytest.fixture
def address(house: JobsHouse) -> Iterator[str]:
    """A dashboard of the same user, and the link that lets this browser in as its owner."""
    command = [
        *as_user(house.uid),
        sys.executable,
        str(ROOT / "app.py"),
        "--port",
        "0",
        "--log-dir",
        str(house.logs),
        "--no-profile",
    ]
    house.logs.mkdir(exist_ok=True)
    os.chown(house.logs, house.uid, house.uid)
    with subprocess.Popen(command, cwd=house.work, env=house.environment, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            assert re.search(r"http://\S+", served.stdout.readline())
            url = [*as_user(house.uid), sys.executable, str(ROOT / "app.py"), "url", "--log-dir", str(house.logs)]
            said = subprocess.run(
                url, cwd=house.work, env=house.environment, capture_output=True, text=True, timeout=60
            )
            found = re.search(r"http://\S+", said.stdout)
            assert found, said
            yield found[0]
        finally:
            served.terminate()


def test_a_job_is_submitted_runs_and_is_cancelled(house: JobsHouse, address: str, page: Page) -> None:
    page.goto(address)
    if page.get_by_role("button", name=re.compile("Log in|Open")).count():
        page.get_by_role("button", name=re.compile("Log in|Open")).first.click()
    page.wait_for_url(re.compile(r"/(\?.*)?$"))
    page.goto(f"{re.match(r'https?://[^/]+', address)[0]}/jobs")  # type: ignore[index]
    expect(page.locator(".jobs-empty pre")).to_be_visible()
    for seconds in (600, 601):
        page.keyboard.press("n")
        form = page.get_by_role("form", name="Submit a job")
        form.get_by_label("Command, run without a shell").fill(
            f'"{sys.executable}" -c "import time; time.sleep({seconds})"'
        )
        form.get_by_label("Folder in which it runs").fill(str(house.work))
        form.get_by_role("button", name="Submit").click()
        expect(form).to_be_hidden()
    rows = page.locator(".jobs-table tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("running", timeout=20_000)
    expect(rows.nth(0)).to_contain_text("on cores")
    expect(rows.nth(1)).to_contain_text("waits for 1 core slot", timeout=20_000)
    expect(page.locator(".gantt-bar")).to_have_count(1)
    assert house.row(1)["cwd"] == str(house.work) and house.row(1)["log_dir"] == str(house.logs)
    rows.nth(1).get_by_role("button", name="Cancel job 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel job 2").click()
    expect(rows).to_have_count(1)
    rows.nth(0).get_by_role("button", name="Cancel job 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel job 1").click()
    expect(rows).to_have_count(0, timeout=30_000)
    expect(page.locator("#jobs-history .ag-row")).to_have_count(2)
    assert {row["state"] for row in house.rows().values()} == {"cancelled"} and house.left() == []
