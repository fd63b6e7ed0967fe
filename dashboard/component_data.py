"""What components draw that are given their data: curves of pandas objects, and stacks, as JSON of the API's own shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_POINTS = 20_000  # of a line: more than a screen has columns
BUCKETS = ("x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite", "smooth", "superseded")


def chart_data(data: Any) -> dict[str, Any]:
    """`{"axis": "time", "curves": [...]}` for the `data` of a TimeChart.

    `data` is a DataFrame that the client's `points()` or `curves()` returned, or any DataFrame or Series of numbers whose index is the axis:
    dates (without a zone: UTC) are time, whole numbers steps. Raises ValueError for anything else.
    """
    if isinstance(data, Mapping) and "curves" in data:
        return dict(data)
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):
        data = data.to_frame(str(data.name if data.name is not None else "value"))
    if not hasattr(data, "columns"):
        raise ValueError(f"data is of type {type(data).__name__}; a TimeChart draws a pandas DataFrame or Series")
    if {"series", "x", "x_end", "mean"} <= set(data.columns):
        return {"axis": str(data.attrs.get("x", {}).get("name", "step")), "curves": list(_buckets(data))}
    axis, places = _axis(data.index)
    curves = list(_columns(data, places))
    return {"axis": axis, "curves": curves} | ({"note": _thinned(len(data))} if len(data) > MAX_POINTS else {})


def _thinned(points: int) -> str:
    return f"{points:,} points are drawn as at most {MAX_POINTS:,} a line: the least and the greatest of each stretch."


def flame_data(data: Any) -> dict[str, Any]:
    """The `data` of a FlameGraph: what the client's `flame()` returned, or the answer of `/flame` itself. Raises ValueError."""
    raw = getattr(data, "raw", data)
    if not isinstance(raw, Mapping) or "nodes" not in raw:
        raise ValueError(
            f"data is of type {type(data).__name__}; a FlameGraph draws what flame() of deepseek.client returns"
        )
    return dict(raw)


def _axis(index: Any) -> tuple[str, Any]:
    """Its name, and an array of places."""
    if index.dtype.kind == "M" or hasattr(index.dtype, "tz"):
        utc = index if index.tz is not None else index.tz_localize("UTC")
        return "time", utc.as_unit("us").asi8 / 1e6
    if index.dtype.kind not in "iuf":
        raise ValueError(f"the index of data is of type {index.dtype}; a TimeChart needs dates or numbers")
    is_step = index.dtype.kind in "iu" or index.name == "step"
    return ("step" if is_step else str(index.name or "x")), index.to_numpy(dtype=float)


def _columns(frame: Any, places: Any) -> Iterator[dict[str, Any]]:
    """A row for each column of numbers, without the places at which it has none. `loss {rank=1}` is a line of `loss`."""
    units = frame.attrs.get("unit", {})
    for number, column in enumerate(frame.columns):
        if frame.dtypes.iloc[number].kind not in "iufb":
            continue
        column_values = frame.iloc[:, number].to_numpy(dtype=float, na_value=math.nan)
        kept = _drawn(column_values)
        shown, values = places[kept].tolist(), column_values[kept].tolist()
        name, _, label = str(column).partition(" {")
        yield {
            "name": name,
            "run": label.rstrip("}"),
            "unit": units.get(column, ""),
            "x": shown,
            "mean": [value if math.isfinite(value) else None for value in values],
            "last": [_told(value) for value in values],
            "non_finite": [int(not math.isfinite(value)) for value in values],
        }


def _drawn(values: Any) -> Any:
    """The places of what is drawn of an array: all that is a number, or, of many, the least and the greatest of each stretch and what is infinite."""
    import numpy as np

    kept = np.flatnonzero(~np.isnan(values))
    if len(kept) <= MAX_POINTS:
        return kept
    finite = kept[np.isfinite(values[kept])]
    stretches = np.array_split(finite, MAX_POINTS // 2)
    ends = [stretch[f(values[stretch])] for stretch in stretches if len(stretch) for f in (np.argmin, np.argmax)]
    infinite = kept[~np.isfinite(values[kept])][:MAX_POINTS]
    return np.unique(np.concatenate([np.array(ends, dtype=int), infinite]))


def _buckets(frame: Any) -> Iterator[dict[str, Any]]:
    """A row for each curve of `curves()`."""
    units = frame.attrs.get("unit", {})
    keys = [frame[key].fillna("") for key in ("series", "run", "group")]
    for (series, run, group), part in frame.groupby(keys, sort=False):
        columns = {key: [_told(value) for value in part[key].tolist()] for key in BUCKETS if key in part}
        yield {
            **columns,
            "smooth": columns["smooth"] if any(value is not None for value in columns.get("smooth", ())) else None,
            "name": str(part["name"].iloc[0]),
            "run": run or None,
            "group": group,
            "runs": [run] if run else [],
            "unit": units.get(series, ""),
            "x": part["x"].tolist(),
            "points_total": int(part["count"].sum()),
        }


def _told(value: Any) -> Any:
    """JSON has no infinities: they travel as words, as in the API."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
