"""The table of runs as a CSV file (RFC 4180), for spreadsheets and DataFrames."""

from __future__ import annotations

import csv
import io

from fastapi import Response

from ...runs_table.columns import Cell
from ...runs_table.table import FoundRuns

UNSAFE = ("=", "+", "-", "@", "\t", "\r")  # text that begins so is a formula to a spreadsheet


def csv_answer(found: FoundRuns) -> Response:
    """All rows without groups; the first column is the run's own name. Times are Unix seconds."""
    text = io.StringIO()
    lines = csv.writer(text)
    columns = [column for column in found.columns.values() if column.kind != "curve"]
    lines.writerow(["run", *(column.key for column in columns)])
    lines.writerows([_csv_text(row.name), *(_csv_cell(row.cell(column)) for column in columns)] for row in found.rows)
    headers = {"Content-Disposition": 'attachment; filename="runs.csv"'}
    return Response(text.getvalue().encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=headers)


def _csv_cell(value: Cell) -> object:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    return _csv_text("; ".join(value) if isinstance(value, tuple) else value)


def _csv_text(text: str) -> str:
    return f"'{text}" if text.startswith(UNSAFE) else text
