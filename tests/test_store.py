"""What every store must do, whatever engine stands behind it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.records import (
    Event,
    Frame,
    LogLine,
    Offset,
    Points,
    Profile,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackSample,
    labels_of,
)
from collectors.store.lines import LineColumns, LineTexts
from collectors.store.open import ENGINES, open_store
from collectors.store.protocol import MOST_SAMPLE_BYTES, MOST_SAMPLES, LogQuery, SampleQuery, Store, series_id

HOST = labels_of(host="box")
GPU = labels_of(gpu=0, host="box", uuid="GPU-1")
START_S = 1_764_000_000.0
LOSS = series_id("a", "train/loss", HOST)

Open = Callable[[bool], Store]


@pytest.fixture(params=["sqlite", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the store of this test, to write or to read, any number of times."""
    monkeypatch.setitem(ENGINES, "memory", "tests.memory_engine")
    stores: list[Store] = []

    def opening(write: bool) -> Store:
        stores.append(open_store(f"{request.param}://{tmp_path}", write=write))
        return stores[-1]

    yield opening
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened(True)


def line(step: int, value: float, *, run: str = "a", name: str = "train/loss", segment: int = 0) -> Points:
    return Points(run, HOST, (name,), (value,), START_S + step, step, segment)


def read_offset(offset: int, path: str = "a/metrics.jsonl") -> Offset:
    return Offset(path, "a", 1, 2**63 + 5, offset, 10, 1, 2, "line 3: not JSON", {"step": 7})


def test_an_empty_folder_answers_empty(opened: Open) -> None:
    reader = opened(False)
    assert reader.runs() == [] and reader.series("a") == [] and reader.offsets() == {} and reader.events() == []
    assert len(reader.range([LOSS], None, None)[LOSS].t) == 0 and reader.run("a") is None
    assert reader.last([LOSS]) == {} and reader.logs(LogQuery()).lines == []
    assert reader.seq() == 0 and not reader.changed() and reader.since(0).complete and reader.profiled_until("a") is None
    assert (
        reader.stacks(0, 1, "a").covered == [] and reader.sample_names("a") == ([], 0, 0) and reader.samples(SampleQuery("a")) == []
    )


def test_a_reader_that_was_there_first_picks_up_what_a_writer_writes(opened: Open) -> None:
    reader = opened(False)
    assert reader.seq() == 0
    opened(True).append([line(0, 2.5)])
    fresh = opened(False)
    assert fresh.changed() and not fresh.changed()
    wait_for(lambda: reader.seq() == 1)
    assert reader.range([LOSS], None, None)[LOSS].last.tolist() == [2.5]


def test_a_point_comes_back_as_it_was_on_both_axes(store: Store) -> None:
    store.append([Points("a", HOST, ("train/loss", "train/lr"), (2.5, 1e-3), START_S + 0.25, 7, 3)])
    for axis, place in (("time", START_S + 0.25), ("step", 7.0)):
        (buckets,) = store.range([LOSS], None, None, axis).values()  # type: ignore[arg-type]
        assert (buckets.t.tolist(), buckets.t_end.tolist(), buckets.step.tolist()) == ([place], [place], [7.0])
        assert buckets.segment.tolist() == [3] and buckets.count.tolist() == [1] and buckets.points_total == 1
        assert buckets.min == buckets.max == buckets.mean == buckets.last == [2.5]


def test_points_without_a_time_stand_on_the_step_axis_only(store: Store) -> None:
    store.append([Points("a", HOST, ("train/loss",), (1.0,), None, 3)])
    assert store.range([LOSS], None, None, "time")[LOSS].points_total == 0
    assert store.range([LOSS], None, None, "step")[LOSS].t.tolist() == [3.0]
    assert store.last([LOSS])[LOSS] == (None, 3, 1.0)


def test_a_forgotten_run_is_gone_with_its_offsets_and_others_stay(store: Store, opened: Open) -> None:
    offset = Offset("a/metrics.jsonl", "a", 1, 2, 3, 4, 0, 0, "", {})
    store.append(
        [line(1, 0.5), line(1, 0.5, run="b"), offset, offset._replace(path="b/metrics.jsonl", run="b"), Event("a", "note", START_S)]
    )
    store.forget("a")
    for reader in (store, opened(False)):
        assert [run.name for run in reader.runs()] == ["b"] and [*reader.offsets()] == ["b/metrics.jsonl"]
        assert reader.series("a") == [] and reader.events("a") == []
    store.append([line(7, 0.25)])
    assert [row.points for row in store.series("a")] == [1]


