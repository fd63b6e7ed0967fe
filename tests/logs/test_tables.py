"""CSV and TSV: what is metrics is read once, whatever becomes of the file; what is not is left alone."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats import Arrival
from collectors.logs.formats.tables import DelimitedFile
from collectors.logs.open_files import NotMetrics
from collectors.records import Points
from tests.support.following import DEADLINE_S, LABELS, RECORDED, Follower, check_told, count_of, points_of, unpacked


def read(text: str, file: str = "metrics.csv", arrival: Arrival | None = None) -> list[Points]:
    return points_of(DelimitedFile("a", file, LABELS).parse(text.encode().splitlines(), arrival))


def pairs(points: Sequence[Points]) -> list[tuple[int | None, str, float]]:
    return [(one.step, name, value) for one in points for name, value in zip(one.names, one.values, strict=True)]


def test_a_row_is_a_step_and_a_column_a_series() -> None:
    assert read("time_s,step,loss,lr\n1764000000.5,7,0.25,1e-3\n") == [
        Points("a", LABELS, ("loss", "lr"), (0.25, 0.001), 1764000000.5, 7)
    ]


def test_an_empty_cell_has_no_point_and_an_odd_one_costs_itself() -> None:
    table = DelimitedFile("a", "metrics.csv", LABELS)
    found = table.parse([b"step,loss,acc", b"1,0.5,", b"2,,", b"3,oops,0.7", b"4,0.2", b"5,nan,0.9"], None)
    assert pairs(points_of(found))[:3] == [
        (1, "loss", 0.5),
        (3, "acc", 0.7),
        (5, "loss", pytest.approx(math.nan, nan_ok=True)),
    ]
    assert (table.tally.lines_read, table.tally.lines_skipped, table.tally.fields_skipped) == (6, 1, 1)
    assert table.tally.first_skip == "line 4: loss is not a number"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_may_be_quoted(separator: str) -> None:
    rows = [f'"step"{separator}"run - train/loss"{separator}note', f'1{separator}"0.5"{separator}"a{separator} ""b"""']
    assert pairs(read("\n".join(rows))) == [(1, "run - train/loss", 0.5)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e-3)), min_size=2, max_size=60),
    st.integers(0, 60),
)
def test_decimal_commas_are_points_also_where_the_reader_starts_again(
    values: list[tuple[float, float]], cut: int
) -> None:
    texts = [f"{step};{loss!r};{rate!r};8".replace(".", ",") for step, (loss, rate) in enumerate(values)]
    lines = [b"step;loss;lr;batch", *(text.encode() for text in texts)]
    first = DelimitedFile("a", "metrics.csv", LABELS)
    found = points_of(first.parse(lines[: cut + 1], None))
    again = DelimitedFile("a", "metrics.csv", LABELS, state=json.loads(json.dumps(first.state())))
    again.tally = first.tally
    found += points_of(again.parse(lines[cut + 1 :], None))
    if any("," in text for text in texts[:20]):
        assert pairs(found) == [
            pair
            for step, (loss, rate) in enumerate(values)
            for pair in ((step, "loss", loss), (step, "lr", rate), (step, "batch", 8.0))
        ]


def test_a_comma_within_semicolons_is_no_decimal_where_numbers_have_points() -> None:
    assert pairs(read("step;loss;note\n1;0.5;a, b\n2;0.25;1,5\n")) == [(1, "loss", 0.5), (2, "loss", 0.25)]


@pytest.mark.parametrize(
    ("cell", "time_s"),
    [
        ("1764000000", 1764000000.0),
        ("1764000000.25", 1764000000.25),
        ("1764000000250", 1764000000.25),
        ("2025-11-24T16:00:00Z", 1764000000.0),
        ("2025-11-24 17:00:00.5+01:00", 1764000000.5),
        ("2025-11-24 16:00:00", datetime.datetime(2025, 11, 24, 16).timestamp()),
    ],
)
def test_a_time_is_seconds_milliseconds_or_iso(cell: str, time_s: float) -> None:
    (point,) = read(f"timestamp,step,loss\n{cell},1,0.5\n")
    assert point.time_s == time_s and point.names == ("loss",)


def test_seconds_since_the_start_are_a_series_and_no_time() -> None:
    (point,) = read("epoch,time,train/box_loss\n1,12.5,0.5\n", "results.csv")
    assert (point.step, point.time_s, point.names) == (1, None, ("time", "train/box_loss"))


def test_without_a_step_it_is_the_number_of_the_row() -> None:
    assert [point.step for point in read("loss,acc\n0.5,0.1\n0.4,0.2\n")] == [1, 2]


