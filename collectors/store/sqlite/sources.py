"""The texts of source files that were kept for runs: each text once, by its hash, and which run had it under which path."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ...records import SourceText
from .columns import codec
from .columns.damage import decoded

MOST_BYTES = 20_000_000  # of one run's texts
USED_UP = f"The {MOST_BYTES // 1_000_000} MB of source text that are kept for a run were used up by other files."
SAME_START_S = 1.0  # start times are computed from ticks and the clock, and differ by less


def write(db: sqlite3.Connection, texts: Iterable[SourceText]) -> None:
    for text in texts:
        data = text.text.encode()
        if text.sha and not _has_room(db, text.run, text.sha, len(data)):
            text = text._replace(sha="", text="", why=USED_UP)
        if text.sha and db.execute("SELECT 1 FROM source_text WHERE sha = ?", (text.sha,)).fetchone() is None:
            db.execute(
                "INSERT INTO source_text (sha, bytes, data) VALUES (?, ?, ?)", (text.sha, len(data), codec.seal(data))
            )
        row = (text.run, text.path, text.sha, text.since_s, text.why)
        db.execute(
            "INSERT INTO source VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET since_s = max(since_s, excluded.since_s)",
            row,
        )
        db.execute("INSERT OR IGNORE INTO run (name) VALUES (?)", (text.run,))


def read(db: sqlite3.Connection, run: str, path: str) -> SourceText | None:
    """The text that the run's newest process with this file ran; None if it was never read, or its blob is damaged."""
    rows = db.execute(
        "SELECT sha, since_s, why FROM source WHERE run = ? AND path = ? ORDER BY since_s DESC", (run, path)
    ).fetchall()
    newest = [row for row in rows if row[1] > rows[0][1] - SAME_START_S]
    for sha, since_s, why in sorted(
        newest, key=lambda row: not row[0]
    ):  # read a second time, it may have changed meanwhile
        if not sha:
            return SourceText(run, path, "", "", since_s, why)
        for row, blob in db.execute("SELECT rowid, data FROM source_text WHERE sha = ?", (sha,)):
            if (data := decoded("source text", row, codec.unseal, blob)) is not None:
                return SourceText(run, path, sha, data.decode(), since_s)
    return None


def remove(db: sqlite3.Connection, run: str) -> None:
    db.execute("DELETE FROM source WHERE run = ?", (run,))
    db.execute("DELETE FROM source_text WHERE sha NOT IN (SELECT sha FROM source)")


def _has_room(db: sqlite3.Connection, run: str, sha: str, size: int) -> bool:
    """Whether the run has this text already, or has room for it."""
    kept = "SELECT source_text.sha, bytes FROM source_text WHERE sha IN (SELECT sha FROM source WHERE run = ?)"
    sizes = dict(db.execute(kept, (run,)).fetchall())
    return sha in sizes or sum(sizes.values()) + size <= MOST_BYTES