def test_the_edges_of_a_range_belong_to_it(store: Store) -> None:
    store.append([line(step, float(step)) for step in range(10)])
    assert store.range([LOSS], 3, 6, "step")[LOSS].last.tolist() == [3, 4, 5, 6]
    assert store.range([LOSS], START_S + 8, None)[LOSS].last.tolist() == [8, 9]
    assert store.range([LOSS], None, START_S - 1)[LOSS].points_total == 0


def test_raw_points_come_in_order_on_the_asked_axis(store: Store) -> None:
    store.append([line(step, float(step)) for step in (2, 0, 1)])
    store.append([line(1, 9.0, segment=1), Points("a", HOST, ("train/loss",), (5.0,), START_S + 7, None)])
    by_step, by_time = (store.points([LOSS], None, None, axis)[LOSS] for axis in ("step", "time"))  # type: ignore[arg-type]
    assert by_step.value.tolist() == [0, 1, 2, 9] and by_step.segment.tolist() == [0, 0, 0, 1]
    assert by_time.value.tolist() == [0, 1, 2, 5, 9] and np.isnan(by_time.step[3])
    assert store.points([LOSS], 1, 1, "step")[LOSS].value.tolist() == [1, 9]
    assert store.points([7], None, None)[7].value.tolist() == []


def test_nan_and_infinities_are_kept_and_counted_and_stay_out_of_the_mean(store: Store) -> None:
    store.append([line(step, value) for step, value in enumerate([1.0, math.nan, math.inf, 3.0])])
    (one,) = store.range([LOSS], None, None, buckets=1).values()
    assert (one.count[0], one.non_finite[0], one.min[0], one.max[0], one.mean[0], one.last[0]) == (4, 2, 1.0, 3.0, 2.0, 3.0)
    each = store.range([LOSS], None, None)[LOSS]
    assert math.isnan(each.last[1]) and each.last[2] == math.inf and math.isnan(each.min[2])


def test_a_resumed_run_keeps_both_segments_apart(store: Store) -> None:
    store.append([line(step, 1.0) for step in range(100)])
    store.append([line(step, 2.0, segment=1) for step in range(50, 120)])
    few = store.range([LOSS], None, None, "step", buckets=4)[LOSS]
    assert len(few.t) <= 4 and set(zip(few.segment.tolist(), few.mean.tolist(), strict=True)) == {(0, 1.0), (1, 2.0)}
    assert few.count.sum() == 170


def test_series_are_listed_in_order_of_appearance_and_matched(store: Store) -> None:
    store.append([Points("a", HOST, ("val/loss", "train/loss", "lr"), (1.0, 2.0, 3.0), START_S, 5)])
    store.append([line(6, 2.0)])
    assert [one.name for one in store.series("a")] == ["val/loss", "train/loss", "lr"]
    assert [one.name for one in store.series("a", "LOSS")] == ["val/loss", "train/loss"]
    assert [one.name for one in store.series("a", "*loss")] == ["val/loss", "train/loss"]
    assert [one.name for one in store.series("a", "l?")] == ["lr"]
    loss = store.series("a", "train")[0]
    assert loss == (LOSS, "a", "train/loss", HOST, 2, START_S, START_S + 6, 5, 6)


def test_machine_series_have_no_run_and_stay_out_of_those_of_runs(store: Store) -> None:
    store.append([Points(None, GPU, ("gpu/util",), (97.0,), START_S, None), line(0, 1.0)])
    assert [(one.name, one.labels, one.last_step) for one in store.series()] == [("gpu/util", GPU, None)]
    assert [one.name for one in store.series("a")] == ["train/loss"]
    assert [run.name for run in store.runs()] == ["a"]


def test_machine_series_are_read_across_the_weeks_of_their_points(store: Store) -> None:
    week_s = 7 * 86400.0
    util = series_id(None, "gpu/util", GPU)
    for week in range(4):
        store.append([Points(None, GPU, ("gpu/util",), (float(week),), START_S + week * week_s, None)])
    assert store.range([util], None, None)[util].last.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert store.range([util], START_S + 1, START_S + 2 * week_s)[util].last.tolist() == [1.0, 2.0]
    assert store.last([util])[util].value == 3.0
    assert store.series()[0].points == 4


