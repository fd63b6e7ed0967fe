"""Characters that cannot be seen, made visible as `assets/lib/visible.js` does it."""

from __future__ import annotations

import re
import unicodedata

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u2800\u3164\ufeff\uffa0\U000e0000-\U000e0fff]"
)
HIDDEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"}  # what no font knows is drawn as a box
OUTER = re.compile(r"^\s++|(?<!\s)\s++$|[\t\n]++")


def visible(text: str) -> str:
    """`"a\\u202etxt.exe" -> "a[U+202E]txt.exe"`"""
    return UNSEEN.sub(_spelled, text)


def visible_name(name: str) -> str:
    """With its tabs, line breaks and the blanks at its ends, too, which make it look like another one: `"loss " -> "loss[U+0020]"`."""
    return visible(OUTER.sub(_spelled, name))


def is_seen(name: str) -> bool:
    """Whether there is anything to see in it: more than controls, blanks and marks of other characters."""
    return any(unicodedata.category(letter) not in HIDDEN for letter in UNSEEN.sub("", name))


def _spelled(found: re.Match[str]) -> str:
    return "".join(f"[U+{ord(letter):04X}]" for letter in found[0])
