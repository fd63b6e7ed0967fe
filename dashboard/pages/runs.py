"""The Runs page: all runs in a grid, and what users say about one of them beside it.

The view of the page draws the tools above the grid, gives it its rows and its keys, and sends what is changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import dash_ag_grid
from dash import Dash, Input, Output, dcc, html, no_update

from collectors.user_files import DAY_S, days_of

from ..components import RunFilling, RunNotify, RunProvenance, RunShares, RunsHead
from ..queries import NotFound, Queries, RunSize
from ..runs.columns import TableColumn
from ..runs.runs import ALIVE, RunView, deleted_view
from ..user_files.deleted_runs import quoted
from ..user_files.run_notes import MAX_NAME, MAX_NOTE, MAX_TAG, MAX_TAGS
from ..user_files.yaml_file import visible, visible_name
from . import comparison
from .page import DCC, Page, PageRequest, question

GRID, COLUMNS, TICKED, FOCUSED, PANEL = "runs-grid", "columns", "ticked", "focused", "about"
MAX_COLUMNS = 100
NUMBERS = ("number", "count", "duration", "bytes", "share", "time")
THEME = """themeQuartz.withParams({
  accentColor: "var(--accent)", backgroundColor: "var(--bg)", foregroundColor: "var(--ink)", borderColor: "var(--line)",
  chromeBackgroundColor: "var(--bg)", headerBackgroundColor: "var(--bg)", headerTextColor: "var(--ink-3)", headerFontWeight: 400,
  rowBorder: true, wrapperBorder: false, columnBorder: false, headerColumnBorder: false, headerRowBorder: true,
  rowHoverColor: "var(--surface)", selectedRowBackgroundColor: "var(--accent-wash)", oddRowBackgroundColor: "var(--bg)",
  fontFamily: "inherit", fontSize: 12, headerFontSize: 11, rowHeight: 28, headerHeight: 28, cellHorizontalPadding: 10,
  browserColorScheme: "inherit", pinnedColumnBorder: false, headerColumnResizeHandleColor: "transparent",
  iconSize: 12, wrapperBorderRadius: 0, borderRadius: 2, focusShadow: "none", rangeSelectionBorderColor: "var(--accent)"
})"""
OPTIONS = {
    "theme": {"function": " ".join(THEME.split())},
    "cacheBlockSize": 100,
    "maxBlocksInCache": 20,
    "infiniteInitialRowCount": 1,
    "maxConcurrentDatasourceRequests": 4,
    "blockLoadDebounceMillis": 5,
    "suppressDragLeaveHidesColumns": True,
    "suppressMultiSort": True,
    "tooltipShowDelay": 400,
    "animateRows": False,
    "suppressNoRowsOverlay": True,
}


def layout(**query: Any) -> list[Any]:
    grid = dash_ag_grid.AgGrid(
        id=GRID,
        rowModelType="infinite",
        columnDefs=[],
        defaultColDef={
            "resizable": True,
            "sortable": True,
            "suppressHeaderMenuButton": True,
            "cellRenderer": "RunCell",
        },
        rowClassRules={"ticked": "isTicked(params)", "group": "isGroup(params)"},
        getRowId="params.data.id",
        dashGridOptions=OPTIONS,
        style={"height": "100%", "width": "100%"},
    )
    stores = [
        dcc.Store(COLUMNS, data={}),
        dcc.Store(TICKED, data=[]),
        dcc.Store(FOCUSED, data={}),
    ]  # one that is empty says so to its callbacks
    panel = html.Aside(id=PANEL, className="side about", **{"aria-label": "What is said about the run"})
    below = html.Div(
        [html.Div([grid, panel], className="runs-body"), comparison.layout(hidden="runs" not in query), *stores],
        className="runs-page",
    )
    return [RunsHead(className="runs-top"), below]


def callbacks(dash: Dash, queries: Queries) -> None:
    comparison.callbacks(dash, queries)

    @dash.callback(Output(GRID, "columnDefs"), Input(COLUMNS, "data"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def columns(keys: Any) -> Any:
        """The chosen columns, in their order; without a choice the usual ones."""
        if keys is None:
            return no_update  # the module says which, once it knows
        chosen = [key for key in keys if isinstance(key, str)][:MAX_COLUMNS] if isinstance(keys, list) else []
        found = (queries.table.column(key) for key in chosen or queries.table.usual())
        columns = [definition(column) for column in found if column is not None]
        columns[-1:] = [column | {"flex": 1, "minWidth": column["width"]} for column in columns[-1:]]  # to the edge
        return [tick_column(), *columns]

    @dash.callback(Output(PANEL, "children"), Input(FOCUSED, "data"), prevent_initial_call=True)  # type: ignore[untyped-decorator]
    def about(focused: Any) -> Any:
        name, times = (focused.get("run"), focused.get("times")) if isinstance(focused, dict) else (None, None)
        if not isinstance(name, str):
            return []
        try:
            detail = queries.run(name)
            view = replace(detail.run, attempts=detail.same.runs) if detail.same else detail.run
            return panel_of(
                view, queries.size_of(name), f"rm -r -- {quoted(str(queries.tree.path_of(name)))}", f"{name} {times}"
            )
        except NotFound as error:
            found = queries.deleted_run(name)
            return (
                panel_of(deleted_view(found), None, found.remove, f"{name} {times}")
                if found
                else [html.P(visible(str(error)))]
            )


def tick_column() -> dict[str, Any]:
    fixed = {"resizable": False, "sortable": False, "pinned": "left", "lockPosition": "left", "suppressMovable": True}
    return {"colId": "tick", "headerName": "", "width": 40, **fixed, "cellRendererParams": {"kind": "tick"}}


def definition(column: TableColumn) -> dict[str, Any]:
    """Of AG Grid. A cell has no field: its renderer looks it up by the column's key, which may hold any character."""
    found: dict[str, Any] = {
        "colId": column.key,
        "headerName": visible_name(column.title[:200]),
        "headerTooltip": visible_name(column.help or column.title[:200]),
        "width": column.width,
        "minWidth": 48,
        "sortable": column.kind != "curve",
        "sortingOrder": ["desc", "asc", None]
        if column.kind in NUMBERS and column.direction != "down"
        else ["asc", "desc", None],
        "cellRendererParams": {"kind": column.kind, "direction": column.direction, "judged": column.judged_by},
    }
    if column.kind in NUMBERS and column.kind != "time":
        found |= {"headerClass": "ag-right-aligned-header", "cellClass": "num"}
    if column.key == "name":
        found |= {"pinned": "left", "lockPosition": "left", "suppressMovable": True}
    return found


