"""Twelve planted causes: the ledger and blame beside what the program itself and torch.profiler say."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.blame.verdict import Verdict
from analysis.ledger.shares import Ledger
from dashboard.stacks.stacks import Stacks

from ..kernels import Intervals, Region, shares_with_card, shares_without_card
from ..lines import WAITS, Report
from ..plan import Setting
from ..planted import CAUSES, RUN, Cause, Timing, Turn
from ..watched import collecting, stored, training, wait_for_stacks

FILE = "causes.json"
WHOLE, SHORT = Timing(6.0, 8.5, 3.0), Timing(1.0, 3.8, 0.3)
IN_SHORT = ("python",)
BY_NAME = {cause.name: cause for cause in CAUSES}
BEGIN, END = 0.12, 0.06  # of a turn, left out
NEAR, NEAR_SHORT = 5.0, 15.0  # points; a short window has few samples


class Truth(NamedTuple):
    """What the training wrote at its end."""

    turns: list[Turn]
    regions: list[Region]
    kernels: Mapping[str, Intervals] | None  # by cause; None without a card

    def knows(self, turn: Turn) -> bool:
        return self.kernels is None or turn.cause in self.kernels


class Judged(NamedTuple):
    cause: Cause
    truth: Mapping[str, float]  # percent, by kind
    ledger: Ledger
    verdict: Verdict

    @property
    def found(self) -> dict[str, float]:
        return {row.kind: row.share for row in self.ledger.rows}

    @property
    def worst(self) -> float:
        """Points by which the worst kind is off. A thread that waits for the GIL waits for a core, too, each time that it looks for it."""
        truth, found = (together(shares) if self.cause.name == "gil" else shares for shares in (self.truth, self.found))
        return max(abs(truth.get(kind, 0.0) - found.get(kind, 0.0)) for kind in {*truth, *found})

    @property
    def named(self) -> str:
        """The function that blame names."""
        suspect = self.verdict.suspect
        return suspect.frame.name.rpartition(".")[2] if suspect else ""


def check(setting: Setting, report: Report) -> None:
    names = IN_SHORT if setting.short else tuple(cause.name for cause in CAUSES)
    with collecting(setting.scratch) as collector:
        with training(setting.scratch, SHORT if setting.short else WHOLE, names) as process:
            arrived = wait_for_stacks(collector.data, time.time())
            print("begin", file=process.stdin, flush=True)
            if code := process.wait():
                raise RuntimeError(f"the training ended with code {code}")
        truth = read(setting.scratch / "result.json")
        arrived &= wait_for_stacks(collector.data, window_of(truth.turns[-1])[1])
    with stored(collector.data) as store:
        stacks = Stacks(store)
        judged = [judged_of(stacks, truth, BY_NAME[turn.cause], turn) for turn in truth.turns if truth.knows(turn)]
    (setting.folder / FILE).write_text(json.dumps([as_json(row) for row in judged], indent=1))
    report.judge(
        arrived,
        "sampling",
        "Stacks of all of the training arrived." if arrived else "Stacks of the training are missing.",
    )
    for row in judged:
        judge(report, row, NEAR_SHORT if setting.short else NEAR)
    for turn in truth.turns:
        if not truth.knows(turn):
            report.line("FAIL", turn.cause, "torch.profiler has nothing of it.")
    for cause in CAUSES:
        if cause.needs_card and truth.kernels is None:
            report.skip(cause.name, f"Skipped: {WAITS}; on a CPU it is work like any other.")


def read(path: Path) -> Truth:
    written: dict[str, Any] = json.loads(path.read_text())
    kernels = written["kernels"]
    return Truth(
        [Turn(*row) for row in written["turns"]],
        [Region(*row) for row in written["regions"]],
        kernels and {row["cause"]: Intervals(np.array(row["start_s"]), np.array(row["end_s"])) for row in kernels},
    )


def judged_of(stacks: Stacks, truth: Truth, cause: Cause, turn: Turn) -> Judged:
    window = window_of(turn)
    regions = [region for region in truth.regions if region.end_s > window[0] and region.start_s < window[1]]
    gil = cause.name == "gil"
    if truth.kernels is None:
        shares = shares_without_card(regions, window, gil=gil)
    else:
        shares = shares_with_card(truth.kernels[cause.name], regions, window, gil=gil)
    return Judged(cause, shares, stacks.ledger(RUN, window), stacks.blame(RUN, window))


def window_of(turn: Turn) -> tuple[float, float]:
    took_s = turn.end_s - turn.begin_s
    return turn.begin_s + BEGIN * took_s, turn.end_s - END * took_s


def judge(report: Report, row: Judged, near: float) -> None:
    words = f"truth {listed(row.truth)}; ledger {listed(row.found) or 'nothing'} ({row.ledger.signal})"
    report.judge(
        row.worst <= near, f"{row.cause.name}, ledger", f"{words}; at most {near:g} apart.", row.worst, "points"
    )
    said = row.verdict.sentence or row.verdict.verdict
    report.judge(
        row.named == row.cause.function,
        f"{row.cause.name}, blame",
        f"{row.cause.function} is to blame; it says: {said}",
    )


def together(shares: Mapping[str, float]) -> dict[str, float]:
    """Waits for the GIL and for a core as one."""
    others = {kind: share for kind, share in shares.items() if kind not in ("gil", "cpu_taken")}
    return {**others, "gil": shares.get("gil", 0.0) + shares.get("cpu_taken", 0.0)}


def listed(shares: Mapping[str, float]) -> str:
    """`busy 60.1, data 39.2`: those of a point and more."""
    return ", ".join(
        f"{kind} {share:.1f}" for kind, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= 1
    )


def as_json(row: Judged) -> dict[str, object]:
    verdict = row.verdict
    blame = {"verdict": verdict.verdict, "sentence": verdict.sentence, "named": row.named, "excess_s": verdict.excess_s}
    return {
        "cause": row.cause._asdict(),
        "truth": dict(row.truth),
        "ledger": row.found,
        "signal": row.ledger.signal,
        "blame": blame,
    }
