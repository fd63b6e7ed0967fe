"""Runs as odd as they come, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.machine.finder import RanksSeen
from collectors.records import Event, Points, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Run, Store
from dashboard.queries import Queries
from dashboard.runs.runs import RunView
from dashboard.runs.table import TableQuery, TableResult

HOST = labels_of(host="box")
T0 = 1_764_000_000.0
HTML = '<img src=x onerror="alert(1)">, "%2F"'


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Store]:
    writer = open_store(tmp_path, write=True)
    yield writer
    writer.close()


@pytest.fixture
def queries(tmp_path: Path, writer: Store) -> Iterator[Queries]:
    """Runs with everything, and runs with nothing."""
    for number, (lr, model) in enumerate([(1e-3, "vit-b16"), (3e-4, "vit-l16"), (3e-4, "gpt")]):
        name = f"sweep/{number}"
        config = {"lr": lr, "model": model, "steps": 100, "optimizer": {"name": "adamw"}, "bf16": number > 0}
        info = {"config": config, "gpu": "2 x H100", "git_commit": "0123456789", "world_size": 2, "host": "box"}
        writer.append(
            [
                RunInfo(name, info),
                Event(name, "start", T0 + number, fields={"host": "elsewhere", "pid": 1, "world_size": 2}),
            ]
        )
        writer.append(
            [
                Points(
                    name,
                    HOST,
                    ("train/loss", "val/acc"),
                    (2.0 - step / 50 + number, step / 100 - number / 10),
                    T0 + step,
                    step,
                )
                for step in range(50)
            ]
        )
        writer.append(
            [Event(name, "end", T0 + 60 + number, fields={"status": ("finished", "failed", "killed")[number]})]
        )
    writer.append([RunInfo("empty", {})])
    writer.append(
        [
            Points("without steps", HOST, ("loss",), (3.0,), T0, None),
            Points("without times", HOST, ("loss",), (4.0,), None, 7),
        ]
    )
    writer.append(
        [
            Points("only nan", HOST, ("loss", "val/loss"), (math.nan, math.inf), T0 + 9, 1),
            RunInfo(HTML, {"config": {HTML: "=1+1"}}),
        ]
    )
    writer.append(
        [
            Points("ranks", labels_of(rank=rank), ("train/loss",), (1.0 + rank,), T0 + rank, 5 + rank)
            for rank in range(2)
        ]
    )
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    yield queries
    queries.close()


def view_of(run: str) -> RunView:
    """Nothing is known of it."""
    return RunView(
        Run(run, {}, None, None, None, None, 0, 0, False, 0, 0, 0), "ended", "", None, None, RanksSeen([], None, ""), ""
    )


def ask(queries: Queries, text: str = "", **question: object) -> TableResult:
    return queries.table.ask(TableQuery(text, **question))  # type: ignore[arg-type]


def names(found: TableResult) -> list[str]:
    return [row.name for row in found.rows]


def cells(queries: Queries, key: str, run: str) -> object:
    column = queries.table.column(key)
    assert column is not None
    return next(row.cell(column) for row in ask(queries, columns=(key,)).rows if row.name == run)