OLDER = "Its last line is older than that: delete it instead"
WORDS = {"failed": "crashed", "killed": "crashed"}  # as the chips above the table say it


def panel_of(view: RunView, size: RunSize | None, command: str, filling: str) -> list[Any]:
    """Fields that the module reads when a button is pressed: this callback only reads. `filling` is another one each time."""
    run, about = view.stored.name, view.about
    lives = view.state in ALIVE
    facts = [
        ("State", WORDS.get(view.state, view.state) + (f": {view.state_reason}" if view.state_reason else "")),
        ("Run", visible_name(run)),
        ("Attempts", " → ".join(view.attempts)),
        ("Step", f"{view.stored.last_step:,}" if view.deleted and view.stored.last_step is not None else ""),
    ]
    tags = ", ".join(about.tags)
    table = html.Table(
        html.Tbody([html.Tr([html.Th(name), html.Td(visible(value))]) for name, value in facts if value])
    )
    said = html.Span(id="about-said", role="status")
    head = [
        html.Div([html.H2(visible_name(about.name or run), className="title"), button("close", "×", "Close (Esc)", "plain")], className="head"),
        RunFilling(run=None if view.deleted else run, filling=filling),
        html.P(about.trouble, className="warn") if about.trouble else None,
        html.Section(dcc.Markdown(about.note, className="note-shown", link_target="_blank")) if about.note else None,
    ]  # fmt: skip
    if view.deleted:
        return [
            *head,
            html.Section(table),
            html.Div([button("restore", "Restore", "", "btn"), said], className="actions"),
            removal(command),
        ]
    return [
        *head,
        html.Section([table, RunNotify(run=run) if lives else None]),
        html.Section([html.H3("What ran"), RunProvenance("about-ran")], className="ran-part"),
        html.Section([html.H3("Where its time went"), RunShares("about-ledger")], className="ledger-part"),
        field("Name", "name", about.name, MAX_NAME, dcc.Input(id="about-name", value=about.name, placeholder=visible_name(run), className="input")),
        field("Tags, separated by commas", "tags", tags, MAX_TAGS * (MAX_TAG + 2), dcc.Input(id="about-tags", value=tags, className="input")),
        field("Note, in Markdown", "note", about.note, MAX_NOTE, dcc.Textarea(id="about-note", value=about.note, rows=6, className="input")),
        html.Div([button("save", "Save", "Ctrl Enter", "btn pri"), said], className="actions"),
        html.P("It is archived: left out of the table until it is asked for behind Hidden.", className="dim") if about.archived else None,
        html.Div(
            [
                button("archive", "Bring back" if about.archived else "Archive", "Hidden from the table until asked for", "btn"),
                button("delete", "Delete", "Stop the run, then delete it" if lives else "It can be restored for ten minutes", "btn", disabled=lives),
            ],
            className="actions",
        ),
        html.P(freed(size, lives), className="dim") if size else None,
        keeping_of(about.keep, view.stored.last_time_s),
    ]  # fmt: skip


