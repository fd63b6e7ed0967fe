"""The Alerts page: what fires, what is muted, what was sent to whom, the rules and the receivers.

`assets/pages/alerts/page.js` asks for it anew, sends what a user changes, and holds the editor of alerts.yaml.
"""

from __future__ import annotations

import time
from typing import Any

from dash import Dash, Input, Output, dcc, html

from ...opening.early import question
from ...queries import Queries
from ..page import Page
from .grids import MESSAGES, RULES, grid, message_columns, message_rows, rule_columns, rule_rows, style_of
from .parts import firing, muted, own_rules, quiet, receivers, recent

ASKED = "alerts-asked"  # rises when the page is to be read anew
PARTS = ("firing", "recent", "muted", "receivers", "own")
MOST_MESSAGES = 500


def layout() -> html.Div:
    def part(name: str, title: str, *more: Any) -> html.Section:
        return html.Section([html.H2(title), html.Div(id=f"alerts-{name}"), *more], className=f"alerts-{name}")

    return html.Div(
        [
            dcc.Store(ASKED, data=0),
            html.Div(html.H1("Alerts"), className="alerts-title"),
            html.P(id="alerts-said", className="warn", role="status"),
            part("firing", "Firing"),
            part("muted", "Muted"),
            part("recent", "The last 24 hours"),
            part("receivers", "Receivers", html.Div(id="alerts-desktop")),
            html.Section(
                [
                    html.H2("Rules and receivers, as text"),
                    html.Div(id="alerts-editor"),
                ],
                className="alerts-text",
            ),
            part("own", "Your rules"),
            html.Section([html.H2("Messages"), html.P(id="alerts-unsent", className="dim"), grid(MESSAGES, message_columns())]),
            html.Section(
                [html.H2("Rules of findings"), html.P("Alerts leave the machine, notes only where a rule of yours says so.", className="dim"), grid(RULES, rule_columns())]
            ),
        ],
        className="alerts-page",
    )  # fmt: skip


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(f"alerts-{name}", "children") for name in PARTS),
        Output(MESSAGES, "rowData"),
        Output(MESSAGES, "style"),
        Output("alerts-unsent", "children"),
        Input(ASKED, "data"),
    )
    def read(asked: Any) -> Any:
        now_s = time.time()
        now = queries.alerts.now()
        messages = queries.alerts.messages(MOST_MESSAGES)
        return (
            firing(now, now_s),
            recent(now, now_s),
            muted(now, now_s),
            [*receivers(now, now_s), *quiet(now.settings.quiet)],
            own_rules(now),
            message_rows(messages),
            style_of(len(messages)),
            "" if messages else "No message was sent yet. Each alert makes one for each receiver.",
        )

    @dash.callback(Output(RULES, "rowData"), Input(RULES, "id"))  # type: ignore[untyped-decorator]
    def rules(_: Any) -> Any:
        return rule_rows()


PAGE = Page(
    "8",
    "Alerts",
    "/alerts",
    module="alerts",
    layout=layout,
    callbacks=callbacks,
    packages=("dash_ag_grid",),
    owners=True,
    chunks=("dash_ag_grid/async-community.js",),
    early=lambda _: (question("alerts"),),
)
