"""The pure modules behind charts of curves: the view and its address, search, layout, ranges, shapes, files."""

from __future__ import annotations

import csv
import io
import math
from typing import Any
from urllib.parse import urlencode

import pytest

from dashboard.pages.page import query_of
from dashboard.pages.training import PARAMETERS, described, values_of, view_of
from tests.conftest import Ask

CURVE = """
const { badOf, curveOf, nearest, shapesOf, yRangeOf } = await load("curves/curve.js");
const column = (n, value) => Array.from({ length: n }, (_, i) => typeof value === "function" ? value(i) : value);
const curve = (n, more = {}) => curveOf({
  run: "a", group: "", runs: ["a"], name: "loss", labels: {}, unit: "", x: column(n, (i) => i), x_end: column(n, (i) => i), step: column(n, (i) => i),
  segment: column(n, 0), min: column(n, 1), max: column(n, 1), mean: column(n, 1), last: column(n, 1), count: column(n, 1), non_finite: column(n, 0),
  smooth: null, superseded: column(n, false), points_total: n, ...more });
const place = (lo, hi, more = {}) => ({ x: (v) => (v - lo) / (hi - lo) * 300, y: (v) => 100 - v, span: { lo, hi }, left: 0, right: 300, top: 0, bottom: 100, ylog: false, ...more });
const shapes = (curves, at) => shapesOf(curves, () => "c1", at);
"""

ADDRESSES = [
    "",
    "?run=a",
    "?runs=a&runs=b%2Cc&runs=a&x=train%2Ftokens&smooth=ema:50&ylog=1&xlog=1&clip=1&by=optim.lr&spread=stderr&base=a&ranks=each",
    "?smooth=gauss&q=%3Cb%3E+loss&match=regex&size=s",
    "?smooth=ema:-1&match=odd&size=xl&ylog=yes&spread=1&ranks=9",
    "?" + urlencode({"runs": ["a b", "<i>", "ü"], "smooth": "ema:1e-3", "q": "%"}, doseq=True),
]


@pytest.mark.parametrize("search", ADDRESSES)
def test_python_and_the_browser_read_an_address_alike_and_the_controls_describe_what_it_says(
    ask: Ask, search: str
) -> None:
    read = ask(f"const {{ viewOf }} = await load('curves/training_view.js'); return viewOf({search!r});")
    assert read == view_of(query_of(search)) == described(values_of(view_of(query_of(search))))


@pytest.mark.parametrize("search", ADDRESSES)
def test_a_view_survives_its_own_address(ask: Ask, search: str) -> None:
    code = f"""
    const {{ addressOf, viewOf }} = await load("curves/training_view.js");
    const {{ writeAddress }} = await load("lib/url.js");
    const view = viewOf({search!r});
    writeAddress(addressOf(view));
    return [view, viewOf(location.search)];"""
    before, after = ask(code)
    assert before == after


@pytest.mark.parametrize("odd", [None, 7, [1], {}, "x" * 9000, ["a", None, "a"], True, math.inf])
def test_controls_of_any_value_describe_a_view(odd: Any) -> None:
    view = described([odd] * len(PARAMETERS))
    assert view == described(values_of(view)), "and it is one that they can show"


@pytest.mark.parametrize(
    ("text", "match", "found"),
    [
        ("", "text", ["train/loss", "val/loss", "a[0]*", "lr"]),
        ("LOSS tra", "text", ["train/loss"]),
        ("*/loss", "glob", ["train/loss", "val/loss"]),
        ("?r", "glob", ["lr"]),
        ("a[0]*", "glob", ["a[0]*"]),
        ("^(train|lr)", "regex", ["train/loss", "lr"]),
        ("(", "regex", []),
        ("(a+)+$", "regex", []),
        ("(l.*s){9}", "regex", []),
    ],
)
def test_series_are_found_by_words_glob_and_expression(ask: Ask, text: str, match: str, found: list[str]) -> None:
    code = f"""
    const {{ finder }} = await load("curves/catalogue.js");
    const {{ has, trouble }} = finder({text!r}, {match!r});
    return [["train/loss", "val/loss", "a[0]*", "lr"].filter(has), trouble];"""
    names, trouble = ask(code)
    assert names == found
    assert bool(trouble) == (match == "regex" and not found)


