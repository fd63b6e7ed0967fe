"""Stores that earlier versions made for several log folders become part of the one store of the working folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors import writer_lock
from collectors.log_folders import LogFolders, of_folders
from collectors.logs.tombstones import Tombstone, Tombstones
from collectors.logs.user_events import AddedEvents
from collectors.records import (
    Event,
    Finding,
    Frame,
    LogLine,
    Offset,
    Points,
    Record,
    RunInfo,
    StackRecording,
    StackSpan,
    labels_of,
)
from collectors.store import run_copy
from collectors.store.engines import open_store
from collectors.store.store import TooMuch
from dashboard.commands import store_migration
from dashboard.commands.serve import place_to_serve
from dashboard.user_files.events import add_event
from dashboard.user_files.run_notes import about_run, save_about
from tests.conftest import Dashboard, wait_for

START_S = 1_764_000_000.0
HOST = labels_of(host="box")
STACK = (Frame("main", "/a/train.py", 3), Frame("decode", "/a/train.py", 9))


def points_of(run: str | None, name: str, begin: int, end: int, late_s: float = 0.0) -> list[Record]:
    return [
        Points(run, HOST, (name,), (step / 8,), START_S + step + late_s, step if run else None)
        for step in range(begin, end)
    ]


def stacks_of(run: str, second: int) -> StackRecording:
    begin = round((START_S + second) * 1e9)
    samples = [StackSpan(begin + 100_000_000 * number, 100_000_000, 7, STACK) for number in range(10)]
    return StackRecording(
        run,
        0,
        99,
        "main",
        "box",
        "native",
        10.0,
        START_S + second,
        begin,
        begin + 10**9,
        {7: "MainThread"},
        samples,
        10,
    )


def finding_of(run: str | None, id_: str) -> Finding:
    return Finding(id_, run, "slow_steps", "note", START_S, START_S + 5, True, "It was slow.")


def stored(run: str, steps: int, *more: Record) -> list[Record]:
    log = [LogLine(run, "output.log", START_S + step, 20, f"step {step}") for step in range(steps)]
    offset = Offset(f"{run}/metrics.jsonl", run, 1, 1, 100 * steps, steps, 0, 0, "", {})
    return [RunInfo(run, {"kind": "training"}), *points_of(run, "train/loss", 0, steps), *log, offset, *more]


def made(data_dir: Path, records: list[Record], options: dict[str, Any]) -> Path:
    """A store as a dashboard of the last version has left it."""
    data_dir.mkdir(mode=0o700, parents=True)
    os.close(writer_lock.take(data_dir, "0.1", options))
    store = open_store(data_dir, write=True)
    store.append(records)
    store.close()
    return data_dir


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("logs/a", "runs/b"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def several(work: Path, *more: Record) -> Path:
    records = [
        *stored("logs/a", 4, stacks_of("logs/a", 20), Event("logs/a", "process", START_S, fields={"pid": 99})),
        *stored("runs/b", 3, finding_of("runs/b", "slow:b")),
        *points_of(None, "host/cpu", 100, 110),
        finding_of(None, "machine"),
        *more,
    ]
    options = {"log_dir": str(work), "only": ["logs", "runs"]}
    data_dir = made(work / "logs/.deepseek-several", records, options)
    (data_dir / "alerts.yaml").write_text("receivers: []\n")
    save_about(data_dir, "logs/a", {"name": "wider"})
    add_event(data_dir, "runs/b", {"text": "a note", "time_s": START_S})
    Tombstones(data_dir).put(Tombstone("logs/gone", START_S, str(work / "logs/gone"), ()))
    return data_dir


def alone(work: Path) -> Path:
    records = [*stored("a", 2), *stored("c", 5, stacks_of("c", 30)), *points_of(None, "host/cpu", 0, 50)]
    data_dir = made(work / "logs/.deepseek", records, {"log_dir": str(work / "logs"), "only": []})
    (data_dir / "settings.yaml").write_text("retention: 30d\n")
    return data_dir


def folders(work: Path) -> list[Path]:
    return [work / "logs", work / "runs"]


def held(data_dir: Path, run: str) -> dict[str, Any]:
    """What the store has of a run."""
    store = open_store(data_dir, write=False)
    try:
        found = {one.name: one for one in store.runs()}[run]
        lines = store.line_extents([run])
        return {
            "points": found.points,
            "lines": sum(extent.lines for extent in lines.values()),
            "stacks": sum(count for _, _, count in store.stack_counts(START_S, START_S + 1000, run)),
            "events": [event.kind for event in store.events(run)],
            "findings": [found.id for found in store.findings(run)],
            "offset": [offset.offset for offset in store.offsets().values() if offset.run == run],
        }
    finally:
        store.close()


def machine_points(data_dir: Path) -> int:
    store = open_store(data_dir, write=False)
    try:
        return sum(series.points for series in store.series(None))
    finally:
        store.close()


def runs_of(data_dir: Path) -> set[str]:
    store = open_store(data_dir, write=False)
    try:
        return {run.name for run in store.runs()}
    finally:
        store.close()


def test_the_only_store_becomes_the_folders_own_and_its_runs_keep_their_names(work: Path) -> None:
    before = several(work)
    assert of_folders(folders(work)).data_dir == before, "commands find it until a dashboard is started"
    place = place_to_serve(folders(work), None)
    assert place == LogFolders(work, ("logs", "runs"), work / "logs/.deepseek", "logs")
    assert not before.exists() and runs_of(place.data_dir) == {"logs/a", "runs/b"}
    assert held(place.data_dir, "logs/a")["stacks"] and about_run(place.data_dir, "logs/a").name == "wider"
    assert (place.data_dir / "alerts.yaml").exists()
    assert place.name_of(work / "logs/new") == "logs/new" and place.tree.path_of("logs/a") == work / "logs/a"
    one = place_to_serve([work / "logs"], None)
    assert one == LogFolders(work / "logs", (), work / "logs/.deepseek", "logs")
    assert one.name_of(work / "logs/a") == "logs/a"


def check_merged(work: Path) -> None:
    place = place_to_serve(folders(work), None)
    data_dir = place.data_dir
    assert place == LogFolders(work, ("logs", "runs"), work / "logs/.deepseek")
    assert runs_of(data_dir) == {"a", "c", "runs/b"} and not (work / "logs/.deepseek-several").exists()
    a, b, c = (held(data_dir, run) for run in ("a", "runs/b", "c"))
    assert (a["points"], a["lines"], a["offset"], a["events"]) == (4, 4, [400], ["process"]) and a["stacks"], (
        "the copy with stacks"
    )
    assert (b["points"], b["lines"], b["offset"][:1], b["findings"]) == (3, 3, [300], ["slow:b"]) and b["events"] == [
        "note"
    ]
    assert (c["points"], c["offset"]) == (5, [500]) and c["stacks"]
    assert machine_points(data_dir) == 60
    assert (data_dir / "settings.yaml").exists() and (data_dir / "alerts.yaml").exists()
    assert about_run(data_dir, "a").name == "wider"
    assert Tombstones(data_dir).has("gone")
    assert b'"run": "runs/b"' in (data_dir / "events/runs%2Fb.jsonl").read_bytes()
    store = open_store(data_dir, write=False)
    assert AddedEvents(data_dir, store.offsets().values()).collect() == [], "no line is read once more"
    store.close()


def test_both_with_data_become_one(work: Path) -> None:
    several(work, Event("runs/b", "note", START_S, text="a note"))  # as its collector has stored it
    alone(work)
    check_merged(work)
    check_merged(work)


ODD_LINES = [
    b"a note",
    b"[]",
    b'"note"',
    b"7",
    b'{"kind": "note"}',
    b'{"run": 7}',
    b'{"run": ""}',
    b'{"run": null}',
    b'{"run": "gone", "kind": "note", "text": "\\ud800"}',
    b"\xff\xfe{",
    b"[" * 100_000,
]


def test_odd_lines_of_users_stay_as_they_are(work: Path) -> None:
    path = several(work, Event("runs/b", "note", START_S, text="a note")) / "events/runs%2Fb.jsonl"
    path.write_bytes(b"\n".join(ODD_LINES) + b"\n\n" + path.read_bytes() + b"half a line")
    (path.parent / "folder.jsonl").mkdir()
    alone(work)
    check_merged(work)
    lines = (work / "logs/.deepseek/events/runs%2Fb.jsonl").read_bytes().splitlines()
    assert lines[: len(ODD_LINES)] == ODD_LINES and lines[-1] == b"half a line" and len(lines) == len(ODD_LINES) + 2


@pytest.mark.parametrize("error", [KeyError("run"), TooMuch("the window is too long"), RecursionError()])
def test_whatever_is_odd_in_an_old_store_the_dashboard_starts(
    error: Exception, work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = several(work, Event("runs/b", "note", START_S, text="a note"))
    alone(work)

    def failing(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store_migration, "_merge_runs", failing)
        assert place_to_serve(folders(work), None).data_dir == work / "logs/.deepseek"
        said = capfd.readouterr().err
        assert "cannot be taken over now" in said and type(error).__name__ in said
    assert runs_of(before) == {"logs/a", "runs/b"}
    check_merged(work)


def test_points_without_a_time_come_along(work: Path) -> None:
    """Those of lines that were there before their file was followed, in a series whose later points have one."""
    untimed = [Points("runs/b", HOST, ("train/loss",), (step / 8,), None, step) for step in range(-4, 0)]
    several(work, *untimed)
    alone(work)
    store = open_store(place_to_serve(folders(work), None).data_dir, write=False)
    (series,) = store.series("runs/b")
    assert store.points([series.id], None, None, "step")[series.id].step.tolist() == [*range(-4, 3)]
    assert len(store.points([series.id], None, None)[series.id].step) == 3
    store.close()


@pytest.mark.parametrize("records", [10, 45], ids=["within series that are read together", "between them"])
def test_an_interrupted_merge_of_the_machine_loses_nothing_and_stores_nothing_twice(
    records: int, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more series than are read at once. What lies beside a sample of the new store's own is left out."""
    monkeypatch.setattr(run_copy, "BATCH", 4)
    names = ["host/cpu", *(f"host/{number}" for number in range(24))]
    several(work, *(record for name in names for record in points_of(None, name, 40, 65, 0.5)))
    alone(work)
    real = run_copy.machine_points

    def breaking(*arguments: Any) -> Iterator[Points]:
        for number, record in enumerate(real(*arguments)):
            if number == records:
                raise OSError(28, "No space left on device")
            yield record

    with monkeypatch.context() as patched:
        patched.setattr(store_migration, "machine_points", breaking)
        assert "No space left" in list(store_migration.take_over(of_folders(folders(work))))[-1]
    store = open_store(place_to_serve(folders(work), None).data_dir, write=False)
    for series in store.series(None):
        seconds = (store.points([series.id], None, None)[series.id].place - START_S).tolist()
        added = [second + 0.5 for second in range(54 if series.name == "host/cpu" else 40, 65)]
        assert seconds == ([*range(50), *added, *range(100, 110)] if series.name == "host/cpu" else added), series.name
    store.close()


