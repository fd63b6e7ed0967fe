"""The ledger on the Live page: the bar of the view, its lane, and the table of a window, over a recorded run and described GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collectors.records import Points, RunInfo
from collectors.store.open import open_store
from collectors.store.protocol import Store
from dashboard.queries import Queries
from tests.recording import Plan, best_sampler, record
from tests.serving import Web, served
from tests.test_ledger import FED, MINUTES, T0, filled, profile

RECORDED = "slow_decode"  # a program on a CPU, whose decoding becomes slow


def ranked(store: Store) -> None:
    """A run of two ranks on the GPU of `run`."""
    store.append([RunInfo("ranked", {"cwd": "/job"})])
    for rank in ("0", "1"):
        store.append([Points("ranked", (("rank", rank),), ("loss",), (0.5,), T0 + step, step) for step in range(60 * MINUTES)])
    store.append([profile(T0 + 60 * minute, FED)._replace(run="ranked") for minute in range(MINUTES)])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("ledger")
    (folder / "logs").mkdir()
    writer = open_store(folder / "data", write=True)
    record(writer, folder / "logs", Plan((RECORDED,), best_sampler(), seconds=9, healthy_s=4, lossy_s=4))
    filled(writer, FED, busy_pct=75.0)
    ranked(writer)
    writer.append([RunInfo("bare", {}), *(Points("bare", (), ("loss",), (0.5,), T0 + step, step) for step in range(99))])
    queries = Queries(open_store(folder / "data", write=False), folder / "logs", folder / "data")
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()