def test_what_lies_between_two_heights_is_what_a_look_at_all_finds(ask: Ask) -> None:
    code = """
    const { layout, between } = await load("curves/chart_scroller.js");
    const tag = (key) => ({ key, name: key, title: key, unit: "", points: 1, machine: false });
    const groups = [7, 1, 30, 0, 12].map((n, g) => ({ name: `g${g}`, title: "", note: g === 3 ? "elsewhere" : "", tags: Array.from({ length: n }, (_, i) => tag(`${g}/${i}`)) }));
    const wrong = [];
    for (const width of [300, 700, 1400]) for (const size of ["s", "m", "l"]) {
      const { items, height, columns } = layout(groups, new Set(["g1"]), { width, height: 800 }, size);
      if (items.some(({ x, width: w }) => x + w > width + 1e-6)) wrong.push("too wide");
      for (let top = -100; top < height + 100; top += 97) {
        const seen = items.filter(({ y, height: h }) => y + h >= top && y <= top + 400).map(({ key }) => key);
        if (JSON.stringify(seen) !== JSON.stringify(between(items, top, top + 400).map(({ key }) => key))) wrong.push([width, size, top]);
      }
      if (items.some(({ key }) => key.startsWith("chart g1"))) wrong.push("folded, and yet there");
    }
    return wrong;"""
    assert ask(code) == []


def test_small_groups_share_a_row_and_a_few_charts_fill_the_screen(ask: Ask) -> None:
    code = """
    const { layout } = await load("curves/chart_scroller.js");
    const tags = (group, n) => Array.from({ length: n }, (_, i) => ({ key: `${group}/${i}` }));
    const laid = (...sizes) => layout(sizes.map((n, g) => ({ name: `g${g}`, title: "", note: "", tags: tags(g, n) })), new Set(), { width: 1328, height: 800 }, "m").items;
    const charts = (items) => items.filter(({ kind }) => kind === "chart");
    const rows = (items) => charts(items).map(({ x, y }) => [x, y]);
    return [rows(laid(2, 1, 1)), rows(laid(3, 2)), charts(laid(1)).map(({ width, height }) => [width, height]), charts(laid(1, 1)).map(({ x, width }) => [x, width])];"""
    shared, apart, single, two = ask(code)
    assert shared == [[0, 36], [336, 36], [672, 36], [1008, 36]]
    assert apart == [[0, 36], [448, 36], [896, 36], [0, 300], [672, 300]], "none of a row is left empty"
    assert single == [[1328, 756]]
    assert two == [[0, 656], [672, 656]]


def test_a_spike_of_one_step_is_drawn_whole_at_every_zoom_smoothed_or_not(ask: Ask) -> None:
    code = (
        CURVE
        + """
    const heights = [];
    for (const smooth of [null, column(300, 1)]) for (const [lo, hi] of [[0, 299], [100, 200], [149, 151]]) {
      const spiked = curve(300, { max: column(300, (i) => (i === 150 ? 90 : 1.2)), smooth });
      const drawn = shapes([spiked], place(lo, hi)).filter(({ kind, alpha }) => kind === "line" && alpha > 0.8).flatMap(({ parts }) => parts);
      heights.push(Math.min(...drawn.flatMap((part) => part.filter((_, i) => i % 2))));
    }
    return heights;"""
    )
    assert ask(code) == [10] * 6, "the pixel of 90"


def test_raw_values_behind_a_smoothed_line_are_faint_however_their_buckets_fall(ask: Ask) -> None:
    code = (
        CURVE
        + """
    const noise = (i) => ((i * 7919) % 13) - 6;
    const mean = column(300, (i) => 40 + noise(i));
    const two = (i) => i % 5 === 0; // buckets of two points among such of one
    const some = curve(300, { mean, min: column(300, (i) => mean[i] - (two(i) ? 8 : 0)), max: column(300, (i) => mean[i] + (two(i) ? 8 : 0)), smooth: column(300, 40) });
    const spiked = curve(300, { mean, min: mean, max: column(300, (i) => (i === 150 ? 95 : mean[i])), smooth: column(300, 40) });
    const strong = (one) => shapes([one], place(0, 299)).filter(({ kind, alpha }) => kind === "line" && alpha === 1).map(({ parts }) => parts.length);
    return [strong(some), strong(spiked)];"""
    )
    assert ask(code) == [[1], [1, 1]], "the smoothed line alone; with a spike, that one, too"


