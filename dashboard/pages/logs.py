"""The Logs page: all lines of a run, or of all runs, by time, and the controls above them.

The controls are Dash components. The address says what is shown, and one callback turns the values of the controls into what the list
of lines shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import Dash, Input, Output, dcc, html

from collectors.store.store import StoreError, TooMuch

from ..components import LogView
from ..queries import Queries
from .controls import numbered, texts
from .page import DCC, Page, about_run, several

PLACE, SELECTION = "logs-lines", "selection"
MAX_TEXT = 1024  # characters, as `GET /logs/lines` takes
MAX_CHOSEN = 100  # files, or ranks
MAX_OPTIONS = 300  # of a list
LEVELS = ("0", "10", "20", "30", "40")  # at least
SHOWN_LEVELS = {
    "0": ("All", "All levels"),
    "20": ("Info", "Info and above"),
}  # of the switch, before those with a count
COUNTED_LEVELS = {"30": ("Warnings", "Warnings and errors"), "40": ("Errors", "Errors")}
MATCHING = {"case": ("Aa", "Match case"), "regex": (".*", "Regular expression")}
VIEWING = {"only": "Matches only", "all": "All runs", "wrap": "Wrap long lines"}
FLAGS = (*MATCHING, *VIEWING)
PARAMETERS = ("text", "matching", "level", "viewing", "files", "ranks")

Option = dict[str, Any]
View = dict[str, Any]


def control(name: str) -> str:
    """The id of a control: `control("text") -> "logs-text"`."""
    return f"logs-{name}"


def layout(**query: Any) -> html.Div:
    """The controls show what the address says from the first."""
    value = dict(zip(PARAMETERS, values_of(view_of(query)), strict=True))
    levels = [
        *(_option(level, word, title) for level, (word, title) in SHOWN_LEVELS.items()),
        *(_option(level, _counted(level, word), title) for level, (word, title) in COUNTED_LEVELS.items()),
    ]
    matching = [_option(flag, _spoken(sign, word), word) for flag, (sign, word) in MATCHING.items()]
    viewing = [_option(flag, word) for flag, word in VIEWING.items()]
    options = [
        dcc.Checklist(viewing, value["viewing"], id=control("viewing")),
        _several("files", "Files", value["files"]),
        _several("ranks", "Ranks", value["ranks"]),
    ]
    row = [
        _search(value["text"]),
        dcc.Checklist(matching, value["matching"], id=control("matching"), inline=True, className="toggles"),
        dcc.RadioItems(levels, value["level"], id=control("level"), inline=True, className="segments"),
        html.Details(
            [html.Summary("View options", className="btn menu-button"), html.Div(options, className="view-options")]
        ),
    ]
    return html.Div([html.Div(row, className="logs-controls"), LogView(PLACE)], className="logs-layout")


def _search(text: str) -> html.Label:
    box = dcc.Input(id=control("text"), type="search", value=text, placeholder="Search lines", maxLength=MAX_TEXT)
    return html.Label([html.Span("Search lines", className="unseen"), box, html.Kbd("/")], className="log-search")


def _several(name: str, word: str, chosen: Sequence[str]) -> html.Label:
    every = f"All {word.lower()}"
    box = dcc.Dropdown(_listed(chosen), list(chosen), id=control(name), multi=True, placeholder=every, optionHeight=30)
    return html.Label([html.Span(word, className="dim"), box])


def _option(value: str, label: object, title: str = "") -> Option:
    return {"label": label, "value": value, "title": title}


def _spoken(sign: str, word: str) -> html.Span:
    return html.Span([html.Span(sign, **{"aria-hidden": "true"}), html.Span(word, className="unseen")])


def _counted(level: str, word: str) -> html.Span:
    """The page fills in how many lines in view have it."""
    return html.Span([word, html.B(id=control(f"count-{level}"))], className=f"of-level-{level}")


def _listed(values: Sequence[str]) -> list[Option]:
    """Dash's search of a list takes words as keys of an object: this one cannot be such a key, and would take the list away."""
    return [{"label": value, "value": value} for value in values if "__proto__" not in value]


