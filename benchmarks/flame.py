"""Flame graphs in a real browser: drawing and zooming big trees, and from a drag over the lanes to the graph on the screen."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Response, Route, ViewportSize, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, dashboard, wait_for
from tests.support import long_run

ASSETS = Path(__file__).parents[1] / "assets"
ORIGIN = "http://assets.test"
SIZE: ViewportSize = {"width": 1440, "height": 900}
FRAMES = 60  # of a zoom or a pan
WAIT_MS = 120_000.0
STORED_S = 3 * 3600.0
DRAGS = 40
VIEW_S = 600.0  # what the lanes show while windows up to 60 s are drawn
LONGEST_S = 60.0

GRAPH = """async (count) => {
  const [{ FlameGraph }, { Tree }] = await Promise.all([import("/flame/flame.js"), import("/flame/tree.js")]);
  let seed = 1;
  const chance = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const nodes = { frame: [], parent: [], self_s: [], total_s: [], untrusted_s: [], base_self_s: [], base_total_s: [], kind: [] };
  const grow = (parent, budget, total) => { // a node and what is below it, in preorder
    const at = nodes.frame.push(Math.floor(chance() * 3000)) - 1;
    const self = budget > 1 ? 0 : total;
    const rows = [["parent", parent], ["self_s", self], ["total_s", total], ["untrusted_s", 0], ["base_self_s", self * chance()],
      ["base_total_s", total * (0.5 + chance())], ["kind", chance() < 0.3 ? "own" : "library"]];
    for (const [name, value] of rows) nodes[name].push(value);
    let [left, rest] = [budget - 1, total];
    while (left > 0) {
      const share = left < 4 ? 1 : 0.3 + 0.55 * chance();
      const part = Math.max(1, Math.round(left * share));
      grow(at, part, part === left ? rest : rest * share);
      rest -= part === left ? rest : rest * share;
      left -= part;
    }
  };
  grow(-1, count, 1000);
  const frames = Array.from({ length: 3000 }, (_, i) => ({ name: `function_${i}`, file: `/job/file_${i % 80}.py`, line: i }));
  globalThis.flame = { frames, nodes, seconds: 1000, units: 100, per: "step", baseline_seconds: 1000, baseline_units: 100 };
  globalThis.Tree = Tree;
  globalThis.graph = new FlameGraph({ row: 20 });
  document.getElementById("place").replaceChildren(graph.element);
  return [nodes.frame.length, new Tree(flame).depth.reduce((a, b) => Math.max(a, b))];
}"""
DRAW = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  const begun = performance.now();
  graph.show(new Tree(flame));
  const drawn = performance.now() - begun;
  await frame();
  await frame();
  return [drawn, performance.now() - begun];
}"""
MOVE = """async ([frames, kind]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const [box] = graph.rows.at(Math.min(4, graph.rows.length - 1));
  if (kind === "click") {
    const costs = [];
    for (let i = 0; i < frames; i++) {
      const row = graph.rows[Math.floor(graph.rows.length / 3)];
      const begun = performance.now();
      graph.focus(i % 2 ? graph.view.trunk : row[i % row.length].node);
      costs.push(performance.now() - begun);
      await frame();
    }
    return [costs, costs];
  }
  const [costs, gaps] = [[], []];
  const draw = graph.draw.bind(graph);
  graph.draw = () => {
    const begun = performance.now();
    draw();
    costs.push(performance.now() - begun);
  };
  await frame();
  let last = performance.now();
  for (let i = 0; i < frames; i++) {
    if (kind === "zoom") graph.zoom(i % 40 < 20 ? 0.85 : 1 / 0.85, 0.3 + 0.01 * (i % 40));
    else graph.canvas.dispatchEvent(new WheelEvent("wheel", { deltaX: i % 40 < 20 ? 30 : -30, cancelable: true }));
    await frame();
    gaps.push(performance.now() - last);
    last = performance.now();
  }
  delete graph.draw;
  return [costs, gaps];
}"""
RECORD = """() => {
  globalThis.moved = 0;
  document.querySelector(".surface").addEventListener("pointermove", () => (globalThis.moved = performance.timeOrigin + performance.now()), true);
}"""
POINT = """async (frames) => {
  const surface = document.querySelector(".surface");
  const { left, top, width } = surface.getBoundingClientRect();
  const costs = [];
  for (let i = 0; i < frames; i++) {
    const drawn = new Promise((done) => requestAnimationFrame(() => { // before the page's own
      const begun = performance.now();
      setTimeout(() => done(costs.push(performance.now() - begun)));
    }));
    surface.dispatchEvent(new PointerEvent("pointermove", { clientX: left + (width * i) / frames, clientY: top + 30 }));
    await drawn;
  }
  return costs;
}"""
DRAWN = """() => {
  const { window, flame } = deepseekPainted;
  return window && flame.window && window.from === flame.window.from && window.to === flame.window.to ? [flame.at - moved, window.to - window.from] : null;
}"""


def measure() -> list[Row]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        rows = [*rendering(browser, 50_000), *rendering(browser, 200_000), *dragging(browser)]
        browser.close()
    return rows


