"""Many clients at once: how late a point reaches them, what bad requests, silent connections and a hot loop of dear questions cost the
others, and what ten tabs cost the dashboard.

python -m benchmarks.load                           about 7 minutes
LOAD_S=10 python -m benchmarks.load                 each part for 10 seconds in place of 40
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright
from websockets.asyncio.client import connect

from benchmarks.own_cost import spent_by
from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, ROOT, Dashboard, dashboard, wait_for

PART_S = float(os.environ.get("LOAD_S", "40"))
SETTLE_S = 5.0
CLIENTS, TABS, SILENT = 100, 10, 400
BAD_A_SECOND = 1100
SERIES = "train/loss"
SLOW_HZ, QUICK_HZ = 1.0, 10.0
WRITE = """
import json, random, sys, time
with open(sys.argv[1], "a") as file:
    for step in range(int(sys.argv[3]), 10**9):
        time.sleep(random.uniform(0.8, 1.2) / float(sys.argv[2]))
        file.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": time.time()}) + chr(10))
        file.flush()
"""
BAD = (
    b"GET /api/v1/nothing HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /api/v1/curves?run=no-such-run&expr=* HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /api/v1/curves?run=run&expr=*&from=never HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /api/v1/runs HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n",
    b"GET /api/v1/flame?run=run&from=5&to=1 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"DELETE /api/v1/runs HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"POST /api/v1/settings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{]}",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n",
)


class Late(NamedTuple):
    """Seconds from a line in the file to a client that receives it, in order of size."""

    s: list[float]

    @property
    def p95_ms(self) -> float:
        return 1e3 * self.s[int(0.95 * (len(self.s) - 1))]

    @property
    def spread(self) -> str:
        return f"p50 {1e3 * self.s[len(self.s) // 2]:.0f} ms, most {1e3 * self.s[-1]:.0f} ms over {len(self.s)}"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, dashboard(Path(folder) / "logs", "--no-profile") as running:
        path = running.log_dir / "run" / "metrics.jsonl"
        path.parent.mkdir()
        rows = crowd(running, path)
        with writing(path, QUICK_HZ, 10**6):
            wait_for(lambda: running.run("run"), 30, "the run is not there")
            time.sleep(SETTLE_S)
            rows += others(running)
        return [*rows, *tabs(running, path)]


def crowd(running: Dashboard, path: Path) -> list[Row]:
    with writing(path, SLOW_HZ, 0):
        wait_for(lambda: running.run("run"), 30, "the run is not there")
        single, many = late(running, 1), late(running, CLIENTS)
    name = f"point written -> received by {CLIENTS} clients, one point a second, p95"
    return [Row(name, many.p95_ms, "ms", 300, baseline=single.p95_ms, spread=f"{many.spread}; baseline: one client")]


def others(running: Dashboard) -> list[Row]:
    """What one client's bad manners cost another one."""
    quiet, cheap = late(running, 1), asking(running)
    with attack(running, "bad", BAD_A_SECOND) as bad:
        beside_bad = late(running, 1)
    answered = json.loads(bad.stdout.read() if bad.stdout else "{}")
    with silent(running):
        beside_silent, cheap_silent = late(running, 1), asking(running)
    with attack(running, "dear", 4):
        beside_dear, cheap_dear = late(running, 1), asking(running)
    rows = [
        Row(
            "bad requests answered",
            answered["a_second"],
            "a second",
            1000,
            at_least=True,
            spread=str(answered["statuses"]),
        ),
        Row("... by anything but 4xx", answered["other"], "answers", 0),
    ]
    for what, found in (
        ("bad requests", beside_bad),
        (f"{SILENT} silent connections", beside_silent),
        ("a loop of dear questions", beside_dear),
    ):
        rows.append(ratio_row(f"live latency beside {what}, p95", found, quiet))
    for what, found in ((f"{SILENT} silent connections", cheap_silent), ("a loop of dear questions", cheap_dear)):
        rows.append(ratio_row(f"points of a run asked for beside {what}, p95", found, cheap))
    return rows


def ratio_row(name: str, found: Late, quiet: Late) -> Row:
    return Row(name, found.p95_ms, "ms", 2 * quiet.p95_ms, baseline=quiet.p95_ms, spread=found.spread)


