"""Jobs as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..view import JobAttemptRow, JobRow, SlotRow


MIN_CUT = 20  # characters of the last column that a narrow terminal has in any case


def table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Columns as wide as what is in them; the last one is not padded, and cut so that a line has `width` characters."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in rows
    ]
    most = None if width is None else max(width, sum(widths[:-1]) + 2 * len(widths[:-1]) + MIN_CUT)
    return "\n".join(_cut(line.rstrip(), most) for line in lines)


def terminal_width() -> int | None:
    """None where the output is no terminal: a file or a program gets all of it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cut(line: str, most: int | None) -> str:
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def noun(slots: Sequence[SlotRow]) -> str:
    """What this host's slots are called."""
    return "core slot" if slots and all(slot.id.startswith("cores-") for slot in slots) else "GPU"


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def resources(row: JobRow, slots: Sequence[SlotRow]) -> str:
    """`2 GPUs, 20 GiB, high`"""
    memory = [amount(row.memory_mib)] if row.memory_mib else []
    words = [
        counted(row.slots, noun(slots)) if row.place == "local" else f"{counted(row.slots, 'slot')} at Slurm",
        *memory,
        *(["high"] if row.high else []),
        *(["share"] if row.shares else []),
    ]
    return ", ".join(words)


def amount(mib: float) -> str:
    """`300 MiB`, `1.5 GiB`"""
    return f"{mib:.0f} MiB" if mib < 1023.5 else f"{mib / 1024:.3g} GiB"


def placed_on(row: JobRow, slots: Sequence[SlotRow]) -> str:
    """`GPU 0 and GPU 1, beside job 7, since 14:20`"""
    names = {slot.id: slot.name for slot in slots}
    where = listed([names.get(slot, slot) for slot in row.on])
    beside = f", beside {listed([f'job {job}' for job in row.beside])}" if row.beside else ""
    pace = (
        ""
        if not row.beside
        else " (its speed there is not measured yet)"
        if row.speed is None
        else f" (measured: {row.speed:.0%} of its speed alone)"
    )
    since = f", since {clock(row.started_s)}" if row.started_s else ""
    return f"{where}{beside}{pace}{since}"


def end_of(attempt: JobAttemptRow) -> str:
    """`preempted for job 5, its checkpoint is written`; "" where nothing is said of it."""
    because = (
        f" {'for' if attempt.why == 'preempted' else 'beside'} job {attempt.because}"
        if attempt.because and attempt.why
        else ""
    )
    if attempt.why and attempt.said.startswith(attempt.why):
        return f"{attempt.why}{because}{attempt.said.removeprefix(attempt.why)}"
    return attempt.said or f"{attempt.why}{because}"


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def clock(time_s: float, *, seconds: bool = False) -> str:
    """`14:20`, with `seconds` `14:20:05`, or with the day where it is not today."""
    at = time.localtime(time_s)
    form = "%H:%M:%S" if seconds else "%H:%M"
    return time.strftime(form if at[:3] == time.localtime()[:3] else f"{at.tm_mday} %b {form}", at)


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
