"""Do the clocks agree? Lines of other hosts and of this one meet on the wall clock, samples on the monotonic one."""

from __future__ import annotations

import ctypes
import time

from .place import CheckedHost, Symptom

WATCHED_S = 0.1
APART_S = 0.005  # within the time that they are watched
EARLIEST_S = 1_735_689_600.0  # 2025: a clock before that was never set
UNSYNCHRONISED = 5  # adjtimex's TIME_ERROR
STRUCT_BYTES = 512  # more than any struct timex has
SYNCHRONISE = "Type: sudo timedatectl set-ntp true"


def check(place: CheckedHost) -> Symptom:
    before = time.monotonic(), time.time()
    time.sleep(WATCHED_S)
    apart_s = (time.time() - before[1]) - (time.monotonic() - before[0])
    known = synchronised()
    facts = {
        "apart_ms": round(apart_s * 1e3, 3),
        "synchronised": known,
        "clock_source": place.read(CLOCK_SOURCE) or None,
    }
    if time.time() < EARLIEST_S:
        return Symptom("wrong", f"the clock stands at {time.strftime('%Y-%m-%d')}.", SYNCHRONISE, facts)
    if abs(apart_s) > APART_S:
        return Symptom("warning", f"the wall clock moved {apart_s * 1e3:+.1f} ms against the monotonic one in {WATCHED_S:g} s.", SYNCHRONISE, facts)  # fmt: skip
    if known is False:
        return Symptom("warning", "the kernel says that the clock is not synchronised: lines of other hosts may lie apart.", f"{SYNCHRONISE}; in a container, on its host", facts)  # fmt: skip
    return Symptom("ok", "wall and monotonic clock agree" + (", and are synchronised." if known else "; whether they are synchronised is not known."), "", facts)  # fmt: skip


CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def synchronised() -> bool | None:
    """What the kernel's clock discipline says; None where it may not be asked."""
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(STRUCT_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != UNSYNCHRONISED
