"""All pages over a line of 80 ms round trip and 20 Mbit/s, as through ssh from elsewhere (`tests/support/slow_line.py`): from the address to the content.

python -m benchmarks.remote                                  of this checkout: about 3 minutes
REMOTE_CHECKOUT=FOLDER python -m benchmarks.remote           of another one, with the same browser
REMOTE_PAGES=Live,Runs REMOTE_LOADS=1 python -m benchmarks.remote

The first load has nothing in the browser's cache, the second one all that the first one may leave there; both open new connections. A chain is of
requests that wait for each other until the content is drawn, as `tests/support/request_chains.py` counts: never less than what is needed. The baseline is the
same without the line, in turn: on a busy machine it says what is the machine's.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, ROOT, dashboard, wait_for
from tests.support import long_run
from tests.support.request_chains import LANES, Asked, Requests, longest_chain, shown, watch
from tests.support.slow_line import SlowLine, slow_line

CHECKOUT = Path(os.environ.get("REMOTE_CHECKOUT", ROOT))
LOADS = int(os.environ.get("REMOTE_LOADS", "5"))
CHOSEN = os.environ.get("REMOTE_PAGES", "")
LISTS = bool(os.environ.get("REMOTE_LISTS"))  # prints each request
STORED_S, VIEW_S = 1200.0, 600.0
DRAGS = 10
FIRST_MS, SECOND_MS, SENTENCE_MS, CHAIN = 3000, 1000, 500, 3
OTHERS = 12  # runs beside the one with stacks


class Shown(NamedTuple):
    """A page, and when its content is drawn: an expression of the browser."""

    name: str
    path: str
    drawn: str


PAGES = (
    Shown("Live", "/", LANES),
    Shown("Flame", "/flame", "deepseekPainted?.flame.names.length > 3"),
    Shown("Hosts", "/hosts", LANES),
    Shown("Logs", "/logs", "document.querySelector('.log-rows .entry .m')"),
    Shown("Boards", "/boards", "Object.values(deepseekPainted?.curves ?? {}).some(({ stale }) => !stale)"),
    Shown(
        "Training", "/training", "deepseekPainted?.curves['train/loss'] && !deepseekPainted.curves['train/loss'].stale"
    ),
    Shown("Runs", "/runs", "document.querySelector('#runs-grid .run-cell')"),
    Shown("Alerts", "/alerts", "document.querySelector('#alerts-rules .ag-row')"),
)
RELEASED = "() => document.addEventListener('pointerup', () => { globalThis.released = performance.now(); }, true)"
SAID = """() => new Promise((done, failed) => {
  const said = document.querySelector(".panel .said");
  const look = () => {
    if (said.textContent && !said.closest(".stale") && globalThis.blamed >= released) done(performance.now() - released);
    else if (performance.now() - released > 20000) failed(new Error("no sentence in 20 s"));
    else requestAnimationFrame(look);
  };
  look();
})"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        log_dir = Path(folder) / "logs"
        begun_s = write_runs(log_dir)
        with (
            dashboard(log_dir, "--no-profile", checkout=CHECKOUT) as running,
            slow_line(urlsplit(running.address).port or 0) as line,
        ):
            wait_for(lambda: running.run(long_run.RUN).get("last_step", 0) > 1000, 60, "the log is not read")
            time.sleep(3)  # the machine has samples, templates are counted
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
            chosen = [page for page in PAGES if not CHOSEN or page.name in CHOSEN.split(",")]
            rows = [row for page in chosen for row in rows_of(page, line, browser)]
            if not CHOSEN or "Drag" in CHOSEN.split(","):
                rows.append(drag_row(line, browser, begun_s))
            browser.close()
    return rows


class Load(NamedTuple):
    drawn_ms: float
    bytes: int
    requests: int
    chain: list[Asked]


def rows_of(shown_page: Shown, line: SlowLine, browser: Browser) -> Iterator[Row]:
    pairs: dict[int, list[list[Load]]] = {line.port: [], line.server_port: []}
    for number in range(LOADS + 1):
        for port, kept in pairs.items():
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            address = f"http://127.0.0.1:{port}{shown_page.path}?{urlencode({'run': long_run.RUN})}"
            loads = [load(context, address, shown_page, line) for _ in range(2)]
            context.close()
            if number or LOADS == 1:  # the first one warms the server
                kept.append(loads)
    first, second = ([pair[at] for pair in pairs[line.port]] for at in (0, 1))
    near_ms = [statistics.median(pair[at].drawn_ms for pair in pairs[line.server_port]) for at in (0, 1)]
    for what, loads, budget, baseline in (
        ("first load", first, FIRST_MS, near_ms[0]),
        ("second load", second, SECOND_MS, near_ms[1]),
    ):
        took_ms = [load.drawn_ms for load in loads]
        spread = f"{min(took_ms):.0f} to {max(took_ms):.0f} ms over {len(loads)}; {loads[-1].bytes / 1000:.0f} kB in {loads[-1].requests} requests"
        yield Row(
            f"{shown_page.name}: {what}", statistics.median(took_ms), "ms", budget, baseline=baseline, spread=spread
        )
    for what, loads in (("first load", first), ("second load", second)):
        longest = max((load.chain for load in loads), key=len)
        yield Row(
            f"{shown_page.name}: {what}, chain",
            statistics.median(len(load.chain) for load in loads),
            "requests",
            CHAIN,
            spread=shown(longest),
        )


