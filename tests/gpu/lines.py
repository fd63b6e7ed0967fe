"""What a check finds: lines of PASS, FAIL or SKIP with a number and a sentence, kept one by one, so that a check that is ended loses none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Verdict: TypeAlias = Literal["PASS", "FAIL", "SKIP"]

LINES = "lines.jsonl"
WAITS = "it waits for a card that PyTorch can use"


class Line(NamedTuple):
    check: str
    what: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    unit: str = ""

    def text(self) -> str:
        """`PASS  counters: period of the driver's samples  167 ms  They are ...`"""
        number = "" if self.value is None else f"  {self.value:.4g} {self.unit}".rstrip()
        return f"{self.verdict}  {self.check}: {self.what}{number}  {self.sentence}"


class Report:
    """Of one check."""

    def __init__(self, folder: Path, check: str) -> None:
        self.folder, self.check = folder, check

    def line(self, verdict: Verdict, what: str, sentence: str, value: float | None = None, unit: str = "") -> None:
        append(self.folder, Line(self.check, what, verdict, sentence, value, unit))

    def judge(self, good: bool, what: str, sentence: str, value: float | None = None, unit: str = "") -> None:
        self.line("PASS" if good else "FAIL", what, sentence, value, unit)

    def skip(self, what: str, sentence: str = f"Skipped: {WAITS}.") -> None:
        self.line("SKIP", what, sentence)


def append(folder: Path, line: Line) -> None:
    """Print it and keep it."""
    print(line.text(), flush=True)
    with (folder / LINES).open("a") as file:
        file.write(json.dumps(line._asdict()) + "\n")


def read(folder: Path) -> list[Line]:
    """Those that stand there; a line that was cut is left out."""
    path, found = folder / LINES, []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(Line(**json.loads(text)))
        except (ValueError, TypeError):
            continue
    return found


def last_line(lines: Sequence[Line]) -> str:
    """`PASS: 31 lines hold, 4 were skipped.`"""
    failed, skipped = (sum(line.verdict == verdict for line in lines) for verdict in ("FAIL", "SKIP"))
    held = len(lines) - failed - skipped
    if not held:
        failed = max(failed, 1)  # nothing was checked
    counts = f"{held} lines hold, {skipped} were skipped"
    return f"FAIL: {failed} of {len(lines)} lines; {counts}." if failed else f"PASS: {counts}."
