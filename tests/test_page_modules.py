"""The pure modules of `assets/` that odd runs meet: steps without times, phases that hold others, names that are not text."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dashboard.user_files.visible import is_seen, visible_name
from tests.conftest import Ask

SERIES = """
const { STEP, TIME } = await load("lib/axis.js");
const { Series } = await load("data/series.js");
const series = (name, width, told, axis = TIME) => {
  const one = new Series({ run: "a", name, labels: {} }, width, axis);
  one.append({ step: told.v.map((_, i) => i), t: told.v.map(() => null), ...told });
  return one;
};
"""


def test_points_without_times_stand_at_their_steps(ask: Ask) -> None:
    code = (
        SERIES
        + "const one = series('loss', 2, { step: [1, 2, 3, 5], v: [4, 3, 2, 1] }, STEP); return [one.bin, one.t, one.points];"
    )
    assert ask(code) == [[0, 1, 2], [1, 3, 5], 4]


def test_steps_that_go_far_back_are_a_run_that_was_started_again(ask: Ask) -> None:
    """A step that comes twice is already here; one of a new segment falls into its own bin, not into the last."""
    code = (
        SERIES
        + """
    const one = series("loss", 10, { step: [1000, 1010, 1020], v: [1, 2, 3], segment: [0, 0, 0] }, STEP);
    one.append({ t: [null, null], step: [1020, 800], v: [9, 7], segment: [0, 1] });
    return [one.bin, one.max, one.segment];"""
    )
    assert ask(code) == [[80, 100, 101, 102], [7, 1, 2, 3], [1, 0, 0, 0]]


def test_a_constant_is_drawn_constant(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/columns.js");
    const lr = Array(999).fill(0.0003);
    const many = [0, 1, 2].map(() => series("lr", 10, { t: lr.map((_, i) => i / 100), v: lr }));
    const { min, max, mean } = columns(many, 0, 1, 1);
    return [many[0].mean(0), min[0], max[0], mean[0]];"""
    )
    assert set(ask(code)) == {0.0003}


