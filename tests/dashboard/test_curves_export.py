"""Raw points leave as files that other programs read back, whatever the names in them."""

from __future__ import annotations

import csv
import io
import json
import math
import socket
from collections.abc import Iterator

import pandas as pd
import pytest

from collectors.records import Points, Record, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.series import export
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
EVIL = '=HYPERLINK("http://x","y")'
VALUES = (0.1, -2.5, 1e-300, float("nan"), float("inf"), float("-inf"))
RUNS = ["a", EVIL, 'b,"c"\n<i>']


def records() -> Iterator[Record]:
    for run in RUNS:
        for step, value in enumerate(VALUES):
            yield Points(run, HOST, ("loss", "@x"), (value, 1.0), T0 + step, step or None)
    yield from (Points("untimed", HOST, ("loss",), (float(step),), None, step) for step in range(5))
    yield from (Points("many", HOST, ("loss",), (step / 7,), T0 + step, step) for step in range(60_000))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    data_dir = tmp_path_factory.mktemp("exported")
    writer = open_store(data_dir, write=True)
    writer.append(records())
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def same(found: float, value: float) -> bool:
    return found == value or (math.isnan(found) and math.isnan(value))


def test_csv_reads_back_to_the_last_bit(web: Web) -> None:
    answer = web.ask("/api/v1/export", run=RUNS, expr="loss")
    assert answer.status == 200 and answer.headers["content-disposition"] == "attachment"
    header, *lines = csv.reader(io.StringIO(answer.body.decode(), newline=""))
    assert header == ["run", "series", "labels", "segment", "step", "time_s", "value"]
    assert [line[0] for line in lines[:: len(VALUES)]] == ["a", f"'{EVIL}", RUNS[2]]
    for line, (step, value) in zip(lines, [*enumerate(VALUES)] * 3, strict=True):
        assert line[1:5] == ["loss", "host=box", "0", str(step) if step else ""]
        assert float(line[5]) == T0 + step and same(float(line[6]), value)


def test_no_cell_is_a_formula(web: Web) -> None:
    answer = web.ask("/api/v1/export", run=RUNS, expr="*")
    cells = {text for line in csv.reader(io.StringIO(answer.body.decode(), newline="")) for text in line[:3]}
    assert {"'@x", f"'{EVIL}"} <= cells and not [text for text in cells if text.startswith(export.FORMULA)]


def test_json_lines_read_back(web: Web) -> None:
    lines = web.ask("/api/v1/export", run=EVIL, expr="loss", format="jsonl", x="relative").body.splitlines()
    found = [json.loads(line) for line in lines]
    assert found[1] == {
        "run": EVIL, "series": "loss", "labels": {"host": "box"}, "segment": 0, "step": 1, "relative_s": 1.0, "value": -2.5,
    }  # fmt: skip
    assert found[0]["step"] is None and [row["value"] for row in found[3:]] == ["NaN", "Infinity", "-Infinity"]


def test_a_range_of_any_axis_is_exported(web: Web) -> None:
    table = pd.read_csv(
        io.BytesIO(web.ask("/api/v1/export", run="many", expr="loss", x="step", from_=100, to=50_000).body)
    )
    assert list(table.columns) == ["run", "series", "labels", "segment", "step", "value"]
    assert table.step.tolist() == list(range(100, 50_001)) and (table.value == table.step / 7).all()
    beside = pd.read_csv(io.BytesIO(web.ask("/api/v1/export", run="many", expr="loss", x="loss", from_=1, to=2).body))
    assert (beside.x == beside.value).all() and len(beside) == 8


def test_what_cannot_be_exported_is_said_before_a_file_begins(web: Web) -> None:
    untimed = web.ask("/api/v1/export", run=["a", "untimed"], expr="loss")
    assert untimed.status == 400 and "'untimed'" in untimed.json["error"] and "choose x=step" in untimed.json["error"]
    assert web.ask("/api/v1/export", run="untimed", expr="loss", x="step").status == 200
    assert web.ask("/api/v1/export", run=["a", "nobody"], expr="loss").status == 404
    assert web.ask("/api/v1/export", run="a", expr="nothing").status == 404
    assert web.ask("/api/v1/export", run="a", expr="loss", format="xlsx").status == 400


def test_parquet_needs_its_package(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    answer = web.ask("/api/v1/export", run="a", expr="loss", format="parquet")
    assert answer.status == 400 and "pip install pyarrow" in answer.json["error"]


def test_parquet_reads_back(web: Web) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        io.BytesIO(web.ask("/api/v1/export", run=[*RUNS, "many"], expr="loss", format="parquet").body)
    )
    found = table.to_pydict()
    assert (
        found["run"][:: len(VALUES)][:3] == RUNS and found["step"][:3] == [None, 1, 2] and len(found["value"]) == 60_018
    )
    assert all(map(same, found["value"], [*VALUES, *VALUES, *VALUES, *(step / 7 for step in range(60_000))]))


def test_a_file_ends_when_its_client_leaves(web: Web) -> None:
    """And its turn is free again: more such clients than there are turns, one after the other."""
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", web.port)) as client:
            client.sendall(
                f"GET /api/v1/export?run=many&expr=loss HTTP/1.1\r\nHost: localhost:{web.port}\r\n\r\n".encode()
            )
            assert client.recv(100)
    assert web.ask("/api/v1/export", run="a", expr="loss").status == 200
