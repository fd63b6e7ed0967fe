"""A page with an AG Grid: the runs, and a button that says how many are selected."""

from __future__ import annotations

from typing import Any

import dash_ag_grid
from dash import Dash, Input, Output, State, html

from ..components import TimeChart
from ..queries import Queries
from .page import Page

COLUMNS = [{"field": "run", "filter": True}, {"field": "points"}]


def layout(**_: Any) -> html.Div:
    grid = dash_ag_grid.AgGrid(
        id="grid", columnDefs=COLUMNS, rowData=[], dashGridOptions={"rowSelection": {"mode": "multiRow"}}
    )
    return html.Div(
        [
            TimeChart("loss", series=["train/loss"]),
            grid,
            html.Button("Count", id="count"),
            html.P(id="counted"),
        ]
    )


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output("grid", "rowData"), Input("selection", "data"))
    def rows(selection: dict[str, Any] | None) -> list[dict[str, Any]]:
        return [{"run": view.stored.name, "points": view.stored.points} for view in queries.runs()]

    @dash.callback(Output("counted", "children"), Input("count", "n_clicks"), State("grid", "selectedRows"))
    def count(clicks: int | None, selected: list[dict[str, Any]] | None) -> str:
        return f"{len(selected or [])} selected at click {clicks or 0}"


PAGE = Page("8", "Grid", "/grid", layout, callbacks, ("dash_ag_grid",))
