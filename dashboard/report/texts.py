"""Texts of a report: cut, without secrets, and without characters that cannot be seen; numbers and times as a reader wants them."""

from __future__ import annotations

import datetime
import math
import re
from zoneinfo import ZoneInfo

from collectors.analysis.ledger.contrast import time_of
from collectors.redaction import LEFT_OUT, redacted

MOST_READ = 4000  # characters of a text that are looked at: a secret that is cut in two has no form any more
LEFT_OUT_WORD = "\ue000"  # in its place while a text is looked at: what has a blank in it would be taken for two words
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
UNSEEN = re.compile(  # as assets/lib/visible.js; half of a pair, which no file can hold, too
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f"
    "\u2800\u3164\ufeff\uffa0\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff]"
)
PREFIXES = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e3, "k"))
BINARY = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def visible(text: str) -> str:
    """`"a\\u202etxt.exe" -> "a[U+202E]txt.exe"`"""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def shortened(text: str, most: int) -> str:
    """At most so many characters, all visible, in one line."""
    seen = visible(" ".join(ANSI.sub("", text[:MOST_READ]).split()))
    return seen if len(seen) <= most else f"{seen[: max(1, most - 1)]}…"


def said(text: str, most: int) -> str:
    """The same of a text that may hold a secret, or from which one was left out already."""
    return shortened(redacted(text[:MOST_READ].replace(LEFT_OUT, LEFT_OUT_WORD)).replace(LEFT_OUT_WORD, LEFT_OUT), most)


def figure(value: float, unit: str = "") -> str:
    """`1234567.0 -> "1.23M"`; bytes in GiB; `"NaN"`, `"∞"` as they are."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if unit == "B":
        factor, name = next(((factor, name) for factor, name in BINARY if abs(value) >= factor), (1, "B"))
        return f"{value / factor:.3g} {name}"
    shown = _short(value)
    return f"{shown} {unit}".rstrip() if unit != "%" else f"{shown} %"


def _short(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.2e}"
    for least, factor, name in PREFIXES:
        if abs(value) >= max(least, 1e4):
            return f"{value / factor:.3g}{name}"
    return f"{value:.4g}"


def length_of(seconds: float) -> str:
    """`0.093 -> "93 ms"`, `93.4 -> "93.4 s"`, `5400 -> "90 min"`"""
    if seconds < 1:
        return time_of(seconds) if seconds > 0 else "0"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def moment_of(time_s: float | None, zone: str) -> str:
    """`2026-11-26 14:30:05 CET`; "" for None. In the zone of this host where none is named."""
    if time_s is None:
        return ""
    try:
        at = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
        return at.astimezone(ZoneInfo(zone) if zone else None).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError, KeyError):
        return f"{time_s:.0f} s"


def clock_of(time_s: float, zone: str) -> str:
    """`14:30:05`"""
    return moment_of(time_s, zone).partition(" ")[2].partition(" ")[0] or f"{time_s:.0f}"


def range_of(lo: float, hi: float, zone: str) -> str:
    """`2026-11-26 14:30:05 to 14:31:05 CET`"""
    first, last = moment_of(lo, zone), moment_of(hi, zone)
    day, _, rest = first.partition(" ")
    if rest and last.startswith(f"{day} "):
        return f"{day} {rest.partition(' ')[0]} to {last.partition(' ')[2]}"
    return f"{first} to {last}"
