"""Routes of what a log says: a planted flood in a window, a failed run, and any run or window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectors.records import LogLine
from collectors.store.store import LogPage, LogQuery
from dashboard.logs import changes
from dashboard.logs.changes import MAX_INSIDE, columns_of
from tests.conftest import dashboard, wait_for

T0 = 1.79e9
SOURCE = "def step():\n    raise ValueError('bad label')\n\nstep()\n"
TRACEBACK = """Traceback (most recent call last):
  File "{file}", line 4, in <module>
    step()
  File "{file}", line 2, in step
    raise ValueError('bad label')
ValueError: bad label
"""


def written(folder: Path) -> None:
    """A run of ten minutes, with a flood in eight seconds of it, that fails."""
    run = folder / "gpt"
    run.mkdir(parents=True)
    script = folder.parent / "train.py"
    script.write_text(SOURCE)
    rows = [{"event": "step done", "level": "info", "timestamp": T0 + i / 2, "step": i} for i in range(1200)]
    rows += [
        {"event": "retrying shard", "level": "warning", "timestamp": T0 + 300 + i / 20, "shard": i} for i in range(160)
    ]
    lines = [json.dumps(row) for row in sorted(rows, key=lambda row: float(str(row["timestamp"])))]
    (run / "train.log").write_text("\n".join(lines) + "\n" + TRACEBACK.format(file=script))
    (run / "run.json").write_text(json.dumps({"cwd": str(folder.parent)}))
    ends = [
        {"time_s": T0, "kind": "start", "pid": 999_999_9, "host": "elsewhere"},
        {"time_s": T0 + 601, "kind": "end", "status": "error"},
    ]
    (run / "events.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ends))


def test_a_flood_and_a_failure_are_named(tmp_path: Path) -> None:
    written(tmp_path / "logs")
    with dashboard(tmp_path / "logs") as board:
        wait_for(
            lambda: board.get("/api/v1/logs?run=gpt&limit=1").get("total") == 1366, because="not all lines are there"
        )
        found = board.get(f"/api/v1/logs/difference?run=gpt&from={T0 + 299.75}&to={T0 + 308}")
        assert found["sentence"] == '"retrying shard shard" 160 times in 8.2 s, never before.'
        assert found["changes"][0]["kind"] == "new"
        assert board.get(f"/api/v1/logs/difference?run=gpt&from={T0 + 200}&to={T0 + 208}")["sentence"] == ""
        crash = board.get("/api/v1/logs/crash?run=gpt")
        assert crash["cause"]["sentence"] == "ValueError: bad label, at train.py:2 in step."
        file = crash["cause"]["frames"][-1]["file"]
        source = board.get(f"/api/v1/source?run=gpt&file={file}&line=2")
        assert source["lines"][2 - source["first"]] == "    raise ValueError('bad label')"
        for path in (
            "difference?run=x&from=1&to=2",
            "difference?run=gpt&from=2&to=1",
            "difference?run=gpt&from=nan&to=2",
            "crash?run=x",
        ):
            assert "error" in board.get(f"/api/v1/logs/{path}")


def test_a_window_of_too_many_lines_says_so() -> None:
    def logs(query: LogQuery) -> LogPage:
        line = LogLine("a", "train.log", 5.0, 0, "step 1")
        return LogPage([line] * min(query.limit, 50), MAX_INSIDE + 7, None)

    assert columns_of(logs, "a", (0.0, 9.0)).too_many == MAX_INSIDE + 7


def test_a_kernel_log_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    line = LogLine("a", "train.log", 5.0, 0, "step 1")
    assert changes.lines_of("a", "", [line], tmp_path / "kmsg") == []
    assert changes.lines_of("a", "another host", [line]) == []
    assert changes.lines_of("a", "", []) == []


def test_lines_of_the_kernel_log_about_the_end_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes.time, "time", lambda: 1000.0)
    monkeypatch.setattr(changes.time, "clock_gettime", lambda _: 1000.0)
    (tmp_path / "kmsg").write_text("3,1,400000000,-;Out of memory: Killed process 7 (python)\n")
    last = LogLine("a", "train.log", 401.0, 0, "step 1")
    assert [line.text for line in changes.lines_of("a", "", [last], tmp_path / "kmsg")] == [
        "Out of memory: Killed process 7 (python)"
    ]
    assert changes.lines_of("a", "", [last._replace(time_s=5000.0)], tmp_path / "kmsg") == []
