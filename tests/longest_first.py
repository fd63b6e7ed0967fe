"""The files of tests that take longest are begun first, so that in the end no worker is left alone with one of them.

What they took is kept in data/recorded/seconds.txt; a plugin of pytest writes it anew: `pytest -m "not long" -n 3 --dist loadfile -p tests.longest_first`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

KEPT = Path(__file__).parent / "data" / "recorded" / "seconds.txt"
MIN_S = 2.0  # of a file that has a line


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def read() -> dict[str, float]:
    """Seconds, by file; those of new and of quick files are not known."""
    rows = [line.split(" ", 1) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    return {file: float(seconds) for seconds, file in rows}


def in_order(items: list[pytest.Item], seconds: Mapping[str, float]) -> None:
    """In place; a file's tests stay together and in their order."""
    items.sort(key=lambda item: -seconds.get(file_of(item.nodeid), 0.0))


class _Kept:
    """Counts as the tests end, and writes when all have."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[file_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        rows = sorted(((seconds, file) for file, seconds in self._seconds.items() if seconds >= MIN_S), reverse=True)
        KEPT.write_text("".join(f"{seconds:.0f} {file}\n" for seconds, file in rows))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Kept(), "kept seconds")
