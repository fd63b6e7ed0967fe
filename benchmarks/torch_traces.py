"""Traces of PyTorch's profiler: our shares beside HolisticTraceAnalysis's, and what reading costs.

    python -m benchmarks.torch_traces FILE... [--python PATH]

`--python` is an interpreter that has HolisticTraceAnalysis 0.5 installed (`pip install HolisticTraceAnalysis`), whose pandas is another
one than ours. Without it only our own shares are shown. Nothing here is fitted: both read the same files.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from analysis.traces.device import Work
from analysis.traces.summary import TraceSummary, summary_of_file
from benchmarks import report

REFERENCE = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from hta.trace_analysis import TraceAnalysis
found = TraceAnalysis(trace_files={0: sys.argv[1]}, trace_dir="")
row = found.get_temporal_breakdown(visualize=False).iloc[0]
overlap = found.get_comm_comp_overlap(visualize=False).iloc[0]["comp_comm_overlap_pctg"]
kernels, _ = found.get_gpu_kernel_breakdown(visualize=False, include_memory_kernels=True)
sums = {"COMMUNICATION": 0.0, "MEMORY": 0.0}
for kind, length in zip(kernels["kernel_type"], kernels["sum"]):
    for one in sums:
        sums[one] += float(length) if one in kind else 0.0
span = float(row["kernel_time(us)"])
print(json.dumps({"idle": float(row["idle_time_pctg"]), "compute": float(row["compute_time_pctg"]), "overlap": None if overlap != overlap
      else float(overlap), "communication": 100 * sums["COMMUNICATION"] / span, "memory": 100 * sums["MEMORY"] / span}))
"""
SHARES = ("idle", "compute", "communication", "memory", "overlap")


def ours(found: TraceSummary) -> dict[str, float | None]:
    """Percent of the span; of the overlap of the communication. Of the first card."""
    shares = found.cards[0].shares
    overlap = shares.overlap
    return {
        "idle": 100 * shares.idle,
        "compute": 100 * shares.compute,
        "communication": 100 * shares.of(Work.COMMUNICATION) / shares.span_us,
        "memory": 100 * shares.of(Work.MEMORY) / shares.span_us,
        "overlap": None if overlap is None else 100 * overlap,
    }


def theirs(python: str, file: Path) -> dict[str, float | None]:
    with tempfile.TemporaryDirectory() as folder:  # it writes beside the file
        copy = Path(folder) / file.name
        copy.write_bytes(file.read_bytes())
        done = subprocess.run([python, "-c", REFERENCE, str(copy)], capture_output=True, text=True, check=True)
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows_of(file: Path, python: str | None) -> list[report.Row]:
    begun_s = time.perf_counter()
    found = summary_of_file(file.resolve(), file.resolve().parent)
    took_s = time.perf_counter() - begun_s
    mine, reference = ours(found), theirs(python, file) if python else {}
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
    name = file.name.removesuffix(".gz").removesuffix(".json")
    rows = [report.Row(f"{name}: read in", took_s, "s", spread=f"{counts}; {len(found.steps)} steps")]
    for share in SHARES:
        own, other = mine[share], reference.get(share)
        if own is not None:
            away = "" if other is None else f"{own - other:+.2f} points"
            rows.append(report.Row(f"{name}: {share}", own, "%", baseline=other, spread=away))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--python")
    parsed, left = parser.parse_known_args()
    sys.argv[1:] = left

    def measure() -> list[report.Row]:
        rows = [row for file in parsed.files for row in rows_of(file, parsed.python)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return [*rows, report.Row("memory of this process at most", peak, "MB", 500)]

    return report.run(measure, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
