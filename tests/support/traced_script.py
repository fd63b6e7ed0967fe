"""A script whose steps are traced, and what its trace says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepseek.log import RunLog
from tests.support.tracing import look_at_once


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunLog]:
    look_at_once(monkeypatch)
    with RunLog(tmp_path, "run") as log:
        yield log


class Step:
    """One small training step; the lines of its methods are what a trace must name."""

    def __init__(self) -> None:
        self.weight = nn.Linear(64, 64)

    def __call__(self) -> None:
        self.forward(torch.ones(32, 64)).backward()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.weight(rows)).sum()


def lines_of(answer: dict[str, Any], name: str, *, backward: bool) -> set[str]:
    """The lines of this file by which an operator was called, as source text."""
    source = Path(__file__).read_text().splitlines()
    found = set()
    for stack, kernel, _, _, _, is_backward in answer["kernels"]:
        frames = [answer["frames"][number] for number in answer["stacks"][stack]]
        own = [source[line - 1].strip() for file, line, _ in frames if file == __file__]
        if kernel == name and bool(is_backward) == backward and own:
            found.add(own[-1])
    return found


def traced(log: RunLog) -> bool:
    found = log._tracing._trace
    return found is not None and found._profiler is not None


def raising(error: Exception) -> Callable[..., None]:
    def call(*_: Any, **__: Any) -> None:
        raise error

    return call
