"""The Training page: every series of one run or of several as small charts, and the controls above them.

The controls are Dash components. The address says what is shown, and one callback turns the values of the controls into what the charts
show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dash import Dash, Input, Output, dcc, html

from ..components import TrainingCharts
from ..queries import Queries
from .controls import numbered, texts
from .page import DCC, Page, PageRequest, question, several

GRID, SELECTION = "training-charts", "selection"
MAX_RUNS = 200  # as `GET /curves` takes
MAX_CHOSEN = 2000  # runs of an address; the page says how many of them it does not draw
MAX_OPTIONS = 100  # of a list; typing finds the others
MAX_ASKED = 8  # runs whose series are offered as an axis
AXES = {"step": "step", "relative": "relative time", "time": "time"}
SMOOTHINGS = {"none": "none", "ema": "EMA", "gauss": "Gaussian"}
SPREADS = {"minmax": "min–max", "stderr": "std. error"}
MATCHES = {"text": "text", "glob": "glob", "regex": "regex"}
SIZES = {"s": "small", "m": "medium", "l": "large"}
LOG_Y = {"ylog": "log y"}
FLAGS = {"xlog": "log x", "clip": "clip outliers", "each": "each rank"}
PARAMETERS = ("runs", "x", "smooth", "amount", "ylog", "flags", "group", "spread", "baseline", "q", "match", "size")

Option = dict[str, str]
View = dict[str, Any]


def control(name: str) -> str:
    """The id of a control: `control("x") -> "training-x"`."""
    return f"training-{name}"


def layout(**query: Any) -> html.Div:
    """The controls show what the address says from the first."""
    value = dict(zip(PARAMETERS, values_of(view_of(query)), strict=True))
    row = [
        _runs(value["runs"]),
        _search(value["q"]),
        _few("match", MATCHES, value, "Match"),
        _many("x", axes(value["x"]), value["x"], "x", clearable=False),
        _few("smooth", SMOOTHINGS, value, "Smoothing"),
        _amount(value["amount"]),
        dcc.Checklist(_options(LOG_Y), value["ylog"], id=control("ylog"), inline=True),
    ]
    more = [
        dcc.Checklist(_options(FLAGS), value["flags"], id=control("flags")),
        _many("group", _listed([value["group"]]), value["group"], "Group by", placeholder="no key"),
        _few("spread", SPREADS, value, "Spread"),
        _many("baseline", _listed([value["baseline"]]), value["baseline"], "Baseline", placeholder="none"),
        _few("size", SIZES, value, "Size"),
    ]
    options = html.Details(
        [html.Summary("View options", className="btn"), html.Div(more, className="training-options-list")],
        className="training-options",
    )
    controls = html.Div([html.Div(row, className="controls-row"), options], className="training-controls")
    return html.Div([controls, TrainingCharts(GRID)], className="training-layout")


def _runs(chosen: list[str]) -> html.Label:
    every = dcc.Dropdown(
        _listed(chosen), chosen, id=control("runs"), multi=True, placeholder="the selected run", optionHeight=30
    )
    return _labelled("Runs", every, "wide")


def _search(text: str) -> html.Label:
    box = dcc.Input(id=control("q"), type="search", value=text, placeholder="find a series", maxLength=1000)
    return _labelled([html.Kbd("/"), html.Span("Find a series", className="unseen")], box, "search-box")


def _amount(amount: float | None) -> html.Label:
    box = dcc.Input(id=control("amount"), value=amount, type="number", min=0, step="any", placeholder="auto")
    return html.Label([html.Span("Length of smoothing", className="unseen"), box], className="control amount")


def _few(name: str, words: Mapping[str, str], value: Mapping[str, Any], label: str) -> html.Label:
    """A choice among some words; without one among them, as the browser remembers."""
    given = {"clearable": False, "searchable": False, "placeholder": "auto", "optionHeight": 30}
    return _labelled(label, dcc.Dropdown(_options(words), value[name], id=control(name), **given), "small")


def _many(name: str, options: list[Option], value: str | None, label: str, **given: Any) -> html.Label:
    """A choice that typing narrows."""
    return _labelled(label, dcc.Dropdown(options, value, id=control(name), optionHeight=30, **given))


def _labelled(label: object, part: object, kind: str = "") -> html.Label:
    return html.Label([html.Span(label, className="dim"), part], className=f"control {kind}")


def _options(words: Mapping[str, str]) -> list[Option]:
    return [{"label": label, "value": value} for value, label in words.items()]


def _listed(values: Sequence[str | None]) -> list[Option]:
    """Dash's search of a list takes words as keys of an object: this one cannot be such a key, and would take the list away."""
    return [{"label": value, "value": value} for value in values if value and "__proto__" not in value]


def axes(chosen: str) -> list[Option]:
    """The three axes, and the series that is one."""
    return [*_options(AXES), *_listed([chosen] if chosen not in AXES else [])]


# -- the address and the view --------------------------------------------------------------------------------------------


def view_of(query: Mapping[str, Any]) -> View:
    """What an address shows; what it does not say, or says wrongly, is as usual. The same as `viewOf` in `assets/curves/training_view.js`."""
    one = {name: several(query, name)[0] for name in query}
    smooth, _, amount = one.get("smooth", "").partition(":")
    return {
        "runs": texts(several(query, "runs"), MAX_CHOSEN),
        "x": one.get("x", "step"),
        "smooth": _among(smooth, SMOOTHINGS, "none"),
        "amount": _positive(amount),
        "ylog": one.get("ylog") == "1",
        "xlog": one.get("xlog") == "1",
        "clip": one.get("clip") == "1",
        "group": one.get("by", ""),
        "spread": _among(one.get("spread"), SPREADS, "minmax"),
        "baseline": one.get("base", ""),
        "ranks": _among(one.get("ranks"), ("mean", "each"), "mean"),
        "q": one.get("q", ""),
        "match": _among(one.get("match"), MATCHES, "text"),
        "size": _among(one.get("size"), SIZES, None),
    }


