"""The examples of docs/extending.md: each diff is applied to a copy of the tree, and what it adds works."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.conftest import ROOT, Dashboard, dashboard, drag, script, wait_for
from tests.support.product import PACKAGES

DIFFS = sorted((ROOT / "docs" / "examples").glob("*.diff"))
TRAINER = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1]) / "a"
folder.mkdir()
(folder / "table.dat").write_text(f"time_s,step,acc\\n{time.time()},0,0.25\\n")
with open(folder / "metrics.jsonl", "w") as log:
    for step in range(1_000_000):
        print(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1 / (1 + step), "train/lr": 0.0, "eval_accuracy": 0.5}), file=log, flush=True)
        time.sleep(0.05)
"""
FIRE_ALL = """
import json, pathlib, sys
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.app import make_app
from tests.support.serving import served_app

def files(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(("-shm", "-wal"))}

log_dir = pathlib.Path(sys.argv[1])
data_dir = log_dir / ".deepseek"
open_store(data_dir, write=True).close()
before = files(data_dir)
app = make_app(Queries(open_store(data_dir, write=False), log_dir, data_dir))
with served_app(app) as web:
    web.ask("/_dash-dependencies")
    selection = {"run": "a", "runs": ["a"], "axis": "time", "from": None, "to": None, "live": True}
    for output, callback in app.state.dash.callback_map.items():
        for value in (None, "/losses", selection):
            inputs = [{**name, "value": value} for name in callback["inputs"]]
            state = [{**name, "value": value} for name in callback["state"]]
            outputs = [dict(zip(("id", "property"), name.rsplit(".", 1))) for name in output.strip(".").split("...")]
            body = {"output": output, "outputs": outputs if output.startswith("..") else outputs[0], "inputs": inputs, "state": state,
                    "changedPropIds": []}
            print(output, web.ask("/_dash-update-component", "POST", json.dumps(body).encode()).status)
print("changed" if files(data_dir) != before else "unchanged")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with all examples applied."""
    copy = tmp_path_factory.mktemp("extended") / "checkout"
    copy.mkdir()
    for folder in (*PACKAGES, "assets", "tests", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("poisons", "recorded", "*.png"))
    for program in ("app.py", "collector.py"):
        shutil.copy(ROOT / program, copy)
    for diff in DIFFS:
        subprocess.run(["git", "apply", "--verbose", diff], cwd=copy, check=True, capture_output=True)
    return copy


@pytest.fixture(scope="module")
def running(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("extended") / "logs"
    log_dir.mkdir()
    with script(TRAINER, str(log_dir)), dashboard(log_dir, "--no-profile", checkout=checkout) as running:
        wait_for(lambda: running.run("a").get("points", 0) > 50)
        yield running


def test_a_page_of_dash_components_is_one_file(running: Dashboard, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{running.address}/losses?run=a")
    wait_for(
        lambda: page.evaluate("() => 'train/loss' in (globalThis.deepseekPainted?.drawn ?? {})"),
        because="no time chart",
    )
    numbers = page.locator("#numbers")
    wait_for(lambda: "points" in numbers.inner_text(), because="the callback did not answer")
    wait_for(lambda: page.locator("#histogram .js-plotly-plot").count() == 1, because="no figure")
    figure = page.locator("#histogram .js-plotly-plot")
    for item, starts in (("Save as CSV", b"trace,x"), ("Save as PNG", b"\x89PNG")):
        figure.hover()
        figure.get_by_role("button", name="Chart tools").click()
        with page.expect_download() as download:
            page.locator(".chart-menu").get_by_text(item, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(starts)
    assert "Losses" in page.locator("#menu a").all_text_contents()
    wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted.drawn['train/loss'].count > 60"),
        because="it does not follow",
    )
    before = numbers.inner_text()
    drag(page, 0.93, 0.99)  # without the beginning
    wait_for(lambda: "from=" in page.evaluate("() => location.search"), because="nothing is selected")
    wait_for(lambda: numbers.inner_text() != before, because="the callback does not know the window")
    page.close()
    assert problems == []


def test_a_format_is_one_file_and_one_row(running: Dashboard) -> None:
    wait_for(lambda: running.values("a", "acc") == [0.25], because="the table was not read")


def test_a_metric_is_one_row_and_one_value(running: Dashboard) -> None:
    series = wait_for(lambda: running.get("/api/v1/series?match=uptime")["series"], because="no uptime")
    assert [(one["name"], one["unit"], one["label"]) for one in series] == [("host/uptime_s", "s", "Uptime")]


def test_a_gpus_metric_is_one_row_one_reader_and_one_answer_of_the_fake_driver(checkout: Path) -> None:
    """The test that wants every metric of the catalog is run where there is one more."""
    test = "tests/collectors/test_nvml.py::test_every_metric_of_the_catalog_arrives_from_eight_hopper_cards"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", test], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "gpu/power_limit_default_w" in (checkout / "collectors/catalog.py").read_text()


def test_a_lane_is_one_row(running: Dashboard, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(f"{running.address}/?run=a")
    lane = page.locator("[data-lane=accuracy]")
    wait_for(lambda: "50.0" in "".join(lane.all_inner_texts()), because="no value in a lane of the accuracy")
    assert lane.inner_text().startswith("Accuracy, %")
    page.close()


def test_a_finding_is_one_function_and_one_row(running: Dashboard) -> None:
    found = wait_for(lambda: running.get("/api/v1/findings?run=a")["findings"], because="no rule holds")
    assert [(row["rule"], row["title"], row["weight"]) for row in found] == [("rate_zero", "Learning rate 0", "note")]
    assert found[0]["sentence"].startswith("train/lr has been 0 for 100 steps")


def test_an_engine_is_a_package_and_one_row(checkout: Path) -> None:
    code = "from collectors.store.engines import open_store; store = open_store('memory://here', write=True); print(store.append([]), store.runs())"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"


def test_callbacks_only_read(checkout: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIRE_ALL, tmp_path], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *answers, last = done.stdout.splitlines()
    assert last == "unchanged" and len(answers) >= 6, done.stdout
    assert {answer.split()[-1] for answer in answers} <= {"200", "204", "400"}, done.stdout


def test_every_example_is_told_of(checkout: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    assert all(f"examples/{diff.name}" in text for diff in DIFFS)
