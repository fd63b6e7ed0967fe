"""The checks in their order: what each needs, and how long it may take. All of them end within nine minutes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from .lines import Report

MAX_S = 540.0
STORE = (
    "msgspec",
    "orjson",
    "prometheus_client",
    "psutil",
    "re2",
    "watchdog",
    "yaml",
    "zstandard",
)  # what the collector and its store import


class Setting(NamedTuple):
    """How a check is run."""

    folder: Path  # what is kept
    scratch: Path  # what is not
    short: bool  # to see that it runs: its numbers say little

    def seconds(self, whole: float, short: float) -> float:
        return short if self.short else whole


Check = Callable[[Setting, Report], None]


class CheckPlan(NamedTuple):
    """A check is the module of its name in checks/."""

    name: str
    most_s: float  # then it is ended, and fails
    needs: tuple[str, ...]  # modules; without one of them it is skipped

    def function(self) -> Check:
        found: Check = import_module(f"tests.gpu.checks.{self.name}").check
        return found


CHECKS = (
    CheckPlan("machine", 25.0, ()),
    CheckPlan("counters", 85.0, ("pynvml",)),
    CheckPlan("smi", 25.0, ("pynvml",)),
    CheckPlan("precision", 85.0, ("torch", "numpy")),
    CheckPlan("overhead", 70.0, ("torch", "numpy", "pynvml", *STORE)),
    CheckPlan("trace", 25.0, ("torch", "numpy", *STORE)),
    CheckPlan("causes", 225.0, ("torch", "numpy", "pynvml", *STORE)),
)
