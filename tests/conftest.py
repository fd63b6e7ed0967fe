"""Starts the real thing: the dashboard as a process of its own, scripts that log, a real Chromium."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlparse

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, BrowserContext, Error, FloatRect, Locator, Page, Route, expect, sync_playwright

from collectors.store.engines import open_store
from collectors.store.store import Store
from tests import longest_first
from tests.support import leash
from tests.support.following import Follower
from tests.support.running import ROOT, pauses, script, wait_for

if TYPE_CHECKING:
    from tests.poisons.house import Houses

TESTS = ROOT / "tests"
CHROMIUM = "/usr/bin/chromium"
SHELL = (
    shutil.which("chromium-headless-shell") or CHROMIUM
)  # the same engine without the rest of a browser: half the CPU
QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
ONE_RENDERER = "--renderer-process-limit=1"  # of a profile, whose pages find compiled what the ones before them ran: a third of a load
__all__ = ["ROOT", "script", "wait_for"]
OF_TIME = (
    "test_blame.",
    "test_bounds",
    "test_end_to_end",
    "test_isolation",
    "test_live_clients",
    "test_overhead",
    "test_own_files",
    "test_thousands_of_runs",
    "test_viewer_canaries",
)
KINDS = (
    "pages",
    "jobs",
    "trainer",
    "timed",
)  # markers; what needs no browser has that of its folder, or the last one by its name
OF_BROWSER = re.compile(r"\b(Page|Ask|Browser|BrowserContext)\b")  # types of fixtures
START_S = 60.0
ASSETS_ORIGIN = "http://assets.test"
Ask: TypeAlias = Callable[[str], Any]


def pytest_configure() -> None:
    """What a shell ignores in the background would be ignored by all programs that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Else each worker compiles all files of tests, and each program that a test starts hundreds of modules: half of its start.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # threads of torch that wait for each other spin: beside other tests that takes times as long
    # A machine that does other work, too, is no fault of an example. Each run tries the same examples, so that a change answers for what
    # it changed; others, twice as many, are tried by `make test-long`.
    settings.register_profile("patient", deadline=None, derandomize=True, max_examples=50)
    settings.register_profile("exploring", deadline=None)
    settings.load_profile("exploring" if os.environ.get("EXPLORE") else "patient")
    os.environ["DEEPSEEK_JOBS_DIR"] = "/nowhere/deepseek-jobs"  # no test meets the queue of the user who runs it
    leash.fasten()
    expect.set_options(timeout=30_000)  # as long as `wait_for` at most: five seconds are short beside other tests


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file is not even imported where `-m` chooses none of its tests: all of them take 18 s, in each worker."""
    if collection_path.suffix != ".py" or not config.option.markexpr:
        return None
    kinds = [kind_of(collection_path), *(["pages"] if OF_BROWSER.search(collection_path.read_text()) else [])]
    return None if any(may_choose(config.option.markexpr, kind) for kind in kinds) else True


def may_choose(expression: str, kind: str) -> bool:
    """Whether `-m expression` chooses a test with this marker of ours and any others."""
    others = {*re.findall(r"\w+", expression)} - {"and", "or", "not", *KINDS}
    known = {name: name == kind for name in KINDS}
    return any(eval(expression, {}, known | dict.fromkeys(others, value)) for value in (True, False))


def kind_of(path: Path) -> str:
    """The marker of a file's tests that need no browser; "" for none."""
    if path.name.startswith(OF_TIME):
        return "timed"
    return path.parent.name if path.parent in (TESTS / "jobs", TESTS / "trainer") else ""


@pytest.hookimpl(tryfirst=True)  # before what `-m` chooses is chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if kind := "pages" if "browser" in getattr(item, "fixturenames", ()) else kind_of(item.path):
            item.add_marker(kind)
    longest_first.in_order(items, longest_first.read())


