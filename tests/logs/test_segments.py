"""A new segment of a run's curves begins where its program started again, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from collectors.logs.formats import tables
from collectors.logs.formats.jsonl import MetricsParser
from collectors.records import Points, labels_of

LABELS = labels_of(host="box")
START_S = 1_764_000_000.0
Line = dict[str, Any]


def points(lines: Iterable[Line], again_at: int | None = None) -> list[Points]:
    """Of a JSONL file; the collector starts again behind the line of that number."""
    metrics, found = MetricsParser("a", LABELS, list), []
    for number, line in enumerate(lines):
        found += metrics.parse([json.dumps(line).encode()], None)
        if number + 1 == again_at:
            state = json.loads(json.dumps(metrics.state()))
            tally, metrics = metrics.tally, MetricsParser("a", LABELS, list, state)
            metrics.tally = tally
    return [point for point in found if isinstance(point, Points)]


def segments(lines: Iterable[Line], again_at: int | None = None) -> list[int]:
    return [point.segment for point in points(lines, again_at)]


def train(steps: Iterable[int], since_s: float | None = None, every_s: float = 0.1, **others: float) -> list[Line]:
    timed = [
        {} if since_s is None else {"time_s": round(START_S + since_s + number * every_s, 3)}
        for number in range(10_000)
    ]
    return [{**timed[number], "step": step, "loss": step / 7, **others} for number, step in enumerate(steps)]


RESTARTS = {
    "from a checkpoint": train(range(58)) + train(range(50, 90)),
    "from the beginning": train(range(20)) + train(range(90)),
    "with times without a pause": train(range(58), 0.0) + train(range(50, 90), 5.8),
    "with a pause, by one step": train(range(58), 0.0) + train(range(56, 90), 60.0),
    "steps of ten": train(range(0, 580, 10)) + train(range(500, 900, 10)),
    "with further names now and then": [
        {**line, **({"grad_norm": 1.0} if number % 5 == 0 else {})}
        for number, line in enumerate(train(range(58)) + train(range(50, 90)))
    ],
    "twice": train(range(58)) + train(range(50, 90)) + train(range(80, 95)),
}
NONE = {
    "only rising": train(range(300)),
    "validation that comes late": [
        other
        for line in train(range(200))
        for other in (
            line,
            *([{"step": line["step"] - 7, "val_loss": 1.0, "epoch": 1}] if line["step"] % 20 == 10 else []),
        )
    ],
    "two ranks in step": [line for pair in zip(train(range(100)), train(range(100)), strict=True) for line in pair],
    "two ranks that drift": [
        line for step in range(200) for line in (*train([step]), *(train([step - step // 20]) if step % 3 else ()))
    ],
    "ranks that say who they are": [
        {"rank": rank, "step": step + (rank * 20 if step > 10 else 0), "loss": 1.0}
        for step in range(100)
        for rank in range(2)
    ],
    "slightly late lines of one series": train([0, 1, 2, 3, 5, 4, 6, 7, 9, 8, 10, 11, 13, 12, 14]),
    "gradient accumulation": train([step for step in range(60) for _ in range(4)]),
    "buffers that are written whole": [
        line
        for since in range(0, 400, 50)
        for rank in range(2)
        for line in train(range(since, since + 50), since_s=since / 10 + rank / 100)
    ],
    "a validation with a count of its own": [
        other
        for line in train(range(300))
        for other in (
            line,
            *([{"step": batch, "val_loss": 1.0} for batch in range(12)] if line["step"] % 50 == 49 else []),
        )
    ],
}


@pytest.mark.parametrize("name", RESTARTS)
@pytest.mark.parametrize("is_read_twice", [False, True])
def test_steps_that_go_back_at_a_start_are_another_segment_from_that_line_on(name: str, is_read_twice: bool) -> None:
    lines = RESTARTS[name]
    starts = [0, *(number for number in range(1, len(lines)) if lines[number]["step"] <= lines[number - 1]["step"])]
    expected = [sum(start <= number for start in starts) - 1 for number in range(len(lines))]
    assert segments(lines, again_at=starts[1] if is_read_twice else None) == expected


@pytest.mark.parametrize("name", NONE)
def test_disorder_is_no_segment(name: str) -> None:
    assert set(segments(NONE[name])) == {0}


def test_another_loop_that_counts_for_itself_does_not_cut_the_curve() -> None:
    """With the same names, which nothing tells apart at its first line."""
    lines = [line for epoch in range(5) for line in [*train(range(epoch * 100, epoch * 100 + 100)), *train(range(10))]]
    found = points(lines)
    main = [point for number, point in enumerate(found) if number % 110 < 100]
    assert {point.segment for point in main} == {0} and [point.step for point in main] == list(range(500))


def test_a_table_that_a_second_start_goes_on_with_has_two_segments() -> None:
    rows = [f"{step},{step / 7}".encode() for step in [*range(600), *range(550, 700)]]
    for size in (1, 1000):
        table, found = tables.DelimitedFile("a", "m.csv", LABELS), []
        lines = [b"step,loss", *rows]
        for since in range(0, len(lines), size):
            found += table.parse(lines[since : since + size], None)
        assert [point.segment for point in found] == [0] * 600 + [1] * 150


EPOCHS = 3


@pytest.mark.parametrize("name", ["batch", "batch_idx", "step", "iter"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("says_epoch", [True, False])
def test_a_count_that_begins_anew_with_each_epoch_goes_on_as_steps(
    name: str, first: int, every: int, says_epoch: bool
) -> None:
    if not says_epoch and not name.startswith("batch"):
        pytest.skip("nothing says that it is the next epoch")
    lines = [
        {**({"epoch": epoch} if says_epoch else {}), name: first + batch, "loss": 1.0}
        for epoch in range(EPOCHS)
        for batch in range(0, 100, every)
    ]
    found = points(lines)
    assert [point.step for point in found] == [first + step for step in range(0, EPOCHS * 100, every)]
    assert {point.segment for point in found} == {0}
    for again_at in (50, 100 // every):
        assert points(lines, again_at) == found, "and over a start of the collector"


def test_the_last_batch_of_an_epoch_is_logged_whatever_its_number() -> None:
    lines = [{"epoch": epoch, "batch": batch, "loss": 1.0} for epoch in range(3) for batch in (*range(0, 94, 10), 93)]
    assert [point.step for point in points(lines)] == [
        epoch * 94 + batch for epoch in range(3) for batch in (*range(0, 94, 10), 93)
    ]


def test_a_validation_that_names_the_next_epoch_changes_no_step() -> None:
    lines = [line for epoch in range(4) for line in train(range(epoch * 100, epoch * 100 + 100), epoch=epoch)]
    for at in (300, 200, 100):
        lines.insert(at, {"step": at - 5, "epoch": at // 100, "val_loss": 1.0})
    assert [point.step for point in points(lines)] == [line["step"] for line in lines]


def test_a_start_from_an_earlier_epoch_goes_back_to_its_steps_in_another_segment() -> None:
    def epochs(first: int, last: int) -> list[Line]:
        return [{"epoch": epoch, "batch": batch, "loss": 1.0} for epoch in range(first, last) for batch in range(100)]

    found = points([*epochs(0, 4)[:350], *epochs(2, 5)])
    assert [point.step for point in found] == [*range(350), *range(200, 500)]
    assert [point.segment for point in found] == [0] * 350 + [1] * 300


def test_a_line_of_a_validation_begins_no_epoch() -> None:
    """Its own count may begin anew; the training's goes on."""
    lines: list[Line] = [
        {"step": 1, "epoch": 0, "loss": 3.0},
        {"step": 100, "epoch": 0, "loss": 2.0},
        {"step": 200, "epoch": 0, "loss": 1.0},
        {"step": 1, "epoch": 1, "val_loss": 1.5},
        {"step": 300, "epoch": 1, "loss": 0.9},
        {"step": 400, "epoch": 1, "loss": 0.8, "lr": 0.1},
    ]
    assert [point.step for point in points(lines)] == [1, 100, 200, 1, 300, 400]
