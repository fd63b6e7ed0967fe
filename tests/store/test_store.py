"""What every store must do, whatever engine stands behind it."""

from __future__ import annotations

import math
import sqlite3
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from collectors.records import GENERATION, Event, LogLine, Offset, Points, Record, RunInfo
from collectors.store.sqlite import schema
from collectors.store.store import LogQuery, OffsetGap, SampleQuery, Store, StoreError, series_id
from tests.support.stored import GPU, HOST, LOSS, START_S, Open, line, profile, read_offset, wait_for
from tests.support.stored import opened as opened  # a fixture
from tests.support.stored import store as store  # a fixture


def test_an_empty_folder_answers_empty(opened: Open) -> None:
    reader = opened(False)
    assert reader.runs() == [] and reader.series("a") == [] and reader.offsets() == {} and reader.events() == []
    assert len(reader.range([LOSS], None, None)[LOSS].t) == 0 and reader.run("a") is None
    assert reader.last([LOSS]) == {} and reader.logs(LogQuery()).lines == []
    assert (
        reader.seq() == 0 and not reader.changed() and reader.since(0).complete and reader.profiled_until("a") is None
    )
    assert (
        reader.stacks(0, 1, "a").covered == []
        and reader.sample_names("a") == ([], 0, 0)
        and reader.samples(SampleQuery("a")) == []
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


def test_a_deleted_run_is_gone_with_its_offsets_and_others_stay(store: Store, opened: Open) -> None:
    offset = Offset("a/metrics.jsonl", "a", 1, 2, 3, 4, 0, 0, "", {})
    store.append(
        [
            line(1, 0.5),
            line(1, 0.5, run="b"),
            offset,
            offset._replace(path="b/metrics.jsonl", run="b"),
            Event("a", "note", START_S),
        ]
    )
    store.delete("a")
    for reader in (store, opened(False)):
        assert [run.name for run in reader.runs()] == ["b"] and [*reader.offsets()] == ["b/metrics.jsonl"]
        assert reader.series("a") == [] and reader.events("a") == []
    store.append([line(7, 0.25)])
    assert [row.points for row in store.series("a")] == [1]


def test_an_offset_must_follow_the_stored_one(store: Store) -> None:
    offset = Offset("a/metrics.jsonl", "a", 1, 2, 30, 4, 0, 0, "", {})
    store.append(
        [
            line(1, 0.5),
            offset._replace(after=(0, 0)),
            line(2, 0.5),
            offset._replace(offset=60, lines_read=8, after=(30, 4)),
        ]
    )
    for after in ((30, 4), (90, 12), (60, 7), (0, 0)):
        with pytest.raises(
            OffsetGap, match=r"a/metrics\.jsonl begins at position .* store ends at position 60 \(line 8\)"
        ):
            store.append([line(3, 0.5), offset._replace(offset=90, after=after)])
    assert store.runs()[0].points == 2 and store.offsets()["a/metrics.jsonl"].offset == 60
    store.rehearse([line(3, 0.5), offset._replace(after=(90, 12))])
    store.append(
        [offset._replace(offset=0, lines_read=0, after=(60, 8)), line(1, 0.5), offset._replace(offset=5, after=(0, 0))]
    )
    store.append([offset._replace(offset=7)])
    store.delete("a")
    store.append([line(1, 0.5), offset._replace(after=(0, 0))])


@pytest.mark.parametrize(
    "change, is_same",
    [
        ({}, True),
        ({"offset": 40, "lines_read": 6}, True),
        ({"inode": 3}, False),
        ({"inode": 0}, False),
        ({"state": {GENERATION: 2}}, False),
        ({"lines_read": 9}, False),
        ({"offset": 61}, False),
    ],
)
def test_records_that_are_stored_already_are_dropped(change: dict[str, Any], is_same: bool, store: Store) -> None:
    """Those of their file alone; where it is not the same one, or not all of them are stored, nothing of the batch is kept."""
    state = {GENERATION: 1}
    first = Offset("a/metrics.jsonl", "a", 1, 2, 30, 4, 0, 0, "", state, after=(0, 0))
    second = first._replace(offset=60, lines_read=8, after=(30, 4))
    other = first._replace(path="b/metrics.jsonl", run="b", inode=4)
    store.append([line(1, 0.5), first, line(2, 0.5), second])
    again = [line(2, 0.5), second._replace(**change)]
    batch = [line(1, 0.5, run="b"), other, *again, line(1, 0.5, run="c")]
    if not is_same:
        with pytest.raises(OffsetGap):
            store.append(batch)
        assert [run.name for run in store.runs()] == ["a"]
        return
    store.append(batch)
    assert {run.name: run.points for run in store.runs()} == {"a": 2, "b": 1, "c": 1}
    store.append([line(1, 0.5), first, *again, line(3, 0.5), second._replace(offset=90, lines_read=12, after=(60, 8))])
    assert {run.name: run.points for run in store.runs()} == {"a": 3, "b": 1, "c": 1}
    assert store.offsets()["a/metrics.jsonl"].reached == (90, 12) and store.offsets()["b/metrics.jsonl"].offset == 30


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_run_gets_another_name_with_all_that_is_stored_of_it(is_packed: bool, store: Store, opened: Open) -> None:
    offset = read_offset(30)
    store.append(
        [*(line(step, step / 7) for step in range(3000)), line(1, 5.0, run="c"), offset, Event("a", "note", START_S)]
    )
    store.append([line(3000, 1.0), LogLine("a", "x.log", START_S, 20, "hello"), RunInfo("a", {"seed": 7}), profile([])])
    if is_packed and hasattr(store, "settle"):
        store.settle()
    store.append([line(3001, 2.0), line(2, 6.0, run="c")])
    assert len(store.points([LOSS], None, None, "step")[LOSS].step) == 3002, "what has been read is not remembered"
    assert not store.rename("a", "c", {}), "there is such a run"
    assert store.rename("a", "x/b", {offset.path: "x/b/metrics.jsonl"})
    store.append([line(3002, 3.0, run="x/b")])
    for reader in (store, opened(False)):
        assert [run.name for run in reader.runs()] == ["c", "x/b"]
        assert reader.series("a") == [] and not reader.events("a") and not reader.logs(LogQuery("a")).lines
        (series,) = reader.series("x/b")
        assert (series.id, series.points) == (series_id("x/b", "train/loss", HOST), 3003)
        found = reader.points([series.id], None, None, "step")[series.id]
        assert found.step.tolist() == [*range(3003)] and found.value[-3:].tolist() == [1.0, 2.0, 3.0]
        assert reader.offsets() == {"x/b/metrics.jsonl": offset._replace(path="x/b/metrics.jsonl", run="x/b")}
        assert [one.text for one in reader.logs(LogQuery("x/b")).lines] == ["hello"] and len(reader.events("x/b")) == 1
        known = reader.run("x/b")
        assert known is not None and known.info == {"seed": 7} and reader.profiled_from("x/b") == START_S
        other = series_id("c", "train/loss", HOST)
        assert reader.points([other], None, None, "step")[other].value.tolist() == [5.0, 6.0]


def test_a_rename_that_is_interrupted_is_completed_by_the_next_one(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stacks lie in files of their own."""
    store = opened(True)
    store.append([line(0, 0.5), read_offset(30), profile([])])
    real = schema.transaction

    def failing(db: sqlite3.Connection, *more: Any) -> Any:
        if db.execute("PRAGMA database_list").fetchone()[2].endswith(schema.RUNS_FILE):
            return real(db, *more)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(schema, "transaction", failing)
        with suppress(StoreError, OSError):
            store.rename("a", "b", {})
    assert store.rename("a", "b", {}) or store.runs()[0].name == "b"
    assert store.profiled_from("b") == START_S and [run.name for run in store.runs()] == ["b"]


@pytest.mark.parametrize("is_packed", [False, True])
def test_points_without_a_time_are_found_apart(is_packed: bool, store: Store) -> None:
    store.append([line(step, step / 7)._replace(time_s=None) for step in range(3000)])
    store.append([line(step, step / 7) for step in range(2000, 5000)])
    store.append([line(5000, 0.5)._replace(time_s=None)])
    if is_packed and hasattr(store, "settle"):
        store.settle()
    for lo, hi in ((None, None), (1000.0, 4000.0)):
        found = store.points([LOSS], lo, hi, "step", untimed=True)[LOSS].step.tolist()
        assert found == ([*range(3000), 5000] if lo is None else [*range(1000, 3000)])


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
    assert (one.count[0], one.non_finite[0], one.min[0], one.max[0], one.mean[0], one.last[0]) == (
        4,
        2,
        1.0,
        3.0,
        2.0,
        3.0,
    )
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


def test_machine_series_are_listed_as_they_are_after_each_commit_and_compaction(store: Store, opened: Open) -> None:
    """Both weeks go on getting points, and the second series appears later."""

    def listed(reader: Store) -> dict[str, tuple[int, float | None, float | None]]:
        return {row.name: (row.points, row.first_time_s, row.last_time_s) for row in reader.series()}

    reader, weeks_s = opened(False), (START_S, START_S + 7 * 86400.0)
    for commit in range(12):
        names = ("gpu/util", "gpu/power")[: 1 + commit // 6]
        store.append([Points(None, GPU, names, (1.0, 2.0)[: len(names)], weeks_s[commit % 2] + commit, None)])
        if commit % 5 == 4:
            store.compact(1.0)
        newest_s = weeks_s[min(commit, 1)] + commit - (commit > 0 and commit % 2 == 0)
        wait_for(lambda so=(commit + 1, START_S, newest_s): listed(reader).get("gpu/util") == so)  # type: ignore[misc]
        assert listed(reader) == listed(opened(False))
    assert listed(reader)["gpu/power"][0] == 6


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


def test_what_came_after_a_cursor_is_handed_out_once(store: Store) -> None:
    cursor = store.append([line(0, 1.0)])
    first = LogLine("a", "out.log", START_S, 20, "hello", None, 1)
    store.append([line(1, 2.0), first, Event("a", "note", START_S)])
    store.append([line(2, 3.0), Points(None, GPU, ("gpu/util",), (5.0,), START_S, None)])
    delta = store.since(cursor)
    assert delta.complete and delta.lines == [first] and [event.kind for event in delta.events] == ["note"]
    by_name = {one.name: one for one in delta.points}
    assert by_name["train/loss"].value.tolist() == [2.0, 3.0] and by_name["train/loss"].step.tolist() == [1.0, 2.0]
    assert (
        by_name["gpu/util"].run is None
        and by_name["gpu/util"].labels == GPU
        and np.isnan(by_name["gpu/util"].step).all()
    )
    again = store.since(delta.seq)
    assert (again.seq, again.points, again.lines, again.events) == (store.seq(), [], [], [])


def test_the_cursor_rises_across_a_restart(store: Store, opened: Open) -> None:
    before = store.append([line(0, 1.0), Points(None, GPU, ("gpu/util",), (5.0,), START_S, None)])
    store.close()
    assert opened(True).append([line(1, 1.0)]) == before + 1


def test_two_values_of_one_name_in_one_line_are_two_points(store: Store) -> None:
    store.append([Points("a", HOST, ("train/loss", "train/loss"), (1.0, 2.0), START_S, 0)])
    assert store.range([LOSS], None, None)[LOSS].last.tolist() == [1.0, 2.0]


def test_the_outcome_of_a_series_is_its_last_least_and_greatest_value_with_their_steps(store: Store) -> None:
    values = [3.0, math.nan, 1.0, math.inf, 5.0, 1.0, -math.inf]
    store.append([line(step, value) for step, value in enumerate(values)])
    store.append([line(9, 5.0), line(3, math.nan, segment=1)])
    found = store.outcomes()
    assert (found.run, found.name, found.labels) == (["a"], ["train/loss"], [HOST])
    assert (found.id.tolist(), found.points.tolist()) == ([LOSS], [9])
    assert (found.least.tolist(), found.least_step.tolist(), found.most.tolist(), found.most_step.tolist()) == (
        [1],
        [2],
        [5],
        [4],
    )
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
        [
            RunInfo("a", {"config": config}),
            RunInfo("b", {"config": {}}),
            RunInfo("c", {"kind": "x"}),
            RunInfo("d", {"config": [1]}),
        ]
    )
    known = {"lr": 1e-3, "bf16": True, "seed": None, "xs": '[0.9,"a"]', "model.depth": 2, "model.norm.kind": "rms"}
    assert {key: value for key, value in store.configs()["a"].items() if key != "long"} == known
    assert store.configs(["b"]) == {} and store.configs(["a"]).keys() == {"a"}
