"""What the peers are given is what we are given: event files that hold each value once, as our own writer would write them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import event_files
from benchmarks.peers.curves import Curves, time_s
from collectors.records import Points
from dashboard.archive import event_of

curves = st.builds(Curves, st.just("run"), st.integers(1, 3), st.integers(1, 200), st.sampled_from([1, 4, 9]))


@settings(deadline=None, max_examples=10)
@given(curves)
def test_event_files_hold_each_value_as_the_export_writes_it(curves: Curves) -> None:
    with tempfile.TemporaryDirectory() as folder:
        event_files.write_event_files(curves, Path(folder))
        for number, run in enumerate(curves.run_names):
            [file] = (Path(folder) / run).iterdir()
            expected = b"".join(
                event_of(Points(run, (), (tag,), (value,), time_s(step), step))
                for step, row in enumerate(curves.values(number).tolist())
                for tag, value in zip(curves.tag_names, row, strict=True)
            )
            assert file.read_bytes().endswith(expected)
            assert len(file.read_bytes()) == len(expected) + 40  # the record that names the version


@given(st.integers(1, 300_000), st.sampled_from([1, 7, 1_000]))
def test_blocks_cover_each_step_once_and_have_one_length_of_step(steps: int, tags: int) -> None:
    blocks = list(event_files.blocks(Curves("run", 1, steps, tags)))
    assert [first for first, _ in blocks] == [0, *(last for _, last in blocks[:-1])]
    assert blocks[-1][1] == steps
    assert all(event_files.varint_bytes(first) == event_files.varint_bytes(last - 1) for first, last in blocks)


@pytest.mark.parametrize("step", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_step_is_written_in_as_many_bytes_as_a_varint_needs(step: int) -> None:
    assert event_files.varint_bytes(step) == len(f"{step:b}") // 7 + (len(f"{step:b}") % 7 > 0)
