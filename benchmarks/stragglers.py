"""What a replay of a job's operations costs, and how far its numbers are from published ones.

    python -m benchmarks.stragglers [FOLDER]

`FOLDER` holds jobs of github.com/ByteDance-Seed/StragglerAnalysis: `trace-*.parquet`, each with its `result-*.json`, and where it has them
`mw-*.json` and `ms-*.json`. Without it only the cost is measured, of ten million operations of a pipeline of four stages.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import report
from tests.conftest import ROOT

ROWS = 10_000_000
STAGES, MICROBATCHES, DP_RANKS = 4, 16, 32


def pipeline() -> pd.DataFrame:
    """All forward passes, then all backward ones, of drawn lengths."""
    rows: list[tuple[Any, ...]] = []
    for stage in range(STAGES):
        for number in range(MICROBATCHES):
            forth, back = float(stage + number), float(4 * STAGES + MICROBATCHES - stage + 2 * number)
            rows.append((stage, "forward-compute", forth, 1.0, number, 0, number, stage))
            rows.append((stage, "backward-compute", back, 2.0, number, 0, number, stage))
            ends = (
                (stage > 0, "forward-recv", forth, "backward-send", back + 2),
                (
                    stage < STAGES - 1,
                    "backward-recv",
                    back,
                    "forward-send",
                    forth + 1,
                ),
            )
            for has_peer, first, first_s, second, second_s in ends:
                if has_peer:
                    rows.append((stage, first, first_s, 0.0, number, -1, -1, -1))
                    rows.append((stage, second, second_s, 0.0, number, -1, -1, -1))
        for place, kind in enumerate(("grads-reduce-scatter", "optimizer-clip-main-grad", "optimizer")):
            rows.append((stage, kind, float(4 * STAGES + 3 * MICROBATCHES + place), 1.0, 0, 0, -1, -1))
    names = ["stage", "optype", "start_ts", "duration", "seq_id", "mc", "mb_id", "gmc"]
    replica = pd.DataFrame(rows, columns=names).astype({"optype": "category", "stage": "int32", "seq_id": "int32"})
    replicas = ROWS // len(replica) // DP_RANKS * DP_RANKS
    table = replica.loc[np.tile(np.arange(len(replica)), replicas)].reset_index(drop=True)
    table["dp_rank"] = np.repeat(np.arange(replicas, dtype=np.int32) % DP_RANKS, len(replica))
    table["step"] = np.repeat(np.arange(replicas, dtype=np.int32) // DP_RANKS, len(replica))
    table["rank"] = table["dp_rank"] * STAGES + table["stage"]
    table["duration"] *= np.random.default_rng(0).uniform(0.5, 1.0, len(table))
    return table


def opened(file: Path) -> tuple[dict[str, Any], float, float]:
    """What the command says, its seconds, and MB of the largest process until now."""
    begun_s = time.perf_counter()
    command = [sys.executable, str(ROOT / "app.py"), "open", str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took_s = time.perf_counter() - begun_s
    return json.loads(done.stdout), took_s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def pairs_of(found: dict[str, Any], published: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Ours and theirs. A number that only one of both has is an error."""

    def paired(ours: dict[str, float], theirs: dict[str, float]) -> Iterable[tuple[float, float]]:
        if ours.keys() != theirs.keys():
            raise ValueError(f"not the same: {sorted(ours.keys() ^ theirs.keys())[:5]}")
        return ((ours[key], theirs[key]) for key in theirs)

    steps = dict.fromkeys(found["measured_s"], found["ideal_s"])
    pairs = {
        "of the job": [
            (found["gaps"], published["launch_slowdown"]),
            (found["slowdown"], published["blocking_slowdown"]),
        ],
        "lengths of steps": [
            *paired(found["measured_s"], published["step_t_base"]),
            *paired(found["replayed_s"], published["step_t_nodelay"]),
            *paired(steps, published["step_t_noblk"]),
        ],
    }
    for ours, theirs in (("dp_rank", "dp_rank"), ("stage", "stage"), ("type", "optype")):
        whole, by_step = (published[f"blocking_decompose_by_{theirs}{end}"] for end in ("", "_per_step"))
        if whole is not None:  # the artifact has none below a slowdown of 1.03
            pairs[f"by {theirs}"] = list(paired(found[f"by_{ours}"], whole))
            pairs[f"by {theirs} and step"] = [
                pair
                for step, values in by_step.items()
                for pair in paired({name: row[step] for name, row in found[f"by_{ours}_by_step"].items()}, values)
            ]
    return pairs


def published_rows(folder: Path) -> list[report.Row]:
    rows = []
    for file in sorted(folder.glob("trace-*.parquet")):
        job = file.stem.removeprefix("trace-")
        found, took_s, _ = opened(file)
        rows.append(report.Row(f"{job}: the command", took_s, "s", spread=found["sentence"]))
        groups = pairs_of(found, json.loads((folder / f"result-{job}.json").read_text()))
        for name, share in (("mw", "slowest_share"), ("ms", "last_stage_share")):
            if (path := folder / f"{name}-{job}.json").exists():
                groups[f"M_{name[1:].upper()}"] = [(found[share], json.loads(path.read_text())["rem"])]
        for group, pairs in groups.items():
            away = [abs(ours / theirs - 1) for ours, theirs in pairs]
            near = f"{sum(one <= 0.01 for one in away)} of {len(away)} within 1 %"
            rows.append(report.Row(f"{job}: {group}, most away", 100 * max(away), "%", 1.0, spread=near))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("folder", nargs="?", type=Path)
    parsed, left = parser.parse_known_args()
    sys.argv[1:] = left

    def measure() -> list[report.Row]:
        rows = published_rows(parsed.folder) if parsed.folder else []
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pipeline.parquet"
            table = pipeline()
            table.to_parquet(file)
            count = len(table)
            del table
            found, took_s, memory_mb = opened(file)
        what = f"{count:,} operations, {len(found['measured_s']):,} steps"
        return [
            *rows,
            report.Row("ten million operations: the command", took_s, "s", 60, spread=what),
            report.Row("memory of its largest process", memory_mb, "MB", 4_096),
        ]

    return report.run(measure, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
