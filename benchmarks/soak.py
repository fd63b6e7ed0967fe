"""Half an hour of what goes wrong: trainers that are killed and start again, a killed collector and web process, a disk that fills up,
a client that does not read, tabs. At the end each point is there exactly once, and nothing has grown.

make soak MINUTES=30
SOAK_MINUTES=5 python -m benchmarks.soak

The first 40 % has the kills of the dashboard's own processes, then the disk is full for a minute; memory, descriptors, threads and files
are watched in the second half, in which only trainers end and start again. The data folder is a file system of its own where a user may
mount one (root); else the disk does not fill up, and the row says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import psutil
from playwright.sync_api import Error, sync_playwright

from benchmarks.report import Row, run
from collectors.store.engines import open_store
from tests.conftest import CHROMIUM, QUIET, ROOT, Dashboard, wait_for

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
DISK_MB = 600
FULL_S, LOOK_S, BETWEEN_S = min(60.0, 4 * MINUTES), 5.0, (10.0, 40.0)
KILLS_UNTIL, GROWTH_FROM = 0.4, 0.5  # shares of the time
GROWTH_MB = 0.5  # a minute
FIRST = 1_000_000  # of the values of one start
SERIES = "count"
PAGES = ("/", "/training", "/logs")
TRAINER = """
import random, sys, time
from deepseek.log import RunLog
first = int(sys.argv[2])
with RunLog(sys.argv[1], run="trained", config={"first": first}) as log:
    for step in range(10**9):
        time.sleep(0.1)
        log.scalars(step, {"count": first + step, "train/loss": random.random(), "phase/data_s": 0.02})
        if step % 10 == 0:
            log.text(f"step {step} of {first}")
"""
PLAIN = """
import json, sys, time
first = int(sys.argv[2])
with open(sys.argv[1] + "/plain.jsonl", "a") as file:
    for step in range(10**9):
        time.sleep(0.05)
        file.write(json.dumps({"time_s": time.time(), "step": step, "count": first + step}) + chr(10))
        file.flush()
