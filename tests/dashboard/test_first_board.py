"""The board that opens first is made of what there is: each of its charts has something to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.records import LogLine, Points, Record, labels_of
from collectors.store.engines import open_store
from dashboard.boards.files import board_of
from dashboard.queries import Queries
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
HOST = Points(None, labels_of(host="box"), ("host/cpu_pct",), (50.0,), T0, None)
LATER = Points(None, labels_of(host="box"), ("host/cpu_pct",), (50.0,), T0 + 60, None)
GPU = Points(None, labels_of(host="box", gpu=0), ("gpu/utilization_pct",), (90.0,), T0, None)
LOSS = Points("a", labels_of(host="box"), ("train/loss", "val/loss"), (1.0, 2.0), T0, 1)
PHASES = Points("a", labels_of(host="box"), ("phase/data_s", "phase/forward_s"), (0.1, 0.2), T0, 1)
ODD = Points("a", labels_of(host="box"), ("an odd name", "=1"), (1.0, 2.0), T0, 1)


@contextmanager
def serving(tmp_path: Path, records: list[Record]) -> Iterator[Web]:
    writer = open_store(tmp_path, write=True)
    writer.append(records)
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


@pytest.mark.parametrize(
    ("records", "titles"),
    [
        ([HOST, GPU, LOSS], ["Loss", "val/loss", "GPU busy", "Loss", "GPU busy"]),
        ([HOST, PHASES], ["Waits for data", "CPU", "Where a step goes", "CPU"]),
        ([ODD], ["an odd name", "=1"]),
        ([LOSS, LogLine("a", "a.log", T0, 20, "hello")], ["Loss", "val/loss", "Loss", "Log"]),
        ([HOST], ["CPU", "CPU"]),
        ([LATER, LOSS], ["Loss", "val/loss", "Loss"]),
    ],
)
def test_the_overview_is_made_of_what_is_logged(tmp_path: Path, records: list[Record], titles: list[str]) -> None:
    with serving(tmp_path, records) as web:
        answer = web.ask("/api/v1/boards/overview", **({} if records == [HOST] else {"run": "a"})).json
        charts = [chart for row in answer["board"]["rows"] for chart in row["charts"]]
        assert [chart["title"] for chart in charts] == titles
        assert not any(expr["absent"] for expr in answer["exprs"])
        assert board_of(answer["text"]), "its text can be saved as a board of one's own"
        assert web.ask("/api/v1/boards").json["boards"][0]["name"] == "overview"


def test_a_board_says_which_charts_have_nothing_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.yaml").write_text(
        "rows:\n- charts:\n  - {kind: line, series: [train/loss]}\n  - {kind: line, series: [gone]}\n  - {kind: line, series: ['train/loss / gone']}\n"
    )
    with serving(tmp_path, [HOST, LOSS]) as web:
        exprs = web.ask("/api/v1/boards/mine", run="a").json["exprs"]
        assert [(expr["chart"], expr["absent"]) for expr in exprs] == [(0, False), (1, True), (2, True)]


def test_a_users_file_of_that_name_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "overview.yaml").write_text("title: Mine\n")
    with serving(tmp_path, [HOST]) as web:
        assert web.ask("/api/v1/boards/overview").json["board"]["title"] == "Mine"
        assert [board["title"] for board in web.ask("/api/v1/boards").json["boards"]].count("Mine") == 1
