"""Lines are grouped by their constant words, whatever they are, and no file has templates without end."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.lines import templates
from collectors.lines.templates import (
    NewTemplate,
    RunTemplates,
    family_of,
    field_count,
    field_values,
    keys_of,
    length_of,
    masked,
    masks_of,
    number_spans,
)

WORD = st.sampled_from(
    [
        "step",
        "loss",
        "12",
        "0.5",
        "-3e-05",
        "1,234",
        "0x1f",
        "deadbeef01",
        "/a/b/c.pt",
        '"a b"',
        "#",
        "é7",
        "[",
        ":",
        "=",
    ]
)
LINE = st.lists(WORD | st.text(max_size=8), max_size=12).map(" ".join) | st.text(max_size=60)
ODD = [
    "",
    " ",
    "\x00\x01\x02\x03\x04\x05",
    "\ud800 7",
    "12" * 600,
    "a" * (1 << 20),
    "\n",
    "é" * 2000,
    "#" * 50,
    "<time> 5",
    "-",
    '"',
]


@pytest.mark.parametrize(
    ("line", "mask"),
    [
        ("step 7 | loss 0.25 | lr 3.00e-05 | 1,673 tokens/s", "step # | loss # | lr # | # tokens/s"),
        ("2026-11-24 17:43:39.068+00:00 INFO saved ckpt-12.pt", "<time> INFO saved ckpt-#.pt"),
        ("2026-11-24T17:43:39Z up, 12:13:14 left", "<time> up, <time> left"),
        ("{'loss': -1.5, 'lr': 2.5e-05, \"event\": \"retry\"}", "{'loss': #, 'lr': #, \"event\": \"retry\"}"),
        ("{'loss': '7.456', 'epoch': '0.625'}", "{'loss': '#', 'epoch': '#'}"),
        ('File "/a/b.py", line 12, in run', "File <text>, line #, in run"),
        ("saved /data/run-7/model.bin of https://a.b:80/c?d=1", "saved <path> of https<path>"),
        ("commit 3f9c2d1e at 0x7ffd12 and cafe or decade", "commit <hex> at <hex> and cafe or decade"),
        ("job 550e8400-e29b-41d4-a716-446655440000 on cuda:0", "job <id> on cuda:#"),
        ("conv2d fp16 10.0.0.1:8080 v1.2.3", "conv#d fp# #.#:# v#.#"),
        ("12345678e-05 of 1234567", "# of #"),
        ("fit:  25%|██▌       | 25/100 [00:01<00:03]", "fit:  #%|<text>| #/# [#:#<#:#]"),
        ("fit:   0%|          | 0/100 [00:00<?]", "fit:   #%|<text>| #/# [#:#<?]"),
        ("fit:  25%|##5       | 25/100 [00:01<00:03]", "fit:  #%|<text>| #/# [#:#<#:#]"),
    ],
)
def test_what_varies_is_masked_and_words_stay(line: str, mask: str) -> None:
    assert masked(line) == mask


@given(st.lists(LINE, min_size=1, max_size=8))
@settings(deadline=None, max_examples=150)
def test_a_mask_depends_on_its_line_alone_and_its_numbers_are_found_again(lines: list[str]) -> None:
    together = masks_of(keys_of(lines))
    assert together == [masked(line) for line in lines] and len(together) == len(lines)
    for line, mask, spans in zip(lines, together, number_spans(lines), strict=True):
        assert len(spans) == field_count(mask)
        data = line.encode("utf-8", "surrogatepass")
        assert all(0 <= start <= end <= len(data) for start, end in spans)
        assert not any(character.isascii() and character.isdigit() for character in mask)


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_have_masks_of_bounded_length(line: str) -> None:
    assert len(masked(line)) <= 6 * templates.MAX_CHARACTERS and len(number_spans([line])) == 1
    assert RunTemplates().group([line, "step 1"], ["a", "a"])[0] == [1, 2]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9), min_size=1, max_size=6)
)
@settings(deadline=None, max_examples=100)
def test_fields_are_the_numbers_that_were_written(values: list[float]) -> None:
    line = "step " + " ".join(f"v={value}" if at % 2 else f"w: {value}" for at, value in enumerate(values))
    for field, value in enumerate(values):
        (found,) = field_values([line], field).tolist()
        assert found == value, masked(line)
    assert math.isnan(field_values([line], len(values))[0])


def test_thousands_and_number_signs_keep_the_places_of_fields() -> None:
    assert field_values(["a 1,000 b -2e-3", "a # b 3", "none"], 0).tolist()[0] == 1000
    assert field_values(["a 1,000 b -2e-3", "a # b 3"], 1).tolist() == [-0.002, 3]


def unlike(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [
        " ".join("".join(chance.choices("abcdefgh", k=5)) for _ in range(chance.randint(1, 20))) for _ in range(count)
    ]


def test_a_file_where_every_line_is_unique_has_bounded_templates_and_loses_no_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(templates, "MAX_OF_FILE", 50)
    monkeypatch.setattr(templates, "MAX_WIDE", 20)
    run, made = RunTemplates(), []
    for _ in range(20):
        ids, new = run.group(unlike(100, len(made)), ["a"] * 100)
        made += new
        assert min(ids) >= 1 and max(ids) <= len(made)
    assert sum(not template.wide for template in made) == 50 and sum(template.wide for template in made) <= 20 + 12
    ids, new = run.group(["step 1 loss 2", "step 3 loss 4"], ["b", "b"])
    assert ids[0] == ids[1] and [template.wide for template in new] == [False], "another file of the run has room"


def test_a_wide_template_depends_on_the_line_alone() -> None:
    assert family_of("<time> INFO retrying shard # of # again") == "retrying shard, 5 to 8 words"
    assert family_of("<time> ERROR # <hex>") == "3 to 4 words" and family_of("") == "1 word"
    assert [length_of("a " * count) for count in (1, 2, 3, 4, 5, 8, 9)] == [
        "1 word",
        "2 words",
        *["3 to 4 words"] * 2,
        *["5 to 8 words"] * 2,
        "9 to 16 words",
    ]


@given(
    st.lists(st.sampled_from(["step # x", "step 5 x", "other", "a b c", "3 of 4", "y é", "é 7"]), max_size=30),
    st.integers(0, 30),
)
@settings(deadline=None, max_examples=60)
def test_ids_stay_over_a_restart(lines: list[str], cut: int) -> None:
    whole = RunTemplates()
    ids, new = whole.group(lines, ["f"] * len(lines))
    first = RunTemplates()
    before, known = first.group(lines[:cut], ["f"] * len(lines[:cut]))
    after, more = RunTemplates([NewTemplate._make(template) for template in known]).group(
        lines[cut:], ["f"] * len(lines[cut:])
    )
    assert before + after == ids and known + more == new
    first.forget_keys()
    assert first.group(lines[:cut], ["f"] * len(lines[:cut])) == (before, [])
