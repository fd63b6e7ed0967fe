"""How often the answer to a window is right, and what its confidence is worth, on programs that know nothing of the dashboard.

python -m benchmarks.calibration record FOLDER NAME...     run these programs at the same time beside a collector, and keep its store
                                                           (3 minutes, units of 20 s and 60 s up to 9; the machine must be idle)
python -m benchmarks.calibration evaluate FOLDER...        ask for windows drawn at random from recordings that were kept;
        [--windows N] [--csv FILE] [--table FILE]          rules can change between two evaluations of one recording
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.blame.verdict import Verdict
from analysis.stacks.fold import FlameTree
from analysis.stacks.threads import ThreadSelection
from dashboard.api.blame import verdict_answer
from dashboard.stacks.stacks import NORMAL
from tests.support import leash
from tests.support.plain import PROGRAMS, long_stretches, record, stretches
from tests.support.plain_truth import Drawn, PlainRecording, is_right

from .report import hardware

SETTLE_S = 28.0
WINDOWS = 30  # a program
NOT_COLUMNS = {"sentence", "suspect", "normal", "evidence", "path", "profile_until"}
LARGEST = 0.5  # of the sentence's excess, that the table's must have at least

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run programs beside a collector and keep its store")
    recording.add_argument("folder", type=Path, help="must not be there yet")
    recording.add_argument("programs", nargs="+", choices=[*PROGRAMS], metavar="NAME", help=", ".join(PROGRAMS))
    evaluating = commands.add_parser("evaluate", help="ask for windows of recordings")
    evaluating.add_argument("folders", type=Path, nargs="+")
    evaluating.add_argument("--windows", type=int, default=WINDOWS, help="a program")
    evaluating.add_argument("--only", nargs="*", metavar="NAME", help="only these programs")
    evaluating.add_argument("--csv", type=Path, metavar="FILE", help="write a row a window")
    evaluating.add_argument("--table", type=Path, metavar="FILE", help="write the summary as Markdown")
    options = parser.parse_args()
    leash.fasten()
    if options.command == "record":
        record(options.folder.resolve(), plans_of(options.programs))
        return 0
    rows = evaluate([folder.resolve() for folder in options.folders], options.windows, options.only)
    text = summary(rows)
    print(text)
    if options.csv:
        write_csv(options.csv, rows)
    if options.table:
        options.table.write_text(text)
    return 0


def plans_of(names: Sequence[str]) -> dict[str, list[tuple[float, float, float]]]:
    """Programs at the same time are slow at different times and by different factors."""
    units = {name: PROGRAMS[name].unit_s for name in names}
    return {
        name: long_stretches(unit_s) if unit_s >= 1 else stretches(turn, SETTLE_S)
        for turn, (name, unit_s) in enumerate(units.items())
    }


def evaluate(folders: Iterable[Path], count: int, only: Sequence[str] | None = None) -> list[Row]:
    """Of a program that was recorded more than once, the last recording named counts."""
    newest = {name: folder for folder in folders for name in json.loads((folder / "truth.json").read_text())["plans"]}
    rows: list[Row] = []
    for name, folder in sorted(newest.items()):
        if only and name not in only:
            continue
        recording = PlainRecording(folder, name)
        try:
            drawn = recording.draw(count)
            rows += [_row(recording, one) for one in drawn]
            print(f"{name}: {recording.disturbed} windows left out: the machine's other work made their steps longer")
        finally:
            recording.close()
        _print_wrong([row for row in rows if row["program"] == name])
    return rows


def _row(recording: PlainRecording, drawn: Drawn) -> Row:
    stacks, program = recording.queries.stacks, recording.program
    verdict = stacks.blame(recording.run, drawn.window)
    tree = stacks.fold(recording.run, drawn.window, ThreadSelection("joined", rank=verdict.rank), baseline=NORMAL).tree
    main_s = stacks.fold(recording.run, drawn.window, ThreadSelection("main", rank=verdict.rank or 0)).tree.seconds
    said = {name: value for name, value in verdict_answer(verdict).items() if name not in NOT_COLUMNS}
    return {
        "program": program.name,
        "held_out": program.held_out,
        "recording": recording.folder.name,
        "from_s": round(drawn.window[0], 3),
        "seconds": round(drawn.window[1] - drawn.window[0], 3),
        "planned_factor": drawn.planned,
        "factor": round(drawn.factor, 3),
        "lost_s": round((drawn.factor - 1) * program.unit_s, 4),
        "expected": drawn.expected,
        "right": is_right(program, drawn.expected, verdict),
        "contradictions": contradictions(verdict, tree),
        "main_s": round(main_s, 3),
        **{name: round(value, 6) if isinstance(value, float) else value for name, value in said.items()},
        "sentence": verdict.sentence,
    }


def contradictions(verdict: Verdict, tree: FlameTree) -> str:
    """What the table beside the sentence says otherwise, and the verdict does not say itself: the function is not in it, or lost little there."""
    if verdict.suspect is None or tree.base_total_s is None or verdict.contradiction:
        return ""
    key = verdict.suspect.frame.name, verdict.suspect.frame.file
    units = verdict.units or tree.seconds, verdict.baseline_units or tree.baseline_seconds
    nodes = [i for i, frame in enumerate(tree.frame) if (tree.frames[frame].name, tree.frames[frame].file) == key]
    if not nodes:
        return "not in the table"
    inside = [i for i in nodes if tree.parent[i] not in nodes]
    excess_s = float(tree.total_s[inside].sum()) / units[0] - float(tree.base_total_s[inside].sum()) / max(
        units[1], 1e-9
    )
    return "" if excess_s > LARGEST * (verdict.excess_s or 0.0) else f"the table says {excess_s:+.4f} s"


def _print_wrong(rows: Sequence[Row]) -> None:
    wrong = [row for row in rows if not row["right"] or row["contradictions"]]
    print(f"{rows[0]['program']}: {len(rows) - len(wrong)} of {len(rows)} right" if rows else "no window")
    for row in wrong:
        print(f"    {row['seconds']:.1f} s at {row['from_s']:.1f}, {row['factor']:.2f} x, {row['expected']}, ", end="")
        print(f"{row['confidence']}: {row['verdict']}: {row['sentence']} {row['contradictions']}")


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def summary(rows: Sequence[Row]) -> str:
    """Markdown: programs, then what confidence is worth, all and those that were held out, then the bounds."""
    parts = [
        _programs(rows),
        "## How much slower",
        _factors(rows),
        "## Confidence",
        _confidences(rows),
        _bounds(rows),
        f"{hardware()}, {datetime.date.today()}",
    ]
    return "\n\n".join(parts) + "\n"


def _programs(rows: Sequence[Row]) -> str:
    lines = [
        "| program | held out | slow: right | healthy: right | contradictions | basis |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted({row["program"] for row in rows}):
        mine = [row for row in rows if row["program"] == name]
        slow, healthy = [[row for row in mine if (row["planned_factor"] > 1) == is_slow] for is_slow in (True, False)]
        bases = ", ".join(sorted({row["basis"] for row in mine}))
        counts = f"{sum(bool(row['contradictions']) for row in mine)}"
        held = "yes" if mine[0]["held_out"] else ""
        lines.append(f"| {name} | {held} | {_share(slow)} | {_share(healthy)} | {counts} | {bases} |")
    lines.append(
        f"| all | | {_share([r for r in rows if r['planned_factor'] > 1])} | {_share([r for r in rows if r['planned_factor'] == 1])} | | |"
    )
    return "\n".join(lines)


def _share(rows: Sequence[Row]) -> str:
    return f"{sum(row['right'] for row in rows)} of {len(rows)}"


def _factors(rows: Sequence[Row]) -> str:
    lines = ["| planned | right | high | medium | low | excess / truth: p5, median, p95 |", "|---|---|---|---|---|---|"]
    for planned in sorted({row["planned_factor"] for row in rows}):
        mine = [row for row in rows if row["planned_factor"] == planned]
        counts = [f"{sum(row['confidence'] == confidence for row in mine)}" for confidence in ("high", "medium", "low")]
        ratios = [
            row["excess_s"] / row["lost_s"]
            for row in mine
            if row["right"] and row["expected"] == "line" and row["basis"] == "steps"
        ]
        spread = ", ".join(f"{value:.2f}" for value in np.percentile(ratios, [5, 50, 95])) if ratios else ""
        lines.append(f"| {planned:g} x | {_share(mine)} | {' | '.join(counts)} | {spread} |")
    return "\n".join(lines)


def _confidences(rows: Sequence[Row]) -> str:
    lines = ["| confidence | all: right | chosen on: right | held out: right |", "|---|---|---|---|"]
    for confidence in ("high", "medium", "low", None):
        mine = [row for row in rows if row["confidence"] == confidence]
        chosen, held = [[row for row in mine if row["held_out"] == held_out] for held_out in (False, True)]
        lines.append(f"| {confidence or 'none given'} | {_share(mine)} | {_share(chosen)} | {_share(held)} |")
    return "\n".join(lines)


def _bounds(rows: Sequence[Row]) -> str:
    high: Callable[[Sequence[Row]], int] = lambda some: sum(row["confidence"] == "high" for row in some)  # noqa: E731
    strong = [row for row in rows if row["factor"] >= 2 and row["samples"] >= 300]
    healthy = [row for row in rows if row["expected"] == "nothing"]
    contradicting = sum(bool(row["contradictions"]) for row in rows)
    admitted = sum(bool(row["contradiction"]) for row in rows)
    return "\n".join(
        [
            f"- {len(rows)} windows; {contradicting} sentences contradict their table; {admitted} say that the graph beside them shows less.",
            f"- At 2 x slower or more with 300 samples or more, high: {high(strong)} of {len(strong)}.",
            f"- In healthy windows, high: {high(healthy)} of {len(healthy)}.",
            f"- Windows in which the main thread's time is longer than the window: "
            f"{sum(row['main_s'] > 1.02 * row['seconds'] for row in rows)}.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
