"""The pure modules of `assets/`, each asked in a real Chromium: what is binned, cut, blamed and coloured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Route

ASSETS = Path(__file__).parents[1] / "assets"
ORIGIN = "http://assets.test"
Ask: TypeAlias = Callable[[str], Any]

SERIES = """
const { Series } = await load("series.js");
const series = (width, told) => {
  const one = new Series({ run: "a", name: "train/loss", labels: {} }, width);
  one.append({ step: told.t.map((_, i) => i), ...told });
  return one;
};
"""


@pytest.fixture(scope="module")
def ask(browser: Browser) -> Iterator[Ask]:
    """Runs a function body that may `await load("module.js")`, and returns what it returns."""
    page = browser.new_page()
    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/")
    yield lambda body: page.evaluate(f"async () => {{ const load = (name) => import('/' + name); {body} }}")
    page.close()


def serve(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ORIGIN}/")
    if name:
        route.fulfill(path=ASSETS / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


def test_a_bin_keeps_the_lowest_and_the_highest_beside_the_mean(ask: Ask) -> None:
    code = (
        SERIES
        + "const one = series(1, { t: [0.1, 0.5, 0.9, 1.2], v: [1, 9, 2, 5] }); return [one.min, one.max, one.mean(0), one.points];"
    )
    assert ask(code) == [[1, 5], [9, 5], 4, 4]


def test_a_point_that_comes_twice_counts_once(ask: Ask) -> None:
    code = (
        SERIES
        + "const one = series(1, { t: [1, 2], v: [1, 2] }); one.append({ t: [2, 3], v: [2, 3], step: [1, 2] }); return one.points;"
    )
    assert ask(code) == 3


def test_a_nan_breaks_the_line_and_is_told(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("columns.js");
    const { mean, bad } = columns([series(1, { t: [0.5, 1.5, 2.5], v: [1, "NaN", 3] })], 0, 3, 10);
    return [[...mean], bad];"""
    )
    assert ask(code) == [[10, None, 30], [{"t": 1.5, "text": "NaN"}]]


def test_a_long_silence_is_a_gap_and_a_slow_series_is_not(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("columns.js");
    const drawn = (t) => [...columns([series(1, { t, v: t })], 0, 60, 1).mean].filter((v) => v === null).length;
    const steady = Array.from({ length: 20 }, (_, i) => i);
    return [drawn([...steady, 50, 51]), drawn([0, 20, 40])];"""
    )
    assert ask(code) == [30, 0]


def test_several_gpus_make_one_line_of_lowest_highest_and_mean(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("columns.js");
    const { min, max, mean } = columns([series(1, { t: [0.5], v: [10] }), series(1, { t: [0.6], v: [30] })], 0, 1, 1);
    return [min[0], max[0], mean[0]];"""
    )
    assert ask(code) == [10, 30, 20]


def test_a_spike_is_cut_and_a_falling_loss_is_not(ask: Ask) -> None:
    code = """
    const { robust } = await load("scale.js");
    const flat = Array.from({ length: 500 }, (_, i) => 2.3 + 0.05 * Math.sin(i));
    const falling = Array.from({ length: 500 }, (_, i) => 2 + 7 * Math.exp(-i / 60));
    const spiked = [...flat.slice(1), 3.94];
    return [robust(spiked, spiked).hi, robust(falling, falling).hi];"""
    spiked, falling = ask(code)
    assert spiked < 3
    assert falling >= 9


def test_ticks_are_round_and_never_fewer_than_the_axis_can_be_read_by(ask: Ask) -> None:
    code = """
    const { ticks, logTicks } = await load("scale.js");
    return [ticks({ lo: 0, hi: 640 }, 3), ticks({ lo: 0.000279, hi: 0.000293 }, 1).length, logTicks({ lo: 0.3, hi: 12 }, 2)];"""
    assert ask(code) == [[0, 250, 500], 2, [1, 10]]


def test_a_window_set_by_a_person_never_moves(ask: Ask) -> None:
    code = """
    const { Range } = await load("range.js");
    const range = new Range({ run: null, from: null, to: null, span: 60, at: null });
    range.select({ from: 950, to: 960 }, 1000);
    const held = range.view(2000);
    range.clear();
    return [held, range.view(2000)];"""
    assert ask(code) == [{"lo": 940, "hi": 1000}, {"lo": 1940, "hi": 2000}]


def test_a_young_run_fills_the_page_until_a_person_sets_the_span(ask: Ask) -> None:
    code = """
    const { Range } = await load("range.js");
    const range = new Range({ run: null, from: null, to: null, span: null, at: null });
    const spans = [20, 61, 599, 5000].map((age_s) => [range.fit(age_s), range.span_s]);
    range.setSpan(3600);
    return [spans, range.fit(20), range.span_s, range.address(0).span];"""
    assert ask(code) == [[[True, 60], [True, 120], [True, 600], [False, 600]], False, 3600, 3600]


def test_an_address_brings_back_what_was_seen(ask: Ask) -> None:
    code = """
    const { Range } = await load("range.js");
    const range = new Range({ run: null, from: null, to: null, span: null, at: null });
    range.zoom(900, 0.5, 1000);
    range.select({ from: 880, to: 890 }, 1000);
    const again = new Range({ run: null, ...range.address(1000) });
    return [range.view(0), again.view(5000), again.window];"""
    seen, again, window = ask(code)
    assert again == seen
    assert window == {"from": 880, "to": 890}


