"""A run's points as TensorBoard event files: our own reader finds each of them again; `tests/integrations/libraries.py` asks TensorBoard's."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats.tfrecord import RecordSplitter, intact
from collectors.logs.tail import Tail
from collectors.records import Points
from collectors.store.engines import open_store
from collectors.store.run_copy import UNPLACED
from dashboard.archive import ExportResult, framed, write_event_files

T0 = 1_764_000_000.0


def test_event_files_hold_every_point_with_its_time_and_step(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", write=True)
    values = [0.5, math.nan, math.inf, 1e300, -3.25]
    store.append(
        [
            Points(
                "a", (("rank", rank),) if rank else (), ("train/loss", "ä"), (value, 2.0), T0 + step / 8, step * 1000
            )
            for rank in ("", "1")
            for step, value in enumerate(values)
        ]
    )
    assert write_event_files(store, "a", tmp_path / "logs" / "a") == ExportResult(20, 2, [])
    store.close()
    paths = sorted((tmp_path / "logs" / "a").rglob("events*"))
    assert [path.parent.name for path in paths] == ["a", "rank1"]
    for path in paths:
        data = path.read_bytes()
        cut = RecordSplitter().cut(data)
        assert (len(cut.starts), cut.damaged, cut.used) == (1 + len(values), [], len(data))
        assert intact(np.frombuffer(data, np.uint8), np.array(cut.starts), np.array(cut.lengths)).all()
    tail, found = Tail(tmp_path / "logs", "box", {}, threading.Event()), []
    while batch := tail.collect():
        found += batch
    tail.close()
    read = [record for record in found if isinstance(record, Points) and record.run == "a"]
    rows = sorted((record.time_s, record.step, name) for record in read for name in record.names)
    assert rows == sorted(
        (T0 + step / 8, step * 1000, name) for step in range(len(values)) for name in ("train/loss", "ä")
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_records_are_cut_as_they_were_framed(parts: list[bytes]) -> None:
    data = b"".join(map(framed, parts))
    cut = RecordSplitter().cut(data)
    assert [data[start : start + length] for start, length in zip(cut.starts, cut.lengths, strict=True)] == parts


def test_series_of_several_gpus_stay_apart_and_points_without_a_step_are_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", write=True)
    gpus = [(("gpu", str(gpu)), ("host", "box")) for gpu in (0, 1)]
    store.append([Points("a", labels, ("busy",), (float(at),), T0 + at, None) for at in range(5) for labels in gpus])
    store.append([Points("a", (), ("loss",), (1.0,), T0, 1), Points("a", (), ("loss",), (1.0,), None, 2)])
    store.append([Points("a", (), ("loss",), (1.0,), None, None)])
    written = write_event_files(store, "a", tmp_path / "logs" / "a")
    store.close()
    assert (written.points, written.left_out) == (12, [UNPLACED])
    tail, found = Tail(tmp_path / "logs", "box", {}, threading.Event()), []
    while batch := tail.collect():
        found += batch
    tail.close()
    rows = [(name, record.step) for record in found if isinstance(record, Points) for name in record.names]
    assert sorted(rows) == sorted(
        [("loss", 1), ("loss", 2), *((f"busy/gpu {gpu}", at) for gpu in (0, 1) for at in range(5))]
    )


def test_a_failed_export_of_event_files_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "store", write=True)
    store.append([Points("a", (), ("loss",), (1.0,), T0, 1)])
    with monkeypatch.context() as patch:
        patch.setattr("dashboard.archive.framed", lambda data: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_event_files(store, "a", tmp_path / "out" / "a")
    assert not list((tmp_path / "out").iterdir())
    assert write_event_files(store, "a", tmp_path / "out" / "a").points == 1
    store.close()
