"""A page of one's own: a curve, the numbers of the window that is dragged on it, and the runs. `--pages-dir` names its folder."""

import pandas as pd
import plotly.express as px
from dash import Input, Output, dcc, html
from dash_ag_grid import AgGrid

from deepseek.dashboard.components import TimeChart
from deepseek.dashboard.series.curves import CurveQuery

NAME = "Loss in a window"  # in the menu
PACKAGES = ("dash_ag_grid",)  # fetched beside the page
SERIES = "train/loss"


def layout(queries):
    runs = [{"run": view.stored.name, "state": view.state} for view in queries.runs()]
    columns = [{"field": "run", "flex": 1}, {"field": "state"}]
    return html.Div(
        [
            TimeChart("window-loss", series=[SERIES], style={"height": "240px"}),
            html.P("Drag over the curve.", id="window-said"),
            dcc.Graph(id="window-figure"),
            AgGrid(rowData=runs, columnDefs=columns, style={"height": "240px"}),
        ]
    )


def callbacks(dash, queries):
    @dash.callback(Output("window-said", "children"), Output("window-figure", "figure"), Input("selection", "data"))
    def show(selection):
        """`selection` has `run`, `from`, `to` and `axis` of the dragged window; without one `from` and `to` are None."""
        if not selection or selection["run"] is None or selection["from"] is None:
            return "Drag over the curve.", px.histogram()
        asked = CurveQuery([SERIES], [selection["run"]], selection["axis"], selection["from"], selection["to"])
        buckets = [curve.buckets for curve in queries.curves.answer(asked).curves]  # at most 600 a curve
        means = pd.concat([pd.Series(one.mean) for one in buckets] or [pd.Series(dtype=float)])
        least, most = (
            f(value for one in buckets for value in getattr(one, name)) for f, name in ((min, "min"), (max, "max"))
        )
        figure = px.histogram(means)
        return f"{least:.3f} to {most:.3f} in {len(means)} buckets", figure
