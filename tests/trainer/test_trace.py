"""Steps that are traced on demand, with real parts: a script that uses RunLog, our own trainer, the collector, the pages, the command."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from analysis.ledger.shares import TracedSteps, traced_lines
from analysis.ledger.text import lines_of, sentence_of
from analysis.traces.steps import parsed
from collectors.message import text_of
from collectors.store.store import Store
from dashboard.api.ledger import ledger_answer
from tests.analysis.test_ledger import FED, filled, ledger_of
from tests.analysis.test_ledger import store as store  # a fixture
from tests.conftest import ROOT, Dashboard, dashboard, wait_for
from tests.trainer.test_trace_requests import answer

WITHOUT_RUN_LOG = "import sys, time; print('at work', flush=True); time.sleep(600)"
TRAIN = ("-m", "trainer", "--task", "gpt", "--size", "tiny", "--device", "cpu", "--threads", "1", "--batch", "1")


@contextmanager
def program(*words: str, cwd: Path = ROOT, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, *words], cwd=cwd, stderr=subprocess.DEVNULL, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Two scripts at work: `plain` uses RunLog, `prints` does not."""
    logs = tmp_path_factory.mktemp("traced") / "logs"
    (logs / "prints").mkdir(parents=True)
    with (
        dashboard(logs) as running,
        program("-m", "tests.programs.traced", str(logs), "group/plain"),
        (logs / "prints" / "train.log").open("wb") as text,
        program("-c", WITHOUT_RUN_LOG, stdout=text),
    ):
        for run in ("group/plain", "prints"):
            wait_for(lambda run=run: running.run(run).get("state") == "running", because=f"{run} does not run")
        yield running


def post(running: Dashboard, run: str, body: dict[str, object]) -> tuple[int, dict[str, Any]]:
    address = f"{running.address}/api/v1/runs/{quote(run, safe='')}/trace"
    asked = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked) as answered:
            return answered.status, json.load(answered)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def found(running: Dashboard, run: str, **parameters: str) -> dict[str, Any]:
    words = "".join(f"&{name}={value}" for name, value in parameters.items())
    answered: dict[str, Any] = running.get(f"/api/v1/trace?run={quote(run)}{words}")
    return answered


