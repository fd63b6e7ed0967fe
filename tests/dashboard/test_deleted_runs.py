"""Runs are deleted and restored, by a real collector; their files are never changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
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
from dashboard.runs.runs import OVER, deleted_view
from dashboard.user_files.deleted_runs import DeletedRun, DeletedRuns, quoted, remove_line
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


def delete(running: Dashboard, run: str, undo_s: float = 0.0) -> Any:
    return running.post(f"runs/{quote(run, safe='')}/delete", {"undo_s": undo_s})


def restore(running: Dashboard, run: str) -> Any:
    return running.post(f"runs/{quote(run, safe='')}/restore", {})


def deleted(running: Dashboard) -> list[dict[str, Any]]:
    return list(running.get("/api/v1/deleted")["deleted"])


def purge_s(running: Dashboard, run: str) -> float:
    (row,) = [row for row in deleted(running) if row["run"] == run]
    return float(row["purge_s"])


def events(running: Dashboard, run: str) -> int:
    return len(running.get(f"/api/v1/events?run={run}")["events"])


def names(running: Dashboard) -> set[str]:
    return {run["run"] for run in running.get("/api/v1/runs")["runs"]}


def points(running: Dashboard, run: str) -> int:
    return int(running.run(run).get("points", 0))


def settled(running: Dashboard) -> None:
    """The collector has looked at the whole folder, and has nothing to do."""
    wait_for(lambda: not any(row["waiting"] for row in running.get("/healthz")["collectors"] if row["name"] == "tail"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("deleted") / "logs"
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


def test_deleted_runs_stay_away_until_they_are_restored_or_their_files_change(logs: Path, running: Dashboard) -> None:
    before = contents(logs)
    odd = run_called(running, NAMES[2])
    for run in ("plain", "group/a", odd, "single"):
        answer = delete(running, run)
        assert answer.get("run") == run and answer["purge_s"] == 0 and answer["remove"].startswith("rm "), answer
        assert run not in names(running)
    rows = {row["run"]: row for row in deleted(running)}
    assert (rows["plain"]["files"], rows["plain"]["remove"]) == (3, f"rm -r -- {logs}/plain")
    assert rows["single"]["remove"] == f"rm -- {logs}/single.jsonl"
    assert names(running) == {"group", "bystander"}

    write_run(logs / "another")  # the whole folder is looked at again
    wait_for(lambda: points(running, "another") == 50)
    settled(running)
    assert names(running) == {"group", "bystander", "another"} and contents(logs).items() >= before.items()

    for run in ("plain", odd):
        assert restore(running, run) == {"run": run}
    wait_for(lambda: points(running, "plain") == points(running, odd) == 50)
    assert running.get("/api/v1/run?run=plain")["info"]["config"] == {"lr": 1}
    assert running.get("/api/v1/logs?run=plain")["total"] == 1

    with (logs / "group" / "a" / "metrics.jsonl").open("a") as file:  # a new attempt in the same folder
        file.write(json.dumps({"time_s": T0 + 99, "step": 99, "train/loss": 2.0}) + "\n")
    wait_for(lambda: points(running, "group/a") == 51)
    assert running.run("group/a")["info"] == {}, "its other files are as they were when it was deleted"


def test_of_two_deletes_at_the_same_time_one_restore_brings_the_run_back(logs: Path, running: Dashboard) -> None:
    write_run(logs / "twice")
    wait_for(lambda: points(running, "twice") == 50)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda undo_s: delete(running, "twice", undo_s), (600, 600)))
    assert "twice" in [answer.get("run") for answer in answers]
    assert [row["run"] for row in deleted(running)].count("twice") == 1
    restore(running, "twice")
    wait_for(lambda: points(running, "twice") == 50)


class Restarted(NamedTuple):
    """A dashboard that was killed with its collector after runs were deleted, and started again."""

    running: Dashboard
    logs: Path
    before: dict[str, bytes]  # what the log folder held at the start


def tombstone_of(logs: Path, run: str) -> Path:
    return logs / ".deepseek" / "deleted" / file_name(run)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    """`pending` was deleted and then written to, the time of `due` is over, `older` was deleted by an older version."""
    logs = tmp_path_factory.mktemp("killed") / "logs"
    undo_s = {"pending": 600.0, "due": 0.5, "older": 0.0}
    for run in undo_s:
        write_run(logs / run)
    with dashboard(logs) as running:
        wait_for(lambda: all(points(running, run) == 50 for run in undo_s))
        for run in undo_s:
            running.post("events", {"run": run, "text": "look here", "time_s": T0})
            wait_for(lambda run=run: events(running, run) == 1)
            running.post(f"runs/{run}/about", {"tags": ["t"]})
        for run, seconds in undo_s.items():
            assert delete(running, run, seconds)["run"] == run
        collector = running.collector_pid()
        running.process.kill()
        if collector is not None:
            os.kill(collector, signal.SIGKILL)
        running.process.wait()
    write_run(logs / "pending", 1)
    (logs / "pending" / "late.jsonl").write_text(json.dumps({"time_s": T0, "step": 1, "late": 1.0}) + "\n")
    as_older_version(tombstone_of(logs, "older"))
    before = contents(logs)
    with dashboard(logs) as running:
        settled(running)
        yield Restarted(running, logs, before)


def as_older_version(tombstone: Path) -> None:
    """As if the move to the new folder was interrupted before this one."""
    row = json.loads(tombstone.read_text())
    row["forgotten_s"] = row.pop("deleted_s")
    old = tombstone.parent.with_name("forgotten")
    old.mkdir()
    (old / tombstone.name).write_text(json.dumps(row))
    tombstone.unlink()


def test_deleted_runs_stay_away_though_both_processes_were_killed(restarted: Restarted) -> None:
    assert names(restarted.running) == set()
    assert {row["run"] for row in deleted(restarted.running)} == {"pending", "due", "older"}


def test_a_deleted_run_takes_no_change(restarted: Restarted) -> None:
    answer = restarted.running.post("runs/pending/about", {"note": "x"})
    assert answer["error"] == "'pending' is deleted; restore it on the Runs page"


def test_a_run_is_restored_as_it_was_with_what_was_written_meanwhile(restarted: Restarted) -> None:
    restore(restarted.running, "pending")
    wait_for(lambda: points(restarted.running, "pending") == 52, because="what was written meanwhile is not read")
    assert events(restarted.running, "pending") == 1
    assert restarted.running.get("/api/v1/run?run=pending")["info"]["config"] == {"lr": 1}
    assert not tombstone_of(restarted.logs, "pending").exists()


@pytest.mark.parametrize("run", ["due", "older"])
def test_a_run_whose_data_has_left_the_store_is_restored_from_its_files(restarted: Restarted, run: str) -> None:
    wait_for(lambda: purge_s(restarted.running, run) == 0, because="it is not purged")
    restore(restarted.running, run)
    wait_for(lambda: points(restarted.running, run) == 50, because="its files are not read again")
    wait_for(lambda: events(restarted.running, run) == 1, because="its events are not read again")
    assert restarted.running.run(run)["about"]["tags"] == ["t"]


def test_neither_deleting_nor_restoring_changes_the_files(restarted: Restarted) -> None:
    assert contents(restarted.logs) == restarted.before


def test_a_run_is_kept_for_as_long_as_its_owner_says(logs: Path) -> None:
    write_run(logs / "kept")
    with dashboard(logs) as running:
        wait_for(lambda: points(running, "kept") == 50)
        assert "a number of days such as 30d" in running.post("runs/kept/about", {"keep": "soon"})["error"]
        assert running.post("runs/kept/about", {"keep": "9999d"})["keep"] == "9999d"
        running.post("runs/kept/about", {"keep": "30d", "note": "keep: forever"})
        about = logs / ".deepseek" / "runs" / "kept.yaml"
        assert "keep: 30d" in about.read_text()
        wait_for(lambda: "kept" not in names(running), because="it was to be kept for 30 days")
        assert purge_s(running, "kept") > time.time() + 500
        restore(running, "kept")
        wait_for(lambda: points(running, "kept") == 50)
        assert running.run("kept")["about"]["keep"] == "" and running.run("kept")["about"]["note"] == "keep: forever"


def test_a_run_that_is_alive_and_one_that_is_not_there_cannot_be_deleted(logs: Path, running: Dashboard) -> None:
    with script(LIVING, str(logs)):
        wait_for(lambda: running.run("living").get("state") == "running")
        assert delete(running, "living")["error"] == "'living' is running; stop it, then delete it"
    assert "error" in delete(running, "nobody")
    assert "GET /api/v1/deleted" in restore(running, "nobody")["error"]
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
        ["", "[]", "{", '{"run": 1}', "null", '{"run": "x", "deleted_s": "y", "folder": "", "files": [[1]]}']
    ):
        (tmp_path / "deleted" / f"odd{i}.json").write_text(text)
    (again,) = read_all(tmp_path)
    assert (again.run, again.known) == ("a\ud800/..", known) and Tombstones(tmp_path).covers(found.path)


def test_a_data_folder_of_an_older_version_keeps_its_deleted_runs(tmp_path: Path) -> None:
    Tombstones(tmp_path).put(Tombstone("a", T0, "", (), purge_s=T0 + 600))
    as_older_version(tmp_path / "deleted" / file_name("a"))
    runs = DeletedRuns(tmp_path)
    for _ in range(2):
        assert [(found.run, found.deleted_s) for found in runs.all()] == [("a", T0)] and runs.pending() == {"a"}
        assert Tombstones(tmp_path).has("a"), "a collector has started"
    assert not (tmp_path / "forgotten").exists()


@settings(deadline=None, max_examples=60)
@given(
    some.none()
    | some.dictionaries(
        some.sampled_from([*LastKnown._fields, "odd"]), some.none() | some.floats() | some.integers() | some.text()
    )
)
def test_what_was_known_is_read_however_odd_the_tombstone_is(row: dict[str, Any] | None) -> None:
    known = last_known(row)
    view = deleted_view(DeletedRun("a", T0, 1, 1, "", RunNotes(), known))
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
