"""The pure modules of the list of lines, in a real Chromium: where it stands, what folds, what terminals' colours become."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.conftest import Ask

FEW = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEIGHTS = some.lists(
    some.tuples(some.integers(1, 5), some.sampled_from([18, 18, 18, 90, 700])), min_size=1, max_size=60
)
PAGE = 256
TEXTS = (
    "step 1",
    "2026-11-26 14:00:00 INFO saved",
    "2026-11-26 14:00:09 INFO saved",
    "Traceback (most recent call last):",
    '  File "a.py", line 3, in f',
    "    f()",
    "ValueError: bad",
    "",
    "During handling of the above exception, another exception occurred:",
    "[rank1]: Traceback (most recent call last):",
    '[rank1]:   File "b.py", line 9, in g',
    "[rank1]: OSError: gone",
)
LIST = """
const { settled, entriesInView } = await load("logs/list.js");
const starts = [], tall = new Map();
let total = 0;
for (const [lines, px] of spans) { starts.push(total); tall.set(total, px); total += lines; }
const entries = {
  total, tall: (at) => tall.get(at),
  startOf: (at) => starts.findLast((start) => start <= at),
  endOf: (at) => starts.find((start) => start > at) ?? total,
};
const tops = (anchor) => {
  let y = -anchor.shift;
  return entriesInView(entries, anchor, height).starts.map((at) => { const top = y; y += tall.get(at); return [at, top]; });
};
"""


def line(text: str, number: int = 1, level: int = 20, rank: int | None = None) -> dict[str, Any]:
    return {
        "run": "a",
        "file": "x.log",
        "time_s": 0,
        "level": level,
        "text": text,
        "rank": rank,
        "number": number,
        "hit": False,
        "spans": [],
    }


def joins(ask: Ask, lines: list[dict[str, Any]], first: int, folds: bool = True) -> list[int]:
    body = f"const {{ joinsOf }} = await load('logs/line.js'); return [...joinsOf({json.dumps(lines)}, {first}, {json.dumps(folds)})];"
    found: list[int] = ask(body)
    return found


@FEW
@given(HEIGHTS, some.integers(0, 300), some.integers(-3000, 3000), some.integers(20, 900), some.integers(-500, 500))
def test_a_place_fills_the_view_and_moves_by_what_was_scrolled(
    ask: Ask, spans: list[tuple[int, int]], offset: int, shift: int, height: int, by: int
) -> None:
    code = f"const spans = {json.dumps(spans)}, height = {height};" + LIST
    code += f"""
    const place = settled(entries, {{ offset: {offset}, shift: {shift} }}, height);
    const moved = settled(entries, {{ offset: place.offset, shift: place.shift + {by} }}, height);
    return [place, settled(entries, place, height), tops(place), tops(moved)];"""
    place, again, before, after = ask(code)
    assert place == again
    whole = sum(tall for _, tall in spans)
    assert before[0][1] <= 0 and place["shift"] >= 0
    by_start = dict(
        zip([sum(lines for lines, _ in spans[:i]) for i in range(len(spans))], [tall for _, tall in spans], strict=True)
    )
    bottom = before[-1][1] + by_start[before[-1][0]]
    assert bottom >= min(height, whole), "the view is filled as far as there are lines"
    both = dict(before).keys() & dict(after).keys()
    ways = {dict(before)[at] - dict(after)[at] for at in both}
    assert len(ways) <= 1, "all entries move alike"
    at_an_end = after[0] == [0, 0] or after[-1][1] + by_start[after[-1][0]] == height
    assert not ways or ways == {by} or at_an_end


@FEW
@given(some.lists(some.sampled_from(TEXTS), min_size=1, max_size=40), some.integers(0, 40))
def test_an_entry_does_not_depend_on_lines_behind_it(ask: Ask, texts: list[str], cut: int) -> None:
    lines = [line(text, i) for i, text in enumerate(texts)]
    found = joins(ask, lines, 0)
    assert found[0] == 0 and found[: cut + 1] == joins(ask, lines[: cut + 1], 0)
    for i, join in enumerate(found):
        if join == 1:
            assert re.sub(r"^2026\S+ \S+ INFO ", "", texts[i]) == re.sub(r"^2026\S+ \S+ INFO ", "", texts[i - 1])


def test_tracebacks_of_several_kinds_are_one_entry_each(ask: Ask) -> None:
    chained = [*TEXTS[3:7], "", TEXTS[8], "", *TEXTS[3:7]]
    assert joins(ask, [line(text) for text in ["step 1", *chained, "step 2"]], 0) == [
        0,
        0,
        *[2] * (len(chained) - 1),
        0,
    ]
    assert joins(ask, [line(text) for text in [*TEXTS[9:], "step 2", "step 2"]], 0) == [0, 2, 2, 0, 1]


def test_a_traceback_goes_on_in_the_next_page_and_equal_lines_do_not(ask: Ask) -> None:
    page = [line("step 1", i) for i in range(PAGE - 2)] + [line(text) for text in TEXTS[3:5]]
    assert joins(ask, [*page, *(line(text) for text in TEXTS[5:7]), line("x"), line("x")], PAGE) == [2, 2, 0, 1]
    assert joins(ask, [*[line("x")] * PAGE, line("x"), line("x")], PAGE) == [0, 1]
    assert joins(ask, [line("x")] * 3, 0, folds=False) == [0, 0, 0]
    assert joins(ask, [line("x", rank=0), line("x", rank=1), line("x", level=40)], 0) == [0, 1, 0]


@FEW
@given(
    some.lists(
        some.sampled_from(
            ["a", "bc ", "\x1b[31m", "\x1b[0m", "\x1b[1;38;5;208m", "\x1b]0;t\x07", "\x1b[2K", "é", "🙂"]
        ),
        max_size=12,
    ),
    some.lists(some.integers(0, 30), max_size=6),
)
def test_colours_change_no_character(ask: Ask, pieces: list[str], edges: list[int]) -> None:
    text, ends = "".join(pieces), sorted(set(edges))
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    code = f"""const {{ partsOf, marked }} = await load("logs/line.js");
    const parts = marked(partsOf({json.dumps(text)}), {json.dumps(spans)});
    return [parts.map(({{ text }}) => text).join(""), parts.every(({{ text }}) => text), parts.filter(({{ hit }}) => hit).length];"""
    plain, filled, hits = ask(code)
    assert plain == "".join(piece for piece in pieces if not piece.startswith("\x1b")) and filled
    assert hits <= len(spans) * max(1, len(pieces))


def test_colours_are_those_of_the_theme(ask: Ask) -> None:
    code = r"""const { partsOf } = await load("logs/line.js");
    return partsOf("\x1b[31mr\x1b[1mb\x1b[22m\x1b[39mn\x1b[38;2;10;200;30mg\x1b[48;5;1mx\x1b[38;5;196my\x1b[0mz").map(({ text, classes }) => [text, classes]);"""
    assert ask(code) == [
        ["r", "ansi-red"],
        ["b", "ansi-red strong"],
        ["n", ""],
        ["g", "ansi-green"],
        ["x", "ansi-green"],
        ["y", "ansi-red"],
        ["z", ""],
    ]


def test_a_number_is_named_by_the_words_beside_it(ask: Ask) -> None:
    code = """const { fieldName } = await load("logs/entry.js");
    const lr = "<time> INFO step # loss=# lr # # it/s"; return [0, 1, 2, 3, 4].map((field) => fieldName(lr, field)).concat(fieldName("#", 0));"""
    assert ask(code) == ["step", "loss", "lr", "it/s", "it/s", "number 1"]
