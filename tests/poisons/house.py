"""A dashboard with a healthy run that is written live, and a watch over it that never looks away."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.conftest import ROOT, START_S, Dashboard, dashboard, wait_for
from tests.poisons import HEALTHY, Poison, Scene

LATE, SLOW = "a point arrived after ", "/runs took "
ANSWER_S = 1.0  # within which /runs answers
NAMED_S, WELL_S, PROFILED_S, ARRIVES_S, HASTY_S = 30.0, 30.0, 30.0, 30.0, 2.0
ASK_EVERY_S = 0.3
SERIES = "train/loss"


class Worst(NamedTuple):
    """Since the watch was begun anew."""

    late_s: float
    answer_s: float
    pss_mb: float
    errors: tuple[str, ...]  # answers that should not be


class Watch:
    """Listens to the healthy run on the live socket, as a page does, and asks for /runs and for memory over and over."""

    def __init__(self, running: Dashboard) -> None:
        self._running = running
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._cursor = running.get(f"/api/v1/curves?run={HEALTHY}&expr={SERIES}&buckets=1")["cursor"]
        self.newest_s = self.profiled_s = 0.0  # Unix seconds: of the newest point that arrived, of the profile's end
        self._begun_s = time.time()
        self._worst = Worst(0, 0, 0, ())
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._ask)]
        for thread in self._threads:
            thread.start()

    def begin(self) -> None:
        with self._lock:
            self._begun_s, self._worst = time.time(), Worst(0, 0, 0, ())

    def worst(self) -> Worst:
        with self._lock:
            pending_s = time.time() - max(self.newest_s, self._begun_s)
            return self._worst._replace(late_s=max(self._worst.late_s, pending_s))

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(20)

    def _listen(self) -> None:
        subscription = [{"run": HEALTHY, "series": ["train/*"]}]
        while not self._ending.is_set():
            try:
                with connect(self._running.address.replace("http", "ws") + "/api/v1/live", max_size=None) as socket:
                    socket.send(json.dumps({"subscribe": subscription, "cursor": self._cursor}))
                    while not self._ending.is_set():
                        with contextlib.suppress(TimeoutError):
                            self._hear(json.loads(socket.recv(0.5)))
            except (OSError, WebSocketException) as error:
                self._note(errors=f"live socket: {type(error).__name__} {error}")
                self._ending.wait(0.2)

    def _hear(self, message: dict[str, Any]) -> None:
        now_s = time.time()
        self._cursor = message.get("cursor", self._cursor)
        self.profiled_s = max(self.profiled_s, message.get("profile", {}).get("until", {}).get(HEALTHY, 0.0))
        for series in message.get("series", []):
            if series["run"] == HEALTHY and series["name"] == SERIES:
                times = [time_s for time_s in series["t"] if time_s > self._begun_s]
                self._note(late_s=max((now_s - time_s for time_s in times), default=0.0))
                self.newest_s = max([self.newest_s, *times])

    def _ask(self) -> None:
        while not self._ending.wait(ASK_EVERY_S):
            asked = time.monotonic()
            try:
                with urllib.request.urlopen(self._running.address + "/api/v1/runs", timeout=15) as answer:
                    answer.read()
            except urllib.error.HTTPError as error:
                self._note(errors=f"/runs: {error.code} {error.read()[:200]!r}")
            except OSError as error:
                self._note(errors=f"/runs: {error}")
            self._note(answer_s=time.monotonic() - asked, pss_mb=pss_mb(self._running.process.pid))

    def _note(self, *, late_s: float = 0, answer_s: float = 0, pss_mb: float = 0, errors: str = "") -> None:
        with self._lock:
            old = self._worst
            new = (*old.errors, errors) if errors and errors not in old.errors else old.errors
            self._worst = Worst(max(old.late_s, late_s), max(old.answer_s, answer_s), max(old.pss_mb, pss_mb), new)


def pss_mb(web_pid: int) -> float:
    """Of the web process and the collector that it keeps."""
    total = 0.0
    with contextlib.suppress(OSError, psutil.Error, StopIteration):  # one of them ended
        for pid in (web_pid, *(child.pid for child in psutil.Process(web_pid).children())):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3
    return total


class House:
    """A dashboard, a healthy run in its log folder, and the watch over it."""

    def __init__(self, running: Dashboard, healthy: subprocess.Popen[bytes], watch: Watch) -> None:
        self.running, self.healthy, self.watch = running, healthy, watch

    def suffer(self, poison: Poison) -> Outcome:
        """Places the poison, takes it away again, and tells all that was not as it should be."""
        found = Faults()
        self.watch.begin()
        begun = time.monotonic()
        try:
            self._bear(poison, found)
        except (AssertionError, OSError) as error:  # a 500, or a server that cannot be reached
            found.append(f"{type(error).__name__}: {error}")
        worst = self.watch.worst()
        found += self.harm(worst, poison.memory_mb, poison.late_s, ANSWER_S)
        return Outcome(poison.name, round(time.monotonic() - begun, 1), worst, found)

    def _bear(self, poison: Poison, found: Faults) -> None:
        still, gone = "the healthy run's profile stands still", "no point of the healthy run arrives after it"
        scene = Scene(self.running, self.healthy.pid, poison.name)
        with poison.place(scene):
            placed_s = time.time()
            found.unless(lambda: poison.says(scene), NAMED_S, lambda: f"nothing names it: {self.told()}")
            found.unless(lambda: self.watch.profiled_s > placed_s, PROFILED_S + poison.late_s, still)
            time.sleep(max(0.0, placed_s + poison.stays_s - time.time()))
        gone_s = time.time()
        found.unless(self.is_well, WELL_S, lambda: f"all is not well after it: {self.told()}")
        found.unless(lambda: self.watch.newest_s > gone_s, ARRIVES_S + poison.late_s, gone)

    def harm(self, worst: Worst, memory_mb: float, late_s: float = 15.0, answer_s: float = 15.0) -> list[str]:
        """What happened to the healthy run and the processes meanwhile; unless given, limits of time are ten times what it takes at rest."""
        found = list(worst.errors)
        found += [f"{LATE}{worst.late_s:.1f} s"] * (worst.late_s > late_s)
        found += [f"{SLOW}{worst.answer_s:.1f} s"] * (worst.answer_s > answer_s)
        found += [f"{worst.pss_mb:.0f} MB"] * (worst.pss_mb > memory_mb)
        found += [f"steps of the healthy run are missing: {lost[:5]}" for lost in [self.lost_steps()] if lost]
        return found

    def is_well(self) -> bool:
        return bool(self.running.get("/healthz")["status"] == "ok")

    def lost_steps(self) -> list[int]:
        """Of the healthy run, up to its newest stored one."""
        try:
            answer = self.running.get(f"/api/v1/curves?run={HEALTHY}&expr={SERIES}&buckets=20000&x=step")
        except OSError:  # said already
            return []
        steps = [int(step) for one in answer.get("curves", []) for step in one["step"]]
        return sorted(set(range(max(steps, default=0) + 1)) - set(steps))

    def told(self) -> str:
        try:
            health = self.running.get("/healthz")
        except OSError as error:
            return str(error)
        troubles = [f"{one['name']} {one['state']}: {one['last_error']}" for one in health.get("collectors", [])]
        return f"{health.get('status')}, {health.get('problems')}, {troubles}"


class Outcome(NamedTuple):
    """What a poison did."""

    poison: str
    took_s: float
    worst: Worst
    faults: list[str]

    @property
    def was_late_only(self) -> bool:
        return bool(self.faults) and all(fault.startswith((LATE, SLOW)) for fault in self.faults)

    def row(self) -> str:
        """Of the table that the report shows."""
        verdict = "; ".join(self.faults) or "held"
        late, answer, pss = self.worst.late_s, self.worst.answer_s, self.worst.pss_mb
        return f"| {self.poison} | {late:.2f} | {answer:.2f} | {pss:.0f} | {self.took_s:.1f} | {verdict.replace('|', '/')[:600]} |"


class Faults(list[str]):
    """What was not as it should be, in one sentence each."""

    def unless(self, holds: Callable[[], bool], within_s: float, fault: str | Callable[[], str]) -> None:
        """Waits until it holds. An answer that does not come is one that does not hold; after a first fault nothing is waited for long."""
        deadline = time.monotonic() + (min(within_s, HASTY_S) if self else within_s)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, KeyError):
                if holds():
                    return
            time.sleep(0.05)
        self.append(fault if isinstance(fault, str) else fault())


@contextmanager
def house(folder: Path, *flags: str) -> Iterator[House]:
    with dashboard(folder / "logs", *flags) as running:
        command = [sys.executable, str(ROOT / "tests" / "programs" / "healthy.py"), str(running.log_dir), HEALTHY]
        with subprocess.Popen(command) as healthy:
            try:
                wait_for(lambda: running.run(HEALTHY).get("points", 0) > 5, START_S, "the healthy run is not seen")
                watch = Watch(running)
                try:
                    wait_for(lambda: watch.profiled_s and watch.newest_s, START_S, "the healthy run is not profiled")
                    yield House(running, healthy, watch)
                finally:
                    watch.close()
            finally:
                healthy.kill()


class Houses:
    """One dashboard for successive poisons; a new one after a poison that did harm, or leaves much behind."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._living: House | None = None

    def living(self) -> House:
        if self._living is None:
            folder = Path(
                self._stack.enter_context(tempfile.TemporaryDirectory(prefix="isolation-", ignore_cleanup_errors=True))
            )
            self._living = self._stack.enter_context(house(folder))
        return self._living

    def leave(self) -> None:
        self._living = None
        self._stack.close()
