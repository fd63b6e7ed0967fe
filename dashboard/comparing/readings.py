"""Which value of a series stands for a run in a figure: its best, its last, or that at the last step that all the runs have reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from .common_step import CommonStep
from .recorded import Measured

SeriesReading: TypeAlias = Literal["best", "last", "step"]
READINGS: dict[SeriesReading, str] = {"best": "best", "last": "last", "step": "at common step"}


def with_best(measured: Measured, best: Mapping[str, Mapping[str, float]]) -> Measured:
    """`best` has the value of each run by series. Series that it lacks stay at their last value: no direction is known of them."""
    found: dict[str, list[float | None]] = {
        name: [values.get(view.stored.name) for view in measured.runs] for name, values in best.items()
    }
    return replace(
        measured, values={**measured.values, **found}, said={**measured.said, **dict.fromkeys(found, "best")}
    )


def with_common_step(measured: Measured, common: CommonStep) -> Measured:
    """Series that are not in `common` stay at their last value. `common` is of the same runs, in their order."""
    if common.step is None:
        return measured
    found = {row.series: list(row.values) for row in common.values}
    said = f"at step {common.step:,}"
    return replace(measured, values={**measured.values, **found}, said={**measured.said, **dict.fromkeys(found, said)})
