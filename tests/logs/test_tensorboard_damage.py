"""TensorBoard's event files cut anywhere, damaged anywhere, in odd pieces."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.records import Sample
from tests.support.event_records import (
    FILES,
    NOW,
    event_file,
    file_of,
    framed,
    frames,
    image,
    number,
    parsed,
    scalars,
    varint,
    without_infos,
)


def test_a_file_that_is_cut_anywhere_and_taken_up_again_gives_the_same() -> None:
    for path in FILES:
        data = path.read_bytes()
        whole = event_file()
        want = parsed(data, whole)
        cuts = range(len(data)) if len(data) < 4_000 else random.Random(0).sample(range(len(data)), 60)
        for at in cuts:
            first = event_file()
            before, used = first.parse_bytes(data[:at], None)
            second = event_file(json.loads(json.dumps(first.state())))
            after, rest = second.parse_bytes(data[used:], None)
            assert used <= at and used + rest == len(data)
            assert repr(without_infos(before + after)) == repr(without_infos(want))
            assert second.state() == whole.state()


@given(st.lists(st.integers(1, 400), max_size=40), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_bytes_that_come_in_pieces_give_what_they_give_at_once(sizes: list[int], which: int) -> None:
    data = FILES[which % len(FILES)].read_bytes()
    file, records, at, until = event_file(), [], 0, 0
    for size in [*sizes, len(data)]:
        until = min(until + size, len(data))
        found, used = file.parse_bytes(data[at:until], None)
        records += found
        at += used
    assert repr(without_infos(records)) == repr(without_infos(parsed(data)))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_damage_costs_the_records_that_it_hits(draw: st.DataObject) -> None:
    data = file_of("torch").read_bytes()
    places = draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=8))
    bad = bytearray(data)
    for at in places:
        bad[at] ^= draw.draw(st.integers(1, 255))
    hit = {i for i, (start, end) in enumerate(frames(data)) if any(bad[at] != data[at] for at in range(start, end))}
    clean = [data[start:end] for i, (start, end) in enumerate(frames(data)) if i not in hit]
    file = event_file()
    records, _ = file.parse_bytes(bytes(bad), None)
    assert repr(scalars(records)) == repr(scalars(parsed(b"".join(clean))))
    assert bool(hit) <= file.tally.lines_skipped <= len(hit)


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(deadline=None, max_examples=300)
def test_bytes_that_are_no_records_are_passed_and_counted_once(noise: bytes, more: bytes) -> None:
    good = framed(number("loss", 0.5, 3))
    file = event_file()
    records, used = file.parse_bytes(noise + good + more + good, None)
    assert [one[:2] for one in scalars(records)] == [("loss", 0.5)] * 2
    assert file.tally.lines_skipped == (len(noise) > 0) + (len(more) > 0) and used == len(noise + more) + 2 * len(good)


@given(st.lists(st.binary(max_size=200), max_size=20), st.binary(max_size=50))
@settings(deadline=None, max_examples=300)
def test_records_of_any_bytes_raise_nothing(bodies: list[bytes], rest: bytes) -> None:
    file = event_file()
    data = b"".join(map(framed, bodies))
    file.parse_bytes(data + rest, NOW)
    json.dumps(file.state())
    assert file.tally.lines_read == len(bodies)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_messages_with_a_byte_changed_and_a_right_checksum_raise_nothing(draw: st.DataObject) -> None:
    data = FILES[draw.draw(st.integers(0, len(FILES) - 1))].read_bytes()
    start, end = draw.draw(st.sampled_from(frames(data)))
    body = bytearray(data[start + 12 : end - 4])
    for _ in range(3):
        body[draw.draw(st.integers(0, len(body) - 1))] = draw.draw(st.integers(0, 255))
    file = event_file()
    file.parse_bytes(framed(bytes(body)), NOW)
    json.dumps(file.state(), allow_nan=False)


def test_a_large_image_is_passed_over_as_it_comes_and_never_held() -> None:
    data = framed(number("x", 1.0, 1)) + framed(image("big", bytes(3_000_000), 2)) + framed(number("x", 2.0, 3))
    file, records, at = event_file(), [], 0
    for end in range(0, len(data) + 100_000, 100_000):
        found, used = file.parse_bytes(data[at:end], None)
        records += found
        at += used
        assert end - at <= 100_000
    (sample,) = [one for one in records if isinstance(one, Sample)]
    assert (sample.kind, sample.name, sample.length) == ("image", "big", 3_000_000)
    assert data[sample.offset - 4 : sample.offset + 3_000_000] == varint(3_000_000) + bytes(3_000_000)
    assert [value for _, value, _, _ in scalars(records)] == [1.0, 2.0]


def test_negative_and_huge_steps_and_odd_times_are_taken_or_counted() -> None:
    file = event_file()
    bodies = [number("x", 1, -5), number("x", 2, 2**60), number("x", 3, 1, time_s=-1.0), number("x", 4, 0)]
    found = scalars(parsed(b"".join(map(framed, bodies)), file))
    assert [(value, time_s, step) for _, value, time_s, step in found] == [
        (1.0, 1_764_000_000.5, -5),
        (3.0, None, 1),
        (4.0, 1_764_000_000.5, 0),
    ]
    assert (file.tally.lines_skipped, file.tally.fields_skipped) == (1, 1)
    assert file.tally.first_skip == "record 2: a step beyond 2^53"


def test_zeros_at_the_end_of_a_file_are_bytes_that_have_not_come_yet() -> None:
    file, data = event_file(), framed(number("x", 1, 1))
    records, used = file.parse_bytes(data + bytes(500), None)
    assert (len(records), used, file.tally.lines_skipped) == (1, len(data), 0)


def test_a_batch_ends_where_too_many_series_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logs.formats.tensorboard.MAX_NEW_SHAPES", 10)
    file, records, at = event_file(), [], 0
    data = b"".join(framed(number(f"x{i}", i, 1)) for i in range(25))
    sizes = []
    while at < len(data):
        found, used = file.parse_bytes(data[at:], None)
        records += found
        at += used
        sizes.append(len(found))
    assert sizes == [10, 10, 5] and [value for _, value, _, _ in scalars(records)] == list(range(25))


@pytest.mark.parametrize("filling", [b"\0", b"x" + bytes(12), b"\n"], ids=["zeros", "almost zeros", "newlines"])
def test_nothing_that_fills_a_file_takes_long(filling: bytes) -> None:
    """Compared with random bytes, which hold no place where a record could begin."""

    def cost_s(data: bytes) -> float:
        began_s = time.process_time()
        assert event_file().parse_bytes(data, None)[0] == []
        return time.process_time() - began_s

    size = 4 << 20
    noise = random.Random(0).randbytes(size)
    filled = filling * (size // len(filling))
    least_s = min(cost_s(noise) for _ in range(3))
    assert min(cost_s(filled) for _ in range(3)) < (20 if filling == b"\0" else 100) * max(least_s, 0.002)


def test_a_record_behind_zeros_is_found() -> None:
    data = FILES[0].read_bytes()
    for zeros in (70_000, (2 << 20) - 5):
        assert len(without_infos(parsed(bytes(zeros) + data))) >= len(without_infos(parsed(data)))
