"""Requests a second, and how late the slowest of twenty is: of a small and a large answer, over few and many connections.

python -m benchmarks.requests                              about 1 minute
REQUESTS_BESIDE=FOLDER python -m benchmarks.requests       each figure beside that of another checkout, by turns: about 2 minutes
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.report import Row, run
from tests.conftest import ROOT, Dashboard, dashboard, wait_for

OTHER = os.environ.get("REQUESTS_BESIDE")
PART_S, ROUNDS = 2.0, 5
CONNECTIONS = (1, 32, 200)
RUNS = 300
PATHS = {"/healthz": "/healthz", f"{RUNS} runs": "/api/v1/runs"}


def measure() -> list[Row]:
    checkouts = [ROOT, *([Path(OTHER)] if OTHER else [])]
    with tempfile.TemporaryDirectory() as name, ExitStack() as held:
        running = [
            held.enter_context(dashboard(logs(Path(name) / str(number)), "--no-profile", checkout=checkout))
            for number, checkout in enumerate(checkouts)
        ]
        for each in running:
            wait_for(lambda each=each: len(each.get("/api/v1/runs")["runs"]) == RUNS, 120, "the runs are not there")  # type: ignore[misc]
        return [row for what in PATHS for connections in CONNECTIONS for row in rows(running, what, connections)]


def logs(folder: Path) -> Path:
    for number in range(RUNS):
        run_folder = folder / "logs" / f"run-{number}"
        run_folder.mkdir(parents=True)
        (run_folder / "metrics.jsonl").write_text(json.dumps({"time_s": 1.7e9 + number, "step": 1, "loss": 1.0}) + "\n")
    return folder / "logs"


def rows(running: list[Dashboard], what: str, connections: int) -> list[Row]:
    found: list[list[list[float]]] = [[] for _ in running]
    for _ in range(ROUNDS):
        for times_s, each in zip(found, running, strict=True):
            times_s.append(asyncio.run(asked(each.address, PATHS[what], connections)))
    rates = [[len(part) / PART_S for part in parts] for parts in found]
    late_ms = [[1e3 * statistics.quantiles(part, n=20)[-1] for part in parts] for parts in found]
    name = f"{what}, {connections} connections" if connections > 1 else f"{what}, 1 connection"
    return [row_of(f"{name}", rates, "requests/s"), row_of(f"{name}, p95", late_ms, "ms")]


def row_of(name: str, parts: list[list[float]], unit: str) -> Row:
    ours, *other = map(statistics.median, parts)
    return Row(
        name, ours, unit, baseline=other[0] if other else None, spread=f"{min(parts[0]):.3g} to {max(parts[0]):.3g}"
    )


async def asked(address: str, path: str, connections: int) -> list[float]:
    """Seconds of each request."""
    place, times_s = urlsplit(address), list[float]()
    request = f"GET {path} HTTP/1.1\r\nHost: {place.hostname}:{place.port}\r\n\r\n".encode()
    until_s = time.monotonic() + PART_S

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while (begun_s := time.monotonic()) < until_s or not times_s:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            times_s.append(time.monotonic() - begun_s)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return times_s


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
