"""Of each cause: what its row of the ledger says that a fix saves, and how much faster the same training is without it.

python -m benchmarks.savings     about twenty minutes; SAVINGS_CAUSES="fsync loader" are some of the causes, SAVINGS_FOLDER keeps what was recorded,
SAVINGS_THREADS=1 is for a machine that is busy, where PyTorch's threads wait for each other
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from analysis.ledger import kinds
from analysis.ledger.prediction import Prediction, short
from analysis.ledger.shares import KindRow, Ledger, removal_of
from analysis.ledger.text import sentence_of
from analysis.stacks.spans import Interval
from collectors.message import text_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.stacks.stacks import Stacks

from ..report import Row
from ..report import run as reported
from .programs import CAUSES, main

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SAVINGS_SECONDS", "15"))
LED_IN_S = 3.0  # of a run, which are not looked at
TURNS = int(os.environ.get("SAVINGS_TURNS", "2"))  # of each, in turns: the machine's other work is part of both
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
KIND = {"tokenizer": ("gil",), "lock": ("lock", "wait")}  # causes that are known by their kind


class Measured(NamedTuple):
    cause: str
    said: list[tuple[Ledger, KindRow | None]]  # of each turn with the cause: its row
    step_s: dict[str, list[float]]

    @property
    def saved(self) -> float:
        """Percent of a step that takes less without the cause."""
        return 100 * (1 - float(np.mean(self.step_s["never"])) / float(np.mean(self.step_s["always"])))

    @property
    def outside(self) -> float:
        """Points by which the saving is outside what was predicted of the last turn; all of it where nothing was."""
        found = self.prediction
        return max(0.0, found.least - self.saved, self.saved - found.most) if found else abs(self.saved)

    @property
    def prediction(self) -> Prediction | None:
        """Of the cause's function if it goes, else of its row."""
        ledger, row = self.said[-1]
        its = [frame for frame in ledger.account.removals if frame.name.endswith(NAMED.get(self.cause, "?"))]
        return removal_of(its[0], ledger.account) if its else row.prediction if row else None


def measure() -> list[Row]:
    causes = os.environ.get("SAVINGS_CAUSES", "").split() or list(CAUSES)
    with ExitStack() as stack:
        kept = os.environ.get("SAVINGS_FOLDER")
        folder = Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="savings-")))
        record(causes, folder)
        return [_as_row(measured(cause, folder)) for cause in causes]


def _as_row(found: Measured) -> Row:
    ledger, row = found.said[-1]
    said = f"{row.kind} {row.share:.0f} %" if row else "no row of the cause"
    fix = short(found.prediction) if found.prediction else "nothing predicted"
    before_ms, after_ms = (1e3 * float(np.mean(found.step_s[when])) for when in ("always", "never"))
    text = f"{found.saved:.0f} % saved, {fix}; {before_ms:.1f} to {after_ms:.1f} ms; {said}; {text_of(sentence_of(ledger))}"
    return Row(found.cause, found.outside, "points outside", 0.0, spread=text)


def record(causes: Sequence[str], folder: Path) -> None:
    """One run after another, beside a collector. They are forked, so that none imports PyTorch again."""
    torch.optim.Adam(torch.nn.Linear(1, 1).parameters())  # it imports PyTorch's compiler, once for all
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "collector", "--log-dir", str(logs), "--data-dir", str(folder / "data")]
    forked = multiprocessing.get_context("fork")
    with subprocess.Popen(command, cwd=ROOT) as collector:
        try:
            time.sleep(2.0)
            for cause in causes:
                for turn in range(TURNS):
                    for when in ("never", "always"):
                        args = str(logs), f"{cause}-{when}-{turn}", cause, when, str(SECONDS + LED_IN_S)
                        program = forked.Process(target=main, args=args)
                        program.start()
                        program.join(10 * SECONDS + 60)
                        program.kill()
            time.sleep(6.0)
        finally:
            collector.terminate()


def measured(cause: str, folder: Path) -> Measured:
    store = open_store(folder / "data", write=False)
    try:
        steps = {
            when: [_steps(store, f"{cause}-{when}-{turn}") for turn in range(TURNS)] for when in ("never", "always")
        }
        stacks = Stacks(store)
        ledgers = [stacks.ledger(f"{cause}-always-{turn}", window) for turn, (_, window) in enumerate(steps["always"])]
    finally:
        store.close()
    said = [(ledger, _row_of(cause, ledger)) for ledger in ledgers]
    return Measured(cause, said, {when: [step_s for step_s, _ in its] for when, its in steps.items()})


def _row_of(cause: str, ledger: Ledger) -> KindRow | None:
    """That in which the cause has most time."""
    return max(_rows_of(cause, ledger), key=lambda row: _of_cause(cause, row), default=None)


def _rows_of(cause: str, ledger: Ledger) -> list[KindRow]:
    """Those whose lines name the cause's function, or the one of its kind."""
    if cause in KIND:
        return [row for row in ledger.rows if row.kind in KIND[cause]]
    return [row for row in ledger.rows if row.share >= kinds.SMALL.value and _of_cause(cause, row) > 0]


def _of_cause(cause: str, row: KindRow) -> float:
    if cause in KIND:
        return row.share
    return sum(line.share for line in row.lines if line.place.frame and line.place.frame.name.endswith(NAMED[cause]))


def _steps(store: Store, run: str) -> tuple[float, Interval]:
    """How long a step takes, and the window in which that was looked at."""
    series = next(row for row in store.series(run) if row.name == "train/loss" and ("rank", "1") not in row.labels)
    time_s = store.points([series.id], None, None)[series.id].place
    window = float(time_s[0]) + LED_IN_S, float(time_s[-1]) - 0.5
    inside = time_s[(time_s >= window[0]) & (time_s <= window[1])]
    return float(inside[-1] - inside[0]) / (len(inside) - 1), window


if __name__ == "__main__":
    raise SystemExit(reported(measure, __doc__ or ""))
