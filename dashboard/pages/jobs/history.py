"""The table of jobs that are over."""

from __future__ import annotations

import shlex
from typing import Any

import dash_ag_grid

from jobs.view import JobRow

from ...jobs.reading import HistoryPage
from ...jobs.wording import lasting
from ...user_files.visible import visible, visible_name
from ..runs import THEME

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
        getRowId="params.data.job",
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
    return "No job that is over is like that." if is_filtered else "No job is over yet."


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
