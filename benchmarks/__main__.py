"""Run every benchmark, one process each, so that none disturbs another's figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import leash

NOT_BENCHMARKS = {
    "__init__",
    "__main__",
    "report",
    "calibration",
    "first_minutes",
    "ratios",
    "replayed_cluster",
    "replayed_policies",
    "replayed_traces",
}


def main() -> int:
    """The exit code is 1 when any budget is missed."""
    leash.fasten()
    failed = False
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in NOT_BENCHMARKS:
            print(f"\n## {path.stem}\n", flush=True)
            failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{path.stem}"]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
