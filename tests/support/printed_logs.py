"""Compares what is read from a printed log with what its fixture in `tests/data/printed` says (README.md there)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from collectors.logs.formats.text import TextLog
from collectors.logs.formats.text.numbers import PROGRESS, TextNumbers
from collectors.records import Points

PRINTED = Path(__file__).parents[1] / "data" / "printed"
Point: TypeAlias = tuple[float | None, float]
PARTS = {**dict.fromkeys(("valid", "validate", "validation"), "val"), "evaluation": "eval", "testing": "test"}
PREFIXES = (
    "",
    "val",
    "test",
    "eval",
    "dev",
    "globalstep",
    "step",
    "train",
)  # that a name may have, where the program prints them only before the line


class Compared(NamedTuple):
    """`missing`: numbers of the fixture that were not read, or without their step; `wrong`: what was read and is not there."""

    missing: list[str]
    wrong: list[str]


def read_log(path: Path) -> dict[str, list[Point]]:
    """By name, the points of all processes that wrote it."""
    voices: dict[int | str, TextNumbers] = {}

    def numbers(rank: int | str, kept: object) -> TextNumbers:
        return voices.setdefault(rank, TextNumbers("a", (("rank", str(rank)),)))

    text = TextLog("a", path.name, 1_764_000_000.0, None, numbers)
    found: dict[str, list[Point]] = {}
    for record in text.parse(path.read_bytes().split(b"\n"), None):
        if isinstance(record, Points):
            for name, value in zip(record.names, record.values, strict=True):
                worker = dict(record.labels).get("rank", "0")
                found.setdefault(name if worker.isdecimal() else f"{name}\t{worker}", []).append((record.step, value))
    return found


def compared(path: Path) -> Compared:
    """Of one `.log` and the `.json` beside it."""
    said: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    read = read_log(path)
    missing: list[str] = []
    wrong: list[str] = []
    optional = {plain(name) for name in said.get("optional", ())}
    alternatives = said.get("alternatives", {})
    is_derived = said.get("step_source") == "derived"
    options = {name: [said["metrics"][name], *alternatives.get(name, ())] for name in said["metrics"]}
    taken: dict[str, list[str]] = {}
    for name, points in read.items():
        said_name = name.partition("\t")[0]
        if name.startswith(PROGRESS) or (
            plain(said_name) in ("epoch", *optional) and not _matching(said_name, options)
        ):
            continue
        if not (matches := _matching(said_name, options)):
            if any(plain(one).startswith(plain(said_name)) for one in said["not_metrics"]):
                wrong.append(f"{name} is no metric: {points[:3]}")
            continue
        odd = min((_differences(points, option)[1] for match in matches for option in options[match]), key=len)
        wrong += [f"{name}: {point}" for point in odd[:3]]
        for match in matches:
            taken.setdefault(match, []).append(name)
    for name in said["metrics"]:
        if plain(name) in optional:
            continue
        mine = taken.get(name, [])
        choices = [
            [point for one in mine for point in read[one]],
            *(read[one] for one in mine),
        ]  # of all processes, or of one
        lost = min(
            (_differences(points, option, is_derived)[0] for points in choices for option in options[name]), key=len
        )
        if lost:
            missing.append(f"{name}: {len(lost)} of {len(said['metrics'][name])}, {lost[0]}")
    steps = {step for points in read.values() for step, _ in points if step is not None}
    stated = [set(said["steps"]), *(set(one) for one in alternatives.get("steps", ()))]
    if said.get("step_source") != "derived" and (lost_steps := min((choice - steps for choice in stated), key=len)):
        missing.append(f"steps: {len(lost_steps)} of {len(said['steps'])}, {sorted(lost_steps)[:3]}")
    return Compared(missing, wrong)


def plain(name: str) -> str:
    """`"Test: Average loss (ms)"` -> `"test average loss ms"`, without blanks."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name.partition(" after ")[0]).lower())
    return "".join(PARTS.get(word, word) for word in words if word not in ("epoch", "overall")) or name


def _matching(name: str, names: Iterable[str]) -> list[str]:
    """The names of the fixture that a series may have: its own, without what tells it from one of the same name."""
    return [
        key
        for key in names
        for prefix in PREFIXES
        if plain(name)
        in (
            prefix + plain(key),
            prefix + plain(key.partition(":")[2] or key),
            prefix + plain(key.partition(" of the ")[0]),
        )
    ]


def _differences(
    points: Sequence[Point], expected: Sequence[Sequence[Any]], is_derived: bool = False
) -> tuple[list[Any], list[Any]]:
    """What is missing, and what is wrong: each value once, at its step where both name one."""
    want = Counter((step, _value(value)) for step, value in expected)
    odd: list[Point] = []
    without: list[Point] = []
    for step, value in points:
        key = step, _value(value)
        if want[key]:
            want[key] -= 1
        elif step is not None and want[None, key[1]]:
            want[None, key[1]] -= 1
        elif step is None:
            without.append((step, value))
        else:
            odd.append((step, value))
    left = Counter(value for (_, value), count in want.items() for _ in range(count))
    for step, value in without:  # right, but its step was not read
        if left[_value(value)]:
            left[_value(value)] -= 1
            if is_derived:
                want[next(key for key, count in want.items() if count and key[1] == _value(value))] -= 1
        else:
            odd.append((step, value))
    all_of = {(step, _value(value)) for step, value in expected}
    odd = [
        (step, value)
        for step, value in odd
        if (step, _value(value)) not in all_of and (None, _value(value)) not in all_of
    ]  # said twice
    return [key for key, count in want.items() for _ in range(count)], odd


def _value(value: Any) -> str:
    number = float(value)
    return "nan" if math.isnan(number) else repr(round(number, 12))
