"""Asking a RunLog for a trace, as the collector does, and a loop that steps until the answer is there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepseek.log import RunLog, tracing
from deepseek.log.trace_requests import REQUEST, TraceFolder

ID = "0123456789abcdef"
SOON_S = 20.0


def folder_of(log: RunLog) -> Path:
    """Made as the collector makes it."""
    path = TraceFolder(log.folder, log.run, log.rank).path
    for part in (path.parents[1], path.parents[0], path):
        part.mkdir(mode=0o700, exist_ok=True)
    return path


def request(log: RunLog, **fields: object) -> Path:
    """Writes the request; the path of the answer to come."""
    folder = folder_of(log)
    wanted = {"id": ID, "steps": 3, "rank": 0, "time_s": time.time(), **fields}
    new = folder / ".new"
    new.write_text(json.dumps(wanted))
    new.chmod(0o600)
    new.replace(folder / REQUEST)
    return folder / f"trace-{wanted['id']}.json"


def steps_until(log: RunLog, done: Callable[[], object], work: Callable[[], object] = lambda: None) -> int:
    """Logs steps, each after its work, until something holds; how many steps it were."""
    step, until_s = 0, time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < until_s, "no answer came"
        work()
        log.scalars(step, loss=step / 2)
        time.sleep(0.002)
        step += 1
    return step


def answered(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def look_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(tracing, "LOOK_S", 0.0)
