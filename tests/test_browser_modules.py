"""The pure modules of `assets/`, each asked in a real Chromium: what is binned, cut, blamed and coloured."""

from __future__ import annotations

import pytest

from tests.conftest import Ask

SERIES = """
const { Series } = await load("data/series.js");
const series = (width, told) => {
  const one = new Series({ run: "a", name: "train/loss", labels: {} }, width);
  one.append({ step: told.t.map((_, i) => i), ...told });
  return one;
};
"""


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
    const { columns } = await load("data/columns.js");
    const { mean, bad } = columns([series(1, { t: [0.5, 1.5, 2.5], v: [1, "NaN", 3] })], 0, 3, 10);
    return [[...mean], bad];"""
    )
    assert ask(code) == [[10, None, 30], [{"t": 1.5, "text": "NaN"}]]


def test_a_long_silence_is_a_gap_and_a_slow_series_is_not(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/columns.js");
    const drawn = (t) => [...columns([series(1, { t, v: t })], 0, 60, 1).mean].filter((v) => v === null).length;
    const steady = Array.from({ length: 20 }, (_, i) => i);
    return [drawn([...steady, 50, 51]), drawn([0, 20, 40])];"""
    )
    assert ask(code) == [30, 0]


def test_several_gpus_make_one_line_of_lowest_highest_and_mean(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/columns.js");
    const { min, max, mean } = columns([series(1, { t: [0.5], v: [10] }), series(1, { t: [0.6], v: [30] })], 0, 1, 1);
    return [min[0], max[0], mean[0]];"""
    )
    assert ask(code) == [10, 30, 20]


def test_a_spike_is_cut_and_a_falling_loss_is_not(ask: Ask) -> None:
    code = """
    const { robust } = await load("lib/scale.js");
    const flat = Array.from({ length: 500 }, (_, i) => 2.3 + 0.05 * Math.sin(i));
    const falling = Array.from({ length: 500 }, (_, i) => 2 + 7 * Math.exp(-i / 60));
    const spiked = [...flat.slice(1), 3.94];
    return [robust(spiked, spiked).hi, robust(falling, falling).hi];"""
    spiked, falling = ask(code)
    assert spiked < 3
    assert falling >= 9


def test_from_zero_only_what_towers_over_the_rest_is_cut(ask: Ask) -> None:
    code = """
    const { fromZero } = await load("lib/scale.js");
    const steady = Array(200).fill(10);
    return [fromZero([...steady, 12], null, 0).hi, fromZero([...steady, 90], null, 0).hi];"""
    near, far = ask(code)
    assert near > 12
    assert far < 40


def test_ticks_are_round_and_never_fewer_than_the_axis_can_be_read_by(ask: Ask) -> None:
    code = """
    const { ticks, logTicks } = await load("lib/scale.js");
    return [ticks({ lo: 0, hi: 640 }, 3), ticks({ lo: 0.000279, hi: 0.000293 }, 1).length, logTicks({ lo: 0.3, hi: 12 }, 2)];"""
    assert ask(code) == [[0, 250, 500], 2, [1, 10]]


def test_no_range_takes_longer_than_its_ticks(ask: Ask) -> None:
    """Neither one that no number lies in, nor one without ends, nor a thousand years."""
    code = """
    const { ticks, timeTicks, stepTicks } = await load("lib/scale.js");
    const hard = [[1, 1 + 2 ** -52], [1e300, 1e300], [-Infinity, 5], [1.79e9, Infinity], [NaN, NaN], [5, -5], [-1e308, 1e308], [0, 1e11], [-1e18, 1e18]];
    return hard.flatMap(([lo, hi]) => [ticks, (range, wanted) => timeTicks(range, wanted).times, stepTicks].map((kind) => kind({ lo, hi }, 8).length));"""
    assert max(ask(code)) <= 20


def test_a_window_set_by_a_person_never_moves(ask: Ask) -> None:
    code = """
    const { Range } = await load("data/range.js");
    const range = new Range({ run: null, from: null, to: null, span: 60, at: null, axis: null });
    range.select({ from: 950, to: 960 }, 1000);
    const held = range.view(2000);
    range.clear();
    return [held, range.view(2000)];"""
    assert ask(code) == [{"lo": 940, "hi": 1000}, {"lo": 1940, "hi": 2000}]


def test_a_young_run_fills_the_page_until_a_person_sets_the_span(ask: Ask) -> None:
    code = """
    const { Range } = await load("data/range.js");
    const range = new Range({ run: null, from: null, to: null, span: null, at: null });
    const spans = [20, 61, 599, 5000].map((age_s) => [range.fit(age_s, false), range.span_s]);
    const over = [0, 0.004, 100, 5000].map((age_s) => [range.fit(age_s, true), range.span_s]);
    const whole = [range.fit(5000, true, Infinity), range.span_s];
    const unknown = [range.fit(Infinity, true, Infinity), range.span_s];
    range.setSpan(3600);
    return [spans, over, whole, unknown, range.fit(20, false), range.span_s, range.address(0).span];"""
    spans = [[True, 30], [True, 90], [True, 600], [False, 600]]
    over = [[True, 10], [True, 0.0042], [True, 105], [True, 600]]
    assert ask(code) == [spans, over, [True, 5250], [True, 600], False, 3600, 3600]


def test_an_address_brings_back_what_was_seen(ask: Ask) -> None:
    code = """
    const { Range } = await load("data/range.js");
    const range = new Range({ run: null, from: null, to: null, span: null, at: null });
    range.zoom(900, 0.5, 1000);
    range.select({ from: 880, to: 890 }, 1000);
    const again = new Range({ run: null, ...range.address(1000) });
    return [range.view(0), again.view(5000), again.window];"""
    seen, again, window = ask(code)
    assert again == seen
    assert window == {"from": 880, "to": 890}


FLAME = """
const { Tree } = await load("flame/tree.js");
const names = ["root", "main", "step", "forward", "matmul", "load"];
const flame = {
  seconds: 10, units: 20, per: "step", baseline_seconds: 30, baseline_units: 100,
  frames: names.map((name, i) => ({ name, file: i ? `${name}.py` : "", line: i })),
  nodes: {
    frame: [0, 1, 2, 3, 4, 5],
    parent: [-1, 0, 1, 2, 3, 2],
    total_s: [10, 10, 10, 4, 3, 6],
    self_s: [0, 0, 0, 1, 3, 6],
    untrusted_s: [0, 0, 0, 0, 0, 4],
    base_total_s: [30, 30, 30, 20, 15, 10],
    base_self_s: [0, 0, 0, 5, 15, 10],
    kind: ["own", "own", "own", "own", "library", "own"],
  },
};
const tree = new Tree(flame);
const view = { focus: tree.trunk(), from: 0, to: 1, trunk: tree.trunk() };
"""


def test_the_hottest_own_line_counts_what_libraries_below_it_took(ask: Ask) -> None:
    code = "flame.nodes.self_s = [0, 0, 0, 1, 5, 4]; flame.nodes.total_s = [10, 10, 10, 6, 5, 4]; return new Tree(flame).hottest();"
    top = ask(FLAME + code)
    assert (top["frame"]["name"], top["share"]) == ("forward", 0.6)


def test_frames_that_all_samples_share_fold_into_one_row_and_the_longest_stands_first(ask: Ask) -> None:
    code = """
    const { layout } = await load("flame/layout.js");
    return layout(tree, view, 100).map((row) => row.map(({ node, x, width }) => [node, x, width]));"""
    assert ask(FLAME + code) == [[[-1, 0, 100]], [[2, 0, 100]], [[3, 60, 40], [5, 0, 60]], [[4, 60, 30]]]


def test_by_name_frames_stay_where_they_are_while_a_window_is_dragged(ask: Ask) -> None:
    assert ask(FLAME + "return [...new Tree(flame, 'name').children(2)];") == [3, 5]
    assert ask(FLAME + "return [...tree.children(2)];") == [5, 3]


def test_a_zoom_keeps_the_place_under_the_pointer_and_ends_at_the_whole(ask: Ask) -> None:
    code = """
    const { panned, zoomed } = await load("flame/layout.js");
    const closer = zoomed(tree, view, 0.5, 0.25);
    const moved = panned(tree, closer, 10);
    return [closer, moved, zoomed(tree, moved, 8, 0.5)].map(({ from, to }) => [from, to]);"""
    assert ask(FLAME + code) == [[0.125, 0.625], [0.5, 1], [0, 1]]


def test_frames_narrower_than_a_pixel_are_drawn_as_one(ask: Ask) -> None:
    code = """
    const { layout } = await load("flame/layout.js");
    const many = 1000;
    flame.nodes = {
      frame: Array.from({ length: many + 1 }, (_, i) => i % 6),
      parent: Array.from({ length: many + 1 }, (_, i) => (i ? 0 : -1)),
      total_s: Array.from({ length: many + 1 }, (_, i) => (i ? 1 : many)),
    };
    const rows = layout(new Tree({ ...flame, baseline_seconds: 0 }), { focus: -1, from: 0, to: 1, trunk: -1 }, 100);
    return rows[1].map(({ x, width, narrow }) => [x, Math.round(width), narrow]);"""
    assert ask(FLAME + code) == [[0, 100, 1000]]


def test_a_refetched_tree_is_found_at_the_same_place(ask: Ask) -> None:
    assert ask(FLAME + "return [tree.find(tree.path(4).map((node) => tree.name(node))), tree.find(['root ', 'gone x'])];") == [4, 0]


def test_excess_is_in_seconds_a_unit_and_adds_up_to_the_slowdown(ask: Ask) -> None:
    excess = ask(FLAME + "return [0, 3, 5].map((node) => tree.excess(node));")
    assert excess == pytest.approx([0.2, 0.0, 0.2])
    assert ask(FLAME + "return tree.fullExcess();") == pytest.approx(0.2)


def test_of_several_ranks_excess_is_that_of_a_step_of_each(ask: Ask) -> None:
    """The same stacks of two ranks: the mean, so that the graph says what the sentence says."""
    code = """
    const ranks = ["rank 0", "rank 1"].map((name) => ({ name, file: "", line: 0 }));
    return [tree.excess(0), new Tree({ ...flame, frames: [...flame.frames, ...ranks] }).excess(0)];"""
    one, mean_of_two = ask(FLAME + code)
    assert mean_of_two == pytest.approx(one / 2)


def test_without_steps_excess_is_in_seconds_a_second(ask: Ask) -> None:
    told = ask(
        FLAME + "const other = new Tree({ ...flame, units: null, baseline_units: null }); return [other.per, other.excess(5)];"
    )
    assert told == ["second", pytest.approx(6 / 10 - 10 / 30)]


def test_a_function_that_calls_itself_counts_once(ask: Ask) -> None:
    code = """
    const { spent, neighbours } = await load("flame/callers.js");
    flame.nodes.frame = [0, 1, 1, 3, 4, 5]; // main calls main
    const again = new Tree(flame);
    const { callers, callees } = neighbours(again, 1);
    const told = (rows) => rows.map(({ frame, seconds }) => [frame, seconds]);
    return [spent(again)[1].total_s, told(callers), told(callees)];"""
    assert ask(FLAME + code) == [10, [[0, 10]], [[5, 6], [3, 4]]]


def test_the_callers_of_a_function_stand_below_it_up_to_main(ask: Ask) -> None:
    code = """
    const { callersOf } = await load("flame/callers.js");
    const { nodes } = callersOf(flame, tree, 4);
    return [nodes.frame, nodes.parent, nodes.total_s, nodes.base_total_s];"""
    assert ask(FLAME + code) == [[4, 3, 2, 1, 0], [-1, 0, 1, 2, 3], [3] * 5, [15] * 5]


def test_a_window_that_is_being_drawn_stands_beside_the_normal_of_the_last_one(ask: Ask) -> None:
    code = """
    const { withNormalOf } = await load("blame/borrow.js");
    const { nodes } = flame;
    const plain = {
      ...flame, units: 10, baseline_seconds: 0, baseline_units: null,
      frames: [...flame.frames, { name: "new", file: "new.py", line: 1 }],
      nodes: { frame: [0, 1, 2, 6, 5], parent: [-1, 0, 1, 2, 2], total_s: [9, 9, 9, 4, 5], self_s: [0, 0, 0, 4, 5], kind: nodes.kind.slice(0, 5),
        base_total_s: null, base_self_s: null },
    };
    const beside = withNormalOf(plain, flame);
    return [new Tree(plain).compared, new Tree(beside).compared, beside.nodes.base_total_s, new Tree(beside).excess(4)];"""
    assert ask(FLAME + code) == [False, True, [30, 30, 30, 0, 10], pytest.approx(5 / 10 - 10 / 100)]


def test_a_search_tells_the_share_of_time_in_what_it_found_once(ask: Ask) -> None:
    told = ask(FLAME + "const { functions, share } = tree.search('M'); return [functions, share];")
    assert told == [2, 1], "main and matmul below it"
    assert ask(FLAME + "return tree.search('LOAD.py').share;") == 0.6


def test_frames_below_a_call_that_may_mix_moments_are_not_trusted(ask: Ask) -> None:
    assert ask(FLAME + "return [3, 5].map((node) => tree.untrusted(node));") == [False, True]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_words_in_frames_can_be_read_on_every_colour(ask: Ask, theme: str) -> None:
    code = """
    const style = document.createElement("style");
    style.textContent = await (await fetch("/tokens.css")).text();
    document.head.append(style);
    const { setTheme } = await load("lib/theme.js");
    setTheme("THEME");
    const { contrast, differenceTint, tokenTint } = await load("flame/tint.js");
    const channels = (colour) =>
      colour.startsWith("#") ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/[0-9]+/g).map(Number);
    const shares = Array.from({ length: 49 }, (_, i) => i / 24 - 1);
    const tints = [false, true].flatMap((faded) => [
      ...shares.map((share) => differenceTint(share, faded)),
      ...["flame-own", "flame-library", "flame-hot"].map((name) => tokenTint(name, faded)),
    ]);
    return Math.min(...tints.map(({ fill, ink }) => contrast(channels(fill), channels(ink))));""".replace("THEME", theme)
    assert ask(code) >= 4.5


def test_the_blamed_place_is_set_in_code_and_the_rest_is_text(ask: Ask) -> None:
    code = """
    const { sentence } = await load("blame/blame.js");
    const told = { sentence: "94 % of the lost time: data.py:88 decode_image, +369 of +393 ms a step.", function: "decode_image",
      file: "/job/data.py", line: 88 };
    const line = document.createElement("p");
    line.append(...sentence(told));
    const other = document.createElement("p");
    other.append(...sentence({ ...told, sentence: "This window looks like <normal>.", function: null }));
    const more = document.createElement("p");
    more.append(...sentence({ ...told, sentence: "More than all of the lost time: data.py:88 decode_image, +1.7 ms a step." }));
    return [line.innerHTML, other.innerHTML, more.innerHTML];"""
    assert ask(code) == [
        '<b class="more">94 %</b> of the lost time: <code>data.py:88 decode_image</code>, +369 of +393 ms a step.',
        "This window looks like &lt;normal&gt;.",
        '<b class="more">More than all</b> of the lost time: <code>data.py:88 decode_image</code>, +1.7 ms a step.',
    ]


LOST = (
    FLAME
    + """
