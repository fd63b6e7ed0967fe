"""The sentence on what a log says in a window: `"retrying shard" 214 times in 8 s, never before; "saved checkpoint" did not come (usually every 40 s).`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .words import PLACE, message_of, word_before

if TYPE_CHECKING:
    from .difference import LogChange

SAID = 3  # changes


def sentence_of(changes: Sequence[LogChange], length_s: float, lines_before: int | None = None) -> str:
    """Of the changes, the first that matter; "" without any. `lines_before` is how many earlier lines were looked at, where not all were."""
    if not changes:
        return ""
    said = "; ".join(_part(change, length_s, lines_before) for change in changes[:SAID])
    more = len(changes) - SAID
    return f"{said}{f'; and {more} more' if more > 0 else ''}."


def duration(seconds: float) -> str:
    """`0.25 -> "0.25 s"`, `40.2 -> "40 s"`, `900 -> "15 min"`"""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) and abs(value) < 1e12 else f"{value:.4g}"


def _part(change: LogChange, length_s: float, lines_before: int | None) -> str:
    if change.kind == "silent":
        usually = f"usually every {duration(change.every_s or 0.0)}"
        if change.template is None:
            return f"no line at all for {duration(change.pause_s or 0.0)} ({usually})"
        again = "did not come" if change.count == 0 else f"did not come for {duration(change.pause_s or 0.0)}"
        return f'"{message_of(change.text)}" {again} ({usually})'
    if change.kind == "number" and change.usual is not None and change.value is not None:
        lo, hi = figure(change.usual[0]), figure(change.usual[1])
        otherwise = lo if lo == hi else f"{lo} to {hi}"
        jumped = " changed by" if change.is_step else ""
        return f'"{message_of(change.text)}"{_which(change)}{jumped} {figure(change.value)}, otherwise {otherwise}'
    how_often = "once" if change.count == 1 else f"{change.count:,} times"
    return f'"{message_of(change.text)}" {how_often} in {duration(length_s)}, {_otherwise(change, lines_before)}'


def _which(change: LogChange) -> str:
    """The word in front of a number, where a template has several: `": loss"`."""
    if change.field is None or change.text.count(PLACE) < 2:
        return ":"
    return f": {word_before(change.text, change.field) or f'number {change.field + 1}'}"


def _otherwise(change: LogChange, lines_before: int | None) -> str:
    if change.kind == "new":
        if lines_before is not None:
            return f"not in the {lines_before:,} lines before"
        return "never before" if not change.before else "never otherwise"
    lo, hi = round(change.expected[0]), round(change.expected[1])
    if not hi:
        return "hardly ever otherwise"
    return f"usually {hi}" if lo == hi else f"usually {lo} to {hi}"
