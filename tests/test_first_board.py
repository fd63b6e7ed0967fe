"""The board that opens where none is named: one that has something to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.records import Points, Record, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.serving import served

HOST = Points(None, labels_of(host="box"), ("host/cpu_pct",), (50.0,), 1_764_000_000.0, None)
GPU = Points(None, labels_of(host="box", gpu=0), ("gpu/power_w",), (300.0,), 1_764_000_000.0, None)
LOSS = Points("a", labels_of(host="box"), ("train/loss",), (1.0,), 1_764_000_000.0, 1)
PHASES = [
    Points("a", labels_of(host="box"), (f"phase/{name}_s",), (0.1,), 1_764_000_000.0, 1) for name in ("data", "forward")
]
ODD = Points("a", labels_of(host="box"), ("odd",), (1.0,), 1_764_000_000.0, 1)


@pytest.mark.parametrize(
    ("records", "first"),
    [
        ([HOST, GPU, LOSS], "gpus"),
        ([HOST, LOSS], "data-loader"),
        ([HOST, *PHASES, LOSS], "data-loader"),
        ([LOSS], "mixed-precision"),
        ([ODD], "gpus"),
    ],
)
def test_gpus_is_first_unless_it_would_be_empty(tmp_path: Path, records: list[Record], first: str) -> None:
    writer = open_store(tmp_path, write=True)
    writer.append(records)
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        assert web.ask("/api/v1/boards", first="true", run="a").json["first"] == first
        assert web.ask("/api/v1/boards").json["first"] is None
    queries.close()
    writer.close()


def test_a_board_of_ones_own_comes_before_those_that_come_along(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "zoo.yaml").write_text("rows:\n- charts:\n  - kind: line\n    series: [{expr: 'odd * 2'}]\n")
    writer = open_store(tmp_path, write=True)
    writer.append([HOST, ODD])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        assert web.ask("/api/v1/boards", first="true", run="a").json["first"] == "zoo"
    queries.close()
    writer.close()
