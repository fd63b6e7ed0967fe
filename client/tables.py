"""DataFrames from the API's answers: its names and units, non-finite values as floats, NaN or None where something is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .times import utc_index

NUMBERS = ("t", "t_end", "step", "min", "max", "mean", "last")  # columns of a curve that are floats
COUNTS = ("segment", "count", "non_finite")
VALUES = ("last", "mean", "min", "max")


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], *, timed: bool = False) -> pd.DataFrame:
    """A row an item, with these columns first and all others that any item has; `timed`: on an index `time` of their `time_s`."""
    names = dict.fromkeys([*columns, *(name for row in found for name in row)])
    table = pd.DataFrame({name: column([row.get(name) for row in found]) for name in names}, columns=list(names))
    return table.set_index(utc_index(row.get("time_s") for row in found)) if timed else table


def column(values: Sequence[Any]) -> pd.Series[Any]:
    """Whole numbers stay so, numbers with gaps are floats with NaN, truths are bool; all else are objects with None for a gap."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool} and None not in values:
        return pd.Series(values, dtype=bool)
    if kinds == {int} and None not in values and all(-(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype=np.int64)
    if kinds and kinds <= {int, float}:
        return pd.Series([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return pd.Series(values, dtype=object)


def floats(values: Iterable[float | str | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`[1, "Infinity", None] -> [1.0, inf, nan]`"""
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def buckets(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Every bucket of every series, one below the other, with all columns of the API."""
    parts = []
    for curve, name in zip(curves, names_of(curves)):
        numbers = {key: floats(curve[key]) for key in NUMBERS}
        counts = {key: np.array(curve[key], dtype=np.int64) for key in COUNTS}
        parts.append(pd.DataFrame({"series": pd.Series([name] * len(curve["t"]), dtype=object), **numbers, **counts}))
    empty = pd.DataFrame({"series": pd.Series(dtype=object), **{key: np.empty(0) for key in NUMBERS}})
    return (
        pd.concat(parts, ignore_index=True) if parts else empty.assign(**{key: np.empty(0, np.int64) for key in COUNTS})
    )


def overlaid(curves: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Every bucket of the curves of several runs, one below the other."""
    parts = []
    for curve in curves:
        words = {key: pd.Series([curve[key]] * len(curve["x"]), dtype=object) for key in ("run", "group", "series")}
        numbers = {key: floats(curve[key]) for key in ("x", "x_end", *NUMBERS[2:])}
        counts = {key: np.array(curve[key], dtype=np.int64) for key in COUNTS}
        smooth = floats(curve["smooth"] or [None] * len(curve["x"]))
        parts.append(
            pd.DataFrame(
                {**words, **numbers, **counts, "smooth": smooth, "superseded": np.array(curve["superseded"], bool)}
            )
        )
    names = ["run", "group", "series", "x", "x_end", *NUMBERS[2:], *COUNTS, "smooth", "superseded"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=pd.Index(names))


def wide(curves: Sequence[Mapping[str, Any]], axis: str, value: str) -> pd.DataFrame:
    """One column a series, on an index `time` (UTC) or `step`, NaN where a series has no point there.

    A place that comes twice, as after a restart, has a row each: the second of one series stands beside the second of another.
    """
    lengths = [len(curve["t"]) for curve in curves]
    points = pd.DataFrame({
        "place": floats(place for curve in curves for place in curve["t"]),
        "value": floats(found for curve in curves for found in curve[value]),
        "series": np.repeat(np.arange(len(curves)), lengths),
    })  # fmt: skip
    points["again"] = points.groupby(["series", "place"], dropna=False).cumcount()
    row = points.groupby(["place", "again"], dropna=False).ngroup()  # in the order of places
    where = np.empty(int(row.max()) + 1 if len(row) else 0)
    where[row] = points["place"]
    cells = np.full((len(where), len(curves)), np.nan)
    cells[row, points["series"]] = points["value"]
    index = utc_index(where) if axis == "time" else pd.Index(where.astype(np.int64), name="step")
    return pd.DataFrame(cells, index=index, columns=pd.Index(names_of(curves), dtype=object))


def names_of(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    """`train/loss`; of several series of one name also the labels in which they differ: `train/loss {rank=1}`."""
    often = Counter(curve["name"] for curve in curves)
    labels: dict[str, set[tuple[str, str]]] = {}
    for curve in curves:
        found = set(curve["labels"].items())
        labels[curve["name"]] = labels.get(curve["name"], found) & found  # those that all have
    named = []
    for curve in curves:
        name = curve["name"]
        own = sorted(set(curve["labels"].items()) - labels[name])
        named.append(
            f"{name} {{{', '.join(f'{key}={value}' for key, value in own)}}}" if often[name] > 1 and own else name
        )
    return named
