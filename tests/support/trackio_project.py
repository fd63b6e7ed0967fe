"""A database as Trackio writes it, with the standard library alone: a process that writes one begins at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

METRICS = "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)"


class Project:
    """A database as Trackio writes it."""

    def __init__(self, path: Path, journal: str = "wal", is_new: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self.db.execute(f"PRAGMA journal_mode = {journal}")
        if is_new:
            self.db.execute(METRICS)

    def log(self, run: str, step: object, metrics: object, run_id: str = "") -> None:
        row = (
            run_id or run,
            "2025-11-24T16:00:00+00:00",
            run,
            step,
            metrics if isinstance(metrics, bytes) else json.dumps(metrics),
        )
        self.db.execute("INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)", row)
