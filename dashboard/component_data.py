"""What components draw that are given their data: curves of pandas objects, and stacks, as JSON of the API's own shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
    return {"axis": axis, "curves": list(_columns(data, places))}


def flame_data(data: Any) -> dict[str, Any]:
    """The `data` of a FlameGraph: what the client's `flame()` returned, or the answer of `/flame` itself. Raises ValueError."""
    raw = getattr(data, "raw", data)
    if not isinstance(raw, Mapping) or "nodes" not in raw:
        raise ValueError(
            f"data is of type {type(data).__name__}; a FlameGraph draws what flame() of deepseek.client returns"
        )
    return dict(raw)


def _axis(index: Any) -> tuple[str, list[float]]:
    if index.dtype.kind == "M" or hasattr(index.dtype, "tz"):
        utc = index if index.tz is not None else index.tz_localize("UTC")
        return "time", [moment / 1e6 for moment in utc.as_unit("us").asi8.tolist()]
    if index.dtype.kind not in "iuf":
        raise ValueError(f"the index of data is of type {index.dtype}; a TimeChart needs dates or numbers")
    is_step = index.dtype.kind in "iu" or index.name == "step"
    return ("step" if is_step else str(index.name or "x")), [float(place) for place in index.tolist()]


def _columns(frame: Any, places: Sequence[float]) -> Iterator[dict[str, Any]]:
    """A row for each column of numbers, without the places at which it has none. `loss {rank=1}` is a line of `loss`."""
    units = frame.attrs.get("unit", {})
    for number, column in enumerate(frame.columns):
        if frame.dtypes.iloc[number].kind not in "iufb":
            continue
        values = [float(value) for value in frame.iloc[:, number].tolist()]
        kept = [place for place, value in enumerate(values) if not math.isnan(value)]
        name, _, label = str(column).partition(" {")
        yield {
            "name": name,
            "run": label.rstrip("}"),
            "unit": units.get(column, ""),
            "x": [places[place] for place in kept],
            "mean": [values[place] if math.isfinite(values[place]) else None for place in kept],
            "last": [_told(values[place]) for place in kept],
            "non_finite": [int(not math.isfinite(values[place])) for place in kept],
        }


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
