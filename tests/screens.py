"""Pictures of every page, with real runs of the project's own trainer: dark and light, on a desktop and on a phone.

    make screens                                    # writes docs/screens/: a sweep of 12 runs and a running one, about six minutes
    python -m tests.screens --png FOLDER [PAGE...]  # of some pages, as PNG

The GPUs are simulated, as in the tests of the GPUs page (tests/fake_nvml), and the queue of jobs is that of its tests (tests/support/jobs_scene.py); everything else is measured.
"""

from __future__ import annotations

import argparse
import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from dashboard.pages import pages
from jobs.state_folder import VARIABLE
from tests import fake_nvml
from tests.conftest import CHROMIUM, QUIET, ROOT, dashboard, wait_for
from tests.support.jobs_scene import JobsScene, an_afternoon, answering
from trainer import sweep

SCREENS = ROOT / "docs" / "screens"
MAX_BYTES, MAX_BYTES_IN_ALL = 100_000, 4_000_000
QUALITY = 70  # of WebP
LIVE = "gpt-live"
LIVE_STEPS = 400  # that are there before the first picture
WARM_S = 60.0  # after the start, which costs more than what follows, and until there is something on the axis
SETTLED_S = 2.5  # after a page is loaded: the last curves are drawn


class Device(NamedTuple):
    name: str
    width: int
    height: int


DEVICES = (Device("desktop", 1440, 900), Device("phone", 390, 844))
THEMES = ("dark", "light")


def main() -> int:
    parser = argparse.ArgumentParser(description="Pictures of every page.")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write PNG there instead of WebP to docs/screens")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="with the runs of an earlier sweep in it")
    parser.add_argument("pages", nargs="*", help="names of pages (default: all)")
    options = parser.parse_args()
    folder = options.png or SCREENS
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, ExitStack() as started:
        log_dir = options.logs or Path(home) / "logs"
        if not (log_dir / "sweep").exists():
            sweep.main(["--log-dir", str(log_dir)])
        trainer = started.enter_context(training(log_dir))
        os.environ.update(fake_nvml.environment(Path(home), fake_nvml.eight_gpus(trainer.pid)))
        scene = JobsScene(Path(home) / "queue", log_dir.resolve())
        an_afternoon(scene, time.time())
        started.enter_context(answering(scene))
        os.environ[VARIABLE] = str(scene.folder)
        served = started.enter_context(dashboard(log_dir))
        wait_for(lambda: last_step(served.get("/api/v1/runs"), LIVE) > LIVE_STEPS, 300)
        time.sleep(WARM_S)
        sizes = dict(pictures(served.address, folder, options.png is not None, options.pages))
    for name, size in sizes.items():
        print(f"{size:>8,} {name}")
    too_large = [name for name, size in sizes.items() if size > MAX_BYTES]
    if not options.png and (too_large or sum(sizes.values()) > MAX_BYTES_IN_ALL):
        print(f"{sum(sizes.values()):,} bytes in all; too large: {', '.join(too_large)}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def training(log_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    again = ["--resume"] if (log_dir / LIVE / "checkpoint.pt").exists() else []
    command = ["python", "-m", "trainer", "--log-dir", str(log_dir), "--run", LIVE, *again]
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]
    )  # the command is shown on the GPUs page
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def last_step(answer: dict[str, Any], run: str) -> int:
    return next((row["last_step"] or 0 for row in answer["runs"] if row["run"] == run), 0)


def pictures(address: str, folder: Path, png: bool, chosen: list[str]) -> Iterator[tuple[str, int]]:
    """Write them; names with their sizes in bytes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET.split(), "--no-sandbox"])
        for shown in pages():
            if chosen and shown.name.lower() not in [name.lower() for name in chosen]:
                continue
            for device in DEVICES:
                for theme in THEMES:
                    path = folder / f"{shown.name.lower()}-{theme}-{device.name}.{'png' if png else 'webp'}"
                    path.write_bytes(picture(browser, f"{address}{shown.path}?{query(shown.path, theme)}", device, png))
                    yield path.name, path.stat().st_size
        browser.close()


def query(path: str, theme: str) -> str:
    """What the page is asked to show."""
    runs = [name for name, _ in sweep.trainings()]
    several = path in ("/training",)
    return urlencode({"theme": theme, **({"runs": runs} if several else {"run": LIVE})}, doseq=True)


def picture(browser: Browser, url: str, device: Device, png: bool) -> bytes:
    page = browser.new_page(viewport={"width": device.width, "height": device.height})
    try:
        page.goto(url)
        page.wait_for_load_state("load")
        time.sleep(SETTLED_S)
        return page.screenshot() if png else webp(page)
    finally:
        page.close()


def webp(page: Page) -> bytes:
    answer = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(answer["data"])


if __name__ == "__main__":
    sys.exit(main())
