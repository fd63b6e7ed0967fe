"""Real receivers of alerts, and the real collector of alerts over a store that a test fills."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from alerts.collector import AlertsCollector
from collectors.machine.finder import Finder
from collectors.records import Finding, Record, RunInfo
from collectors.store.engines import open_store
from collectors.store.store import Store

NOW_S = 1_795_000_000.0


class Got(NamedTuple):
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    time_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiving(http.server.ThreadingHTTPServer):
    """Keeps what it gets; `status` is what it answers, `location` where it redirects to."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.status, self.location, self.delay_s = 200, "", 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ids(self) -> list[str]:
        return [got.headers["idempotency-key"] for got in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiving  # type: ignore[assignment]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.status < 300:
            self.server.got.append(Got(self.path, headers, body, time.time()))
        time.sleep(self.server.delay_s)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiving]:
    server = Receiving()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Alerting:
    """The collector of alerts, driven by hand: what it finds is stored, and comes back to it."""

    def __init__(self, data_dir: Path, clock: Clock, store: Store | None = None, **more: Any) -> None:
        self.clock = clock
        self.store = store or open_store(data_dir, write=True)
        self.collector = AlertsCollector(self.store, data_dir, _NoProcesses("host"), clock=clock, threads=False, **more)

    def store_all(self, records: Sequence[Record]) -> None:
        self.store.append(records)
        self.collector.take(records)

    def turn(self, seconds: float = 1.0) -> list[Record]:
        self.clock.now_s += seconds
        news = self.collector.collect()
        if news:
            self.store_all(news)
        return news

    def turns(self, many: int, seconds: float = 1.0) -> list[Record]:
        return [record for _ in range(many) for record in self.turn(seconds)]

    def close(self) -> None:
        self.collector.close()
        self.store.close()


class _NoProcesses(Finder):
    def found(self) -> Any:
        return {}


@contextmanager
def alerting(data_dir: Path, text: str, now_s: float = NOW_S, **more: Any) -> Iterator[Alerting]:
    (data_dir / "alerts.yaml").write_text(text)
    found = Alerting(data_dir, Clock(now_s), **more)
    try:
        yield found
    finally:
        found.close()


def webhook(url: str, more: str = "") -> str:
    return f"receivers:\n- name: hook\n  kind: webhook\n  url: {url}/hook\n{more}"


def crash(
    run: str,
    time_s: float = NOW_S,
    sentence: str = "The run failed at step 7: OutOfMemoryError.",
    rank: int | None = None,
) -> Finding:
    """A moment."""
    return Finding(f"crash-{run}-{rank}", run, "crash", "alert", time_s, time_s, True, sentence, rank, 7, {"key": "1"})


def hang(run: str, from_s: float, to_s: float, *, over: bool = False, id_: str = "") -> Finding:
    """Something that lasts."""
    fields = {"numbers": {"silent_s": to_s - from_s}, "place": {"function": "step", "file": "train.py", "line": 12}}
    return Finding(id_ or f"hung-{run}", run, "hung", "alert", from_s, to_s, over, "The run hangs.", 1, 7, fields)


def known_runs(*names: str) -> list[Record]:
    return [RunInfo(name, {}) for name in names]
