"""The Settings page: a field for each row of SETTINGS. `assets/pages/settings/page.js` sends what a user changes."""

from __future__ import annotations

import os
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dash import Dash, Input, Output, dcc, html

from access.roles import Role
from access.tokens import GRANTS_SCOPE, VIEW, Credential, DamagedTokens, Tokens
from collectors import VERSION

from ..queries import Queries
from ..user_files.settings import FILE, ROWS, Setting, Settings, SettingValue
from ..visitors import visitor
from .page import DCC, Page

BODY, ASIDE, OPENED = "settings-body", "settings-aside", "settings-opened"
SECTIONS = {
    "general": "General",
    "times": "Times",
    "retention": "Data and retention",
    "prices": "Prices",
    "access": "Access and sharing",
    "about": "About and diagnosis",
}
KEYS = {"times": ["time_zone"], "retention": ["retention"], "prices": ["price_per_gpu_hour", "currency"]}
OTHER = "Other files"
PARTS = {"Runs: metrics, log lines, samples": "runs.", "GPUs, host and stacks": "machine-", OTHER: "\0"}
COLOURS = ("c3", "c1", "c8")  # of the parts


DIAGNOSIS = html.Section(
    [
        html.H2("About and diagnosis"),
        html.Div(
            [
                html.Button("Copy diagnosis", id="copy-diagnosis", className="btn", type="button"),
                html.A("Documentation", href="api/docs", target="_blank", className="btn"),
            ],
            className="actions",
        ),
        html.P(
            "The findings of deepseek-dashboard doctor on this host, as JSON for a bug report. It contains no secrets.",
            id="diagnosed",
            role="status",
            className="dim",
        ),
    ],
    id="about",
)


def layout(**_: Any) -> html.Div:
    """The sections, and what a browser keeps for itself; what the server knows comes by a callback, into its place."""
    links = [
        html.A(title, href=f"#{key}", **{"data-section": key, "aria-current": "true" if key == "general" else None})
        for key, title in SECTIONS.items()
    ]
    return html.Div(
        [
            html.Nav(links, className="settings-sections", **{"aria-label": "Sections"}),
            html.Div([general(), html.Div(id=BODY)], className="settings-main"),
            html.Aside(id=ASIDE, className="settings-aside", **{"aria-label": "Storage and version"}),
            dcc.Store(OPENED, data=0),
        ],
        className="settings-page",
    )


def general() -> html.Section:
    choices = [
        html.Button(name, type="button", **{"data-theme-choice": name.lower(), "aria-pressed": "false"})
        for name in ("System", "Dark", "Light")
    ]
    field = html.Div(choices, className="segments", role="group", **{"aria-label": "Theme"})
    theme = [html.Div(html.Span("Theme", className="name"), className="setting-name"), field]
    about = html.P("Stored in this browser.", className="dim")
    return html.Section([html.H2("General"), html.Div([*theme, about], className="setting")], id="general")


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(BODY, "children"), Output(ASIDE, "children"), Input(OPENED, "data"))  # type: ignore[untyped-decorator]
    def body(opened: Any) -> Any:
        """When the page is opened. What is saved then, the module knows from the answer."""
        if visitor().role is not Role.OWNER:
            return [html.P("Only the owner can see and change the other settings.", className="dim")], []
        settings = body_of(queries.settings(), queries.read_only() or "", str(queries.data_dir / FILE))
        return [*settings, access_of(Tokens(queries.data_dir)), DIAGNOSIS], aside_of(queries.data_dir)


def body_of(settings: Settings, read_only: str, path: str) -> list[Any]:
    why_not = settings.trouble or read_only
    sections = [
        html.Section(
            [
                html.H2(SECTIONS[section]),
                *(row(ROWS[key], settings.values[key], locked=bool(why_not)) for key in keys),
            ],
            id=section,
        )
        for section, keys in KEYS.items()
    ]
    kept = html.P(["Saved at once, in ", html.Code(path), ", which can also be edited by hand."], className="dim kept")
    said = html.P(why_not, className="warn", role="status") if why_not else None
    return [said, html.P(id="said", role="status", className="said"), *sections, kept]


def aside_of(data_dir: Path) -> list[Any]:
    parts = sizes_of(data_dir)
    total = sum(size for _, size in parts)
    bar = [
        html.I(style={"flexGrow": size, "background": f"var(--{colour})"})
        for (_, size), colour in zip(parts, COLOURS, strict=True)
    ]
    rows = [
        html.Div([html.I(style={"background": f"var(--{colour})"}), html.Span(name), html.B(_size(size))])
        for (name, size), colour in zip(parts, COLOURS, strict=True)
    ]
    free = shutil.disk_usage(data_dir).free
    facts = {
        "Dashboard": VERSION,
        "Python": platform.python_version(),
    }
    return [
        html.H3("Storage"),
        html.Div(bar, className="storage-bar"),
        html.Div(rows, className="storage-rows"),
        html.P(
            [f"{_size(total)} in ", html.Code(str(data_dir)), f"; {_size(free)} free on its disk."], className="dim"
        ),
        html.H3("Version"),
        html.Dl([part for name, value in facts.items() for part in (html.Dt(name), html.Dd(value))]),
    ]


def sizes_of(data_dir: Path) -> list[tuple[str, int]]:
    """What the store's files take, largest part first as they usually are; a file that vanishes meanwhile takes nothing."""
    found = dict.fromkeys(PARTS, 0)
    with suppress(OSError), os.scandir(data_dir) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    part = next((name for name, start in PARTS.items() if entry.name.startswith(start)), OTHER)
                    found[part] += entry.stat(follow_symlinks=False).st_size
    return list(found.items())


def _size(size: int) -> str:
    """`1_500_000_000 -> "1.4 GiB"`"""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def access_of(tokens: Tokens) -> html.Section:
    """Who may come in, each with a button that ends it; the module sends that."""
    try:
        found = tokens.all()
    except DamagedTokens as error:
        return html.Section(
            [html.H2(SECTIONS["access"]), html.P(str(error), className="warn", role="status")], id="access"
        )
    rows = [token_row(each, sum(other.of == each.name for other in found)) for each in found if not each.of]
    none = "No tokens or links yet. Share, in the bar of each page, makes a link; deepseek-dashboard token new NAME makes a token."
    return html.Section(
        [
            html.H2(SECTIONS["access"]),
            html.Div(rows or html.P(none, className="dim"), className="token-rows"),
            html.P(id="token-said", role="status"),
        ],
        id="access",
    )


def token_row(credential: Credential, browsers: int) -> html.Div:
    """`view  viewer  until 2026-12-04 14:30  Flame of a  2 browsers  [Revoke]`"""
    until = (
        "does not expire"
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
