"""Results as Markdown: by program, by kind of window, by confidence, with steps and without."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..report import hardware
from .catalogue import ROWS
from .evaluation import KINDS, Result

LETTERS = {
    "right": "R",
    "vague": "v",
    "wrong": "W",
    "none": "-",
    "no line": "u",
    "quiet": "q",
    "others": "c",
    "blamed": "F",
}
ANSWERS = ("right", "vague", "wrong", "others", "none", "no line")
SLOW_KINDS = KINDS[:-1]


def write_csv(path: Path, results: Sequence[Result]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Result._fields)
        writer.writerows(results)


def summary(results: Sequence[Result]) -> str:
    counted = [result for result in results if not result.left_out]
    slow = [result for result in counted if result.kind != "healthy"]
    healthy = [result for result in counted if result.kind == "healthy"]
    parts = [
        _totals(results, slow, healthy),
        _answers("with and without steps", {"steps": _steps(slow, True), "no steps": _steps(slow, False)}),
        _answers("window", {kind: [one for one in slow if one.kind == kind] for kind in SLOW_KINDS}),
        _answers(
            "confidence", _by(slow, lambda one: one.confidence or "none given", ("high", "medium", "low", "none given"))
        ),
        _answers("others, in cores", _by(slow, _busy, ("< 0.3", "0.3 to 1", "> 1"))),
        _healthy(healthy),
        "R right, v vague, W wrong, - looks like normal, u no single line, q quiet, c others, F blamed; h, m, l: confidence; "
        "others: cores, on average; waited: the share of the time in which the loop's thread waited for a core.",
        _programs(results),
        f"{hardware()}, {datetime.date.today()}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _totals(results: Sequence[Result], slow: Sequence[Result], healthy: Sequence[Result]) -> str:
    out = Counter(result.left_out for result in results if result.left_out)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(out.items())) or "none"
    return (
        f"{len({one.program for one in results})} programs; {len(slow)} windows in slow phases, {len(healthy)} in healthy ones. "
        f"Left out: {reasons}."
    )


def _steps(results: Sequence[Result], steps: bool) -> list[Result]:
    return [one for one in results if one.steps == steps]


def _by(results: Sequence[Result], key: Callable[[Result], str], order: Sequence[str]) -> dict[str, list[Result]]:
    return {name: [one for one in results if key(one) == name] for name in order}


def _busy(result: Result) -> str:
    return "< 0.3" if result.others < 0.3 else "0.3 to 1" if result.others <= 1 else "> 1"


def _answers(title: str, groups: dict[str, list[Result]]) -> str:
    lines = [f"| {title} | {' | '.join(ANSWERS)} | of |", "|---" * (len(ANSWERS) + 2) + "|"]
    for name, mine in groups.items():
        counts: Counter[str] = Counter(one.judgement for one in mine)
        cells = [f"{counts[answer]}{_percent(counts[answer], len(mine))}" for answer in ANSWERS]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(mine)} |")
    return "\n".join(lines)


def _percent(count: int, total: int) -> str:
    return f" ({100 * count / total:.0f} %)" if count and total else ""


def _healthy(results: Sequence[Result]) -> str:
    counts = Counter(one.judgement for one in results)
    blamed = Counter(one.confidence for one in results if one.judgement == "blamed")
    words = ", ".join(f"{blamed[word]} {word}" for word in ("high", "medium", "low") if blamed[word]) or "none"
    return (
        f"Healthy windows: {counts['quiet']} quiet, {counts['no line']} no single line, {counts['others']} other programs, "
        f"{counts['blamed']} blamed ({words}) of {len(results)}."
    )


def _programs(results: Sequence[Result]) -> str:
    head = ["program: kind; log; right", "set", "factor", "others", "waited", *KINDS, "left out"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in dict.fromkeys(one.program for one in results):
        mine = [one for one in results if one.program == name]
        counted = [one for one in mine if not one.left_out]
        exact = sorted({one.planned: one.factor for one in mine if one.kind == "exact"}.values())
        factors = f"{exact[0]:.1f} to {exact[-1]:.1f}" if exact else ""
        others = f"{sum(one.others for one in mine) / len(mine):.1f}"
        waited = f"{100 * sum(one.waited for one in mine) / len(mine):.0f} %" if any(one.waited for one in mine) else ""
        cells = [_cell([one for one in counted if one.kind == kind]) for kind in KINDS]
        row = ROWS[name]
        right = ", ".join(place.partition(":")[2] for place in row.culprits + row.second) or row.right
        about = f"`{name}`: {row.kind}; {row.log}; `{right}`".replace("|", "\\|")
        lines.append(
            f"| {about} | {mine[0].set} | {factors} | {others} | {waited} | {' | '.join(cells)} | {len(mine) - len(counted) or ''} |"
        )
    return "\n".join(lines)


def _cell(results: Sequence[Result]) -> str:
    """As `2Rh vm`: two right with high, one vague with medium."""
    counts = Counter(_mark(one) for one in results)
    return " ".join(f"{count if count > 1 else ''}{mark}" for mark, count in counts.items())


def _mark(result: Result) -> str:
    return LETTERS[result.judgement] + (result.confidence[:1] if result.function else "")
