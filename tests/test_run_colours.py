"""The colours of runs: which run gets which, and that sixteen can be told apart in both themes."""

from __future__ import annotations

import itertools
import math
import re
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.runs.figures import COLOURS, colours_of
from tests.conftest import ROOT, Ask

Rgb: TypeAlias = tuple[float, float, float]  # linear, 0 to 1
CONTRAST = 3.0  # WCAG 2, of graphical objects
APART = 12.5  # OKLab, times 100, in usual sight
APART_DASHED_ALIKE = 5.5  # in each kind of sight, of two that are both solid or both dashed
SIGHTS = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
NAMES = st.lists(st.text(max_size=6), max_size=40)


@settings(deadline=None, max_examples=60)
@given(NAMES)
def test_of_each_sixteen_all_differ_and_no_colour_has_more_runs_than_it_must(names: list[str]) -> None:
    found = colours_of(names)
    assert list(found) == list(dict.fromkeys(names))
    used = [list(found.values()).count(f"run-{colour}") for colour in range(COLOURS)]
    assert sum(used) == len(found)
    assert max(used) <= math.ceil(len(found) / COLOURS)


@settings(deadline=None, max_examples=60)
@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_in_which_runs_are_chosen_does_not_count(names: list[str], random: Random) -> None:
    shuffled = names[:]
    random.shuffle(shuffled)
    assert colours_of(shuffled) == colours_of(names)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=COLOURS, unique=True))
def test_a_run_has_the_colour_that_it_has_alone_unless_an_earlier_name_prefers_it_too(names: list[str]) -> None:
    alone = {name: colours_of([name])[name] for name in names}
    found = colours_of(names)
    for name in names:
        rivals = [other for other in names if alone[other] == alone[name]]
        first = min(rivals, key=lambda other: other.encode("utf-16-be", "surrogatepass"))
        assert (found[name] == alone[name]) == (name == first)


def test_the_lines_of_half_of_them_are_dashed(ask: Ask) -> None:
    dashed = ask(
        "const { isDashed, COLOURS } = await load('data/run_colours.js'); return Array.from({ length: COLOURS }, (_, i) => isDashed(`run-${i}`));"
    )
    assert dashed == [False] * 8 + [True] * 8


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_sixteen_runs_can_be_told_apart(theme: str) -> None:
    colours, background = tokens(theme)
    assert len(colours) == COLOURS
    assert min(contrast(colour, background) for colour in colours) >= CONTRAST
    assert least_distance(colours, "usual") >= APART
    for sight in SIGHTS:
        assert least_distance(colours[:8], sight) >= APART_DASHED_ALIKE, f"solid, {sight}"
        assert least_distance(colours[8:], sight) >= APART_DASHED_ALIKE, f"dashed, {sight}"


def tokens(theme: str) -> tuple[list[Rgb], Rgb]:
    """The colours of runs in a theme, and its background."""
    text = (ROOT / "assets" / "tokens.css").read_text()
    blocks = [block for block in text.split("}") if f'data-theme="{theme}"' in block]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", "".join(blocks)))
    return [linear(found[f"run-{colour}"]) for colour in range(COLOURS)], linear(found["bg"])


def linear(colour: str) -> Rgb:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def contrast(first: Rgb, second: Rgb) -> float:
    high, low = sorted(
        (0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (first, second)), reverse=True
    )
    return (high + 0.05) / (low + 0.05)


def least_distance(colours: list[Rgb], sight: str) -> float:
    return min(
        math.dist(oklab(first, sight), oklab(second, sight)) for first, second in itertools.combinations(colours, 2)
    )


def oklab(colour: Rgb, sight: str) -> tuple[float, ...]:
    """Times 100 (Ottosson 2020)."""
    seen = [max(0.0, part) for part in _times(SIGHTS[sight], colour)]
    cones = _times(
        (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        ),
        seen,
    )
    made = _times(
        (
            (0.2104542553, 0.793617785, -0.0040720468),
            (1.9779984951, -2.428592205, 0.4505937099),
            (0.0259040371, 0.7827717662, -0.808675766),
        ),
        [math.cbrt(max(0.0, part)) for part in cones],
    )
    return tuple(100 * part for part in made)


def _times(rows: tuple[tuple[float, ...], ...], column: tuple[float, ...] | list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, column, strict=True)) for row in rows]
