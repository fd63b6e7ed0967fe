"""What traced steps cost a training: a look for a request, the step that is counted, the traced steps, their end; and what is written.

    python -m benchmarks.tracing

A model of six layers on one thread of the CPU, whose steps are as short as they get: of a larger one a smaller share is the profiler's.
Times are processor times of the thread, which others on the machine change little.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import torch
from torch import nn

from benchmarks import report
from deepseek.log import step_trace
from deepseek.log.step_trace import MAX_CALLS, CallCount, StepProfiler, summary_of
from deepseek.log.trace_requests import TraceFolder

LOOKS, STEPS, TRACED = 2_000, 60, 3


class Block(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + self.narrow(torch.relu(self.wide(rows)))


def measure() -> list[report.Row]:
    torch.set_num_threads(1)
    step = training()
    with tempfile.TemporaryDirectory() as folder:
        return [*looks(Path(folder)), *counting(), *traces(step, Path(folder))]


def training() -> Callable[[], None]:
    model = nn.Sequential(*[Block() for _ in range(6)])
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        model(torch.randn(32, 64)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def looks(log_dir: Path) -> list[report.Row]:
    """Once a second, in the writer thread."""
    folder = TraceFolder(log_dir / "run", "run", 0)
    missing = timed(folder.look, LOOKS)
    folder.path.mkdir(parents=True, mode=0o700)
    return [
        report.Row("a look for a request, none was ever made", statistics.median(missing) * 1e6, "us", 20),
        report.Row("a look for a request, none is there", statistics.median(timed(folder.look, LOOKS)) * 1e6, "us", 50),
    ]


def counting() -> list[report.Row]:
    """Of the step before the traced ones."""
    count = CallCount(MAX_CALLS)
    plain_s = min(timed(lambda: calls(MAX_CALLS - 1), 3))
    count.begin()
    began_s = thread_time()
    calls(MAX_CALLS - 10)
    counted_s = thread_time() - began_s
    count.end()
    return [report.Row(f"counting {MAX_CALLS:,} calls", (counted_s - plain_s) * 1e3, "ms", 500)]


def traces(step: Callable[[], None], folder: Path) -> list[report.Row]:
    plain_s = statistics.median(timed(step, STEPS))
    profiler = StepProfiler(with_stacks=True)
    traced_s = statistics.median(timed(step, TRACED))
    began_s = thread_time()
    profiler.stop()
    stopped_s = thread_time() - began_s
    step_trace.PAUSE_S = 0.0
    began_s = thread_time()
    found = summary_of(profiler.result, on_gpu=False)
    summed_s = thread_time() - began_s
    events = int(found["events"])
    chrome = folder / "trace.json"
    profiler._profile.export_chrome_trace(str(chrome))
    written = len(json.dumps(found, separators=(",", ":")))
    return [
        report.Row("a traced step", traced_s * 1e3, "ms", baseline=plain_s * 1e3),
        report.Row("an event while traced", (traced_s - plain_s) * TRACED / events * 1e6, "us", 5),
        report.Row("an event at the end, in the training thread", stopped_s / events * 1e6, "us", 20),
        report.Row("an event afterwards, in a thread of its own", summed_s / events * 1e6, "us", 50),
        report.Row(f"the file of {TRACED} steps", written / 1e3, "kB", 4000, baseline=chrome.stat().st_size / 1e3),
    ]


def calls(number: int) -> None:
    for _ in range(number):
        nothing()


def nothing() -> None:
    pass


def timed(call: Callable[[], Any], times: int) -> list[float]:
    """Seconds of the processor, of each."""
    found = []
    for _ in range(times):
        began_s = thread_time()
        call()
        found.append(thread_time() - began_s)
    return found


if __name__ == "__main__":
    sys.exit(report.run(measure, "What traced steps cost a training."))