STEPS = [
    "_merge_runs",
    "_merge_machine",
    "_merge_added_events",
    "_merge_files",
    "_leave",
    "records_of",
    "machine_points",
    "_take_file",
]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_broken_off_is_gone_on_with(work: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    several(work, Event("runs/b", "note", START_S, text="a note"))
    alone(work)
    real: Callable[..., Any] = getattr(store_migration, step)
    calls = 0

    def breaking(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        if step.startswith("_"):
            real(*arguments)
            raise OSError(28, "No space left on device")
        return (record for number, record in enumerate(real(*arguments)) if number < 3 or broken())

    def broken() -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store_migration, step, breaking)
        said = list(store_migration.take_over(of_folders(folders(work))))
        assert "cannot be taken over now" in said[-1] and "No space left" in said[-1], said
    check_merged(work)


def test_one_in_use_stays_until_it_is_free(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = several(work)
    alone(work)
    held_lock = writer_lock.take(before, "0.1", writer_lock.last_options(before))
    try:
        assert place_to_serve(folders(work), None).data_dir == work / "logs/.deepseek"
        assert "cannot be taken over now" in capfd.readouterr().err
        assert runs_of(before) == {"logs/a", "runs/b"} and runs_of(work / "logs/.deepseek") == {"a", "c"}
    finally:
        os.close(held_lock)


def test_that_of_another_folder_is_taken_over_too(work: Path) -> None:
    alone(work)
    (work / "lightning_logs").mkdir()
    options = {"log_dir": str(work), "only": ["runs", "lightning_logs"]}
    made(work / "runs/.deepseek-several", stored("lightning_logs/v", 3), options)
    place = place_to_serve([*folders(work), work / "lightning_logs"], None)
    assert place.data_dir == work / "logs/.deepseek"
    assert runs_of(place.data_dir) == {"a", "c", "lightning_logs/v"}


def test_a_dashboard_goes_on_where_the_old_ones_were(work: Path) -> None:
    """The real program, on files that both old stores have read a part of."""
    metrics = work / "logs/a/metrics.jsonl"
    rows = [json.dumps({"time_s": START_S + step, "step": step, "train/loss": step / 8}) + "\n" for step in range(10)]
    metrics.write_text("".join(rows[:4]))
    several(work)
    old = open_store(work / "logs/.deepseek-several", write=True)
    found = metrics.stat()
    old.append(
        [Offset("logs/a/metrics.jsonl", "logs/a", found.st_dev, found.st_ino, found.st_size, 4, 0, 0, "", {"top": 3})]
    )
    old.close()
    alone(work)
    metrics.write_text("".join(rows))
    running = Dashboard(work / "logs", "--no-profile", "--log-dir", str(work / "runs"))
    try:
        wait_for(lambda: running.run("a").get("points") == 10)
        assert {run["run"] for run in running.get("/api/v1/runs")["runs"]} == {"a", "c", "runs/b"}
        assert running.values("a", "train/loss") == [step / 8 for step in range(10)]
    finally:
        running.close()
    assert not (work / "logs/.deepseek-several").exists()
    shutil.rmtree(work / "runs")
