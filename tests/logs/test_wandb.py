"""wandb's files are read without wandb: what its own messages read back is what the tail read, cut and damaged anywhere."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats.wandb import BLOCK_BYTES, HEADER, BlockSplitter, WandbFile
from collectors.logs.open_files import NotRead
from collectors.records import Event, LogLine, Points, Record
from tests.support.following import Follower, check_told, count_of, unpacked, until


@functools.cache
def recorded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        unpacked("wandb_offline", Path(folder))
        (path,) = Path(folder).glob("wandb/*/*.wandb")
        return path.read_bytes()


def wandb_file(state: dict[str, object] | None = None) -> WandbFile:
    return WandbFile("a", (), lambda name: "", lambda config: {"config": config}, state or {})


def read(data: bytes, edges: list[int]) -> tuple[list[Record], WandbFile]:
    """In pieces that end there, each with a new reader that knows what the last one left."""
    file, records, used = wandb_file(), [], 0
    for edge in [*sorted(min(edge, len(data)) for edge in edges), len(data)]:
        found, more = file.parse_bytes(data[used:edge], None)
        records += found
        used += more
        tally, file = file.tally, wandb_file(json.loads(json.dumps(file.state())))
        file.tally = tally
    return records, file


def test_it_is_read_as_its_own_messages_read_it(follower: Follower) -> None:
    told = unpacked("wandb_offline", follower.root)
    follower.values(count_of(told))
    (run,) = told["runs"]
    until(follower, lambda: any(isinstance(record, LogLine) for record in follower.records))
    check_told(follower.records, told)
    assert {getattr(record, "run", run) for record in follower.records} == {run}  # its other files are its own
    ends = [
        record.fields["status"] for record in follower.records if isinstance(record, Event) and record.kind == "end"
    ]
    assert ends == ["finished"] and follower.tail.trouble() == ""
    assert [record.text for record in follower.records if isinstance(record, LogLine)][-1] == "the program's last words"
    (activity,) = [activity for activity in follower.tail.live_runs() if activity.run == run]
    assert "logs" in activity.parts  # by which its process is found
    (offset,) = [offset for path, offset in follower.offsets.items() if path.endswith(".wandb")]
    assert (offset.lines_skipped, offset.fields_skipped) == (0, 2)  # a histogram, a long text
    follower.restart()
    until(follower, lambda: True)
    assert len(follower.values(1)) == count_of(told)


@given(st.lists(st.integers(0, 150_000), max_size=8))
@settings(deadline=None, max_examples=40)
def test_it_may_be_cut_and_resumed_anywhere(edges: list[int]) -> None:
    assert repr(read(recorded(), edges)[0]) == repr(read(recorded(), [])[0])


@given(st.integers(7, 150_000), st.binary(min_size=1, max_size=50), st.lists(st.integers(0, 150_000), max_size=3))
@settings(deadline=None, max_examples=60)
def test_damage_costs_the_rest_of_its_block_and_is_counted_however_it_is_cut(
    place: int, odd: bytes, edges: list[int]
) -> None:
    place %= len(recorded())
    data = recorded()[:place] + odd + recorded()[place + len(odd) :]
    found, file = read(data, edges)
    whole = read(recorded(), [])[0]
    expected = [record for record in whole if isinstance(record, Points)]
    left = [repr(record) for record in found if isinstance(record, Points)]
    lost = [record for record in expected if repr(record) not in left]
    assert len(lost) <= 200 and file.tally.lines_skipped <= 3
    assert not lost or file.tally.lines_skipped or len(data) - place < BLOCK_BYTES + len(odd)
    assert repr(read(data, [])[0]) == repr(found)


@given(st.binary(max_size=3_000))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", HEADER, recorded()[:2_000]):
        try:
            found, file = read(start + data, [])
        except NotRead as error:
            assert "wandb sync" in str(error)
        else:
            json.dumps(file.state())
            assert all(isinstance(record.values[0], float) for record in found if isinstance(record, Points))


@given(st.binary(max_size=100_000), st.integers(0, 2 * BLOCK_BYTES))
@settings(deadline=None, max_examples=30)
def test_cutting_always_goes_on(data: bytes, at: int) -> None:
    cutter = BlockSplitter(at)
    cut = cutter.cut(data)
    assert 0 <= cut.used <= len(data) and cutter.at == at + cut.used


def test_a_file_of_another_version_is_set_aside_with_what_to_do(follower: Follower) -> None:
    path = follower.root / "wandb" / "offline-run-20261125_213701-abcdefgh" / "run-abcdefgh.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b":W&B\xe1\xbe\x07" + bytes(100))
    until(follower, lambda: follower.tail.trouble())
    assert follower.tail.trouble().endswith("; read it with: wandb sync offline-run-20261125_213701-abcdefgh")


def test_the_collector_loads_no_wandb() -> None:
    code = "import sys, collector; print(sorted({name.partition('.')[0] for name in sys.modules} & {'wandb', 'mlflow', 'trackio'}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