# -- the address and the view --------------------------------------------------------------------------------------------


def view_of(query: Mapping[str, Any]) -> View:
    """What an address shows; what it does not say, or says wrongly, is as usual. The same as `viewOf` in `assets/logs/logs_view.js`."""
    first = {name: several(query, name)[0] for name in query}
    return {
        "text": first.get("log", "")[:MAX_TEXT],
        **{flag: first.get(flag) == "1" for flag in FLAGS},
        "level": _level(first.get("level")),
        "files": texts(several(query, "file"), MAX_CHOSEN),
        "ranks": _ranks(several(query, "rank")),
    }


def values_of(view: View) -> tuple[Any, ...]:
    """The values of the controls, in the order of PARAMETERS."""
    matching, viewing = ([flag for flag in flags if view[flag]] for flags in (MATCHING, VIEWING))
    return view["text"], matching, str(view["level"]), viewing, view["files"], view["ranks"]


def described(values: Sequence[Any]) -> View:
    """The view that the controls describe, whatever a browser sends for them."""
    given = dict(zip(PARAMETERS, values, strict=True))
    flags = [flag for name in ("matching", "viewing") if isinstance(given[name], list) for flag in given[name]]
    return {
        "text": given["text"][:MAX_TEXT] if isinstance(given["text"], str) else "",
        **{flag: flag in flags for flag in FLAGS},
        "level": _level(given["level"]),
        "files": texts(given["files"], MAX_CHOSEN),
        "ranks": _ranks(given["ranks"]),
    }


def _level(value: object) -> int:
    return int(value) if isinstance(value, str) and value in LEVELS else 0


def _ranks(value: object) -> list[str]:
    return [rank for rank in texts(value, MAX_CHOSEN) if rank.isascii() and rank.isdigit() and len(rank) < 10]


# -- what may be chosen --------------------------------------------------------------------------------------------------


def source_options(
    queries: Queries, run: str | None, files: Sequence[str], ranks: Sequence[str]
) -> tuple[list[Option], list[Option]]:
    """The files and the ranks that have written lines, of a run or of all; what is chosen stays among them."""
    try:
        sources = queries.lines.sources(None if run is None else (run,))
    except (StoreError, TooMuch):  # the page itself says so
        sources = []
    known_files = sorted({source.file for source in sources})
    known_ranks = [str(rank) for rank in sorted({source.rank for source in sources if source.rank >= 0})]
    return _among(files, known_files), _among(ranks, known_ranks)


def _among(chosen: Sequence[str], known: Sequence[str]) -> list[Option]:
    return _listed(list(dict.fromkeys([*chosen, *known[:MAX_OPTIONS]])))


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(PLACE, "view"), *(Input(control(name), "value") for name in PARAMETERS))  # type: ignore[untyped-decorator]
    def describe(*values: Any) -> View:
        return numbered(described(values))

    @dash.callback(  # type: ignore[untyped-decorator]
        Output(control("files"), "options"),
        Output(control("ranks"), "options"),
        Input(SELECTION, "data"),
        *(Input(control(name), "value") for name in ("viewing", "files", "ranks")),
    )
    def offer(selection: object, viewing: object, files: object, ranks: object) -> tuple[list[Option], list[Option]]:
        every = isinstance(viewing, list) and "all" in viewing
        run = selection.get("run") if isinstance(selection, dict) else None
        chosen = texts(files, MAX_CHOSEN), _ranks(ranks)
        if not every and not (isinstance(run, str) and queries.has_run(run)):
            return _listed(chosen[0]), _listed(chosen[1])
        return source_options(queries, None if every else str(run), *chosen)


PAGE = Page("4", "Logs", "/logs", layout, callbacks, (DCC,), early=about_run)
