"""Open the JSONL file first and fork loader workers then, as a script without RunLog does: the workers inherit the open file."""

import json
import multiprocessing
import sys
import time
from pathlib import Path


def load() -> None:
    while True:
        time.sleep(0.05)


with Path(sys.argv[1]).open("a", buffering=1) as log:
    workers = [multiprocessing.get_context("fork").Process(target=load, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    print("workers", *(worker.pid for worker in workers), flush=True)
    for step in range(1_000_000):
        log.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 1.0}) + "\n")
        time.sleep(0.05)
