"""The lane of steps per second, for runs that log no throughput and no phases: it dips where a step took long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Ask

DRAWN = """
const { Series } = await load("data/series.js");
const { rateColumns, rateNow } = await load("data/progress.js");
const series = new Series({ run: "a", name: "loss", labels: {} }, WIDTH);
series.append({ t: TIMES, v: TIMES, step: STEPS, segment: SEGMENTS });
const { mean, cuts } = rateColumns(series, 0, LENGTH);
return [[...mean].map((v) => v ?? null), cuts, rateNow(series)];
"""


def drawn(
    ask: Ask, times: list[float], steps: list[int], width: float = 1.0, segments: list[int] | None = None
) -> tuple[list[float | None], list[int], float | None]:
    length = int(times[-1] / width) + 3
    code = DRAWN.replace("WIDTH", str(width)).replace("TIMES", str(times)).replace("STEPS", str(steps))
    mean, cuts, now = ask(code.replace("SEGMENTS", str(segments or [0] * len(times))).replace("LENGTH", str(length)))
    return mean, cuts, now


def test_one_long_step_is_a_dip_as_wide_as_it_took(ask: Ask) -> None:
    times = [0.25 * i for i in range(40)] + [9.75 + 8 + 0.25 * i for i in range(40)]
    mean, cuts, now = drawn(ask, times, list(range(80)))
    assert [round(rate, 6) for rate in mean[1:9] if rate is not None] == [4.0] * 8
    assert mean[10:17] == [pytest.approx(1 / 8, rel=0.5)] * 7
    assert now == pytest.approx(4)
    assert not cuts


def test_a_line_every_fifty_steps_counts_all_of_them(ask: Ask) -> None:
    mean, _, now = drawn(ask, [0, 20, 40, 60], [0, 50, 100, 150])
    assert set(mean[1:61]) == {2.5}
    assert now == 2.5


def test_a_run_that_begins_anew_breaks_the_line(ask: Ask) -> None:
    mean, cuts, _ = drawn(ask, [0, 1, 2, 10, 11], [0, 1, 2, 0, 1], segments=[0, 0, 0, 1, 1])
    assert mean[3:10] == [None] * 7
    assert cuts == [10]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 100)), min_size=2, max_size=30),
    st.sampled_from([0.25, 1.0, 7.5]),
)
def test_the_rate_lies_between_the_slowest_and_the_fastest_stretch(
    ask: Ask, moves: list[tuple[float, int]], width: float
) -> None:
    times, steps = [0.0], [0]
    for seconds, count in moves:
        times.append(round(times[-1] + seconds, 3))
        steps.append(steps[-1] + count)
    mean, _, _ = drawn(ask, times, steps, width)
    rates = [
        (steps[i + 1] - steps[i]) / (times[i + 1] - times[i]) for i in range(len(moves)) if times[i + 1] > times[i]
    ]
    shown = [rate for rate in mean if rate is not None]
    assert all(min(rates) * 0.999 <= rate <= max(rates) * 1.001 for rate in shown)


def test_it_is_shown_where_nothing_else_says_how_fast_a_run_gets_on(ask: Ask) -> None:
    code = """
    const { lanesOf } = await load("data/lanes.js");
    const meta = (name, more = {}) => ({ run: "r", name, labels: {}, points: 9, first_step: 0, first_time_s: 1, ...more });
    const has = (...metas) => lanesOf(metas).some(({ id }) => id === "rate");
    return [
      has(meta("loss")), has(meta("acc")),
      has(meta("loss"), meta("phase/data_s")), has(meta("loss"), meta("tokens_per_s")),
      has(meta("loss", { first_step: null })), has(meta("loss", { first_time_s: null })),
    ];"""
    assert ask(code) == [True, True, False, False, False, False]


@pytest.mark.parametrize("every_s", [0.2, 8, 40, 100])
def test_the_present_rate_is_that_across_bursts(ask: Ask, every_s: float) -> None:
    """A program whose output is buffered: many lines at once, whose times lie within a second."""
    code = f"""
    const {{ Pace }} = await load("data/progress.js");
    const [pace, rates] = [new Pace(), []];
    const each = Math.round(5 * {every_s});
    for (let burst = 1; burst <= 12; burst++) {{
      for (let i = 0; i < each; i++) pace.add(burst * {every_s} + Math.min(0.9, {every_s}) * (i + 1 - each) / each, burst * each + i);
      if (burst > 6) rates.push(pace.rate);
    }}
    return rates;"""
    assert all(rate == pytest.approx(5, rel=0.25) for rate in ask(code)), ask(code)


def test_after_a_long_pause_of_steady_lines_the_rate_is_the_new_one(ask: Ask) -> None:
    code = """
    const { Pace } = await load("data/progress.js");
    const pace = new Pace();
    for (let i = 0; i < 100; i++) pace.add(i / 10, i);
    for (let i = 0; i < 100; i++) pace.add(600 + i / 10, 100 + i);
    return pace.rate;"""
    assert ask(code) == pytest.approx(10, rel=0.02)
