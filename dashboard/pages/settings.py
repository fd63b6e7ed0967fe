"""The Settings page: a field for each row of SETTINGS. `assets/pages/settings/page.js` sends what a user changes."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dash import Dash, Input, Output, dcc, html

from access.roles import Role
from access.tokens import GRANTS_SCOPE, VIEW, Credential, DamagedTokens, Tokens

from ..queries import Queries
from ..user_files.settings import FILE, SETTINGS, Setting, Settings, SettingValue
from ..visitors import visitor
from .page import DCC, Page

BODY, OPENED = "settings-body", "settings-opened"


def layout(**_: Any) -> html.Div:
    return html.Div([html.H1("Settings"), html.Div(id=BODY), dcc.Store(OPENED, data=0)], className="settings-page")


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(BODY, "children"), Input(OPENED, "data"))  # type: ignore[untyped-decorator]
    def body(opened: Any) -> Any:
        """When the page is opened. What is saved then, the module knows from the answer."""
        if visitor().role is not Role.OWNER:
            return [html.P("The settings are the owner's.", className="dim")]
        settings = body_of(queries.settings(), queries.read_only() or "", str(queries.data_dir / FILE))
        return [*settings, *access_of(Tokens(queries.data_dir))]


def body_of(settings: Settings, read_only: str, path: str) -> list[Any]:
    why_not = settings.trouble or read_only
    rows = [row(setting, settings.values[setting.key], locked=bool(why_not)) for setting in SETTINGS]
    return [
        html.P(why_not, className="warn", role="status") if why_not else None,
        html.Div(rows, className="setting-rows"),
        html.Div([html.Button("Save", id="save", className="btn pri", type="button", disabled=bool(why_not)), html.Span(id="said", role="status")], className="actions"),
        html.P(["These are kept in ", html.Code(path), ", which may be edited by hand, too."], className="dim"),
        html.Div([html.Button("Copy diagnosis", id="copy-diagnosis", className="btn", type="button"), html.Span("What deepseek-dashboard doctor finds on this host, as JSON for a bug report; without secrets.", id="diagnosed", role="status", className="dim")], className="actions"),
    ]  # fmt: skip


def access_of(tokens: Tokens) -> list[Any]:
    """Who may come in, each with a button that ends it; the module sends that."""
    try:
        found = tokens.all()
    except DamagedTokens as error:
        return [html.H2("Tokens and links"), html.P(str(error), className="warn", role="status")]
    rows = [token_row(each, sum(other.of == each.name for other in found)) for each in found if not each.of]
    none = (
        "There are none. Share, in the bar of each page, makes a link; deepseek-dashboard token new NAME makes a token."
    )
    return [
        html.H2("Tokens and links"),
        html.Div(rows or html.P(none, className="dim"), className="token-rows"),
        html.P(id="token-said", role="status"),
    ]


def token_row(credential: Credential, browsers: int) -> html.Div:
    """`view  viewer  until 2026-12-04 14:30  Flame of a  2 browsers  [Revoke]`"""
    until = (
        "never over"
        if credential.expires_s is None
        else f"until {time.strftime('%Y-%m-%d %H:%M', time.localtime(credential.expires_s))}"
    )
    view, grants = str(credential.scopes.get(VIEW, "")), ", ".join(credential.scopes.get(GRANTS_SCOPE, []))
    seen_by = f"{browsers} browser{'s' if browsers > 1 else ''}" if browsers else ""
    words = [credential.role, until, view_of(view), grants and f"with {grants}", seen_by]
    revoke = html.Button(
        "Revoke",
        className="btn",
        type="button",
        **{"data-revoke": credential.name, "aria-label": f"Revoke {credential.name}"},
    )
    return html.Div(
        [html.B(credential.name), html.Span(", ".join(filter(None, words)), className="dim", title=view), revoke],
        className="token-row",
    )


def view_of(address: str) -> str:
    """`"/flame?run=a&from=1" -> "Flame of a"`, `"" -> ""`"""
    parts = urlsplit(address)
    page, runs = parts.path.strip("/").capitalize() or "Live", parse_qs(parts.query).get("run", [])
    return f"{page} of {runs[0]}" if runs else page if address else ""


def row(setting: Setting, value: SettingValue, *, locked: bool) -> html.Div:
    """The module finds a field by `data-setting`, and says beside it what is wrong with its value."""
    name, number = setting.key.replace("_", " ").capitalize().replace("gpu", "GPU"), isinstance(setting.default, float)
    about = {"data-setting": setting.key, "data-number": str(number).lower(), "data-saved": value_text(value)}
    # dcc.Input keeps no data attributes: they stand around it
    field = html.Div(
        dcc.Input(
            id=f"setting-{setting.key}",
            value=value_text(value),
            disabled=locked,
            maxLength=200,
            placeholder=value_text(setting.default),
        ),
        **about,
    )
    labels = [html.Label(name, htmlFor=f"setting-{setting.key}"), html.Span(setting.unit, className="dim")]
    wrong = html.P(id=f"wrong-{setting.key}", className="warn", role="alert")
    return html.Div(
        [html.Div(labels, className="setting-name"), field, html.P(setting.help, className="dim"), wrong],
        className="setting",
    )


def value_text(value: SettingValue) -> str:
    """`2.0 -> "2"`, `0.5 -> "0.5"`"""
    return f"{value:.12g}" if isinstance(value, float) else value


PAGE = Page("9", "Settings", "/settings", layout, callbacks, (DCC,), owners=True)