def pytest_collection_finish() -> None:
    """Thousands of tests and torch are no garbage: to look at them again and again took a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    follower = Follower(tmp_path)
    yield follower
    follower.tail.close()


def python_of(checkout: Path) -> Path:
    """The interpreter whose `deepseek` is that checkout's, if it has an environment of its own."""
    own = checkout / ".venv/bin/python"
    return own if checkout != ROOT and own.exists() else Path(sys.executable)


class Dashboard:
    """`app.py` in a process of its own, on a free port."""

    def __init__(self, log_dir: Path, *flags: str, checkout: Path = ROOT) -> None:
        self.log_dir = log_dir
        command = [str(python_of(checkout)), "-W", "error::DeprecationWarning:__main__", str(checkout / "app.py")]
        command += ["--port", "0", "--log-dir", str(log_dir), *flags]
        self.errors = log_dir.parent / f"{log_dir.name}.stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=log_dir.parent
            )
        assert self.process.stdout is not None
        self.announcement = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.announcement)
        assert found, f"no address in {self.announcement!r}; {self.errors.read_text()}"
        self.address = found[0]

    def get(self, path: str) -> Any:
        """The JSON of an answer, also of an error."""
        try:
            with urllib.request.urlopen(self.address + path) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def post(self, path: str, body: object) -> Any:
        """The JSON of an answer to a change by the API, `path` below `/api/v1/`, also of an error."""
        request = urllib.request.Request(
            f"{self.address}/api/v1/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def collector_pid(self) -> int | None:
        """None while there is none that answers."""
        health = self.get("/healthz")
        lock = self.log_dir / ".deepseek" / "writer.lock"
        return json.loads(lock.read_text())["pid"] if health["collectors"] else None

    def run(self, name: str) -> dict[str, Any]:
        """The run's row in /runs; {} while there is none."""
        answer = self.get("/api/v1/runs")
        assert "runs" in answer, answer
        return next((run for run in answer["runs"] if run["run"] == name), {})

    def values(self, run: str, series: str) -> list[float]:
        """All values of a series, each its own bucket."""
        answer = self.get(f"/api/v1/curves?run={run}&expr={series}&buckets=20000")
        return [value for one in answer.get("curves", []) for value in one["last"]]

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it, which takes one to three seconds at rest."""
        self.process.send_signal(number)
        self.process.wait(30)

    def close(self) -> None:
        """A web process that does not end by itself is a failure, but not one that outlives its test."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextmanager
def dashboard(log_dir: Path, *flags: str, checkout: Path = ROOT) -> Iterator[Dashboard]:
    log_dir.mkdir(exist_ok=True)
    running = Dashboard(log_dir, *flags, checkout=checkout)
    try:
        wait_for(running.collector_pid, START_S, "the collector does not write")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=SHELL, args=[*QUIET.split(), ONE_RENDERER, *sandbox])
        pauses.append(pause_of(browser.new_page()))
        yield browser
        pauses.pop()
        browser.close()


