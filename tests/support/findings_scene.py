"""A store whose findings a test writes, the application over it, and a page of it; the collector's account of itself is a quiet one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page

from collectors.records import Finding, FindingWeight, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.serving import Web, served

HOSTILE = "<img src=x onerror='hacked=1'>\u202e"


class FindingsScene:
    """Times are seconds from the beginning of the newest run, mostly negative: what is in view is what happened lately."""

    def __init__(self, store: Store, web: Web, data_dir: Path) -> None:
        self.store, self.web, self.data_dir = store, web, data_dir
        self.t0 = time.time()
        self.made = 0

    def run(self, name: str, since: int = -300) -> None:
        """With a loss each second until now."""
        self.t0 = time.time()
        rows: list[Record] = [
            Points(name, labels_of(host="box", rank=0), ("train/loss",), (1.0,), self.t0 + at, 1000 + at)
            for at in range(since, 0)
        ]
        self.store.append(rows)

    def find(
        self,
        run: str | None,
        rule: str,
        at: float,
        until: float | None = None,
        *,
        weight: FindingWeight = "note",
        over: bool = True,
        said: str = "It was found.",
        id_: str = "",
        step: int | None = None,
        **fields: Any,
    ) -> str:
        """Its id."""
        self.made += 1
        name = id_ or f"{rule}-{self.made}"
        lo, hi = self.t0 + at, self.t0 + (at if until is None else until)
        self.store.append([Finding(name, run, rule, weight, lo, hi, over, said, 0, step, fields)])
        return name

    def open(self, page: Page, path: str = "/", **query: object) -> None:
        page.goto(f"http://127.0.0.1:{self.web.port}{path}?{urlencode(query)}")
        wait_for(
            lambda: page.evaluate("() => document.querySelector('#content > *') !== null"),
            because="Dash has not laid out the page",
        )


@contextmanager
def findings_scene(folder: Path) -> Iterator[FindingsScene]:
    data_dir, log_dir = folder / "data", folder / "logs"
    log_dir.mkdir()
    store = open_store(data_dir, write=True)
    queries = Queries(open_store(data_dir, write=False), log_dir, data_dir)
    queries._collector = lambda: {"host": "box", "collectors": []}  # type: ignore[method-assign]
    with served(queries) as web:
        yield FindingsScene(store, web, data_dir)
    queries.close()
    store.close()
