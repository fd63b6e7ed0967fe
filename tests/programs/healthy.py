"""A healthy run: ten lines a second, each stamped when it is written, and a little work in `train_step`.

python healthy.py <log folder> <run>
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deepseek.log import RunLog

PERIOD_S, WORK_S = 0.1, 0.01


def train_step(until_s: float) -> int:
    turns = 0
    while time.monotonic() < until_s:
        turns += 1
    return turns


def main(log_dir: str, run: str) -> None:
    due_s, step = time.monotonic(), 0
    with RunLog(log_dir, run=run) as log:
        while True:
            train_step(time.monotonic() + WORK_S)
            log.scalars(step, {"train/loss": 2.0})
            step, due_s = step + 1, due_s + PERIOD_S
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:3])
