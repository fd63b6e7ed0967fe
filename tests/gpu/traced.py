"""A training that is to be traced, as a process of its own: `python -m tests.gpu.traced LOGS RESULT`, until its standard input is closed.

Each step multiplies MULTIPLIED matrices in one function and adds ADDED numbers in another, so that what a trace counts is known. It writes
`{"device", "multiply_s"}`: how long the multiplications of a step take where nothing traces them, by the card's own clock where there is one.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from deepseek.log import RunLog

RUN = "traced"
MULTIPLIED, ADDED = 4, 50
MATRIX, MATRIX_CPU = 4096, 384
TIMED = 20  # steps


def multiply(x: torch.Tensor) -> torch.Tensor:
    for _ in range(MULTIPLIED):
        y = x @ x
    return y


def add_up(x: torch.Tensor) -> torch.Tensor:
    for _ in range(ADDED):
        x = x + 1
    return x


def seconds_of(call: Callable[[], object], device: str) -> float:
    if device == "cpu":
        begun_s = time.perf_counter()
        call()
        return time.perf_counter() - begun_s
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def wait_for_end(ends: threading.Event) -> None:
    sys.stdin.read()
    ends.set()


def main(logs: str, result: Path) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = MATRIX if device == "cuda" else MATRIX_CPU
    matrix = torch.rand(size, size, device=device, dtype=torch.float16 if device == "cuda" else torch.float32)
    numbers = torch.zeros(1000, device=device)
    multiply(matrix)
    took = [seconds_of(lambda: multiply(matrix), device) for _ in range(TIMED)]
    result.write_text(json.dumps({"device": device, "multiply_s": statistics.median(took)}))
    ends = threading.Event()
    threading.Thread(target=wait_for_end, args=(ends,), daemon=True).start()
    with RunLog(logs, RUN) as log:
        print("ready", flush=True)
        step = 0
        while not ends.is_set():
            multiply(matrix)
            total = add_up(numbers)
            log.scalars(step, {"loss": float(total.mean())})
            step += 1
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
