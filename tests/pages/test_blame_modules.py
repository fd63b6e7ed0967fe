"""The pure modules of `assets/blame/`: what the page says of a window until the server has answered, and beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from analysis.blame.suspect import Suspect
from analysis.blame.verdict import Verdict, with_sentence
from collectors.records import Frame
from tests.conftest import Ask
from tests.support.browser_trees import LOST


def test_the_blamed_place_is_set_in_code_and_the_rest_is_text(ask: Ask) -> None:
    code = """
    const { sentence } = await load("blame/blame.js");
    const shown = (said, lead, place) => {
      const line = document.createElement("p");
      line.append(...sentence({ sentence: said, lead, place }));
      return line.innerHTML;
    };
    const place = "decode_image (data.py:88)";
    return [
      shown(`${place} takes +369 ms per step, 94% of the slowdown.`, "94%", place),
      shown(`Rank 1: ${place} takes +1.7 ms per step, all of the slowdown.`, "all", place),
      shown("Nothing <unusual>.", "", ""),
      shown("A part takes 94% of the slowdown.", "94%", place),
    ];"""
    assert ask(code) == [
        '<code>decode_image (data.py:88)</code> takes +369 ms per step, <b class="more">94%</b> of the slowdown.',
        'Rank 1: <code>decode_image (data.py:88)</code> takes +1.7 ms per step, <b class="more">all</b> of the slowdown.',
        "Nothing &lt;unusual&gt;.",
        'A part takes <b class="more">94%</b> of the slowdown.',
    ]


@pytest.mark.parametrize(("slowdown_s", "lead"), [(0.25, "80%"), (0.2, "100%"), (0.18, "all"), (0.13, "more than all")])
def test_the_page_words_a_loss_as_the_server_will(ask: Ask, slowdown_s: float, lead: str) -> None:
    """`load` takes 200 ms a step more, in steps of 500 ms."""
    normal_s = 100 * (0.5 - slowdown_s)
    code = f"""
    flame.nodes.base_total_s = [{normal_s}, {normal_s}, {normal_s}, 20, 15, 10];
    return words(new Tree(flame))[0];"""
    frame = Frame("load", "load.py", 5)
    suspect = Suspect(frame, "", 0.2, [frame], [])
    loss = Verdict(
        "line", suspect=suspect, excess_s=0.2, excess_share=min(1.0, 0.2 / slowdown_s), slowdown_s=slowdown_s
    )
    said = with_sentence(replace(loss, units=20.0, unit_name="step", baseline=[(0.0, 30.0)]))
    assert said.lead == lead
    assert f"{ask(LOST + code)}." == said.sentence


def test_while_the_server_has_not_answered_the_page_goes_the_same_way_down(ask: Ask) -> None:
    """A step took 0.3 s and takes 0.5 s, of which `load` 0.1 s and 0.3 s."""
    code = """
    const all = Array(6).fill("own");
    const library = ["own", "own", "own", "own", "library", "library"];
    const part = [null, null, null, null, null, { name: "step.<locals>.<genexpr>", file: "step.py" }];
    return [words(named(all, [])), mostLost(named(library, [])).frame.name, mostLost(named(all, part)).frame];"""
    sentence, above, owner = ask(LOST + code)
    assert sentence == [
        "load (load.py:5) takes +200 ms per step, 100% of the slowdown",
        "Beside normal, native at 100 Hz.",
    ]
    assert above == "step", "the deepest own function"
    assert owner == {"name": "step", "file": "step.py", "line": 5}


def test_a_call_that_is_new_is_named_and_not_the_usual_work_below_it(ask: Ask) -> None:
    """`load` calls `forward`, too; in normal it hardly ever did, or as often as now."""
    code = """
    const told = (load, slower = 0) => {
      flame.nodes = {
        frame: [0, 1, 2, 3, 5, 3], parent: [-1, 0, 1, 2, 1, 4], kind: Array(6).fill("own"),
        total_s: [10, 10, 4, 4, 6, 5.8], self_s: Array(6).fill(0), untrusted_s: Array(6).fill(0),
        base_total_s: [20 + load, 20 + load, 20, 20 - slower, load, load], base_self_s: Array(6).fill(0),
      };
      return mostLost(new Tree(flame)).frame.name;
    };
    return [told(0), told(1), told(8), told(0, 18)];"""
    assert ask(LOST + code) == ["load", "load", "forward", "forward"]


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
    assert ask(LOST + code) == "load (load.py:4) takes +200 ms per step, 100% of the slowdown"


def test_a_window_that_lost_little_or_holds_few_samples_or_units_is_told_by_what_most_of_it_went_to(ask: Ask) -> None:
    code = """
    flame.samples = 49;
    const short = words(new Tree(flame));
    flame.samples = 1000;
    const part = words(new Tree({ ...flame, units: 2, baseline_units: 20 }));
    flame.nodes.base_total_s = [48, 48, 48, 19, 14, 29];
    return [short, part, words(new Tree(flame))];"""
    said = "60% of this window: load, most at load.py:5"
    few, share = (
        "Only 49 samples in this window: too few to blame a line.",
        "Share of the main thread’s time, native at 100 Hz.",
    )
    assert ask(LOST + code) == [[said, few], [said, share], [said, share]]


def test_a_cell_of_a_notebook_is_called_one(ask: Ask) -> None:
    files = ["/job/data.py", "/tmp/ipykernel_4127/3391234.py", "<ipython-input-3-0f3a>", "<string>"]
    code = "const { place } = await load('lib/format.js'); return FILES.map((file) => place(file, 5));"
    assert ask(code.replace("FILES", str(files))) == ["data.py:5", "cell:5", "cell 3:5", "<string>:5"]


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
    alone = "By the flame graph alone it would be load (load.py:5), +200 ms per step."
    assert ask(LOST + code) == [["", "", alone, alone, ""], "The flame graph says otherwise"]


def test_rows_of_the_chart_that_stand_all_the_time_are_left_out_but_the_last(ask: Ask) -> None:
    code = """
    const { boxes, trunkOf } = await load("flame/chart.js");
    const spans = { start: [0, 0, 0, 5], end: [10, 10, 4, 9], depth: [0, 1, 2, 2], frame: [0, 1, 2, 3] };
    const unsplit = { start: [0, 0, 0, 0, 0, 0, 9.9], end: Array(7).fill(10), depth: [0, 1, 2, 3, 4, 5, 6], frame: [0, 1, 2, 3, 4, 5, 6] };
    const drawn = boxes(spans, { lo: 5, hi: 10 }, 100, 1, 2).map(({ span, row, x, width }) => [span, row, x, width]);
    return [trunkOf(spans), trunkOf(unsplit), drawn];"""
    assert ask(code) == [1, 2, [[1, 0, 0, 100], [3, 1, 0, 80]]], (
        "of a trunk that ends without a split the last four rows stay"
    )


def test_the_servers_evidence_is_shown_in_units_that_are_easy_to_read(ask: Ask) -> None:
    code = """
    const { facts } = await load("blame/blame.js");
    const row = (name, unit, window, normal) => ({ name, unit, window, normal });
    const evidence = [row("Data", "s/batch", 0.0125, 0.001), row("CPU of others", "cores", 1.75, 0.0625), row("SM clock", "MHz", 1731.5, 1794)];
    return facts({ evidence }).map(({ name, window, rest, digits }) => [name, window, rest, digits]);"""
    assert ask(code) == [
        ["Data, ms", 12.5, 1, 1],
        ["CPU of others, cores", 1.75, 0.0625, 1],
        ["SM clock, MHz", 1731.5, 1794, 0],
    ]


@pytest.mark.parametrize(
    ("profiler", "said"),
    [
        ({"state": "on", "runs": {"other": "refused"}}, {}),
        ({"state": "refused", "sentence": "other: no.", "runs": {"other": "refused"}}, {}),
        ({"state": "starting", "sentence": "Soon.", "runs": {"other": "starting"}}, {}),
        ({"state": "on", "runs": {"run": "refused"}}, {"sentence": "run: refused", "action": "retry"}),
        ({"state": "starting", "runs": {"run": "starting"}}, {"sentence": "run: starting", "action": None}),
        ({"state": "off", "sentence": "Off.", "runs": {}}, {"sentence": "Off.", "action": "on"}),
        ({"state": "starting", "sentence": ""}, {}),
        ({}, {"sentence": "an older answer", "action": "retry"}),
    ],
)
def test_a_page_shows_the_trouble_of_its_own_run_while_it_lasts(
    ask: Ask, profiler: dict[str, Any], said: dict[str, Any]
) -> None:
    """The answer still has a note, of a moment before."""
    if "runs" in profiler:
        runs = {
            run: {"state": state, "sentence": f"{run}: {state}", "remedy": ""}
            for run, state in profiler["runs"].items()
        }
        profiler = {**profiler, "runs": runs}
    code = f"""
    const {{ WindowRequests }} = await load("blame/requests.js");
    globalThis.fetch = async () => new Response(JSON.stringify({{ samples: 0, note: {{ sentence: "an older answer", remedy: "" }} }}));
    const shown = [];
    const sink = {{ dim() {{}}, showBlame() {{}}, showFlame: (flame, question, {{ trouble }}) => shown.push(trouble) }};
    const requests = new WindowRequests({{ sink, judged() {{}}, troubleOf: (question, trouble) => trouble }});
    requests.askNow("run", 100);
    for (let turns = 0; !shown.length && turns < 100; turns++) await new Promise((done) => setTimeout(done, 5));
    const older = shown.at(-1)?.sentence;
    requests.onProfilerState({json.dumps(profiler)}, false);
    return [older, shown.at(-1)];"""
    older, trouble = ask(code)
    assert older == "an older answer"
    assert {name: value for name, value in (trouble or {}).items() if name != "remedy"} == said
