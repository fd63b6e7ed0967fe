"""The pure modules of `assets/`, each asked in a real Chromium: what is binned, cut, blamed and coloured."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Ask


def test_a_young_run_fills_the_page_until_a_person_sets_the_span(ask: Ask) -> None:
    code = """
    const { ViewRange } = await load("data/view_range.js");
    const range = new ViewRange({ run: null, from: null, to: null, span: null, at: null });
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
    const { ViewRange } = await load("data/view_range.js");
    const range = new ViewRange({ run: null, from: null, to: null, span: null, at: null });
    range.zoom(900, 0.5, 1000);
    range.select({ from: 880, to: 890 }, 1000);
    const again = new ViewRange({ run: null, ...range.address(1000) });
    return [range.view(0), again.view(5000), again.window];"""
    seen, again, window = ask(code)
    assert again == seen
    assert window == {"from": 880, "to": 890}


@pytest.mark.parametrize("axis", ["time", "step"])
@pytest.mark.parametrize(
    ("lo", "hi"),
    [
        *[("1e20", "2e20"), ("8.64e12", "8.65e12"), ("1764000000", "253402300800"), ("253402300799.5", "253402300801")],
        *[("-1", "1764000000"), ("-2e9", "-1e9"), ("-1e300", "1e300"), ("NaN", "1"), ("1", "Infinity"), ("2", "1")],
        *[("0", "1"), ("1764000000", "1764000048"), ("1e9", "253402300799")],
    ],
)
def test_a_window_of_no_time_that_a_clock_can_say_is_none(ask: Ask, axis: str, lo: str, hi: str) -> None:
    code = f"""
    const {{ readAddress }} = await load("lib/url.js");
    const {{ ViewRange }} = await load("data/view_range.js");
    const {{ Pins }} = await load("timeline/pins.js");
    const {{ BaselinePicker }} = await load("timeline/baseline_picker.js");
    const before = location.href;
    history.replaceState(null, "", "?axis={axis}&from={lo}&to={hi}&at={hi}&baseline={lo}-{hi}&pins={lo}-{hi},5-6");
    const [axis, surface, element] = ["div", "div", "div"].map((name) => document.createElement(name));
    const timeline = {{ axis, surface, element }};
    timeline.axis.innerHTML = "<div class='scale'></div>";
    const address = readAddress();
    const range = new ViewRange(address);
    const found = [range.window, address.at, new BaselinePicker(timeline, {{ range }}, {{}}).value?.window ?? null, new Pins(timeline, {{ range }}, () => {{}}).windows];
    history.replaceState(null, "", before);
    return found;"""
    window, at, compared, pins = ask(code)
    ends, most = (float(lo), float(hi)), 1e15 if axis == "step" else 253_402_300_799
    least = -most if axis == "step" else 0
    said = {"from": ends[0], "to": ends[1]} if ends[0] < ends[1] and all(least <= end <= most for end in ends) else None
    assert window == said
    assert at == (ends[1] if least <= ends[1] <= most else None)
    if not lo.startswith("-"):
        assert (compared, pins[:-1]) == (said, [said] if said else [])
    assert pins[-1] == {"from": 5, "to": 6}


@pytest.mark.parametrize(
    ("text", "baseline"),
    [
        ("@a", {"run": "a", "window": None}),
        ("@", {"run": "", "window": None}),
        ("@1-2@b", {"run": "1-2@b", "window": None}),
        ("5.000-6.500@a/b c", {"run": "a/b c", "window": {"from": 5, "to": 6.5}}),
        ("5.000-6.500", {"run": None, "window": {"from": 5, "to": 6.5}}),
        ("", None),
        ("normal", None),
    ],
)
def test_what_a_window_is_compared_with_is_read_from_the_address_and_written_back(
    ask: Ask, text: str, baseline: object
) -> None:
    code = f"""
    const {{ BaselinePicker }} = await load("timeline/baseline_picker.js");
    const before = location.href;
    history.replaceState(null, "", `?${{new URLSearchParams({{ baseline: {json.dumps(text)} }})}}`);
    const [surface, element] = ["div", "div"].map((name) => document.createElement(name));
    const picker = new BaselinePicker({{ surface, element }}, {{}}, () => {{}});
    history.replaceState(null, "", before);
    return [picker.value, picker.address().baseline];"""
    assert ask(code) == [baseline, text if baseline else None]


def test_ansi_colours_are_shown_and_html_is_text(ask: Ask) -> None:
    code = r"""
    const { marked, nodesOf, partsOf } = await load("logs/line.js");
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


def test_lines_of_one_metric_are_named_by_their_labels_whatever_these_are(ask: Ask) -> None:
    code = """
    const { gpuPageLanes } = await load("pages/gpus/lanes.js");
    const metas = (name, each) => each.map((labels) => ({ run: null, name, label: name, unit: "", labels: { host: "box", ...labels } }));
    const machine = [
      ...metas("host/cpu_core_pct", ["10", "2", "0"].map((core) => ({ core }))),
      ...metas("host/fan_pct", [{ fan: "1" }, { fan: "0" }]),
      ...metas("host/load_1m", [{}]),
      ...metas("host/run_threads", [{ run: "b", rank: "1" }, { run: "b" }, { run: "a" }]),
    ];
    return Object.fromEntries(gpuPageLanes(machine, { lost: new Map(), waits: new Map() }, true).map(({ title, lines }) => [title, lines.map(({ label }) => label)]));"""
    found = ask(code)
    assert found["host/cpu_core_pct"] == ["core 0", "core 2", "core 10"]
    assert found["host/fan_pct"] == ["fan 0", "fan 1"]
    assert found["host/load_1m"] == ["now"]
    assert found["host/run_threads"] == ["a", "b", "b 1"]


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
    const { placed } = await load("timeline/marks.js");
    const events = [10, 13, 50, 51].map((time_s) => ({ kind: "checkpoint", time_s, step: time_s }));
    return placed(events, { lo: 0, hi: 100 }, 800, { from: Infinity, to: -Infinity }).map(({ labelled }) => labelled);"""
    assert ask(code) == [False, True, False, False]  # the last two are too near for more than a tick


def test_a_line_does_not_repeat_what_its_columns_say(ask: Ask) -> None:
    code = """
    const { logLine } = await load("logs/line.js");
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
        ("percent(0.0312)", "3.1%"),
        ("signed(0.369)", "+369 ms"),
        ("signed(-0.0042)", "−4.2 ms"),
        ("signed(0.00001)", "0 ms"),
    ],
)
def test_numbers_are_told_as_a_person_reads_them(ask: Ask, call: str, shown: str) -> None:
    words = "{ ...await load('lib/format.js'), ...await load('lib/figures.js') }"
    assert ask(f"const {{ figure, tick, duration, place, percent, signed }} = {words}; return {call};") == shown
