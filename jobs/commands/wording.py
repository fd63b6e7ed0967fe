"""Jobs in words and columns, for a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..view import JobRow, SlotRow


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them; the last one is not padded."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def noun(slots: Sequence[SlotRow]) -> str:
    """What this host's slots are called."""
    return "core slot" if slots and all(slot.id.startswith("cores-") for slot in slots) else "GPU"


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def resources(row: JobRow, slots: Sequence[SlotRow]) -> str:
    """`2 GPUs, 20 GiB, high`"""
    memory = [f"{row.memory_mib / 1024:.3g} GiB"] if row.memory_mib else []
    words = [
        counted(row.slots, noun(slots)) if row.place == "local" else f"{counted(row.slots, 'slot')} at Slurm",
        *memory,
        *(["high"] if row.high else []),
        *(["share"] if row.shares else []),
    ]
    return ", ".join(words)


def placed_on(row: JobRow, slots: Sequence[SlotRow]) -> str:
    """`GPU 0 and GPU 1, beside job 7, since 14:20`"""
    names = {slot.id: slot.name for slot in slots}
    where = listed([names.get(slot, slot) for slot in row.on])
    beside = f", beside {listed([f'job {job}' for job in row.beside])}" if row.beside else ""
    pace = f" at {row.speed:.0%} of its own speed" if row.beside and row.speed is not None else ""
    since = f", since {clock(row.started_s)}" if row.started_s else ""
    return f"{where}{beside}{pace}{since}"


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def clock(time_s: float) -> str:
    """`14:20`, or with the day where it is not today."""
    at = time.localtime(time_s)
    return time.strftime("%H:%M" if at[:3] == time.localtime()[:3] else f"{at.tm_mday} %b %H:%M", at)


def ago(time_s: float, now_s: float) -> str:
    return f"{spoken(now_s - time_s)} ago"


def spoken(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`"""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
