"""Tables of the Alerts page that are sorted and searched: messages, and the rules of findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dash_ag_grid

from collectors.alerts.message import AlertMessage
from collectors.alerts.model import OWN
from collectors.analysis.findings.rules import RULES as ALL_RULES

from ...user_files.visible import visible, visible_name
from ..runs import THEME

MESSAGES, RULES = "alerts-messages", "alerts-rules"
MOST_PX, HEAD_PX, ROW_PX = 360, 48, 28  # the head with room for the bar that scrolls to the side
SHOWN, HIDDEN = {"height": f"{MOST_PX}px", "width": "100%"}, {"display": "none"}
WORDS = {"delivered": "delivered", "waiting": "waiting", "failed": "failed", "summed": "in a summary"}


def style_of(rows: int) -> dict[str, str]:
    """As high as its rows."""
    return {**SHOWN, "height": f"{min(MOST_PX, HEAD_PX + ROW_PX * rows)}px"} if rows else HIDDEN


def grid(name: str, columns: list[dict[str, Any]]) -> Any:
    return dash_ag_grid.AgGrid(
        id=name,
        rowData=[],
        columnDefs=columns,
        defaultColDef={"resizable": True, "sortable": True, "filter": True, "suppressHeaderMenuButton": True, "minWidth": 64},
        dashGridOptions={"theme": {"function": " ".join(THEME.split())}, "animateRows": False, "suppressNoRowsOverlay": True, "enableCellTextSelection": True, "ensureDomOrder": True},
        className="alerts-grid",
        style=HIDDEN if name == MESSAGES else SHOWN,
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
        column("receiver", "Receiver", 112),
        column("title", "Rule", 148),
        column("run", "Run", 148),
        column("sentence", "Sentence", 360, flex=2),
        column("attempts", "Attempts", 80, filter=False),
        column("error", "Why not", 220, flex=1),
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


def rule_columns() -> list[dict[str, Any]]:
    return [
        column("title", "Finding", 148, wraps=True),
        column("name", "Name in a rule", 148, wraps=True),
        column("weight", "Weight", 88, wraps=True),
        column("holds", "Holds when", 320, wraps=True, flex=3),
        column("needs", "Needs at least", 180, wraps=True, flex=1),
        column("source", "Source of its threshold", 200, wraps=True, flex=2),
    ]


def rule_rows() -> list[dict[str, str]]:
    return [
        {"title": rule.title, "name": rule.name, "weight": rule.weight, "holds": rule.holds.replace("`", ""), "needs": rule.needs, "source": rule.source}
        for rule in ALL_RULES
    ]  # fmt: skip
