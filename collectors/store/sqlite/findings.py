"""Findings: a row each, overwritten while it goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import orjson

from ...records import Finding

MOST_LIVE = 1000  # of a delta
_COLUMNS = "id, run, rule, weight, from_s, to_s, over, sentence, rank, step, fields"


def write(db: sqlite3.Connection, findings: Iterable[Finding], seq: int) -> None:
    rows = [
        (
            found.id,
            seq,
            found.run or "",
            found.rule,
            found.weight,
            found.from_s,
            found.to_s,
            found.over,
            found.sentence,
            found.rank,
            found.step,
            orjson.dumps(dict(found.fields), default=str).decode(),
        )
        for found in findings
    ]
    db.executemany("INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def read(
    db: sqlite3.Connection,
    run: str | None,
    lo: float | None,
    hi: float | None,
    *,
    holding: bool = False,
    most: int = -1,
) -> list[Finding]:
    """By their start; with `most` at most so many, the newest."""
    terms = [("run = ?", run), ("to_s >= ?", lo), ("from_s <= ?", hi)]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join([*(term for term, _ in asked), *(["over = 0"] if holding else [])]) or "1"
    newest = f"SELECT {_COLUMNS} FROM finding WHERE {where} ORDER BY from_s DESC, id DESC LIMIT ?"
    return _found(db.execute(newest, [*(value for _, value in asked), most]))[::-1]


def read_id(db: sqlite3.Connection, id_: str) -> list[Finding]:
    """The one of that id, if it is there; an id is text that a client may have made up."""
    return _found(db.execute(f"SELECT {_COLUMNS} FROM finding WHERE id = ?", [id_.encode("utf-8", "replace").decode()]))


def read_after(db: sqlite3.Connection, seq: int, upto: int) -> list[Finding]:
    """Those written by later commits; of very many the newest."""
    after = f"SELECT {_COLUMNS} FROM finding WHERE seq > ? AND seq <= ? ORDER BY seq DESC, from_s DESC LIMIT ?"
    return _found(db.execute(after, (seq, upto, MOST_LIVE)))[::-1]


def _found(rows: Iterable[tuple]) -> list[Finding]:  # type: ignore[type-arg]
    return [
        Finding(id_, run or None, rule, weight, from_s, to_s, bool(over), sentence, rank, step, orjson.loads(fields))
        for id_, run, rule, weight, from_s, to_s, over, sentence, rank, step, fields in rows
    ]
