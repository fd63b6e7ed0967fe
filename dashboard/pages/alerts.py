"""The Alerts page: active alerts, mutes, deliveries, rules and channels."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_ag_grid
from dash import Dash, Input, Output, dcc, html

from alerts.config import OWN, FindingPolicy, QuietHours, Receiver, UserRule
from alerts.messages import AlertMessage, shown_target
from alerts.routing import MAX_FINDINGS, Mute
from analysis.findings.rules import BY_NAME
from analysis.findings.rules import RULES as ALL_RULES
from collectors.message import spoken
from collectors.records import Finding

from ..components import AlertsEditor, DesktopChoice
from ..findings import AlertsSnapshot
from ..network import path_to
from ..queries import Queries
from ..user_files.yaml_file import visible, visible_name
from .page import DCC, Page, question
from .runs import THEME

# Tables of the Alerts page that are sorted and searched: messages, and the rules of findings.

MESSAGES, RULES = "alerts-messages", "alerts-rules"
MAX_PX, HEAD_PX, ROW_PX = 360, 48, 28  # the head with room for the bar that scrolls to the side
SHOWN, HIDDEN = {"height": f"{MAX_PX}px", "width": "100%"}, {"display": "none"}
WORDS = {"delivered": "delivered", "waiting": "waiting", "failed": "failed", "summed": "in a summary"}


def style_of(rows: int) -> dict[str, str]:
    """As high as its rows."""
    return {**SHOWN, "height": f"{min(MAX_PX, HEAD_PX + ROW_PX * rows)}px"} if rows else HIDDEN


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


# The parts of the Alerts page that are lists with buttons. A button says in `data-act` what the module sends when it is pressed.

MAX_ROWS = 100  # rows of a part
MOMENT_S = 5.0  # around a moment
LENGTHS = (("1 h", "1", "for 1 h"), ("1 day", "24", "for 1 day"), ("for good", "", "for good"))
USUAL = "By default you are alerted when a run crashes, hangs, does not come back after preemption, or has had NaN for ten steps; when memory or disk will run out within the hour; and when a GPU is lost or reports a fatal XID."


def firing(now: AlertsSnapshot, now_s: float) -> list[Any]:
    if not now.firing:
        return [html.P("No active alerts.", className="none"), html.P(USUAL, className="dim")]
    new = [found for found in now.firing if found.id not in now.acknowledged]
    rows = [_finding(found, now_s, mutes=True, seen=found.id in now.acknowledged) for found in now.firing]
    return [_listed(rows), *([_acknowledge_all(new)] if len(new) > 1 else [])]


def recent(now: AlertsSnapshot, now_s: float) -> list[Any]:
    rows = sorted(now.recent, key=lambda found: (-found.from_s, found.id))
    if not rows:
        return [html.P("No alert in the last 24 hours.", className="none")]
    alike: dict[tuple[str, str | None], list[Finding]] = {}
    for found in rows:
        alike.setdefault((found.rule, found.run), []).append(found)
    return [_listed([_finding(newest, now_s, mutes=False, earlier=earlier) for newest, *earlier in alike.values()])]


def muted(now: AlertsSnapshot, now_s: float) -> list[Any]:
    trouble = [html.P(visible(now.mutes_trouble), className="warn", role="status")] if now.mutes_trouble else []
    rows = [_mute(mute, sum(mute.is_about(found.rule, found.run) for found in now.muted), now_s) for mute in now.mutes]
    everything = html.Div(["Mute everything ", *_mute_buttons(None, None, "everything")], className="mute-all")
    return [*trouble, _listed(rows) if rows else html.P("Nothing is muted.", className="none"), everything]


def receivers(now: AlertsSnapshot, now_s: float) -> list[Any]:
    rows = [_receiver(receiver, now, now_s) for receiver in now.settings.receivers]
    if rows:
        return [_listed(rows)]
    return [
        html.P("No receivers yet. Alerts appear on this page only.", className="none"),
        html.P("Add one in the editor below. ", className="dim"),
        html.Button("Begin with an example", className="btn", type="button", **{"data-act": "example"}),
    ]


def quiet(hours: QuietHours | None) -> list[Any]:
    if hours is None:
        return []
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.from_min, hours.to_min)]
    but = f", but for {', '.join(map(title_of, hours.but))}" if hours.but else ""
    return [html.P(f"Quiet from {times[0]} to {times[1]} ({hours.zone.key}){but}.", className="dim")]


def own_rules(now: AlertsSnapshot) -> list[Any]:
    """Rules about series, policies about findings, and those that are left out, in the order of the text."""
    settings = now.settings
    rows: list[tuple[int, Any]] = [(rule.line, _own(rule, now)) for rule in settings.rules]
    rows += [(policy.line, _policy(policy)) for policy in settings.policies]
    rows += [(trouble.line, _trouble(trouble.line, str(trouble))) for trouble in settings.troubles]
    if not rows:
        return [html.P("None yet. A rule is a few lines of the text above: a threshold, a series that stays away, an anomaly, or findings that are to alert.", className="none")]  # fmt: skip
    return [_listed([row for _, row in sorted(rows, key=lambda row: row[0])])]


def lasting(seconds: float) -> str:
    """`90 -> "90 s"`, `3600 -> "1 h"`, `200000 -> "2 days"`"""
    return spoken(seconds).removesuffix(" 0 min") if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def title_of(rule: str) -> str:
    """Of a finding's rule, also of a user's own."""
    return BY_NAME[rule].title if rule in BY_NAME else visible_name(rule.removeprefix(OWN))


def address_of(found: Finding) -> str:
    """Its window on Live; of the machine on GPUs."""
    lo, hi = (
        (found.from_s, found.to_s)
        if found.to_s - found.from_s >= 1
        else (found.from_s - MOMENT_S, found.from_s + MOMENT_S)
    )
    query = {"from": f"{lo:.3f}", "to": f"{hi:.3f}", "finding": found.id}
    return f"/?{urlencode({'run': found.run, **query})}" if found.run is not None else f"/gpus?{urlencode(query)}"


def _listed(rows: Sequence[Any]) -> html.Ul:
    rest = len(rows) - MAX_ROWS
    return html.Ul(
        [*rows[:MAX_ROWS], *([html.Li(f"and {rest:,} more", className="dim")] if rest > 0 else [])],
        className="alert-rows",
    )


def _row(kind: str, what: Sequence[Any], about: Sequence[Any], acts: Sequence[Any], key: str) -> html.Li:
    parts = [html.Span("", className=f"alert-shape {kind}", **{"aria-hidden": "true"}), html.Div(what, className="alert-what"), html.Div(about, className="alert-about"), html.Div(acts, className="alert-acts")]  # fmt: skip
    return html.Li(parts, className="alert-row", key=key)


def _finding(
    found: Finding, now_s: float, *, mutes: bool, seen: bool = False, earlier: Sequence[Finding] = ()
) -> html.Li:
    """`earlier` are those of the same rule and run before it, the newest first: they have no rows of their own."""
    title, ago = title_of(found.rule), lasting(max(0.0, now_s - found.from_s))
    where = visible_name(found.run) if found.run is not None else "the machine"
    what = [html.A([html.B(f"{title}. "), visible(found.sentence)], href=path_to(address_of(found)))]
    about = [
        html.Span(where, className="run-name"),
        html.Span(f"for {ago}" if not found.over else f"{ago} ago", className="dim"),
    ]
    if earlier:
        before = lasting(max(0.0, now_s - earlier[-1].from_s))
        words = f"; {len(earlier)} more, the first {before} ago" if len(earlier) > 1 else f"; 1 more {before} ago"
        about.append(html.Span(words, className="dim"))
    kind = "good" if found.rule == "finished" else "past" if seen else "alert" if mutes or not found.over else "past"
    acts = [_acknowledge(found, seen, f"{title} of {where}"), "Mute ", *_mute_buttons(found.rule, found.run, f"{title} of {where}")] if mutes else []  # fmt: skip
    return _row(kind, what, about, acts, found.id)


def _acknowledge(found: Finding, seen: bool, what: str) -> html.Button:
    label, act = ("Acknowledged", "unacknowledge") if seen else ("Acknowledge", "acknowledge")
    name = f"Undo: {what} is acknowledged" if seen else f"Acknowledge {what}"
    return html.Button(label, className="btn", type="button", title="Undo" if seen else "It no longer counts as active", **{"data-act": act, "data-findings": json.dumps([found.id]), "aria-label": name, "aria-pressed": str(seen).lower()})  # fmt: skip


def _acknowledge_all(found: Sequence[Finding]) -> html.Div:
    ids = json.dumps([each.id for each in found[:MAX_FINDINGS]])
    return html.Div(html.Button("Acknowledge all", className="btn", type="button", **{"data-act": "acknowledge", "data-findings": ids}), className="mute-all")  # fmt: skip


def _mute_buttons(rule: str | None, run: str | None, what: str) -> list[Any]:
    about = {"data-act": "mute", **({"data-rule": rule} if rule else {}), **({"data-run": run} if run else {})}
    return [
        html.Button(label, className="btn", type="button", **about, **{"data-hours": hours, "aria-label": f"Mute {what} {words}"})
        for label, hours, words in LENGTHS
    ]  # fmt: skip


def _mute(mute: Mute, held: int, now_s: float) -> html.Li:
    rule = title_of(mute.rule) if mute.rule else "All rules"
    where = f"of {visible_name(mute.run)}" if mute.run else "of all runs"
    until = "until it is taken back" if mute.until_s is None else f"for another {lasting(mute.until_s - now_s)}"
    back = {
        "data-act": "unmute",
        **({"data-rule": mute.rule} if mute.rule else {}),
        **({"data-run": mute.run} if mute.run else {}),
    }
    holds = [html.Span(f"{held} would fire" if held else "nothing would fire", className="dim")]
    act = html.Button("Unmute", className="btn", type="button", **back, **{"aria-label": f"Unmute {rule} {where}"})
    return _row(
        "muted",
        [html.B(f"{rule} "), where, html.Span(f", {until}", className="dim")],
        holds,
        [act],
        f"{mute.rule} {mute.run}",
    )


def _receiver(receiver: Receiver, now: AlertsSnapshot, now_s: float) -> html.Li:
    sent = [message for message in now.sent if message.receiver == receiver.name]
    waiting = [message for message in now.waiting if message.receiver == receiver.name]
    last_s = max((message.ended_s or 0.0 for message in sent if message.state == "delivered"), default=None)
    error = next((message.error for message in [*waiting, *sent] if message.error and (message in waiting or last_s is None or (message.ended_s or 0.0) > last_s)), "")  # fmt: skip
    state = f"last delivered {lasting(max(0.0, now_s - last_s))} ago" if last_s else "nothing delivered yet"
    about = [html.Span(state, className="dim"), html.Span(f"{len(waiting)} waiting", className="warn") if waiting else None, html.Span(visible(error), className="bad") if error else None]  # fmt: skip
    what = [
        html.B(visible_name(receiver.name)),
        html.Span(f" {receiver.kind}, {visible(shown_target(receiver))}", className="dim"),
    ]
    test = html.Button("Send test", className="btn", type="button", **{"data-act": "test", "data-receiver": receiver.name, "aria-label": f"Send test to {receiver.name}"})  # fmt: skip
    return _row("bad" if error else "good" if last_s else "past", what, about, [test, html.Span(className="tested", role="status")], receiver.name)  # fmt: skip


def _own(rule: UserRule, now: AlertsSnapshot) -> html.Li:
    many = sum(found.rule == rule.rule for found in now.firing)
    trouble = now.troubles.get(rule.name, "")
    state = f"fires {many} times" if many > 1 else "fires" if many else visible(trouble) if trouble else "quiet"
    kind = {"when": "when", "absent": "absent:", "anomaly": "anomaly of"}[rule.kind]
    what = [html.B(visible_name(rule.name)), html.Span([f" {kind} ", html.Code(visible(rule.text)), f" for {lasting(rule.for_s)}" if rule.for_s else ""], className="dim")]  # fmt: skip
    about = [html.Span(f"runs {visible_name(rule.runs)}, {_whom(rule.to)}, {rule.weight}", className="dim")]
    tone = "alert" if many else "bad" if trouble else "past"
    return _row(
        tone,
        what,
        about,
        [html.Span(state, className="bad" if many or trouble else "dim"), _line(rule.line)],
        f"rule {rule.name}",
    )


def _policy(policy: FindingPolicy) -> html.Li:
    names = ", ".join(map(title_of, policy.rules))
    what = [html.B(names), html.Span(" alert" if policy.alerts else " do not alert", className="dim")]
    whom = f", {_whom(policy.to)}" if policy.alerts else ""
    return _row("past", what, [html.Span(f"runs {visible_name(policy.runs)}{whom}", className="dim")], [_line(policy.line)], f"line {policy.line}")  # fmt: skip


def _trouble(line: int, sentence: str) -> html.Li:
    return _row("bad", [html.Span(visible(sentence), className="bad")], [html.Span("left out", className="dim")], [_line(line)], f"trouble {line} {sentence}")  # fmt: skip


def _line(line: int) -> html.Button:
    return html.Button(f"line {line}", className="plain", type="button", **{"data-act": "line", "data-line": str(line)})


def _whom(to: Sequence[str] | None) -> str:
    return "to all receivers" if to is None else f"to {', '.join(map(visible_name, to))}" if to else "to no receiver"


ASKED = "alerts-asked"  # rises when the page is to be read anew
PARTS = ("firing", "recent", "muted", "receivers", "own")
MAX_MESSAGES = 500


def layout(**_: Any) -> html.Div:
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
            part("receivers", "Receivers", DesktopChoice()),
            html.Section(
                [
                    html.H2("Rules and receivers, as text"),
                    AlertsEditor(),
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
        messages = queries.alerts.messages(MAX_MESSAGES)
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
    layout,
    callbacks,
    packages=(DCC, "dash_ag_grid"),
    owners=True,
    chunks=("dash_ag_grid/async-community.js",),
    early=lambda _: (question("alerts"),),
)
