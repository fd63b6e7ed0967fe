"""A store that holds runs, a web server without a collector, and its pages in a browser."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from collectors.records import Points, RunInfo
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.many_runs import LABELS, run_records
from tests.support.serving import Web, served

HTML = '<img src=x onerror="document.title=1">, %2F #?&'
NAMES = ("vit-b16-bf16", "vit-l16-fp16", "vit-s16-fp32", "gpt-small")
NOTE = "**bold** [bad](javascript:document.title=1) [good](https://example.com/) <b onclick=document.title=1>raw</b>\n\n<script>document.title=1</script>"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Store]:
    writer = open_store(tmp_path, write=True)
    rng = random.Random(1)
    for number, name in enumerate(NAMES):
        writer.append(
            list(run_records(rng, name, 30, time.time() - 1e5 - 1000 * number, end=("finished", "failed")[number % 2]))
        )
    writer.append([RunInfo(HTML, {"config": {"lr": 1}}), Points(HTML, LABELS, ("train/loss",), (9.0,), None, 1)])
    yield writer
    writer.close()


@pytest.fixture
def queries(tmp_path: Path, writer: Store) -> Iterator[Queries]:
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    yield queries
    queries.close()


@pytest.fixture
def web(queries: Queries) -> Iterator[Web]:
    with served(queries) as web:
        yield web


def opened(page: Page, web: Web, query: str = "") -> Page:
    page.goto(f"http://127.0.0.1:{web.port}/runs{query}")
    page.wait_for_selector("#runs-grid .ag-row .run-cell")
    return page


def shown(page: Page) -> list[str]:
    """The runs' names, from top to bottom."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.ag-pinned-left-cols-container .ag-row')]
        .sort((a, b) => a.getAttribute('row-index') - b.getAttribute('row-index')).flatMap((row) => row.querySelector('.run-cell a')?.textContent ?? [])"""
    )


def becomes(page: Page, runs: list[str] | set[str]) -> None:
    wait_for(
        lambda: shown(page) == runs if isinstance(runs, list) else set(shown(page)) == runs,
        20,
        f"{shown(page)} instead of {runs}",
    )


def ticked(page: Page) -> Any:
    return page.evaluate(
        "() => [...document.querySelectorAll('.ag-row input:checked')].map((box) => box.getAttribute('aria-label').slice(5)).sort()"
    )
