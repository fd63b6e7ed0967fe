"""The palette: that its colours can be told apart in both themes and by everybody, what has which, and that a run keeps its own."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.ledger.evidence import PHASES
from analysis.ledger.kinds import KINDS, LABELS, RUN_KINDS, SHORT
from dashboard.colours import COLOURS, SOLID, TIME, plotly_template, tokens
from tests.conftest import Ask

Rgb: TypeAlias = tuple[float, float, float]  # linear, 0 to 1
CONTRAST = 3.0  # WCAG 2, of graphical objects
APART = {"usual": 12.0, "deuteranopia": 7.0, "protanopia": 7.0, "tritanopia": 7.0}  # OKLab, times 100
SHADES_APART = 6.5
SIGHTS = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
PALETTE = tuple(f"c{number}" for number in range(1, COLOURS + 1))
SHADES = ("forward", "backward", "optimizer")
NAMES = [f"run {number}" for number in range(24)]


def test_the_palette_is_the_same_in_both_themes_and_repeats_dashed(ask: Ask) -> None:
    dark, light = tokens("dark"), tokens("light")
    for name in (*PALETTE, *SHADES, "heat-4", "diff-less-3", "diff-more-3"):
        assert dark[name] == light[name], name
    assert [dark[name] for name in PALETTE[SOLID:]] == [dark[name] for name in PALETTE[:SOLID]]
    drawn = ask(
        "const { isDashed, colourAt } = await load('data/colours.js'); return Array.from({ length: 17 }, (_, i) => [colourAt(i), isDashed(colourAt(i))]);"
    )
    assert drawn == [[name, number >= SOLID] for number, name in enumerate(PALETTE)] + [["c1", False]]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_colours_stand_out_from_the_ground_and_from_panels(theme: Any) -> None:
    known = tokens(theme)
    for name in (*PALETTE[:SOLID], *SHADES):
        for ground in ("bg", "surface"):
            assert contrast(linear(known[name]), linear(known[ground])) >= CONTRAST, f"{name} on {ground}"


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_colours_can_be_told_apart(sight: str) -> None:
    known = tokens("dark")
    assert least_distance([linear(known[name]) for name in PALETTE[:SOLID]], sight) >= APART[sight]
    assert least_distance([linear(known[name]) for name in SHADES], sight) >= SHADES_APART


CHOICES = st.lists(st.lists(st.sampled_from(NAMES), max_size=20, unique=True), min_size=1, max_size=6)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHOICES)
def test_a_run_keeps_its_colour_while_it_is_chosen_whatever_happens_to_the_others(
    ask: Ask, choices: list[list[str]]
) -> None:
    told = ask(f"""
      const {{ Colours }} = await load("data/colours.js");
      const colours = new Colours();
      return {json.dumps(choices)}.map((names) => (colours.choose(names), names.map((name) => [name, colours.of(name)])));""")
    before: dict[str, str] = {}
    for pairs, names in zip(told, choices, strict=True):
        found = dict(pairs)
        coloured = [colour for colour in found.values() if colour != "ink-3"]
        assert set(coloured) <= set(PALETTE) and len(set(coloured)) == len(coloured), "a colour stands for one run"
        assert len(coloured) == min(COLOURS, len(names)), "grey only once all colours are taken"
        for name in names:
            assert before.get(name, "ink-3") in ("ink-3", found[name]), f"{name} was recoloured"
        before = found


def test_the_first_runs_are_solid_and_another_takes_the_first_free_colour(ask: Ask) -> None:
    told = ask("""
      const { Colours } = await load("data/colours.js");
      const colours = new Colours();
      const of = (...names) => names.map((name) => colours.of(name));
      colours.choose(["a", "b", "c"]);
      const first = of("a", "b", "c", "d");
      colours.choose(["b", "c", "d"]);
      return [first, of("a", "b", "c", "d")];""")
    assert told == [["c1", "c2", "c3", "ink-3"], ["ink-3", "c2", "c3", "c1"]]


def test_charts_that_choose_for_themselves_take_no_colour_from_the_page(ask: Ask) -> None:
    told = ask("""
      const { Colours } = await load("data/colours.js");
      const colours = new Colours();
      const chart = {};
      colours.choose(["a", "b"]);
      colours.choose(["b", "c"], chart);
      const beside = ["a", "b", "c"].map((name) => colours.of(name));
      colours.release(chart);
      colours.choose(["b"]);
      return [beside, ["a", "b", "c"].map((name) => colours.of(name))];""")
    assert told == [["c1", "c2", "c3"], ["ink-3", "c2", "ink-3"]]


def test_every_kind_of_time_has_a_colour_and_those_that_usually_stand_together_differ() -> None:
    assert set(TIME) == {*KINDS, *RUN_KINDS} and set(TIME.values()) <= {*range(1, COLOURS + 1)}
    of_runs = [TIME[kind] for kind in RUN_KINDS]
    assert len(set(of_runs)) == len(of_runs)
    together = ("busy", "data", "launch", "sync", "collective", "python", "wait", "log", "checkpoint", "validation")
    of_steps = [TIME[kind] for kind in (*together, "copy", "compile", "cpu_taken", "other", "unexplained")]
    assert len(set(of_steps)) == len(of_steps)


def test_short_names_of_kinds_are_words_of_their_labels_and_differ() -> None:
    for kind in KINDS:
        assert all(word in LABELS[kind] for word in SHORT[kind].split()), kind
    assert len({SHORT[kind] for kind in KINDS}) == len(KINDS)


def test_a_phase_has_the_colour_of_the_time_that_the_ledger_counts_it_as(ask: Ask) -> None:
    names = [*PHASES, *SHADES, "sampling"]
    lines = ask(f"""
      const {{ lanesOf }} = await load("data/lanes.js");
      const metas = {json.dumps(names)}.map((name) => ({{ run: "a", name: `phase/${{name}}_s`, labels: {{}}, points: 9 }}));
      return lanesOf(metas).find(({{ id }}) => id === "phases").lines.map(({{ label, colour }}) => [label, colour]);""")
    found = dict(lines)
    assert {name: found[name] for name in PHASES} == {name: f"c{TIME[kind]}" for name, kind in PHASES.items()}
    assert [found[name] for name in SHADES] == [*SHADES] and found["sampling"] in PALETTE


def test_plotly_draws_in_the_palette_and_the_inks_of_the_theme() -> None:
    for theme in ("dark", "light"):
        known, layout = tokens(theme), plotly_template(theme)["layout"]
        assert layout["colorway"] == [known[name] for name in PALETTE[:SOLID]]
        assert (layout["font"]["color"], layout["xaxis"]["gridcolor"]) == (known["ink-2"], known["line"])
    assert plotly_template()["layout"]["font"]["color"] == "var(--ink-2)"


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