def freed(size: RunSize, lives: bool) -> str:
    """What deleting a run frees, and what it leaves alone."""
    if lives:
        return "It goes on: stop it first, then it can be deleted."
    files = f"{size.files} {'file' if size.files == 1 else 'files'} of the run ({bytes_word(size.file_bytes)})"
    return f"Deleting this run frees {bytes_word(size.store_bytes)} in the dashboard's store after ten minutes; until then you can restore it. {files} stay: the dashboard never changes them."


def bytes_word(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def keeping_of(keep: str, last_time_s: float | None) -> html.Div:
    """After how long the run is deleted by itself. A choice that would delete it at once is no choice: there is a button for that."""
    known = {"": "never", "30d": "30 days", "90d": "90 days", "365d": "1 year"}
    days = {} if keep in known else {keep: f"{keep.removesuffix('d')} days"}

    def is_over(value: str) -> bool:
        period = days_of(value)
        return period is not None and last_time_s is not None and last_time_s + period * DAY_S < time.time()

    return html.Div(
        [
            html.Span("Delete after"),
            *(
                html.Button(
                    word,
                    className="chip",
                    type="button",
                    value=value,
                    title=OLDER if is_over(value) else None,
                    disabled=value != keep and is_over(value),
                    **{"data-act": "keep", "aria-pressed": str(value == keep).lower()},
                )
                for value, word in {**known, **days}.items()
            ),
        ],
        className="keep",
        title="So long after its last line; it can be restored for ten minutes, and its files stay",
    )


def removal(line: str) -> html.Section:
    """The command that removes the files of a deleted run."""
    command = html.Code(line or "Its files are too many for one line.", className="command")
    return html.Section(
        [
            html.P("The dashboard leaves the files alone. This removes them for good:"),
            command,
            button("copy", "Copy", "", "btn"),
        ],
        className="trouble",
    )


def field(label: str, name: str, read: str, most: int, control: Any) -> html.Label:
    """A control keeps no data attributes: what was read, and how many characters can be saved, stand around it."""
    return html.Label(
        [html.Span(label), control], className="field", **{"data-field": name, "data-read": read, "data-most": most}
    )


def button(act: str, label: str, title: str, kind: str, *, disabled: bool = False) -> html.Button:
    return html.Button(label, title=title, className=kind, disabled=disabled, type="button", **{"data-act": act})


def early(opening: PageRequest) -> Iterable[str]:
    """The rows as they are without a choice; a user may have chosen other columns in this browser."""
    yield question("columns")
    if not opening.query.keys() - {"run"}:
        flags = dict.fromkeys(("desc", "archived", "deleted"), "false")
        limit = str(OPTIONS["cacheBlockSize"])
        yield question("table", q="", state="", sort="", **flags, group="", columns="", offset=0, limit=limit)


PAGE = Page(
    "5",
    "Runs",
    "/runs",
    layout,
    callbacks,
    packages=(DCC, "dash_ag_grid"),
    chunks=("dash_ag_grid/async-community.js",),
    early=early,
)
