"""The tags and the note that a script gives its run, in the form in which the Runs page shows them; nothing here may end a training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from numbers import Number

from .files import excerpt, text, warn

MAX_TAGS, MAX_TAG_CHARS, MAX_NOTE_CHARS = 20, 50, 4000
MAX_GIVEN = 1000  # tags that are looked at: an iterator may have no end


def tags_of(given: object) -> list[str] | None:
    """`"baseline" -> ["baseline"]`, `["a", 1, None] -> ["a", "1"]`; None for what is no tags. What is lost is said on stderr."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, (bytes, bytearray, Mapping)):
        warn(f"tags are not set: {type(given).__name__} is neither a list of texts nor a text")
        return None
    try:
        found = list(itertools.islice(given, MAX_GIVEN))
    except Exception as error:  # the iterable's own
        warn(f"tags are not set: reading them raised {type(error).__name__}")
        return None
    tags = dict.fromkeys(filter(None, map(_tag, found)))
    if len(tags) > MAX_TAGS:
        warn(f"a run has at most {MAX_TAGS} tags: {len(tags) - MAX_TAGS} more are left out")
    return list(tags)[:MAX_TAGS]


def note_of(given: object) -> str | None:
    """Text or a number, as text; None for anything else, and a long one is cut: both are said on stderr."""
    if not isinstance(given, (str, Number)):
        warn(f"the note is not set: {type(given).__name__} is not text")
        return None
    note = _whole_text(given)
    if len(note) > MAX_NOTE_CHARS:
        warn(f"the note is cut: it has {len(note):,} characters, of which {MAX_NOTE_CHARS:,} are kept")
    return excerpt(note, MAX_NOTE_CHARS)


def _tag(given: object) -> str:
    """One line; "" for what is no tag."""
    if not isinstance(given, (str, Number)):
        warn(f"a tag is left out: {type(given).__name__} is not text")
        return ""
    tag = " ".join(_whole_text(given).replace("\0", " ").split())
    if not tag:
        warn("a tag is left out: it is empty")
    if len(tag) > MAX_TAG_CHARS:
        warn(f"a tag is cut: {excerpt(tag, MAX_TAG_CHARS)!r} has more than {MAX_TAG_CHARS} characters")
    return excerpt(tag, MAX_TAG_CHARS)


def _whole_text(given: object) -> str:
    """Not cut yet, as `text` would do."""
    return given.encode("utf-8", "backslashreplace").decode() if isinstance(given, str) else text(given)
