"""The lines of a run grouped by their constant words: a template is the mask of its lines, with an id that stays.

    step 7 loss 0.25     -> step # loss #
    step 8 loss 0.24     -> step # loss #

A log may have no end of masks. A file may make MOST_OF_FILE templates of its own, MOST_OF_FAMILY of them of lines that begin with the
same words. What comes beyond them goes to a wide template, by its first words and its length, which depends on the line alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import masking

MOST_OF_FILE = 4096
MOST_OF_FAMILY = 1024
MOST_WIDE = 1024  # of a run; lines of yet other words are grouped by their length alone
MOST_OF_RUN = 32_768  # ids fit into two bytes, with room for what is wide
FAMILY_WORDS = 2
MOST_WORD_CHARACTERS = 32
_FAMILY_WORD = re.compile(r"(?<![\w<./-])[^\W\d_]{2,}(?![\w>./-])")
_LEVELS = {"debug", "info", "warn", "warning", "error", "critical", "fatal", "utc"}


class NewTemplate(NamedTuple):
    """A template as its first line makes it."""

    id: int
    text: str
    file: str  # whose line it was
    family: str  # lines of a family begin with the same words and are about as long
    wide: bool  # whether its lines share their family only


class RunTemplates:
    """The templates of one run. Give it all that are stored, and it goes on where it ended."""

    def __init__(self, known: Iterable[NewTemplate] = ()) -> None:
        self._ids: dict[str, int] = {}
        self._wide: dict[str, int] = {}
        self._of_file: Counter[str] = Counter()
        self._of_family: Counter[tuple[str, str]] = Counter()
        self._keys: dict[bytes, int] = {}
        self.bytes = 0  # of what it remembers, about
        self._next = 1
        for template in known:
            self._note(template)

    def group(self, texts: Sequence[str], files: Sequence[str]) -> tuple[list[int], list[NewTemplate]]:
        """The id of each line's template, and the templates that did not exist before."""
        keys = masking.keys_of(texts)
        known = self._keys
        new: list[NewTemplate] = []
        ids = [known.get(key, 0) for key in keys]
        missing = [at for at, number in enumerate(ids) if not number]
        if missing:
            for at, text in zip(missing, masking.masks_of([keys[at] for at in missing]), strict=True):
                number = ids[at] = self._id_of(text, files[at], new)
                if keys[at] not in known:
                    known[keys[at]] = number
                    self.bytes += len(keys[at]) + 100
        return ids, new

    def forget_keys(self) -> None:
        """Remember templates only: lines are masked anew."""
        self.bytes -= sum(len(key) + 100 for key in self._keys)
        self._keys.clear()

    def _id_of(self, text: str, file: str, new: list[NewTemplate]) -> int:
        number = self._ids.get(text)
        if number is not None:
            return number
        family = family_of(text)
        full = (
            self._of_file[file] >= MOST_OF_FILE
            or self._of_family[file, family] >= MOST_OF_FAMILY
            or self._next > MOST_OF_RUN
        )
        if full:
            number = self._wide.get(family)
            if number is None and len(self._wide) >= MOST_WIDE:
                family = length_of(text)
                number = self._wide.get(family)
            if number is not None:
                return number
        template = NewTemplate(self._next, wide_text(family) if full else text, file, family, full)
        self._note(template)
        new.append(template)
        return template.id

    def _note(self, template: NewTemplate) -> None:
        if template.wide:
            self._wide[template.family] = template.id
        else:
            self._ids[template.text] = template.id
            self._of_file[template.file] += 1
            self._of_family[template.file, template.family] += 1
        self.bytes += len(template.text) + 200
        self._next = max(self._next, template.id + 1)


def family_of(mask: str) -> str:
    """`"<time> INFO retrying shard # of #" -> "retrying shard, 5 to 8 words"`"""
    words = (word for word in _FAMILY_WORD.findall(mask) if word.lower() not in _LEVELS)
    first = [word[:MOST_WORD_CHARACTERS] for _, word in zip(range(FAMILY_WORDS), words, strict=False)]
    return ", ".join(filter(None, [" ".join(first), length_of(mask)]))


def length_of(mask: str) -> str:
    """`"a b c d e f" -> "5 to 8 words"`"""
    most = 1 << max(0, len(mask.split()) - 1).bit_length()
    return f"{most // 2 + 1} to {most} words" if most > 2 else f"{most} word{'s'[: most > 1]}"


def wide_text(family: str) -> str:
    """`"retrying shard, 5 to 8 words" -> "other lines (retrying shard, 5 to 8 words)"`"""
    return f"other lines ({family})"
