"""The pure modules of `assets/` that meet steps: steps without times, those that go back, phases that hold others."""

from __future__ import annotations

import pytest

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
    const { columns } = await load("data/series.js");
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
    const { columns } = await load("data/series.js");
    const one = series("loss", 1, { t: [0.5, 1.5, 2.5], v: [1, 2, 3], step: [8, 9, 5], segment: [0, 0, 1] });
    return columns([one], 0, 3, 1).cuts;"""
    )
    assert ask(code) == [2]


PHASES = (
    SERIES
    + """
const { layersOf, peaksOf, holders, stepSeconds } = await load("data/phases.js");
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


def test_one_long_step_among_many_stands_above_the_mean_of_its_bin(ask: Ask) -> None:
    """Ten steps a bin, of which one waits 3 s for its data: the bin reaches to the length of that step, in the colour of the phase."""
    code = (
        PHASES
        + """
    const told = { t: [], v: [], step: [] };
    for (let i = 0; i < 100; i++) { told.t.push(i); told.v.push(i === 42 ? 3 : 0.1); told.step.push(i); }
    const { layers, longest } = layersOf([phase('forward', 0.5), series('data', 10, told)], { first: 0, length: 10 });
    return [peaksOf(layers, longest), peaksOf([layers[0], []], longest)];"""
    )
    both, without = ask(code)
    assert both[4] == {"seconds": pytest.approx(3.5), "phase": 1} and both[:4] + both[5:] == [None] * 9
    assert without == [None] * 10, "a phase that is not drawn makes no peak"


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
    const { columns } = await load("data/series.js");
    const { Series } = await load("data/series.js");
    const one = new Series({ run: "a", name: "loss", labels: {} }, 1);
    const at = [0, 1, 2, 3, 4, 5, 40, 41];
    const v = [1, 1, "NaN", 1, "NaN", 1, 1, 1];
    one.append({ t: at, v, step: at, segment: [0, 0, 0, 0, 0, 0, 1, 2] });
    return columns([one], 0, 50, 1).lone;"""
    assert ask(code) == [3, 5, 40, 41], (
        "between two that are not numbers, before a new start, between two starts, and last"
    )


def test_the_parts_of_a_step_are_told_as_far_as_there_is_room(ask: Ask) -> None:
    code = """
    const { legend } = await load("timeline/lane.js");
    const lines = ["data", "forward", "backward", "optimizer", "eval"].map((label) => ({ label, colour: "ink", keys: [] }));
    const rows = (room) => legend({ kind: "stack", lines, digits: 0 }, [1, 5, 6, 2, 0], null, room).map(({ label, value }) => `${label} ${value}`);
    return [rows(9).length, rows(4)];"""
    assert ask(code) == [6, ["sum 14", "forward 5", "backward 6", "others 3"]]


def test_the_ticks_of_steps_are_whole_numbers(ask: Ask) -> None:
    code = """
    const { STEP } = await load("lib/axis.js");
    return [STEP.ticks({ lo: 0, hi: 3 }, 8), STEP.ticks({ lo: 0, hi: 1200 }, 8), [STEP.length(1), STEP.word(1200.4)]];"""
    few, many, words = ask(code)
    assert [tick["at"] for tick in few] == [0, 1, 2, 3]
    assert [tick["word"] for tick in many] == ["0", "200", "400", "600", "800", "1,000", "1,200"]
    assert words == ["1 step", "step 1,200"]


def test_a_start_behind_the_first_and_steps_that_went_back_are_marked_as_resumed(ask: Ask) -> None:
    code = """
    const { placed } = await load("timeline/marks.js");
    const marks = placed(
      [{ kind: "start", time_s: 10, step: null }, { kind: "resume", time_s: 50, step: 1200 }, { kind: "resume", time_s: 90, step: null }],
      { lo: 0, hi: 100 }, 2000, { from: Infinity, to: -Infinity });
    return marks.map(({ label }) => label);"""
    assert ask(code) == ["start", "resumed at 1,200", "resumed"]
