"""Runs are forgotten and taken back, by a real collector; their files are never changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from playwright.sync_api import Page

from collectors.logs.tombstones import (
    FileIdentity,
    LastKnown,
    Tombstone,
    Tombstones,
    file_name,
    identity_of_file,
    last_known,
    read_all,
)
from dashboard.runs.runs import OVER, forgotten_view
from dashboard.user_files.forgotten_runs import ForgottenRun, quoted, remove_line
from dashboard.user_files.run_notes import RunNotes
from tests.conftest import Dashboard, dashboard, script, wait_for

T0 = 1_764_000_000.0
NAMES = ("plain", "group/a", "odd, <b>na%2Fme'$(x)\n\x1b")
LIVING = """
import sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], run="living") as log:
    for step in range(10_000):
        log.scalars(step, {"train/loss": 1.0})
        time.sleep(0.05)
"""


def write_run(folder: Path, steps: int = 50) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        for step in range(steps):
            file.write(json.dumps({"time_s": T0 + step, "step": step, "train/loss": 1.0}) + "\n")
    (folder / "run.json").write_text('{"config": {"lr": 1}}')
    (folder / "train.log").write_text("2025-11-24 16:00:00+00:00 INFO one\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".deepseek" not in path.parts
    }


def post(running: Dashboard, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{running.address}/api/v1/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def forget(running: Dashboard, run: str) -> Any:
    return post(running, f"runs/{quote(run, safe='')}/forget", {})


def names(running: Dashboard) -> set[str]:
    return {run["run"] for run in running.get("/api/v1/runs")["runs"]}


def points(running: Dashboard, run: str) -> int:
    return int(running.run(run).get("points", 0))


def settled(running: Dashboard) -> None:
    """The collector has looked at the whole folder, and has nothing to do."""
    wait_for(lambda: not any(row["waiting"] for row in running.get("/healthz")["collectors"] if row["name"] == "tail"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("forgotten") / "logs"
    for name in (*NAMES, "group", "bystander"):
        write_run(logs / name)
    (logs / "single.jsonl").write_text(
        "".join(json.dumps({"time_s": T0 + i, "step": i, "loss": 1.0}) + "\n" for i in range(9))
    )
    return logs


@pytest.fixture
def running(logs: Path) -> Iterator[Dashboard]:
    with dashboard(logs) as running:
        wait_for(lambda: points(running, "bystander") == 50)
        settled(running)
        yield running


def run_called(running: Dashboard, name: str) -> str:
    """As the dashboard calls the run of that folder: control characters are shown as others."""
    return name if name in NAMES[:2] else next(run for run in names(running) if run.startswith("odd"))


def test_forgotten_runs_stay_away_until_they_are_taken_back_or_their_files_change(
    logs: Path, running: Dashboard
) -> None:
    before = contents(logs)
    odd = run_called(running, NAMES[2])
    for run in ("plain", "group/a", odd, "single"):
        answer = forget(running, run)
        assert answer.get("run") == run and answer["about"]["forgotten"] and answer["remove"].startswith("rm "), answer
        assert run not in names(running)
    rows = {row["run"]: row for row in running.get("/api/v1/forgotten")["forgotten"]}
    assert (rows["plain"]["files"], rows["plain"]["remove"]) == (3, f"rm -r -- {logs}/plain")
    assert rows["single"]["remove"] == f"rm -- {logs}/single.jsonl"
    assert names(running) == {"group", "bystander"}

    write_run(logs / "another")  # the whole folder is looked at again
    wait_for(lambda: points(running, "another") == 50)
    settled(running)
    assert names(running) == {"group", "bystander", "another"} and contents(logs).items() >= before.items()

    post(running, "runs/plain/take_back", {})
    post(running, f"runs/{quote(odd, safe='')}/about", {"forgotten": False})
    wait_for(lambda: points(running, "plain") == points(running, odd) == 50)
    assert running.get("/api/v1/run?run=plain")["info"]["config"] == {"lr": 1}
    assert running.get("/api/v1/logs?run=plain")["total"] == 1

    with (logs / "group" / "a" / "metrics.jsonl").open("a") as file:  # a new attempt in the same folder
        file.write(json.dumps({"time_s": T0 + 99, "step": 99, "train/loss": 2.0}) + "\n")
    wait_for(lambda: points(running, "group/a") == 51)
    assert running.run("group/a")["info"] == {}, "its other files are as they were when it was forgotten"


def test_they_stay_away_after_a_restart_and_notes_come_back_with_them(logs: Path) -> None:
    write_run(logs / "noted")
    with dashboard(logs) as running:
        wait_for(lambda: points(running, "noted") == 50)
        post(running, "events", {"run": "noted", "text": "look here", "time_s": T0})
        wait_for(lambda: running.get("/api/v1/events?run=noted")["events"])
        assert post(running, "runs/noted/about", {"forgotten": True, "tags": ["t"]})["forgotten"]
        assert "noted" not in names(running)
    with dashboard(logs) as running:
        settled(running)
        assert "noted" not in names(running)
        post(running, "runs/noted/take_back", {})
        wait_for(lambda: points(running, "noted") == 50)
        wait_for(lambda: running.get("/api/v1/events?run=noted")["events"])
        assert running.run("noted")["about"]["tags"] == ["t"] and not running.run("noted")["about"]["forgotten"]


def buried(logs: Path, run: str) -> Path:
    return logs / ".deepseek" / "forgotten" / file_name(run)


def killed(running: Dashboard) -> None:
    """The dashboard and its collector, without a word."""
    collector = running.collector_pid()
    running.process.kill()
    if collector is not None:
        os.kill(collector, signal.SIGKILL)
    running.process.wait()


def test_a_deleted_run_is_restored_as_it_was_though_both_processes_were_killed(logs: Path) -> None:
    write_run(logs / "deleted")
    with dashboard(logs) as running:
        wait_for(lambda: points(running, "deleted") == 50)
        post(running, "events", {"run": "deleted", "text": "look here", "time_s": T0})
        wait_for(lambda: running.get("/api/v1/events?run=deleted")["events"])
        answer = post(running, "runs/deleted/delete", {})
        assert answer["purge_s"] > time.time() + 500 and "deleted" not in names(running), answer
        killed(running)
    write_run(logs / "deleted", 1)  # goes on meanwhile
    (logs / "deleted" / "late.jsonl").write_text(json.dumps({"time_s": T0, "step": 1, "late": 1.0}) + "\n")
    before = contents(logs)
    with dashboard(logs) as running:
        settled(running)
        assert "deleted" not in names(running)
        assert "is deleted; the Runs page" in post(running, "runs/deleted/about", {"note": "x"})["error"]
        post(running, "runs/deleted/take_back", {})
        wait_for(lambda: points(running, "deleted") == 52, because="what was written meanwhile is not read")
        assert len(running.get("/api/v1/events?run=deleted")["events"]) == 1
        assert running.get("/api/v1/run?run=deleted")["info"]["config"] == {"lr": 1}
        assert not buried(logs, "deleted").exists() and contents(logs) == before

        assert post(running, "runs/deleted/delete", {})["purge_s"]
        killed(running)
    tombstone = json.loads(buried(logs, "deleted").read_text())
    buried(logs, "deleted").write_text(json.dumps(tombstone | {"purge_s": 1.0}))  # ten minutes are over
    with dashboard(logs) as running:
        wait_for(lambda: json.loads(buried(logs, "deleted").read_text())["purge_s"] == 0, because="it is not purged")
        settled(running)
        assert "deleted" not in names(running) and contents(logs) == before
        post(running, "runs/deleted/take_back", {})
        wait_for(lambda: points(running, "deleted") == 52, because="its files are not read again")


def test_a_run_is_kept_for_as_long_as_its_owner_says(logs: Path) -> None:
    write_run(logs / "kept")
    with dashboard(logs) as running:
        wait_for(lambda: points(running, "kept") == 50)
        assert "a number of days such as 30d" in post(running, "runs/kept/about", {"keep": "soon"})["error"]
        assert post(running, "runs/kept/about", {"keep": "9999d"})["keep"] == "9999d"
        post(running, "runs/kept/about", {"keep": "30d", "note": "keep: forever"})
        about = logs / ".deepseek" / "runs" / "kept.yaml"
        assert "keep: 30d" in about.read_text()
        wait_for(lambda: "kept" not in names(running), because="it was to be kept for 30 days")
        assert running.get("/api/v1/forgotten")["forgotten"][0]["purge_s"] > time.time() + 500
        post(running, "runs/kept/take_back", {})
        wait_for(lambda: points(running, "kept") == 50)
        assert running.run("kept")["about"]["keep"] == "" and running.run("kept")["about"]["note"] == "keep: forever"


def test_a_run_that_is_alive_and_one_that_is_not_there_cannot_be_forgotten(logs: Path, running: Dashboard) -> None:
    with script(LIVING, str(logs)):
        wait_for(lambda: running.run("living").get("state") == "running")
        assert forget(running, "living")["error"] == "'living' is alive; a run can be forgotten once it is over"
    assert "error" in forget(running, "nobody")
    assert "GET /api/v1/forgotten" in post(running, "runs/nobody/take_back", {})["error"]
    assert "living" in names(running)


def test_the_runs_page_deletes_a_run_prints_the_line_and_restores_it_after_a_reload(
    logs: Path, running: Dashboard, page: Page
) -> None:
    page.goto(f"{running.address}/runs?q=bystander")
    page.wait_for_selector("#runs-grid .run-cell a:has-text('bystander')")
    page.keyboard.press("j")
    page.keyboard.press("i")
    page.wait_for_selector(".about:has-text('3 files of the run')")
    assert "stay: the dashboard never changes them" in page.locator(".about").inner_text()
    page.locator("[data-act=delete]").click()
    page.wait_for_selector(".about .command")
    assert page.locator(".about .command").inner_text() == f"rm -r -- {logs}/bystander"
    page.wait_for_selector("#runs-grid .run-cell a:has-text('bystander')", state="detached")
    page.get_by_role("button", name="Hidden").click()
    page.get_by_label("Show deleted").check()
    page.wait_for_selector("#runs-grid .run-cell a:has-text('bystander')")
    cells = page.locator(".ag-center-cols-container .ag-row").first
    assert [cells.locator(f"[col-id='{key}']").inner_text() for key in ("steps", "duration")] == ["49", "49 s"]
    assert "can be restored as it was until" in page.locator(".about").inner_text()
    page.reload()
    page.locator(".runs-done button:has-text('Undo')").click()
    wait_for(lambda: points(running, "bystander") == 50)
    page.wait_for_selector("#about-ran:has-text('lr')")
    page.goto("about:blank")


def test_an_odd_tombstone_costs_itself(tmp_path: Path) -> None:
    kept = Tombstones(tmp_path)
    (tmp_path / "a.jsonl").write_text("{}\n")
    found = identity_of_file(str(tmp_path / "a.jsonl"))
    assert found is not None
    known = LastKnown("finished", "", T0, T0 + 9, T0 + 9, 4000, 3, 900)
    kept.put(Tombstone("a\ud800/..", T0, "", (found,), known))
    for i, text in enumerate(
        ["", "[]", "{", '{"run": 1}', "null", '{"run": "x", "forgotten_s": "y", "folder": "", "files": [[1]]}']
    ):
        (tmp_path / "forgotten" / f"odd{i}.json").write_text(text)
    (again,) = read_all(tmp_path)
    assert (again.run, again.known) == ("a\ud800/..", known) and Tombstones(tmp_path).covers(found.path)


@settings(deadline=None, max_examples=60)
@given(
    some.none()
    | some.dictionaries(
        some.sampled_from([*LastKnown._fields, "odd"]), some.none() | some.floats() | some.integers() | some.text()
    )
)
def test_what_was_known_is_read_however_odd_the_tombstone_is(row: dict[str, Any] | None) -> None:
    known = last_known(row)
    view = forgotten_view(ForgottenRun("a", T0, 1, 1, "", RunNotes(forgotten=True), known))
    assert view.state in OVER and "deleted" in view.state_reason
    assert (
        json.loads(json.dumps(known._asdict(), allow_nan=False)) == known._asdict()
        and last_known(known._asdict()) == known
    )


def test_a_file_is_the_same_only_by_inode_size_and_first_bytes(tmp_path: Path) -> None:
    file, kept = tmp_path / "a.jsonl", Tombstones(tmp_path)
    file.write_text("one\n")
    found = identity_of_file(str(file))
    assert found is not None and not kept.covers(str(file))
    kept.put(Tombstone("a", T0, "", (found,)))
    assert kept.covers(str(file)) and kept.covers(str(file))
    file.write_text("two\n")
    assert not kept.covers(str(file)), "its first bytes are others"
    file.write_text("one\n")
    assert kept.covers(str(file))
    file.rename(tmp_path / "old")
    assert not kept.covers(str(file)), "it is gone"
    other = tmp_path / "new"
    other.write_text("one\n")
    other.rename(file)
    assert not kept.covers(str(file)), "it is another file"


@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "it's", "$(touch x)", "-rf", "line\nbreak", "\x1b[31m", "ä", "\udcff\\'", "`x`", "a\u202eb"],
)
def test_the_line_that_removes_files_can_be_pasted(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "metrics.jsonl").touch()
    (tmp_path / "kept").touch()
    line = remove_line(Tombstone("a", T0, str(tmp_path / name), ()))
    assert line.isprintable() and line.encode()
    subprocess.run(["bash", "-c", line], check=True, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    files = (FileIdentity(str(tmp_path / "kept"), 1, 1, ""),)
    assert remove_line(Tombstone("a", T0, "", files)) == f"rm -- {quoted(str(tmp_path / 'kept'))}"
