"""A run is not stalled while another run of its process is written."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from collectors.machine.proc import boot_id, start_ticks
from collectors.records import Event, LogLine, RunInfo
from collectors.store.engines import open_store
from dashboard.runs.runs import Runs


def test_a_run_whose_process_writes_another_one_is_not_stalled(tmp_path: Path) -> None:
    """As `run -- python train.py`, whose script prints once, or nothing, and then logs into a folder of its own."""
    now_s = time.time()
    named = {"pid": os.getpid(), "pid_start_ticks": start_ticks(os.getpid()), "boot_id": boot_id()}
    with closing(open_store(tmp_path, write=True)) as store:
        for run, line_s in (("printed", now_s - 300), ("logged", now_s - 1), ("silent", now_s - 300)):
            store.append([RunInfo(run, {"run": run}), LogLine(run, "train.log", line_s, 20, "a line")])
        store.append([RunInfo("launched", {"run": "launched", "started_s": now_s - 300})])
        for run in ("printed", "logged", "launched"):
            store.append([Event(run, "process", now_s - 400, fields=named)])
        states = {view.stored.name: view.state for view in Runs(store, tmp_path).views()}
    assert states == {"printed": "running", "logged": "running", "launched": "running", "silent": "ended"}