def test_lines_are_opaque_and_of_a_name_that_stands_out_last(ask: Ask) -> None:
    code = (
        CURVE
        + """
    const { mixed } = await load("lib/theme.js");
    const two = [curve(9, { run: "a", smooth: column(9, 1) }), curve(9, { run: "b" })];
    const colours = (lit) => shapesOf(two, ({ name }) => ({ a: "c2", b: "c13" })[name], place(0, 8), lit).map(({ kind, colour, dash }) => `${kind} ${colour}${dash.length ? " dashed" : ""}`);
    return [mixed("#ff0000", "#000000", 0.5), colours(""), colours("a")];"""
    )
    half, all_of_them, lit = ask(code)
    assert half == "rgb(128,0,0)"
    assert all_of_them == ["line c2", "line c2", "line c13 dashed"]
    assert lit == ["line c2", "line line-strong", "line c2"]


def test_neighbouring_values_that_are_no_numbers_are_one_mark_however_far_apart(ask: Ask) -> None:
    code = (
        CURVE
        + """
    const nan = (i) => i % 10 < 8;
    const sparse = curve(20, { x: column(20, (i) => i * 50), x_end: column(20, (i) => i * 50), mean: column(20, (i) => (nan(i) ? null : 1)), min: column(20, (i) => (nan(i) ? null : 1)),
      non_finite: column(20, (i) => Number(nan(i))), last: column(20, (i) => (nan(i) ? "NaN" : 1)) });
    return badOf([sparse], place(0, 950)).map(({ from, to, text }) => [Math.round(from), Math.round(to), text]);"""
    )
    assert ask(code) == [[0, 111, "NaN"], [158, 268, "NaN"]]


def test_lines_break_where_nothing_is_a_number_and_where_a_segment_begins_and_older_attempts_are_faint(
    ask: Ask,
) -> None:
    code = (
        CURVE
        + """
    const mean = (i) => (i === 2 ? null : 1);
    const gap = curve(6, { mean: column(6, mean), min: column(6, mean), max: column(6, mean), non_finite: column(6, (i) => Number(i === 2)), last: column(6, (i) => (i === 2 ? "-Infinity" : 1)) });
    const resumed = curve(6, { x: [0, 1, 2, 1, 2, 3], x_end: [0, 1, 2, 1, 2, 3], segment: [0, 0, 0, 1, 1, 1], superseded: [false, true, true, false, false, false] });
    const lines = (one) => shapes([one], place(0, 6)).filter(({ kind, colour }) => kind === "line" && colour === "c1").map(({ parts, dash, alpha }) => [parts.map((part) => part.length / 2), dash.length > 0, alpha < 0.5]);
    return [lines(gap), badOf([gap], place(0, 6)).map(({ text }) => text), lines(resumed), nearest(resumed, 2, 0)];"""
    )
    gap, bad, resumed, nearest = ask(code)
    assert gap == [[[2, 3], False, False]]
    assert bad == ["−inf"]
    assert resumed == [[[2], True, True], [[1, 3], False, False]]
    assert nearest == 4, "of two attempts the newer one counts"


def test_what_a_log_axis_has_no_place_for_is_counted_and_a_cut_is_made_only_by_choice(ask: Ask) -> None:
    code = (
        CURVE
        + """
    const odd = curve(50, { min: column(50, (i) => (i === 3 ? -5 : 1)), max: column(50, (i) => (i === 7 ? 1e6 : 2)) });
    const of = (ylog, clip) => yRangeOf([odd], { lo: 0, hi: 49 }, { ylog, clip });
    return [of(false, false), of(true, false), of(false, true)];"""
    )
    plain, log, clipped = ask(code)
    assert plain["lo"] <= -5
    assert plain["hi"] >= 1e6
    assert (plain["cut"], plain["notPositive"]) == (0, 0)
    assert log["notPositive"] == 1
    assert 0 < log["lo"] <= 1
    assert log["hi"] >= 1e6
    assert clipped["cut"] >= 1
    assert clipped["most"] == 1e6
    assert clipped["hi"] < 100


@pytest.mark.parametrize("value", [0, 1e-320, -1e308, 1e308, 1e17, 5e-324, 123456789012345680.0])
def test_a_constant_of_any_size_has_a_range_with_few_ticks(ask: Ask, value: float) -> None:
    code = f"""
    const {{ roomy }} = await load("curves/curve.js");
    const {{ ticks }} = await load("lib/axis.js");
    const range = roomy({value!r}, {value!r}, 0.06);
    return [range.lo < range.hi, range.lo <= {value!r} || range.lo === -8e307, ticks(range, 4).length];"""
    ordered, below, number = ask(code)
    assert ordered
    assert below
    assert number < 20


