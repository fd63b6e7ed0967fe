"""Whose turn it is to be read: no kind of file waits for all of another one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from collectors.logs.tail import ReadScheduler

batches = st.integers(1, 6)


@given(st.lists(batches, min_size=1, max_size=30), batches, st.sampled_from(["live", "new", "old, written again"]))
def test_what_is_written_now_is_read_through_beside_any_backlog(old: list[int], now: int, kind: str) -> None:
    left = {Path(f"old-{number}"): count for number, count in enumerate(old)} | {Path("now"): now}
    turns = ReadScheduler()
    for path in left:
        if path.name != "now":
            turns.old(path)
    if kind == "live":
        turns.live(Path("now"))
    elif kind == "new":
        turns.new([Path("now")])
    else:
        turns.old(Path("now"))
        while left[Path("now")] == now:
            _read_one(turns, left)
        left[Path("now")] += 1
        turns.live(Path("now"))
    now, taken = left[Path("now")], 0
    while left[Path("now")]:
        _read_one(turns, left)
        taken += 1
    assert taken <= 2 * now + 1
    while turns:
        _read_one(turns, left)
    assert not any(left.values()), "all are read"


def _read_one(turns: ReadScheduler, left: dict[Path, int]) -> None:
    """A batch of the file whose turn it is."""
    turns.begin()
    path = turns.next_live() or turns.next_other()
    assert path is not None and left[path] > 0, "what is read through waits no more"
    left[path] -= 1
    if left[path]:
        turns.behind(path)


def test_a_file_that_is_followed_goes_before_thousands_that_grow_for_the_first_time() -> None:
    """As the events of files tell that were written while they were read as new ones."""
    turns, healthy = ReadScheduler(), Path("healthy/metrics.jsonl")
    turns.live(healthy)
    assert turns.next_live() == healthy
    for number in range(20_000):
        turns.live(Path(f"many/{number}.log"))
    turns.live(healthy)
    assert turns.next_live() == healthy
    assert turns.next_live() == Path("many/0.log")


def test_of_what_was_there_what_was_written_last_is_read_first_and_the_rest_is_held_back() -> None:
    turns = ReadScheduler()
    for number in (3, 1, 2):
        turns.old(Path(f"run-{number}/metrics.jsonl"), written_s=100.0 * number)
    assert [turns.next_other(since_s=200.0) for _ in range(3)] == [
        Path("run-3/metrics.jsonl"),
        Path("run-2/metrics.jsonl"),
        None,
    ]
    turns.new([Path("new/metrics.jsonl"), Path("new/run.json")])
    assert [turns.next_other() for _ in range(3)] == [
        Path("new/run.json"),
        Path("new/metrics.jsonl"),
        Path("run-1/metrics.jsonl"),
    ]
    assert not turns
