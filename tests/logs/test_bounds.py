"""However large, long or many the files are: what is read at a time is bounded, and what is live does not wait."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from collectors.logs.file import BATCH_BYTES, BATCH_LINES
from collectors.logs.tail import TURN_BYTES, TURN_RECORDS, Tail
from collectors.records import LogLine, Offset, Points
from tests.support.ingesting import MAX_PASSES, Ingest
from tests.support.ingesting import ingest as ingest  # a fixture


def make_runs(root: Path, count: int, lines: int = 3) -> None:
    text = "".join(json.dumps({"time_s": 1.0 + i, "step": i, "loss": 0.5}) + "\n" for i in range(lines))
    for i in range(count):
        folder = root / f"sweep-{i}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"config": {"lr": i}}))
        (folder / "metrics.jsonl").write_text(text)
        (folder / "train.log").write_text("hello\n" * lines)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_turn_reads_a_bounded_number_of_bytes(ingest: Ingest) -> None:
    """1,950 lines of 0.75 MB were one batch of 1.5 GB."""
    (ingest.root / "a").mkdir()
    with (ingest.root / "a" / "x.log").open("w") as file:
        for i in range(40):
            file.write(f"{i} " + "x" * 750_000 + "\n")
    found: list[LogLine] = []
    while len(found) < 40:
        records = ingest.tail.collect()
        lines = [record for record in records if isinstance(record, LogLine)]
        assert sum(len(line.text) for line in lines) <= TURN_BYTES + BATCH_BYTES
        found += lines
    assert [int(line.text.split()[0]) for line in found] == list(range(40))


@pytest.mark.parametrize("kind", ["no newline at all", "short lines"])
def test_a_giant_file_does_not_delay_a_live_run(kind: str, ingest: Ingest) -> None:
    ingest.health_passes()
    path = ingest.root / "giant" / "x.log"
    path.parent.mkdir()
    if kind == "short lines":
        path.write_bytes(b"a line of a log that goes on and on\n" * 2_000_000)
    else:
        with path.open("wb") as file:
            file.truncate(10 * 10**9)  # sparse: it reads as zeros
    before = resident_bytes()
    assert max(ingest.health_passes(5) for _ in range(8)) <= MAX_PASSES
    assert ingest.tail.period_s == 0, "there is still more of it"
    assert_turns_are_bounded(ingest)
    assert resident_bytes() - before < 150e6
    path.unlink()


def assert_turns_are_bounded(ingest: Ingest) -> None:
    """Each has at most one batch more than it takes to end it, beside the few lines of the healthy run."""
    assert ingest.most_bytes <= TURN_BYTES + BATCH_BYTES
    assert ingest.most_records <= TURN_RECORDS + BATCH_LINES


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
def test_many_runs_at_once_do_not_delay_a_live_run(count: int, ingest: Ingest) -> None:
    ingest.health_passes()
    maker = threading.Thread(target=make_runs, args=(ingest.root, count))
    maker.start()
    passes = [ingest.health_passes(5) for _ in range(10)]
    maker.join()
    assert max(passes) <= MAX_PASSES
    ingest.until(
        lambda: sum(run.points for run in ingest.store.runs()) >= 3 * count + ingest.written, "not all are read"
    )
    assert [run.points for run in ingest.store.runs() if run.name != "healthy"] == [3] * count
    assert_turns_are_bounded(ingest)


def test_a_backlog_of_many_runs_is_read_behind_what_is_written_now(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    root.mkdir()
    make_runs(root, 400, lines=800)  # more than are read before the healthy run is
    time.sleep(0.02)  # the healthy run is the newest
    ingest = Ingest(root)
    assert ingest.health_passes() <= MAX_PASSES
    ingest.restart()
    assert ingest.health_passes() <= MAX_PASSES, "and so after a restart, as the run that was written last"
    assert ingest.tail.period_s == 0, "the others are not read yet"
    ingest.close()


def test_thousands_of_logs_in_one_folder_do_not_exhaust_the_descriptors(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.logs.tail.MAX_OPEN", 20)
    before = descriptors()
    (ingest.root / "a").mkdir()
    paths = [ingest.root / "a" / f"{i}.log" for i in range(500)]
    for text in ("one\n", "two\n"):
        for path in paths:
            with path.open("a") as file:
                file.write(text)
        due = 500 if text == "one\n" else 1000
        ingest.until(
            lambda due=due: (run := ingest.run("a")) and run.lines_read == due, f"not all are read after {text!r}"
        )  # type: ignore[misc]
        assert descriptors() - before <= 20 + 5
    assert len(ingest.tail._files) <= 20, "what is closed is not held in memory either"


def test_a_file_that_was_let_go_is_taken_up_where_it_was_left(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logs.tail.MAX_OPEN", 1)
    for step in range(30):
        for name in ("a", "b", "c"):
            (ingest.root / name).mkdir(exist_ok=True)
            with (ingest.root / name / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": 100 * (step % 10), "x": 1}) + "\n")
        ingest.turn()
    ingest.until(lambda: [run.points for run in ingest.store.runs()] == [30] * 3, "lines are lost, or come twice")
    found = ingest.store.range([series.id for series in ingest.store.series("a")], None, None, "time", 1000)
    assert [one.segment.max() for one in found.values()] == [2], "the parser goes on from its state"


def test_lines_of_any_shape_leave_little_behind(ingest: Ingest) -> None:
    """60,000 shapes of line grew the collector by 121 MB."""
    (ingest.root / "a").mkdir()
    with (ingest.root / "a" / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps({"step": i, f"n{i}": 0.5, f"m{i}": 0.25}) + "\n" for i in range(12_000))
    ingest.until(lambda: (run := ingest.run("a")) and run.lines_read == 12_000, "not read")
    run = ingest.run("a")
    assert run is not None and run.series == 20_000 and run.fields_skipped == 4_000
    assert "one series too many" in ingest.store.offsets()["a/metrics.jsonl"].first_skip


def test_lines_of_many_shapes_come_in_small_batches_and_none_is_lost(ingest: Ingest) -> None:
    ingest.health_passes()
    (ingest.root / "a").mkdir()
    names = [f"n{i}" for i in range(14)]
    with (ingest.root / "a" / "metrics.jsonl").open("w", newline="") as file:
        for i in range(5_000):  # each with another set of names
            shape = {name: 0.5 for place, name in enumerate(names) if (i + 1) >> place & 1}
            file.write(json.dumps({"time_s": 1.0 + i, "step": i, "all": 1.5, **shape}) + ("\r\n" if i % 3 else "\n"))
    assert max(ingest.health_passes(2) for _ in range(3)) <= MAX_PASSES
    ingest.until(lambda: (run := ingest.run("a")) and run.lines_read == 5_000, "not read")
    (every,) = ingest.store.series("a", "all")
    steps = ingest.store.range([every.id], None, None, "step", 10**5)[every.id].t
    assert steps.tolist() == list(range(5_000))


def test_offsets_and_points_of_one_turn_belong_together(tmp_path: Path) -> None:
    make_runs(tmp_path, 50)
    tail = Tail(tmp_path, "box", {}, threading.Event())
    records = tail.collect()
    tail.close()
    runs = {record.run for record in records if isinstance(record, Points)}
    assert runs == {
        record.run for record in records if isinstance(record, Offset) and record.path.endswith("metrics.jsonl")
    }
