"""What the dashboard itself costs with eight described GPUs, one run at 10 steps a second and one tab, in a real browser, with what
runs without a page (findings, alerts) switched on and off.

Without the profiler: what that costs is measured by benchmarks.sampler.

python -m benchmarks.own_cost
OWN_COST_S=20 OWN_COST_CASES=all python -m benchmarks.own_cost             one of the four cases, for 20 seconds
OWN_COST_CHECKOUT=FOLDER python -m benchmarks.own_cost                     of another checkout
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Row, run
from tests import fake_nvml
from tests.conftest import CHROMIUM, QUIET, ROOT, Dashboard, dashboard, python_of

CHECKOUT = Path(os.environ.get("OWN_COST_CHECKOUT", ROOT))
SETTLE_S, MEASURED_S = 10.0, float(os.environ.get("OWN_COST_S", "60"))
TRAINING = """
import random, sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], "run", config={"lr": 1e-3}) as log:
    for step in range(10**9):
        time.sleep(0.1)
        loss = 3 / (1 + step / 50) + random.random() / 10
        phases = {f"phase/{name}_s": 0.02 for name in ("data", "forward", "backward", "optimizer")}
        log.scalars(step, {"train/loss": loss, "train/grad_norm": loss / 2, "train/lr": 1e-3, **phases})
        if step % 20 == 0:
            log.text(f"step {step} | loss {loss:.4f}")
"""


QUIET_RUNS = 50
MANY = """
import json, pathlib, sys, time
files = []
for number in range(int(sys.argv[2])):
    folder = pathlib.Path(sys.argv[1]) / f"quiet{number}"
    folder.mkdir(parents=True)
    files.append((folder / "metrics.jsonl").open("w"))
for step in range(10**9):
    for file in files:
        file.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1 / (1 + step)}) + chr(10))
        file.flush()
        time.sleep(0.1)
"""


class Spent(NamedTuple):
    """Seconds until it answered; percent of a core, and MB, by process."""

    started_s: float
    cpu_pct: dict[str, float]
    rss_mb: dict[str, float]

    @property
    def total_pct(self) -> float:
        return sum(self.cpu_pct.values())


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ |= fake_nvml.environment(Path(folder), fake_nvml.eight_gpus(os.getpid()))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        found = {name: spent(browser, Path(folder) / name.replace(" ", "_"), *CASES[name]) for name in chosen()}
        browser.close()
    load, all_on = f"load {os.getloadavg()[0]:.1f}", found["all"]
    rows = [
        Row("`--help`", help_s(), "s", 0.3),
        Row("command to its address", all_on.started_s, "s"),
        Row("CPU of web and collector", all_on.total_pct, "% of a core", 5.5, spread=parts(all_on.cpu_pct, load)),
        Row("memory of web and collector", sum(all_on.rss_mb.values()), "MB", 300.0, spread=parts(all_on.rss_mb)),
    ]
    if len(found) < len(CASES):
        return rows
    judged = found["quiet"].total_pct - found["quiet, not judged"].total_pct
    return [
        *rows,
        Row(
            "... without findings and alerts",
            found["not judged"].total_pct,
            "% of a core",
            spread=parts(found["not judged"].cpu_pct),
        ),
        Row(
            "findings and alerts",
            all_on.total_pct - found["not judged"].total_pct,
            "% of a core",
            1.0,
            spread="the difference of the two",
        ),
        Row(
            f"findings and alerts of {QUIET_RUNS} quiet runs",
            judged,
            "% of a core",
            3.0,
            spread=parts(found["quiet"].cpu_pct),
        ),
    ]


CASES: dict[str, tuple[str, list[str], list[str]]] = {  # the program that logs, its further arguments, and flags
    "all": (TRAINING, [], []),
    "not judged": (TRAINING, [], ["--no-findings"]),
    "quiet": (MANY, [str(QUIET_RUNS)], []),
    "quiet, not judged": (MANY, [str(QUIET_RUNS)], ["--no-findings"]),
}


def chosen() -> list[str]:
    """The cases to run: all, or with OWN_COST_CASES=all only the first, which the others are compared with."""
    return ["all"] if os.environ.get("OWN_COST_CASES") == "all" else list(CASES)


def spent(browser: Browser, folder: Path, program: str, arguments: list[str], flags: list[str]) -> Spent:
    folder.mkdir()
    begun_s = time.perf_counter()
    with dashboard(folder / "logs", "--no-profile", *flags, checkout=CHECKOUT) as running:
        started_s = time.perf_counter() - begun_s
        training = subprocess.Popen([sys.executable, "-c", program, str(running.log_dir), *arguments])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(running.address)
        time.sleep(SETTLE_S)
        try:
            return spent_by(running, started_s)
        finally:
            page.close()
            training.kill()
            training.wait()


def spent_by(running: Dashboard, started_s: float = 0.0) -> Spent:
    collector = running.collector_pid()
    assert collector
    processes = {"web": psutil.Process(running.process.pid), "collector": psutil.Process(collector)}
    before = {name: cpu_s(process) for name, process in processes.items()}
    time.sleep(MEASURED_S)
    return Spent(
        started_s,
        {name: 100 * (cpu_s(process) - before[name]) / MEASURED_S for name, process in processes.items()},
        {name: process.memory_info().rss / 1e6 for name, process in processes.items()},
    )


def help_s() -> float:
    """The fastest of five: what it imports, without what else the machine does."""
    times = []
    for _ in range(5):
        begun_s = time.perf_counter()
        subprocess.run([python_of(CHECKOUT), CHECKOUT / "app.py", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begun_s)
    return min(times)


def cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def parts(values: dict[str, float], *more: str) -> str:
    return ", ".join([*(f"{name} {value:.1f}" for name, value in values.items()), *more])


if __name__ == "__main__":
    sys.exit(run(measure, (__doc__ or "").splitlines()[0]))