def test_the_command_prints_the_line_of_each_operator(watched: Dashboard) -> None:
    command = [sys.executable, "app.py", "trace", "group/plain", "--steps", "2", "--log-dir", str(watched.log_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "traced.py:15 loss_of" in done.stdout and "backward of traced.py:15 loss_of" in done.stdout
    assert "aten::addmm x 1" in done.stdout


def test_what_was_traced_is_in_the_answer_the_ledger_and_the_events(watched: Dashboard) -> None:
    status, asked = post(watched, "group/plain", {"steps": 2})
    assert status == 200, asked
    wait_for(lambda: found(watched, "group/plain", id=asked["id"])["state"] == "done", because="nothing was traced")
    trace = found(watched, "group/plain")["trace"]
    assert trace["id"] == asked["id"] and trace["device"] == "CPU" and trace["last_step"] - trace["first_step"] == 1
    line = next(line for line in trace["lines"] if line["function"] == "loss_of" and not line["backward"])
    assert line["line"] == 15 and line["file"] == str(ROOT / "tests" / "programs" / "traced.py")
    assert sum(row["share"] for row in trace["lines"]) == pytest.approx(100)
    wait_for(
        lambda: "2 steps traced" in [event["text"] for event in watched.get("/api/v1/events?run=group/plain")["events"]]
    )
    source = watched.get(f"/api/v1/source?run=group/plain&file={quote(line['file'])}&line=15")
    assert "return torch.relu" in str(source["lines"])
    lo, hi = trace["window"]
    ledger = wait_for(lambda: traced_ledger(watched, lo - 4, hi + 1), because="the ledger has no trace")
    assert ledger["tier"] == "C" and {line["function"] for line in ledger["traced"]["lines"]} >= {"loss_of"}


def test_kernels_are_leaves_below_the_line_that_launched_them(watched: Dashboard) -> None:
    _, asked = post(watched, "group/plain", {"steps": 2})
    wait_for(lambda: found(watched, "group/plain", id=asked["id"])["state"] == "done", because="nothing was traced")
    tree = watched.get("/api/v1/flame?run=group/plain&from=1&to=2&view=kernels&prune=0")
    names, nodes = [frame["name"] for frame in tree["frames"]], tree["nodes"]

    def path_of(node: int) -> list[str]:
        return [*(path_of(nodes["parent"][node]) if node else []), names[nodes["frame"][node]]]

    paths = [path_of(node) for node in range(len(nodes["frame"]))]
    (forward,) = [path for path in paths if path[-1] == "aten::addmm"]
    assert "loss_of" in forward and "backward" not in forward
    assert any(path[-1] == "aten::mm" and "loss_of" in path and "backward" in path for path in paths)
    trace = found(watched, "group/plain", id=asked["id"])["trace"]
    assert tree["units"] == 2 and tree["seconds"] == pytest.approx(2 * sum(kind["seconds"] for kind in trace["kinds"]))
    refused = watched.get("/api/v1/flame?run=prints&from=1&to=2&view=kernels")
    assert "no steps of 'prints' were traced" in refused["error"]


def traced_ledger(running: Dashboard, lo: float, hi: float) -> dict[str, Any] | None:
    answered: dict[str, Any] = running.get(f"/api/v1/ledger?run=group/plain&from={lo}&to={hi}")
    return answered if answered.get("traced") else None


@pytest.mark.parametrize(
    ("run", "body", "words"),
    [
        ("prints", {"steps": 3}, "does not use RunLog"),
        ("nope", {"steps": 3}, "no run 'nope'"),
        ("group/plain", {"steps": 0}, "steps"),
        ("group/plain", {"steps": 21}, "steps"),
        ("group/plain", {"steps": "3"}, "steps"),
        ("group/plain", {"steps": True}, "steps"),
        ("group/plain", {"rank": -1}, "rank"),
        ("group/plain", {"signal": 9}, "signal"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_a_sentence(
    watched: Dashboard, run: str, body: dict[str, object], words: str
) -> None:
    status, refused = post(watched, run, body)
    assert status in (400, 404) and words in refused["error"]


def test_an_answer_that_never_comes_is_not_waited_for(watched: Dashboard) -> None:
    assert "did not answer" in found(watched, "group/plain", id="00000000deadbeef")["sentence"]
    assert "does not use RunLog" in found(watched, "prints")["sentence"]
    assert watched.get("/api/v1/trace?run=nope")["error"]


@pytest.mark.parametrize("path", ["/", "/flame"])
def test_a_button_traces_and_shows_the_lines(watched: Dashboard, page: Page, path: str) -> None:
    page.goto(f"{watched.address}{path}?run=group%2Fplain")
    box = page.locator("details.trace")
    box.locator("summary").click()
    before = found(watched, "group/plain")["trace"]
    box.get_by_role("button", name="Trace 3 steps").click()
    wait_for(
        lambda: (found(watched, "group/plain")["trace"] or {}).get("id") != (before or {}).get("id"),
        because="nothing was traced",
    )
    expect(box.get_by_role("table")).to_contain_text("traced.py:15", timeout=20_000)
    expect(box).to_contain_text("per step while traced")


def test_the_flame_page_draws_the_kernels(watched: Dashboard, page: Page) -> None:
    _, asked = post(watched, "group/plain", {"steps": 1})
    wait_for(lambda: found(watched, "group/plain", id=asked["id"])["state"] == "done", because="nothing was traced")
    page.goto(f"{watched.address}/flame?run=group%2Fplain&view=kernels")
    expect(page.locator(".graph-foot")).to_contain_text(
        "kernels or operators in the newest traced steps", timeout=20_000
    )
    page.get_by_role("searchbox").fill("aten::")
    expect(page.locator(".search [role=status]")).to_contain_text("functions")


def test_our_own_trainer_is_traced(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with dashboard(logs) as running, program(*TRAIN, "--log-dir", str(logs), "--run", "own"):
        wait_for(lambda: (running.run("own").get("last_step") or 0) > 1, because="it does not train")
        status, asked = post(running, "own", {"steps": 1})
        assert status == 200, asked
        wait_for(lambda: found(running, "own", id=asked["id"])["state"] != "asked", because="nothing was traced")
        answered = found(running, "own", id=asked["id"])
        assert answered["state"] == "done", answered["sentence"]
        files = {Path(line["file"]).name for line in answered["trace"]["lines"]}
        assert "gpt.py" in files and "train.py" in files


def test_the_busy_time_of_a_gpu_is_split_as_in_the_traced_steps(store: Store) -> None:
    filled(store, FED, busy_pct=75.0)
    trace = parsed(answer())
    ledger = replace(ledger_of(store), ranks=2, traced=TracedSteps(trace, traced_lines(trace, "/job")), tier="C")
    sentence = text_of(sentence_of(ledger))
    assert sentence.startswith("GPU busy 75% (compute 50%, communication 20%, copies 5%), waiting for data about 25%")
    assert "as in the traced steps 4 to 6" in lines_of(ledger, "run")[-1]
    answered = ledger_answer(ledger)["traced"]
    assert answered is not None and sum(part.share for part in answered["parts"]) == pytest.approx(ledger.busy_share)
    assert [line["kernel"] for line in answered["lines"] if line["backward"]] == ["sm90_gemm_backward"]


def test_without_a_trace_compute_and_communication_are_not_separated(store: Store) -> None:
    filled(store, FED, busy_pct=75.0)
    ledger = replace(ledger_of(store), ranks=2)
    assert "not separated" in text_of(sentence_of(ledger)) and ledger_answer(ledger)["traced"] is None
