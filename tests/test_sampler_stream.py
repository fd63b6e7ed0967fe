"""The reader of the native sampler's stream: what it makes of lines, of halves of lines, and of anything else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.records import Frame, StackSample
from collectors.sampler.stream import KINDS, LONGEST_LINE, Attached, Gone, Message, Refused, StreamError, StreamReader, Window

LINES: list[list[Any]] = [
    ["native", 1],
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
MESSAGES: list[Message] = [
    Attached(7, "3.11.7", 327),
    Window(
        7,
        900,
        2_000,
        12,
        3,
        100.0,
        {4711: "MainThread"},
        [
            StackSample(1_000, 500, 4711, (MODULE,), gil=True, cpu_ns=400, resolved=True),
            StackSample(1_500, 500, 4711, (MODULE, STEP), gil=False, cpu_ns=None, resolved=False),
        ],
    ),
    Window(7, 2_000, 2_700, 4, 0, 100.0, {}, [StackSample(2_000, 700, 4711, (MODULE, STEP), gil=False, cpu_ns=0)]),
    Gone(7),
    Refused(8, "version", "3.10.13"),
]


def written(lines: list[list[Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_lines_become_windows_of_spans() -> None:
    assert StreamReader().feed(written(LINES)) == MESSAGES


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
    again = [["reset"], ["n", 1, "eval.py"], ["n", 2, "main"], ["f", 1, 1, 2, 5], ["k", 1, 0, 1], ["s", 7, 9, 5_000, 10, 1, 0, 0]]
    (window,) = reader.feed(written([*again, ["w", 7, 5_000, 6_000, 1, 12, 100.0]]))
    assert isinstance(window, Window)
    assert [sample.stack for sample in window.spans] == [(Frame("main", "eval.py", 5),)]
    assert (window.threads, window.errors) == ({}, 12)


@pytest.mark.parametrize(
    "line",
    [
        ["native", 1],  # again
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
def test_a_line_that_cannot_be_is_an_error(line: Any) -> None:
    reader = StreamReader()
    reader.feed(written(LINES))
    with pytest.raises(StreamError):
        reader.feed(json.dumps(line).encode() + b"\n")


@pytest.mark.parametrize(
    "data", [b"\n", b"[\n", b"\xff\n", b'["n",1,"\xed\xa0\x80"]\n', b"x" * (LONGEST_LINE + 1), b"[" * 40_000 + b"\n"]
)
def test_bytes_that_are_no_lines_are_an_error(data: bytes) -> None:
    reader = StreamReader()
    reader.feed(written(LINES[:1]))
    with pytest.raises(StreamError):
        reader.feed(data)


def test_the_first_line_tells_the_version() -> None:
    with pytest.raises(StreamError):
        StreamReader().feed(written(LINES[1:]))
    with pytest.raises(StreamError, match="make setup"):
        StreamReader().feed(written([["native", 9]]))


VALUES = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none(), st.lists(st.integers(), max_size=2))
ANY_LINE = st.tuples(st.sampled_from([*KINDS, "other"]), st.lists(VALUES, max_size=8)).map(lambda one: [one[0], *one[1]])


@given(st.lists(ANY_LINE, max_size=20))
def test_any_values_are_read_or_an_error(lines: list[list[Any]]) -> None:
    survive(written(LINES) + written(lines))


@settings(max_examples=500)
@given(st.integers(), st.integers(1, 30))
def test_flipped_bytes_are_read_or_an_error(seed: int, flips: int) -> None:
    chance, data = random.Random(seed), bytearray(written(LINES))
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.choice(b'[],"0159-.esnfkw\n\\{}\x00\xff')
    survive(bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_an_error(data: bytes) -> None:
    survive(written(LINES[:1]) + data)


def survive(data: bytes) -> None:
    """Whatever comes out has the types that the store expects."""
    try:
        messages = StreamReader().feed(data)
    except StreamError:
        return
    for message in messages:
        if isinstance(message, Window):
            assert 0 <= message.start_ns <= message.end_ns < 1 << 63
            assert all(
                one.mono_ns >= 0 and one.duration_ns > 0 and one.mono_ns + one.duration_ns < 1 << 63 for one in message.spans
            )
            assert all(isinstance(frame, Frame) and abs(frame.line) < 1 << 63 for one in message.spans for frame in one.stack)
            assert all(abs(tid) < 1 << 63 and isinstance(name, str) for tid, name in message.threads.items())
