"""A time chart of ours in a Dash page: `time_chart("loss", runs=["a", "b"], series=["train/loss"])`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from dash import html


def time_chart(id: str, runs: Sequence[str], series: Sequence[str], axis: Literal["time", "step"] = "time") -> html.Div:
    """A lane per series, with a line per run; `runs` without a name shows the run that is selected. Follows the newest point.

    All charts of a page share their axis; a drag on one of them selects a window of the page.
    """
    about = json.dumps({"runs": list(runs), "series": list(series), "axis": axis})
    return html.Div(id=id, className="time-chart", **{"data-time-chart": about})
