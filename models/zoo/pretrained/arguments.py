"""What users give to models: a value that no model can do with is one sentence, not an error of a library below."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import SupportsIndex

from ...errors import ModelsError

MOST_TOP = 1_000_000  # classes to name


def text_of(value: object, what: str) -> str:
    """Raises ModelsError for what is no text, or text that has no UTF-8."""
    if not isinstance(value, str):
        raise ModelsError(f"{what} is text, and this is {type(value).__name__}: call it once for each text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ModelsError(
            f"{what} has half a character at place {error.start}: decode it from UTF-8 with errors='replace'"
        ) from error
    return value


def texts_of(values: Iterable[str], what: str) -> list[str]:
    """Raises ModelsError for a single text, whose letters would be taken one by one."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ModelsError(
            f"{what} are a list of texts, and this is {type(values).__name__}: give [text] for a single one"
        )
    return [text_of(value, f"each of {what}") for value in values]


def whole(value: object, least: int, most: int, what: str) -> int:
    """Raises ModelsError outside of least..most."""
    if not isinstance(value, SupportsIndex) or isinstance(value, bool) or not least <= index(value) <= most:
        raise ModelsError(f"{what} is {str(value)[:50]}: give a whole number from {least:,} to {most:,}")
    return index(value)
