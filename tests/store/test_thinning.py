"""Samples of the machine become coarser with age: sums and counts of each minute stay, kept windows stay as they are."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors import retention
from collectors.records import Event, Finding, Frame, Points, Record, StackRecording, StackSpan, labels_of
from collectors.store.engines import maintenance
from collectors.store.sqlite import chunks, files
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.thinning import Thinner, TimeSpans
from collectors.store.store import Limits, Thinning, series_id
from tests.conftest import ROOT, wait_for
from tests.support.serving import served_records

DAY_S = 86400.0
WEEK_START_S = files.week_start(Path(files.week_file(1_764_000_000.0)))
START_S = WEEK_START_S + 3600.0
GPU = labels_of(gpu=0, host="box", uuid="GPU-1")
NAMES = ("gpu/utilization_pct", "gpu/power_w", "gpu/clock_event_reasons", "gpu/energy_j")
IDS = {name: series_id(None, name, GPU) for name in NAMES}
MINUTES = 20
SECONDS = MINUTES * 60
STACKS = [(Frame("main", "train.py", 1), Frame(f"f{number}", "data.py", number)) for number in range(7)]
HZ = 10


def records(seed: int = 0) -> Iterator[Record]:
    """Twenty minutes of a card at 2 Hz, and of a process and its worker."""
    rng = np.random.default_rng(seed)
    for at in range(2 * SECONDS):
        busy = float(rng.integers(0, 101)) if at % 50 else float("nan")
        values = (busy, round(float(rng.normal(300, 40)), 2), float(2 ** (at % 3)), 10.0 * at)
        yield Points(None, GPU, NAMES, values, START_S + at / 2 + float(rng.uniform(0, 0.01)), None)
    for pid in (7, 8):
        for window in range(SECONDS // 20):
            samples = []
            for at in range(20 * HZ):
                stack, known = STACKS[int(rng.integers(0, 7))], bool(rng.integers(0, 2))
                samples.append(
                    StackSpan(at * 10**9 // HZ, 10**9 // HZ, pid, stack, known, 10**7 if known else None, at % 9 > 0)
                )
            about = ("a", 0, pid, "main" if pid == 7 else "worker", "box", "native", float(HZ))
            yield StackRecording(
                *about, START_S + 7.25 + 20 * window, 0, 20 * 10**9, {pid: "MainThread"}, samples, len(samples)
            )


def filled(data_dir: Path, *more: Record) -> Path:
    store = SqliteStore(data_dir, write=True)
    store.append([*records(), *more])
    store.settle()
    store.close()
    return data_dir


def thinning(kept_windows: list[tuple[float, float]] = []) -> Thinning:  # noqa: B006
    return Thinning(7 * DAY_S, lambda lo, hi: kept_windows, {NAMES[2]}, {NAMES[3]})


def thin(data_dir: Path, windows: list[tuple[float, float]] = [], now_s: float = WEEK_START_S + 40 * DAY_S) -> None:  # noqa: B006
    Thinner(data_dir, thinning(windows), {}.get, clock=lambda: now_s, first_s=0.0).run(time.monotonic() + 600)


def by_minute(data_dir: Path) -> dict[str, Any]:
    """All that must stay."""
    store = SqliteStore(data_dir, write=False)
    found: dict[str, Any] = {}
    for minute in range(-1, MINUTES + 2):
        lo, hi = START_S + 60 * minute, START_S + 60 * minute + 60 - 1e-6
        for name in NAMES[:2]:
            cell = store.range([IDS[name]], lo, hi, "time", 1)[IDS[name]]
            about = (cell.count.sum(), cell.non_finite.sum(), np.fmin.reduce(cell.min, initial=np.inf), np.fmax.reduce(cell.max, initial=-np.inf))  # fmt: skip
            found[f"{name} {minute}"] = tuple(map(float, about))
            total = float(np.nansum(np.where(np.isnan(cell.mean), 0, cell.mean) * (cell.count - cell.non_finite)))
            found[f"{name} {minute} sum"] = total
        columns = store.stacks(lo, START_S + 60 * minute + 60, "a")
        sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
        cpu_ns = np.where(np.isnan(columns.cpu_s), 0, columns.cpu_s * 1e9)
        for at in range(len(columns.tid)):
            frames = tuple(columns.frames[place] for place in columns.stacks[columns.stack[at]])
            known = not np.isnan(columns.cpu_s[at])
            key = (columns.processes[columns.process[at]], int(columns.tid[at]), frames, int(columns.gil[at]), bool(columns.resolved[at]), known)  # fmt: skip
            sums[key][0] += round(columns.duration_s[at] * 1e9)
            sums[key][1] += round(cpu_ns[at])
        found[f"stacks {minute}"] = dict(sums)
        found[f"samples {minute}"] = columns.samples
        found[f"covered {minute}"] = [float(edge) for edge in np.array(columns.covered).ravel()]
    store.close()
    return found


def check_same(found: dict[str, Any], before: dict[str, Any]) -> None:
    """But for what is rounded: a microsecond a span, a sample a row; and CPU time of a span across a minute, which both minutes had in full."""
    assert found.keys() == before.keys()
    for name, value in before.items():
        if name.startswith("stacks"):
            for key in {**value, **found[name]}:
                (spent, cpu), (spent_before, cpu_before) = found[name].get(key, [0, 0]), value.get(key, [0, 0])
                assert abs(spent - spent_before) <= 2000 and abs(cpu - cpu_before) <= 2 * 10**7, (name, key)
        else:
            assert found[name] == pytest.approx(value, rel=1e-12, abs=4 if name.startswith("samples") else 1e-3 if name.startswith("covered") else 1e-9), name  # fmt: skip


def content(data_dir: Path) -> list[tuple[Any, ...]]:
    """Rows of a machine file that thinning may replace, without their numbers."""
    found: list[tuple[Any, ...]] = []
    for path in files.machine_files(data_dir):
        with contextlib.closing(sqlite3.connect(path)) as db:
            found += sorted(
                db.execute(
                    "SELECT series, start, rows, units, chunk.data, axis.data FROM chunk JOIN axis ON axis.id = axis"
                )
            )
            found += sorted(db.execute("SELECT pid, start_s, end_s, samples, spans, thinned, data FROM profile"))
    return found


def bytes_of(data_dir: Path) -> int:
    return sum(len(part) for row in content(data_dir) for part in row if isinstance(part, bytes))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("full"))


@pytest.fixture
def data_dir(full: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for path in files.all_files(full):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "data"


def test_sums_counts_and_extremes_of_each_minute_stay_and_the_bytes_shrink(data_dir: Path) -> None:
    before, size = by_minute(data_dir), bytes_of(data_dir)
    thin(data_dir)
    check_same(by_minute(data_dir), before)
    assert bytes_of(data_dir) < size / 2
    assert maintenance(data_dir).check() == []


def test_thinning_again_changes_nothing(data_dir: Path) -> None:
    thin(data_dir)
    first = content(data_dir)
    thin(data_dir)
    thin(data_dir, now_s=WEEK_START_S + 80 * DAY_S)
    for path in files.machine_files(data_dir):  # as if it had never been noted how far it went
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM meta WHERE key LIKE 'thinned%'")
            db.commit()
    thin(data_dir)
    assert content(data_dir) == first


def test_points_come_as_means_of_ten_seconds_masks_whole_and_counters_by_their_last_value(data_dir: Path) -> None:
    store = SqliteStore(data_dir, write=False)
    before = {name: store.points([IDS[name]], None, None)[IDS[name]] for name in NAMES}
    thin(data_dir)
    after = {name: store.points([IDS[name]], None, None)[IDS[name]] for name in NAMES}
    last = store.last([*IDS.values()])
    busy = after[NAMES[0]]
    assert SECONDS / 10 <= len(busy.place) <= SECONDS / 10 + 5, "chunks cut some cells"
    assert np.all(np.diff(busy.place) > 0)
    np.testing.assert_array_equal(after[NAMES[2]].value, before[NAMES[2]].value)
    assert set(after[NAMES[3]].value) <= set(before[NAMES[3]].value) and np.all(np.diff(after[NAMES[3]].value) > 0)
    assert last[IDS[NAMES[3]]].value == before[NAMES[3]].value[-1]
    wide = store.range([IDS[NAMES[0]]], None, None, "time", 20)[IDS[NAMES[0]]]
    assert (wide.count.sum(), len(wide.t)) == (2 * SECONDS, pytest.approx(20, abs=1)) and wide.max.max() == 100
    narrow = store.range([IDS[NAMES[0]]], START_S + 100, START_S + 160, "time", 1000)[IDS[NAMES[0]]]
    assert set(narrow.count.tolist()) == {20} and 5 <= len(narrow.t) <= 7
    store.close()


def test_of_a_part_of_a_minute_each_stack_has_its_share(data_dir: Path) -> None:
    thin(data_dir)
    store = SqliteStore(data_dir, write=False)
    minute = np.ceil((START_S + 60) / 60) * 60
    whole, third = store.stacks(minute, minute + 60, "a"), store.stacks(minute + 20, minute + 40, "a")
    assert third.duration_s.sum() == pytest.approx(whole.duration_s.sum() / 3, rel=1e-3)
    assert len(third.tid) == len(whole.tid) and third.time_s.min() >= minute + 20 and (third.time_s + third.duration_s).max() <= minute + 40.001  # fmt: skip
    for pid in (7, 8):
        mine = third.tid == pid
        ends = third.time_s[mine] + third.duration_s[mine]
        assert np.all(third.time_s[mine][1:] >= ends[:-1] - 1e-6), "one behind the other"
    store.close()


def test_a_kept_window_stays_as_it_is(data_dir: Path) -> None:
    window = (START_S + 500.0, START_S + 560.0)
    store = SqliteStore(data_dir, write=False)
    points = store.points([*IDS.values()], *window)
    columns = store.stacks(*window, "a")
    thin(data_dir, [window])
    for number, part in store.points([*IDS.values()], *window).items():
        np.testing.assert_array_equal(part.value, points[number].value)
        np.testing.assert_array_equal(part.place, points[number].place)
    again = store.stacks(*window, "a")
    for name in ("time_s", "duration_s", "tid", "gil", "cpu_s"):
        np.testing.assert_array_equal(getattr(again, name), getattr(columns, name))
    assert sum(row[3] > 0 for row in content(data_dir) if len(row) == 6), "the others are thinned"
    store.close()


def test_what_is_younger_than_a_week_and_what_is_of_runs_stays(data_dir: Path) -> None:
    before = content(data_dir)
    thin(data_dir, now_s=START_S + 7 * DAY_S)
    assert content(data_dir) == before
    thin(data_dir, now_s=START_S + 7 * DAY_S + 3600)
    assert content(data_dir) != before, "the first hour is a week old"


def test_windows_of_findings_notes_and_reports_are_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    day = START_S + DAY_S
    store.append([Finding("x", None, "gpu_lost", "alert", START_S, START_S + 30, True, "It was lost."), Event("a", "note", START_S + 5000, seconds=60, text="here")])  # fmt: skip
    store.append(
        [
            Finding("y", "a", "stall", "note", day, day + 4 * DAY_S, True, "It stalled."),
            Event("a", "checkpoint", START_S + 9000),
        ]
    )
    retention.note(tmp_path, "a", (START_S + 7000, START_S + 7100), "report")
    retention.note(tmp_path, "a", (START_S + 7000, START_S + 7100), "report")
    retention.note(tmp_path, "a", (float("nan"), 1.0), "report")
    with (tmp_path / retention.FILE).open("a") as file:
        file.write('half\n{"from_s": null}\n[]\n{"from_s": 1e999, "to_s": 2}\n')
    assert len((tmp_path / retention.FILE).read_text().splitlines()) == 5
    spans = TimeSpans(retention.windows(store, tmp_path, WEEK_START_S, WEEK_START_S + 7 * DAY_S))
    for at in (START_S + 15, START_S - 59, START_S + 5030, START_S + 7050, day + 3600, day + 4 * DAY_S):
        assert spans.touches(at, at), at
    for at in (START_S + 200, START_S + 9000, day + DAY_S):
        assert not spans.touches(at, at), at
    store.close()


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=8), st.integers(0, 60), st.integers(0, 5))
def test_a_stretch_touches_what_it_shares_a_moment_with(spans: list[tuple[int, int]], start: int, length: int) -> None:
    windows = [(float(at), float(at + long)) for at, long in spans]
    expected = any(lo <= start + length and hi >= start for lo, hi in windows)
    assert TimeSpans(windows).touches(start, start + length) == expected


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(width=32)), min_size=2, max_size=300))
def test_cells_add_up_to_their_points(points: list[tuple[float, float]]) -> None:
    time_s = 1.764e9 + np.cumsum([gap for gap, _ in points])
    values = np.array([value for _, value in points], np.float64)
    found = chunks.edges(time_s)
    if found is None:
        return
    units = chunks.read_summaries(found.axis, chunks.encode_cells(values, found, counter=False), 0)
    finite = np.isfinite(values)
    assert units.rows.sum() == len(values) and units.non_finite.sum() == (~finite).sum()
    assert units.low[0] == time_s.min() and units.high[-1] == time_s.max() and np.all(units.high - units.low <= 10)
    if finite.any():
        assert (np.fmin.reduce(units.least), np.fmax.reduce(units.most)) == (values[finite].min(), values[finite].max())
        assert units.total.sum() == pytest.approx(
            values[finite].sum(), rel=1e-9, abs=1e-9 * np.abs(values[finite]).max() * len(values)
        )
    np.testing.assert_array_equal(units.last[-1], values[-1])


KILLED = """
import sys
from pathlib import Path
from collectors.store.store import Thinning
from collectors.store.sqlite.thinning import Thinner
thinning = Thinning(7 * 86400.0, lambda lo, hi: [], {"gpu/clock_event_reasons"}, {"gpu/energy_j"})
thinner = Thinner(Path(sys.argv[1]), thinning, {}.get, clock=lambda: float(sys.argv[2]), first_s=0.0)
while thinner.run(0.0):
    print("step", flush=True)
