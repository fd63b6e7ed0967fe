"""The codec gives back every bit, whatever it is fed, and notices every bit that is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collectors.store.sqlite import codec

ODD = [
    0.0,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    2.0**53,
    0.1,
    1e22,
    1e-22,
]
HUGE = [2**63 - 1, -(2**63), 0, 1, -1, 2**53 + 1]


def assert_same(columns: list[np.ndarray]) -> bytes:
    blob = codec.encode(columns)
    for given_, found in zip(columns, codec.decode(blob), strict=True):
        assert found.dtype == given_.dtype
        np.testing.assert_array_equal(found.view(np.uint64), np.ascontiguousarray(given_).view(np.uint64))
    return blob


def size(values: list[float] | np.ndarray) -> float:
    """Bytes a value."""
    return len(assert_same([np.asarray(values, np.float64)])) / len(values)


@given(
    st.lists(
        st.one_of(st.floats(), st.floats(width=32), st.sampled_from(ODD), st.integers(-(2**60), 2**60).map(float)),
        max_size=200,
    )
)
@example([])
@example([1.5])
@example(ODD)
@example([math.nan, -math.nan])
@example([0.1] * 2000)
@example([math.nan] * 2000)
@example([5e-324 * i for i in range(2000)])
@example([2.0**62 + 2048 * i for i in range(600)])
@example([1.0, -1.0] * 50)
def test_any_floats_survive(values: list[float]) -> None:
    assert_same([np.array(values, np.float64)])


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from(HUGE)), max_size=200))
@example([])
@example(HUGE)
@example([2**63 - 1, -(2**63)] * 20)
def test_any_integers_survive(values: list[int]) -> None:
    assert_same([np.array(values, np.int64)])


@given(hnp.arrays(np.uint64, st.integers(0, 100)))
def test_any_bits_survive(bits: np.ndarray) -> None:
    """Payloads of NaN included."""
    assert_same([bits.view(np.float64), bits.view(np.int64)])


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6), st.integers(0, 9), st.integers(1, 1024))
def test_decimals_survive(start: float, scale: float, digits: int, count: int) -> None:
    assert_same([np.round(start + scale * np.sin(np.arange(count)), digits)])


def test_several_columns_of_any_layout_survive() -> None:
    table = np.arange(60.0).reshape(20, 3)
    assert_same([table[:, 1], table[::2, 0], np.arange(5)[::-1], np.empty(0)])


def test_the_form_fits_the_data() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(2, 0.3, 1024)
    assert size(np.full(1024, 7.0)) < 0.1
    assert size(np.arange(1024.0)) < 0.1
    assert size(rng.integers(0, 100, 1024)) < 1.1
    assert size(np.round(noise, 3)) < 1.7
    assert size(noise.astype(np.float32)) < 3.5
    assert size([float(str(value)) for value in noise.astype(np.float32)]) < 3.5
    assert size(rng.integers(0, 2**63, 1024).view(np.float64)) < 8.1
    assert size(1_764_000_000 + np.arange(1024) / 50 + rng.normal(0, 1e-3, 1024)) < 2.5


@given(st.data())
def test_one_wrong_bit_is_noticed(data: st.DataObject) -> None:
    blob = codec.encode([np.arange(50.0), np.arange(50) ** 3])
    at, bit = data.draw(st.integers(0, len(blob) - 1)), data.draw(st.integers(0, 7))
    with pytest.raises(codec.CodecError):
        codec.decode(blob[:at] + bytes([blob[at] ^ 1 << bit]) + blob[at + 1 :])


@given(st.binary(max_size=200))
def test_what_is_no_blob_is_refused(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(data)
    with pytest.raises(codec.CodecError):
        codec.decode(codec.VERSION + data)


@pytest.mark.parametrize("keep", [0, 1, 5, 20, -1])
def test_a_torn_blob_is_noticed(keep: int) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(codec.encode([np.arange(50.0)])[:keep])


@given(st.binary(max_size=100))
def test_a_frame_of_the_wrong_content_is_refused_or_short(data: bytes) -> None:
    try:
        codec.decode(codec.seal(data))
    except codec.CodecError:
        return
