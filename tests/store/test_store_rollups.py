"""The coarse units of pages: unpacked together they are those of each page alone."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from collectors.store.sqlite import rollups
from collectors.store.sqlite.chunks import NO_STEP


def page(units: int, begin: int, *, steps: bool, values: bool) -> rollups._Columns:
    """Of `units` units; its values vary or are the same, its steps as well."""
    place = begin + np.arange(units)
    step = place if steps else np.full(units, NO_STEP)
    value = np.sin(place) if values else np.ones(units)
    rows, none = np.full(units, 544), np.zeros(units, np.int64)
    time_s = place.astype(np.float64)
    return rollups._Columns(
        time_s, time_s + 0.5, step, step, step, none, rows, none, value, value + 1, value * 544, value
    )


def test_pages_of_all_shapes_have_the_same_units_together_as_alone(caplog: pytest.LogCaptureFixture) -> None:
    shapes = [
        (128, True, True),
        (128, True, True),
        (128, True, False),
        (3, False, False),
        (1, True, True),
        (128, True, True),
    ]
    made = [page(count, 1000 * i, steps=steps, values=values) for i, (count, steps, values) in enumerate(shapes)]
    blobs = [(i, rollups.encode_coarse(columns)) for i, columns in enumerate(made)]
    whole = bytearray(blobs[4][1])
    whole[-1] ^= 1
    blobs[4] = 4, bytes(whole)
    with caplog.at_level(logging.CRITICAL):
        ((units,), damaged) = rollups.units(blobs, "coarse", "time")
    assert damaged == {4}
    del made[4]
    for name, found, column in zip(
        units._fields, units, zip(*(columns.on("time") for columns in made), strict=True), strict=True
    ):
        np.testing.assert_array_equal(found, np.concatenate(column), name)
    for (_, blob), columns in zip([*blobs[:4], blobs[5]], made, strict=True):
        for found, column in zip(rollups.decode_coarse(blob), columns, strict=True):
            np.testing.assert_array_equal(found, column)