def test_a_line_breaks_where_a_run_was_started_again(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/columns.js");
    const one = series("loss", 1, { t: [0.5, 1.5, 2.5], v: [1, 2, 3], step: [8, 9, 5], segment: [0, 0, 1] });
    return columns([one], 0, 3, 1).cuts;"""
    )
    assert ask(code) == [2]


PHASES = (
    SERIES
    + """
const { layersOf, holders, stepSeconds } = await load("data/phases.js");
const phase = (name, seconds, every = 1) => {
  const told = { t: [], v: [], step: [] };
  for (let i = 0; i < 100; i += every) { told.t.push(i); told.v.push(seconds); told.step.push(i); }
  return series(name, 10, told);
};
"""
)


def test_a_phase_on_some_lines_only_takes_its_share_of_the_steps(ask: Ask) -> None:
    """Ten steps a bin: 5 s of validation in one of them are half a second a step, and the steady phases stay as they are."""
    code = (
        PHASES
        + "return layersOf([phase('a', 0.25), phase('val', 5, 10), phase('rare', 5, 50)], { first: 0, length: 10 }).layers.map((l) => [...l]);"
    )
    steady, val, rare = ask(code)
    assert steady == pytest.approx([0.25] * 10)
    assert val == pytest.approx([0.5] * 10)
    assert rare == pytest.approx([0.5, 0, 0, 0, 0] * 2)


def test_a_phase_with_a_line_of_its_own_leaves_the_others_standing(ask: Ask) -> None:
    code = (
        PHASES
        + """
    const forward = series("forward", 1, { t: [0.5, 1.5, 3.5, 4.5], v: [2, 2, 2, 2] });
    const val = series("val", 1, { t: [2.5], v: [9] });
    return layersOf([forward, val], { first: 0, length: 5 }).layers.map((layer) => [...layer]);"""
    )
    assert ask(code) == [[2, 2, 2, 2, 2], [0, 0, 9, 0, 0]]


@pytest.mark.parametrize(
    ("names", "seconds", "step_s", "held"),
    [
        (["train_step", "data", "forward", "backward"], [1.0, 0.1, 0.4, 0.5], 1.1, [0]),
        (["step", "train_step", "data", "forward", "backward"], [1.1, 1.0, 0.1, 0.4, 0.5], 1.1, [0, 1]),
        (["fit", "fit/data", "fit/forward"], [1.0, 0.1, 0.8], None, [0]),
        (["step", "data", "forward"], [1.0, 0.1, 0.8], None, [0]),
        (["data", "forward", "backward"], [0.6, 0.2, 0.2], 1.0, []),
        (["data", "forward", "backward"], [1.0, 0.5, 0.5], None, []),
        (["data", "train_step", "forward", "backward"], [1.0, 0.9, 0.4, 0.5], 1.0, [1]),
        (["data", "train_step", "forward"], [0.1, 1.0, 0.9], 0.001, [1]),
        (["data", "step", "forward", "backward"], [0.6, 0.7, 0.3, 0.4], 1.3, [1]),
        (["step"], [1.0], 1.0, []),
    ],
)
def test_phases_that_hold_others_are_recognised_by_name_and_by_length(
    ask: Ask, names: list[str], seconds: list[float], step_s: float | None, held: list[int]
) -> None:
    told = ", ".join(map(str, (names, seconds, "null" if step_s is None else step_s)))
    assert ask(f"const {{ holders }} = await load('data/phases.js'); return [...holders({told})].sort();") == held


def test_what_a_step_takes_is_told_by_the_phase_that_most_steps_have(ask: Ask) -> None:
    assert ask(PHASES + "return stepSeconds([phase('val', 5, 50), phase('a', 0.25)]);") == 1


def test_what_no_line_reaches_is_a_dot(ask: Ask) -> None:
    code = """
    const { columns } = await load("data/columns.js");
    const { Series } = await load("data/series.js");
    const one = new Series({ run: "a", name: "loss", labels: {} }, 1);
    const at = [0, 1, 2, 3, 4, 5, 40, 41];
    const v = [1, 1, "NaN", 1, "NaN", 1, 1, 1];
    one.append({ t: at, v, step: at, segment: [0, 0, 0, 0, 0, 0, 1, 2] });
    return columns([one], 0, 50, 1).lone;"""
    assert ask(code) == [3, 5, 40, 41], "between two that are not numbers, before a new start, between two starts, and last"


def test_what_is_not_a_number_for_long_is_one_stretch(ask: Ask) -> None:
    code = """
    const { stretches } = await load("timeline/marks.js");
    const seen = [10, 11, 13, 30, 90, 92].map((x, i) => ({ x, text: i === 4 ? "inf" : "NaN" }));
    return stretches(seen, 4).map(({ from, to, text }) => [from, to, text]);"""
    assert ask(code) == [[10, 13, "NaN"], [30, 30, "NaN"], [90, 92, "inf"]]


def test_a_tick_is_told_exactly_or_not_at_all(ask: Ask) -> None:
    code = """
    const { tickWords } = await load("lib/format.js");
    const { ticks, robust } = await load("lib/scale.js");
    const constant = robust([3e-4, 3e-4], [3e-4, 3e-4]);
    return [tickWords([9.5e-4, 1e-3, 1.05e-3]), tickWords([2.301, 2.302]), tickWords([1000.25, 1000.5]), ticks(constant, 4)];"""
    assert ask(code) == [["9.5e-4", "1e-3", ""], ["2.301", "2.302"], ["1000", "1001"], [3e-4]]


def test_no_number_is_longer_than_its_place(ask: Ask) -> None:
    code = """
    const { count, duration, figure, megabytes, size, tick } = await load("lib/format.js");
    const { percent } = await load("lib/figures.js");
    const odd = [1.234e12, -1.234e12, 1.5e16, 3.4e38, -1.7e308, 99_999_999, -99_999_999];
    const all = Array.from({ length: 617 }, (_, i) => 1.2345 * 10 ** (i - 308)).flatMap((value) => [value, -value]);
    const longest = [figure, count, tick, percent, duration, megabytes, size].map((words) => Math.max(...all.map((value) => words(value).length)));
    return [odd.map((value) => figure(value)), longest, count(123456789012345)];"""
    words, longest, steps = ask(code)
    assert words == ["1.23e12", "−1.23e12", "1.50e16", "3.40e38", "−1.70e308", "99,999,999", "−99,999,999"]
    assert steps == "123,456,789,012,345"
    assert max(longest) <= 30, longest


ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin", "Pacific/Apia", "America/New_York")


@given(some.lists(some.integers(-2_000_000_000, 4_000_000_000), min_size=1, max_size=20), some.sampled_from(ZONES))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_are_those_of_the_zone_that_the_page_names(ask: Ask, times: list[int], zone: str) -> None:
    code = f"""
    document.documentElement.dataset.timeZone = "{zone}";
    const {{ clock, day, minute, sameDay, weekday, year }} = await load("lib/format.js");
    return {times}.map((time_s) => [clock(time_s), minute(time_s), day(time_s), weekday(time_s), year(time_s), sameDay(time_s, {times[0]})]);"""
    local = [datetime.fromtimestamp(time_s, ZoneInfo(zone)) for time_s in times]
    if any((moment.utcoffset() or timedelta()).seconds % 900 for moment in local):
        return  # before zones were rounded to quarters of an hour
    expected = [
        [
            f"{moment:%H:%M:%S}",
            f"{moment:%H:%M}",
            f"{moment.day} {moment:%b}",
            f"{moment:%a}",
            moment.year,
            moment.date() == local[0].date(),
        ]
        for moment in local
    ]
    assert [[*row[:2], row[2].replace("Sept", "Sep"), *row[3:]] for row in ask(code)] == expected


def test_an_unknown_zone_and_an_impossible_time_cost_only_themselves(ask: Ask) -> None:
    code = """
    document.documentElement.dataset.timeZone = "No/Where";
    const { clock, sameDay } = await load("lib/format.js");
    const { timeTicks } = await load("lib/scale.js");
    const there = clock(1e9) === new Date(1e12).toTimeString().slice(0, 8);
    document.documentElement.dataset.timeZone = "Asia/Kolkata";
    const { times } = timeTicks({ lo: 1.7e9, hi: 1.7e9 + 86400 }, 8);
    return [there, typeof clock(1e20), sameDay(1e20, 1e20), times.every((at) => clock(at).endsWith(":00:00"))];"""
    assert ask(code) == [True, "string", False, True]


def test_the_parts_of_a_step_are_told_as_far_as_there_is_room(ask: Ask) -> None:
    code = """
    const { legend } = await load("timeline/legend.js");
    const traces = ["data", "forward", "backward", "optimizer", "eval"].map((label) => ({ label, colour: "ink", keys: [] }));
    const rows = (room) => legend({ kind: "stack", traces, digits: 0 }, [1, 5, 6, 2, 0], null, room).map(({ label, value }) => `${label} ${value}`);
    return [rows(9).length, rows(4)];"""
    assert ask(code) == [6, ["step 14", "forward 5", "backward 6", "others 3"]]


def test_what_is_told_of_many_lines_fits_beside_its_label(ask: Ask) -> None:
    code = """
    const { legend } = await load("timeline/legend.js");
    const traces = [0, 1, 2, 3].map((gpu) => ({ label: `GPU ${gpu}`, colour: "ink", keys: [] }));
    return [[1755, 1690, 1755, 1700], [640, 580, 640, 600]].map((values) => legend({ kind: "lines", traces, digits: 0 }, values, null)[1]);"""
    assert ask(code) == [{"label": "lowest", "value": "1,690"}, {"label": "others", "value": "580–640"}]


def test_markers_of_a_kind_that_would_hide_each_other_are_one(ask: Ask) -> None:
    code = """
    const { placed } = await load("timeline/events.js");
    const events = [...Array(500).keys()].map((i) => ({ kind: "resume", time_s: 50 + i / 100, step: i }));
    const marks = placed([{ kind: "note", time_s: 51, text: "here" }, ...events], { lo: 0, hi: 100 }, 800, { from: 0, to: 0 });
    return [marks.length, marks.filter(({ event }) => event.kind === "note").length];"""
    assert ask(code) == [11, 1]


def test_what_other_loggers_call_it_has_its_lane(ask: Ask) -> None:
    code = """
    const { lanesOf, furtherFound } = await load("data/lanes.js");
    const metas = ["loss", "train_loss", "eval_loss", "learning_rate", "epoch", "phase/oddly"].map((name) => ({ run: "a", name, labels: {} }));
    return [lanesOf(metas).map(({ id, traces }) => [id, traces.map(({ label }) => label)]), furtherFound(metas, "")];"""
    lanes, further = ask(code)
    assert lanes[:2] == [["loss", ["train", "val"]], ["lr", ["now"]]]
    assert further == ["train_loss", "epoch", "phase/oddly"], "nothing is drawn nowhere"


def test_a_link_without_a_span_shows_no_future(ask: Ask) -> None:
    code = """
    const { Range } = await load("data/range.js");
    const link = { run: null, from: 950, to: 990, span: null, at: null, axis: null };
    const seen = (now) => { const range = new Range({ ...link }); range.settle(now); return range.view(now); };
    return [seen(1000), seen(5000)];"""
    young, old = ask(code)
    assert young == {"lo": 400, "hi": 1000}
    assert old == {"lo": 670, "hi": 1270}, "what came later is known, and may be seen"


def test_the_ticks_of_steps_are_whole_numbers(ask: Ask) -> None:
    code = """
    const { STEP } = await load("lib/axis.js");
    return [STEP.ticks({ lo: 0, hi: 3 }, 8), STEP.ticks({ lo: 0, hi: 1200 }, 8), [STEP.length(1), STEP.word(1200.4)]];"""
    few, many, words = ask(code)
    assert [tick["at"] for tick in few] == [0, 1, 2, 3]
    assert [tick["word"] for tick in many] == ["0", "200", "400", "600", "800", "1,000", "1,200"]
    assert words == ["1 step", "step 1,200"]


def test_what_nobody_sees_is_shown_and_html_is_text(ask: Ask) -> None:
    code = r"""
    const { el, setText } = await load("lib/dom.js");
    const { logLine } = await load("pages/live/log.js");
    const name = "<b>a\u202egnp.exe\x07";
    const button = el("button", { title: name }, name);
    const other = el("p");
    setText(other, name);
    const line = logLine({ time_s: 0, level: 20, file: "a.log", text: "\u2067right", ranks: [] }, { file: true });
    return [button.innerHTML, button.title, other.textContent, line.querySelector(".m").textContent];"""
    html, title, text, line = ask(code)
    assert html == "&lt;b&gt;a[U+202E]gnp.exe[U+0007]"
    assert title == text == "<b>a[U+202E]gnp.exe[U+0007]"
    assert line == "[U+2067]right"


@given(some.text(some.sampled_from("a \t\x07\u00ad\u00a0\u202e\u3000\u2800\ufeff\U000e0041é"), max_size=8))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_that_differ_look_different_here_and_in_python(ask: Ask, name: str) -> None:
    found = ask(
        f"""const {{ visibleName }} = await load("lib/visible.js"); return {json.dumps([name, f"{name} "])}.map(visibleName);"""
    )
    assert found == [visible_name(name), visible_name(f"{name} ")]
    assert found[0] != found[1] and all(text == text.strip() for text in found)
    assert not is_seen(name) or set(name) & {"a", "é"}


def test_what_was_not_read_is_counted_in_plural_and_singular(ask: Ask) -> None:
    code = """
    const { summary } = await load("pages/files.js");
    const file = (more) => ({ path: "a", offset: 0, lines_read: 1, lines_skipped: 0, fields_skipped: 0, first_skip: "", ...more });
    return [[file({ lines_skipped: 1 })], [file({ trouble: "It is a pipe." }), file({ lines_skipped: 12, fields_skipped: 3 })], [file({ fields_skipped: 2 })]].map(summary);"""
    assert ask(code) == ["1 line skipped", "1 file set aside, 12 lines skipped", "2 fields skipped"]


def test_what_failed_is_asked_again_each_time_later(ask: Ask) -> None:
    code = """
    const { Retry } = await load("lib/retry.js");
    const retry = new Retry(() => {});
    const waits = Array.from({ length: 7 }, () => { const wait_s = retry.failed(); clearTimeout(retry.timer); retry.timer = 0; return wait_s; });
    retry.done();
    return [waits, retry.wait_ms];"""
    assert ask(code) == [[1, 2, 4, 8, 16, 30, 30], 1000]


def test_a_curve_is_found_among_thousands_and_only_a_few_are_shown(ask: Ask) -> None:
    code = """
    const { FEW, furtherFound, lanesOf } = await load("data/lanes.js");
    const metas = Array.from({ length: 1000 }, (_, i) => ({ run: "r", name: `layer${i}/norm`, labels: {} }));
    const shown = (further) => lanesOf(metas, further).map(({ title }) => title);
    return [shown(FEW).length, furtherFound(metas, "").length, shown({ search: "norm yer77", most: 3 })];"""
    assert ask(code) == [4, 1000, ["layer77/norm", "layer770/norm", "layer771/norm"]]


@pytest.mark.parametrize("state", ["ended", "finished", "failed", "killed", "crashed"])
def test_a_run_that_is_over_is_over_however_it_ended(ask: Ask, state: str) -> None:
    code = f"""
    const {{ Runs, STATES }} = await load("data/runs.js");
    const runs = new Runs("a");
    Object.assign(runs, {{ list: [{{ run: "a", state: "{state}", points: 1, last_step: 1, last_time_s: null }}], read_once: true }});
    return [runs.over, runs.missing, runs.untimed, STATES["{state}"][0].toLowerCase()];"""
    assert ask(code) == [True, False, True, state]


def test_the_worst_is_said_first_and_a_stuck_collector_before_other_failures(ask: Ask) -> None:
    code = """
    const { worst } = await load("pages/run_strip.js");
    const message = { problems: [], read_only: null, gpus: [], gpu_note: null, collectors: [
      { name: "host", state: "failed", last_error: "no /proc" },
      { name: "profile", state: "stuck", sentence: "The profile collector is stuck in read." },
    ] };
    const current = { state: "killed", state_reason: "Killed by signal 9 at step 7." };
    const quiet = { ...message, collectors: [] };
    return [{ message, current }, { message: quiet, current }].map((runs) => worst({ lost_s: null, now_s: 0, ...runs }).sentence);"""
    assert ask(code) == ["The profile collector is stuck in read.", "Killed by signal 9 at step 7."]


def test_the_starters_lines_run_as_they_are_pasted(ask: Ask, tmp_path: Path) -> None:
    log_dir = tmp_path / 'an "odd" folder' / "logs"
    code = ask(f"const {{ snippet }} = await load('pages/live/snippet.js'); return snippet({str(log_dir)!r});")
    subprocess.run([sys.executable, "-c", code.replace("range(100)", "range(2)")], check=True, cwd=tmp_path, timeout=60)
    assert (log_dir / "my-run" / "metrics.jsonl").read_text().count("loss") == 2


def test_the_sentence_and_the_frame_below_it_say_the_same_share_or_the_sentence_says_why_not(ask: Ask) -> None:
    code = """
    const { ownWords } = await load("blame/blame.js");
    const about = { asked: { from: 0, to: 1 }, now: false, growing: false };
    const tree = (share, whole) => ({ hottest: () => ({ frame: { file: "/a/train.py", line: 135, name: "run" }, share, whole }) });
    return [[0.65, 1], [0.65, 0.66]].map(([share, whole]) => ownWords(null, tree(share, whole), about).said.map((part) => part.textContent ?? part).join(""));"""
    assert ask(code) == [
        "65 % of this window: run, most at train.py:135; 100 % with the functions of yours that it calls",
        "65 % of this window: run, most at train.py:135",
    ]


def test_of_three_thousand_runs_only_what_fits_is_made(ask: Ask) -> None:
    code = """
    const { Picker } = await load("lib/picker.js");
    const { Runs } = await load("data/runs.js");
    const runs = new Runs("sweep/7");
    const list = Array.from({ length: 3000 }, (_, i) => ({ run: `sweep/${i}`, state: "finished", last_time_s: 0 }));
    Object.assign(runs, { list, read_once: true });
    const picked = [];
    const picker = new Picker((run) => picked.push(run));
    document.body.append(picker.element);
    picker.draw(runs);
    picker.open();
    const all = [picker.rows.children.length, picker.more.textContent];
    picker.input.value = "eep 2999";
    picker.input.dispatchEvent(new Event("input"));
    const found = [...picker.rows.children].map((row) => row.dataset.run);
    picker.input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
    picker.element.remove();
    return [all, found, picked];"""
    assert ask(code) == [[50, "2,950 more: type a part of the name"], ["sweep/2999"], ["sweep/2999"]]


def test_a_start_behind_the_first_and_steps_that_went_back_are_marked_as_resumed(ask: Ask) -> None:
    code = """
    const { placed } = await load("timeline/events.js");
    const marks = placed(
      [{ kind: "start", time_s: 10, step: null }, { kind: "resume", time_s: 50, step: 1200 }, { kind: "resume", time_s: 90, step: null }],
      { lo: 0, hi: 100 }, 2000, { from: Infinity, to: -Infinity });
    return marks.map(({ label }) => label);"""
    assert ask(code) == ["start", "resumed at 1,200", "resumed"]


def test_runs_of_one_process_are_beside_each_other(ask: Ask) -> None:
    code = """
    const { Runs } = await load("data/runs.js");
    const row = (run, pid, started_s, ended_s = null, host = "a") => ({ run, started_s, ended_s, info: pid === null ? {} : { pid, host } });
    const runs = new Runs("lit");
    Object.assign(runs, { list: [row("lit", 7, 100, 200), row("line", 7, 103), row("later", 7, 300), row("there", 7, 103, null, "b"), row("other", 8, 103), row("odd", null, 103)] });
    const plain = new Runs("odd");
    plain.list = runs.list;
    return [runs.beside, plain.beside];"""
    assert ask(code) == [["line"], []]
