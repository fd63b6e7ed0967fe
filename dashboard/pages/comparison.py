"""The comparison of selected runs on the Runs page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dash import Dash, Input, Output, State, dcc, html, no_update

from collectors import catalog
from deepseek.log.redaction import LEFT_OUT

from ..colours import COLOURS, SOLID
from ..components import RunsCompared, RunsCurves
from ..queries import NotFound, Queries
from ..runs.comparison import MISSING, CommonValue, Difference, shown
from ..runs.figures import (
    Figure,
    RunLines,
    correlations,
    effects_of,
    histogram,
    lines_of,
    parallel,
    scatter,
    text,
    token_of,
)
from ..runs.run_values import (
    READINGS,
    SERIES,
    Comparison,
    Effects,
    RunValues,
    column_of,
    options_of,
    title_of,
    with_best,
    with_common_step,
)
from ..runs.runs import RunView
from ..viewing import hides

TICKED, COMPARISON = "ticked", "comparison"
TABLE, ALL, TAB, X, Y, READ, RAW, PLOT, NOTE, THEME, CURVES, FIGURES_PART = (
    f"{COMPARISON}-{part}"
    for part in ("table", "all", "tab", "x", "y", "read", "raw", "plot", "note", "theme", "curves", "figures")
)
IN_TABLE = 8  # runs: more columns are not compared at a glance
IN_FIGURES = 200
MAX_ROWS = 400  # of the table
NAME_PX, COLUMN_PX = 128, 88
MAX_VALUES = 40
MAX_OPTIONS = 2000
SHORT_HASH, HASH = 7, re.compile(r"[0-9a-f]{40}")  # of a commit
OVERLAY = "curves"
TABS = {
    OVERLAY: "Curves",
    "scatter": "Scatter",
    "parallel": "Parallel coordinates",
    "histogram": "Histogram",
    "correlation": "Rank correlation",
}
PLOT_CLASS = "comparison-plot"
FIGURES = tuple(tab for tab in TABS if tab != OVERLAY)  # no set: what a browser sends need not have a hash

# Plotly knows no variables of CSS: they get the theme's values in the browser, and again when the theme changes.
DRAW = """function(raw, theme) {
  const watched = window.comparisonTheme ??= new MutationObserver(() =>
    dash_clientside.set_props("THEME", {data: document.documentElement.dataset.theme}));
  watched.observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
  if (!raw) return null;
  const style = getComputedStyle(document.documentElement);
  const coloured = (value) => Array.isArray(value) ? value.map(coloured)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part)]))
    : typeof value === "string" && /^var\\(--[\\w-]+\\)$/.test(value) ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
  const figure = coloured(raw);
  const config = {displayModeBar: false, responsive: true};  // every chart has the same tools
  return {type: "Graph", namespace: "dash_core_components", props: {id: "GRAPH", figure, config, style: {height: "100%"}}};
}""".replace("THEME", THEME).replace("GRAPH", f"{COMPARISON}-graph")


class FigureChoice(NamedTuple):
    """What the controls say, whatever the browser sends."""

    tab: str
    x: str
    y: str


def layout(*, hidden: bool = True) -> html.Div:
    """Hidden until runs are ticked. It begins with their loss; the figures' code is loaded with the first figure."""
    tabs = dcc.RadioItems(
        [{"label": label, "value": key} for key, label in TABS.items()],
        OVERLAY,
        id=TAB,
        inline=True,
        className="comparison-tabs",
    )
    values = dcc.Dropdown([], None, id=Y, clearable=False, optionHeight=30, placeholder="value")
    read = dcc.Dropdown(
        [{"label": said, "value": key} for key, said in READINGS.items()],
        "best",
        id=READ,
        clearable=False,
        searchable=False,
    )
    against = dcc.Dropdown([], None, id=X, clearable=False, optionHeight=30, placeholder="against")
    figures = html.Section(
        [
            html.Div(
                [
                    tabs,
                    html.Label(["of ", values], className="pick-value"),
                    html.Label(
                        ["as ", read],
                        className="pick-value pick-reading",
                        title="Which value of a series stands for a run",
                    ),
                    html.Label(["against ", against], id=f"{X}-label", className="pick-value", hidden=True),
                ],
                className="comparison-tools",
            ),
            RunsCurves(CURVES),
            html.P("", id=NOTE, className="dim", role="status"),
            html.Div(id=PLOT, className=PLOT_CLASS),
            dcc.Store(RAW, data=None),
            dcc.Store(THEME, data=None),
        ],
        id=FIGURES_PART,
        className=figures_class(OVERLAY),
        **{"aria-label": "Figures of the ticked runs"},
    )
    everything = dcc.Checklist([{"label": "show all", "value": "all"}], [], id=ALL, className="show-all")
    table = html.Section(
        [everything, html.Div(id=TABLE)], className="comparison-table", **{"aria-label": "What differs"}
    )
    head = RunsCompared(className="compare")
    return html.Div([head, figures, table], id=COMPARISON, className="comparison", hidden=hidden)


