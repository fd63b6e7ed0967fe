"""The ledger against real cards: steps of traces, repeated in random order for a minute and seen as NVML and our sampler would have seen them.

python -m benchmarks.ledger_traces                                  some 20 s
LEDGER_TRACES=FOLDER python -m benchmarks.ledger_traces             of another folder of *.json.gz

Each row is how far the ledger is from the trace, in points of the window, and what both say. What a row cannot show: spans are of a second,
so a minute of them is more regular than a training; profiling stretches idle time; of traces without stacks the main thread's stack is
the usual one of what it was at, so a line means nothing there. Tests of `tests/analysis/test_ledger_traces.py` use the same.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from analysis.history import History
from analysis.ledger.ledger import ledger
from analysis.ledger.shares import Ledger
from analysis.traces.idle import IdleCause
from benchmarks.report import Row, run
from collectors.store.engines import open_store
from tests.support.judged import T0
from tests.support.tiled_traces import RUN, TiledRun, read, tiled

FOLDER = Path(os.environ.get("LEDGER_TRACES", Path(__file__).parents[2] / "shared" / "traces" / "pytorch"))
SECONDS, EDGES_S, SEEDS = 60.0, (5.0, 2.0), (1, 2, 3)
OF_CAUSE = {IdleCause.DATA: "data", IdleCause.COLLECTIVE: "collective", IdleCause.SYNC: "sync"}
COPIES, HOST, BUSY = ("transfer", "copy"), "host", "busy"
KINDS = (BUSY, "copies", *OF_CAUSE.values(), HOST)


def measure() -> list[Row]:
    return [row for path in sorted(FOLDER.glob("*.json.gz")) for row in rows_of(path)]


def rows_of(path: Path) -> Iterator[Row]:
    steps = read(path)
    if not steps:
        return  # no whole step between the first and the last
    pairs = [shares_of(tiled(steps, SECONDS, seed)) for seed in SEEDS]
    for kind in KINDS:
        true, found = (statistics.mean(pair[side][kind] for pair in pairs) for side in (0, 1))
        if max(true, found) >= 0.5:
            yield Row(
                f"{path.name.removesuffix('.json.gz')}: {kind}",
                abs(found - true),
                "points",
                spread=f"trace {true:.1f}, ledger {found:.1f} %",
            )


def shares_of(one: TiledRun) -> tuple[dict[str, float], dict[str, float]]:
    """In percent of the window: by the trace, and by the ledger."""
    found = ledger_of(one)
    true = dict.fromkeys(KINDS, 0.0) | {BUSY: 100 * one.busy, "copies": 100 * one.copies}
    for cause, share in zip(IdleCause, one.idle.tolist(), strict=True):
        true[OF_CAUSE.get(cause, HOST)] += 100 * share
    said = dict.fromkeys(KINDS, 0.0)
    for row in found.rows:
        said["copies" if row.kind in COPIES else row.kind if row.kind in KINDS else HOST] += row.share
    return true, said


def ledger_of(one: TiledRun) -> Ledger:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_store(Path(folder), write=True)
        writer.append(one.records)
        writer.close()
        store = open_store(Path(folder), write=False)
        try:
            return ledger(History(store, RUN), (T0 + EDGES_S[0], T0 + one.seconds - EDGES_S[1]), rank=0)
        finally:
            store.close()


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
