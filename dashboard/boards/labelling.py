"""The names of a chart's curves: what its file says, else that in which they differ (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .asked import BoardCurve
from .model import BoardChart

PLACE = re.compile(r"\{([^{}]{1,100})\}")
RUN, SERIES = "run", "series"
WORDS = {"gpu": "GPU {}", "rank": "rank {}"}  # labels that are no word by themselves


def labelled(curves: Sequence[BoardCurve], chart: BoardChart) -> list[BoardCurve]:
    """`gpu/power_w` of eight GPUs are `GPU 0` to `GPU 7`; of two hosts `a, GPU 0`."""
    values = [{SERIES: curve.series, **({RUN: curve.run} if curve.run else {}), **dict(curve.labels)} for curve in curves]
    keys = [key for key in (RUN, SERIES, *_keys(curves)) if len({row.get(key, "") for row in values}) > 1]
    if any(key in keys for key in ("gpu", "mig")):
        keys = [key for key in keys if key != "uuid"]
    found = []
    for curve, row in zip(curves, values, strict=True):
        entry = chart.series[curve.item] if 0 <= curve.item < len(chart.series) else chart.x
        given = entry.label if entry else ""
        label = _filled(given, row) if given else ", ".join(_word(key, row[key]) for key in keys if row.get(key)) or curve.series
        found.append(curve._replace(label=label, colour=entry.colour if entry else None))
    return found


def _keys(curves: Sequence[BoardCurve]) -> list[str]:
    return list(dict.fromkeys(key for curve in curves for key, _ in curve.labels))


def _word(key: str, value: str) -> str:
    return WORDS.get(key, "{}").format(value)


def _filled(template: str, row: dict[str, str]) -> str:
    """What the curve lacks is empty."""
    return PLACE.sub(lambda place: row.get(place[1], ""), template)
