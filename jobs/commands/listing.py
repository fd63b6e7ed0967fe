"""`deepseek-jobs queue`: what runs, what waits and why, and what ended last."""

from __future__ import annotations

import argparse
import json
import time

from access.program import Command

from .text import ago, placed_on, resources, table, terminal_width

LAST = 5  # jobs that are over, unless --all


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="show all finished jobs, not only the last five")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(parsed: argparse.Namespace) -> int:
    from ..state_folder import state_folder
    from ..view import QueueView, row_as_json

    view = QueueView(state_folder())
    jobs, slots, over = view.jobs(), view.slots(), view.history(1 << 30 if parsed.all else LAST)
    jobs = [row for row in jobs if row.id not in {other.id for other in over}]  # that have ended meanwhile
    if parsed.json:
        whole = {
            "daemon": view.daemon(),
            "slots": [*map(row_as_json, slots)],
            "jobs": [*map(row_as_json, [*reversed(over), *jobs])],
        }
        print(json.dumps(whole, indent=1))
        return 0
    now_s = time.time()
    if not jobs and not over:
        print("no jobs; put one into the queue with: deepseek-jobs submit -- python train.py")
        return 0
    rows = [("JOB", "STATE", "RUN", "WANTS", "WHERE, OR WHY NOT")]
    for row in [*reversed(over), *jobs]:
        where = placed_on(row, slots) if row.on else ago(row.ended_s, now_s) if row.ended_s else ""
        rows.append(
            (str(row.id), row.state, row.run, resources(row, slots), "; ".join(filter(None, [where, row.reason])))
        )
    print(table(rows, terminal_width()))
    if view.daemon() is None and jobs:
        print("no daemon runs, so nothing starts: deepseek-jobs daemon, or submit a job")
    return 0


COMMAND = Command("queue", "List running and queued jobs, and why they wait.", arguments, run)
