"""What the dashboard itself costs with eight described GPUs, one run at 10 steps a second and one tab, in a real browser.

Without the profiler: what that costs is measured by benchmarks.sampler.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from benchmarks.report import Row, run
from tests import fake_nvml
from tests.conftest import CHROMIUM, QUIET, ROOT, Dashboard, dashboard

SETTLE_S, MEASURED_S = 10.0, float(os.environ.get("OWN_COST_S", "60"))
TRAINING = """
import random, sys, time
from trainer.run_log import RunLog
with RunLog(sys.argv[1], "run", config={"lr": 1e-3}) as log:
    for step in range(10**9):
        time.sleep(0.1)
        loss = 3 / (1 + step / 50) + random.random() / 10
        phases = {f"phase/{name}_s": 0.02 for name in ("data", "forward", "backward", "optimizer")}
        log.scalars(step, {"train/loss": loss, "train/grad_norm": loss / 2, "train/lr": 1e-3, **phases})
        if step % 20 == 0:
            log.text(f"step {step} | loss {loss:.4f}")
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= fake_nvml.environment(Path(folder), fake_nvml.eight_gpus(os.getpid()))
        with dashboard(Path(folder) / "logs", "--no-profile") as running, sync_playwright() as playwright:
            training = subprocess.Popen([sys.executable, "-c", TRAINING, str(running.log_dir)])
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
            browser.new_page(viewport={"width": 1440, "height": 900}).goto(running.address)
            time.sleep(SETTLE_S)
            rows = rows_of(running)
            browser.close()
            training.kill()
            training.wait()
    return rows


def rows_of(running: Dashboard) -> list[Row]:
    collector = running.collector_pid()
    assert collector
    processes = {"web": psutil.Process(running.process.pid), "collector": psutil.Process(collector)}
    before = {name: cpu_s(process) for name, process in processes.items()}
    time.sleep(MEASURED_S)
    share_pct = {name: 100 * (cpu_s(process) - before[name]) / MEASURED_S for name, process in processes.items()}
    rss_mb = {name: process.memory_info().rss / 1e6 for name, process in processes.items()}
    load = f"load {os.getloadavg()[0]:.1f}"
    return [
        Row("`--help`", help_s(), "s", 0.3),
        Row("CPU of web and collector", sum(share_pct.values()), "% of a core", 5.0, spread=parts(share_pct, load)),
        Row("memory of web and collector", sum(rss_mb.values()), "MB", 300.0, spread=parts(rss_mb)),
    ]


def help_s() -> float:
    """The fastest of five: what it imports, without what else the machine does."""
    times = []
    for _ in range(5):
        begun_s = time.perf_counter()
        subprocess.run([sys.executable, ROOT / "app.py", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begun_s)
    return min(times)


def cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def parts(values: dict[str, float], *more: str) -> str:
    return ", ".join([*(f"{name} {value:.1f}" for name, value in values.items()), *more])


if __name__ == "__main__":
    sys.exit(run(measure, (__doc__ or "").splitlines()[0]))
