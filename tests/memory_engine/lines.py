"""Lines of text: what is asked of those of all runs, and the lines of one run with their numbers and templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from collectors.lines.templates import RunTemplates
from collectors.records import (
    LogLine,
)
from collectors.store.store import LineColumns, LineExtent, LineTemplate, LineTexts, LogPage, LogQuery


def page(lines: Sequence[LogLine], query: LogQuery) -> LogPage:
    """`lines`: of all runs, in order of arrival."""
    asked = [(number, line) for number, line in enumerate(lines, 1) if _asked(line, query)]
    older = [(number, line) for number, line in asked if query.before is None or number < query.before]
    page = older[len(older) - min(query.limit, len(older)) :]
    return LogPage([line for _, line in page], len(asked), page[0][0] if len(older) > len(page) > 0 else None)


class RunLines:
    """`lines`: those of one run, each with its number among those of all runs."""

    def __init__(self, run: str, lines: Sequence[LogLine]) -> None:
        self._run = run
        self.lines = [line._replace(number=number) for number, line in enumerate(lines, 1) if line.run == run]
        self._template_of, self._new = RunTemplates().group(
            [line.text for line in self.lines], [line.file for line in self.lines]
        )

    def extent(self) -> LineExtent:
        return LineExtent(len(self.lines), self.lines[0].number, self.lines[-1].number, 0)

    def columns(self, after: int) -> LineColumns | None:
        """None where there are no lines behind that number."""
        rows = [
            (line, template)
            for line, template in zip(self.lines, self._template_of, strict=True)
            if line.number > after
        ]
        if not rows:
            return None
        files = sorted({line.file for line, _ in rows})
        numbers, levels = [line.number for line, _ in rows], [line.level for line, _ in rows]
        ranks = [-1 if line.rank is None else line.rank for line, _ in rows]
        whole = [levels, [files.index(line.file) for line, _ in rows], ranks, [template for _, template in rows]]
        times_s = np.array([line.time_s for line, _ in rows], float)
        return LineColumns(
            self._run, files, np.array(numbers, np.int64), times_s, *(np.array(column, np.int64) for column in whole)
        )

    def read_texts(self, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
        for line in reversed(self.lines):
            text = line.text.replace("\n", " ").encode("utf-8", "surrogatepass")
            if lo <= line.number <= hi and not take(LineTexts(np.array([line.number]), text)):
                return

    def templates(self) -> list[LineTemplate]:
        found = []
        for template in self._new:
            own = [line for line, number in zip(self.lines, self._template_of, strict=True) if number == template.id]
            times_s = [line.time_s for line in own]
            shown = own[0].text[:1000].encode("utf-8", "replace").decode()
            level = max(line.level for line in own)
            ends = min(times_s), max(times_s)
            found.append(LineTemplate(template.id, template.text, shown, template.wide, level, len(own), *ends))
        return found


def _asked(line: LogLine, query: LogQuery) -> bool:
    return (
        query.run in (None, line.run)
        and query.text.lower() in line.text.lower()
        and line.level >= query.level
        and (query.from_s is None or line.time_s >= query.from_s)
        and (query.to_s is None or line.time_s <= query.to_s)
    )