def figures_class(tab: Any) -> str:
    return "comparison-figures" if tab in FIGURES else "comparison-figures overlaid"


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(COMPARISON, "hidden"), Input(TICKED, "data"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def hidden(ticked: Any) -> bool:
        return not names_of(ticked)

    @dash.callback(Output(CURVES, "metrics"), Input(TICKED, "data"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def metrics(ticked: Any) -> Any:
        names = names_of(ticked)
        found = queries.comparing.metrics(names[:IN_FIGURES]) if names else []
        return [{"title": metric.title, "names": metric.names} for metric in found[:MAX_OPTIONS]]

    @dash.callback(Output(FIGURES_PART, "className"), Input(TAB, "value"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def tab_changed(tab: Any) -> str:
        return figures_class(tab)

    @dash.callback(Output(TABLE, "children"), Input(TICKED, "data"), Input(ALL, "value"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def table(ticked: Any, everything: Any) -> Any:
        names, colours = names_of(ticked), colours_of(ticked)
        if not names:
            return []
        try:
            found = queries.comparing.compare(names[:IN_TABLE], everything=everything == ["all"])
        except NotFound as error:
            return html.P(str(error))
        return [
            *heads(len(names)),
            difference_table(found, everything == ["all"], colours),
            *values_table(found, colours),
        ]

    @dash.callback(Output(Y, "options"), Output(X, "options"), Output(Y, "value"), Output(X, "value"), Input(TICKED, "data"), Input(TAB, "value"), State(Y, "value"), State(X, "value"), prevent_initial_call=True)  # type: ignore[untyped-decorator]  # fmt: skip
    def choices(ticked: Any, tab: Any, y: Any, x: Any) -> Any:
        """A value that the runs still have stays chosen."""
        names = names_of(ticked)
        if tab not in FIGURES or not names:
            return no_update, no_update, no_update, no_update
        known = options_of(queries.comparing.measured(names[:IN_FIGURES]))[:MAX_OPTIONS]
        options = [{"label": label_of(name), "value": name} for name in known]
        keys = [name for name in known if not name.startswith(SERIES)] or known[1:] or known
        first = [next(iter(known), None), next(iter(keys), None)]
        return options, options, y if y in known else first[0], x if x in known else first[1]

    @dash.callback(Output(RAW, "data"), Output(NOTE, "children"), Output(f"{X}-label", "hidden"), Output(PLOT, "className"), Input(TICKED, "data"), Input(TAB, "value"), Input(Y, "value"), Input(X, "value"), Input(READ, "value"), prevent_initial_call=True)  # type: ignore[untyped-decorator]  # fmt: skip
    def figure(ticked: Any, tab: Any, y: Any, x: Any, reading: Any) -> Any:
        names = names_of(ticked)
        if tab not in FIGURES or not names or not isinstance(y, str):
            return None, "", tab != "scatter", PLOT_CLASS
        wanted = FigureChoice(tab, x if isinstance(x, str) else y, y)
        found, note = drawn(read_as(queries, names[:IN_FIGURES], wanted, reading), wanted, colours_of(ticked))
        over = f"{len(names)} runs are ticked; the first {IN_FIGURES} are drawn. " if len(names) > IN_FIGURES else ""
        return found, f"{over}{note}", tab != "scatter", PLOT_CLASS if found else f"{PLOT_CLASS} none"

    dash.clientside_callback(DRAW, Output(PLOT, "children"), Input(RAW, "data"), Input(THEME, "data"))


def names_of(ticked: Any) -> list[str]:
    """Of ticked runs, each with the number of its colour, or null: `[["a", 1], ["b", 2]]`."""
    return [*_ticked(ticked)]


def colours_of(ticked: Any) -> dict[str, int]:
    """Those that have one."""
    return {name: colour for name, colour in _ticked(ticked).items() if colour is not None}


def _ticked(ticked: Any) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for pair in ticked if isinstance(ticked, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str):
            found[pair[0]] = pair[1] if type(pair[1]) is int and 1 <= pair[1] <= COLOURS else None
    return found


def read_as(queries: Queries, names: Sequence[str], wanted: FigureChoice, reading: Any) -> RunValues:
    """With the wanted value of the chosen series: the best as in the grid, or at the common step; the last where it has no such."""
    measured = queries.comparing.measured(names)
    series = [name.removeprefix(SERIES) for name in dict.fromkeys((wanted.y, wanted.x)) if name.startswith(SERIES)]
    known = [name for name in series if name in measured.values]
    if reading == "best":
        return with_best(measured, queries.table.best(names, known))
    if reading == "step":
        return with_common_step(
            measured, queries.comparing.common_step([view.stored.name for view in measured.runs], known)
        )
    return measured


def drawn(measured: RunValues, wanted: FigureChoice, colours: Mapping[str, int]) -> tuple[Figure | None, str]:
    """A figure, and what is to be known of it."""
    value = column_of(measured, wanted.y)
    lacking = len(measured.runs) - value.known
    lack = f"{lacking} of {len(measured.runs)} runs have no finite {value.title}. " if lacking else ""
    if not value.known:
        return None, f"None of the ticked runs has a finite {value.title}."
    match wanted.tab:
        case "scatter":
            return scatter(measured, wanted.x, wanted.y, colours), lack
        case "histogram":
            return histogram(measured, wanted.y), lack
        case "parallel":
            lines = lines_of(measured, wanted.y)
            return parallel(lines), lack + said_of_lines(lines, measured)
    found = effects_of(measured, wanted.y)
    return correlations(found, value.title) if found.correlations else None, lack + said_of(found)


def said_of_lines(lines: RunLines, measured: RunValues) -> str:
    """What the colours mean, and which runs and keys are left out."""
    said = "Lines are coloured by the value: blue is least, orange is most."
    if lines.lacking:
        names = [
            plain(measured.runs[i].about.name or last_part(measured.runs[i].stored.name)) for i in lines.lacking[:3]
        ]
        others = f" and {len(lines.lacking) - 3} more" if len(lines.lacking) > 3 else ""
        said += f" Left out, since not all these keys are known of them: {', '.join(names)}{others}."
    if lines.keys_left_out:
        said += f" {lines.keys_left_out} {'key that half of the runs lack is' if lines.keys_left_out == 1 else 'keys that half of the runs lack are'} left out."
    return said


def said_of(found: Effects) -> str:
    """What correlations rest on, the medians of groups, and what was left out."""
    parts = [] if found.correlations else ["No key with numbers varies enough for a correlation."]
    if any(row.lo is not None for row in found.correlations):
        count = sum(row.lo is not None for row in found.correlations)
        parts.append(
            f"95% intervals (Bonett and Wright); of {count}, {found.by_chance:.1f} would leave out zero by chance alone. Keys that were changed together share a correlation."
        )
    notes = list(dict.fromkeys(row.note for row in found.correlations if row.note))
    parts += [f"{note[0].upper()}{note[1:]}." for note in notes[:2]]
    for row in found.spreads[:3]:
        groups = ", ".join(f"{group.group}: {group.median:.4g} ({group.n})" for group in row.groups[:6])
        parts.append(f"Medians by {row.key}, which is no test: {groups}; they are {row.spread:.3g} apart.")
    if found.left_out:
        parts.append(
            f"Left out: {', '.join(f'{key} ({why})' for key, why in found.left_out[:3])}{' and others' if len(found.left_out) > 3 else ''}."
        )
    return " ".join(parts)


def label_of(name: str) -> str:
    """Of a column, in a list."""
    plain = title_of(name)[:200]
    return plain if name.startswith(SERIES) else f"{plain} (configuration)"


def heads(ticked: int) -> list[Any]:
    return (
        [
            html.P(
                f"{ticked} runs are ticked: the first {IN_TABLE} are in the table, all in the figures.", className="dim"
            )
        ]
        if ticked > IN_TABLE
        else []
    )


def difference_table(found: Comparison, everything: bool, colours: Mapping[str, int]) -> html.Div:
    known = sum(row.known for row in found.keys)
    differ = sum(row.differ for row in found.keys)
    if not known:
        return html.P("Nothing is known of how these runs were configured.", className="dim")
    title = html.Div(
        [html.H3("What differs"), html.Span(f"{differ} of {known} keys", className="dim")], className="comparison-head"
    )
    if not found.rows:
        return html.Div(
            [
                title,
                html.P(
                    "All keys are the same in these runs."
                    if len(found.runs) > 1
                    else "Tick a second run to compare it with.",
                    className="dim",
                ),
            ]
        )
    rows = [difference_row(row) for row in found.rows[:MAX_ROWS]]
    more = (
        html.P(f"{len(found.rows) - MAX_ROWS} more keys: GET /api/v1/compare lists them.", className="dim")
        if len(found.rows) > MAX_ROWS
        else None
    )
    return html.Div([title, run_table(found.runs, colours, with_sections(found.rows, rows)), more])


def with_sections(rows: Sequence[Difference], cells: Sequence[html.Tr]) -> list[html.Tr]:
    """A line with its name before each section but the configuration."""
    made: list[html.Tr] = []
    last = "config"
    for row, line in zip(rows, cells, strict=False):
        if row.section != last:
            last = row.section
            made.append(
                html.Tr(html.Th(row.section, colSpan=1 + len(row.values), scope="rowgroup"), className="section")
            )
        made.append(line)
    return made


def run_table(runs: Sequence[RunView], colours: Mapping[str, int], rows: Sequence[html.Tr]) -> html.Table:
    """It scrolls sideways where a column for each run has no room."""
    width = {"minWidth": f"{NAME_PX + len(runs) * COLUMN_PX}px"}
    return html.Table([run_heads(runs, colours), html.Tbody(rows)], style=width)


def run_heads(runs: Sequence[RunView], colours: Mapping[str, int]) -> html.Thead:
    return html.Thead(
        html.Tr(
            [
                html.Td(),
                *(
                    html.Th(
                        [
                            swatch(colours.get(view.stored.name)),
                            html.Span(plain(view.about.name or last_part(view.stored.name))),
                        ],
                        title=plain(view.stored.name),
                        scope="col",
                    )
                    for view in runs
                ),
            ]
        )
    )


def swatch(colour: int | None) -> html.I:
    striped = " striped" if colour is not None and colour > SOLID else ""
    return html.I(className=f"swatch{striped}", style={"background": f"var(--{token_of(colour)})"})


def difference_row(row: Difference) -> html.Tr:
    is_hidden = hides(row.section, row.key)
    cells = [
        html.Td(
            "–" if value is MISSING else LEFT_OUT if is_hidden else worded(value, short=True),
            className=" ".join(filter(None, ["odd" if odd else "", "dim" if value is MISSING else ""])),
            title=None if value is MISSING or is_hidden else worded(value),
        )
        for value, odd in zip(row.values, row.odd, strict=True)
    ]
    return html.Tr(
        [html.Th(plain(row.key), scope="row", title=plain(row.key)), *cells], className="" if row.differs else "same"
    )


def values_table(found: Comparison, colours: Mapping[str, int]) -> list[Any]:
    step, common = found.common.step, found.common
    if step is None or not common.values:
        return [html.P(f"No values at a common step: {common.note}.", className="dim")] if common.note else []
    whose = (
        "its last"
        if len(found.runs) == 1
        else f"the last that {'both' if len(found.runs) == 2 else f'all {len(found.runs)}'} have"
    )
    note = f"; {common.note}" if common.note else ""
    left = len(common.values) - MAX_VALUES + common.left_out
    rows = [
        html.Tr([html.Th(plain(row.series), scope="row", title=plain(row.series)), *value_cells(row, step)])
        for row in common.values[:MAX_VALUES]
    ]
    return [
        html.Div(
            [html.H3(f"At step {step:,}, {whose}"), html.Span(note.removeprefix("; "), className="dim")],
            className="comparison-head",
        ),
        run_table(found.runs, colours, rows),
        html.P(f"{left} more series: the Training page has them.", className="dim") if left > 0 else None,
    ]


def value_cells(row: CommonValue, step: int) -> list[html.Td]:
    """A value that was logged earlier says where."""
    unit = catalog.unit_of(row.series)
    return [
        html.Td(
            [
                "–" if value is None else number(value),
                html.Small(f" at {at:,}") if at is not None and at < step else None,
            ],
            className="num dim"
            if value is None
            else "num bad"
            if value != value or abs(value) == float("inf")
            else "num",
            title=None if value is None else f"{value!r} {unit}".strip(),
        )
        for value, at in zip(row.values, row.steps, strict=True)
    ]


def number(value: float) -> str:
    """Four digits."""
    return (
        f"{value:,.0f}"
        if value == value and 1e4 <= abs(value) < 1e9
        else f"{value:.4g}".replace("nan", "NaN").replace("inf", "∞")
    )


def worded(value: Any, *, short: bool = False) -> str:
    """Of a number five digits, of a hash seven."""
    if short and isinstance(value, float) and value == value and abs(value) != float("inf"):
        return f"{value:.5g}"
    said = plain(str(shown(value)))
    return said[:SHORT_HASH] if short and HASH.fullmatch(said) else said


def plain(name: str) -> str:
    """Visible characters of UTF-8: an element's text needs no escape."""
    return text(name, escape=False, most=400)


def last_part(run: str) -> str:
    return run.rpartition("/")[2] or run
