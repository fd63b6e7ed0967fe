"""The palette of `assets/tokens.css` for what Python draws: the colours of kinds of time, the template of Plotly figures, the report's style.

A colour is a number from 1 to 16: the tokens c1 to c16, of which 9 to 16 are 1 to 8 again, dashed or striped. Runs get theirs in the
browser, where they are chosen (`assets/data/colours.js`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeAlias

import assets
from analysis.ledger.kinds import TimeKind

Theme: TypeAlias = Literal["dark", "light"]
COLOURS, SOLID = 16, 8
GREY = "ink-3"  # the token of what has no colour

# Kinds of one family have one colour, its second member the striped one: what the GPU waits for and starting up; data and other waits;
# computing; the CPU; what passes between devices; files; work beside training and work lost; the rest.
TIME: Mapping[TimeKind, int] = {
    "sync": 1,
    "initialisation": 1,
    "launch": 9,
    "nothing": 9,
    "data": 2,
    "wait": 10,
    "lock": 10,
    "gil": 10,
    "stalled": 10,
    "busy": 3,
    "training": 3,
    "running": 11,
    "cpu_taken": 4,
    "cpu_own": 12,
    "python": 12,
    "gc": 12,
    "collective": 5,
    "copy": 13,
    "transfer": 13,
    "checkpoint": 6,
    "log": 14,
    "validation": 7,
    "compile": 15,
    "redone": 15,
    "other": 8,
    "idle": 8,
    "ending": 8,
    "unexplained": 16,
    "between": 16,
}

_ASIDE = re.compile(r"/\*.*?\*/|@media[^{]*\{[^{}]*\{[^{}]*\}\s*\}", re.DOTALL)
_BLOCK = re.compile(r"([^{}]+)\{([^{}]*)\}")
_TOKEN = re.compile(r"--([\w-]+):\s*([^;]+);")
_REFERENCE = re.compile(r"var\(--([\w-]+)\)")


@cache
def tokens(theme: Theme) -> Mapping[str, str]:
    """By name, what they are in a theme: `tokens("dark")["c1"] -> "#2292ec"`."""
    text = _ASIDE.sub("", (assets.FOLDER / "tokens.css").read_text())
    found: dict[str, str] = {}
    for selectors, body in _BLOCK.findall(text):
        of = [selector.strip() for selector in selectors.split(",")]
        if ":root" in of or f':root[data-theme="{theme}"]' in of:
            found |= {name: value.strip() for name, value in _TOKEN.findall(body)}
    return {name: _REFERENCE.sub(lambda to: found[to[1]], value) for name, value in found.items()}


def plotly_template(theme: Theme | None = None) -> dict[str, Any]:
    """For `layout.template` of a figure. Without a theme its inks are variables of CSS, which the Runs page puts in as the reader changes it."""
    known = tokens(theme or "dark")

    def ink(name: str) -> str:
        return known[name] if theme else f"var(--{name})"

    axis = {
        "gridcolor": ink("line"),
        "linecolor": ink("line"),
        "zeroline": False,
        "zerolinecolor": ink("ink-2"),
        "tickfont": {"color": ink("ink-3"), "size": 11},
        "title": {"font": {"size": 12}},
        "automargin": True,
        "exponentformat": "e",
    }
    return {
        "layout": {
            "colorway": [known[f"c{number}"] for number in range(1, SOLID + 1)],
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": ink("ink-2"), "size": 12, "family": known["font-ui"]},
            "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
            "hoverlabel": {"bgcolor": ink("raised"), "bordercolor": ink("line"), "font": {"color": ink("ink")}},
            "showlegend": False,
            "xaxis": axis,
            "yaxis": axis,
        }
    }


def own_template() -> dict[str, Any]:
    """Of figures on pages of one's own: what differs between the themes, the page's styles put in (`.own-page` in `assets/app.css`)."""
    template = plotly_template("dark")
    layout = {name: value for name, value in template["layout"].items() if name not in ("showlegend", "margin")}
    return {"layout": layout | {"margin": {"l": 56, "r": 16, "t": 40, "b": 44}}}
