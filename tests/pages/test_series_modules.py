"""The pure modules of `assets/` that turn points into lines: bins, gaps, ranges and ticks."""

from __future__ import annotations

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
    const { columns } = await load("data/series.js");
    const { mean, bad } = columns([series(1, { t: [0.5, 1.5, 2.5], v: [1, "NaN", 3] })], 0, 3, 10);
    return [[...mean], bad];"""
    )
    assert ask(code) == [[10, None, 30], [{"t": 1.5, "text": "NaN"}]]


def test_a_long_silence_is_a_gap_and_a_slow_series_is_not(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/series.js");
    const drawn = (t) => [...columns([series(1, { t, v: t })], 0, 60, 1).mean].filter((v) => v === null).length;
    const steady = Array.from({ length: 20 }, (_, i) => i);
    return [drawn([...steady, 50, 51]), drawn([0, 20, 40])];"""
    )
    assert ask(code) == [30, 0]


def test_several_gpus_make_one_line_of_lowest_highest_and_mean(ask: Ask) -> None:
    code = (
        SERIES
        + """
    const { columns } = await load("data/series.js");
    const { min, max, mean } = columns([series(1, { t: [0.5], v: [10] }), series(1, { t: [0.6], v: [30] })], 0, 1, 1);
    return [min[0], max[0], mean[0]];"""
    )
    assert ask(code) == [10, 30, 20]


def test_a_spike_is_cut_and_a_falling_loss_is_not(ask: Ask) -> None:
    code = """
    const { robust } = await load("lib/axis.js");
    const flat = Array.from({ length: 500 }, (_, i) => 2.3 + 0.05 * Math.sin(i));
    const falling = Array.from({ length: 500 }, (_, i) => 2 + 7 * Math.exp(-i / 60));
    const spiked = [...flat.slice(1), 3.94];
    return [robust(spiked, spiked).hi, robust(falling, falling).hi];"""
    spiked, falling = ask(code)
    assert spiked < 3
    assert falling >= 9


def test_from_zero_only_what_towers_over_the_rest_is_cut(ask: Ask) -> None:
    code = """
    const { fromZero } = await load("lib/axis.js");
    const steady = Array(200).fill(10);
    return [fromZero([...steady, 12], null, 0).hi, fromZero([...steady, 90], null, 0).hi];"""
    near, far = ask(code)
    assert near > 12
    assert far < 40


def test_ticks_are_round_and_never_fewer_than_the_axis_can_be_read_by(ask: Ask) -> None:
    code = """
    const { ticks, logTicks } = await load("lib/axis.js");
    return [ticks({ lo: 0, hi: 640 }, 3), ticks({ lo: 0.000279, hi: 0.000293 }, 1).length, logTicks({ lo: 0.3, hi: 12 }, 2)];"""
    assert ask(code) == [[0, 250, 500], 2, [1, 10]]


def test_no_range_takes_longer_than_its_ticks(ask: Ask) -> None:
    """Neither one that no number lies in, nor one without ends, nor a thousand years."""
    code = """
    const { ticks, timeTicks, stepTicks, logTicks } = await load("lib/axis.js");
    const hard = [[1, 1 + 2 ** -52], [1e300, 1e300], [-Infinity, 5], [1.79e9, Infinity], [NaN, NaN], [5, -5], [-1e308, 1e308], [0, 1e11], [-1e18, 1e18], [0, 104]];
    const kinds = [ticks, (range, wanted) => timeTicks(range, wanted).times, stepTicks, logTicks];
    return hard.flatMap(([lo, hi]) => kinds.map((kind) => kind({ lo, hi }, 8).length));"""
    assert max(ask(code)) <= 20


def test_a_window_set_by_a_person_never_moves(ask: Ask) -> None:
    code = """
    const { ViewRange } = await load("data/view_range.js");
    const range = new ViewRange({ run: null, from: null, to: null, span: 60, at: null, axis: null });
    range.select({ from: 950, to: 960 }, 1000);
    const held = range.view(2000);
    range.clear();
    return [held, range.view(2000)];"""
    assert ask(code) == [{"lo": 940, "hi": 1000}, {"lo": 1940, "hi": 2000}]
