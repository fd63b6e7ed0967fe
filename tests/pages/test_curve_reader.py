"""The reader of curves in a browser: what it asks, keeps, continues and drops, with answers that the test gives."""

from __future__ import annotations

from tests.conftest import Ask

READER = """
const { CurveReader, readCurves } = await load("data/curve_reader.js");
const { Refused } = await load("lib/api.js");
const until = async (condition) => { for (let i = 0; i < 500; i++) { if (condition()) return true; await new Promise((done) => setTimeout(done, 20)); } throw new Error(`never: ${condition}`); };
const row = (expr, name, x) => ({ expr, run: "a", group: "", runs: ["a"], name, labels: {}, unit: "", x, x_end: x, step: x, segment: x.map(() => 0), min: x, max: x, mean: x, last: x, count: x.map(() => 1), non_finite: x.map(() => 0), smooth: null, superseded: x.map(() => false), points_total: x.length, points_read: x.length });
const answerOf = (curves, more = {}) => ({ cursor: 7, x: { name: "time", unit: "s", lo: 0, hi: 100 }, curves, left_out: [], followed: [{ run: "a", name: "loss" }], failed: new Map(), ...more });
const until_100 = (from) => Array.from({ length: 101 }, (_, i) => i).filter((at) => at >= (from ?? 0));

/** A reader whose charts are names of series, and what it has asked. */
const scene = (given = {}) => {
  const asked = [], drawn = [];
  const state = { asked, drawn, id: "whole", grows: false, weight: 1, fails: null, held: null, ...given };
  state.reader = new CurveReader({
    question: ({ key }) => ({ id: state.id, exprs: [key], parameters: { from: null, x: "time" }, buckets: 200, weight: state.weight, grows: state.grows }),
    changed: (charts, answer) => drawn.push([charts.map(({ key }) => key), answer === null]),
    read: async (exprs, parameters, { signal }) => {
      asked.push({ exprs, ...parameters, signal });
      if (state.held) await state.held;
      if (state.fails) throw state.fails;
      return answerOf(exprs.map((name, expr) => row(expr, name, until_100(parameters.from))));
    },
  });
  return state;
};
const charts = (...names) => names.map((key) => ({ key }));
"""


def test_charts_of_one_question_are_asked_together_and_each_has_its_rows(ask: Ask) -> None:
    code = f"""{READER}
    const {{ reader, asked, drawn }} = scene();
    reader.want(charts("loss", "lr", "loss"));
    await until(() => drawn.length);
    const held = charts("loss", "lr").map((chart) => reader.of(chart).rows.map(({{ expr, name }}) => [expr, name]));
    return [asked.map(({{ exprs }}) => exprs), held, reader.of({{ key: "none" }}), [...reader.followed.values()]];"""
    assert ask(code) == [
        [["loss", "lr"]],
        [[[0, "loss"]], [[0, "lr"]]],
        None,
        [{"run": "a", "name": "loss"}],
    ]


def test_where_each_takes_long_the_first_charts_come_first(ask: Ask) -> None:
    code = f"""{READER}
    const {{ reader, asked, drawn }} = scene({{ weight: 100 }});
    reader.want(charts("a", "b", "c", "d", "e"));
    await until(() => drawn.length === 3);
    return asked.map(({{ exprs }}) => exprs);"""
    assert ask(code) == [["a", "b"], ["c", "d"], ["e"]]


def test_what_is_known_is_not_asked_again_until_it_grows_and_then_only_its_end(ask: Ask) -> None:
    code = f"""{READER}
    const {{ reader, asked, drawn }} = scene({{ grows: true }});
    reader.want(charts("a", "b"));
    await until(() => drawn.length === 1);
    reader.want(charts("b", "a"));
    reader.touch(({{ key }}) => key === "a");
    await until(() => drawn.length === 2);
    const {{ x, count }} = reader.of({{ key: "a" }}).rows[0];
    const again = asked[1];
    reader.refresh();
    await until(() => asked.slice(2).flatMap((question) => question.exprs).length === 2);
    return [again.exprs, again.from >= 90 && again.buckets < 100, x.length, count.every((n) => n === 1), x.every((at, i) => at === i), asked.slice(2).every((question) => question.from === null)];"""
    assert ask(code) == [["a"], True, 101, True, True, True]


