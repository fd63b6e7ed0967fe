"""The web application in this process, on a free port, over a store that a test has filled; without a collector."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from fastapi import FastAPI

from access.hosts import Access
from access.http import Limits
from collectors.records import Points, Record, labels_of
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.http_server import LIMITS, Server, server_of
from dashboard.queries import Queries
from tests.conftest import wait_for

ENDS_S = 10.0
IDLE_S = 2.0
T = TypeVar("T")
SPIKE_STEP = 61_803


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Web:
    """Its address, and one connection that is kept."""

    def __init__(self, port: int, server: Server | None = None) -> None:
        self.port, self.server = port, server
        self._idle_since_s = time.monotonic()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, address: str, method: str = "GET", body: bytes | None = None, /, **parameters: object) -> Answer:
        """`address` goes out as it is; `parameters` are quoted, lists repeat."""
        query = urlencode({name.rstrip("_"): value for name, value in parameters.items()}, doseq=True)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if time.monotonic() > self._idle_since_s + IDLE_S:  # the server closes it after 5 s, which may be just now
            self._connection.close()
        self._connection.request(method, f"{address}?{query}" if query else address, body, headers)
        answer = self._connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        self._idle_since_s = time.monotonic()
        return found

    def close(self) -> None:
        self._connection.close()


@contextmanager
def served_records(data_dir: Path, *batches: Iterable[Record]) -> Iterator[Web]:
    """Of a store with these records, everything compacted."""
    writer = open_store(data_dir, write=True)
    for records in batches:
        writer.append(records)
    while writer.compact(5.0):
        pass
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def spiked(begin_s: float, steps_a_second: float) -> Iterator[Record]:
    """100,000 points of `loss` of the run `long`, all 1, but at SPIKE_STEP 234.5."""
    for step in range(100_000):
        value = 234.5 if step == SPIKE_STEP else 1.0
        yield Points("long", labels_of(host="box"), ("loss",), (value,), begin_s + step / steps_a_second, step)


@contextmanager
def served(queries: Queries, limits: Limits = LIMITS) -> Iterator[Web]:
    with served_app(make_app(queries), limits=limits) as web:
        yield web


@contextmanager
def served_app(
    app: FastAPI, host: str = "127.0.0.1", access: Access | None = None, limits: Limits = LIMITS
) -> Iterator[Web]:
    listener = socket.create_server((host, 0))
    server = server_of(app, access, limits)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # not in the main thread
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    web = Web(listener.getsockname()[1], server)
    try:
        wait_for(lambda: server.started)
        yield web
    finally:
        web.close()
        server.should_exit = True
        thread.join(ENDS_S)
        listener.close()
        assert not thread.is_alive(), "the server does not end"


def run(work: Coroutine[Any, Any, T]) -> T:
    """In an event loop of its own, and a thread: once a browser was used, Playwright's runs in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
