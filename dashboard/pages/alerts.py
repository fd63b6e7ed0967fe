"""The Alerts page: what is active, what was, and the rules and channels by form or as text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import dash_ag_grid
from dash import Dash, Input, Output, dcc, html

from alerts.config import OWN
from alerts.messages import AlertMessage
from alerts.routing import FINISHED, is_alert
from analysis.findings.watch import WITH_RUN
from collectors.message import spoken
from collectors.records import Finding

from ..components import AlertsActive
from ..findings import AlertsSnapshot
from ..queries import Queries
from ..user_files.yaml_file import visible, visible_name
from . import alert_rules
from .alert_rules import ASKED, title_of
from .page import DCC, Page, question
from .runs import THEME

TABS = (("active", "Active"), ("history", "History"), ("rules", "Rules"))
HISTORY_S = 7 * 86400.0
MAX_MESSAGES = 500


def layout(tab: str = "active", edit: str = "", **_: Any) -> html.Div:
    if tab == "history":
        return html.Div([tabs(tab), *history()], className="alerts-page")
    if tab == "rules":
        return html.Div([tabs(tab), *alert_rules.layout(edit)], className="alerts-page")
    return html.Div(AlertsActive(), className="alerts-page active")


def tabs(shown: str) -> html.Nav:
    links = [html.A(name, href=f"?tab={tab}", **({"aria-current": "page"} if tab == shown else {})) for tab, name in TABS]  # fmt: skip
    return html.Nav(links, className="alerts-tabs", **{"aria-label": "Alerts"})


def history() -> list[Any]:
    return [
        dcc.Store(ASKED, data=0),
        html.Div(
            [
                html.Section([html.H2("Alerts of the last 7 days"), html.Div(grid(ALERTS, alert_columns()), className="alerts-table")]),
                html.Section([html.H2("Messages"), html.Div(grid(MESSAGES, message_columns()), className="alerts-table"), html.P(id="alerts-unsent", className="dim")]),
            ],
            className="alerts-history",
        ),
    ]  # fmt: skip


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(  # type: ignore[untyped-decorator]
        Output(ALERTS, "rowData"),
        Output(MESSAGES, "rowData"),
        Output("alerts-unsent", "children"),
        Input(ASKED, "data"),
        Input(MESSAGES, "id"),
    )
    def past(asked: Any, _: Any) -> Any:
        now_s = time.time()
        now = queries.alerts.now()
        found = queries.findings.findings(None, now_s - HISTORY_S, None)
        alerts = [row for row in found if is_alert(now.settings, row) or row.rule == FINISHED]
        messages = queries.alerts.messages(MAX_MESSAGES)
        none = "" if messages else "No message was sent yet. Each alert makes one for each channel."
        return alert_rows(alerts, now), message_rows(messages), none

    alert_rules.callbacks(dash, queries)


def alert_columns() -> list[dict[str, Any]]:
    return [
        column("time", "Began", 132, valueFormatter={"function": "alertTime(params.value)"}, tooltipField=None, filter=False, sort="desc"),
        column("title", "Rule", 148),
        column("run", "Run", 168),
        column("lasted", "Lasted", 88, filter=False),
        column("outcome", "Outcome", 176, cellClassRules={"bad": "params.value === 'active'", "warn": "params.value.startsWith('run ended')"}),
        column("sentence", "What was found", 360, flex=1),  # the last one: nothing moves when it takes the room
    ]  # fmt: skip


def alert_rows(found: Iterable[Finding], now: AlertsSnapshot) -> list[dict[str, Any]]:
    firing, muted = {row.id for row in now.firing}, {row.id for row in now.muted}
    return [
        {
            "time": row.from_s,
            "title": title_of(row.rule),
            "run": visible_name(row.run) if row.run is not None else "this host",
            "sentence": visible(row.sentence),
            "lasted": spoken(row.to_s - row.from_s) if row.to_s > row.from_s else "",
            "outcome": outcome_of(row, row.id in now.acknowledged, row.id in firing, row.id in muted),
        }
        for row in found
    ]


def outcome_of(row: Finding, acknowledged: bool, firing: bool, muted: bool) -> str:
    """What became of an alert. A moment that neither fires nor was acknowledged is one after which its run has begun again."""
    if row.rule == FINISHED:
        return "notification"
    if row.over and row.fields.get(WITH_RUN):
        return "run ended without recovering"
    if row.over and row.to_s > row.from_s:
        return "resolved"
    if acknowledged:
        return "acknowledged"
    return "muted" if muted else "active" if firing or not row.over else "run started again"


# The tables of the history: alerts, and the messages about them.

MESSAGES, ALERTS = "alerts-messages", "alerts-past"
SHOWN = {"height": "100%", "width": "100%"}
WORDS = {"delivered": "delivered", "waiting": "waiting", "failed": "failed", "summed": "in a summary"}


def grid(name: str, columns: list[dict[str, Any]]) -> Any:
    return dash_ag_grid.AgGrid(
        id=name,
        rowData=[],
        columnDefs=columns,
        defaultColDef={"resizable": True, "sortable": True, "filter": True, "suppressHeaderMenuButton": True, "minWidth": 64},
        dashGridOptions={"theme": {"function": " ".join(THEME.split())}, "animateRows": False, "suppressNoRowsOverlay": True, "enableCellTextSelection": True, "ensureDomOrder": True},
        className="alerts-grid",
        style=SHOWN,
    )  # fmt: skip


def column(key: str, title: str, width: int, *, wraps: bool = False, **more: Any) -> dict[str, Any]:
    return {"field": key, "headerName": title, "width": width, **({"wrapText": True, "autoHeight": True, "cellClass": "wraps"} if wraps else {"tooltipField": key}), **more}  # fmt: skip


def message_columns() -> list[dict[str, Any]]:
    return [
        column(
            "time", "Time", 132, valueFormatter={"function": "alertTime(params.value)"}, tooltipField=None, filter=False
        ),
        column(
            "state",
            "State",
            104,
            cellClassRules={"bad": "params.value === 'failed'", "warn": "params.value === 'waiting'"},
        ),
        column("receiver", "Channel", 112),
        column("title", "Rule", 148),
        column("run", "Run", 148),
        column("attempts", "Attempts", 80, filter=False),
        column("error", "Why not", 220),
        column("sentence", "Sentence", 360, flex=1),
    ]


def message_rows(messages: Iterable[AlertMessage]) -> list[dict[str, Any]]:
    return [
        {
            "time": message.created_s if message.ended_s is None else message.ended_s,
            "state": state_of(message),
            "receiver": visible_name(message.receiver),
            "title": message.title if message.rule.startswith(OWN) or message.phase != "test" else "test",
            "run": ", ".join(map(visible_name, message.runs[:3])) + (f" and {len(message.runs) - 3} more" if len(message.runs) > 3 else ""),
            "sentence": visible(message.subject),
            "attempts": message.attempts,
            "error": visible(message.error),
        }
        for message in messages
    ]  # fmt: skip


def state_of(message: AlertMessage) -> str:
    """In words: `delivered`, `delivered: resolved`, `delivered: run ended`."""
    if message.phase != "end" or message.state != "delivered":
        return WORDS[message.state]
    return f"{WORDS[message.state]}: {'run ended' if message.unresolved else 'resolved'}"


PAGE = Page("8", "Alerts", "/alerts", layout, callbacks, (DCC,), owners=True, early=lambda _: (question("alerts"),))
