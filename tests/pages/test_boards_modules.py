"""Boards' own modules in a browser: a board's end joins its columns without a loss, stacks are sums, values are those of the range."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.expressions.language import parsed
from tests.conftest import Ask

# Columns of points, some of them together in buckets: `from` to `to` of each bucket are indices.
rows = st.lists(st.tuples(st.floats(0.1, 3), st.floats(-5, 5)), min_size=1, max_size=40)
COMMON = """
const columns = (points, sizes) => {
  const out = { expr: 0, run: "a", group: "", runs: [], name: "s", labels: {}, unit: "", smooth: null, points_total: points.length, x: [], x_end: [], step: [], superseded: [], segment: [], min: [], max: [], mean: [], last: [], count: [], non_finite: [] };
  for (let i = 0, k = 0; i < points.length; k++) {
    const some = points.slice(i, i + Math.max(1, sizes[k % sizes.length]));
    i += some.length;
    const v = some.map(([, value]) => value);
    out.x.push(some[0][0]); out.x_end.push(some.at(-1)[0]); out.step.push(i); out.superseded.push(false); out.segment.push(0); out.min.push(Math.min(...v)); out.max.push(Math.max(...v));
    out.mean.push(v.reduce((a, b) => a + b) / v.length); out.last.push(v.at(-1)); out.count.push(v.length); out.non_finite.push(0);
  }
  return out;
};
"""


def placed(steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    at, out = 0.0, []
    for step, value in steps:
        at += step
        out.append((round(at, 6), value))
    return out


@settings(max_examples=40)
@given(
    steps=rows,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    known=st.integers(1, 40),
    back=st.floats(0, 6),
)
def test_a_row_and_its_end_have_every_point_once(ask: Ask, steps: Any, sizes: Any, known: int, back: float) -> None:
    """What was read before, and then read again from the place that `cutAt` names."""
    points = placed(steps)
    known = min(known, len(points))
    since = points[known - 1][0] - back
    code = f"""{COMMON} const {{ cutAt, joined }} = await load("data/curve_reader.js");
    const points = {json.dumps(points)};
    const row = {{ ...columns(points.slice(0, {known}), {json.dumps(sizes)}), cut: 0 }};
    const from = cutAt([row], {since!r});
    const tail = columns(points.filter(([x]) => x >= from), [1]);
    const all = joined(row, tail, -Infinity);
    return {{ count: all.count.reduce((a, b) => a + b, 0), min: Math.min(...all.min), max: Math.max(...all.max), last: all.last.at(-1), rises: all.x.every((x, i) => !i || x > all.x_end[i - 1]), from }};"""
    found = ask(code)
    values = [value for _, value in points]
    assert found["from"] <= max(since, points[0][0]) or math.isclose(found["from"], since)
    assert found["count"] == len(points) and found["rises"]
    assert (found["min"], found["max"], found["last"]) == (min(values), max(values), values[-1])


def test_what_lies_before_the_range_is_dropped_but_for_one(ask: Ask) -> None:
    code = f"""{COMMON} const {{ cutAt, joined }} = await load("data/curve_reader.js");
    const row = {{ ...columns([...Array(50).keys()].map((i) => [i, i]), [1]), cut: 0 }};
    cutAt([row], 45);
    return joined(row, columns([[45, 1], [46, 2]], [1]), 20.5).x;"""
    assert ask(code) == [20, *range(21, 45), 45, 46]


@settings(max_examples=30)
@given(steps=rows, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_values_of_a_range_are_those_of_its_points(ask: Ask, steps: Any, sizes: Any) -> None:
    points = placed(steps)
    code = f"""{COMMON} const [{{ valuesOf, binned }}, {{ curveOf }}] = await Promise.all([load("boards/model.js"), load("curves/curve.js")]);
    const curve = curveOf({{ ...columns({json.dumps(points)}, {json.dumps(sizes)}), runs: [] }});
    const bins = binned([curve], {{ lo: -1, hi: 1e9 }}, 8);
    return [valuesOf(curve, {{ lo: -1, hi: 1e9 }}), bins.counts[0].reduce((a, b) => a + b, 0), valuesOf(curve, {{ lo: 1e9, hi: 2e9 }})];"""
    found, binned, none = ask(code)
    values = [value for _, value in points]
    assert binned == len(points) and math.isnan(none["mean"])
    assert (found["last"], found["min"], found["max"]) == (values[-1], min(values), max(values))
    assert math.isclose(found["sum"], sum(values), abs_tol=1e-6) and math.isclose(
        found["mean"], sum(values) / len(values), abs_tol=1e-6
    )


@given(value=st.floats(allow_nan=False, allow_infinity=False), bins=st.integers(1, 60))
@settings(max_examples=30)
def test_a_value_that_does_not_change_stands_in_the_middle(ask: Ask, value: float, bins: int) -> None:
    code = f"""{COMMON} const [{{ binned }}, {{ curveOf }}] = await Promise.all([load("boards/model.js"), load("curves/curve.js")]);
    return binned([curveOf({{ ...columns([[0, {value!r}], [1, {value!r}]], [1]), runs: [] }})], {{ lo: -1, hi: 9 }}, {bins});"""
    found = ask(code)
    (counts,) = found["counts"]
    assert sum(counts) == 2 and math.isfinite(found["lo"]) and math.isfinite(found["hi"])
    if 1e-300 < abs(value) < 1e300:
        assert counts[bins // 2] == 2 or counts[(bins - 1) // 2] == 2
        assert found["lo"] < value < found["hi"] and found["hi"] - found["lo"] < 1.01 * abs(value)


def test_a_stack_is_a_sum_and_an_absent_value_is_0(ask: Ask) -> None:
    code = f"""{COMMON} const [{{ stacked }}, {{ curveOf }}] = await Promise.all([load("boards/model.js"), load("curves/curve.js")]);
    const curves = [[[0, 1], [1, 2], [2, 3]], [[0, 10], [1, 20]], [[0, 100], [1, 200], [2, 300]]].map((points) => curveOf({{ ...columns(points, [1]), runs: [] }}));
    return stacked(curves).map(({{ mean, floor }}) => [[...mean], [...floor]]);"""
    first, second, third = ask(code)
    assert first == [[1, 2, 3], [0, 0, 0]]
    assert second == [[11, 22, 23], [1, 2, 3]], "it holds its last value for two and a half of its steps"
    assert third[1] == second[0]


def test_tones_scales_and_widths(ask: Ask) -> None:
    code = """
    const { toneOf, scaleOf, endsOf, rowsOf, secondsOf } = await load("boards/model.js");
    return {
      tones: [10, 80, 95].map((value) => toneOf(value, { 90: "bad", 80: "warn" })),
      scale: [scaleOf([{ max: [3 * 2 ** 30] }], "B"), scaleOf([{ max: [5] }], "W")],
      ends: endsOf([0, "auto"], 2 ** 30),
      widths: rowsOf({ rows: [{ charts: [{ width: 8 }, {}] }, { charts: [{}, {}, {}] }] }, []).map(({ charts }) => charts.map(({ width }) => width)),
      seconds: ["15 min", "1h", "all", undefined].map(secondsOf),
    };"""
    assert ask(code) == {
        "tones": ["", "warn", "bad"],
        "scale": [{"by": 2**30, "unit": "GiB"}, {"by": 1, "unit": "W"}],
        "ends": [0, None],
        "widths": [[8, 4], [4, 4, 4]],
        "seconds": [900, 3600, None, None],
    }


ROWS = """
const { boardRows, reasonsOf, rowsOf, tokensOf } = await load("boards/model.js");
const named = (rows, fields, exprs = ["e"]) => {
  const [[{ asked }]] = rowsOf({ rows: [{ charts: [{ kind: "line", ...fields }] }] }, exprs.map((expr, i) => ({ row: 0, chart: 0, item: fields.items?.[i] ?? i, expr }))).map(({ charts }) => charts);
  return boardRows(rows.map((row) => ({ expr: 0, run: null, labels: {}, smooth: null, superseded: [], ...row })), asked, fields);
};
"""


def test_curves_are_called_by_what_they_differ_in(ask: Ask) -> None:
    code = f"""{ROWS}
    const gpu = (gpu, host = "box") => ({{ name: "gpu/power_w", labels: {{ gpu, host, uuid: `GPU-${{host}}-${{gpu}}` }} }});
    const labels = (...given) => named(...given).map(({{ label }}) => label);
    return [
      labels([gpu("10"), gpu("2"), gpu("0")], {{ series: ["gpu/power_w"] }}),
      labels([gpu("0", "b"), gpu("0", "a"), gpu("1", "a")], {{ series: ["gpu/power_w"] }}),
      labels([{{ name: "loss", run: "b" }}, {{ name: "loss", run: "a" }}, {{ name: "lr", run: "a" }}], {{ series: ["l*"] }}),
      labels([{{ name: "loss", run: "a" }}], {{ series: ["loss"] }}),
      labels([gpu("1"), {{ name: "loss", run: "a" }}], {{ series: [{{ name: "gpu/power_w", label: "card {{gpu}}, rank {{rank}}" }}] }}),
      labels([{{ name: "loss", run: "a", expr: 1 }}, {{ name: "lr", run: "a" }}], {{ series: ["lr", "loss"] }}, ["lr", "loss"]),
    ];"""
    assert ask(code) == [
        ["GPU 0", "GPU 2", "GPU 10"],
        ["GPU 0, a", "GPU 0, b", "GPU 1, a"],
        ["a, loss", "a, lr", "b, loss"],
        ["loss"],
        ["card 1", "a, loss"],
        ["lr", "loss"],
    ]


def test_what_lies_along_x_has_no_colour_and_comes_first(ask: Ask) -> None:
    code = f"""{ROWS}
    const rows = named([{{ name: "loss", run: "a" }}, {{ name: "lr", run: "a", expr: 1 }}], {{ series: [{{ name: "loss", colour: 3 }}], x: "lr", items: [0, -1] }}, ["loss", "lr"]);
    return [rows.map(({{ item, series, label }}) => [item, series, label]), tokensOf(rows)];"""
    assert ask(code) == [[[-1, "lr", "lr"], [0, "loss", "loss"]], ["ink-3", "c3"]]


def test_phases_have_the_colours_that_they_have_on_live(ask: Ask) -> None:
    phases = ["warmup", "validation", "data", "forward", "backward", "optimizer", "h2d"]
    code = f"""{ROWS}
    const {{ lanesOf }} = await load("data/lanes.js");
    const names = {json.dumps(phases)}.map((phase) => `phase/${{phase}}_s`);
    const rows = named(names.map((name) => ({{ name, run: "a" }})), {{ series: [{{ glob: "phase/*_s" }}] }});
    const lane = lanesOf(names.map((name) => ({{ run: "a", name, labels: {{}} }}))).find(({{ id }}) => id === "phases");
    return [Object.fromEntries(rows.map(({{ series }}, i) => [series, tokensOf(rows)[i]])), Object.fromEntries(lane.lines.map(({{ label, colour }}) => [`phase/${{label}}_s`, colour]))];"""
    boards, live = ask(code)
    assert boards == live and len(set(live.values())) == len(phases)


def test_a_newer_attempt_replaces_on_the_step_axis_and_a_smoothed_curve_is_its_smoothed_values(ask: Ask) -> None:
    code = f"""{COMMON} {ROWS}
    const row = {{ ...columns([[0, 5], [1, 6], [2, 7]], [1]), superseded: [false, true, false], smooth: [1, 2, 3] }};
    const by = (axis) => named([row], {{ series: ["s"], axis }}).map(({{ x, mean, max, last }}) => [x, mean, max, last])[0];
    return [by("step"), by("time")];"""
    assert ask(code) == [[[0, 2], [1, 3], [1, 3], [1, 3]], [[0, 1, 2], *[[1, 2, 3]] * 3]]


def test_of_an_entry_that_is_drawn_only_failures_are_reported(ask: Ask) -> None:
    code = f"""{ROWS}
    const [left, rows] = [[{{ expr: 0, reason: "none", absent: true }}, {{ expr: 1, reason: "absent", absent: true }}, {{ expr: 1, reason: "again", absent: true }}, {{ expr: 2, reason: "fails", absent: false }}, {{ expr: null, reason: "no run", absent: true }}], [{{ expr: 0 }}, {{ expr: 2 }}]];
    return reasonsOf({{ left, rows }}, {{ items: [0, 1, 2] }});"""
    assert ask(code) == ["absent", "fails"]


@pytest.mark.parametrize(
    ("smooth", "axis", "asked"),
    [
        ("10 s", "time", "ema:10"),
        ("2 min", "time", "ema:120"),
        ("20 steps", "step", "ema:20"),
        ("1 step", "step", "ema:1"),
    ],
)
def test_a_half_life_is_asked_in_units_of_the_axis(ask: Ask, smooth: str, axis: str, asked: str) -> None:
    other = "step" if axis == "time" else "time"
    code = f"""const {{ rowsOf }} = await load("boards/model.js");
    const charts = [{json.dumps(axis)}, {json.dumps(other)}].map((axis) => ({{ kind: "line", series: ["s"], axis, smooth: {json.dumps(smooth)} }}));
    return rowsOf({{ rows: [{{ charts }}] }}, [])[0].charts.map(({{ asked }}) => [asked.smooth, asked.trouble !== ""]);"""
    (found, wrong), (_, refused) = ask(code)
    assert (found, wrong, refused) == (asked, False, True)


CORNERS = ["top left", "top right", "bottom left", "bottom right"]


@settings(max_examples=30)
@given(
    dots=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20, unique=True),
    best=st.sampled_from(CORNERS),
)
def test_the_front_of_a_scatter_is_what_no_other_dot_beats(ask: Ask, dots: list[tuple[int, int]], best: str) -> None:
    code = f"""const {{ frontOf }} = await load("boards/canvas_charts.js");
    return frontOf({json.dumps(dots)}.map(([x, y]) => ({{ x, y }})), {json.dumps(best)}).map(({{ x, y }}) => [x, y]);"""
    up, right = (1 if "top" in best else -1), (1 if "right" in best else -1)
    beaten = {a for a in dots for b in dots if a != b and up * b[1] >= up * a[1] and right * b[0] >= right * a[0]}
    assert [tuple(dot) for dot in ask(code)] == sorted(set(dots) - beaten)


READ = [
    ("train/loss", ["train/loss", "", "", "mean"]),
    ("phase/data_s / phase/step_s", ["phase/data_s", "phase/step_s", "", "mean"]),
    ("sum(gpu/power_w)", ["gpu/power_w", "", "all", "sum"]),
    ("sum(gpu/power_w) by host", ["gpu/power_w", "", "host", "sum"]),
    (
        'max(gpu/power_w{gpu!="0"}) by (host,rank) / "odd (name)"',
        ['gpu/power_w{gpu!="0"}', '"odd (name)"', "host, rank", "max"],
    ),
    ("gpu/memory_used_bytes / 1 GiB", ["gpu/memory_used_bytes", "1 GiB", "", "mean"]),
    ("mean(gpu/power_w) over 10 s", None),
    ("rate(gpu/energy_j) / train/tokens_per_s", None),
    ("a / b / c", None),
    ("a / b * 100", None),
    ("a > 2", None),
]


@pytest.mark.parametrize(("text", "fields"), READ)
def test_an_expression_is_read_as_fields_where_it_is_of_their_shape(
    ask: Ask, text: str, fields: list[str] | None
) -> None:
    found = ask(f"""const {{ shapeOf }} = await load("boards/shape.js");
        const shape = shapeOf({json.dumps(text)});
        return shape && [shape.source, shape.by, shape.keys, shape.summary];""")
    assert found == fields


@settings(max_examples=30)
@given(
    st.sampled_from(["train/loss", 'gpu/power_w{gpu="0"}', '"odd name"']),
    st.sampled_from(["", "phase/step_s", "1 GiB", "1e-3", "odd name", 'with "quotes"']),
    st.sampled_from(["", "all", "gpu", "host, rank"]),
    st.sampled_from(["mean", "sum", "count", "stddev"]),
)
def test_what_the_fields_write_is_an_expression_and_is_read_back_as_the_same_fields(
    ask: Ask, source: str, by: str, keys: str, summary: str
) -> None:
    text, same = ask(f"""const {{ divisorOf, shapeOf, textOf }} = await load("boards/shape.js");
        const shape = {{ source: {json.dumps(source)}, by: divisorOf({json.dumps(by)}), keys: "{keys}", summary: "{summary}" }};
        const text = textOf(shape);
        return [text, JSON.stringify(shapeOf(text)) === JSON.stringify(shape) || (shape.keys === "" && textOf(shapeOf(text)) === text)];""")
    assert same, text
    parsed(text)


def test_a_kind_of_chart_that_fails_says_so_and_costs_no_other(ask: Ask) -> None:
    code = """
    const { KINDS } = await load("boards/kinds.js");
    const { BoardView } = await load("boards/board.js");
    const fine = { element: document.createElement("div"), legend: false, fit() {}, redraw() {}, crosshair() {}, destroy() {} };
    KINDS.bar = class { constructor() { throw new Error("no bars"); } };
    KINDS.number = class { constructor() { Object.assign(this, fine, { element: document.createElement("div"), show() { throw new Error("no number"); } }); } };
    let shown = 0;
    KINDS.text = class { constructor() { Object.assign(this, fine, { element: document.createElement("div"), show() { shown += 1; } }); } };
    const now = { run: "a", over: true, now_s: 9, begin_s: 0, end_s: 9 };
    const view = new BoardView({ shown: () => now, follow() {}, changed() {}, drawn() {}, edit() {} });
    document.body.append(view.element);
    view.show({ rows: [{ charts: [{ kind: "bar" }, { kind: "number" }, { kind: "text" }] }] }, []);
    for (const frame of view.frames.values()) frame.show({ rows: [], x: {}, left_out: [], trouble: "" }, { span: { lo: 0, hi: 9 }, axis: "time", run: "a", stale: false });
    const said = [...view.frames.values()].map(({ said }) => said.hidden ? "" : said.textContent);
    return [said, shown > 0];"""
    said, is_shown = ask(code)
    assert said == ["This chart cannot be drawn: no bars.", "This chart cannot be drawn: no number.", ""]
    assert is_shown