def load(context: BrowserContext, address: str, shown_page: Shown, line: SlowLine) -> Load:
    page = context.new_page()
    watch(page, shown_page.drawn)
    requests = Requests(page)
    before = line.down.passed_bytes
    page.goto(address, wait_until="commit")
    drawn_ms = wait_for(lambda: page.evaluate("() => globalThis.drawn_ms"), 60, f"nothing is drawn at {address}")
    passed = line.down.passed_bytes - before
    seen = requests.seen(drawn_ms / 1000)
    page.wait_for_load_state("networkidle")
    page.evaluate("0")
    seen = requests.seen(drawn_ms / 1000)
    if LISTS:
        print_list(shown_page, seen, drawn_ms)
    page.goto("about:blank")
    page.close()
    return Load(drawn_ms, passed, len(seen), longest_chain(seen))


def print_list(shown_page: Shown, seen: list[Asked], drawn_ms: float) -> None:
    print(f"\n{shown_page.name}: drawn after {drawn_ms:.0f} ms, {shown(longest_chain(seen))}")
    for request in seen:
        at, answered = ((s - seen[0].at_s) * 1000 for s in (request.at_s, request.answered_s))
        print(
            f"{at:6.0f} {answered:6.0f} {request.size_bytes:8} {request.kind:10} {request.path[:110]:110} {request.by[-40:]}"
        )


def drag_row(line: SlowLine, browser: Browser, begun_s: float) -> Row:
    query = urlencode({"run": long_run.RUN, "span": round(VIEW_S), "at": f"{begun_s + STORED_S:.3f}"})
    pages = [browser.new_page(viewport={"width": 1440, "height": 900}) for _ in range(2)]
    for page, port in zip(pages, (line.port, line.server_port), strict=True):
        page.goto(f"http://127.0.0.1:{port}/?{query}")
        page.wait_for_selector(".surface")
        page.wait_for_load_state("networkidle")
        page.evaluate(RELEASED)
    noise = random.Random(7)
    drags = [[dragged(page, noise) for page in pages] for _ in range(DRAGS + 2)][2:]
    took_ms, near_ms = ([pair[at] for pair in drags] for at in (0, 1))
    for page in pages:
        page.close()
    return Row(
        "Live: drag to sentence",
        statistics.median(took_ms),
        "ms",
        SENTENCE_MS,
        baseline=statistics.median(near_ms),
        spread=f"{min(took_ms):.0f} to {max(took_ms):.0f} ms of {DRAGS}",
    )


def dragged(page: Page, noise: random.Random) -> float:
    """Milliseconds from the release of the pointer to the server's sentence, on the screen; over 10 to 60 s of ten minutes."""
    page.keyboard.press("Escape")
    page.wait_for_timeout(1000)
    surface: Any = page.locator(".surface").bounding_box()
    length = noise.uniform(1 / 60, 1 / 10)
    start = noise.uniform(0.01, 0.99 - length)
    x0, x1 = (surface["x"] + share * surface["width"] for share in (start, start + length))
    page.evaluate(BLAMED)
    page.mouse.move(x0, surface["y"] + 30)
    page.mouse.down()
    page.mouse.move(x1, surface["y"] + 32, steps=6)
    page.mouse.up()
    return float(page.evaluate(SAID))


# When the last answer with a sentence was shown: the page's fetches of blame are watched.
BLAMED = """() => {
  globalThis.blamed = 0;
  globalThis.fetchOf ??= globalThis.fetch;
  globalThis.fetch = (...asked) => globalThis.fetchOf(...asked).then((answer) => {
    if (String(asked[0]).includes("/blame?")) answer.clone().text().then(() => (globalThis.blamed = performance.now()));
    return answer;
  });
}"""


def write_runs(log_dir: Path) -> float:
    """A run of twenty minutes with stacks and lines, and a dozen short ones; returns when the long one began."""
    begun_s = long_run.write(log_dir, STORED_S)
    with (log_dir / long_run.RUN / "train.log").open("w") as lines:
        lines.writelines(
            f"step {step}: loss {2 / (step + 1):.4f}, {step % 97} tokens a second\n" for step in range(20_000)
        )
    (log_dir / ".deepseek" / "boards").mkdir(parents=True)
    (log_dir / ".deepseek" / "boards" / "loss.yaml").write_text(
        "title: Loss\nrows:\n  - charts:\n      - {kind: line, title: Loss, series: [train/loss]}\n"
    )
    for number in range(OTHERS):
        folder = log_dir / f"run-{number:02}"
        folder.mkdir()
        points = (
            {"time_s": begun_s + step, "step": step, "train/loss": 1 / (step + 1 + number)} for step in range(1000)
        )
        (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    return begun_s


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
