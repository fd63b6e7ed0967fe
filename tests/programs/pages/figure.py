"""A page with an AG Grid and a Plotly figure."""

from __future__ import annotations

from typing import Any

import dash_ag_grid
from dash import Dash, Input, Output, dcc, html

from ..queries import Queries
from ..series.curves import CurveQuery, UnknownSeries
from .page import Page

COLUMNS = [{"field": "name"}, {"field": "value"}]


def layout(**_: Any) -> html.Div:
    settings = dash_ag_grid.AgGrid(id="settings", columnDefs=COLUMNS, rowData=[])
    return html.Div([settings, html.Button("Count", id="press"), html.P(id="pressed"), dcc.Graph(id="figure")])


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output("settings", "rowData"), Output("pressed", "children"), Input("press", "n_clicks"))
    def rows(clicks: int | None) -> tuple[list[dict[str, Any]], str]:
        return [
            {"name": name, "value": value} for name, value in queries.settings().values.items()
        ], f"pressed {clicks or 0}"

    @dash.callback(Output("figure", "figure"), Input("selection", "data"))
    def figure(selection: dict[str, Any] | None) -> dict[str, Any]:
        if not isinstance(selection, dict) or not isinstance(selection.get("run"), str):
            return {"data": []}
        try:
            found = queries.curves.answer(CurveQuery(["train/loss"], [selection["run"]], selection["axis"]))
        except UnknownSeries:
            return {"data": []}
        return {"data": [{"y": curve.buckets.last.tolist()} for curve in found.curves]}


PAGE = Page("9", "Figure", "/figure", layout, callbacks, ("dash_ag_grid",))
