"""The reader of the native sampler's stream: what it makes of lines, of halves of lines, and of anything else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.records import Frame, Resident, StackSpan
from collectors.sampler.native import (
    KINDS,
    LONGEST_LINE,
    MAX_FAULTS,
    MAX_GARBAGE,
    Fate,
    SampleBatch,
    StreamError,
    StreamReader,
)

LINES: list[list[Any]] = [
    ["native", 2],
    ["attached", 7, "3.11.7", 327],
    ["n", 1, "train.py"],
    ["n", 2, "<module>"],
    ["n", 3, "step"],
    ["f", 1, 1, 2, 40],
    ["f", 2, 1, 3, 12],
    ["k", 1, 0, 1],
    ["k", 2, 1, 2],
    ["n", 4, "MainThread"],
    ["t", 7, 4711, 4],
    ["s", 7, 4711, 1_000, 500, 1, 1, 400],
    ["s", 7, 4711, 1_500, 500, 2, 2, -1],
    ["w", 7, 900, 2_000, 12, 3, 100.0],
    ["s", 7, 4711, 2_000, 700, 2, 0, 0],
    ["w", 7, 2_000, 2_700, 4, 0, 100.0],
    ["gone", 7],
    ["refused", 8, "version", "3.10.13"],
]
MODULE, STEP = Frame("<module>", "train.py", 40), Frame("step", "train.py", 12)
MESSAGES: list[Fate | SampleBatch] = [
    Fate(7, "attached", detail="3.11.7"),
    SampleBatch(
        7,
        900,
        2_000,
        12,
        3,
        100.0,
        {4711: "MainThread"},
        [
            StackSpan(1_000, 500, 4711, (MODULE,), gil=True, cpu_ns=400, resolved=True),
            StackSpan(1_500, 500, 4711, (MODULE, STEP), gil=False, cpu_ns=None, resolved=False),
        ],
    ),
    SampleBatch(7, 2_000, 2_700, 4, 0, 100.0, {}, [StackSpan(2_000, 700, 4711, (MODULE, STEP), gil=False, cpu_ns=0)]),
    Fate(7, "gone"),
    Fate(8, "refused", "version", "3.10.13"),
]


def written(lines: list[list[Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_sizes_of_memory_come_with_the_window_that_they_are_in() -> None:
    sizes = [["m", 7, 950, 2048], ["m", 7, 1_600, 4096]]
    _, first, second, *_ = StreamReader().feed(written([*LINES[:-5], *sizes, *LINES[-5:]]))
    assert isinstance(first, SampleBatch) and first.resident == (Resident(950, 2048), Resident(1_600, 4096))
    assert isinstance(second, SampleBatch) and second.resident == ()


def test_lines_become_windows_of_spans() -> None:
    assert StreamReader().feed(written(LINES)) == MESSAGES


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1))
def test_it_does_not_matter_where_the_bytes_are_cut(lengths: list[int]) -> None:
    reader, data, messages = StreamReader(), written(LINES), []
    while data:
        for length in lengths:
            messages += reader.feed(data[:length])
            data = data[length:]
    assert messages == MESSAGES


def test_a_half_written_line_waits_for_its_end() -> None:
    reader = StreamReader()
    assert reader.feed(written(LINES[:2])[:-1]) == []
    assert reader.feed(b"\n") == MESSAGES[:1]


def test_after_a_reset_numbers_mean_something_else_and_spans_without_a_window_are_void() -> None:
    reader = StreamReader()
    reader.feed(written(LINES[:13]))
    again = [
        ["reset"],
        ["n", 1, "eval.py"],
        ["n", 2, "main"],
        ["f", 1, 1, 2, 5],
        ["k", 1, 0, 1],
        ["s", 7, 9, 5_000, 10, 1, 0, 0],
    ]
    (window,) = reader.feed(written([*again, ["w", 7, 5_000, 6_000, 1, 12, 100.0]]))
    assert isinstance(window, SampleBatch)
    assert [sample.stack for sample in window.spans] == [(Frame("main", "eval.py", 5),)]
    assert (window.threads, window.errors) == ({}, 12)


@pytest.mark.parametrize(
    "line",
    [
        ["native", 2],  # again
        ["native", 2],
        ["unheard", 1],
        ["s", 7, 4711, 1_000, 500, 99, 1, 400],  # a stack that was not explained
        ["s", 7, 4711, 1_000, -500, 1, 1, 400],
        ["s", 7, 4711, 1 << 63, 500, 1, 1, 400],
        ["s", 7, 4711, 1_000, 500, 1, 1],
        ["s", 7, "4711", 1_000, 500, 1, 1, 400],
        ["f", 3, 99, 1, 1],
        ["f", 3, 1, 1, -1],
        ["k", 3, 3, 1],  # its own caller
        ["k", 3, 0, 99],
        ["t", 7, 1, 99],
        ["w", 7, 2_000, 1_000, 0, 0, 100.0],
        ["w", 7, 2_000, 3_000, -1, 0, 100.0],
        {"native": 1},
        7,
        None,
        [],
        [["native"], 1],
    ],
)
def test_a_line_that_cannot_be_costs_its_target_and_no_other(line: Any) -> None:
    reader = StreamReader()
    assert reader.feed(written([*LINES[:13], line])) == MESSAGES[:1]
    (own, other) = reader.feed(
        written([LINES[13], ["s", 8, 5, 3_000, 10, 2, 0, 0], ["w", 8, 3_000, 4_000, 1, 0, 100.0]])
    )
    assert isinstance(own, SampleBatch) and isinstance(other, SampleBatch)
    assert (own.spans, own.samples) == (MESSAGES[1].spans, 12)  # type: ignore[union-attr]
    assert own.errors in (3, 4), "one more where the line names the target"
    assert ([span.stack for span in other.spans], other.errors) == ([(MODULE, STEP)], 0)


@pytest.mark.parametrize("data", [b"\n", b"[\n", b"\xff\n", b"x" * (LONGEST_LINE + 1) + b"\n", b"[" * 40_000 + b"\n"])
def test_bytes_that_are_no_lines_cost_none_of_the_others(data: bytes) -> None:
    reader = StreamReader()
    begun = reader.feed(written(LINES[:1]))
    for byte in data:
        begun += reader.feed(bytes([byte])) if len(data) < 9 else []
    begun += reader.feed(data) if len(data) >= 9 else []
    assert begun + reader.feed(written(LINES[1:])) == MESSAGES


def test_a_name_that_is_no_utf_8_costs_its_bad_bytes() -> None:
    reader = StreamReader()
    reader.feed(written(LINES[:9]) + b'["n",4,"gpu\xffworker \xed\xa0\x80"]\n')
    (window,) = reader.feed(written(LINES[10:14]))
    assert isinstance(window, SampleBatch)
    assert window.threads == {4711: "gpu\N{REPLACEMENT CHARACTER}worker " + 3 * "\N{REPLACEMENT CHARACTER}"}


def test_a_target_of_which_only_nonsense_comes_is_refused_and_the_others_go_on() -> None:
    reader, bad = StreamReader(), ["s", 7, 1, 0, -1, 1, 0, 0]
    messages = reader.feed(written([*LINES[:9], *[bad] * (MAX_FAULTS + 5), *LINES[11:14]]))
    assert messages[0] == MESSAGES[0]
    assert isinstance(messages[1], Fate) and messages[1][:3] == (7, "refused", "stream")
    assert len(messages) == 2, "its windows are passed over"
    (other,) = reader.feed(written([["s", 8, 5, 3_000, 10, 2, 0, 0], ["w", 8, 3_000, 4_000, 1, 0, 100.0]]))
    assert isinstance(other, SampleBatch) and len(other.spans) == 1
    assert reader.feed(written([["gone", 7], *LINES[11:14]]))[0] == Fate(7, "gone"), "its number may be given anew"


def test_a_stream_of_nothing_but_garbage_is_given_up() -> None:
    reader = StreamReader()
    reader.feed(written(LINES))
    with pytest.raises(StreamError, match="not a line"):
        reader.feed(b"garbage\n" * (MAX_GARBAGE + 1))


def test_the_first_line_tells_the_version() -> None:
    with pytest.raises(StreamError):
        StreamReader().feed(written(LINES[1:]))
    with pytest.raises(StreamError, match="make setup"):
        StreamReader().feed(written([["native", 9]]))


VALUES = st.one_of(
    st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none(), st.lists(st.integers(), max_size=2)
)
ANY_LINE = st.tuples(st.sampled_from([*KINDS, "other"]), st.lists(VALUES, max_size=8)).map(
    lambda one: [one[0], *one[1]]
)


@settings(deadline=None)
@given(st.lists(ANY_LINE, max_size=20))
def test_any_values_are_read_or_an_error(lines: list[list[Any]]) -> None:
    survive(written(LINES) + written(lines))


@settings(max_examples=500, deadline=None)
@given(st.integers(), st.integers(1, 30))
def test_flipped_bytes_are_read_or_an_error(seed: int, flips: int) -> None:
    chance, data = random.Random(seed), bytearray(written(LINES))
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.choice(b'[],"0159-.esnfkw\n\\{}\x00\xff')
    survive(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_an_error(data: bytes) -> None:
    survive(written(LINES[:1]) + data)


@settings(max_examples=200, deadline=None)
@given(st.integers(), st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_a_healthy_target_loses_no_window_whatever_stands_between_its_lines(
    seed: int, noise: list[bytes], shuffled: bool
) -> None:
    """Lines of another target: cut short, twice, in another order, with any bytes between them."""
    chance = random.Random(seed)
    other = [json.dumps([line[0], 9, *line[2:]]).encode() for line in LINES[10:17]]
    lines = [one[: chance.randrange(len(one) + 1)] for one in other] + [one.replace(b"\n", b" ") for one in noise]
    if shuffled:
        chance.shuffle(lines)
    own = [json.dumps(line).encode() for line in LINES]
    places = sorted(chance.randrange(9, len(own) + 1) for _ in lines)
    for place, line in reversed([*zip(places, lines, strict=True)]):
        if b'"reset"' not in line:  # which is the sampler's own word: all before it is void
            own.insert(place, line)
    messages = StreamReader().feed(b"\n".join(own) + b"\n")
    assert [message for message in messages if message.target in (7, 8)] == MESSAGES


def survive(data: bytes) -> None:
    """Whatever comes out has the types that the store expects."""
    try:
        messages = StreamReader().feed(data)
    except StreamError:
        return
    for message in messages:
        if isinstance(message, SampleBatch):
            assert 0 <= message.start_ns <= message.end_ns < 1 << 63
            assert all(
                one.mono_ns >= 0 and one.duration_ns > 0 and one.mono_ns + one.duration_ns < 1 << 63
                for one in message.spans
            )
            assert all(
                isinstance(frame, Frame) and abs(frame.line) < 1 << 63 for one in message.spans for frame in one.stack
            )
            assert all(abs(tid) < 1 << 63 and isinstance(name, str) for tid, name in message.threads.items())
