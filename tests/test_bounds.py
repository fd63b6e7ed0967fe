"""However large, long or many the files are: what is read at a time is bounded, and what is live does not wait."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from collectors.logs import watch as watch_module
from collectors.logs.file import BATCH_BYTES, BATCH_LINES
from collectors.logs.tail import TURN_BYTES, TURN_RECORDS, Tail
from collectors.logs.watch import ANY_INODE, MAX_WATCHED, Files, Folders, FolderWatch, listed
from collectors.records import LogLine, Offset, Points
from tests.ingesting import MAX_PASSES, Ingest
from tests.ingesting import ingest as ingest  # a fixture
from tests.running import wait_for


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


class Look:
    """A first look at a folder that finds it in two parts."""

    def __init__(self, first: list[Path], second: list[Path], newest_s: dict[Path, float]) -> None:
        self._parts, self._newest_s = [first, second], newest_s

    def take(self) -> list[Path]:
        return self._parts.pop(0) if self._parts else []

    def newest_s(self, folder: Path) -> float:
        return self._newest_s.get(folder, 0.0)

    def is_there(self) -> bool:
        return True

    @property
    def is_complete(self) -> bool:
        return not self._parts

    def close(self) -> None:
        pass


def read_by(tail: Tail, found: list[Points]) -> list[Points]:
    found += [record for record in tail.collect() if isinstance(record, Points)]
    return found


@pytest.mark.parametrize("is_listed", [True, False], ids=["in a list of its folder", "by an event"])
def test_what_is_written_during_the_first_look_goes_before_what_it_had_found(
    is_listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tmp_path, 20)
    there = sorted(tmp_path.glob("*/*"))
    newest_s = {path.parent: path.stat().st_mtime for path in there}
    live = tmp_path / "live" / "metrics.jsonl"
    look = Look(there, [live], newest_s)
    monkeypatch.setattr("collectors.logs.tail.FolderWatch", lambda *_, **__: look)
    time.sleep(0.02)  # longer than a tick of the clock of files
    tail = Tail(tmp_path, "box", {}, threading.Event())
    time.sleep(0.02)
    live.parent.mkdir()
    live.write_text('{"step": 1, "loss": 2.0}\n')
    if is_listed:
        newest_s[live.parent] = live.stat().st_mtime
    found: list[Points] = []
    wait_for(lambda: len({point.run for point in read_by(tail, found)}) == 21, because="not all runs are read")
    assert found[0].run == "live" and len([point for point in found if point.run == "live"]) == 1
    tail.close()


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


def scan_once_more(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which folders are lively is known then; from then on inotify and glances alone tell what has changed."""
    monkeypatch.setattr("collectors.logs.watch.SCAN_S", 3600.0)
    ingest.until(lambda: ingest.tail._watch._next_scan_s > time.monotonic() + 60, "it is never scanned")


