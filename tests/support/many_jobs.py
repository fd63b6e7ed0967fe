"""A queue with a long history, written in one go: four cards, jobs of some hours, thirty that wait."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from pathlib import Path

from jobs.queue import OVER, JobQueue
from jobs.state_folder import QUEUE, make

CARDS, WAITING, USUAL_S = 4, 30, 1800.0
SCRIPTS = ("train.py", "pretrain.py", "evaluate.py", "probe.py", "distill.py")


def fill_queue(folder: Path, log_dir: Path, over: int, now_s: float) -> None:
    """First come, first served, on one card each; the last of them ends now."""
    make(folder)
    JobQueue(folder / QUEUE).close()
    drawn = random.Random(11)
    free_s, jobs, attempts = [0.0] * CARDS, [], []
    at_s = 0.0
    for number in range(1, over + CARDS + 1):
        at_s += drawn.expovariate(CARDS / USUAL_S)
        card = min(range(CARDS), key=free_s.__getitem__)
        began_s, work_s = max(at_s, free_s[card]), drawn.lognormvariate(0.0, 1.0) * USUAL_S * 0.55
        free_s[card] = began_s + work_s
        jobs.append((number, at_s, began_s, work_s, card, drawn.choice(OVER[:2] if drawn.random() < 0.2 else OVER[:1])))
    shift_s = now_s - max(began_s + work_s for _, _, began_s, work_s, _, _ in jobs)
    rows = []
    for number, at_s, began_s, work_s, card, state in jobs:
        runs = number > over
        ended_s = None if runs else shift_s + began_s + work_s
        state = "running" if runs else state
        rows.append(
            row(
                number,
                shift_s + at_s,
                state,
                log_dir,
                began_s - at_s,
                card if runs else None,
                shift_s + began_s,
                ended_s,
                work_s,
            )
        )
        attempts.append(
            (
                number,
                json.dumps([f"gpu-{card}"]),
                shift_s + began_s,
                shift_s + began_s,
                ended_s,
                {"finished": 0, "failed": 1}.get(state),
            )
        )
    rows += [
        row(over + CARDS + 1 + n, now_s - 60 * (WAITING - n), "queued", log_dir, 0.0, None, 0.0, None, None)
        for n in range(WAITING)
    ]
    slots = [
        {"id": f"gpu-{n}", "name": f"GPU {n}", "memory_mib": 81920.0, "free_mib": 81920.0, "foreign": False, "why": ""}
        for n in range(CARDS)
    ]
    with sqlite3.connect(folder / QUEUE) as db:
        db.executemany(
            f"INSERT INTO job ({', '.join(rows[0])}) VALUES ({', '.join(':' + name for name in rows[0])})", rows
        )
        db.executemany(
            "INSERT INTO attempt (job, number, slots, intended_s, started_s, ended_s, exit_code) VALUES (?, 1, ?, ?, ?, ?, ?)",
            attempts,
        )
        db.execute("INSERT INTO kept VALUES ('slots', ?)", (json.dumps({"seen_s": now_s, "slots": slots}),))
    db.close()


def row(
    number: int, at_s: float, state: str, log_dir: Path, waited_s: float, card: int | None, began_s: float, ended_s: float | None, work_s: float | None
) -> dict[str, object]:  # fmt: skip
    script = SCRIPTS[number % len(SCRIPTS)]
    command = ["python", script, "--task", "vit", "--lr", f"{number}e-6", "--data", "/data/web/2026/shards"]
    return {
        "id": number, "family": f"{os.getuid()} x1 {script}", "slots": 1, "submitted_s": at_s, "high": number % 3 == 0, "shares": 0, "resumes": 0,
        "argv": json.dumps(command), "cwd": "/home/me/vision", "environment": "{}", "log_dir": str(log_dir), "run": f"{script[:-3]}-{number}",
        "state": state, "reason": "waits for 1 GPU behind 3 jobs; job 12 should end 14:20" if state == "queued" else "", "queued_s": at_s,
        "waited_s": waited_s, "on_slots": json.dumps([] if card is None else [f"gpu-{card}"]), "started_s": began_s, "ended_s": ended_s,
        "work_s": work_s if ended_s else None,
    }  # fmt: skip