const { mostLost } = await load("blame/suspect.js");
const { basis, otherwise, ownWords } = await load("blame/blame.js");
const about = { asked: { from: 0, to: 10 }, now: false, growing: false };
Object.assign(flame, { samples: 1000, sampler: "native", hz: 100, profile_until: null, note: null });
const words = (tree) => {
  const { said, aside } = ownWords({ ...flame, samples: tree.samples }, tree, about);
  return [said.map((part) => part.textContent ?? part).join(""), aside];
};
const named = (kind, names) => {
  flame.nodes.kind = kind;
  names.forEach((name, i) => name && (flame.frames[i] = { ...flame.frames[i], ...name }));
  return new Tree(flame);
};
"""
)


def test_while_the_server_has_not_answered_the_page_goes_the_same_way_down(ask: Ask) -> None:
    """A step took 0.3 s and takes 0.5 s, of which `load` 0.1 s and 0.3 s."""
    code = """
    const all = Array(6).fill("own");
    const library = ["own", "own", "own", "own", "library", "library"];
    const part = [null, null, null, null, null, { name: "step.<locals>.<genexpr>", file: "step.py" }];
    return [words(named(all, [])), mostLost(named(library, [])).frame.name, mostLost(named(all, part)).frame];"""
    sentence, above, owner = ask(LOST + code)
    assert sentence == ["100 % of the lost time: load.py:5 load, +200 of +200 ms a step", "Beside normal, native at 100 Hz."]
    assert above == "step", "the deepest own function"
    assert owner == {"name": "step", "file": "step.py", "line": 5}


def test_beside_several_ranks_the_one_that_is_waited_for_is_looked_at(ask: Ask) -> None:
    code = """
    const marks = [["root", ""], ["rank 0", ""], ["main", "main.py"], ["in rank 1", ""], ["load", "load.py"], ["rank 1", ""]];
    flame.frames = marks.map(([name, file], line) => ({ name, file, line }));
    flame.nodes = {
      frame: [0, 1, 2, 3, 4, 5, 2, 4], parent: [-1, 0, 1, 2, 3, 0, 5, 6],
      total_s: [20, 10, 10, 3, 3, 10, 10, 6], base_total_s: [60, 30, 30, 1, 1, 30, 30, 10],
      self_s: Array(8).fill(0), base_self_s: Array(8).fill(0), untrusted_s: Array(8).fill(0),
      kind: ["own", "library", "own", "joined", "own", "library", "own", "own"],
    };
    return words(new Tree(flame))[0];"""
    assert ask(LOST + code) == "100 % of the lost time: load.py:4 load, +200 of +200 ms a step"


def test_a_window_that_lost_little_or_holds_few_samples_or_units_is_told_by_what_most_of_it_went_to(ask: Ask) -> None:
    code = """
    flame.samples = 49;
    const short = words(new Tree(flame));
    flame.samples = 1000;
    const part = words(new Tree({ ...flame, units: 2, baseline_units: 20 }));
    flame.nodes.base_total_s = [48, 48, 48, 19, 14, 29];
    return [short, part, words(new Tree(flame))];"""
    said = "60 % of this window: load, most at load.py:5"
    few, share = "Only 49 samples in this window: too few to blame a line.", "Share of the main thread’s time, native at 100 Hz."
    assert ask(LOST + code) == [[said, few], [said, share], [said, share]]


def test_a_cell_of_a_notebook_is_called_one(ask: Ask) -> None:
    files = ["/job/data.py", "/tmp/ipykernel_4127/3391234.py", "<ipython-input-3-0f3a>", "<string>"]
    code = "const { place } = await load('lib/format.js'); return FILES.map((file) => place(file, 5));"
    assert ask(code.replace("FILES", str(files))) == ["data.py:5", "cell:5", "cell 3:5", "<string>:5"]


def test_differences_in_one_unit_name_it_once(ask: Ask) -> None:
    code = "const { signedOf } = await load('lib/figures.js'); return [[0.369, 0.393], [0.5, 1.5], [90, 91]].map((pair) => signedOf(...pair));"
    assert ask(code) == ["+369 of +393 ms", "+500 ms of +1.5 s", "+1 min 30 s of +1 min 31 s"]


def test_where_sentence_and_graph_do_not_agree_the_page_says_so(ask: Ask) -> None:
    code = """
    const blame = (verdict, name, contradiction = "") => ({
      verdict, function: name, file: name && `${name}.py`, contradiction, confidence: "low", samples: 900, normal_samples: 9, normal: [], basis: "steps" });
    const shown = new Tree(flame);
    const told = (...one) => otherwise(blame(...one), shown);
    return [
      [told("line", "load"), told("line", "step"), told("line", "matmul"), told("no_difference", null), told("gpu_slower", null)],
      basis(blame("line", "load", "The flame graph says otherwise."), false, shown).split(". ")[0],
    ];"""
    alone = "The graph alone would name load.py:5 load, +200 ms a step."
    assert ask(LOST + code) == [["", "", alone, alone, ""], "The flame graph says otherwise"]


def test_rows_of_the_chart_that_stand_all_the_time_are_left_out_but_the_last(ask: Ask) -> None:
    code = """
    const { boxes, trunkOf } = await load("flame/chart.js");
    const spans = { start: [0, 0, 0, 5], end: [10, 10, 4, 9], depth: [0, 1, 2, 2], frame: [0, 1, 2, 3] };
    const unsplit = { start: [0, 0, 0, 0, 0, 0, 9.9], end: Array(7).fill(10), depth: [0, 1, 2, 3, 4, 5, 6], frame: [0, 1, 2, 3, 4, 5, 6] };
    const drawn = boxes(spans, { lo: 5, hi: 10 }, 100, 1, 2).map(({ span, row, x, width }) => [span, row, x, width]);
    return [trunkOf(spans), trunkOf(unsplit), drawn];"""
    assert ask(code) == [1, 2, [[1, 0, 0, 100], [3, 1, 0, 80]]], "of a trunk that ends without a split the last four rows stay"


def test_the_servers_evidence_is_shown_in_units_that_are_easy_to_read(ask: Ask) -> None:
    code = """
    const { facts } = await load("blame/blame.js");
    const row = (name, unit, window, normal) => ({ name, unit, window, normal });
    const evidence = [row("Data", "s/batch", 0.0125, 0.001), row("CPU of others", "cores", 1.75, 0.0625), row("SM clock", "MHz", 1731.5, 1794)];
    return facts({ evidence }).map(({ name, window, rest, digits }) => [name, window, rest, digits]);"""
    assert ask(code) == [["Data, ms", 12.5, 1, 1], ["CPU of others, cores", 1.75, 0.0625, 1], ["SM clock, MHz", 1731.5, 1794, 0]]


def test_ansi_colours_are_shown_and_html_is_text(ask: Ask) -> None:
    code = r"""
    const { marked, nodesOf, partsOf } = await load("logs/ansi.js");
    const { el } = await load("lib/dom.js");
    return el("p", {}, ...nodesOf(marked(partsOf("\x1b[31mbad\x1b[0m <b>not bold</b>\x1b[2K\x07"), []))).innerHTML;"""
    assert ask(code) == '<span class="ansi-red">bad</span> &lt;b&gt;not bold&lt;/b&gt;[U+0007]'


def test_the_runs_own_curves_stand_first_and_of_those_that_nobody_named_at_most_four(ask: Ask) -> None:
    code = """
    const { lanesOf } = await load("data/lanes.js");
    const meta = (run) => (name) => ({ run, name, labels: {} });
    const run = ["phase/data_s", "phase/forward_s", "train/loss", "val/loss", "a", "b", "c", "d", "e"].map(meta("r"));
    const gpu = [0, 1].map((index) => ({ run: null, name: "gpu/utilization_pct", labels: { gpu: String(index) } }));
    const ids = (metas) => lanesOf(metas).map(({ id }) => id);
    return [ids([...["host/cpu_pct"].map(meta(null)), ...run]), ids([...gpu, ...run])];"""
    host, gpu = ask(code)
    own = ["loss", "phases", "other a", "other b", "other c", "other d"]
    assert host == [*own, "cpu"]
    assert gpu == [*own, "heat", "busy"]


def test_lanes_stand_as_a_person_put_them_and_new_ones_where_they_belong(ask: Ask) -> None:
    body = """
    const { ordered } = await load("timeline/lane_order.js");
    const ids = (all, order) => ordered(all.map((id) => ({ id })), order).map(({ id }) => id);
    return [ids(["a", "b", "c"], []), ids(["a", "b", "c"], ["c", "a", "b"]), ids(["a", "new", "b", "c"], ["c", "a", "gone", "b"])];
    """
    assert ask(body) == [["a", "b", "c"], ["c", "a", "b"], ["c", "a", "new", "b"]]


def test_while_a_question_is_under_way_only_the_newest_waits(ask: Ask) -> None:
    code = """
    const { newest } = await load("lib/api.js");
    const [asked, done] = [[], []];
    const put = newest(async (q) => (asked.push(q), q), (answer) => done.push(answer), () => {});
    await Promise.all([put(1), put(2), put(3)]);
    return [asked, done];"""
    assert ask(code) == [[1, 3], [1, 3]]


def test_labels_of_markers_never_overlap(ask: Ask) -> None:
    code = """
    const { placed } = await load("timeline/events.js");
    const events = [10, 11, 50].map((time_s) => ({ kind: "checkpoint", time_s, step: time_s }));
    return placed(events, { lo: 0, hi: 100 }, 800, { from: Infinity, to: -Infinity }).map(({ labelled }) => labelled);"""
    assert ask(code) == [False, True, True]


def test_a_line_does_not_repeat_what_its_columns_say(ask: Ask) -> None:
    code = """
    const { logLine } = await load("pages/live/log.js");
    const told = (text) => logLine({ time_s: 0, level: 20, file: "a.log", text, ranks: [] }, { file: false }).querySelector(".m").textContent;
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
        ("percent(0.0312)", "3.1 %"),
        ("signed(0.369)", "+369 ms"),
        ("signed(-0.0042)", "−4.2 ms"),
        ("signed(0.00001)", "0 ms"),
    ],
)
def test_numbers_are_told_as_a_person_reads_them(ask: Ask, call: str, shown: str) -> None:
    words = "{ ...await load('lib/format.js'), ...await load('lib/figures.js') }"
    assert ask(f"const {{ figure, tick, duration, place, percent, signed }} = {words}; return {call};") == shown
