"""How late rules look when many busy runs share what judging may take of a core: ten runs at 10 steps a second with their stacks.

python -m benchmarks.busy_runs            about two minutes; the clock is moved, the CPU time is real
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from analysis.findings.collector import SHARE
from analysis.findings.rules import BY_NAME
from collectors.records import Record
from collectors.store.engines import open_store
from tests.planted.replays import recorded
from tests.support.judged import GIB, HOSTS, T0, JudgedRuns, machine_point, point

from .report import Row, run

STEPS_PER_S, PIECE_S = 10, 5
SECONDS, PLANTED_S = 420.0, (150.0, 340.0)
ROUNDS = int(os.environ.get("BUSY_ROUNDS", "2"))
GRACE_S = 5.0
KIND = "lock_bound"  # the recording; half of the runs have its fault, the others a loss that is not a number


class BusyResult(NamedTuple):
    late: dict[str, list[float]]  # by rule, seconds
    slack: float  # the largest
    cpu_pct: float


def measure() -> list[Row]:
    rows: list[Row] = []
    for runs in (1, 10, 30):
        found = [judged(runs, seed) for seed in range(ROUNDS if runs > 1 else 4 * ROUNDS)]
        for rule in ("nan_lasting", KIND):
            late = sorted(seconds for each in found for seconds in each.late.get(rule, []))
            needs_s = BY_NAME[rule].needs_s
            p95 = late[min(len(late) - 1, math.ceil(0.95 * len(late)) - 1)] - needs_s
            spread = f"{len(late)} found, median {late[len(late) // 2]:.1f} s after the cause, needs {needs_s:g} s"
            rows.append(
                Row(
                    f"`{rule}`, {runs} busy runs: p95 beyond needs",
                    p95,
                    "s",
                    GRACE_S if runs <= 10 else None,
                    spread=spread,
                )
            )
        slack = max(each.slack for each in found)
        rows.append(Row(f"judging {runs} busy runs", max(each.cpu_pct for each in found), "% of a core", spread=f"rules look up to {slack:.1f} times less often"))  # fmt: skip
    return rows


def judged(runs: int, seed: int) -> BusyResult:
    dice = random.Random(seed)
    planted = {f"run-{number}": T0 + dice.uniform(*PLANTED_S) for number in range(runs)}
    recording = recorded(KIND)
    healthy = [profile for profile in recording.profiles if -25 <= profile.start_s < 0]
    ill = [profile for profile in recording.profiles if 0 < profile.start_s < 55]
    slack, cpu_s = 1.0, 0.0
    with tempfile.TemporaryDirectory(prefix="busy-runs-") as folder:
        store = open_store(Path(folder), write=True)
        judging = JudgedRuns(store, stored=False, share=SHARE, line_of=recording.line_of)
        judging.tolerant = True
        for name in planted:
            judging.begin(name)

        def second(now_s: float) -> Iterator[Record]:
            yield machine_point(
                now_s, HOSTS, {"host/memory_used_bytes": 8.0 * GIB, "host/memory_total_bytes": 24.0 * GIB}
            )
            for number, (name, planted_s) in enumerate(planted.items()):
                is_lock, is_ill = number % 2 == (seed % 2), now_s >= planted_s
                per_s = STEPS_PER_S * (0.6 if is_lock and is_ill else 1.0)
                before = int((now_s - T0) * STEPS_PER_S)
                for place in range(round(per_s)):
                    loss = math.nan if is_ill and not is_lock else 1 + 0.1 * dice.random()
                    values = {"train/loss": loss, "train/grad_norm": 1 + dice.random(), "train/lr": 1e-3}
                    yield point(name, now_s - 1 + place / per_s, before + place, values)
                if int(now_s - T0) % PIECE_S == number % PIECE_S:
                    pieces = ill if is_lock and is_ill else healthy
                    yield pieces[int(now_s - T0) // PIECE_S % len(pieces)]._replace(run=name, start_s=now_s - PIECE_S)

        for _ in range(round(SECONDS / 10)):
            judging.go_on(10.0, second)
            slack = max(slack, judging.collector.slack)
        cpu_s = sum(judging.collector.costs().values())
        late: dict[str, list[float]] = {}
        for number, (name, planted_s) in enumerate(planted.items()):
            rule = KIND if number % 2 == (seed % 2) else "nan_lasting"
            first = [judging.first_s[found.id] - planted_s for found in judging.of(rule) if found.run == name]
            late.setdefault(rule, []).append(min(first, default=math.inf))
        store.close()
    return BusyResult(late, slack, 100 * cpu_s / SECONDS)


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
