"""Where hits and numbers stand in a line: what a browser cuts out there is what was searched for, and what the curve draws."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from collectors.lines.templates import field_count, field_values, masked
from dashboard.logs import search
from dashboard.logs.search import Marker, Needle, finder, number_places

WORDS = some.sampled_from(
    ["step ", "7", "0.25", "-1e-3", "1,234", "über ", "🙂", "\u202e", "\x1b[31m", " ", "a.b", "=", "\ud800"]
)
TEXTS = some.lists(WORDS, max_size=12).map("".join)


def cut(text: str, span: tuple[int, int]) -> str:
    """As JavaScript's `text.slice(start, end)` does."""
    start, end = span
    return text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode("utf-16-le", "surrogatepass")


@settings(deadline=None, max_examples=150)
@given(TEXTS, some.sampled_from(["step", "🙂", "BER", "a.b", "5"]))
def test_what_is_marked_is_what_was_searched_for(text: str, sought: str) -> None:
    spans = Marker(Needle(sought)).spans(text)
    assert [cut(text, span).lower() for span in spans] == [sought.lower()] * text.lower().count(sought.lower())
    assert bool(spans) == bool(len(finder(Needle(sought))(text.encode("utf-8", "surrogatepass"))))


@settings(deadline=None, max_examples=150)
@given(TEXTS)
def test_each_number_is_the_value_of_its_field(text: str) -> None:
    places = number_places(text)
    assert len(places) == field_count(masked(text))
    for field, span in enumerate(places):
        value = field_values([text], field)[0]
        if not math.isnan(value):
            assert float(cut(text, span).replace(",", "")) == value


def test_an_expression_is_marked_where_it_matches() -> None:
    marker = Marker(Needle(r"\d+ of|x*", regex=True))
    assert [cut("é 12 of 40 xx", span) for span in marker.spans("é 12 of 40 xx")] == ["12 of", "xx"]
    assert len(marker.spans("x " * 1000)) == search.MAX_SPANS


@pytest.mark.parametrize("expression", [r"(?:.{0,200}a).{0,200}z", r"(a+)+$"])
def test_marking_ends_whatever_is_searched_for(expression: str) -> None:
    marker = Marker(Needle(expression, regex=True))
    began = time.monotonic()
    assert all(isinstance(marker.spans("a" * 16_000), list) for _ in range(200))
    assert time.monotonic() - began < 5
