"""A text is found in the bytes of many lines as Python finds it in each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from dashboard.logs.search import Needle, finder, lines_of, occurrences

FEW = "aAbB@`[{é \n\udcff"  # those around the letters, too: they differ by the bit of the case


@given(some.text(FEW, max_size=300), some.text(FEW.replace("\n", ""), min_size=1, max_size=4), some.booleans())
def test_each_line_that_has_it_is_found_once(text: str, sought: str, case: bool) -> None:
    texts = text.encode("utf-8", "surrogatepass")
    found = finder(Needle(sought, case=case))(texts)
    lines = text.split("\n")
    wanted = [at for at, line in enumerate(lines) if (sought in line if case else sought.lower() in line.lower())]
    assert found.tolist() == wanted


@given(some.binary(max_size=400), some.binary(min_size=1, max_size=3), some.booleans())
def test_places_are_those_of_the_bytes(texts: bytes, sought: bytes, folds: bool) -> None:
    where, what = (texts.lower(), sought.lower()) if folds else (texts, sought)
    places = occurrences(texts, sought, folds=folds)
    assert places.tolist() == [at for at in range(len(where)) if where.startswith(what, at)]


def test_nothing_is_in_all_lines_and_in_no_line_of_nothing() -> None:
    assert finder(Needle(""))(b"a\n\nb").tolist() == [0, 1, 2]
    assert lines_of(b"", np.zeros(0, np.intp)).tolist() == []
