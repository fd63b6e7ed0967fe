"""One of several ranks; only rank 0 writes a file."""

import json
import os
import sys
import time
from pathlib import Path

RANK = int(os.environ["RANK"])
with Path(sys.argv[1] if RANK == 0 else os.devnull).open("a", buffering=1) as log:
    for step in range(1_000_000):
        log.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1.0}) + "\n")
        time.sleep(0.05)
