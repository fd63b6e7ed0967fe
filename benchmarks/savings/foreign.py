"""Of programs that somebody else wrote: what a fix was predicted to save, and what it saves.

python -m benchmarks.savings.foreign FOLDER [--seconds 20] [--json FILE] [PROGRAM ...]

Each program runs as it is, with its fix, and as it is again, one at a time, beside a collector. It gets LOG_DIR, RUN, SECONDS, STEPS and,
with its fix, FIXED=1; at its end it writes {"steps": n, "seconds": s} to STEPS. A comment says what the fix is:

    # fix: train.py:44, removed        or a function; removed, overlapped or process
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from analysis.ledger.prediction import Fix, Prediction, short
from analysis.ledger.shares import Ledger, removal_of
from analysis.ledger.text import sentence_of
from analysis.stacks.spans import Interval
from collectors.message import text_of
from collectors.store.engines import open_store
from dashboard.stacks.stacks import Stacks
from tests.support import leash

ROOT = Path(__file__).parents[2]
FIX = re.compile(r"^#\s*fix:\s*(?P<where>.+?)[\s,]+(?P<how>removed|overlapped|process)\b", re.MULTILINE)
LED_IN_S, LED_OUT_S = 3.0, 0.5  # of a run, which are not looked at
WAITS = ("wait", "lock")
TARGET, WIDTH = 0.9, 20.0  # share of savings inside, and points from least to most


class Turn(NamedTuple):
    step_s: float
    window: Interval


class Judged(NamedTuple):
    program: str
    fix: Fix
    prediction: Prediction | None
    measured: float  # percent
    again: float  # percent by which the two runs as it is differ
    said: str

    @property
    def inside(self) -> bool:
        found = self.prediction
        return found is not None and found.least <= self.measured <= found.most

    @property
    def width(self) -> float:
        return self.prediction.most - self.prediction.least if self.prediction else float("nan")


def judged(program: Path, logs: Path, data: Path, seconds: float) -> Judged:
    """Raises RuntimeError where a program ends with an error, or says nothing of its fix."""
    match = FIX.search(program.read_text())
    if match is None:
        raise RuntimeError(f"{program.name} has no comment `# fix: LINE OR FUNCTION, removed|overlapped|process`")
    where, how = match["where"].strip("`"), cast(Fix, match["how"])
    first, fixed, second = (
        _run(program, f"{program.stem}-{name}", logs, seconds, fixed=name == "fixed")
        for name in ("before", "fixed", "again")
    )
    time.sleep(4.0)  # until the collector has stored the last stacks
    store = open_store(data, write=False)
    try:
        ledger = Stacks(store).ledger(f"{program.stem}-before", first.window)
    finally:
        store.close()
    before_s = statistics.mean((first.step_s, second.step_s))
    return Judged(
        program.name,
        how,
        predicted(ledger, where, how),
        100 * (1 - fixed.step_s / before_s),
        100 * abs(first.step_s - second.step_s) / before_s,
        text_of(sentence_of(ledger)),
    )


def predicted(ledger: Ledger, where: str, how: Fix) -> Prediction | None:
    """Of this fix: of the named function or line if it goes, else of the row whose fix it is, that with the named line first. A wait that
    overlaps with the loop is one that its row says goes."""
    file, _, line = where.rpartition(":")
    if how == "removed":
        for frame in ledger.account.removals:
            named = frame.name.split(".")[-1] == where.split(".")[-1].removesuffix("()")
            if named or (frame.line and frame.file.endswith(file) and str(frame.line) == line):
                return removal_of(frame, ledger.account)
        for its in (its for row in ledger.rows for its in row.lines):
            if its.prediction is not None and _is_at(its.place.frame, where):
                return its.prediction
    rows = [row for row in ledger.rows if row.prediction is not None and (row.prediction.fix == how)]
    if not rows:
        rows = [row for row in ledger.rows if row.prediction is not None and row.kind in WAITS]
    rows.sort(key=lambda row: (not any(_is_at(line.place.frame, where) for line in row.lines), -row.share))
    return rows[0].prediction if rows else None


def _is_at(frame: object, where: str) -> bool:
    name, file, line = cast(tuple[str, str, int], frame)
    return name.split(".")[-1] == where.split(".")[-1].removesuffix("()") or f"{file}:{line}".endswith(where)


def _run(program: Path, name: str, logs: Path, seconds: float, *, fixed: bool) -> Turn:
    steps = logs.parent / f"{name}.steps"
    env = os.environ | {"LOG_DIR": str(logs), "RUN": name, "SECONDS": f"{seconds:g}", "STEPS": str(steps)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "deepseek-log")])
    env.pop("FIXED", None)
    if fixed:
        env["FIXED"] = "1"
    command = [sys.executable, str(ROOT / "app.py"), "run", "--no-dashboard", "--quiet", "--log-dir", str(logs)]
    command += ["--name", name, "--", sys.executable, str(program)]
    ended = subprocess.run(
        command, env=env, cwd=program.parent, capture_output=True, text=True, timeout=10 * seconds + 120
    )
    now_s = time.time()
    if ended.returncode or not steps.exists():
        raise RuntimeError(f"{name} ended with {ended.returncode}: {(ended.stderr or ended.stdout)[-500:]}")
    found = json.loads(steps.read_text())
    began_s = now_s - float(found["seconds"])
    return Turn(found["seconds"] / max(1, found["steps"]), (began_s + LED_IN_S, now_s - LED_OUT_S))


def line_of(found: Judged) -> str:
    said = short(found.prediction) if found.prediction else "nothing"
    inside, width = "yes" if found.inside else "no", f"{found.width:.0f}" if found.prediction else ""
    limit = text_of(found.prediction.limit) if found.prediction else ""
    return (
        f"| {found.program} | {found.fix} | {said} | {found.measured:.1f} % | {inside} | {width} | {found.again:.1f} % |"
        f" {limit} | {found.said} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row a program; 1 where fewer savings are inside than there should be, or the intervals are wider."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("programs", nargs="*", help="some of its programs (default: all)")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args(arguments)
    leash.fasten()
    programs = [options.folder.resolve() / name for name in options.programs]
    programs = programs or sorted(
        path.resolve() for path in options.folder.glob("*.py") if FIX.search(path.read_text())
    )
    found: list[Judged] = []
    print(
        "| program | fix | predicted | measured | inside | width | A/A | limit | ledger |\n|" + "---|" * 9, flush=True
    )
    with tempfile.TemporaryDirectory(prefix="savings-") as folder:
        logs, data = Path(folder, "logs"), Path(folder, "data")
        logs.mkdir()
        command = [sys.executable, "-m", "collector", "--log-dir", str(logs), "--data-dir", str(data)]
        with subprocess.Popen(command, cwd=ROOT) as collector:
            try:
                time.sleep(2.0)
                for program in programs:
                    try:
                        found.append(judged(program, logs, data, options.seconds))
                        print(line_of(found[-1]), flush=True)
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        print(f"{program.name}: {error}", file=sys.stderr, flush=True)
            finally:
                collector.terminate()
    if options.json:
        options.json.write_text(
            json.dumps([one._asdict() | {"inside": one.inside} for one in found], indent=1, default=str)
        )
    if not found:
        return 1
    inside = sum(one.inside for one in found)
    width = (
        statistics.median(one.width for one in found if one.prediction) if any(one.prediction for one in found) else 0
    )
    again = statistics.median(one.again for one in found)
    print(f"\n{inside} of {len(found)} inside; median width {width:.1f} points; median A/A spread {again:.1f} %.")
    return int(inside < TARGET * len(found) or width > max(WIDTH, 2 * again))


if __name__ == "__main__":
    raise SystemExit(main())
