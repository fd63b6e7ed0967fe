"""Run every benchmark, one process each, so that none disturbs another's figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import leash

FOLDERS = ("browser", "collecting", "judging", "storing", "training")
LEFT_OUT = {"__init__", "calibration"}


def main() -> int:
    """The exit code is 1 when any budget is missed."""
    leash.fasten()
    failed = False
    for path in sorted(path for folder in FOLDERS for path in Path(__file__).with_name(folder).glob("*.py")):
        if path.stem not in LEFT_OUT:
            print(f"\n## {path.stem}\n", flush=True)
            failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{path.parent.name}.{path.stem}"]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
