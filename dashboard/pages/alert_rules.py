"""Rules, channels and quiet hours on the Alerts page: the lists, and a form for each; `assets/pages/alerts/page.js` sends what is saved."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from zoneinfo import available_timezones

from dash import Dash, Input, Output, State, dcc, html, no_update

from alerts.conditions import condition_of
from alerts.config import OWN, AlertSettings, FindingPolicy, Receiver, UserRule
from alerts.messages import shown_target
from alerts.preview import Preview
from alerts.routing import is_alert
from analysis.expressions.language import ExpressionError
from analysis.findings.rules import BY_NAME, RULES
from collectors import options
from collectors.message import spoken
from collectors.records import Finding
from collectors.store.store import StoreError, TooMuch

from ..components import AlertChange, AlertsEditor, DesktopChoice, Moment, RulePreview, SecretField
from ..findings import AlertsSnapshot
from ..network import path_to
from ..queries import Queries
from ..user_files.alerts import secret_keys
from ..user_files.yaml_file import visible, visible_name

ASKED, EDITING = "alerts-asked", "alerts-editing"  # stores: rises when the page is read anew; what the form is about
PREVIEW_S = 7 * 86400.0
MAX_FIRINGS, MAX_DRAWN = 5, 300  # that are listed; points of a curve
KINDS = {"ntfy": "ntfy", "email": "Email", "slack": "Slack", "webhook": "Webhook", "desktop": "Browser"}
FIELDS = {  # of a channel's kind: key, label, what it looks like
    "ntfy": (("topic", "Topic", "hard to guess, such as my-trainings-7f3a91"), ("url", "Server", "https://ntfy.sh"), ("token", "Token", "only for protected topics")),
    "email": (("to", "To", "anna@example.org"), ("server", "Server", "smtp.example.org:587"), ("from", "From", "the user's address"), ("user", "User", ""), ("password", "Password", ""), ("security", "Security", "starttls, ssl or none")),
    "slack": (("url", "Webhook URL", "https://hooks.slack.com/services/..."),),
    "webhook": (("url", "URL", "https://example.org/hook"), ("authorization", "Authorization", "sent as this header")),
    "desktop": (),
}  # fmt: skip
CONDITIONS = {
    ">": "is above",
    ">=": "is at least",
    "<": "is below",
    "<=": "is at most",
    "absent": "has no new point",
    "anomaly": "is unlike its last hour",
    "expression": "as an expression",
}
# Built-in rules in plain words; docs/findings.md has their exact conditions.
IN_WORDS = {
    "crash": "The process fails or is killed",
    "finished": "The run ends without an error",
    "hung": "No progress for 5 min and 20 usual intervals",
    "silent": "No line for 30 min, while the process lives",
    "nan": "A loss or gradient norm is NaN or infinite",
    "nan_lasting": "A loss or gradient norm is not finite for ten steps",
    "loss_spike": "The loss stays eight spreads above its median",
    "script_alert": "The script calls log.alert(...)",
    "not_back": "Preempted, and not started again for 30 min",
    "queue_stuck": "A job cannot start for 30 min",
    "slow_answers": "p99 latency is over the target of the service",
    "requests_refused": "More than 1% of the requests are refused",
    "gpu_lost": "The driver says that the GPU is lost",
    "xid": "The driver reports a critical error",
    "host_memory_out": "Host memory will be full within the hour",
    "disk_out": "A disk will be full within the hour",
    "data_stall": "Waiting for data takes a large share of 30 s",
    "slower": "Steps take longer than before for 30 s",
    "throttle": "The clock is lower for heat or power",
    "held_and_idle": "Memory is allocated, and the GPU is idle for 30 min",
    "memory_creep": "Memory grows and reaches its limit within a day",
    "gpu_memory_creep": "GPU memory grows and is full within a day",
    "straggler": "One rank keeps the others waiting",
    "foreign_process": "Another run or user computes on the GPU",
    "no_checkpoint": "No checkpoint for three usual intervals",
    "new_best": "A validation result is better than all before",
}


def title_of(rule: str) -> str:
    """Of a finding's rule, also of a user's own."""
    return BY_NAME[rule].title if rule in BY_NAME else visible_name(rule.removeprefix(OWN))


def layout(editing: str) -> list[Any]:
    def chip(show: str, name: str, on: bool = False) -> html.Button:
        return html.Button(name, className="chip", type="button", **{"data-act": "show", "data-show": show, "aria-pressed": str(on).lower()})  # fmt: skip

    return [
        dcc.Store(ASKED, data=0),
        dcc.Store(EDITING, data=editing),
        html.Div(
            [
                html.Div([chip("on", "On", True), chip("own", "Yours"), chip("all", "All")], className="chips"),
                html.Span(id="alerts-said", className="warn", role="status"),
                html.Span(className="grow"),
                _button("Add channel", "edit", "channel:", "btn"),
                _button("New rule", "edit", "new", "btn pri"),
            ],
            className="alerts-tool",
        ),
        html.Div(
            [
                html.Div(id="alerts-rules", className="alerts-left show-on"),
                html.Aside(
                    [
                        html.Div(id="alerts-form", className="alerts-form"),
                        html.Div([html.H2("alerts.yaml"), AlertsEditor()], id="alerts-text", className="alerts-text", hidden=True),
                        html.Div(
                            [_half("Form", "", editing != "yaml"), _half("YAML", "yaml", editing == "yaml")],
                            className="switch form-or-text",
                        ),
                        AlertChange("alerts-change"),
                    ],
                    className="alerts-aside",
                    **{"aria-label": "Rule or channel"},
                ),
            ],
            className="alerts-body",
        ),
    ]  # fmt: skip


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output("alerts-rules", "children"), Input(ASKED, "data"), Input(EDITING, "data"))  # type: ignore[untyped-decorator]
    def lists(asked: Any, editing: Any) -> Any:
        now = queries.alerts.now()
        fired = Counter(row.rule for row in queries.findings.findings(None, time.time() - PREVIEW_S, None))
        return [rules_table(now, fired, str(editing)), *channels(now, time.time()), *quiet_hours(now.settings)]

    @dash.callback(Output("alerts-form", "children"), Output("alerts-text", "hidden"), Input(EDITING, "data"))  # type: ignore[untyped-decorator]
    def form(editing: Any) -> Any:
        now = queries.alerts.now()
        return form_of(str(editing or ""), now, queries), editing != "yaml"

    rule_fields = [State(f"rule-{key}", "value") for key in ("name", "metric", "condition", "number", "text", "for", "runs", "severity", "to")]  # fmt: skip

    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(f"rule-{key}-wrong", "children") for key in ("name", "when", "for")),
        Output("rule-when-fields", "className"),
        Output("rule-preview", "children"),
        *(Input(field.component_id, "value") for field in rule_fields),
    )
    def check(*values: Any) -> Any:
        rule, wrong = rule_of(*values)
        return *(wrong.get(key, "") for key in ("name", "when", "for")), f"when-fields of-{_kind(values[2])}", preview(rule, queries)  # fmt: skip

    change = Output("alerts-change", "path"), Output("alerts-change", "body"), Output("alerts-change", "press")
    same = (no_update, no_update, no_update)

    @dash.callback(
        *change, Input("rule-save", "n_clicks"), State(EDITING, "data"), *rule_fields, prevent_initial_call=True
    )  # type: ignore[untyped-decorator]
    def save_rule(clicks: Any, editing: Any, *values: Any) -> Any:
        rule, wrong = rule_of(*values)
        if not clicks or rule is None or wrong:
            return same
        settings = queries.alerts.now().settings
        before = next((own for own in settings.rules if own.rule == editing), None)
        fields = {
            "name": rule.name,
            "kind": rule.kind,
            "expression": rule.text,
            "for": _duration(rule.for_s) if rule.for_s else "",
            "runs": rule.runs,
            "to": _to(values[8], settings),
            "severity": rule.weight,
            "times": rule.times if rule.kind == "anomaly" and rule.times != 8 else None,
            "enabled": before.enabled if before else True,
        }
        return "alerts/rule", {"name": before.name if before else None, "rule": fields}, _press(editing, clicks)

    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(change_.component_id, change_.component_property, allow_duplicate=True) for change_ in change),
        Input("policy-save", "n_clicks"),
        State(EDITING, "data"),
        State("policy-runs", "value"),
        State("policy-to", "value"),
        State("policy-alert", "value"),
        prevent_initial_call=True,
    )
    def save_policy(clicks: Any, editing: Any, runs: Any, to: Any, alert: Any) -> Any:
        settings = queries.alerts.now().settings
        if not clicks:
            return same
        policy = {"to": _to(to, settings), "alert": alert == "on"}
        return (
            "alerts/policy",
            {"findings": [str(editing)], "runs": str(runs or "").strip() or "*", "policy": policy},
            _press(editing, clicks),
        )

    channel_keys = sorted({key for kind in FIELDS for key, _, _ in FIELDS[kind] if key not in secret_keys(kind)} | {"url"})  # fmt: skip

    @dash.callback(*(Output(f"channel-{kind}", "hidden") for kind in FIELDS), Input("channel-kind", "value"))  # type: ignore[untyped-decorator]
    def kinds(chosen: Any) -> Any:
        return [kind != chosen for kind in FIELDS]

    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(change_.component_id, change_.component_property, allow_duplicate=True) for change_ in change),
        Input("channel-save", "n_clicks"),
        State(EDITING, "data"),
        State("channel-kind", "value"),
        State("channel-name", "value"),
        *(State(f"channel-{key}", "value") for key in channel_keys),
        prevent_initial_call=True,
    )
    def save_channel(clicks: Any, editing: Any, kind: Any, name: Any, *values: Any) -> Any:
        if not clicks:
            return same
        mine = {key for key, _, _ in FIELDS.get(str(kind), ())} - set(secret_keys(str(kind)))
        given = {key: str(value).strip() for key, value in zip(channel_keys, values, strict=True) if value and key in mine}  # fmt: skip
        before = str(editing).removeprefix("channel:") or None
        channel = {"name": str(name or "").strip(), "kind": kind, **given}
        return "alerts/channel", {"name": before, "channel": channel}, _press(editing, clicks)

    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(change_.component_id, change_.component_property, allow_duplicate=True) for change_ in change),
        Input("quiet-save", "n_clicks"),
        State("quiet-on", "value"),
        *(State(f"quiet-{key}", "value") for key in ("from", "to", "zone", "but")),
        prevent_initial_call=True,
    )
    def save_quiet(clicks: Any, on: Any, begin: Any, end: Any, zone: Any, but: Any) -> Any:
        if not clicks:
            return same
        quiet = {"from": str(begin or ""), "to": str(end or ""), "zone": str(zone or ""), "but": but or []}
        return "alerts/quiet", {"quiet": quiet if on == "on" else None}, _press("quiet", clicks)


def _press(editing: Any, clicks: Any) -> str:
    return f"{editing} {clicks} {time.time():.3f}"


def _to(chosen: Any, settings: AlertSettings) -> list[str] | None:
    """None for all channels."""
    names = [receiver.name for receiver in settings.receivers]
    return None if set(chosen or []) >= set(names) else [name for name in names if name in (chosen or [])]


# The lists.


def rules_table(now: AlertsSnapshot, fired: Mapping[str, int], editing: str) -> html.Table:
    settings = now.settings
    rows = [_own_row(rule, now, fired, editing) for rule in settings.rules]
    rows += [_policy_row(policy) for policy in settings.policies if policy.runs != "*" or len(policy.rules) > 1 or "*" in policy.rules]  # fmt: skip
    built_in = [(rule, is_alert(settings, Finding("", None, rule.name, rule.weight, 0.0, 0.0, True, ""))) for rule in RULES]  # fmt: skip
    for rule, on in sorted(built_in, key=lambda row: not row[1]):
        words = IN_WORDS.get(rule.name) or visible(rule.holds.replace("*", "").replace("`", ""))
        rows.append(
            _row(rule.name, rule.title, words, _whom(settings, rule.name), on, fired.get(rule.name, 0), editing)
        )
    rows += [html.Tr([html.Td(), html.Td(visible(str(trouble)), colSpan=4, className="bad")]) for trouble in settings.troubles]  # fmt: skip
    heads = [html.Th("On"), html.Th("Rule"), html.Th("Condition"), html.Th("Notify"), html.Th("Fired, 7 d", className="num")]  # fmt: skip
    return html.Table([html.Thead(html.Tr(heads)), html.Tbody(rows)], className="alerts-rules")


def _row(
    id_: str, title: str, words: Any, whom: str, on: bool, fired: int, editing: str, *, own: bool = False
) -> html.Tr:
    switch = html.Button("", className="toggle", type="button", role="switch", **{"aria-checked": str(on).lower(), "aria-label": f"Alert on: {title}", "data-act": "switch", "data-rule": id_, "data-on": str(not on).lower()})  # fmt: skip
    name = html.Button(title, className="plain", type="button", **{"data-act": "edit", "data-edit": id_})
    cells = [html.Td(switch), html.Td(name), html.Td(words, className="condition"), html.Td(whom if on else "", className="whom"), html.Td(str(fired), className="num dim" if not fired else "num")]  # fmt: skip
    kinds = f"{'on' if on else 'off'}{' own' if own else ''}"
    return html.Tr(cells, className=kinds, key=id_, **({"aria-selected": "true"} if id_ == editing else {}))


def _own_row(rule: UserRule, now: AlertsSnapshot, fired: Mapping[str, int], editing: str) -> html.Tr:
    words: list[Any] = [in_words(rule)]
    if trouble := now.troubles.get(rule.name, ""):
        words += [" ", html.Span(visible(trouble), className="bad")]
    whom = "on the axis only" if rule.weight == "note" else ", ".join(map(visible_name, rule.to)) if rule.to is not None else _all(now.settings)  # fmt: skip
    return _row(rule.rule, visible_name(rule.name), words, whom, rule.enabled, fired.get(rule.rule, 0), editing, own=True)  # fmt: skip


def _policy_row(policy: FindingPolicy) -> html.Tr:
    names = ", ".join("Everything" if rule == "*" else title_of(rule) for rule in policy.rules)
    whom = ("no one" if not policy.alerts else ", ".join(map(visible_name, policy.to)) if policy.to is not None else "all channels")  # fmt: skip
    remove = html.Button("Remove", className="plain", type="button", **{"data-act": "unpolicy", "data-findings": " ".join(policy.rules), "data-runs": policy.runs})  # fmt: skip
    where = "all runs" if policy.runs == "*" else visible_name(policy.runs)
    return html.Tr([html.Td(), html.Td(names), html.Td(f"in {where}", className="condition"), html.Td(whom, className="whom"), html.Td(remove, className="num")], className="on own", key=f"{policy.line}")  # fmt: skip


def _all(settings: AlertSettings) -> str:
    return ", ".join(visible_name(receiver.name) for receiver in settings.receivers) or "this page"


def _whom(settings: AlertSettings, rule: str) -> str:
    policy = next((row for row in settings.policies if (rule in row.rules or "*" in row.rules) and row.runs == "*"), None)  # fmt: skip
    return _all(settings) if policy is None or policy.to is None else ", ".join(map(visible_name, policy.to)) or "no one"  # fmt: skip


def in_words(rule: UserRule) -> str:
    """`train/loss is above 8 for 2 min, in sweep/*`"""
    lasting = f" for {spoken(rule.for_s)}" if rule.for_s else ""
    where = "" if rule.runs == "*" else f", in {visible_name(rule.runs)}"
    if rule.kind == "absent":
        return f"{visible(rule.text)} has no new point{lasting}{where}"
    if rule.kind == "anomaly":
        return f"{visible(rule.text)} is {rule.times:g} spreads from the median of its last hour{lasting}{where}"
    simple = condition_of(rule.kind, rule.text).simple
    if simple is None or simple.operator not in CONDITIONS:
        return f"{visible(rule.text)}{lasting}{where}"
    return f"{visible(simple.name)} {CONDITIONS[simple.operator]} {simple.number:g}{lasting}{where}"


def channels(now: AlertsSnapshot, now_s: float) -> list[Any]:
    rows = [_channel(receiver, now, now_s) for receiver in now.settings.receivers]
    none = html.P("No channels yet. Alerts appear on this page only.", className="none")
    return [html.H2("Channels"), html.Table(html.Tbody(rows), className="alerts-channels") if rows else none, DesktopChoice()]  # fmt: skip


def _channel(receiver: Receiver, now: AlertsSnapshot, now_s: float) -> html.Tr:
    sent = [message for message in now.sent if message.receiver == receiver.name]
    waiting = [message for message in now.waiting if message.receiver == receiver.name]
    last_s = max((message.ended_s or 0.0 for message in sent if message.state == "delivered"), default=None)
    error = next((message.error for message in [*waiting, *sent] if message.error and (message in waiting or last_s is None or (message.ended_s or 0.0) > last_s)), "")  # fmt: skip
    state = f"delivered {spoken(max(0.0, now_s - last_s))} ago" if last_s else "nothing delivered yet"
    waits = f", {len(waiting)} waiting" if waiting else ""
    name = html.Button(visible_name(receiver.name), className="plain", type="button", **{"data-act": "edit", "data-edit": f"channel:{receiver.name}"})  # fmt: skip
    test = html.Button("Send test", className="plain acc", type="button", **{"data-act": "test", "data-receiver": receiver.name, "aria-label": f"Send test to {receiver.name}"})  # fmt: skip
    shape = html.I(className=f"alert-shape {'bad' if error else 'good' if last_s else 'past'}", **{"aria-hidden": "true"})  # fmt: skip
    return html.Tr(
        [
            html.Td(shape),
            html.Td(name),
            html.Td(f"{KINDS.get(receiver.kind, receiver.kind)}, {visible(shown_target(receiver))}", className="condition"),
            html.Td([visible(error) if error else state, waits], className="warn" if error else "dim"),
            html.Td([html.Span(className="tested", role="status"), " ", test], className="num"),
        ],
        key=receiver.name,
    )  # fmt: skip


def quiet_hours(settings: AlertSettings) -> list[Any]:
    hours = settings.quiet
    said = "None. Messages are sent at any time."
    if hours is not None:
        times = [f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.from_min, hours.to_min)]
        but = f", except {', '.join(map(title_of, hours.but))}" if hours.but else ""
        said = f"From {times[0]} to {times[1]} ({hours.zone.key}){but}. Messages wait until then."
    change = _button("Change", "edit", "quiet", "plain acc")
    return [html.H2("Quiet hours"), html.P([said, " ", change], className="none")]


# The forms.


def form_of(editing: str, now: AlertsSnapshot, queries: Queries) -> Any:
    settings = now.settings
    if editing == "yaml":
        return []
    if editing.startswith("channel:"):
        return channel_form(settings.receiver(editing.removeprefix("channel:")))
    if editing == "quiet":
        return quiet_form(settings)
    if editing in BY_NAME:
        return policy_form(editing, settings, queries)
    own = next((rule for rule in settings.rules if rule.rule == editing), None)
    if own is not None or editing == "new":
        return rule_form(own, settings, queries.series_names())
    hint = "Select a rule or a channel to change it." if settings.receivers else "Alerts appear on this page only. Add a channel to get them on your phone, by mail or in Slack."  # fmt: skip
    return [html.H2("Rules and channels"), html.P(hint, className="mid"), _button("Add channel", "edit", "channel:", "btn")]  # fmt: skip


def rule_form(rule: UserRule | None, settings: AlertSettings, names: Sequence[str]) -> list[Any]:
    condition, metric, number, text = _parts(rule)
    kept = {"persistence": rule.rule if rule else "new rule", "persistence_type": "session"}
    to = rule.to if rule and rule.to is not None else [receiver.name for receiver in settings.receivers]
    known = sorted({*names, metric} - {""})
    when = html.Div(
        [
            dcc.Dropdown(id="rule-metric", options=known, value=metric or None, placeholder="Metric", clearable=False, **kept),
            dcc.Dropdown(id="rule-condition", options=CONDITIONS, value=condition, clearable=False, searchable=False, **kept),
            dcc.Input(id="rule-number", value=number, placeholder="Value", debounce=0.3, **kept),
            dcc.Input(id="rule-text", value=text, placeholder="max(gpu/temperature_c) > 90", debounce=0.3, **kept),
        ],
        id="rule-when-fields",
        className=f"when-fields of-{_kind(condition)}",
    )  # fmt: skip
    return [
        html.H2("Edit rule" if rule else "New rule"),
        html.Div(
            [
                *_field("rule-name", "Name", dcc.Input(id="rule-name", value=rule.name if rule else "", placeholder="Loss is too high", maxLength=80, debounce=0.3, **kept)),
                *_field("rule-when", "When", when),
                *_field("rule-for", "For", dcc.Input(id="rule-for", value=_duration(rule.for_s) if rule and rule.for_s else "", placeholder="at once; or 30 s, 5 min, 2 h", debounce=0.3, **kept)),
                *_field("rule-runs", "In runs", dcc.Input(id="rule-runs", value=rule.runs if rule else "*", placeholder="* for all, or sweep/*", debounce=0.3, **kept)),
                *_field("rule-severity", "Severity", dcc.RadioItems(id="rule-severity", options={"alert": "Alert", "note": "Mark on the axis only"}, value=rule.weight if rule else "alert", inline=True, **kept)),
                *_field("rule-to", "Notify", _channels_field("rule-to", settings, to, kept)),
            ],
            className="fields",
        ),
        html.H3("Preview, last 7 days"),
        html.Div(id="rule-preview", className="preview"),
        _actions("rule-save", "Save rule", {"data-act": "delete-rule", "data-name": rule.name} if rule else None),
    ]  # fmt: skip


def policy_form(name: str, settings: AlertSettings, queries: Queries) -> list[Any]:
    rule = BY_NAME[name]
    on = is_alert(settings, Finding("", None, name, rule.weight, 0.0, 0.0, True, ""))
    policy = next((row for row in settings.policies if row.rules == (name,) and row.runs == "*"), None)
    to = policy.to if policy and policy.to is not None else [receiver.name for receiver in settings.receivers]
    found = queries.findings.findings(None, time.time() - PREVIEW_S, None)
    mine = [row for row in found if row.rule == name]
    return [
        html.H2(rule.title),
        html.P(visible(rule.holds.replace("*", "").replace("`", "")), className="mid"),
        html.Div(
            [
                *_field("policy-alert", "Alert", dcc.RadioItems(id="policy-alert", options={"on": "On", "off": "Mark on the axis only"}, value="on" if on else "off", inline=True)),
                *_field("policy-runs", "In runs", dcc.Input(id="policy-runs", value="*", placeholder="* for all, or sweep/*")),
                *_field("policy-to", "Notify", _channels_field("policy-to", settings, to, {})),
            ],
            className="fields",
        ),
        html.H3(f"Last 7 days: {_times(len(mine))}"),
        html.Div([_fired(row.run, row.from_s, row.to_s, visible(row.sentence)) for row in reversed(mine[-MAX_FIRINGS:])], className="fired"),
        _actions("policy-save", "Save rule", None),
    ]  # fmt: skip


def channel_form(channel: Receiver | None) -> list[Any]:
    kind = channel.kind if channel else "ntfy"
    values = channel.values if channel else {}
    if kind == "apprise":
        return [html.H2(visible_name(channel.name if channel else "")), html.P("A channel of Apprise is edited as text.", className="mid"), _button("Edit alerts.yaml", "edit", "yaml", "btn")]  # fmt: skip
    shown: set[str] = set()

    def field(of: str, key: str, label: str, example: str) -> list[Any]:
        value = values.get(key, "") if kind == of else ""
        if key in secret_keys(of):
            return _field(f"channel-{of}-{key}", label, SecretField(f"channel-{of}-{key}", f"{of} {key}", label, bool(value)))  # fmt: skip
        shown.add(key)
        return _field(f"channel-{key}", label, dcc.Input(id=f"channel-{key}", value=value, placeholder=example))

    parts = [html.Div([part for row in FIELDS[of] for part in field(of, *row)], id=f"channel-{of}", className="fields", hidden=of != kind) for of in FIELDS]  # fmt: skip
    name = channel.name if channel else ""
    return [
        html.H2("Edit channel" if channel else "Add channel"),
        html.Div(
            [
                *_field("channel-kind", "Kind", dcc.RadioItems(id="channel-kind", options=KINDS, value=kind, inline=True)),
                *_field("channel-name", "Name", dcc.Input(id="channel-name", value=name, placeholder="phone", maxLength=80)),
            ],
            className="fields",
        ),
        *parts,
        html.H3("What a message looks like"),
        html.Div([html.B("Crashed - lr3e-4-b1024"), html.P("The run failed at step 2,110: OutOfMemoryError: GPU 0 could not allocate 2.00 GiB."), html.P("Line: vit.py:104 in attention", className="mid")], className="message"),
        _actions("channel-save", "Save channel", {"data-act": "delete-channel", "data-name": name} if channel else None, html.Button("Save and send test", id="channel-test", className="btn", type="button", **{"data-act": "save-and-test"})),
    ]  # fmt: skip


def quiet_form(settings: AlertSettings) -> list[Any]:
    hours = settings.quiet
    begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in ((hours.from_min, hours.to_min) if hours else (1320, 480)))  # fmt: skip
    loud = {rule.name: rule.title for rule in RULES if rule.weight == "alert"}
    return [
        html.H2("Quiet hours"),
        html.P("Messages of these hours are sent when they are over.", className="mid"),
        html.Div(
            [
                *_field("quiet-on", "Hours", dcc.RadioItems(id="quiet-on", options={"on": "On", "off": "Off"}, value="on" if hours else "off", inline=True)),
                *_field("quiet-from", "From", dcc.Input(id="quiet-from", value=begin, placeholder="22:00", maxLength=5)),
                *_field("quiet-to", "To", dcc.Input(id="quiet-to", value=end, placeholder="08:00", maxLength=5)),
                *_field("quiet-zone", "Time zone", dcc.Dropdown(id="quiet-zone", options=sorted(available_timezones()), value=hours.zone.key if hours else _zone(), clearable=False)),
                *_field("quiet-but", "Except", dcc.Dropdown(id="quiet-but", options=loud, value=list(hours.but) if hours else [], multi=True, placeholder="nothing comes through")),
            ],
            className="fields",
        ),
        _actions("quiet-save", "Save", None),
    ]  # fmt: skip


def _zone() -> str:
    name = time.strftime("%Z")
    return name if name in available_timezones() else "UTC"


def _channels_field(id_: str, settings: AlertSettings, to: Sequence[str], kept: Mapping[str, Any]) -> Any:
    names = {receiver.name: visible_name(receiver.name) for receiver in settings.receivers}
    chosen = dcc.Checklist(id=id_, options=names, value=[name for name in names if name in to], inline=True, **kept)
    if names:
        return chosen
    return html.Div([chosen, html.Span("no channels yet: alerts appear on this page only", className="dim")])


def _field(id_: str, label: str, field: Any) -> list[Any]:
    """The label names the field; what is wrong with it stands below."""
    return [html.Label(label, htmlFor=id_), html.Div([field, html.P(id=f"{id_}-wrong", className="wrong", role="status")])]  # fmt: skip


def _actions(id_: str, label: str, delete: Mapping[str, str] | None, *more: Any) -> html.Div:
    parts = [html.Button(label, id=id_, className="btn pri", type="button"), *more, html.Span(id="alerts-form-said", role="status"), html.Span(className="grow")]  # fmt: skip
    if delete:
        parts.append(html.Button("Delete", className="btn ghost bad", type="button", **delete))
    return html.Div(parts, className="actions")


def _half(label: str, edit: str, on: bool) -> html.Button:
    return html.Button(label, className="chip", type="button", **{"data-act": "edit", "data-edit": edit, "aria-pressed": str(on).lower()})  # fmt: skip


def _button(label: str, act: str, edit: str, look: str) -> html.Button:
    return html.Button(label, className=look, type="button", **{"data-act": act, "data-edit": edit})


# From the fields of the form to a rule, and from a rule to its fields.


def _kind(condition: Any) -> str:
    return str(condition) if condition in ("absent", "expression") else "compared"


def _parts(rule: UserRule | None) -> tuple[str, str, str, str]:
    """Condition, metric, number and expression."""
    if rule is None:
        return ">", "", "", ""
    if rule.kind == "absent":
        return "absent", rule.text, "", ""
    condition = condition_of(rule.kind, rule.text)
    if rule.kind == "anomaly" and condition.name:
        return "anomaly", condition.name, f"{rule.times:g}", ""
    if condition.simple is not None and condition.simple.operator in CONDITIONS:
        return condition.simple.operator, condition.simple.name, f"{condition.simple.number:g}", ""
    return "expression", "", "", rule.text


def rule_of(
    name: Any, metric: Any, condition: Any, number: Any, text: Any, for_: Any, runs: Any, severity: Any, to: Any
) -> tuple[UserRule | None, dict[str, str]]:
    """The rule that the fields describe, as far as they do, and by field what is wrong with it."""
    wrong: dict[str, str] = {}
    said = str(name or "").strip()
    if not said:
        wrong["name"] = "Give the rule a name."
    for_s = 0.0
    if str(for_ or "").strip():
        try:
            for_s = options.seconds(str(for_))
        except argparse.ArgumentTypeError:
            wrong["for"] = "Write a duration such as 30 s, 5 min or 2 h."
    kind, expression, times, sentence = _expression(str(metric or ""), str(condition), str(number or "").strip(), str(text or "").strip())  # fmt: skip
    if sentence:
        wrong["when"] = sentence
    elif kind == "absent" and not for_s:
        wrong["for"] = wrong.get("for") or "Say how long the metric has no new point, such as 10 min."
    if "when" in wrong or "for" in wrong:
        return None, wrong
    chosen = tuple(str(each) for each in to or ())
    return UserRule(said, kind, expression, for_s, 0, str(runs or "").strip() or "*", chosen, "note" if severity == "note" else "alert", times), wrong  # type: ignore[arg-type]  # fmt: skip


def _expression(metric: str, condition: str, number: str, text: str) -> tuple[str, str, float, str]:
    """Kind, expression, spreads, and what is wrong with them."""
    times = 8.0
    if condition == "expression":
        kind, expression = "when", text
        if not text:
            return kind, "", times, "Write an expression such as max(gpu/temperature_c) > 90."
    elif not metric:
        return "when", "", times, "Choose a metric."
    elif condition in ("absent", "anomaly"):
        kind, expression = condition, metric
    else:
        kind, expression = "when", f"{metric} {condition} {number}"
    if condition not in ("expression", "absent"):
        try:
            value = float(number or ("8" if condition == "anomaly" else ""))
        except ValueError:
            return kind, "", times, "Write a number, such as 8 or 1e-4."
        if condition == "anomaly":
            times = value
            if not 1 <= value <= 1000:
                return kind, "", times, "Write how many spreads, from 1 to 1000."
    try:
        condition_of(kind, expression)
    except ValueError as error:
        return kind, "", times, f"{str(error)[:1].upper()}{str(error)[1:]}."
    return kind, expression, times, ""


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


# The preview.


def preview(rule: UserRule | None, queries: Queries) -> list[Any]:
    if rule is None:
        return [html.P("Choose a metric and a condition to see when the rule would have fired.", className="dim")]
    try:
        found = queries.rule_preview(rule, time.time() - PREVIEW_S)
    except (ExpressionError, StoreError, TooMuch) as error:
        return [html.P(visible(str(error)), className="warn")]
    if not found.runs:
        return [html.P("No run of the last 7 days has this metric.", className="dim")]
    runs = f"{found.runs} run{'s' if found.runs > 1 else ''}"
    rows = [_fired(each.run, each.from_s - rule.for_s, each.to_s, f"{each.value:.4g}") for each in reversed(found.firings[-MAX_FIRINGS:])]  # fmt: skip
    return [html.P(["Would have fired ", html.B(_times(len(found.firings))), f" in {runs}."]), _drawn(rule, found), html.Div(rows, className="fired")]  # fmt: skip


def _times(count: int) -> str:
    return {0: "not once", 1: "once"}.get(count, f"{count:,} times")


def _drawn(rule: UserRule, found: Preview) -> RulePreview:
    simple = condition_of(rule.kind, rule.text).simple
    curves = []
    for curve in found.curves:
        step = max(1, len(curve.time_s) // MAX_DRAWN)
        curves.append({"run": curve.run, "t": curve.time_s[::step].tolist(), "v": [value if abs(value) < 1e300 else None for value in curve.value[::step].tolist()]})  # fmt: skip
    firings = [{"run": each.run, "t": each.from_s, "v": None} for each in found.firings[-50:]]
    return RulePreview(
        title=visible(simple.name if simple else rule.text),
        curves=curves,
        firings=firings,
        limit=simple.number if simple else None,
    )


def _fired(run: str | None, from_s: float, to_s: float, sentence: str) -> html.Div:
    """A row with the way to its window."""
    query = {"from": f"{from_s - 5:.3f}", "to": f"{max(to_s, from_s + 1) + 5:.3f}"}
    where = f"/?{urlencode({'run': run, **query})}" if run is not None else f"/hosts?{urlencode(query)}"
    return html.Div([html.B(visible_name(run) if run is not None else "this host"), Moment(time_s=from_s), html.Span(sentence, className="mid"), html.A("Open", href=path_to(where))])  # fmt: skip