def test_a_run_is_summed_up(store: Store) -> None:
    store.append([RunInfo("a", {"kind": "training"}), *[line(step, 1.0) for step in range(4)], read_offset(10)])
    store.append([Points("a", HOST, ("lr",), (1.0,), START_S + 4, 4), read_offset(20), read_offset(5, "a/other.jsonl")])
    (run,) = store.runs()
    assert run == ("a", {"kind": "training"}, START_S, START_S + 4, 4, 1.0, 2, 5, True, 20, 2, 4, 0, "")
    store.append([RunInfo("a", {"kind": "job"})])
    assert store.runs()[0].info == {"kind": "job"}


def test_a_line_without_a_step_does_not_make_a_runs_step_unknown(store: Store) -> None:
    store.append([line(1, 0.5), line(2, 0.5), Points("a", (), ("val/loss",), (0.5,), 1e9, None)])
    store.append([Points("a", (), ("val/loss",), (0.5,), 1e9, None)])
    run = store.run("a")
    assert run is not None and run.last_step == 2


def test_offsets_come_back_and_are_replaced(store: Store, opened: Open) -> None:
    store.append([read_offset(10), line(0, 1.0)])
    store.append([read_offset(20), line(1, 1.0)])
    store.close()
    assert opened(False).offsets() == {"a/metrics.jsonl": read_offset(20)}


def test_a_record_that_cannot_be_written_takes_its_whole_commit_with_it(store: Store) -> None:
    store.append([line(0, 1.0), read_offset(10)])
    broken: list[Record] = [line(1, 1.0), Event("a", "note", "no number", fields={}), read_offset(20)]  # type: ignore[arg-type]
    with pytest.raises(Exception):  # noqa: B017 - whatever the engine raises for a wrong type
        store.append([*broken, Event("a", None, START_S)])  # type: ignore[arg-type]
    assert store.offsets()["a/metrics.jsonl"].offset == 10 and store.last([LOSS])[LOSS].step == 0
    store.append([line(1, 1.0), Points("a", HOST, ("new",), (1.0,), START_S, 1)])
    assert [one.points for one in store.series("a")] == [2, 1]


def test_events_come_back_in_order_of_time(store: Store) -> None:
    later = Event("a", "end", START_S + 9, 1, 5, None, "done", {"status": "ok"})
    store.append([later, Event("a", "start", START_S, fields={"pid": 7}), Event("b", "note", START_S + 1)])
    assert [event.kind for event in store.events()] == ["start", "note", "end"]
    assert store.events("a", START_S + 1) == [later]
    assert [event.kind for event in store.events(None, None, START_S + 1)] == ["start", "note"]
    assert {run.name for run in store.runs()} == {"a", "b"}


def test_log_lines_are_found_by_run_text_level_and_time(store: Store) -> None:
    levels = [40 if i % 10 == 0 else 20 for i in range(100)]
    lines = [
        LogLine("ab"[i % 2], "out.log", START_S + i, level, f"Step {i} ☃\x1b[0m", None, i + 1) for i, level in enumerate(levels)
    ]
    store.append(lines[:50])
    store.append(lines[50:])
    assert store.logs(LogQuery(limit=3)) == (lines[-3:], 100, 98)
    assert store.logs(LogQuery(run="b", limit=1)).lines == lines[-1:]
    assert store.logs(LogQuery(text="sTEP 42")) == ([lines[42]], 1, None)
    assert store.logs(LogQuery(level=30)) == (lines[::10], 10, None)
    assert store.logs(LogQuery(from_s=START_S + 10, to_s=START_S + 12)).lines == lines[10:13]


