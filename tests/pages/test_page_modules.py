"""The pure modules of `assets/` that odd runs meet: names that are not text, numbers without end, thousands of rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dashboard.user_files.yaml_file import is_seen, visible_name
from tests.conftest import Ask


def test_what_is_not_a_number_for_long_is_one_stretch(ask: Ask) -> None:
    code = """
    const { stretches } = await load("timeline/marks.js");
    const seen = [10, 11, 13, 30, 90, 92].map((x, i) => ({ x, text: i === 4 ? "inf" : "NaN" }));
    return stretches(seen, 4).map(({ from, to, text }) => [from, to, text]);"""
    assert ask(code) == [[10, 13, "NaN"], [30, 30, "NaN"], [90, 92, "inf"]]


def test_a_tick_is_told_exactly_or_not_at_all(ask: Ask) -> None:
    code = """
    const { tickWords } = await load("lib/format.js");
    const { ticks, robust } = await load("lib/axis.js");
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


def test_any_tick_fits_beside_its_plot(ask: Ask) -> None:
    code = """
    const { AXIS_PX, tick } = await load("lib/format.js");
    const context = document.createElement("canvas").getContext("2d");
    const numbers = [0.9995, 123.4, 1234, 99990, 999.9e6, 1.2345];
    const small = Array.from({ length: 617 }, (_, i) => 1.8888 * 10 ** (i - 308));
    const words = [...numbers, ...small].flatMap((value) => [tick(value), tick(-value)]);
    const wide = ["sans-serif", "Arial", "DejaVu Sans"].map((font) => {
      context.font = `11px ${font}`;
      return Math.max(...words.map((word) => context.measureText(word).width));
    });
    const tokens = await (await fetch("/tokens.css")).text();
    return [AXIS_PX, Math.max(...wide), tokens.includes(`--lane-axis-w: ${AXIS_PX}px;`)];"""
    room, widest, is_token = ask(code)
    assert widest + 4 <= room and is_token, (room, widest)


def test_what_is_told_of_many_lines_fits_beside_its_label(ask: Ask) -> None:
    code = """
    const { legend } = await load("timeline/lane.js");
    const lines = [0, 1, 2, 3].map((gpu) => ({ label: `GPU ${gpu}`, colour: "ink", keys: [] }));
    return [[1755, 1690, 1755, 1700], [640, 580, 640, 600]].map((values) => legend({ kind: "lines", lines, digits: 0 }, values, null)[1]);"""
    assert ask(code) == [{"label": "lowest", "value": "1,690"}, {"label": "others", "value": "580–640"}]


def test_markers_of_a_kind_that_would_hide_each_other_are_one(ask: Ask) -> None:
    code = """
    const { placed } = await load("timeline/marks.js");
    const events = [...Array(500).keys()].map((i) => ({ kind: "resume", time_s: 50 + i / 100, step: i }));
    const marks = placed([{ kind: "note", time_s: 51, text: "here" }, ...events], { lo: 0, hi: 100 }, 800, { from: 0, to: 0 });
    return [marks.length, marks.filter(({ event }) => event.kind === "note").length];"""
    assert ask(code) == [11, 1]


def test_what_other_loggers_call_it_has_its_lane(ask: Ask) -> None:
    code = """
    const { lanesOf, furtherFound } = await load("data/lanes.js");
    const metas = ["loss", "train_loss", "eval_loss", "learning_rate", "epoch", "phase/oddly"].map((name) => ({ run: "a", name, labels: {} }));
    return [lanesOf(metas).map(({ id, lines }) => [id, lines.map(({ label }) => label)]), furtherFound(metas, "")];"""
    lanes, further = ask(code)
    assert lanes[:2] == [["loss", ["train", "val"]], ["lr", ["now"]]]
    assert further == ["train_loss", "phase/oddly", "epoch"], "nothing is drawn nowhere"


def test_text_that_counts_samples_or_steps_has_a_lane_of_their_rate(ask: Ask) -> None:
    code = """
    const { lanesOf, furtherFound } = await load("data/lanes.js");
    const text = ["progress/item", "progress/items_per_s", "loss"].map((name) => ({ run: "a", name, labels: { source: "text" }, first_step: null, first_time_s: 1 }));
    return [lanesOf(text).map(({ title, note }) => [title, note]), furtherFound(text, "")];"""
    lanes, further = ask(code)
    assert ["Items/s", "read from text"] in lanes and "Steps/s" not in [title for title, _ in lanes]
    assert further == []


def test_a_counter_of_text_has_no_lane_and_a_users_own_series_of_any_name_has_one(ask: Ask) -> None:
    code = """
    const { lanesOf, furtherFound } = await load("data/lanes.js");
    const own = ["progress/step", "progress/tokens", "progress/pages"].map((name) => ({ run: "a", name, labels: { rank: "0" } }));
    const text = ["progress/step", "progress/batch", "progress/item", "progress/loss"].map((name) => ({ run: "a", name, labels: { source: "text" } }));
    const lanes = (metas) => lanesOf(metas).map(({ title, lines }) => [title, lines.length]);
    return [[own, text, [...own, ...text]].map((metas) => furtherFound(metas, "")), lanes([own[0], text[0]])];"""
    (own, text, both), lanes = ask(code)
    assert own == ["progress/step", "progress/tokens", "progress/pages"]
    assert text == ["progress/loss"]
    assert both == [*own, *text]
    assert lanes == [["progress/step", 1]]


