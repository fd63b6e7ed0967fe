"""A grid of charts of ours in a Dash page: every series of some runs as a small chart, however many there are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

ANSWERS = itertools.count()
DESCRIPTION = "data-chart-grid"  # the property that a callback fills with `description(...)`


def chart_grid(id: str, view: Mapping[str, Any] | None = None) -> html.Div:
    """Mounts `assets/curves/`. `view` is what it shows, as in `assets/curves/training_view.js`; without one, what the address says."""
    return html.Div(id=id, className="chart-grid", **{DESCRIPTION: "" if view is None else description(view)})


def description(view: Mapping[str, Any]) -> str:
    """`{"runs": ["a", "b"], "x": "step", "smooth": "ema", "amount": 50}` for the property `data-chart-grid`.

    Each has a number of its own, so that the browser sees every answer, also one that says what the last one said: a key may have
    changed the charts in between.
    """
    return json.dumps({**view, "answer": next(ANSWERS)})


def names(value: object, most: int) -> Sequence[str]:
    """The texts of a list that a browser sent, once each."""
    return (
        list(dict.fromkeys(item for item in value if isinstance(item, str) and item))[:most]
        if isinstance(value, list)
        else []
    )
