"""The processes on a GPU: what each holds beside PyTorch's allocator, where the run logs what that has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.records import Points, Record, labels_of
from collectors.store.engines import open_store
from dashboard.machine import RunOfProcess
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.serving import Web, served

GIB = 2**30
USED = 10 * GIB


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Stores what a run has logged, and asks for the processes; the cards that the collector names may be changed."""
    process = {"pid": os.getpid(), "kind": "compute", "used_memory_bytes": USED, "utilization_pct": 90, "name": "python", "command": "train.py", "user": "me", "time_s": 0.0}  # fmt: skip
    cards: dict[str, Any] = {"gpus": [{"index": 0, "uuid": "A", "mig": None, "state": "ok", "processes": [process]}]}
    writer = open_store(tmp_path, write=True)
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    queries._collector = lambda: {"host": "box", "collectors": [], "gpu": cards}  # type: ignore[method-assign]
    queries._owners = lambda: {os.getpid(): RunOfProcess("run", 0)}  # type: ignore[method-assign]
    with served(queries) as web:
        yield lambda *records: _outside(writer, web, records), cards
    queries.close()
    writer.close()


def _outside(writer: Any, web: Web, records: tuple[Record, ...]) -> list[float | None]:
    writer.append(list(records))
    return [row["outside_pytorch_bytes"] for row in web.ask("/api/v1/processes").json["processes"]]


def reserved(gib: float, seconds_ago: float = 1.0) -> Points:
    return Points("run", labels_of(rank=0), ("memory/reserved_bytes",), (gib * GIB,), time.time() - seconds_ago, 1)


def test_it_is_what_the_driver_counts_beyond_what_pytorch_reserves(asked: Any) -> None:
    ask, _ = asked
    assert ask(Points("run", labels_of(rank=0), ("train/loss",), (1.0,), time.time(), 0)) == [None], "it has not said"
    ask(reserved(8.5))
    wait_for(lambda: ask() == [pytest.approx(1.5 * GIB)], because="what the run logged is not taken off")


def test_it_is_unknown_where_the_number_is_of_several_cards(asked: Any) -> None:
    ask, cards = asked
    ask(reserved(8.5))
    wait_for(lambda: ask() != [None], because="it is not known at first")
    (card,) = cards["gpus"]
    cards["gpus"] = [card, card | {"index": 1, "uuid": "B"}]
    assert ask() == [None, None]


def test_it_is_unknown_where_the_number_is_old(asked: Any) -> None:
    ask, _ = asked
    ask(reserved(8.5, seconds_ago=600))
    time.sleep(1.5)  # by then new series are known
    assert ask() == [None]


def test_it_is_never_below_nothing(asked: Any) -> None:
    ask, _ = asked
    ask(reserved(12.0))
    wait_for(lambda: ask() == [0.0], because="it is not 0")