def values_of(view: View) -> tuple[Any, ...]:
    """The values of the controls, in the order of PARAMETERS."""
    flags = [flag for flag in FLAGS if view.get(flag) or (flag == "each" and view["ranks"] == "each")]
    log_y = ["ylog"] if view["ylog"] else []
    by_name = {
        **view,
        "ylog": log_y,
        "flags": flags,
        "group": view["group"] or None,
        "baseline": view["baseline"] or None,
    }
    return tuple(by_name[name] for name in PARAMETERS)


def described(values: Sequence[Any]) -> View:
    """The view that the controls describe, whatever a browser sends for them."""
    given = dict(zip(PARAMETERS, values, strict=True))
    flags = [flag for name in ("ylog", "flags") if isinstance(given[name], list) for flag in given[name]]
    return {
        "runs": texts(given["runs"], MAX_CHOSEN),
        "x": _text(given["x"]) or "step",
        "smooth": _among(given["smooth"], SMOOTHINGS, "none"),
        "amount": _positive(given["amount"]),
        **{flag: flag in flags for flag in ("ylog", "xlog", "clip")},
        "group": _text(given["group"]),
        "spread": _among(given["spread"], SPREADS, "minmax"),
        "baseline": _text(given["baseline"]),
        "ranks": "each" if "each" in flags else "mean",
        "q": _text(given["q"]),
        "match": _among(given["match"], MATCHES, "text"),
        "size": _among(given["size"], SIZES, None),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _among(value: object, allowed: Sequence[str] | Mapping[str, str], otherwise: str | None) -> str | None:
    return value if isinstance(value, str) and value in allowed else otherwise


def _positive(value: object) -> float | None:
    """A number above 0, as it is or as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not 0 < number < math.inf:
        return None
    return int(number) if number.is_integer() and number < 1e15 else number


# -- what may be chosen --------------------------------------------------------------------------------------------------


def run_options(queries: Queries, chosen: Sequence[str], search: object) -> list[Option]:
    """The chosen ones, then the newest that the search finds. Archived runs are offered only where they are chosen."""
    words = _text(search).lower().split()
    found = []
    for view in queries.runs():
        name = view.stored.name
        label = f"{view.about.name} ({name})" if view.about.name else name
        shown = name not in chosen and not view.about.archived and "__proto__" not in label
        if shown and all(word in label.lower() for word in words):
            found.append({"label": label, "value": name})
        if len(found) == MAX_OPTIONS:
            break
    return [*_listed(chosen), *found]


def axis_options(queries: Queries, runs: Sequence[str], chosen: str, search: object) -> list[Option]:
    """The three axes, and series of the runs, of which the search finds those that are too many to list."""
    words = _text(search).lower().split()
    tags = queries.curves.tags(runs[:MAX_ASKED]) if runs else []
    found = [tag.name for tag in tags if tag.name not in AXES and all(word in tag.name.lower() for word in words)][
        :MAX_OPTIONS
    ]
    kept = [chosen] if chosen and chosen not in AXES and chosen not in found else []
    return [*_options(AXES), *_listed([*kept, *found])]


def config_keys(queries: Queries, runs: Sequence[str]) -> list[str]:
    """Dotted keys of the runs' configurations, those first in which the runs differ."""
    values: dict[str, set[str]] = {}
    for config in queries.configs(runs).values():
        for key, value in config.items():
            values.setdefault(key, set()).add(repr(value)[:200])
    return sorted(values, key=lambda key: (len(values[key]) < 2, key))[:MAX_OPTIONS]


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(GRID, "view"), *(Input(control(name), "value") for name in PARAMETERS))  # type: ignore[untyped-decorator]
    def describe(*values: Any) -> View:
        return numbered(described(values))

    @dash.callback(  # type: ignore[untyped-decorator]
        *(Output(control(name), "options") for name in ("runs", "x", "group", "baseline")),
        Input(control("runs"), "search_value"),
        Input(control("x"), "search_value"),
        *(Input(control(name), "value") for name in ("runs", "x", "group", "baseline")),
        Input(SELECTION, "data"),
    )
    def offer(
        run_search: object,
        axis_search: object,
        runs: object,
        x: object,
        group: object,
        baseline: object,
        selection: object,
    ) -> tuple[list[Option], ...]:
        chosen = texts(runs, MAX_CHOSEN)
        shown = chosen[:MAX_RUNS] or texts(selection.get("runs") if isinstance(selection, dict) else None, MAX_RUNS)
        keys = config_keys(queries, shown)
        kept = [key for key in [_text(group)] if key and key not in keys]
        against = [run for run in [_text(baseline)] if run and run not in shown]
        return (
            run_options(queries, chosen, run_search),
            axis_options(queries, shown, _text(x), axis_search),
            _listed([*kept, *keys]),
            _listed([*against, *shown]),
        )


def early(opening: PageRequest) -> Iterable[str]:
    yield question("runs")
    if not opening.query.getlist("runs") and opening.run is not None:
        yield question("tags", run=opening.run)


PAGE = Page("2", "Training", "/training", layout, callbacks, (DCC,), early=early, tab="Charts")
