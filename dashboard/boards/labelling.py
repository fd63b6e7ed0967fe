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
    """In the order of the chart's entries, then by run and labels: `gpu/power_w` of eight GPUs are `GPU 0` to `GPU 7`; of two hosts `a, GPU 0`."""
    curves = sorted(curves, key=_order)
    drawn = [curve for curve in curves if curve.item >= 0]  # what lies along x has no name on the chart
    known = dict.fromkeys((RUN, SERIES, *_keys(drawn)))  # `run` is a label of the machine's series about runs, too
    keys = [key for key in known if len({_values(curve).get(key, "") for curve in drawn}) > 1]
    if any(key in keys for key in ("gpu", "mig")):
        keys = [key for key in keys if key != "uuid"]
    found = []
    for curve in curves:
        row = _values(curve)
        entry = chart.series[curve.item] if 0 <= curve.item < len(chart.series) else chart.x
        given = _filled(entry.label, row) if entry else ""
        label = given or ", ".join(_word(key, row[key]) for key in keys if row.get(key)) or curve.series
        found.append(curve._replace(label=label, colour=entry.colour if entry else None))
    return found


def _values(curve: BoardCurve) -> dict[str, str]:
    return {SERIES: curve.series, **({RUN: curve.run} if curve.run else {}), **dict(curve.labels)}


def _order(curve: BoardCurve) -> tuple[object, ...]:
    """`GPU 2` before `GPU 10`."""
    labels = tuple(
        sorted((key, len(value) if value.isdigit() else 0, value) for key, value in curve.labels if key != "uuid")
    )
    return curve.item, curve.run, curve.series, labels


def _keys(curves: Sequence[BoardCurve]) -> list[str]:
    return list(dict.fromkeys(key for curve in curves for key, _ in curve.labels))


def _word(key: str, value: str) -> str:
    return WORDS.get(key, "{}").format(value)


def _filled(template: str, row: dict[str, str]) -> str:
    """A part between commas that names a label which the curve lacks is left out: `rank {rank}, forward` of a single process is `forward`."""
    parts = [part for part in template.split(", ") if all(key in row for key in PLACE.findall(part))]
    return ", ".join(PLACE.sub(lambda place: row[place[1]], part) for part in parts)
