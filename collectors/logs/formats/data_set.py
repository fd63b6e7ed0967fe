"""Whether a JSONL file holds metrics or data, such as a training set: by its first 50 lines, of at most 64 kB."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from ...analysis.logs.structured import of_object
from ..opening import DataFile
from . import Tally
from .columns import METRIC
from .jsonl import flat, objects
from .roles import PARTS, STEPS, TIMES, moment
from .values import as_number

HEAD_BYTES, JUDGED_LINES = 64 << 10, 50
FEW_LINES = 3  # of less, nothing is said
MOST_SHAPES = 8  # sets of keys, or as many as half of the lines
GROWING_SHARE = 0.75  # of neighbours
OWN = re.compile(r"metrics(\.rank\d{1,9})?\.jsonl")  # always read

Row = Mapping[str, Any]


class Judgement(NamedTuple):
    why: str  # it is data, as the end of a sentence that begins with its name; "" where it looks like metrics
    sure: bool  # there were enough lines


def check_head(name: str, head: bytes) -> bool:
    """Whether a file is sure to be metrics by its first 64 kB; else it is judged again when it has grown. Raises DataFile."""
    if OWN.fullmatch(name):
        return True
    judgement = judge(head)
    if judgement.why:
        raise DataFile(f"is data, not metrics, and is not read: {judgement.why}")
    return judgement.sure


def why_data(head: bytes) -> str | None:
    """Why a file is data, as the end of a sentence, by its first 64 kB; "" where it is metrics, None where that is too little."""
    why, sure = judge(head)
    return (f"is data, not metrics: {why}" if why else "") if sure else None


def judge(head: bytes) -> Judgement:
    """By the whole lines among its first bytes."""
    is_full = len(head) >= HEAD_BYTES
    lines = [line for line in head[:HEAD_BYTES].split(b"\n")[:-1] if line.strip()][:JUDGED_LINES]
    sure = is_full or len(lines) == JUDGED_LINES
    if is_full and not lines:
        return Judgement("its first line has more than 64 kB", sure)
    found = [(line, dict(flat(row, Tally()))) for line in lines for row in objects([line], Tally())]
    if len(found) < FEW_LINES and not sure:
        return Judgement("", False)
    if not found:
        return Judgement("none of its first lines is a JSON object", sure)
    if 2 * sum(of_object(row) is not None for line in lines for row in objects([line], Tally())) > len(found):
        return Judgement("", sure)  # a text log of structured lines
    wordy = sum(_is_wordy(line, row) for line, row in found)
    if 2 * wordy > len(found):
        return Judgement("its lines have more text and lists than numbers", sure)
    return Judgement(_why_not([row for _, row in found]) if sure else "", sure)


def _is_wordy(line: bytes, row: Row) -> bool:
    """Whether a line has more text and lists than numbers, by count or by length."""
    others = [value for name, value in row.items() if as_number(value) is None and not _has_a_role(name, value)]
    length = sum(
        len(value) if isinstance(value, str) else len(orjson.dumps(value)) for value in others if value is not None
    )
    numbers = sum(as_number(value) is not None for value in row.values())
    return len(others) > numbers or 2 * length > len(line)


def _has_a_role(name: str, value: object) -> bool:
    return name in PARTS or (name in TIMES and isinstance(value, str) and moment(value) is not None)


def _why_not(rows: Sequence[Row]) -> str:
    if len({tuple(row) for row in rows}) > max(MOST_SHAPES, len(rows) // 2):
        return "its lines have ever other fields"
    names = {name for row in rows for name, value in row.items() if as_number(value) is not None}
    if any(METRIC.search(name.lower()) for name in names) or any(_grows(rows, name) for name in (*STEPS, *TIMES)):
        return ""
    return "no step, epoch or time in it grows, and no field is named like a metric"


def _grows(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if name in row]
    found = [moment(value) if isinstance(value, str) else as_number(value) for value in values]
    numbers = [number for number in found if number is not None]
    if 2 * len(numbers) < len(rows) or not numbers[-1] > numbers[0]:
        return False
    rising = sum(later >= earlier for earlier, later in itertools.pairwise(numbers))
    return rising >= GROWING_SHARE * (len(numbers) - 1)
