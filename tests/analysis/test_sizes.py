"""Steps of different lengths: a long one is not a slow one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.units import Units, UnitSizes, is_size, sized, units_of, weighed
from collectors.arrays import Floats

T0 = 1000.0


def steps(seconds: Floats) -> Units:
    ends = T0 + np.cumsum(seconds)
    return units_of(np.r_[T0, ends], np.arange(len(ends) + 1.0), np.zeros(len(ends) + 1, np.int64))


def tokens(units: Units, size: Floats, name: str = "train/tokens") -> dict[str, tuple[Floats, Floats]]:
    return {name: (units.end_s, size)}


def lengths(seed: int = 0, count: int = 400) -> Floats:
    return np.random.default_rng(seed).integers(200, 601, count).astype(np.float64)


@pytest.mark.parametrize(
    "name",
    ["tokens", "train/num_tokens", "train/num_input_tokens_seen", "n_samples", "data/seq_len", "batch/tokens_per_step"],
)
def test_names_of_sizes(name: str) -> None:
    assert is_size(name)


@pytest.mark.parametrize(
    "name",
    [
        "train/tokens_per_s",
        "val/tokens",
        "train/loss",
        "tokens_per_second",
        "host/samples",
        "sample_loss",
        "token_accuracy",
    ],
)
def test_names_that_are_no_sizes(name: str) -> None:
    assert not is_size(name)


@given(st.integers(0, 1000), st.floats(0.0, 0.05), st.floats(1e-5, 1e-3))
def test_steps_that_take_as_long_as_their_sizes_ask_for_weigh_what_they_take(
    seed: int, begin_s: float, token_s: float
) -> None:
    size = lengths(seed)
    units = steps(begin_s + token_s * size)
    found = sized(units, tokens(units, size))
    if token_s * 100 < 0.2 * begin_s:  # nearly all alike
        return
    assert found is not None
    assert found.name == "tokens"
    assert weighed(units, found).seconds == pytest.approx(float(np.median(units.seconds)), rel=0.02)


def test_slow_steps_stay_slow_whatever_their_size() -> None:
    size = lengths()
    slow = np.where(np.arange(400) >= 300, 3.0, 1.0)
    units = steps(slow * 0.0002 * size)
    found = sized(units, tokens(units, size))
    assert found is not None
    ratio = weighed(units, found).seconds / 0.0002 / found.usual
    assert ratio == pytest.approx(slow, rel=0.05)


def test_sums_over_all_steps_say_the_same() -> None:
    size = lengths()
    units = steps(0.0002 * size)
    so_far = {"num_input_tokens_seen": (np.r_[T0, units.end_s], np.r_[7.0, 7 + np.cumsum(size)])}
    found = sized(units, so_far)
    assert found is not None
    assert found.usual == np.median(size)
    assert found.longer([(T0, units.end_s[99])], [(units.end_s[99], units.end_s[-1])]) == pytest.approx(
        size[:100].mean() / size[100:].mean()
    )


@pytest.mark.parametrize(
    "size",
    [np.full(400, 512.0), lengths(7), np.full(400, np.nan), np.where(np.arange(400) % 2, np.nan, lengths())],
    ids=["constant", "unrelated", "unknown", "every second"],
)
def test_what_explains_nothing_is_left_out(size: Floats) -> None:
    units = steps(0.05 + 0.0002 * lengths())
    assert sized(units, tokens(units, size)) is None


def test_a_slow_stretch_of_long_sequences_is_slow_as_far_as_they_do_not_explain_it() -> None:
    """Sizes that differ in the window alone explain no more than their share."""
    size = np.r_[np.full(380, 400.0), np.full(60, 600.0)]
    units = steps(np.r_[np.full(380, 0.08), np.full(60, 0.96)])
    found = sized(units, tokens(units, size))
    weight = weighed(units, found) if isinstance(found, UnitSizes) else units
    assert weight.seconds[-1] > 7 * weight.seconds[0]