def test_the_first_of_the_known_names_is_the_step_and_others_stay_series() -> None:
    assert pairs(read("epoch,step,train_loss\n0,9,0.5\n")) == [(9, "epoch", 0.0), (9, "train_loss", 0.5)]


@pytest.mark.parametrize("before", [1, 40])
def test_a_header_that_is_repeated_is_no_row(before: int) -> None:
    rows = [f"{step},0.5" for step in range(before)]
    table = DelimitedFile("a", "metrics.csv", LABELS)
    found = table.parse([line.encode() for line in ["step,loss", *rows, "step,loss", *rows]], None)
    assert len(found) == 2 * before and table.tally.fields_skipped == table.tally.lines_skipped == 0


def test_rows_that_arrive_live_have_a_time() -> None:
    found = read("step,loss\n1,0.5\n2,0.4\n", arrival=Arrival(10.0, 13.0))
    assert [point.time_s for point in found] == [12.0, 13.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5.1,3.5,1.4\n4.9,3.0,1.4\n", "no header"),
        ("id,text,label\n1,great,pos\n2,bad,neg\n", "text"),
        ("sepal,petal\n5.1,1.4\n4.9,1.4\n", "neither a step nor a time"),
        ("step,file\n1,a.png\n2,b.png\n", "no column of numbers"),
        ("step,loss\n" + "1,2,3\n" * 30, "another number of cells"),
    ],
)
def test_what_does_not_look_like_metrics_is_not_read(text: str, reason: str) -> None:
    with pytest.raises(NotMetrics, match=reason):
        read(text, "table.csv")


def test_a_data_set_is_left_alone_with_its_reason_and_is_no_trouble(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "iris.csv").write_text("sepal,petal\n5.1,1.4\n")
    (tmp_path / "a" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    assert follower.values(1) == [0.5]
    assert "does not look like metrics" in follower.offsets["a/iris.csv"].trouble
    assert follower.tail.trouble() == ""
    (tmp_path / "a" / "iris.csv").write_text("step,petal\n1,1.5\n")  # tried again when it changes
    assert follower.values(2) == [0.5, 1.5]
    assert follower.offsets["a/iris.csv"].trouble == ""


def test_what_lightning_writes_anew_for_a_new_column_is_counted_once(follower: Follower, tmp_path: Path) -> None:
    path = tmp_path / "a" / "metrics.csv"
    path.parent.mkdir()
    for save in range(1, 5):
        text = (RECORDED / "lightning" / f"metrics-{save}.csv").read_text()
        path.write_text(text)
        expected = filled(text)
        assert len(follower.values(len(expected))) == len(expected)
        follower.restart()
    assert sorted(pairs(points_of(follower.records))) == sorted(expected)
    assert {point.segment for point in points_of(follower.records)} == {0}


def test_what_pandas_writes_anew_each_time_is_read_as_pandas_reads_it(follower: Follower, tmp_path: Path) -> None:
    told = unpacked("pandas_csv", tmp_path)
    follower.values(count_of(told))
    check_told(follower.records, told)


def filled(text: str) -> list[tuple[int | None, str, float]]:
    return [
        (int(row["step"]), name, float(cell))
        for row in csv.DictReader(io.StringIO(text))
        for name, cell in row.items()
        if cell and name != "step"
    ]


def test_a_table_that_is_replaced_by_a_longer_one_goes_on_and_by_another_one_begins_a_segment(
    follower: Follower, tmp_path: Path
) -> None:
    path = tmp_path / "a" / "metrics.csv"
    path.parent.mkdir()
    path.write_text("step,loss\n1,5\n2,4\n")
    follower.values(2)
    for text in ("step,loss\n1,5\n2,4\n3,3\n", "step,loss\n1,7\n2,6\n"):
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)
        deadline = time.monotonic() + DEADLINE_S
        while follower.values(1)[-1] != float(text[-2]) and time.monotonic() < deadline:
            follower.wake.wait(0.05)
    assert follower.values(5) == [5, 4, 3, 7, 6]
    assert [point.segment for point in points_of(follower.records)] == [0, 0, 0, 1, 1]


def cell(value: float | None) -> str:
    return "" if value is None else repr(value)