def tabs(running: Dashboard, path: Path) -> list[Row]:
    with writing(path, QUICK_HZ, 2 * 10**6), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        addresses = ["/", "/flame", "/hosts", "/logs", "/runs", "/training", "/boards", "/alerts", "/", "/training"]
        for address in addresses:
            context.new_page().goto(f"{running.address}{address}")
        time.sleep(2 * SETTLE_S)
        found = spent_by(running)
        browser.close()
    parts = ", ".join(f"{name} {value:.1f}" for name, value in found.cpu_pct.items())
    return [Row(f"CPU of web and collector with {TABS} tabs", found.total_pct, "% of a core", 10, spread=parts)]


@contextmanager
def writing(path: Path, hz: float, first: int) -> Iterator[None]:
    """Lines whose loss is when they were written, Unix seconds."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, path, str(hz), str(first)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def late(running: Dashboard, clients: int) -> Late:
    return Late(sorted(asyncio.run(_late(running, clients))))


async def _late(running: Dashboard, clients: int) -> list[float]:
    found: list[float] = []
    until_s = time.monotonic() + SETTLE_S + PART_S
    await asyncio.gather(*(_follow(running, found, until_s) for _ in range(clients)))
    return found


async def _follow(running: Dashboard, found: list[float], until_s: float) -> None:
    address = f"ws://{urlsplit(running.address).netloc}/api/v1/live"
    cursor = running.get(f"/api/v1/curves?run=run&expr={SERIES}&buckets=2")["cursor"]
    question = {"subscribe": [{"run": "run", "series": [SERIES]}], "cursor": cursor}
    async with connect(address, max_size=None, open_timeout=30) as socket:
        await socket.send(json.dumps(question))
        with suppress(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until_s - time.monotonic()):
                async for text in socket:
                    now_s = time.time()
                    message = json.loads(text)
                    if message["type"] == "delta" and time.monotonic() > until_s - PART_S:
                        found += [now_s - written_s for series in message["series"] for written_s in series["v"]]


def asking(running: Dashboard) -> Late:
    """A cheap question, ten times a second, by a client of its own."""
    found = []
    until_s = time.monotonic() + PART_S / 2
    while time.monotonic() < until_s:
        begun_s = time.perf_counter()
        running.get(f"/api/v1/curves?run=run&expr={SERIES}&buckets=100")
        found.append(time.perf_counter() - begun_s)
        time.sleep(0.1)
    return Late(sorted(found))


@contextmanager
def attack(running: Dashboard, kind: str, number: float) -> Iterator[subprocess.Popen[str]]:
    """In a process of its own; prints what it was answered when it is to end."""
    command = [sys.executable, "-m", "benchmarks.load", "--attack", kind, running.address, str(number)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(2.0)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


@contextmanager
def silent(running: Dashboard) -> Iterator[None]:
    place = urlsplit(running.address)
    assert place.hostname and place.port
    held = []
    for _ in range(SILENT):
        with suppress(OSError):
            held.append(socket.create_connection((place.hostname, place.port), 5))
    try:
        yield
    finally:
        for connection in held:
            connection.close()


async def attacking(kind: str, address: str, number: float) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    statuses: Counter[int] = Counter()
    begun_s = time.monotonic()
    at_once = 16 if kind == "bad" else int(number)
    tasks = [asyncio.create_task(_ask_on(address, kind, number / at_once, statuses, ended)) for _ in range(at_once)]
    await ended.wait()
    took_s = time.monotonic() - begun_s
    for task in tasks:
        task.cancel()
    other = sum(count for status, count in statuses.items() if not 400 <= status < 500)
    found = {str(status): count for status, count in sorted(statuses.items())}
    print(json.dumps({"a_second": statuses.total() / took_s, "other": other, "statuses": found}))


async def _ask_on(address: str, kind: str, hz: float, statuses: Counter[int], ended: asyncio.Event) -> None:
    """One kept connection, opened anew where it is closed."""
    place = urlsplit(address)
    host = f"{place.hostname}:{place.port}"
    dear = (
        f"GET /api/v1/curves?run=run&expr=*&buckets=20000 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: loop\r\n\r\n".encode()
    )
    bad = [each.replace(b"{host}", host.encode()) for each in BAD]
    reader = writer = None
    due_s = time.monotonic()
    while not ended.is_set():
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(dear if kind == "dear" else random.choice(bad))
            statuses[await _answered(reader)] += 1
        except (OSError, asyncio.IncompleteReadError):
            reader = writer = None
        if kind == "bad":
            due_s += 1 / hz
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def _answered(reader: asyncio.StreamReader) -> int:
    """The status of an answer that was read to its end."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        await reader.readuntil(b"0\r\n\r\n")
    sizes = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    await reader.readexactly(sum(sizes))
    return int(status.split()[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        asyncio.run(attacking(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        sys.exit(run(measure, __doc__ or ""))
