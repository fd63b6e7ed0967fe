"""The Jobs page: queue, running jobs, slots over time, and history."""

from __future__ import annotations

import shlex
from typing import Any

import dash_ag_grid
from dash import Dash, Input, Output, State, ctx, dcc, html

from collectors.message import percent
from jobs.fifo import FifoComparison
from jobs.queue import OVER
from jobs.state_folder import QueueError
from jobs.view import JobRow

from ..components import JobsView
from ..jobs import ASSUMED, HistoryPage, lasting, sentences_of
from ..queries import Queries
from ..user_files.yaml_file import visible, visible_name
from .page import DCC, Page, question, several
from .runs import THEME

# The table of jobs that are over.

HISTORY, ROWS = "jobs-history", 50
HEAD_PX, ROW_PX = 48, 28
HIDDEN = {"display": "none"}
NUMBER = {"headerClass": "ag-right-aligned-header", "cellClass": "num"}


def grid() -> Any:
    return dash_ag_grid.AgGrid(
        id=HISTORY,
        rowData=[],
        columnDefs=columns(),
        defaultColDef={"resizable": True, "sortable": False, "suppressHeaderMenuButton": True, "minWidth": 44},
        getRowId="'' + params.data.job",
        dashGridOptions={"theme": {"function": " ".join(THEME.split())}, "animateRows": False, "suppressNoRowsOverlay": True, "enableCellTextSelection": True, "ensureDomOrder": True},
        style=HIDDEN,
    )  # fmt: skip


def columns() -> list[dict[str, Any]]:
    def column(key: str, title: str, width: int, **more: Any) -> dict[str, Any]:
        return {"field": key, "headerName": title, "width": width, "tooltipField": key, **more}

    time = {"valueFormatter": {"function": "jobTime(params.value)"}, "tooltipField": None, **NUMBER}
    return [
        column("job", "Job", 72, **NUMBER),
        column("state", "State", 96, cellClassRules={"bad": "params.value === 'failed'"}),
        column("name", "Run", 180),
        column("command", "Command", 200, flex=1),
        column("slots", "Slots", 64, **NUMBER),
        column("waited", "Waited", 96, **NUMBER),
        column("worked", "Worked", 96, **NUMBER),
        column("ended", "Ended", 112, **time),
        column("how", "How", 260, flex=2),
    ]


def style_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """As high as its rows."""
    return {"height": f"{HEAD_PX + ROW_PX * len(rows)}px", "width": "100%"} if rows else HIDDEN


def said_of(found: HistoryPage, is_filtered: bool) -> str:
    if found.jobs:
        return (
            f"{len(found.jobs)} jobs, from {found.jobs[0].id:,} down to {found.jobs[-1].id:,}."
            if len(found.jobs) > 1
            else ""
        )
    return "No finished job matches." if is_filtered else "No finished jobs yet."


def row_of(job: JobRow) -> dict[str, Any]:
    code = job.exit_code
    how = job.reason or ("" if not code else f"ended by signal {-code}" if code < 0 else f"exit code {code}")
    return {
        "job": job.id,
        "state": job.state,
        "name": visible_name(job.run),
        "command": visible(shlex.join(job.argv)),
        "slots": job.slots,
        "waited": lasting(job.waited_s),
        "worked": lasting(job.work_s) if job.work_s is not None and job.attempts else "",
        "ended": job.ended_s,
        "how": visible(how),
    }


ASKED, FIFO, FIND, STATE, TURNED, OLDER, NEWEST, SAID = (
    f"jobs-{name}" for name in ("asked", "fifo", "find", "state", "turned", "older", "newest", "found")
)
MAX_FOUND = 200  # characters
DAY_S, LONGEST_S = 86400.0, 366 * 86400.0