def test_a_step_is_found_between_the_points_around_it_and_of_two_attempts_in_the_last(ask: Ask) -> None:
    code = """
    const { bracket } = await load("curves/moments.js");
    const row = { x: [10, 20, 30, 40, 50], x_end: [15, 25, 35, 45, 55], step: [1, 2, 3, 2, 3], superseded: [false, true, true, false, false], points_total: 5 };
    return [bracket(row, 1), bracket(row, 2), bracket(row, 3), bracket(row, 9), bracket({ ...row, x: [], x_end: [], step: [] }, 1)];"""
    assert ask(code) == [
        {"lo": 10, "hi": 15},
        {"lo": 15, "hi": 45},
        {"lo": 45, "hi": 55},
        {"lo": 55, "hi": 55},
        None,
    ]


def test_cells_that_a_spreadsheet_would_run_are_inert_and_numbers_stay_numbers(ask: Ask) -> None:
    code = """
    const { csvOf } = await load("lib/chart_tools.js");
    return csvOf(["run", "x"], [["=HYPERLINK()", -1.5], ["a,\\"b\\"\\n", NaN], ["@x", null], ["-run", 2]]);"""
    rows = list(csv.reader(io.StringIO(ask(code))))
    assert rows == [["run", "x"], ["'=HYPERLINK()", "-1.5"], ['a,"b"\n', ""], ["'@x", ""], ["'-run", "2"]]


def test_a_picture_as_svg_holds_text_as_text(ask: Ask) -> None:
    code = """
    const { svgOf } = await load("curves/export.js");
    const svg = svgOf({
      title: "<script>alert(1)</script>\\u0001", width: 300, height: 200, plot: { left: 40, right: 290, top: 10, bottom: 180 },
      shapes: [{ kind: "line", colour: "c1", alpha: 1, width: 1, dash: [], parts: [[40, 50, 80, 60], [90, 90]] }],
      bad: [{ from: 60, to: 60, text: "NaN" }], xTicks: [{ at: 40, word: "0" }], yTicks: [{ at: 50, word: "1" }], legend: [{ label: "a & b", colour: "c1" }] });
    const read = new DOMParser().parseFromString(svg, "image/svg+xml");
    return [read.querySelector("parsererror") === null, read.querySelectorAll("script").length, read.querySelectorAll("path").length, read.querySelector("text").textContent];"""
    whole, scripts, paths, title = ask(code)
    assert whole
    assert (scripts, paths) == (0, 1)
    assert title == "<script>alert(1)</script>[U+0001]"


@pytest.mark.parametrize(
    ("length", "amount"), [(41_280, 500), (100, 1), (90_000, 1000), (1_999, 20), (0, 1), (0.5, 0.005), (math.inf, 1)]
)
def test_smoothing_begins_with_a_round_hundredth_of_the_range(ask: Ask, length: float, amount: float) -> None:
    assert (
        ask(
            f"const {{ roundAmount }} = await load('curves/training_view.js'); return roundAmount({str(length).replace('inf', 'Infinity')});"
        )
        == amount
    )


def test_charts_stand_in_groups_pinned_ones_first_and_the_machine_last(ask: Ask) -> None:
    code = """
    const { groupsOf, tagOf, machineTagOf } = await load("curves/catalogue.js");
    const own = ["val/loss", "train/loss", "train/lr", "lr", "gpu_phase/forward_s", "zoo/a"].map((name) => tagOf({ name, unit: "", points: 1, direction: null, progress: false }));
    own.push(tagOf({ name: "progress/step", unit: "", points: 1, direction: null, progress: true }), tagOf({ name: "progress/tokens", unit: "", points: 1, direction: null, progress: false }));
    const tags = [...own, machineTagOf({ name: "host/cpu_pct", unit: "%", points: 9 })];
    const told = ({ groups, found, hidden }) => [groups.map(({ title, tags, note }) => [title, tags.map(({ title }) => title), note !== ""]), found, hidden.length];
    const kept = { pinned: ["zoo/a"], hidden: ["lr"], order: ["train/lr", "train/loss"] };
    return told(groupsOf(tags, () => true, kept, "elsewhere"));"""
    groups, found, hidden = ask(code)
    assert groups == [
        ["Pinned", ["zoo/a"], False],
        ["train", ["lr", "loss"], False],
        ["val", ["loss"], False],
        ["progress", ["tokens"], False],
        ["Step phases on the GPU", ["forward_s"], False],
        ["This machine", [], True],
    ]
    assert (found, hidden) == (8, 1)