FLAME = """
const { Tree } = await load("tree.js");
const names = ["root", "main", "step", "forward", "matmul", "load"];
const frames = names.map((name, i) => ({ name, file: i ? `${name}.py` : "", line: i }));
const nodes = {
  frame: [0, 1, 2, 3, 4, 5],
  parent: [-1, 0, 1, 2, 3, 2],
  total_s: [10, 10, 10, 6, 5, 4],
  self_s: [0, 0, 0, 1, 5, 4],
  kind: ["own", "own", "own", "own", "library", "own"],
};
const tree = new Tree({ frames, nodes });
"""


def test_the_hottest_own_line_counts_what_libraries_below_it_took(ask: Ask) -> None:
    top = ask(FLAME + "return tree.hottest();")
    assert (top["frame"]["name"], top["share"]) == ("forward", 0.6)


def test_frames_that_all_samples_share_fold_into_one_row(ask: Ask) -> None:
    code = (
        FLAME
        + """
    const { layout } = await load("flame.js");
    return layout(tree, tree.trunk(), 100).map((row) => row.map(({ node, x, width }) => [node, x, width]));"""
    )
    assert ask(code) == [[[-1, 0, 100]], [[2, 0, 100]], [[3, 0, 60], [5, 60, 40]], [[4, 0, 50]]]


def test_a_refetched_tree_is_found_at_the_same_place(ask: Ask) -> None:
    assert ask(FLAME + "return [tree.find(tree.path(4).map((node) => tree.name(node))), tree.find(['root ', 'gone x'])];") == [4, 0]


def test_ansi_colours_are_shown_and_html_is_text(ask: Ask) -> None:
    code = r"""
    const { coloured } = await load("log.js");
    const line = document.createElement("p");
    line.append(...coloured("\x1b[31mbad\x1b[0m <b>not bold</b>\x1b[2K\x07"));
    return line.innerHTML;"""
    assert ask(code) == '<span class="ansi-red">bad</span> &lt;b&gt;not bold&lt;/b&gt;'


def test_the_host_stands_in_for_missing_gpus_and_at_most_four_unknown_series_follow(ask: Ask) -> None:
    code = """
    const { lanesOf } = await load("lanes.js");
    const meta = (run) => (name) => ({ run, name, labels: {} });
    const run = ["phase/data_s", "phase/forward_s", "train/loss", "val/loss", "a", "b", "c", "d", "e"].map(meta("r"));
    const gpu = [0, 1].map((index) => ({ run: null, name: "gpu/utilization_pct", labels: { gpu: String(index) } }));
    const ids = (metas) => lanesOf(metas).map(({ id }) => id);
    return [ids([...["host/cpu_pct"].map(meta(null)), ...run]), ids([...gpu, ...run])];"""
    host, gpu = ask(code)
    assert host == ["cpu", "phases", "loss", "other a", "other b", "other c", "other d"]
    assert gpu == ["heat", "busy", "phases", "loss", "other a", "other b", "other c", "other d"]


def test_while_a_question_is_under_way_only_the_newest_waits(ask: Ask) -> None:
    code = """
    const { newest } = await load("api.js");
    const [asked, done] = [[], []];
    const put = newest(async (q) => (asked.push(q), q), (answer) => done.push(answer), () => {});
    await Promise.all([put(1), put(2), put(3)]);
    return [asked, done];"""
    assert ask(code) == [[1, 3], [1, 3]]


def test_labels_of_markers_never_overlap(ask: Ask) -> None:
    code = """
    const { placed } = await load("events.js");
    const events = [10, 11, 50].map((time_s) => ({ kind: "checkpoint", time_s, step: time_s }));
    return placed(events, { lo: 0, hi: 100 }, 800, { from: Infinity, to: -Infinity }).map(({ labelled }) => labelled);"""
    assert ask(code) == [False, True, True]


def test_a_line_does_not_repeat_what_its_columns_say(ask: Ask) -> None:
    code = """
    const { logLine } = await load("log.js");
    const told = (text) => logLine({ time_s: 0, level: 20, file: "a.log", text }, { file: false }).querySelector(".m").textContent;
    return [told("2026-11-24 17:48:37.354+00:00 INFO step 600 | loss 1.8"), told("[2026-11-24T17:48:37] [WARNING] - late"), told("step 600")];"""
    assert ask(code) == ["step 600 | loss 1.8", "late", "step 600"]


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("figure(41280)", "41,280"),
        ("figure(2.24171, 4)", "2.2417"),
        ("figure(0.000261)", "2.61e−4"),
        ("figure(0.00286123)", "0.00286"),
        ("figure(0.0000421, 2)", "0.00"),
        ("figure(NaN)", "NaN"),
        ("figure(null)", "–"),
        ("tick(65536)", "65.5k"),
        ("duration(0.2178)", "218 ms"),
        ("duration(48)", "48 s"),
        ("duration(9240)", "2 h 34 min"),
        ("place('/home/me/data/images.py', 88)", "images.py:88"),
    ],
)
def test_numbers_are_told_as_a_person_reads_them(ask: Ask, call: str, shown: str) -> None:
    assert ask(f"const {{ figure, tick, duration, place }} = await load('format.js'); return {call};") == shown
