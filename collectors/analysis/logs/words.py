"""What of a template is the logger's head, such as a time, and what the message says."""

from __future__ import annotations

import re

HEAD = re.compile(  # times, levels and ranks in front of a message
    r"^(?>[\[(<|{]?(?:[:.,TZ/+-]*#[#:.,TZ/+-]*+|(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|NOTSET)|(?:rank|local_rank|default)\s?#)[\])>|}:]*+[\s|\]:-]*+)++",
    re.IGNORECASE,
)
CLOCK = re.compile(r"[\[(]?#(?:[-/:.,TZ+ ]*#){2,}+")  # a date, a time of day: three numbers or more in one
PLACE = "#"  # of a number
BEFORE_NUMBERS, BEHIND_NUMBERS = " \t\n\r\f\v:=,([#", " \t\n\r\f\v#)].,%:"
MOST_CHARACTERS = 70


def message_of(text: str) -> str:
    """Without the head and without what follows the last constant word: `"# INFO retrying shard #" -> "retrying shard"`."""
    bare = HEAD.sub("", text).strip() or text.strip()
    behind = bare[len(bare.rstrip(BEHIND_NUMBERS)) :]
    if PLACE in behind:
        bare = bare[: len(bare) - len(behind) + behind.index(PLACE)].rstrip(BEFORE_NUMBERS) or bare
    return f"{bare[:MOST_CHARACTERS].rsplit(' ', 1)[0]} …" if len(bare) > MOST_CHARACTERS else bare


def shortened(text: str, most: int) -> str:
    """At most `most` characters: a longer text ends with a whole word, where it has short ones, and an ellipsis."""
    if len(text) <= most:
        return text
    words, _, rest = text[:most].rpartition(" ")
    kept = words if len(rest) < most // 2 else text[: most - 1]
    return f"{kept.rstrip(' ,;:')}…"


def fields_of_clock(text: str) -> int:
    """How many of the first numbers are the time of the line, which is another one in each: 6 of `"#-#-# #:#:# step #"`."""
    found = CLOCK.match(text)
    return found[0].count(PLACE) if found else 0


def word_before(text: str, field: int) -> str:
    """The word in front of a number: `"loss"` for number 1 of `"step #: loss #"`; "" where there is none."""
    words = re.findall(r"[A-Za-z_][\w/.]*", text.split(PLACE)[field])
    return words[-1] if words else ""