def test_lines_come_as_columns_texts_and_templates(opened: Open) -> None:
    store, reader = opened(True), opened(False)
    texts = ["step 1 loss 0.5", "saved /a/b/c.pt", "step 2 loss 0.25", "\ud800", ""] * 5
    lines = [
        LogLine("ab"[i % 3 == 2], f"{i % 2}.log", START_S - i, 10 * (i % 6), text, None if i % 2 else i, i + 1)
        for i, text in enumerate(texts)
    ]
    for at in range(0, 25, 7):
        store.append(lines[at : at + 7])
    for run in "ab":
        own = [line for line in lines if line.run == run]
        extent = reader.line_extents()[run]
        assert extent == (len(own), own[0].number, own[-1].number, 0) and reader.line_extents(["none", run]) == {run: extent}
        blocks: list[LineColumns] = []
        reader.line_columns(run, own[3].number, blocks.append)
        rows = [row for block in blocks for row in zip(*(column.tolist() for column in block[2:6]), strict=True)]
        files = [block.files[file] for block in blocks for file in block.file.tolist()]
        ranks = [rank for block in blocks for rank in block.rank.tolist()]
        assert [(number, time_s, level) for number, time_s, level, _ in rows] == [
            (line.number, line.time_s, line.level) for line in own[4:]
        ]
        assert files == [line.file for line in own[4:]] and ranks == [-1 if line.rank is None else line.rank for line in own[4:]]
        read: dict[int, str] = {}

        def take(block: LineTexts, read: dict[int, str] = read) -> bool:
            assert not read or int(block.number[-1]) < min(read), "the newest first"
            read |= {number: block.text(at) for at, number in enumerate(block.number.tolist())}
            return True

        reader.line_texts(run, 0, extent.last, take)
        assert read == {line.number: line.text for line in own}
        assert reader.lines(run, [own[2].number, own[0].number, 10**9]) == [own[0], own[2]]
        templates = reader.templates(run)
        assert [template.id for template in templates] == list(range(1, len(templates) + 1)) and len(templates) == 4
        assert sum(template.lines for template in templates) == len(own)
        step = next(template for template in templates if template.text == "step # loss #")
        steps = [line for line in own if line.text.startswith("step")]
        ends = min(line.time_s for line in steps), max(line.time_s for line in steps)
        assert step[2:] == (steps[0].text, False, max(line.level for line in steps), len(steps), *ends)
    store.forget("a")
    assert reader.templates("a") == [] and reader.line_extents().keys() == {"b"} and reader.lines("a", [1]) == []


def test_a_progress_bar_is_one_row_a_file_and_no_line(store: Store) -> None:
    def bars(since: int) -> list[str]:
        return [bar.text for bar in store.since(since, {"a"}).bars]

    first = store.append([ProgressBar("a", "x.log", START_S, "1%"), ProgressBar("b", "x.log", START_S, "7%")])
    second = store.append([ProgressBar("a", "x.log", START_S + 5, "2%"), ProgressBar("a", "y.log", START_S + 9, "3%")])
    assert [(bar.file, bar.text) for bar in store.bars("a")] == [("x.log", "2%"), ("y.log", "3%")]
    assert sorted(bars(0)) == sorted(bars(first)) == ["2%", "3%"] and bars(second) == []
    store.append([ProgressBar("a", "x.log", START_S + 10, "")])
    assert [bar.text for bar in store.bars("a")] == ["3%"] and bars(second) == [""]
    assert store.logs(LogQuery()).total == 0 and store.bars("none") == []
    assert [(run.name, run.last_time_s) for run in store.runs()] == [("a", START_S + 10), ("b", START_S)]


def test_pages_of_log_lines_meet_without_gap_or_overlap(store: Store) -> None:
    lines = [LogLine("a", "out.log", START_S, 20, f"line {i}", None, i + 1) for i in range(23)]
    for one in lines:
        store.append([one])
    found: list[LogLine] = []
    before = None
    for _ in range(3):
        page = store.logs(LogQuery(before=before, limit=10))
        found, before = [*page.lines, *found], page.before
        assert page.total == 23
    assert found == lines and before is None


def test_stacks_of_a_window_are_cut_to_it(store: Store) -> None:
    main, leaf = Frame("main", "train.py", 1), Frame("load", "data.py", 88)
    samples = [
        StackSample(5_000_000_000, 1_000_000_000, 7, (main, leaf), True, 400_000_000),
        StackSample(6_000_000_000, 2_000_000_000, 7, (main,), None, None, False),
        StackSample(6_000_000_000, 500_000_000, 8, (leaf,)),
    ]
    store.append([profile(samples)])
    found = store.stacks(START_S + 0.5, START_S + 1.5, "a")
    assert [[found.frames[i] for i in found.stacks[one]] for one in found.stack] == [[main, leaf], [main], [leaf]]
    assert found.time_s.tolist() == [START_S + 0.5, START_S + 1, START_S + 1]
    assert found.duration_s.tolist() == [0.5, 0.5, 0.5]
    assert found.resolved.tolist() == [True, False, True] and found.gil.tolist() == [1, -1, -1]
    assert found.cpu_s[0] == 0.4 and math.isnan(found.cpu_s[1])
    assert found.processes == [("a", 0, 99, "main")] and found.threads == {(99, 7): "MainThread", (99, 8): "loader"}
    assert found.covered == [(START_S + 0.5, START_S + 1.5)] and found.hz == 100.0 and found.samples == 75
    assert store.profiled_until("a") == START_S + 4 and store.profiled_until("b") is None


