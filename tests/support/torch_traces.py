"""Writes small traces in the format of PyTorch's profiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

US = 1_000.0  # between two launches of the traces made here


def recorded(name: str) -> Path:
    """A trace of a real card, as Meta and PyTorch publish them; skips where they were not downloaded."""
    for folder in ROOT.parents:
        if (file := folder / "shared" / "traces" / "pytorch" / f"{name}.json.gz").exists():
            return file
    pytest.skip(f"{name} is not here")


class TraceWriter:
    """Events of one process on one card; times are microseconds."""

    def __init__(self, **about: Any) -> None:
        self.about, self.events = about, list[dict[str, Any]]()
        self._correlation = 0

    def add(self, category: str, name: str, start: float, duration: float, thread: int = 1, **args: Any) -> None:
        self.events.append(
            {
                "ph": "X",
                "cat": category,
                "name": name,
                "ts": start,
                "dur": duration,
                "pid": 7,
                "tid": thread,
                "args": args,
            }
        )

    def step(self, number: int, start: float, duration: float) -> None:
        self.add("user_annotation", f"ProfilerStep#{number}", start, duration)

    def launch(
        self,
        called: float,
        start: float,
        duration: float,
        name: str = "gemm",
        category: str = "kernel",
        stack: str = "",
        device: int = 0,
        call: str = "cudaLaunchKernel",
    ) -> None:
        """A call that takes 5 us, by an operator with the stack, and what it started on the card."""
        self._correlation += 1
        number = self._correlation
        args = {"External id": number}
        self.add("cpu_op", "aten::mm", called - 1, 7, **args, **({"Call stack": stack} if stack else {}))
        self.add("cuda_runtime", call, called, 5, correlation=number, **args)
        self.add(category, name, start, duration, thread=20, device=device, stream=7, correlation=number, **args)

    def data(self) -> bytes:
        return json.dumps({"schemaVersion": 1, **self.about, "traceEvents": self.events}).encode()