def test_quantiles_of_histograms_come_after_what_was_logged_as_a_number(ask: Ask) -> None:
    code = """
    const { furtherFound } = await load("data/lanes.js");
    const bands = ["min", "p05", "p25", "p50", "p75", "p95", "max"].map((band) => `fc.weight/${band}`);
    const names = [...bands, "hp_metric", "speed/max", "Accuracy/train", "epoch", "moe/p50"];
    return furtherFound(names.map((name) => ({ run: "a", name, labels: {} })), "");"""
    found = ask(code)
    assert found[:5] == ["speed/max", "Accuracy/train", "moe/p50", "hp_metric", "epoch"]
    assert len(found) == 12


@pytest.mark.parametrize("part", ["train", "Train", "training"])
@pytest.mark.parametrize("held_out", ["val", "Valid", "test"])
def test_a_metric_before_the_part_of_the_data_has_the_same_lane(ask: Ask, part: str, held_out: str) -> None:
    code = f"""
    const {{ lanesOf, furtherFound }} = await load("data/lanes.js");
    const names = ["Loss/{part}", "Loss/{held_out}", "Accuracy/{part}", "Loss/train/encoder", "LR"];
    const metas = names.map((name) => ({{ run: "a", name, labels: {{}} }}));
    return [lanesOf(metas).map(({{ id, lines }}) => [id, lines.map(({{ label }}) => label)]), furtherFound(metas, "")];"""
    lanes, further = ask(code)
    assert lanes[:2] == [["loss", ["train", "val"]], ["lr", ["now"]]]
    assert further == [f"Accuracy/{part}", "Loss/train/encoder"]


def test_a_service_shows_its_requests_and_how_long_they_took(ask: Ask) -> None:
    code = """
    const { lanesOf, furtherFound } = await load("data/lanes.js");
    const names = ["phase/queue_s", "phase/infer_s", "service/p50_s", "service/p99_s", "service/rejected", "service/queue", "service/batch_rows"];
    const metas = names.map((name) => ({ run: "a", name, labels: {}, first_step: 1, first_time_s: 1, points: 9 }));
    return [lanesOf(metas).map(({ title, lines }) => [title, lines.map(({ label }) => label)]), furtherFound(metas, "")];"""
    lanes, further = ask(code)
    assert [title for title, _ in lanes[:3]] == ["Requests/s", "Latency, ms", "A request, ms"]
    assert lanes[1][1] == ["p50", "p99"]
    assert further == ["service/rejected", "service/queue", "service/batch_rows"]
    assert [title for title, _ in lanes[3:6]] == further, "steps per second would be the same again"


def test_a_link_without_a_span_shows_no_future(ask: Ask) -> None:
    code = """
    const { ViewRange } = await load("data/view_range.js");
    const link = { run: null, from: 950, to: 990, span: null, at: null, axis: null };
    const seen = (now) => { const range = new ViewRange({ ...link }); range.cutFuture(now); return range.view(now); };
    return [seen(1000), seen(5000)];"""
    young, old = ask(code)
    assert young == {"lo": 400, "hi": 1000}
    assert old == {"lo": 670, "hi": 1270}, "what came later is known, and may be seen"


def test_what_nobody_sees_is_shown_and_html_is_text(ask: Ask) -> None:
    code = r"""
    const { el, setText } = await load("lib/dom.js");
    const { logLine } = await load("logs/line.js");
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


@given(some.text(some.sampled_from("a \t\x07\x1c\x85\u00ad\u00a0\u202e\u3000\u2800\ufeff\U000e0041é"), max_size=8))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_that_differ_look_different_here_and_in_python(ask: Ask, name: str) -> None:
    found = ask(
        f"""const {{ visibleName }} = await load("lib/dom.js"); return {json.dumps([name, f"{name} "])}.map(visibleName);"""
    )
    assert found == [visible_name(name), visible_name(f"{name} ")]
    assert found[0] != found[1] and all(text == text.strip() for text in found)
    assert not is_seen(name) or set(name) & {"a", "é"}


def test_what_was_not_read_is_counted_in_plural_and_singular(ask: Ask) -> None:
    code = """
    const { summary } = await load("pages/run_details.js");
    const file = (more) => ({ path: "a", offset: 0, lines_read: 1, lines_skipped: 0, fields_skipped: 0, first_skip: "", ...more });
    return [[file({ lines_skipped: 1 })], [file({ trouble: "It is a pipe." }), file({ lines_skipped: 12, fields_skipped: 3 })], [file({ fields_skipped: 2 })]].map(summary);"""
    assert ask(code) == ["1 line skipped", "1 file set aside, 12 lines skipped", "2 fields skipped"]


def test_what_failed_is_asked_again_each_time_later(ask: Ask) -> None:
    code = """
    const { Retry } = await load("data/refresh.js");
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
    assert ask(code) == [True, False, True, "crashed" if state == "failed" else state]


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
    code = ask(f"const {{ snippet }} = await load('pages/first_run.js'); return snippet({str(log_dir)!r});")
    subprocess.run([sys.executable, "-c", code.replace("range(100)", "range(2)")], check=True, cwd=tmp_path, timeout=60)
    assert (log_dir / "my-run" / "metrics.jsonl").read_text().count("loss") == 2


def test_the_sentence_and_the_frame_below_it_say_the_same_share_or_the_sentence_says_why_not(ask: Ask) -> None:
    code = """
    const { ownWords } = await load("blame/blame.js");
    const about = { asked: { from: 0, to: 1 }, now: false, growing: false };
    const tree = (share, whole) => ({ hottest: () => ({ frame: { file: "/a/train.py", line: 135, name: "run" }, share, whole }) });
    return [[0.65, 1], [0.65, 0.66]].map(([share, whole]) => ownWords(null, tree(share, whole), about).said.map((part) => part.textContent ?? part).join(""));"""
    assert ask(code) == [
        "65% of this window: run, most at train.py:135; 35% more in functions of yours that it calls",
        "65% of this window: run, most at train.py:135",
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
