"""Rates and seconds per step on the page: ten lines, and one line of ten units, give the same figure."""

from __future__ import annotations

import pytest

from tests.conftest import Ask

LOGS = """
const { STEP, TIME } = await load("lib/axis.js");
const { SeriesStore } = await load("data/series_store.js");
const { Series } = await load("data/series.js");
const { counterOf, stepRate } = await load("data/progress.js");
const { evidence } = await load("pages/live/panel.js");
const { layersOf, stepSeconds } = await load("data/phases.js");

/** Rows of a delta: 60 s of a run that does ten units a second, 4 ms each, on lines of so many units. */
const rows = (units, from = 0, to = 60) => {
  const t = [], step = [];
  for (let i = Math.ceil(from * 10 / units); i < to * 10 / units; i++) { t.push((i + 1) * units / 10); step.push(i + 1); }
  const row = (name, value) => ({ run: "a", name, labels: {}, t, step, v: t.map(() => value), segment: t.map(() => 0) });
  return [row("phase/work_s", 0.004 * units), ...(units > 1 ? [row("units", units)] : [])];
};
const key = (name) => `a\\n${name}\\n`;
const seriesOf = (units, axis = TIME, width = 3) =>
  new Map(rows(units).map((row) => {
    const series = new Series(row, width, axis);
    series.append(row);
    return [key(row.name), series];
  }));
const storeOf = (units, axis = TIME) => {
  const store = new SeriesStore();
  [store.run, store.axis] = ["a", axis];
  store.replace({ series: seriesOf(units, axis), failed: new Map(), run: "a", axis }, true);
  return store;
};
"""


@pytest.mark.parametrize("units", [1, 5, 10])
def test_a_window_has_the_rate_of_its_units(ask: Ask, units: int) -> None:
    code = f"""{LOGS}
    const series = seriesOf({units});
    const stepper = series.get(key("phase/work_s"));
    const [rate] = evidence([], series, stepper, {{ lo: 0, hi: 60 }}, {{ from: 20, to: 40 }});
    return [stepRate(stepper, 0, 60, counterOf(series, stepper)), rate.window, rate.rest];"""
    assert ask(code) == pytest.approx([10] * 3, rel=0.02)


@pytest.mark.parametrize("units", [1, 5, 10])
@pytest.mark.parametrize("growing", ["true", "false"])
def test_the_rate_just_now_is_that_of_the_units_read_and_live(ask: Ask, units: int, growing: str) -> None:
    code = f"""{LOGS}
    const store = storeOf({units});
    const read = store.pace.rate;
    for (let s = 60; s < 120; s++) store.onDelta({{ series: rows({units}, s, s + 1) }}, {growing});
    return [read, store.pace.rate, store.pace.steps_per_s * {units}];"""
    assert ask(code) == pytest.approx([10] * 3, rel=0.02)


@pytest.mark.parametrize("units", [1, 10])
def test_a_second_read_counts_no_unit_twice(ask: Ask, units: int) -> None:
    code = f"""{LOGS}
    const store = storeOf({units});
    store.onDelta({{ series: rows({units}, 60, 62) }}, true);
    store.replace({{ series: seriesOf({units}), failed: new Map(), run: "a", axis: TIME }}, true);
    store.onDelta({{ series: rows({units}, 60, 70) }}, true);
    return store.pace.rate;"""
    assert ask(code) == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("units", [1, 10])
def test_on_an_axis_of_steps_the_rate_is_that_of_the_units(ask: Ask, units: int) -> None:
    code = f"""{LOGS}
    const store = storeOf({units}, STEP);
    for (let s = 1; s <= 10; s++) store.paceBySteps(s, s * 10 / {units});
    return [store.pace.rate, store.pace.steps_per_s * {units}];"""
    assert ask(code) == pytest.approx([10, 10])


@pytest.mark.parametrize("units", [1, 10])
def test_phases_are_seconds_of_one_unit(ask: Ask, units: int) -> None:
    code = f"""{LOGS}
    const series = seriesOf({units});
    const work = series.get(key("phase/work_s"));
    const {{ layers }} = layersOf([work], {{ first: 1, length: 18 }}, counterOf(series, work));
    return [...layers[0], stepSeconds([work], counterOf(series, work)) / 25];"""
    assert ask(code) == pytest.approx([0.004] * 19, rel=0.02)


def test_lines_without_units_count_as_one(ask: Ask) -> None:
    """Of 60 lines every tenth stands for 11 units: 2 units per line."""
    code = f"""{LOGS}
    const t = [...Array(60).keys()];
    const line = (name, times, v) => {{
      const series = new Series({{ run: "a", name, labels: {{}} }}, 10, TIME);
      series.append({{ t: times, v, step: times }});
      return series;
    }};
    const some = t.filter((i) => i % 10 === 5);
    return stepRate(line("loss", t, t), 0, 60, line("units", some, some.map(() => 11)));"""
    assert ask(code) == pytest.approx(2)


def test_the_page_reads_the_units_of_a_run_that_it_shows_and_steps_by_another_series(ask: Ask) -> None:
    code = f"""{LOGS}
    const store = new SeriesStore();
    const meta = (name) => ({{ run: "a", name, labels: {{}}, points: 600 }});
    store.run = "a";
    store.metas = ["units", "train/loss"].map(meta);
    store.lanes = store.lanesOf([meta("train/loss")]);
    const shown = store.names("a");
    store.lanes = [];
    return [shown.sort(), store.names("a"), storeOf(10).stepper().meta.name];"""
    assert ask(code) == [["train/loss", "units"], [], "phase/work_s"]


def test_points_that_were_asked_for_on_the_other_axis_are_not_used(ask: Ask) -> None:
    code = f"""{LOGS}
    const store = storeOf(1);
    store.forget(STEP);
    store.replace({{ series: seriesOf(1, TIME), failed: new Map(), run: "a", axis: TIME }}, true);
    const late = [store.series.size, store.stepper(), store.origin];
    store.replace({{ series: seriesOf(1, STEP, 1), failed: new Map(), run: "a", axis: STEP }}, true);
    return [...late.map(String), store.stepper().newest.t];"""
    assert ask(code) == ["0", "null", "Infinity", 600]
