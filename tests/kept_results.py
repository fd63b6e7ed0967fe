"""Keep the last result of `make test-long` in benchmarks/results/: a row for each file of tests, and one for each bad input.

A plugin of pytest: `pytest -m long -p tests.kept_results --keep-in FILE`. A run of only some files replaces only their rows.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.report import hardware

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
ROW = "row"  # the property under which a test hands in a row of its own
HEAD = ("| tests | passed | failed | skipped | seconds | date |", "|---|---|---|---|---|---|")
POISONS = (
    "| bad input | latest point s | slowest /runs s | both processes MB | took s | |",
    "|---|---|---|---|---|---|",
)


class Found(NamedTuple):
    """What one file of tests said, and the rows that its tests handed in."""

    row: str
    own: dict[str, str]  # by test


class Kept:
    """Counts as the tests end, and writes when all have."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: dict[str, float] = defaultdict(float)
        self._own: dict[str, dict[str, str]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, test = report.nodeid.partition("::")
        self._seconds[file] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self._counts[file][report.outcome] += 1
        self._own[file].update((test, str(value)) for name, value in report.user_properties if name == ROW)

    def pytest_sessionfinish(self) -> None:
        today = datetime.date.today()
        found = read(self._path)
        for file, counts in self._counts.items():
            numbers = " | ".join(str(counts[outcome]) for outcome in ("passed", "failed", "skipped"))
            own = (found[file].own if file in found else {}) | self._own[file]
            found[file] = Found(f"| `{file}` | {numbers} | {self._seconds[file]:.0f} | {today} |", own)
        if self._counts:
            self._path.write_text(document(found))


def document(found: dict[str, Found]) -> str:
    """Markdown; the last line holds what `read` needs."""
    own = [row for file in sorted(found) for row in found[file].own.values()]
    parts = [
        "# `make test-long`, the last result",
        "",
        hardware(),
        "",
        *HEAD,
        *(found[file].row for file in sorted(found)),
    ]
    parts += ["", *POISONS, *own] if own else []
    return "\n".join([*parts, "", f"<!-- {json.dumps(found)} -->", ""])


def read(path: Path) -> dict[str, Found]:
    """What was kept before; {} where nothing was."""
    if not path.exists():
        return {}
    kept = re.search(r"^<!-- (.*) -->$", path.read_text(), re.MULTILINE)
    return {file: Found(*parts) for file, parts in json.loads(kept[1]).items()} if kept else {}


def machine() -> str:
    """`AMD EPYC 9B14, 2 cores, ... -> amd-epyc-2-cores`"""
    model, cores, *_ = re.sub(r"\(\w+\)", "", hardware()).lower().split(", ")
    return "-".join([*model.split()[:2], *cores.split()])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep-in", type=Path, default=RESULTS / f"test-long_{machine()}.md", help="the file of the last result"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Kept(config.getoption("--keep-in")), "kept results")