def pause_of(page: Page) -> Callable[[float], None]:
    """A pause in which the events of all pages are handled: while a test sleeps, `page.url` and what handlers collect stay as they were."""

    def pause(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            with suppress(Error):  # the renderer may have crashed
                page.wait_for_timeout(1000 * seconds)
                return
        time.sleep(seconds)

    return pause


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """The pages of a module share a cache, as a user's do; what pages remember goes with each test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.new_page()  # its renderer lives as long as it does, and is that of all others
    yield context
    context.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store of this test's, that is written to."""
    store = open_store(tmp_path / "data", write=True)
    yield store
    store.close()


@pytest.fixture
def page(profile: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Any error in the browser's console fails the test, unless it contains a text of the test module's EXPECTED_ERRORS."""
    page = profile.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(error.stack or str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(f"{message.text} {message.location['url']}") if message.type == "error" else None
        ),
    )
    yield page
    found = [*problems]  # what comes from now on is of a dashboard that has ended
    _forget_all(page)
    page.close()
    expected = getattr(request.module, "EXPECTED_ERRORS", ())
    if "ERR_CONNECTION_REFUSED" in expected:  # Dash says it in its own words
        expected = (*expected, "Callback failed: the server did not respond")
    assert [problem for problem in found if not any(text in problem for text in expected)] == []


def _forget_all(page: Page) -> None:
    """What the page's origin keeps in the browser, but its cache."""
    profile = page.context
    profile.clear_cookies()
    profile.clear_permissions()
    origin = re.match(r"https?://[^/]+", page.url)
    if origin:
        with suppress(Error):  # the page may have crashed, or been closed by its test
            session = profile.new_cdp_session(page)
            session.send("Storage.clearDataForOrigin", {"origin": origin[0], "storageTypes": "local_storage,indexeddb"})


@pytest.fixture(scope="module")
def houses() -> Iterator[Houses]:
    """Of dashboards with a healthy run, one after the other."""
    from tests.poisons.house import Houses

    houses = Houses()
    yield houses
    houses.leave()


@pytest.fixture(scope="module")
def ask(browser: Browser) -> Iterator[Ask]:
    """Runs a function body that may `await load("module.js")`, and returns what it returns."""
    page = browser.new_page()
    page.route(f"{ASSETS_ORIGIN}/**", _serve_asset)
    page.goto(f"{ASSETS_ORIGIN}/")
    yield lambda body: page.evaluate(f"async () => {{ const load = (name) => import('/' + name); {body} }}")
    page.close()


def _serve_asset(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ASSETS_ORIGIN}/")
    if name:
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        route.fulfill(path=ROOT / "assets" / name, content_type=kind)
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


def standing(page: Page, selector: str) -> FloatRect:
    """Where that stands, once it moves no longer."""

    def still() -> FloatRect | None:
        before = page.locator(selector).bounding_box()
        page.wait_for_timeout(150)
        return before if before == page.locator(selector).bounding_box() else None

    found = wait_for(still, because=f"{selector} moves")
    assert found is not None
    return found


def address(page: Page) -> dict[str, str]:
    """What its address says now."""
    return {name: values[0] for name, values in parse_qs(urlparse(page.evaluate("() => location.href")).query).items()}


def answering(page: Page, requests: str, answer: Callable[[Route], object]) -> Callable[[], None]:
    """Such requests are answered so until what it returns is called: `page.unroute` loses what is sent in that moment, one of some hundred."""
    ends = False

    def end() -> None:
        nonlocal ends
        ends = True

    page.route(requests, lambda route: route.continue_() if ends else answer(route))
    return end


def drag(page: Page, lo: float, hi: float) -> None:
    """Over the lanes, from one share of their width to another, once they stand still."""
    surface = standing(page, ".surface")
    at = [surface["x"] + share * surface["width"] for share in (lo, hi)]
    page.mouse.move(at[0], surface["y"] + 20)
    page.mouse.down()
    page.mouse.move(at[1], surface["y"] + 22, steps=6)
    page.mouse.up()


def saved(page: Page, key: str) -> bytes:
    """What that key saves of the chart that has the focus."""
    with page.expect_download() as download:
        page.keyboard.press(key)
    return Path(download.value.path()).read_bytes()


def tools_work(page: Page, chart: Locator, *, grows: float = 2.0) -> list[str]:
    """Its keys save CSV, whose lines are returned, and PNG, and have it fill the window and go back to its place."""
    small = chart.bounding_box()
    chart.focus()
    table = saved(page, "e").decode().splitlines()
    assert len(table) > 1
    assert saved(page, "p").startswith(b"\x89PNG")
    page.keyboard.press("Enter")
    wait_for(lambda: (box := chart.bounding_box()) and small and box["height"] > grows * small["height"])
    page.keyboard.press("Escape")
    wait_for(lambda: chart.bounding_box() == small, because="it does not go back to its place")
    return table


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """wandb's calls, with no run open."""
    for name in ("WANDB_MODE", "WANDB_NAME", "WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_RESUME", "DEEPSEEK_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    module = importlib.import_module("deepseek.log.adapters.wandb")
    yield module
    module.finish()
