"""Train one model twelve times, over learning rates and batch sizes, to have runs that can be compared.

python -m trainer.sweep                                   # 12 runs of the small GPT, a few minutes on a CPU
python -m trainer.sweep --steps 100 --task resnet50       # whatever follows goes to each training
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1)  # the last one is too high: its loss stays up, or is lost
BATCHES = (4, 8)


def main(arguments: list[str] | None = None) -> int:
    """One training after the other; the exit code is the number of those that failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.sweep", description="Train one model twelve times.")
    parser.add_argument("--log-dir", type=Path, default=Path("logs"), help="folder of all runs (default: ./logs)")
    parser.add_argument("--steps", type=int, default=200, help="of each run (default: 200)")
    options, others = parser.parse_known_args(arguments)
    failed = 0
    for number, (name, flags) in enumerate(trainings(), 1):
        print(f"{number} of {len(RATES) * len(BATCHES)}: {name}", flush=True)
        command = [sys.executable, "-m", str(__package__), "--log-dir", str(options.log_dir), "--run", name]
        command += ["--steps", str(options.steps), *flags, *others]
        try:
            failed += subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0
        except KeyboardInterrupt:
            return 130
    return failed


def trainings() -> Iterator[tuple[str, list[str]]]:
    """Names of the runs, and their flags."""
    for rate, batch in product(RATES, BATCHES):
        yield f"sweep/lr{rate:g}-batch{batch}", ["--lr", f"{rate:g}", "--batch", str(batch)]


if __name__ == "__main__":
    sys.exit(main())
