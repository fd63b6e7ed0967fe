"""How long an attempt ran, whatever the wall's clock does: bounded by the boot's clock, which has the start of its process."""

from __future__ import annotations

import time

from collectors.process.proc import TICKS_PER_S, boot_id

from ..queue import OpenAttempt


def age_s(attempt: OpenAttempt) -> float | None:
    """Seconds since its program was started; None where that was in another boot, or is not known."""
    if attempt.start_ticks is None or attempt.boot_id != boot_id():
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - attempt.start_ticks / TICKS_PER_S)


def began_s(attempt: OpenAttempt, now_s: float) -> float:
    """When its program was started, by the wall's clock as it is now, and not before that was intended."""
    return min(now_s, max(attempt.intended_s, now_s - (age_s(attempt) or 0.0)))


def ran(attempt: OpenAttempt, ended_s: float, seen_s: float) -> float:
    """Seconds until `ended_s` of the wall's clock; it was seen to run for `seen_s`."""
    by_wall_s = max(0.0, ended_s - (attempt.started_s or ended_s))
    most_s = age_s(attempt)
    return by_wall_s if most_s is None else min(max(by_wall_s, seen_s), most_s)