def test_more_folders_than_inotify_follows_are_seen_before_the_next_scan(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(ingest.root, MAX_WATCHED + 40)
    ingest.until(lambda: len(ingest.store.runs()) == MAX_WATCHED + 40 and ingest.tail.period_s, "not read")
    scan_once_more(ingest, monkeypatch)
    for i in (0, 50, MAX_WATCHED + 39):
        with (ingest.root / f"sweep-{i}" / "metrics.jsonl").open("a") as file:
            file.write('{"time_s": 9, "step": 9, "loss": 0.5}\n')
        ingest.until(lambda name=f"sweep-{i}": (run := ingest.run(name)) and run.points == 4, "not seen")  # type: ignore[misc]


def test_a_run_that_begins_where_inotify_follows_others_is_seen_before_the_next_scan(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(ingest.root, MAX_WATCHED + 40)
    ingest.restart()
    ingest.until(lambda: ingest.tail.period_s, "not read")
    scan_once_more(ingest, monkeypatch)
    assert max(ingest.health_passes(3) for _ in range(4)) <= MAX_PASSES
    (ingest.root / "healthy" / "inner").mkdir()
    (ingest.root / "healthy" / "inner" / "x.log").write_text("hello\n")
    ingest.until(lambda: ingest.run("healthy/inner"), "not seen")


@pytest.mark.parametrize("depth", [1, 3], ids=["beside", "each in folders of its own"])
def test_what_begins_during_the_first_look_is_followed_by_inotify_from_then_on(
    depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was let go as the look ended, and then waited for its turn among all folders that are polled."""
    monkeypatch.setattr("collectors.logs.watch.FIRST_SLICE_S", 0.0)  # a folder at a time
    for i in range(MAX_WATCHED + 40):
        folder = tmp_path.joinpath(f"run-{i}", *["inner"] * (depth - 1))
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("{}\n")
    watch = FolderWatch(tmp_path, lambda name: name.endswith(".jsonl"), wake := threading.Event())
    for _ in range(3):
        watch.take()
    live = tmp_path / "live" / "metrics.jsonl"
    live.parent.mkdir()
    live.write_text("{}\n")
    wait_for(lambda: live in watch.take(), because="it is not found")
    while not watch.is_complete:
        with live.open("a") as file:
            file.write("{}\n")
        watch.take()
    for _ in range(3):
        time.sleep(0.05)
        watch.take()
        wake.clear()
        with live.open("a") as file:
            file.write("{}\n")
        assert wake.wait(60), "no event comes"
        assert live in watch.take()
    watch.close()


@pytest.mark.parametrize("how", ["renamed", "deleted"])
@pytest.mark.parametrize("poll_only", [False, True], ids=["inotify", "polled"])
def test_a_folder_that_is_made_again_is_followed_like_any_new_one(
    poll_only: bool, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.logs.watch.SCAN_S", 3600.0)
    monkeypatch.setattr("collectors.logs.watch.GLANCE_S", 0.05 if poll_only else 3600.0)
    make_runs(tmp_path, 3, lines=1)
    live = tmp_path / "live" / "metrics.jsonl"
    watch = FolderWatch(tmp_path, lambda name: name.endswith(".jsonl"), threading.Event(), poll_only=poll_only)
    while not watch.is_complete:
        watch.take()
    for number in range(3):
        live.parent.mkdir()
        for _ in range(0 if poll_only else 3):
            watch.take()
            time.sleep(0.02)
        live.write_text("{}\n")  # long after its folder
        wait_for(lambda: live in watch.take(), because="its file is not noticed")
        if how == "renamed":
            live.parent.rename(tmp_path / f"live.{number}")
        else:
            shutil.rmtree(live.parent)
        watch.take()
    watch.close()


def test_a_list_of_a_folder_names_those_that_are_new_though_they_have_a_known_name(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"run-{number}").mkdir()

    def folders(known: Folders) -> Folders:
        return drained(listed(str(tmp_path), lambda path: True, known))[1]

    known = folders({})
    assert len(known) == 100 and folders(known) == {}
    (tmp_path / "run-3").rename(tmp_path / "old-3")
    (tmp_path / "run-3").mkdir()
    assert {Path(folder).name for folder in folders(known)} == {"run-3", "old-3"}
    assert folders(dict.fromkeys([*known, str(tmp_path / "old-3")], ANY_INODE)) == {}


def drained(slices: Generator[set[str], None, tuple[Files, Folders]]) -> tuple[Files, Folders]:
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value


def test_one_inotify_instance_serves_all_folders(tmp_path: Path) -> None:
    """A user has 128 of them for all programs."""
    make_runs(tmp_path, 100, lines=1)

    def instances() -> int:
        links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return sum(os.readlink(link) == "anon_inode:inotify" for link in links if os.path.lexists(link))  # noqa: PTH115

    before = instances()
    watch = FolderWatch(tmp_path, lambda name: name.endswith(".jsonl"), threading.Event())
    found: list[Path] = []
    while not watch.is_complete:
        found += watch.take()
    assert len(found) == 100
    assert instances() - before == 1
    watch.close()


def test_a_scan_of_many_folders_is_done_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shortest slices, each ends after one file."""
    looks, look_at = 0, watch_module.mark_of

    def counted(path: str) -> object:
        nonlocal looks
        looks += 1
        return look_at(path)

    for module in (watch_module, watch_module):
        monkeypatch.setattr(module, "mark_of", counted)
    for name in ("FIRST_SLICE_S", "SLICE_S"):
        monkeypatch.setattr(watch_module, name, 0.0)
    make_runs(tmp_path, 1000, lines=1)
    watch = FolderWatch(tmp_path, lambda name: name.endswith(".jsonl"), threading.Event(), poll_only=True)

    def look() -> list[Path]:
        watch._next_scan_s, before = 0.0, looks
        found = watch.take()
        assert looks - before <= 4, "at new folders, in the scan, in active folders and in changed ones"
        return found

    first: list[Path] = []
    while not watch.is_complete:
        first += look()
    assert len(first) == len(set(first)) == 1000
    watch._next_glance_s = 0.0
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "metrics.jsonl").write_text("{}\n")
    found: list[Path] = []
    while not found:
        found = look()
    watch.close()
    assert found == [tmp_path / "late" / "metrics.jsonl"]


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