def rendering(browser: Browser, count: int) -> list[Row]:
    page = browser.new_page(viewport=SIZE)
    page.route(f"{ORIGIN}/**", serve)
    page.goto(ORIGIN)
    nodes, depth = page.evaluate(GRAPH, count)
    what, spread = f"{nodes:,} nodes", f"{depth} deep"
    script_ms, painted_ms = zip(*(page.evaluate(DRAW) for _ in range(7)), strict=True)
    big = count > 100_000
    rows = [
        Row(f"{what}: draw, script", statistics.median(script_ms), "ms", budget=200 if big else None, spread=spread),
        Row(f"{what}: draw, on the screen", statistics.median(painted_ms), "ms", spread=spread),
    ]
    for kind, budget in (("click", 50.0 if big else 33.0), ("zoom", 33.0), ("pan", 33.0)):
        costs, gaps = page.evaluate(MOVE, [FRAMES, kind])
        rows.append(
            Row(
                f"{what}: {kind}, script a frame, p95", percentile(costs, 0.95), "ms", budget=budget, spread=told(costs)
            )
        )
        if kind != "click":
            limit = None if big else budget
            rows.append(
                Row(
                    f"{what}: {kind}, from frame to frame, p50",
                    percentile(gaps, 0.5),
                    "ms",
                    budget=limit,
                    spread=told(gaps),
                )
            )
    page.close()
    return rows


def serve(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ORIGIN}/")
    if name:
        route.fulfill(path=ASSETS / name, content_type="text/css" if name.endswith(".css") else "text/javascript")
        return
    styles = "".join(f'<link rel="stylesheet" href="/{name}.css">' for name in ("tokens", "app", "flame/flame"))
    place = '<div id="place" style="position:absolute;inset:0;display:flex;flex-direction:column"></div>'
    route.fulfill(body=f"<!doctype html>{styles}<body>{place}", content_type="text/html")


def dragging(browser: Browser) -> list[Row]:
    """On the Live page, with three hours of profile stored: windows drawn at random, then nearly all of it at once."""
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "logs"
        begun_s = long_run.write(log_dir, STORED_S)
        with dashboard(log_dir, "--no-profile") as running:
            wait_for(lambda: running.run(long_run.RUN).get("last_step", 0) > 10_000, 60, "the log is not read")
            page = browser.new_page(viewport=SIZE)
            end_s = begun_s + STORED_S + 5
            page.goto(f"{running.address}/?run={long_run.RUN}&span={VIEW_S:g}&at={end_s:.3f}")
            short = drags(page, DRAGS, LONGEST_S / VIEW_S)
            frames_ms = page.evaluate(POINT, FRAMES)
            page.goto(f"{running.address}/?run={long_run.RUN}&span={STORED_S:g}&at={end_s:.3f}")
            long = drags(page, DRAGS // 4, 0.95)
            page.close()
    return [
        Row(
            "drag -> flame graph drawn, windows up to 60 s, p50",
            percentile(short, 0.5),
            "ms",
            budget=150,
            spread=told(short),
        ),
        Row("the pointer moves over the lanes: a frame, p50", percentile(frames_ms, 0.5), "ms", spread=told(frames_ms)),
        Row(
            "drag -> flame graph drawn, windows up to 3 h, p50",
            percentile(long, 0.5),
            "ms",
            budget=300,
            spread=told(long),
        ),
    ]


def drags(page: Page, count: int, longest: float) -> list[float]:
    """How long from the last movement of the pointer until the graph of exactly that window was drawn; `longest` is a share of the lanes."""
    wait_for(
        lambda: page.evaluate("() => Object.keys(globalThis.deepseekPainted?.drawn ?? {}).length > 1"), 60, "no lanes"
    )
    page.evaluate(RECORD)
    noise = random.Random(7)
    return [drag(page, noise, longest) for _ in range(count)]


def drag(page: Page, noise: random.Random, longest: float) -> float:
    surface: Any = page.locator(".surface").bounding_box()
    length = noise.uniform(longest / 10, longest) if longest < 0.5 else longest
    start = noise.uniform(0.01, 0.99 - length)
    x0, x1 = (surface["x"] + share * surface["width"] for share in (start, start + length))
    y = surface["y"] + 30
    page.keyboard.press("Escape")
    page.mouse.move(x0, y)
    page.mouse.down()
    with page.expect_response(is_compared, timeout=WAIT_MS), page.expect_response(is_blame, timeout=WAIT_MS):
        page.mouse.move(x1, y, steps=12)
        page.mouse.up()
        delay_ms, _ = wait_for(lambda: page.evaluate(DRAWN), WAIT_MS / 1000, "the window is not drawn")
    return float(delay_ms)


def is_compared(response: Response) -> bool:
    """What the server is asked once the window is drawn; the next drag would wait for it."""
    return "/flame?" in response.url and "baseline=" in response.url


def is_blame(response: Response) -> bool:
    return "/blame?" in response.url


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(values: list[float]) -> str:
    p10, p50, p90 = (percentile(values, share) for share in (0.1, 0.5, 0.9))
    return f"p10 {p10:.0f}, p50 {p50:.0f}, p90 {p90:.0f}, {len(values)} times"


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