def test_the_profile_reaches_as_far_as_all_processes_that_were_lately_looked_at(store: Store) -> None:
    def until(pid: int, lo: int, hi: int) -> Profile:
        return profile([], pid=pid)._replace(start_s=START_S + lo, start_mono_ns=0, end_mono_ns=(hi - lo) * 10**9)

    store.append([until(1, 0, 10), until(2, 0, 8), until(3, 0, 4)])
    assert store.profiled_until("a") == START_S + 8, "its worker's stacks are still to come, and another worker is gone"
    store.append([until(2, 8, 11)])
    assert store.profiled_until("a") == START_S + 10
    store.append([until(1, 10, 20)])
    assert store.profiled_until("a") == START_S + 20


def test_stacks_are_chosen_by_run(store: Store) -> None:
    sample = StackSample(5_000_000_000, 1_000_000_000, 7, (Frame("main", "train.py", 1),))
    store.append([profile([sample]), profile([sample._replace(tid=8)], rank=1, pid=100)])
    found = store.stacks(START_S, START_S + 10, "a")
    assert found.processes == [("a", 0, 99, "main"), ("a", 1, 100, "main")] and sorted(found.tid.tolist()) == [7, 8]
    assert len(store.stacks(START_S, START_S + 10, "b").tid) == 0


def test_what_came_after_a_cursor_is_handed_out_once(store: Store) -> None:
    cursor = store.append([line(0, 1.0)])
    first = LogLine("a", "out.log", START_S, 20, "hello", None, 1)
    store.append([line(1, 2.0), first, Event("a", "note", START_S)])
    store.append([line(2, 3.0), Points(None, GPU, ("gpu/util",), (5.0,), START_S, None)])
    delta = store.since(cursor)
    assert delta.complete and delta.lines == [first] and [event.kind for event in delta.events] == ["note"]
    by_name = {one.name: one for one in delta.points}
    assert by_name["train/loss"].value.tolist() == [2.0, 3.0] and by_name["train/loss"].step.tolist() == [1.0, 2.0]
    assert by_name["gpu/util"].run is None and by_name["gpu/util"].labels == GPU and np.isnan(by_name["gpu/util"].step).all()
    again = store.since(delta.seq)
    assert (again.seq, again.points, again.lines, again.events) == (store.seq(), [], [], [])


def test_the_cursor_rises_across_a_restart(store: Store, opened: Open) -> None:
    before = store.append([line(0, 1.0), Points(None, GPU, ("gpu/util",), (5.0,), START_S, None)])
    store.close()
    assert opened(True).append([line(1, 1.0)]) == before + 1


def test_two_values_of_one_name_in_one_line_are_two_points(store: Store) -> None:
    store.append([Points("a", HOST, ("train/loss", "train/loss"), (1.0, 2.0), START_S, 0)])
    assert store.range([LOSS], None, None)[LOSS].last.tolist() == [1.0, 2.0]


def profile(samples: list[StackSample], rank: int = 0, pid: int = 99) -> Profile:
    threads = {7: "MainThread", 8: "loader"}
    start, end = 5_000_000_000, 9_000_000_000
    return Profile("a", rank, pid, "main", "box", "native", 100.0, START_S, start, end, threads, samples, 300)


def wait_for(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.01)


def text_of(run: str, path: str, text: str, since_s: float = START_S) -> SourceText:
    return SourceText(run, path, hashlib.sha256(text.encode()).hexdigest(), text, since_s)


def test_the_text_of_a_source_file_is_that_of_the_newest_process_that_had_it(opened: Open) -> None:
    store = opened(True)
    first, later = text_of("a", "/job/train.py", "step = 1\n"), text_of("a", "/job/train.py", "step = 2\n", START_S + 100)
    store.append([first, text_of("b", "/job/train.py", "step = 1\n")])
    assert opened(False).source_text("a", "/job/train.py") == first
    store.append([later])
    assert store.source_text("a", "/job/train.py") == later
    store.append([first._replace(since_s=START_S + 200)])  # edited back, and started again
    assert store.source_text("a", "/job/train.py") == first._replace(since_s=START_S + 200)
    assert store.source_text("b", "/job/train.py") == first._replace(run="b")
    assert store.source_text("a", "/job/other.py") is None and store.source_text("c", "/job/train.py") is None


