"""Five million log lines: searched, filtered, counted and shown by the web process over HTTP.

python -m benchmarks.logs                            about 3 minutes and 1 GB of disk
LOGS_BENCH_SCALE=0.01 python -m benchmarks.logs      a hundredth of the lines: seconds
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from collectors.records import LogLine
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import Web, served

from .report import Row, run

SCALE = float(os.environ.get("LOGS_BENCH_SCALE", "1"))
LINES = int(5_000_000 * SCALE)
BATCH = 20_000
RARE = 20_000  # of so many lines one is rare
DIFFERENT = 100_000  # lines, which come again and again
T0 = 1_764_000_000.0
RECORDED = Path(__file__).parents[1] / "tests" / "data" / "recorded"
LOGS = (
    RECORDED / "run" / "train.log",
    RECORDED / "run" / "train.rank1.log",
    RECORDED / "formats" / "hugging_face" / "train.log",
)
LEVELS = {"INFO": 20, "WARNING": 30, "ERROR": 40}
MANY = (
    "shard",
    "cache",
    "bucket",
    "socket",
    "kernel",
    "replica",
    "queue",
    "tensor",
    "lease",
    "arena",
    "slot",
    "page",
    "pool",
    "block",
)
SCROLLS = 30
COMPACTIONS = 30  # of at most a second


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="logs-bench-") as folder:
        written_s = fill(Path(folder))
        with serving(Path(folder)) as (web, pid):
            return [
                Row(f"{LINES:,} lines written", LINES / written_s, "lines/s"),
                *reading_rows(web),
                *search_rows(web, pid),
                *counting_rows(web),
                Row("web process, at its peak", peak_bytes(pid) / 1e6, "MB", 300),
            ]


def reading_rows(web: Web) -> Iterator[Row]:
    yield Row("first screen, nothing read before", took_s(lambda: ask(web, "lines", limit=200)) * 1e3, "ms", 1500)
    chance = random.Random(1)
    for name, filters in (("all lines", {}), ("level and text", {"level": 20, "q": "loss", "only_hits": "true"})):
        while not (ask(web, "lines", limit=1, **filters)["search"] or {"done": True})["done"]:
            pass
        total = ask(web, "lines", limit=0, **filters)["total"]
        took_ms = [
            took_s(partial(ask, web, "lines", offset=chance.randrange(max(1, total)), limit=100, **filters)) * 1e3
            for _ in range(SCROLLS)
        ]
        slow = sorted(took_ms)[int(0.95 * len(took_ms))]
        yield Row(f"100 lines anywhere, {name}", statistics.median(took_ms), "ms", spread=f"p95 {slow:.0f}")


def search_rows(web: Web, pid: int) -> Iterator[Row]:
    for name, needle, budget, all_s in (
        ("text, rare", {"q": "out of memory"}, 0.3, 3.0),
        ("text, in most lines", {"q": "Loss"}, 0.3, 3.0),
        ("regex, rare", {"q": r"out of \w+ on rank \d+00\b", "regex": "true"}, 0.5, None),
        ("regex, in most lines", {"q": r"loss [0-9]\.", "regex": "true"}, 0.5, None),
    ):
        began_s, worked_s = time.monotonic(), processor_s(pid)
        first_s, first_worked_s, asked = None, 0.0, 0
        while True:
            found = ask(web, "lines", limit=100, only_hits="true", **needle)
            asked += 1
            now_s = time.monotonic() - began_s
            if first_s is None and found["search"]["hits"]:
                first_s, first_worked_s = now_s, processor_s(pid) - worked_s
            if found["search"]["done"]:
                break
        work = f"{first_worked_s:.2f} s of the processor"
        yield Row(f"search, {name}: first hits", first_s if first_s is not None else now_s, "s", budget, spread=work)
        hits = (
            f"{found['search']['hits']:,} hits, {asked} requests, {processor_s(pid) - worked_s:.2f} s of the processor"
        )
        yield Row(f"search, {name}: all counted", now_s, "s", all_s if SCALE >= 1 else None, spread=hits)


def counting_rows(web: Web) -> Iterator[Row]:
    for what, parameters in (
        ("density", {"buckets": 400}),
        ("templates", {"buckets": 80}),
        ("field", {"run": "a", "template": 1}),
    ):
        took_ms = [took_s(partial(ask, web, what, **parameters)) * 1e3 for _ in range(5)]
        yield Row(f"{what} of all lines", statistics.median(took_ms), "ms")
    error = ask(web, "next", number=LINES // 2, what="error")["number"]
    yield Row("next error", took_s(lambda: ask(web, "next", number=error, what="error")) * 1e3, "ms")


def ask(web: Web, route: str, **parameters: Any) -> Any:
    answer = web.ask(f"/api/v1/logs/{route}", **{"run": "a", **parameters})
    assert answer.status == 200, answer.body
    return answer.json


def took_s(work: Callable[[], object]) -> float:
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def fill(folder: Path) -> float:
    """Lines of recorded logs with other digits; seconds that the store took."""
    store = open_store(folder, write=True)
    made, spent_s = list(lines(min(LINES, DIFFERENT))), 0.0
    for begin in range(0, LINES, BATCH):
        batch = [
            LogLine("a", "train.log", T0 + at / 50, *made[at % DIFFERENT])
            for at in range(begin, min(begin + BATCH, LINES))
        ]
        batch[BATCH // 2 :: RARE] = [
            rare._replace(level=40, text=f"out of memory on rank {begin}") for rare in batch[BATCH // 2 :: RARE]
        ]
        spent_s += took_s(partial(store.append, batch))
    for _ in range(COMPACTIONS):
        store.compact(1.0)
    store.close()
    return spent_s


def lines(count: int) -> Iterator[tuple[int, str]]:
    """Level and text, as the trainer and Hugging Face's write them; one of a hundred is of another program with 2,000 messages."""
    chance = random.Random(0)
    recorded = [line for path in LOGS for line in path.read_text().splitlines()]
    steps = [re.split(r"(\d+)", line) for line in recorded if "loss" in line]
    others = [re.split(r"(\d+)", line) for line in recorded]
    digits = [str(number) for number in range(100_000)]
    for number in range(count):
        if number % 100 == 1:
            words = " ".join(MANY[number // 100 * step % len(MANY)] for step in (1, 14, 196))
            yield 30, f"WARNING {MANY[number // 1400 % 14]} {words} {MANY[number // 19600 % 14]} retried {number} times"
        else:
            parts = list(chance.choice(others if number % 50 == 2 else steps))
            for at in range(15, len(parts), 2):  # behind the stamp
                parts[at] = digits[int(chance.random() * 10 ** min(len(parts[at]), 5))].zfill(len(parts[at]))
            text = "".join(parts)
            yield 20 if "INFO" in text else 0, text


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Web, int]]:
    """A process of its own with the web application; its pid."""
    command = [sys.executable, "-m", "benchmarks.logs", "--serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stdin
        web = Web(int(server.stdout.readline()))
        try:
            yield web, server.pid
        finally:
            web.close()
            server.stdin.close()


def serve(folder: Path) -> None:
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        print(web.port, flush=True)
        sys.stdin.read()
    queries.close()


def processor_s(pid: int) -> float:
    """That a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(Path(sys.argv[-1]))
    else:
        sys.exit(run(measure, __doc__ or ""))
