"""The parameters of questions about the table of runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import Depends, Query

from ...auth.viewing import check_key
from ...queries import BadRequest, Queries
from ...runs_table.columns import SHOWN
from ...runs_table.filter_language import FilterMistake
from ...runs_table.table import FoundRuns, TableQuestion
from ..parameters import MOST_CHARACTERS

MOST_ROWS, MOST_COLUMNS, MOST_OPEN = 1000, 100, 200

ColumnKey = Annotated[str, Query(max_length=MOST_CHARACTERS, description="key of a column: GET /columns")]
Names = Annotated[list[Annotated[str, Query(max_length=MOST_CHARACTERS)]] | None, Query(max_length=MOST_OPEN)]


def filter_of(
    q: Annotated[str, Query(max_length=MOST_CHARACTERS, description="the filter: docs/runs.md")] = "",
    state: Literal["", "running", "finished", "stalled", "crashed"] = "",
    sort: ColumnKey = "",
    desc: bool = False,
    archived: Annotated[bool, Query(description="archived runs, too")] = False,
    forgotten: Annotated[bool, Query(description="forgotten runs, too")] = False,
) -> TableQuestion:
    return TableQuestion(q, state, sort, desc, archived, forgotten)


def question_of(
    asked: Annotated[TableQuestion, Depends(filter_of)],
    group: ColumnKey = "",
    opened: Annotated[Names, Query(alias="open", description="values of the groups whose runs are listed, too")] = None,
    columns: Annotated[
        str, Query(max_length=4 * MOST_CHARACTERS, description="keys, separated by line breaks or commas")
    ] = "",
) -> TableQuestion:
    """Raises BadRequest."""
    keys = tuple(dict.fromkeys(key for key in columns.split("\n" if "\n" in columns else ",") if key)) or SHOWN
    if len(keys) > MOST_COLUMNS:
        raise BadRequest(f"{len(keys)} columns; an answer has at most {MOST_COLUMNS}")
    return replace(asked, group=group, opened=frozenset(opened or ()), columns=keys)


Filtered = Annotated[TableQuestion, Depends(filter_of)]
Asked = Annotated[TableQuestion, Depends(question_of)]
FirstRow = Annotated[int, Query(ge=0, le=10**7)]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS)]


def find(queries: Queries, asked: TableQuestion) -> FoundRuns:
    """Raises BadRequest, NotGranted."""
    for what, key in (("sort", asked.sort), ("group", asked.group)):
        if key and queries.table.column(key) is None:
            raise BadRequest(f"{what}: there is no column {key[:80]!r}; GET /api/v1/columns lists them")
    check_key(asked.group)
    try:
        return queries.table.ask(asked)
    except FilterMistake as mistake:
        raise BadRequest(str(mistake)) from mistake