print("done", flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_and_nothing_double(data_dir: Path) -> None:
    before, rng, thinned = by_minute(data_dir), random.Random(7), [0]
    command = [sys.executable, "-c", KILLED, str(data_dir), str(WEEK_START_S + 40 * DAY_S)]
    for steps in (1, 1, 2, 3, 1000):  # after so many it is killed somewhere in the next one
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = next(
                (line for number, line in enumerate(process.stdout, 1) if number == steps or line == "done\n"), ""
            )
            time.sleep(rng.uniform(0.0, 0.004))
            process.send_signal(signal.SIGKILL)
        thinned.append(sum(row[-4] > 0 if len(row) == 6 else row[-2] for row in content(data_dir)))
        check_same(by_minute(data_dir), before)
    assert said == "done\n" and maintenance(data_dir).check() == []
    assert thinned == sorted(thinned) and len(set(thinned)) >= 3, "each went on where the last one ended"


def test_a_store_thins_in_the_background_beside_its_readers_and_a_new_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.store.sqlite.thinning.FIRST_S", 0.0)
    filled(tmp_path)
    before = by_minute(tmp_path)
    store = SqliteStore(tmp_path, write=True, limits=Limits(thinning=thinning()))
    store._thinner._due_s = 0.0  # type: ignore[union-attr]
    reader = SqliteStore(tmp_path, write=False)
    place = 0

    def thinned() -> bool:
        nonlocal place
        place += 1
        store.append([Points(None, GPU, NAMES, (1.0,) * 4, time.time(), None)])
        assert reader.points([IDS[NAMES[2]]], START_S, START_S + SECONDS)[IDS[NAMES[2]]].value.size == 2 * SECONDS
        return not store.compact(0.01) and any(row[3] > 0 for row in content(tmp_path) if len(row) == 6)

    wait_for(thinned)
    reader.close()
    store.close()
    check_same(by_minute(tmp_path), before)
    assert maintenance(tmp_path).check() == []
    week = tmp_path / files.week_file(START_S)
    with contextlib.closing(sqlite3.connect(week)) as db:
        assert dict(db.execute("SELECT key, value FROM meta"))["thinned_packed"] == 1
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_damage_costs_its_chunk_and_the_rest_is_thinned(data_dir: Path) -> None:
    (week,) = files.machine_files(data_dir)
    with contextlib.closing(sqlite3.connect(week)) as db:
        db.execute("UPDATE chunk SET data = x'00' WHERE id = (SELECT min(id) FROM chunk)")
        db.execute("UPDATE profile SET data = x'00' WHERE id = (SELECT min(id) FROM profile)")
        db.commit()
    assert len(maintenance(data_dir).check()) == 2
    thin(data_dir)
    assert len(maintenance(data_dir).check()) == 2
    assert json.dumps(sum(row[3] > 0 for row in content(data_dir) if len(row) == 6)) != "0"


def test_the_window_of_a_report_is_kept_from_then_on(tmp_path: Path) -> None:
    rows = [Points("a", labels_of(host="box"), ("loss",), (1.0,), START_S + at, at) for at in range(100)]
    with served_records(tmp_path, rows) as web:
        assert web.ask("/api/v1/report", run="a").status == 200 and retention.read_windows(tmp_path) == []
        for _ in range(2):
            assert (
                web.ask("/api/v1/report", "GET", None, run="a", **{"from": START_S, "to": START_S + 50}).status == 200
            )
    assert retention.read_windows(tmp_path) == [(START_S, START_S + 50)]
