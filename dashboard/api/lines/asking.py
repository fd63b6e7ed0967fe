"""The parameters that all routes of log lines share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from pydantic import Field

from ...log_lines.filters import LineFilter
from ...log_lines.lines import LineQuestion
from ...log_lines.needle import Needle
from ...queries import BadRequest, Queries
from ..parameters import MOST_CHARACTERS, MOST_CURSOR, MOST_ID, OpenRange, RunNames

MOST_TEMPLATES = 400  # parameters `template` or `hide` of a request
MOST_NEEDLE = 1024  # characters
Ids = Annotated[list[Annotated[int, Field(ge=0, le=65_535)]], Query(max_length=MOST_TEMPLATES)]
Files = Annotated[
    list[Annotated[str, Field(max_length=MOST_CHARACTERS)]], Query(alias="file", max_length=MOST_TEMPLATES)
]
Ranks = Annotated[list[Annotated[int, Field(ge=0, le=MOST_ID)]], Query(alias="rank", max_length=MOST_TEMPLATES)]
LineNumber = Annotated[int, Query(ge=0, le=MOST_CURSOR, description="of a line, from an answer")]


def line_question(queries: Queries) -> Callable[..., LineQuestion]:
    """A dependency: runs (all without any), filters and search. Raises NotFound, BadRequest."""

    def question_of(
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # pydantic copies it
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        file: Files = [],  # noqa: B006
        rank: Ranks = [],  # noqa: B006
        template: Ids = [],  # noqa: B006
        hide: Ids = [],  # noqa: B006
        q: Annotated[str, Query(max_length=MOST_NEEDLE, description="searched for, newest lines first")] = "",
        regex: Annotated[bool, Query(description="q is a regular expression of RE2")] = False,
        case: Annotated[bool, Query(description="case matters")] = False,
        only_hits: Annotated[bool, Query(description="lines without q are left out")] = False,
    ) -> LineQuestion:
        for name in run:
            queries.check_run(name)
        runs = tuple(sorted(set(run))) or None
        if (template or hide) and (runs is None or len(runs) > 1):
            raise BadRequest("template and hide are ids of one run; name exactly one run")
        asked = LineFilter(*between, level, frozenset(file), frozenset(rank), frozenset(template), frozenset(hide))
        needle = Needle(q, regex, case) if q else None
        return LineQuestion(runs, asked, needle, only_hits and needle is not None)

    return question_of
