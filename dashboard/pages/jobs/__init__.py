"""The Jobs page: what waits and runs, who was on which slot, first-in-first-out beside it, and the history.

`assets/pages/jobs/page.js` draws the queue and the slots, sends what a user asks for, and says when the rest is to be made anew.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from dash import Dash, Input, Output, State, ctx, dcc, html

from jobs.compared import FifoComparison
from jobs.errors import QueueError
from jobs.queue import OVER

from ...jobs.wording import ASSUMED, lasting, sentences_of
from ...opening.early import question
from ...queries import Queries
from ...user_files.visible import visible
from ..page import Page
from .history import HISTORY, ROWS, grid, row_of, said_of, style_of

ASKED, FIFO, FIND, STATE, TURNED, OLDER, NEWEST, SAID = (
    f"jobs-{name}" for name in ("asked", "fifo", "find", "state", "turned", "older", "newest", "found")
)
MOST_FOUND = 200  # characters
FEW = 5  # jobs that are over: with fewer there is little to compare
DAY_S, LONGEST_S = 86400.0, 366 * 86400.0


def layout_of(search: str) -> html.Div:
    """`search` is the address' query, whose `span` is the time that is shown."""
    find = dcc.Input(id=FIND, placeholder="Run or command", maxLength=MOST_FOUND, className="input", type="text")
    state = dcc.Dropdown(
        id=STATE, options=[{"label": word, "value": word} for word in OVER], placeholder="All states", searchable=False
    )
    turning = [
        html.Button("Newest", id=NEWEST, className="btn", type="button", hidden=True),
        html.Button("Older", id=OLDER, className="btn", type="button", hidden=True),
        html.Span(id=SAID, className="dim", role="status"),
    ]  # fmt: skip
    return html.Div(
        [
            dcc.Store(ASKED, data={"span": span_of(parse_qs(search.removeprefix("?")).get("span", [""])[0])}),
            dcc.Store(TURNED, data=[]),
            html.Section(id=FIFO),
            html.Section([html.Div([html.H2("History"), html.Label("Find in the history", htmlFor=FIND, className="unseen"), find, state], className="jobs-part"), grid(), html.Div(turning, className="jobs-turning")]),
        ],
        className="jobs-page",
    )  # fmt: skip


def callbacks(dash: Dash, queries: Queries) -> None:
    @dash.callback(Output(FIFO, "children"), Input(ASKED, "data"))  # type: ignore[untyped-decorator]
    def beside(asked: Any) -> Any:
        span_s = span_of(asked.get("span") if isinstance(asked, dict) else None)
        try:
            found, over = queries.jobs.beside_fifo(span_s), queries.jobs.over()
        except QueueError as error:
            return folded([html.P(visible(str(error)), className="dim")], is_open=True)
        return folded(comparison(found, span_s), is_open=found is not None and over >= FEW)

    @dash.callback(  # type: ignore[untyped-decorator]
        Output(HISTORY, "rowData"), Output(HISTORY, "style"), Output(SAID, "children"), Output(OLDER, "hidden"), Output(NEWEST, "hidden"),
        Output(TURNED, "data"), Input(ASKED, "data"), Input(FIND, "value"), Input(STATE, "value"), Input(OLDER, "n_clicks"),
        Input(NEWEST, "n_clicks"), State(TURNED, "data"),
    )  # fmt: skip
    def history(asked: Any, find: Any, state: Any, older: Any, newest: Any, turned: Any) -> Any:
        """`turned` is where the shown page begins, and where the next one would."""
        begins = next_of(turned, 1 if ctx.triggered_id == OLDER else 0) if ctx.triggered_id in (ASKED, OLDER) else None
        text, states = find[:MOST_FOUND] if isinstance(find, str) else "", (state,) if state in OVER else OVER
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


def folded(children: list[Any], is_open: bool) -> html.Details:
    """A user who opens or folds it is not overruled: `open` is set where it changes."""
    return html.Details(
        [html.Summary(html.H2("Beside first in, first out"), className="jobs-part"), *children], open=is_open
    )


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
                html.Td(f"{100 * busy:.0f} %"),
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
    module="jobs",
    layout_of=layout_of,
    callbacks=callbacks,
    packages=("dash_ag_grid",),
    owners=True,
    chunks=("dash_ag_grid/async-community.js",),
    early=lambda _: (question("jobs"),),
)
