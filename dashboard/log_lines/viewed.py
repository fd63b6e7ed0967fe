"""Lines as a viewer may see them: numbers inside what is left out have no place and no value, templates are masks of what is seen.

What is left out is found by trying: a number whose change does not change what is sent is no part of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.analysis.logs import masking
from collectors.analysis.logs.fields import field_count
from collectors.analysis.logs.templates import family_of, wide_text
from collectors.redaction import LEFT_OUT, redacted
from collectors.store.lines import LineTemplate

from ..auth.viewing import seen, sees_all
from .marking import TextSpan, in_utf16

OTHER_DIGITS = str.maketrans("0123456789", "1234567890")
MOST_CHARACTERS = 4000  # of a line with something left out: beyond, none of its numbers is offered

CharacterSpan: TypeAlias = tuple[int, int]


def seen_template(stored: LineTemplate) -> LineTemplate:
    """With the mask of the example as it is seen; the last word of an example that the store has cut may be half a secret."""
    if sees_all():
        return stored
    example = stored.example[: _whole(stored.example)]
    if example != stored.example:
        example += LEFT_OUT
    kept = redacted(example)
    if kept == stored.example:
        return stored
    mask = masking.masked(kept)
    return stored._replace(text=wide_text(family_of(mask)) if stored.wide else mask, example=kept)


def seen_fields(stored: LineTemplate) -> int:
    """How many numbers the lines of a template have that can be read."""
    if stored.wide:
        return 0
    count = field_count(stored.text)
    return count if sees_all() else count - _hidden_of_example(stored.example, 0, count)


def seen_values(values: NDArray[np.float64], texts: Sequence[str], field: int, example: str) -> NDArray[np.float64]:
    """Of a field in some lines; NaN where it is left out of the line, everywhere where it is left out of the example."""
    if sees_all():
        return values
    if _hidden_of_example(example, field, field + 1):
        return np.full_like(values, math.nan)
    return np.array(
        [math.nan if _is_hidden(text, field) else value for text, value in zip(texts, values.tolist(), strict=True)]
    )


def seen_numbers(text: str) -> list[TextSpan]:
    """In UTF-16 units of what is sent of a line, one for each `#` of its template; of no extent where it is left out."""
    sent = seen(text)
    spans: list[masking.NumberSpan] = []
    end = 0
    for place in (_place(text, sent, span) for span in _spans(text)):
        if place is None:
            start = end
        else:
            start, end = place
        spans.append(masking.NumberSpan(_bytes(sent[:start]), _bytes(sent[:end])))
    return in_utf16(sent.encode("utf-8", "surrogatepass"), spans)


def _whole(example: str) -> int:
    """How many of its characters are whole words: the store cuts examples."""
    if len(example) < masking.MOST_CHARACTERS:
        return len(example)
    return len(example.rstrip()) - len(example.split()[-1]) if example.strip() else 0


def _hidden_of_example(example: str, first: int, behind: int) -> int:
    """How many of some fields are left out."""
    sent, whole = seen(example), _whole(example)
    return sum(span[1] > whole or _place(example, sent, span) is None for span in _spans(example)[first:behind])


def _is_hidden(text: str, field: int) -> bool:
    sent = seen(text)
    return sent != text and any(_place(text, sent, span) is None for span in _spans(text)[field : field + 1])


def _spans(text: str) -> list[CharacterSpan]:
    """In characters."""
    shown = text[: masking.MOST_CHARACTERS].replace("\n", " ")
    (spans,) = masking.number_spans([shown])
    data = shown.encode("utf-8", "surrogatepass")
    return [(_characters(data[: span.start]), _characters(data[: span.end])) for span in spans]


def _place(text: str, sent: str, span: CharacterSpan) -> CharacterSpan | None:
    """Where a number of a text stands in what is sent of it."""
    start, end = span
    if sent == text:
        return span
    if start == end or len(text) > MOST_CHARACTERS:
        return None
    number, other = text[start:end], text[start:end].translate(OTHER_DIGITS)
    instead = seen(f"{text[:start]}{other}{text[end:]}")
    at = next((i for i, (a, b) in enumerate(zip(sent, instead, strict=False)) if a != b), None)
    if at is None:
        return None
    begin = at - next(i for i, (a, b) in enumerate(zip(number, other, strict=True)) if a != b)
    behind = begin + end - start
    return (begin, behind) if begin >= 0 and sent[begin:behind] == number and instead[begin:behind] == other else None


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))