@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats()),
            st.one_of(st.none(), st.floats(width=32)),
            st.sampled_from(["", "x", "1,2"]),
        ),
        max_size=60,
    ),
    cuts=st.lists(st.integers(0, 70), max_size=6),
)
@settings(deadline=None, max_examples=100)
def test_it_may_be_cut_and_resumed_anywhere(
    rows: list[tuple[float | None, float | None, str]], cuts: list[int]
) -> None:
    cells = [f"{step},{cell(loss)},{cell(acc)}{odd and ',' + odd}" for step, (loss, acc, odd) in enumerate(rows)]
    lines = ["step,loss,acc", "0,1.0,1.0", *cells]
    whole = DelimitedFile("a", "metrics.csv", LABELS)
    expected = whole.parse([line.encode() for line in lines], None)
    table, found = DelimitedFile("a", "metrics.csv", LABELS), []
    edges = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    for since, until in itertools.pairwise(edges):
        if since < until:
            found += table.parse([line.encode() for line in lines[since:until]], None)
            state, tally = json.loads(json.dumps(table.state())), table.tally
            table = DelimitedFile("a", "metrics.csv", LABELS, state=state)
            table.tally = tally
    assert repr(found) == repr(expected)
    assert table.tally == whole.tally


ODD_ROWS = [
    "1,2],[3,4",
    "9,0.5,1",
    "[1,2",
    "3]",
    "",
    " 7 , 0.5",
    "1e3,2",
    "true,1",
    "0x1,1",
    "nan,1",
    "5,",
    ",5",
    '"6",1',
    "step,loss",
    "99,1e999",
    "-5,1",
    "9" * 30 + ",1",
]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.sampled_from(ODD_ROWS), st.integers(0, 12)), max_size=80),
    st.sampled_from(",;\t"),
)
@settings(deadline=None, max_examples=150)
def test_rows_are_read_the_same_all_at_once_and_one_by_one(
    rows: list[tuple[int, float, str, int]], separator: str
) -> None:
    lines, step = [b"step,loss", *(b"%d,0.5" % step for step in range(20))], 20
    for more, loss, odd, is_odd in rows:
        step += more
        lines.append((odd if is_odd == 0 else f"{step},{loss!r}").encode())
    lines = [line.replace(b",", separator.encode()) for line in lines]
    at_once, by_one, found = DelimitedFile("a", "metrics.csv", LABELS), DelimitedFile("a", "metrics.csv", LABELS), []
    expected = at_once.parse(lines[:21], None) + at_once.parse(lines[21:], None) if rows else at_once.parse(lines, None)
    found += by_one.parse(lines[:21], None)
    for line in lines[21:]:
        found += by_one.parse([line], None)
    assert repr(found) == repr(expected) and at_once.tally == by_one.tally and at_once.state() == by_one.state()


@given(data=st.binary(max_size=2_000))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", b"step,loss\n1,0.5\n", b"timestamp, index, utilization.gpu [%]\n"):
        table = DelimitedFile("a", "metrics.csv", LABELS)
        try:
            found = table.parse((start + data).split(b"\n"), None)
        except NotMetrics:
            continue
        assert all(
            (len(one.names) == len(one.values) and one.step is None) or abs(one.step) <= 2**53
            for one in points_of(found)
        )
        json.dumps(table.state())


def test_nvidia_smi_gives_a_series_a_gpu() -> None:
    found = read((RECORDED / "nvidia_smi.csv").read_text(), "gpu.csv")
    assert len(found) == 4 and {point.labels for point in found} == {
        (("gpu", "0"), ("host", "box")),
        (("gpu", "1"), ("host", "box")),
    }
    first = dict(zip(found[0].names, found[0].values, strict=True))
    assert first == {
        "nvidia_smi/pstate": 0.0,
        "nvidia_smi/utilization_gpu_pct": 97.0,
        "nvidia_smi/utilization_memory_pct": 41.0,
        "nvidia_smi/memory_used_bytes": 61234.0 * 2**20,
        "nvidia_smi/power_draw_w": 642.11,
        "nvidia_smi/temperature_gpu_c": 61.0,
        "nvidia_smi/clocks_current_sm_mhz": 1980.0,
    }
    assert found[0].time_s == datetime.datetime(2026, 11, 25, 18, 2, 39, 123000).timestamp() and found[0].step is None


def test_nvidia_smi_names_a_gpu_by_uuid_or_bus_where_there_is_no_index() -> None:
    header = "timestamp, {}, utilization.gpu [%]\n2026/11/25 18:02:39.123, {}, 97\n"
    assert read(header.format("uuid", "GPU-1"), "x.csv")[0].labels == (("host", "box"), ("uuid", "GPU-1"))
    assert read(header.format("pci.bus_id", "18:00.0"), "x.csv")[0].labels == (("bus", "18:00.0"), ("host", "box"))
