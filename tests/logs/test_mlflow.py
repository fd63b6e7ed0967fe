"""MLflow's file store and database: what it reads back is what the tail read, live and after a restart."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats.mlflow import MetricFile, RunMeta
from collectors.records import Event, Points, RunInfo
from tests.support.following import Follower, check_told, count_of, of_run, series_of, unpacked, until

RUN_ID = "0123456789abcdef0123456789abcdef"


def ends(follower: Follower) -> dict[str, object]:
    return {
        record.run: record.fields["status"]
        for record in follower.records
        if isinstance(record, Event) and record.kind == "end"
    }


def store_of(root: Path, name: str = "small", run_id: str = RUN_ID) -> Path:
    """A file store with one run; returns its folder."""
    run = root / "mlruns" / "7" / run_id
    (run / "metrics").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("name: tries\n")
    (run / "meta.yaml").write_text(f"run_name: {name}\nstatus: 1\nstart_time: 1764000000000\nend_time: null\n")
    return run


@pytest.mark.parametrize("program", ["mlflow_files", "mlflow_sqlite"])
def test_it_is_read_as_it_reads_itself(follower: Follower, program: str) -> None:
    told = unpacked(program, follower.root)
    follower.values(count_of(told))
    until(follower, lambda: len(ends(follower)) == 2)
    check_told(follower.records, told)
    assert ends(follower) == dict(zip(told["runs"], ("finished", "failed"), strict=True))
    count = len(follower.values(1))
    follower.restart()
    until(follower, lambda: True)
    assert len(follower.values(1)) == count


def test_a_run_goes_on_under_its_first_name_after_a_restart_and_a_new_name(follower: Follower) -> None:
    run = store_of(follower.root)
    (run / "metrics" / "loss").write_text("1764000000000 0.5 1\n")
    follower.values(1)
    follower.restart()
    (run / "tags").mkdir()
    (run / "tags" / "mlflow.runName").write_text("renamed")
    with (run / "metrics" / "loss").open("a") as file:
        file.write("1764000001000 0.25 2\n")
    (run / "metrics" / "train").mkdir()
    (run / "metrics" / "train" / "acc.csv").write_text("1764000000000 nan 1\n")
    follower.values(3)
    assert {record.run for record in follower.records if isinstance(record, Points)} == {"mlruns/tries/small"}
    assert series_of(follower.records)["loss"] == [(1, 0.5), (2, 0.25)]
    assert set(series_of(follower.records)) == {"loss", "train/acc.csv"} and follower.tail.trouble() == ""
    (activity,) = [run for run in follower.tail.live_runs() if run.run == "mlruns/tries/small"]
    assert set(activity.files) >= {"metrics/loss", "metrics/train/acc.csv"}  # by which its process is found


def test_two_runs_of_one_name_are_two(follower: Follower) -> None:
    for id_ in (RUN_ID, RUN_ID[::-1]):
        (store_of(follower.root, "small", id_) / "metrics" / "loss").write_text("1764000000000 0.5 1\n")
    follower.values(2)
    names = {record.run for record in follower.records if isinstance(record, Points)}
    assert len(names) == 2 and all(name.startswith("mlruns/tries/small") for name in names)


def test_a_run_that_is_resumed_starts_again(follower: Follower) -> None:
    told = unpacked("mlflow_sqlite", follower.root)
    until(follower, lambda: len(ends(follower)) == 2)
    run = next(iter(told["runs"]))
    with closing(sqlite3.connect(follower.root / "mlflow.db")) as db, db:
        (id_,) = db.execute("SELECT run_uuid FROM runs WHERE name = 'small' AND status = 'FINISHED'").fetchone()
        db.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", (id_,))
        db.execute("INSERT INTO metrics VALUES ('train/loss', 0.1, 1795642629700, ?, 101, 0)", (id_,))
        db.execute("INSERT INTO params VALUES ('more', '1', ?)", (id_,))
    until(follower, lambda: (101, 0.1) in series_of(of_run(follower.records, run))["train/loss"])
    kinds = [record.kind for record in of_run(follower.records, run) if isinstance(record, Event)]
    assert kinds == ["start", "end", "start"]
    assert [record.info["config"] for record in of_run(follower.records, run) if isinstance(record, RunInfo)][-1][
        "more"
    ] == "1"
    with closing(sqlite3.connect(follower.root / "mlflow.db")) as db, db:
        db.execute("UPDATE runs SET status = 'KILLED', end_time = 1795642630000 WHERE run_uuid = ?", (id_,))
    until(follower, lambda: ends(follower)[run] == "killed")


def test_rows_that_are_deleted_and_a_database_that_is_packed_cost_nothing(follower: Follower) -> None:
    told = unpacked("mlflow_sqlite", follower.root)
    until(follower, lambda: len(ends(follower)) == 2)
    run = next(iter(told["runs"]))
    path = follower.root / "mlflow.db"
    with closing(sqlite3.connect(path)) as db:
        (id_,) = db.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED'").fetchone()
        db.execute("DELETE FROM metrics WHERE step BETWEEN 3 AND 12 OR run_uuid != ?", (id_,))
        db.commit()
        db.execute("VACUUM")
    until(follower, lambda: follower.offsets["mlflow.db"].state["metrics"] == 41)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO metrics VALUES ('train/loss', 0.1, 1795642629700, ?, 101, 0)", (id_,))
    until(follower, lambda: (101, 0.1) in series_of(of_run(follower.records, run))["train/loss"])
    assert len(series_of(of_run(follower.records, run))["train/loss"]) == 21


def test_a_bad_line_costs_itself() -> None:
    file = MetricFile("a", (), "loss", lambda name: "", {})
    lines = [
        b"1764000000000 0.5 1",
        b"x",
        b"1764000000000 0.5",
        b"1 2 3 4",
        b"1e400 1 1",
        b"1764000000000 1 " + b"9" * 400,
        b"",
    ]
    found = file.parse(lines, None)
    assert [(record.step, record.values) for record in found if isinstance(record, Points)] == [
        (1, (0.5,)),
        (0, (0.5,)),
    ]
    assert (file.tally.lines_skipped, file.tally.first_skip) == (4, "line 2: is not a time, a value and a step")


@given(
    st.lists(
        st.binary(max_size=40)
        | st.from_regex(rb"-?[0-9.e]{1,8} (nan|inf|-?[0-9.e]{1,8}) -?[0-9]{1,20}", fullmatch=True)
    )
)
@settings(deadline=None)
def test_any_line_is_read_or_counted(lines: list[bytes]) -> None:
    file = MetricFile("a", (), "loss", lambda name: "", {})
    for record in file.parse(lines, None):
        assert (
            isinstance(record, Points)
            and record.time_s is not None
            and record.step is not None
            and abs(record.step) <= 2**53
        )
    json.dumps(file.state())


@given(
    st.binary(max_size=200)
    | st.from_regex(r"(status|start_time|end_time): [0-9a-z.]{1,8}\n(status: [1-5]\n)?", fullmatch=True).map(str.encode)
)
@settings(deadline=None)
def test_any_meta_is_read_or_counted(data: bytes) -> None:
    meta = RunMeta("a", {})
    for record in meta.parse_whole(data):
        assert isinstance(record, Event)
    json.dumps(meta.state())


def test_a_store_that_is_the_log_folder_itself_and_one_without_names(tmp_path: Path) -> None:
    run = store_of(tmp_path)
    (run / "metrics" / "loss").write_text("1764000000000 0.5 1\n")
    (run.parent / "meta.yaml").unlink()
    (run / "meta.yaml").write_text("[")
    shutil.copytree(run, tmp_path / "single" / RUN_ID)
    for root, name in ((tmp_path / "mlruns", f"7/{RUN_ID}"), (tmp_path / "single", f"single/{RUN_ID}")):
        follower = Follower(root)
        try:
            assert follower.values(1) == [0.5]
            assert {record.run for record in follower.records if isinstance(record, Points)} == {name}
        finally:
            follower.tail.close()