def test_why_a_text_is_not_kept_is_known_unless_it_was_kept_before(store: Store) -> None:
    changed = SourceText("a", "/job/train.py", "", "", START_S + 0.01, "It changed.")
    store.append([changed])
    assert store.source_text("a", "/job/train.py") == changed
    kept = text_of("a", "/job/train.py", "step = 1\n")
    store.append([kept])
    assert store.source_text("a", "/job/train.py") == kept, "looked at again by a collector that was started anew"
    again = changed._replace(since_s=START_S + 60)
    store.append([again])
    assert store.source_text("a", "/job/train.py") == again, "of the next process"


def test_of_a_run_no_more_than_20_mb_of_source_are_kept(store: Store) -> None:
    texts = [text_of("a", f"/job/{i}.py", chr(65 + i) * 1_000_000) for i in range(21)]
    store.append([*texts, texts[0]._replace(path="/job/the same.py"), texts[20]._replace(run="b")])
    assert [bool(found.sha) for i in range(21) if (found := store.source_text("a", f"/job/{i}.py"))] == [True] * 20 + [False]
    last = store.source_text("a", "/job/20.py")
    assert last is not None and "20 MB" in last.why
    assert store.source_text("a", "/job/the same.py") == texts[0]._replace(path="/job/the same.py"), "a text counts once"
    assert store.source_text("b", "/job/20.py") == texts[20]._replace(run="b"), "for each run by itself"


def test_the_outcome_of_a_series_is_its_last_least_and_greatest_value_with_their_steps(store: Store) -> None:
    values = [3.0, math.nan, 1.0, math.inf, 5.0, 1.0, -math.inf]
    store.append([line(step, value) for step, value in enumerate(values)])
    store.append([line(9, 5.0), line(3, math.nan, segment=1)])
    found = store.outcomes()
    assert (found.run, found.name, found.labels) == (["a"], ["train/loss"], [HOST])
    assert (found.id.tolist(), found.points.tolist()) == ([LOSS], [9])
    assert (found.least.tolist(), found.least_step.tolist(), found.most.tolist(), found.most_step.tolist()) == ([1], [2], [5], [4])
    assert (found.first_time_s.tolist(), found.first_step.tolist()) == ([START_S], [0])
    assert math.isnan(found.last[0]) and (found.last_step.tolist(), found.last_time_s.tolist()) == ([3], [START_S + 3])


def test_outcomes_are_chosen_by_run_and_name(store: Store) -> None:
    for record in (line(0, 1.0), line(0, 2.0, run="b"), line(0, 3.0, run="b", name="a, %2F")):
        store.append([record])
    store.append([Points(None, GPU, ("gpu/util",), (4.0,), START_S, None)])
    store.append([Points("c", HOST, ("x", "y"), (math.nan, 1.0), None, None)])

    def pairs(runs: list[str] | None = None, names: list[str] | None = None) -> list[tuple[str, str, float]]:
        found = store.outcomes(runs, names)
        return sorted(zip(found.run, found.name, found.least.tolist(), strict=True))

    assert pairs(["b"]) == [("b", "a, %2F", 3), ("b", "train/loss", 2)]
    assert pairs(None, ["train/loss"]) == [("a", "train/loss", 1), ("b", "train/loss", 2)]
    assert pairs(["a"], ["a, %2F"]) == [] == pairs([]) == pairs(["\ud800"])
    of_c = store.outcomes(["c"], ["x"])
    assert all(np.isnan(column[0]) for column in (of_c.least, of_c.most, of_c.last_step, of_c.last_time_s, of_c.last))
    assert store.outcomes(["c"], ["y"]).least.tolist() == [1.0]
    assert store.names() == {"train/loss": 2, "a, %2F": 1, "x": 1, "y": 1} and store.names(["c"]) == {"x": 1, "y": 1}


