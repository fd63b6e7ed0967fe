"""What the series of several runs said at the last step that all of these runs have reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from collectors.step_axis import stepper
from collectors.store.protocol import Buckets, Series, Store

MOST_VALUES = 4000  # series of all runs together that are read
MOST_NAMES = 60  # rows


class CommonValue(NamedTuple):
    """One series, with an item for each run: None where it has none up to that step."""

    series: str
    values: tuple[float | None, ...]
    steps: tuple[int | None, ...]  # where the value was logged, at or before the common step


class CommonStep(NamedTuple):
    """`step` is None where no run has steps; `note` says what is missing."""

    step: int | None
    values: list[CommonValue]
    left_out: int  # series that at least two of the runs have
    note: str


def at_common_step(store: Store, runs: Sequence[str], wanted: Callable[[str], bool] = lambda name: True) -> CommonStep:
    """Reads the newest attempt of each run that has got so far. Series that only one of several runs has are left out."""
    known = [by_name(store.series(run)) for run in runs]
    reached = [newest_step(series) for series in known]
    stepped = [step for step in reached if step is not None]
    without = [run for run, step in zip(runs, reached, strict=True) if step is None]
    note = f"without steps: {', '.join(without[:3])}{' and others' if len(without) > 3 else ''}" if without else ""
    if not stepped:
        return CommonStep(None, [], 0, note)
    step = min(stepped)
    names = shared_names([{name for name in series if wanted(name)} for series in known], list(known))
    most = max(1, min(MOST_NAMES, MOST_VALUES // max(1, len(runs))))
    rows = [_last_of(store, series, names[:most], step) for series in known]
    values = [
        CommonValue(
            name,
            tuple(row.get(name, (None, None))[0] for row in rows),
            tuple(row.get(name, (None, None))[1] for row in rows),
        )
        for name in names[:most]
    ]
    return CommonStep(step, values, max(0, len(names) - most), note)


def by_name(series: Sequence[Series]) -> dict[str, Series]:
    """Of several ranks the lowest, in the order in which the run has named them."""
    found: dict[str, Series] = {}
    for row in series:
        if row.name not in found or _rank(row) < _rank(found[row.name]):
            found[row.name] = row
    return found


def newest_step(series: Mapping[str, Series]) -> int | None:
    found = stepper([*series.values()])
    return found.last_step if found else None


def shared_names(names: Sequence[set[str]], in_order: Sequence[Mapping[str, Series]]) -> list[str]:
    """Those of most runs first, then in the order in which the runs name them; of several runs not those that only one has."""
    counts: dict[str, int] = {}
    for some, known in zip(names, in_order, strict=True):
        for name in known:
            if name in some:
                counts[name] = counts.get(name, 0) + 1
    least = min(2, len(names))
    return sorted((name for name, count in counts.items() if count >= least), key=lambda name: -counts[name])


def _last_of(
    store: Store, series: Mapping[str, Series], names: Sequence[str], step: int
) -> dict[str, tuple[float | None, int | None]]:
    ids = {series[name].id: name for name in names if name in series}
    found = store.range(list(ids), None, step, "step", 1)
    return {name: newest_of(found[number]) for number, name in ids.items()}


def newest_of(buckets: Buckets) -> tuple[float | None, int | None]:
    """The last value of the newest attempt, and its step."""
    if not len(buckets.segment):
        return None, None
    at = len(buckets.segment) - 1 - int(np.argmax(buckets.segment[::-1]))
    step = buckets.step[at]
    return float(buckets.last[at]), int(step) if np.isfinite(step) else None


def _rank(series: Series) -> int:
    text = dict(series.labels).get("rank", "0")
    return int(text) if text.isascii() and text.isdigit() else 0
