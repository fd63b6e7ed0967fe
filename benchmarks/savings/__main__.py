"""Of each cause: what its row of the ledger says that a fix saves at most, and how much faster the same training is without it.

python -m benchmarks.savings     about half an hour; SAVINGS_CAUSES="fsync loader" are some of the causes, SAVINGS_FOLDER keeps what was recorded
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collectors.analysis.ledger.shares import KindRow, Ledger
from collectors.analysis.ledger.wording import sentence_of
from collectors.analysis.stacks.traces import Range
from collectors.store.open import open_store
from collectors.store.protocol import Store
from dashboard.stacks import Stacks

from ..report import Row
from ..report import run as reported
from .programs import CAUSES

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs.py"
SECONDS = float(os.environ.get("SAVINGS_SECONDS", "15"))
LED_IN_S = 4.0  # of a run, which are not looked at
TURNS = 2  # of each, in turns: the machine's other work is part of both
NOISE = 3.0  # points by which two runs of the same program differ
NAMED = {  # the function that is slow
    "fsync": "append",
    "regex": "split_sentences",
    "best_state": "keep_if_better",
    "rescan": "scan",
    "small_calls": "clip_gradients",
    "hooks": "histogram",
    "history": "save_history",
    "garbage": "build_tree",
    "retries": "wrapper",
    "loader": "read_shard",
    "producers": "decode",
    "threads": "load_image",
    "pool": "decode",
    "ranks": "decode",
}
KIND = {"tokenizer": "gil", "lock": "lock"}  # causes that are known by their kind


class Measured(NamedTuple):
    cause: str
    said: list[tuple[Ledger, KindRow | None]]  # of each turn with the cause: its row
    step_s: dict[str, list[float]]

    @property
    def saved(self) -> float:
        """Percent of a step that takes less without the cause."""
        return 100 * (1 - float(np.mean(self.step_s["never"])) / float(np.mean(self.step_s["always"])))

    @property
    def most(self) -> float:
        """Percent that a fix was said to save at most."""
        return float(np.mean([row.saves_at_most if row else 0.0 for _, row in self.said]))


def measure() -> list[Row]:
    rows: list[Row] = []
    for cause in os.environ.get("SAVINGS_CAUSES", "").split() or list(CAUSES):
        with ExitStack() as stack:
            kept = os.environ.get("SAVINGS_FOLDER")
            folder = Path(kept) if kept else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="savings-")))
            record(cause, folder / cause)
            found = measured(cause, folder / cause)
        ledger, row = found.said[-1]
        said = f"{row.kind} {row.share:.0f} %, at most {found.most:.0f} %" if row else "no row of the cause"
        before_ms, after_ms = (1e3 * float(np.mean(found.step_s[when])) for when in ("always", "never"))
        text = f"{before_ms:.1f} to {after_ms:.1f} ms; said {said}; {sentence_of(ledger)}"
        print(f"{cause}: {found.saved:.0f} % saved, {text}", flush=True)
        rows.append(Row(cause, found.saved, "% saved", round(found.most + NOISE, 1), spread=text))
    return rows


def record(cause: str, folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir(parents=True)
    command = [sys.executable, "-m", "collectors", "--log-dir", str(logs), "--data-dir", str(folder / "data")]
    with subprocess.Popen(command, cwd=ROOT) as collector:
        time.sleep(2.0)
        for turn in range(TURNS):
            for when in ("never", "always"):
                run = [sys.executable, str(PROGRAM), str(logs), f"{when}-{turn}", cause, when, str(SECONDS + LED_IN_S)]
                subprocess.run(run, check=True, cwd=folder, timeout=10 * SECONDS + 60)
        time.sleep(6.0)
        collector.terminate()


def measured(cause: str, folder: Path) -> Measured:
    store = open_store(folder / "data", write=False)
    try:
        steps = {when: [_steps(store, f"{when}-{turn}") for turn in range(TURNS)] for when in ("never", "always")}
        stacks = Stacks(store)
        ledgers = [stacks.ledger(f"always-{turn}", window) for turn, (_, window) in enumerate(steps["always"])]
    finally:
        store.close()
    said = [(ledger, _row_of(cause, ledger)) for ledger in ledgers]
    return Measured(cause, said, {when: [step_s for step_s, _ in its] for when, its in steps.items()})


def _row_of(cause: str, ledger: Ledger) -> KindRow | None:
    """That in which the cause's function has most time, or whose kind is the cause's."""
    if cause in KIND:
        return next((row for row in ledger.rows if row.kind == KIND[cause]), None)
    named = {
        row.kind: sum(line.share for line in row.lines if line.place.frame and line.place.frame.name.endswith(NAMED[cause]))
        for row in ledger.rows
        if row.kind != "busy"
    }
    most = max(named, key=lambda kind: named[kind], default=None)
    return next((row for row in ledger.rows if row.kind == most and named[row.kind] > 0), None)


def _steps(store: Store, run: str) -> tuple[float, Range]:
    """How long a step takes, and the window in which that was looked at."""
    series = next(row for row in store.series(run) if row.name == "train/loss" and ("rank", "1") not in row.labels)
    time_s = store.points([series.id], None, None)[series.id].place
    window = float(time_s[0]) + LED_IN_S, float(time_s[-1]) - 0.5
    inside = time_s[(time_s >= window[0]) & (time_s <= window[1])]
    return float(inside[-1] - inside[0]) / (len(inside) - 1), window


if __name__ == "__main__":
    raise SystemExit(reported(measure, __doc__ or ""))