def test_outcomes_are_those_of_all_points_however_they_are_kept(store: Store) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=5000)
    values[rng.random(5000) < 0.1] = math.nan
    for start, size in ((0, 1), (1, 600), (601, 3000), (3601, 700), (4301, 699)):
        store.append([line(step, values[step]) for step in range(start, start + size)])
        while store.compact(0.1):
            pass
        seen = values[: start + size]
        found = store.outcomes()
        if np.isfinite(seen).any():
            assert (found.least[0], found.least_step[0]) == (np.nanmin(seen), np.nanargmin(seen))
            assert (found.most[0], found.most_step[0]) == (np.nanmax(seen), np.nanargmax(seen))
        np.testing.assert_array_equal(found.last, seen[-1:])


def test_configurations_are_flat_and_without_what_is_long(store: Store) -> None:
    config = {
        "lr": 1e-3,
        "model": {"depth": 2, "norm": {"kind": "rms"}},
        "bf16": True,
        "seed": None,
        "xs": [0.9, "a"],
        "long": [0] * 500,
    }
    store.append(
        [RunInfo("a", {"config": config}), RunInfo("b", {"config": {}}), RunInfo("c", {"kind": "x"}), RunInfo("d", {"config": [1]})]
    )
    known = {"lr": 1e-3, "bf16": True, "seed": None, "xs": '[0.9,"a"]', "model.depth": 2, "model.norm.kind": "rms"}
    assert {key: value for key, value in store.configs()["a"].items() if key != "long"} == known
    assert store.configs(["b"]) == {} and store.configs(["a"]).keys() == {"a"}


def sample(name: str, step: int | None, run: str = "a", **others: object) -> Sample:
    about = {"data": f"answer {step}".encode(), **others}
    return Sample(run, name, "text", "text/plain", None if step is None else START_S + step, step, **about)  # type: ignore[arg-type]


def test_samples_come_back_by_step_as_they_were(store: Store) -> None:
    image = Sample("a", "val/image", "image", "", START_S, 2**53, 3, b"", "events.out", 2**40, 9, 2**32 - 1)
    file = Sample("a", "val/image", "image", "image/png", None, None, path="/job/ä,%.png", length=7, written_s=START_S + 0.5)
    store.append([sample("answers", 7), sample("answers", 3), image])
    store.append([sample("answers", None), file, sample("answers", 3, run="b")])
    names = {found.name: found[1:] for found in store.sample_names("a").names}
    assert names == {
        "answers": (("text",), 3, 3, 7, START_S + 3, START_S + 7),
        "val/image": (("image",), 2, 2**53, 2**53, START_S, START_S),
    }
    found = store.samples(SampleQuery("a", "answers", data=True))
    assert [row._replace(number=0) for row in found] == [sample("answers", None), sample("answers", 3), sample("answers", 7)]
    assert [row._replace(number=0) for row in store.samples(SampleQuery("a", "val/image"))] == [file, image]
    assert [row.data for row in store.samples(SampleQuery("a", "answers"))] == [b""] * 3, "a list stays small"
    assert [row.step for row in store.samples(SampleQuery("a", "answers", 4, 9))] == [7]
    assert [row.step for row in store.samples(SampleQuery("a", "answers", limit=1))] == [7]
    (one,) = store.samples(SampleQuery("a", number=found[1].number, data=True))
    assert one == found[1] and store.samples(SampleQuery("b", number=found[1].number)) == []


def test_samples_are_read_through_by_arrival(store: Store) -> None:
    store.append([sample(f"name {step % 3}", 100 - step) for step in range(10)])
    first = store.samples(SampleQuery("a", limit=4))
    rest = store.samples(SampleQuery("a", after=first[-1].number))
    assert [row.step for row in [*first, *rest]] == [100 - step for step in range(10)]


def test_what_goes_beyond_the_limits_of_a_run_is_counted_and_costs_no_other_run(store: Store) -> None:
    large = b"x" * (MOST_SAMPLE_BYTES // 50)
    store.append([sample("large", step, data=large) for step in range(52)])
    assert store.sample_names("a").names[0].count == 50 and store.sample_names("a").left_out == 2
    store.append([Sample("a", "image", "image", "", None, step, path="x") for step in range(MOST_SAMPLES + 3)])
    names = store.sample_names("a")
    assert [name.count for name in names.names] == [MOST_SAMPLES, 50] and names.left_out == 5
    store.append([sample("large", 0, run="b"), Sample("a", "tone", "audio", "", None, 1, path="x")])
    assert store.sample_names("b").left_out == 0 and len(store.samples(SampleQuery("a", "tone"))) == 1
