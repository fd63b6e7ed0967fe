"""Quiet hours (pure)."""

from __future__ import annotations

from datetime import datetime

from .model import QuietHours

DAY_MIN = 24 * 60


def is_quiet(quiet: QuietHours | None, rule: str, now_s: float) -> bool:
    """Whether messages of a rule wait now. From 22:00 to 7:00 is over midnight; from and to the same is never."""
    if quiet is None or rule in quiet.but:
        return False
    there = datetime.fromtimestamp(now_s, quiet.zone)
    minute = 60 * there.hour + there.minute
    return (minute - quiet.from_min) % DAY_MIN < (quiet.to_min - quiet.from_min) % DAY_MIN