"""


class Held(NamedTuple):
    """By the web process, the collector and the sampler together, at one time."""

    minute: float
    memory_mb: float  # that only they have
    descriptors: int
    threads: int


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, ExitStack() as ends:
        log_dir, data_dir = Path(folder) / "logs", Path(folder) / "data"
        log_dir.mkdir()
        data_dir.mkdir()
        disk = ends.enter_context(small_disk(data_dir))
        soak = Soak(log_dir, data_dir, disk)
        ends.callback(soak.close)
        held = soak.go_on(time.monotonic() + 60 * MINUTES)
        files = len([*data_dir.rglob("*")])
        soak.close()
        return [*soak.rows(), *growth(held), Row("files in the data folder at the end", files, "files", 100)]


class Soak:
    def __init__(self, log_dir: Path, data_dir: Path, disk: bool) -> None:
        self.log_dir, self.data_dir, self.disk = log_dir, data_dir, disk
        self.done: Counter[str] = Counter()
        self._starts = 0
        self._trainers: dict[str, subprocess.Popen[bytes]] = {}
        self._dashboard = self._start()
        for program in (TRAINER, PLAIN):
            self._train(program)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look_at_tabs, self._do_not_read)]
        for thread in self._threads:
            thread.start()

    def go_on(self, until_s: float) -> list[Held]:
        """What is held in the part in which nothing of the dashboard is killed."""
        begun_s, held = time.monotonic(), []
        length_s = until_s - begun_s
        next_s, filled = begun_s + 10, not self.disk
        while (now_s := time.monotonic()) < until_s:
            share = (now_s - begun_s) / length_s
            if now_s >= next_s:
                next_s = now_s + random.uniform(*BETWEEN_S)
                self._disturb(share)
            if share > KILLS_UNTIL and not filled:
                filled = True
                self._fill()
            if share > GROWTH_FROM:
                held.append(self._held((now_s - begun_s) / 60))
            time.sleep(LOOK_S)
        return held

    def rows(self) -> list[Row]:
        """Once all has ended: the values of the files against those of the store."""
        store = open_store(self.data_dir, write=False)
        rows = []
        for name in ("trained", "plain"):
            ids = [series.id for series in store.series(name) if series.name == SERIES]
            found = Counter(float(value) for points in store.points(ids, None, None).values() for value in points.value)
            written = Counter(self._written(name))
            rows += [
                Row(
                    f"points of {name} that are missing",
                    (written - found).total(),
                    "points",
                    0,
                    spread=f"of {written.total():,}",
                ),
                Row(f"points of {name} that are there twice", (found - written).total(), "points", 0),
            ]
        store.close()
        return [*rows, Row("what went wrong meanwhile", self.done.total(), "times", spread=str(dict(self.done)))]

    def close(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        for trainer in self._trainers.values():
            trainer.kill()
            trainer.wait()
        wait_for(self._all_read, 60, "the collector does not come to the end of the files")
        for thread in self._threads:
            thread.join(20)
        self._dashboard.close()

    def _all_read(self) -> bool:
        return all(
            self._dashboard.run(name).get("last_step") == int(self._written(name)[-1]) % FIRST
            for name in ("trained", "plain")
        )

    def _start(self) -> Dashboard:
        found = Dashboard(self.log_dir, "--data-dir", str(self.data_dir))
        wait_for(lambda: found.get("/healthz")["collectors"], 60, "the collector does not write")
        return found

    def _train(self, program: str) -> None:
        self._starts += 1
        command = [sys.executable, "-c", program, str(self.log_dir), str(self._starts * FIRST)]
        self._trainers[program] = subprocess.Popen(command, cwd=ROOT)

    def _disturb(self, share: float) -> None:
        whats = ["trainer", "plain writer"]
        if share < KILLS_UNTIL:
            whats += ["collector", "web process"]
        what = random.choice(whats)
        self.done[f"{what} killed"] += 1
        if what == "collector":
            os.kill(self._collector(), signal.SIGKILL)
        elif what == "web process":
            self._dashboard.process.kill()
            with suppress(AssertionError):
                self._dashboard.close()
            self._dashboard = self._start()
        else:
            program = TRAINER if what == "trainer" else PLAIN
            self._trainers[program].kill()
            self._trainers[program].wait()
            self._train(program)

    def _collector(self) -> int:
        return int(json.loads((self.data_dir / "writer.lock").read_text())["pid"])

    def _fill(self) -> None:
        self.done["disk filled up"] += 1
        ballast = self.data_dir / "ballast"
        with suppress(OSError), ballast.open("wb", 0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(FULL_S)
        ballast.unlink()

    def _held(self, minute: float) -> Held:
        web = psutil.Process(self._dashboard.process.pid)
        ours = [web, *(child for child in web.children(recursive=True))]
        memory = descriptors = threads = 0
        for process in ours:
            with suppress(psutil.Error):
                memory += process.memory_full_info().uss
                descriptors += process.num_fds()
                threads += process.num_threads()
        return Held(minute, memory / 1e6, descriptors, threads)

    def _written(self, run: str) -> list[float]:
        """The values of all complete lines in the run's files."""
        values = []
        for path in sorted([*self.log_dir.glob(f"{run}/**/*.jsonl"), *self.log_dir.glob(f"{run}.jsonl")]):
            for line in path.read_bytes().split(b"\n")[:-1]:
                with suppress(ValueError, TypeError, KeyError):
                    values.append(float(json.loads(line)[SERIES]))
        return values

    def _look_at_tabs(self) -> None:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
            pages = [browser.new_page(viewport={"width": 1440, "height": 900}) for _ in PAGES]
            shown = ""
            while not self._ended.is_set():
                if shown != self._dashboard.address:
                    shown = self._dashboard.address
                    with suppress(Error):
                        for page, path in zip(pages, PAGES, strict=True):
                            page.goto(f"{shown}{path}")
                self._ended.wait(2)
            browser.close()

    def _do_not_read(self) -> None:
        """Sockets that ask for everything and read nothing, one after the other."""
        asyncio.run(self._open_and_wait())

    async def _open_and_wait(self) -> None:
        wanted = json.dumps({"subscribe": [{"run": "trained", "series": ["*"]}], "cursor": 0}).encode()
        while not self._ended.is_set():
            with suppress(OSError, asyncio.IncompleteReadError):
                place = urlsplit(self._dashboard.address)
                reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 12)
                head = f"GET /api/v1/live HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                writer.write(
                    f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                )
                await reader.readuntil(b"\r\n\r\n")
                mask = os.urandom(4)
                masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(wanted))
                writer.write(bytes([0x81, 0x80 | len(wanted)]) + mask + masked)
                for _ in range(30):
                    if self._ended.is_set():
                        break
                    await asyncio.sleep(1)
                writer.close()


def growth(held: list[Held]) -> list[Row]:
    """By a line through the second half; descriptors and threads by the medians of its first and last fifth."""
    minutes = np.array([each.minute for each in held])
    memory = np.array([each.memory_mb for each in held])
    slope = float(np.polyfit(minutes, memory, 1)[0])
    rows = [
        Row(
            "memory, growth in the second half",
            slope,
            "MB a minute",
            GROWTH_MB,
            spread=f"{memory[0]:.0f} to {memory[-1]:.0f} MB",
        )
    ]
    for name in ("descriptors", "threads"):
        numbers = np.array([getattr(each, name) for each in held])
        part = max(1, len(numbers) // 5)
        before, after = float(np.median(numbers[:part])), float(np.median(numbers[-part:]))
        rows.append(
            Row(f"{name}, growth in the second half", after - before, name, 2, spread=f"{before:.0f} to {after:.0f}")
        )
    return rows


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A file system of its own, where that can be had."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(place)]
    mounted = os.getuid() == 0 and subprocess.run(command, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", place], check=False)


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
