"""An answer becomes JSON whatever the layout of its arrays and however odd its strings and numbers are."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from collectors.store.sqlite import chunks
from collectors.store.sqlite.chunks import RowGroup
from dashboard.api.answers import TOO_DEEP, dumps

TYPES = st.one_of(
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?"),
)
LAYOUTS = [np.ascontiguousarray, np.asfortranarray, lambda one: one[::2], lambda one: one[::-1], lambda one: one.T]


@given(array=arrays.arrays(TYPES, arrays.array_shapes(max_dims=2, max_side=5)), layout=st.sampled_from(LAYOUTS))
def test_an_array_of_any_type_and_layout_is_its_list(array: np.ndarray, layout: object) -> None:
    laid: np.ndarray = layout(array)  # type: ignore[operator]
    told = np.array(json.loads(dumps({"column": laid}))["column"], np.float64)
    with np.errstate(over="ignore"):
        meant = laid.astype(np.float64)
    tiny = float(np.finfo(laid.dtype).tiny) if laid.dtype.kind == "f" else 0.0  # below it a float has few digits
    np.testing.assert_allclose(told, np.where(np.isfinite(meant), meant, np.nan), rtol=1e-6, atol=tiny)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters()),
        lambda one: st.lists(one) | st.dictionaries(st.text(st.characters()), one),
    )
)
def test_any_value_is_json(value: object) -> None:
    json.loads(dumps({"value": value}).decode())


class Line(NamedTuple):
    text: str
    rank: int | None = None


@dataclass(frozen=True)
class Page:
    lines: tuple[Line, ...]
    newest: Line | None
    window: tuple[float, float] = (1.0, 2.0)


def test_records_are_objects() -> None:
    page = Page((Line("a"), Line("b", 1)), Line("b", 1))
    wanted = {
        "lines": [{"text": "a", "rank": None}, {"text": "b", "rank": 1}],
        "newest": {"text": "b", "rank": 1},
        "window": [1.0, 2.0],
    }
    assert json.loads(dumps({"page": page})) == {"page": wanted}
    odd = Page((Line("\ud800", 2**127),), None)  # what takes the slow way
    assert json.loads(dumps(odd)) == {
        "lines": [{"text": "\ufffd", "rank": str(2**127)}],
        "newest": None,
        "window": [1, 2],
    }


def test_what_json_cannot_hold_is_named() -> None:
    deep: object = 1
    for _ in range(3000):
        deep = [deep]
    assert json.loads(dumps(["\ud800", 2**127, -(2**70), (1, "b"), np.float32(0.5), math.nan])) == [
        "\ufffd", str(2**127), str(-(2**70)), [1, "b"], 0.5, None,
    ]  # fmt: skip
    assert TOO_DEEP.encode() in dumps({"deep": deep})


def test_rows_that_are_put_in_order_stay_contiguous() -> None:
    """A phase that stands on some lines beside those of all steps: `partition` joins the two groups and sorts them."""

    def group(ids: list[int], arrival: list[int]) -> RowGroup:
        rows = len(arrival)
        return RowGroup(
            np.array(ids),
            np.array(arrival),
            np.zeros(rows),
            np.zeros(rows, int),
            np.zeros(rows, int),
            np.ones((len(ids), rows)),
        )

    for one in chunks.partition([group([1, 2, 3], [0, 2, 4]), group([2, 3], [1, 3])]):
        assert all(line.flags.c_contiguous for line in one.values)