def layout(**query: Any) -> list[Any]:
    """`span` of the address is the time that is shown."""
    find = dcc.Input(id=FIND, placeholder="Run or command", maxLength=MAX_FOUND, className="input", type="text")
    state = dcc.Dropdown(
        id=STATE, options=[{"label": word, "value": word} for word in OVER], placeholder="All states", searchable=False
    )
    turning = [
        html.Button("Newest", id=NEWEST, className="btn", type="button", hidden=True),
        html.Button("Older", id=OLDER, className="btn", type="button", hidden=True),
        html.Span(id=SAID, className="dim", role="status"),
    ]  # fmt: skip
    below = html.Div(
        [
            dcc.Store(ASKED, data={"span": span_of(next(iter(several(query, "span")), ""))}),
            dcc.Store(TURNED, data=[]),
            html.Details([html.Summary(html.H2("Compared with FIFO"), className="jobs-part"), html.Div(id=FIFO)]),
            html.Section([html.Div([html.H2("History"), html.Label("Find in the history", htmlFor=FIND, className="unseen"), find, state], className="jobs-part"), grid(), html.Div(turning, className="jobs-turning")]),
        ],
        className="jobs-page",
    )  # fmt: skip
    return [JobsView(className="jobs-view"), below]


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(FIFO, "children"), Input(ASKED, "data"))  # type: ignore[untyped-decorator]
    def beside(asked: Any) -> Any:
        span_s = span_of(asked.get("span") if isinstance(asked, dict) else None)
        try:
            found = queries.jobs.beside_fifo(span_s)
        except QueueError as error:
            return [html.P(visible(str(error)), className="dim")]
        return comparison(found, span_s)

    @dash.callback(  # type: ignore[untyped-decorator]
        Output(HISTORY, "rowData"), Output(HISTORY, "style"), Output(SAID, "children"), Output(OLDER, "hidden"), Output(NEWEST, "hidden"),
        Output(TURNED, "data"), Input(ASKED, "data"), Input(FIND, "value"), Input(STATE, "value"), Input(OLDER, "n_clicks"),
        Input(NEWEST, "n_clicks"), State(TURNED, "data"),
    )  # fmt: skip
    def history(asked: Any, find: Any, state: Any, older: Any, newest: Any, turned: Any) -> Any:
        """`turned` is where the shown page begins, and where the next one would."""
        begins = next_of(turned, 1 if ctx.triggered_id == OLDER else 0) if ctx.triggered_id in (ASKED, OLDER) else None
        text, states = find[:MAX_FOUND] if isinstance(find, str) else "", (state,) if state in OVER else OVER
        try:
            found = queries.jobs.history(ROWS, text, states, begins)
        except (QueueError, OverflowError) as error:
            return [], style_of([]), visible(str(error)), True, True, []
        rows = [row_of(job) for job in found.jobs]
        return (
            rows,
            style_of(rows),
            said_of(found, bool(text or state in OVER)),
            found.before is None,
            begins is None,
            [begins, found.before],
        )


def span_of(given: Any) -> float:
    """Seconds; a day where that is none."""
    try:
        span_s = float(given)
    except (TypeError, ValueError, OverflowError):
        return DAY_S
    return span_s if 0 < span_s <= LONGEST_S else DAY_S


def next_of(turned: Any, place: int) -> int | None:
    found = turned[place] if isinstance(turned, list) and len(turned) == 2 else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**62 else None


def comparison(found: FifoComparison | None, span_s: float) -> list[Any]:
    """Numbers, the same in words, and what is assumed."""
    if found is None:
        return [
            html.P(f"No job was submitted in the last {lasting(span_s)}: there is nothing to compare.", className="dim")
        ]

    def row(name: str, mean_s: float, longest_s: float, busy: float) -> html.Tr:
        return html.Tr(
            [
                html.Th(name, scope="row"),
                html.Td(lasting(mean_s)),
                html.Td(lasting(longest_s)),
                html.Td(percent(100 * busy)),
            ]
        )

    heads = [html.Td(""), *(html.Th(head, scope="col") for head in ("Mean wait", "Longest wait", "Slots in use"))]
    rows = [
        row("This queue", found.mean_s, found.longest_s, found.busy),
        row("First in, first out", found.fifo_mean_s, found.fifo_longest_s, found.fifo_busy),
    ]
    return [
        html.Table([html.Thead(html.Tr(heads)), html.Tbody(rows)], className="fifo-figures"),
        *(html.P(sentence) for sentence in sentences_of(found)),
        html.P(ASSUMED, className="dim"),
    ]


PAGE = Page(
    "q",
    "Jobs",
    "/jobs",
    layout,
    callbacks,
    packages=(DCC, "dash_ag_grid"),
    owners=True,
    chunks=("dash_ag_grid/async-community.js",),
    early=lambda _: (question("jobs"),),
    entry="Hosts",
)
