"""The templates of each run's lines: found as lines arrive, counted later for many blocks at once."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....analysis.logs.masking import MOST_CHARACTERS
from ....analysis.logs.templates import NewTemplate, RunTemplates
from ...lines import LineTemplate
from .. import schema
from ..columns import codec
from ..columns.damage import decoded

TIMES, LEVELS, TEMPLATES = 1, 2, 5  # places in the columns of a block
MOST_AT_ONCE = 64  # blocks
MOST_BYTES = 16 << 20  # of templates and keys that are remembered
_KNOWN = "SELECT id, text, file, family, wide FROM template WHERE run = ?"
_READ = (
    "SELECT id, text, example, wide, level, lines, first_time_s, last_time_s FROM template WHERE run = ? ORDER BY id"
)
_COLUMNS = "SELECT id, run, columns FROM log"
_UNCOUNTED_OF = f"{_COLUMNS} WHERE run = ? AND mined = 1"
_NEW = "INSERT INTO template VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 1e308, -1e308)"
_COUNT = """UPDATE template SET lines = lines + ?, level = max(level, ?), first_time_s = min(first_time_s, ?), last_time_s = max(last_time_s, ?)
  WHERE run = ? AND id = ?"""


class TemplateWriter:
    """What the writer of a file remembers of its runs. After a failed transaction it must forget."""

    def __init__(self) -> None:
        self._runs: dict[str, RunTemplates] = {}
        self._bytes = 0

    def group(self, db: sqlite3.Connection, run: str, files: Sequence[str], texts: Sequence[str]) -> list[int]:
        """The ids of the templates of a run's lines; new ones are stored."""
        templates = self._of(db, run)
        before = templates.bytes
        ids, new = templates.group(texts, files)
        self._bytes += templates.bytes - before
        if new:
            examples = dict(zip(reversed(ids), reversed(texts), strict=True))
            db.executemany(_NEW, [_row(run, template, examples[template.id]) for template in new])
        return ids

    def forget(self, run: str | None = None) -> None:
        """Read a run's templates, or those of all runs, from the file again."""
        for name in list(self._runs) if run is None else [run]:
            self._drop(name)

    def _of(self, db: sqlite3.Connection, run: str) -> RunTemplates:
        """The run that was asked for last stands last."""
        found = self._runs.pop(run, None)
        if found is None:
            found = RunTemplates(NewTemplate._make(row) for row in db.execute(_KNOWN, (run,)))
            self._bytes += found.bytes
        self._runs[run] = found
        while self._bytes > MOST_BYTES and len(self._runs) > 1:
            self._drop(next(iter(self._runs)))
        if self._bytes > MOST_BYTES:
            before = found.bytes
            found.forget_keys()
            self._bytes += found.bytes - before
        return found

    def _drop(self, run: str) -> None:
        if (found := self._runs.pop(run, None)) is not None:
            self._bytes -= found.bytes


def read(db: sqlite3.Connection, run: str) -> list[LineTemplate]:
    """By id."""
    with schema.transaction(db, "DEFERRED"):  # what is counted meanwhile is counted once
        counts = _counts(db, _UNCOUNTED_OF, (run,)).get(run, {})
        rows = db.execute(_READ, (run,)).fetchall()
    found = []
    for number, text, example, wide, level, lines, first_s, last_s in rows:
        more = counts.get(number, NOTHING)
        ends = min(first_s, more.first_time_s), max(last_s, more.last_time_s)
        found.append(LineTemplate(number, text, example, bool(wide), max(level, more.level), lines + more.lines, *ends))
    return found


def count(db: sqlite3.Connection, blocks: Sequence[int]) -> None:
    """Count the lines of these blocks that are not counted yet. In a transaction."""
    for at in range(0, len(blocks), MOST_AT_ONCE):
        some = blocks[at : at + MOST_AT_ONCE]
        marks = ",".join("?" * len(some))
        for run, counts in _counts(db, f"{_COLUMNS} WHERE mined = 1 AND id IN ({marks})", some).items():
            db.executemany(_COUNT, [(*found, run, number) for number, found in counts.items()])
        db.execute(f"UPDATE log SET mined = 2 WHERE mined = 1 AND id IN ({marks})", some)


def uncounted(db: sqlite3.Connection) -> list[int]:
    """Some blocks whose lines have templates and are not counted."""
    return [
        number for (number,) in db.execute("SELECT id FROM log WHERE mined < 2 AND mined = 1 LIMIT ?", (MOST_AT_ONCE,))
    ]


class TemplateCount(NamedTuple):
    """Of the lines of a template."""

    lines: int
    level: int  # the highest
    first_time_s: float
    last_time_s: float


NOTHING = TemplateCount(0, 0, math.inf, -math.inf)


def _counts(db: sqlite3.Connection, blocks: str, values: Sequence[object]) -> dict[str, dict[int, TemplateCount]]:
    """By run and template, of the lines of some blocks."""
    found: dict[str, dict[int, TemplateCount]] = {}
    rows = db.execute(blocks, values)
    while some := rows.fetchmany(MOST_AT_ONCE):
        parts: dict[str, list[Sequence[Any]]] = {}
        for number, run, blob in some:
            columns = decoded("log", number, codec.decode, blob)
            if columns is not None:
                parts.setdefault(run, []).append((columns[TEMPLATES], columns[LEVELS], columns[TIMES]))
        for run, columns_of in parts.items():
            counts = found.setdefault(run, {})
            for template, more in _counted(
                *(np.concatenate(column) for column in zip(*columns_of, strict=True))
            ).items():
                counts[template] = _together(counts.get(template, NOTHING), more)
    return found


def _together(one: TemplateCount, other: TemplateCount) -> TemplateCount:
    ends = min(one.first_time_s, other.first_time_s), max(one.last_time_s, other.last_time_s)
    return TemplateCount(one.lines + other.lines, max(one.level, other.level), *ends)


def _counted(ids: NDArray[np.int64], level: NDArray[np.int64], time_s: NDArray[np.float64]) -> dict[int, TemplateCount]:
    order = np.argsort(ids, kind="stable")
    level, time_s = level[order], time_s[order]
    found, starts, lines = np.unique(ids[order], return_index=True, return_counts=True)
    columns = (
        lines,
        np.maximum.reduceat(level, starts),
        np.minimum.reduceat(time_s, starts),
        np.maximum.reduceat(time_s, starts),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(found.tolist(), map(TemplateCount._make, rows), strict=True))


def _row(run: str, template: NewTemplate, example: str) -> tuple[object, ...]:
    shown = example[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
    return run, template.id, template.text, shown, template.file, template.family, template.wide