def test_another_question_does_not_wait_for_the_answer_of_the_first(ask: Ask) -> None:
    code = f"""{READER}
    let answer;
    const state = scene({{ held: new Promise((done) => (answer = done)) }});
    const {{ reader, asked, drawn }} = state;
    reader.want(charts("a"));
    await until(() => asked.length === 1);
    state.id = "a part";
    reader.want(charts("a"));
    const aborted = asked[0].signal.aborted;
    state.held = null;
    answer();
    await until(() => drawn.length);
    return [aborted, asked.length, drawn.length, reader.of({{ key: "a" }}).id];"""
    assert ask(code) == [True, 2, 1, "a part"]


def test_a_failure_keeps_what_is_drawn_and_says_why(ask: Ask) -> None:
    code = f"""{READER}
    const state = scene();
    const {{ reader, drawn }} = state;
    reader.want(charts("a"));
    await until(() => drawn.length === 1);
    state.fails = new Refused("The store is locked.", 503);
    reader.touch();
    await until(() => drawn.length === 2);
    const {{ trouble, rows }} = reader.of({{ key: "a" }});
    return [trouble, rows[0].x.length, drawn.map(([, failed]) => failed)];"""
    assert ask(code) == ["The store is locked.", 101, [False, True]]


def test_what_was_shown_long_ago_is_dropped(ask: Ask) -> None:
    code = f"""{READER}
    const {{ reader }} = scene();
    const all = charts(...Array.from({{ length: 600 }}, (_, i) => `s${{i}}`));
    for (let i = 0; i < 600; i += 100) {{
      reader.want(all.slice(i, i + 100));
      await until(() => reader.of(all[i + 99]));
    }}
    return [reader.held.size, reader.of(all[0]), reader.of(all[599]) !== null];"""
    assert ask(code) == [400, None, True]


FETCHED = """
const asked = [];
const serve = (answered) => (globalThis.fetch = async (url) => {
  const exprs = new URL(url, location.href).searchParams.getAll("expr");
  asked.push(exprs);
  const [status, body] = answered(exprs);
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
});
const good = (exprs) => ({ ...answerOf(exprs.map((name, expr) => row(expr, name, [expr]))), left_out: [{ expr: exprs.length - 1, run: null, reason: "none", absent: true }], failed: undefined });
"""


def test_an_expression_that_fails_costs_only_itself(ask: Ask) -> None:
    code = f"""{READER} {FETCHED}
    serve((exprs) => (exprs.includes("bad") ? [500, {{ error: "It fails." }}] : [200, good(exprs)]));
    const names = ["a", "b", "bad", "c", "d", "e"];
    const {{ curves, failed }} = await readCurves(names, {{}});
    return [curves.map(({{ expr, name }}) => names[expr] === name && name).sort(), [...failed]];"""
    assert ask(code) == [["a", "b", "c", "d", "e"], [[2, "It fails."]]]


def test_a_failure_of_all_is_asked_once(ask: Ask) -> None:
    code = f"""{READER} {FETCHED}
    serve(() => [404, {{ error: "There is no run." }}]);
    return readCurves(["a", "b", "c"], {{}}).catch((error) => [error instanceof Refused, error.message, asked.length]);"""
    assert ask(code) == [True, "There is no run.", 1]


def test_a_long_list_is_asked_in_parts_and_answered_as_one(ask: Ask) -> None:
    code = f"""{READER} {FETCHED}
    serve((exprs) => [200, good(exprs)]);
    const names = Array.from({{ length: 500 }}, (_, i) => `${{"long ".repeat(40)}}${{i}}`);
    const {{ curves, left_out }} = await readCurves(names, {{}}, {{ curves: (place) => (place < 2 ? 200 : 1) }});
    return [curves.every(({{ expr, name }}) => names[expr] === name), curves.length, asked[0].length, Math.max(...asked.map((exprs) => exprs.join("").length)) < 24000, left_out.length === asked.length];"""
    assert ask(code) == [True, 500, 1, True, True]
