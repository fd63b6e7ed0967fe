"""`deepseek-jobs show 7`: all about one job."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path

from access.program import Command

from .command import job_argument
from .text import amount, clock, end_of, placed_on, resources, spoken, table


def arguments(parser: argparse.ArgumentParser) -> None:
    job_argument(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(parsed: argparse.Namespace) -> int:
    from ..state_folder import state_folder
    from ..view import QueueView, row_as_json

    view = QueueView(state_folder())
    row, slots = view.find(parsed.job), view.slots()
    attempts = view.attempts(job=row.id)
    if parsed.json:
        print(json.dumps({**row_as_json(row), "attempt_rows": [*map(row_as_json, attempts)]}, indent=1))
        return 0
    now_s = time.time()
    waited_s = row.waited_s + (now_s - row.queued_s if row.queued_s else 0.0)
    ran_s = sum((attempt.ended_s or now_s) - attempt.started_s for attempt in attempts if attempt.started_s)
    lines = [
        ("state", f"{row.state}{f': {row.reason}' if row.reason else ''}"),
        ("command", shlex.join(row.argv)),
        ("in", row.cwd),
        ("run", f"{row.run} in {row.log_dir}" if row.run else "none"),
        ("wants", resources(row, slots)),
        *([("on", placed_on(row, slots))] if row.on else []),
        ("submitted", clock(row.submitted_s, seconds=True)),
        ("waited", spoken(waited_s)),
        ("ran", spoken(ran_s)),
        ("can resume", "yes" if row.resumes else "no: it is never stopped for others"),
        ("output", str(Path(row.log_dir) / row.run / "output.log") if row.run else "none"),
    ]
    print(table([(f"{name}:", value) for name, value in lines]))
    for attempt in attempts:
        began = clock(attempt.started_s or attempt.intended_s, seconds=True)
        waits = row.place != "local" and attempt.started_s is None
        ended = f"ended {clock(attempt.ended_s, seconds=True)}" if attempt.ended_s else "waits" if waits else "runs"
        there = f" (job {attempt.slurm} of Slurm)" if attempt.slurm else ""
        why = end_of(attempt) or ("" if attempt.exit_code is None else f"exit code {attempt.exit_code}")
        peak = f", peak {amount(attempt.peak_mib)}" if attempt.peak_mib else ""
        print(f"attempt {attempt.number}{there}: since {began}, {ended}{peak}{f' ({why})' if why else ''}")
    return 0


COMMAND = Command("show", "Show the details of a job.", arguments, run)
