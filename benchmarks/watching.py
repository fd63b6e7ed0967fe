"""What it costs to watch 10,000 runs that are over, and how soon a line that is written is read.

`BEFORE=CHECKOUT` measures another checkout in the same run; its figures are the baseline.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = int(os.environ.get("WATCHED_RUNS", "10000"))
PHASE_S = float(os.environ.get("WATCHED_S", "20"))
BEFORE = os.environ.get("BEFORE")
COALESCE_S = 0.02  # as the supervisor waits for more
MAX_WAIT_S = 30.0  # for all lines whose latency is measured
LIVE, LINES_A_S, COMMITS_A_S = 20, 10, 10
ROOT = Path(__file__).parent.parent
OVER_S = time.time() - 86_400


def measure() -> list[Any]:
    from benchmarks.report import Row

    with tempfile.TemporaryDirectory(prefix="watching-") as place:
        logs = Path(place) / "logs"
        for number in range(RUNS):
            make_run(logs / "sweep" / f"{number:05}")
        before = figures_of(Path(BEFORE).resolve(), logs) if BEFORE else {}
        after = figures_of(ROOT, logs)
    budgets = {f"CPU, {RUNS:,} runs at rest": 1.0}
    return [
        Row(name, value, unit, budgets.get(name), baseline=before.get(name, (None,))[0])
        for name, (value, unit) in after.items()
    ]


def figures_of(checkout: Path, logs: Path) -> dict[str, tuple[float, str]]:
    answer = subprocess.run([sys.executable, __file__, str(checkout), str(logs)], check=True, stdout=subprocess.PIPE)
    return {name: (value, unit) for name, (value, unit) in json.loads(answer.stdout).items()}


def make_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    texts = {
        "run.json": '{"config": {"lr": 0.1}}',
        "metrics.jsonl": '{"step": 1, "loss": 2.0}\n',
        "train.log": "a line\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (OVER_S, OVER_S))


class Turns:
    """A watch that is asked as the tail asks it, in this process."""

    def __init__(self, logs: Path) -> None:
        from collectors.logs.tail import is_followed
        from collectors.logs.watch import FolderWatch

        self.logs, self.wake = logs, threading.Event()
        self.watch = FolderWatch(logs, is_followed, self.wake)

    def turn(self) -> set[Path]:
        self.wake.clear()
        found: set[Any] = set(self.watch.take())
        if not found and self.watch.is_complete and self.wake.wait(1.0):
            time.sleep(COALESCE_S)
        return {getattr(file, "path", file) for file in found}  # an earlier one handed out the paths

    def cpu_pct(self, meanwhile: Callable[[threading.Event], object] | None = None) -> float:
        """Of a core, for the turns of one phase, while another process does something."""
        stop = threading.Event()
        began_s, cpu_s = time.monotonic(), time.process_time()
        child = os.fork() if meanwhile else 0
        if meanwhile and not child:
            meanwhile(stop)
            os._exit(0)
        while time.monotonic() - began_s < PHASE_S:
            self.turn()
        used_pct = 100 * (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        if child:
            os.waitpid(child, 0)
        return used_pct

    def latencies_ms(self) -> list[float]:
        """From a line to the end of the turn that has found its file, of runs that are over; what is not found in time counts as found then."""
        found, dice, until_s = list[float](), random.Random(1), time.monotonic() + MAX_WAIT_S
        while len(found) < 100 and time.monotonic() < until_s:
            path = self.logs / "sweep" / f"{dice.randrange(RUNS):05}" / "metrics.jsonl"
            began_s = time.monotonic()
            with path.open("a") as file:
                file.write('{"step": 2, "loss": 1.0}\n')
            while path not in self.turn() and time.monotonic() < until_s:
                pass
            found.append(1e3 * (time.monotonic() - began_s))
        return sorted(found)


def write_lines(logs: Path) -> None:
    files = [(logs / "sweep" / f"{number:05}" / "metrics.jsonl").open("a", buffering=1) for number in range(LIVE)]
    until_s, step = time.monotonic() + PHASE_S, 10_000
    while time.monotonic() < until_s:
        step += 1
        for file in files:
            file.write(json.dumps({"step": step, "loss": 0.5}) + "\n")
        time.sleep(1 / LINES_A_S)


def commit(logs: Path) -> None:
    """A store in the log folder."""
    (logs / ".deepseek").mkdir(exist_ok=True)
    db = sqlite3.connect(logs / ".deepseek" / "runs.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = wal")
    db.execute("CREATE TABLE IF NOT EXISTS points(value)")
    until_s = time.monotonic() + PHASE_S
    while time.monotonic() < until_s:
        db.execute("BEGIN")
        db.executemany("INSERT INTO points VALUES (?)", [(os.urandom(2000),)] * 20)
        db.execute("COMMIT")
        time.sleep(1 / COMMITS_A_S)


def figures(logs: Path) -> dict[str, tuple[float, str]]:
    began_s, cpu_s = time.monotonic(), time.process_time()
    turns = Turns(logs)
    while not turns.watch.is_complete:
        turns.turn()
    found: dict[str, tuple[float, str]] = {
        f"{RUNS:,} runs found": (time.monotonic() - began_s, "s"),
        "... CPU": (time.process_time() - cpu_s, "s"),
    }
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        turns.turn()
    found[f"CPU, {RUNS:,} runs at rest"] = turns.cpu_pct(), "% of a core"
    found["threads"] = threading.active_count(), ""
    found["memory"] = rss_mb(), "MB"
    found[f"CPU, and {COMMITS_A_S} commits/s of a store in the log folder"] = (
        turns.cpu_pct(lambda _: commit(logs)),
        "% of a core",
    )
    found[f"CPU, and {LIVE} runs that write {LINES_A_S} lines/s"] = (
        turns.cpu_pct(lambda _: write_lines(logs)),
        "% of a core",
    )
    found_ms = turns.latencies_ms()
    found["from a line of a run that was over until its file is found, p50"] = found_ms[len(found_ms) // 2], "ms"
    found["... p90"] = found_ms[len(found_ms) * 9 // 10], "ms"
    found["... longest"] = found_ms[-1], "ms"
    turns.watch.close()
    return found


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):  # the other process of `figures_of`
        sys.path[0] = sys.argv[1]
        print(json.dumps(figures(Path(sys.argv[2]))))
    else:
        from benchmarks.report import run

        sys.exit(run(measure, __doc__.splitlines()[0]))
