"""The same submissions first in, first out: waits and use of the slots beside what was."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.jobs import lasting, sentences_of
from jobs.fifo import FifoComparison, Submission, compare_with_fifo, used_s
from tests.support.cost import times

SLOTS = ("a", "b")


def first_in_first_out(rows: list[Submission], slots: int, now_s: float) -> dict[int, float]:
    """Starts, by the book: each job in order, as soon as enough slots are free."""
    free_s, starts, last_s = [0.0] * slots, {}, 0.0
    for row in sorted(rows, key=lambda row: (row.submitted_s + row.held_s, row.job)):
        free_s.sort()
        number = min(row.slots, slots)
        at_s = max(last_s, row.submitted_s + row.held_s, free_s[number - 1])
        if at_s > now_s:
            break
        starts[row.job], last_s = at_s, at_s
        free_s[:number] = [at_s + row.runs_s] * number
    return starts


def test_a_long_job_before_short_ones_is_what_first_in_first_out_suffers_from() -> None:
    rows = [
        Submission(1, 2, 0.0, 0.0, 0.0, 100.0),
        Submission(2, 2, 1.0, 149.0, 0.0, 100.0),
        Submission(3, 1, 2.0, 98.0, 0.0, 10.0),
    ]
    used = [("a", 0.0, 100.0), ("b", 0.0, 100.0), ("a", 100.0, 110.0), ("a", 150.0, 250.0), ("b", 150.0, 250.0)]
    found = compare_with_fifo(rows, SLOTS, used, 0.0, 250.0)
    assert found is not None
    assert (found.jobs, found.longest_s, found.fifo_longest_s) == (3, 149.0, 198.0)
    assert found.mean_s == pytest.approx((0 + 149 + 98) / 3) and found.fifo_mean_s == pytest.approx((0 + 99 + 198) / 3)
    assert found.busy == pytest.approx(410 / 500) and found.fifo_busy == pytest.approx((200 + 200 + 10) / 500)


def test_a_job_that_waits_counts_as_long_as_it_has_waited_in_both() -> None:
    rows = [Submission(1, 2, 0.0, 0.0, 0.0, 1000.0), Submission(2, 1, 10.0, 90.0, 0.0, 5.0)]
    found = compare_with_fifo(rows, SLOTS, [], 5.0, 100.0)
    assert found is not None and (found.jobs, found.mean_s, found.fifo_mean_s) == (1, 90.0, 90.0)


def test_time_on_hold_is_no_waiting_of_first_in_first_out() -> None:
    found = compare_with_fifo([Submission(1, 1, 0.0, 5.0, 50.0, 5.0)], SLOTS, [], 0.0, 100.0)
    assert found is not None and (found.mean_s, found.fifo_mean_s) == (5.0, 0.0)


@pytest.mark.parametrize("slots", [(), SLOTS])
def test_without_submissions_or_slots_there_is_nothing_to_compare(slots: tuple[str, ...]) -> None:
    assert compare_with_fifo([Submission(1, 1, 0.0, 5.0, 0.0, 5.0)] if not slots else [], slots, [], 0.0, 100.0) is None
    assert compare_with_fifo([Submission(1, 1, 0.0, 5.0, 0.0, 5.0)], SLOTS, [], 50.0, 100.0) is None


def test_time_that_two_jobs_share_is_used_once() -> None:
    assert used_s([("a", 0, 10), ("a", 5, 20), ("b", 90, 200), ("c", 0, 100)], SLOTS, 2.0, 100.0) == 18 + 10


JOBS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=25)


@given(JOBS, st.integers(1, 3))
def test_the_replay_is_first_in_first_out_by_the_book(drawn: list[tuple[int, int, int]], slots: int) -> None:
    rows = [Submission(number, wants, at, 0.0, 0.0, runs) for number, (wants, at, runs) in enumerate(drawn)]
    now_s = 10_000.0
    starts = first_in_first_out(rows, slots, now_s)
    found = compare_with_fifo(rows, [f"slot-{each}" for each in range(slots)], [], 0.0, now_s)
    waits = [starts[row.job] - row.submitted_s for row in rows]
    assert found is not None
    assert found.fifo_mean_s == pytest.approx(sum(waits) / len(waits)) and found.fifo_longest_s == pytest.approx(
        max(waits)
    )


def test_a_comparison_takes_time_in_proportion_to_the_jobs() -> None:
    drawn = random.Random(7)
    rows = [
        Submission(number, drawn.randint(1, 4), 30.0 * number, 60.0, 0.0, drawn.expovariate(1 / 100))
        for number in range(10_000)
    ]

    def compare(count: int) -> None:
        assert compare_with_fifo(rows[:count], [f"{each}" for each in range(8)], [], 0.0, 400_000.0) is not None

    assert times(lambda: compare(10_000), lambda: compare(1_000)) < 40, "10 is in proportion, 100 is quadratic"


def test_the_comparison_is_said_in_plain_sentences() -> None:
    said = sentences_of(FifoComparison(38, 0.0, 754.0, 6000.0, 2900.0, 10800.0, 0.812, 0.64))
    assert said == [
        "The 38 jobs that were submitted waited 13 min on average, the longest 1 h 40 min. First in, first out it would have been 48 min and 3 h: "
        "this queue's mean wait is 74% shorter.",
        "The slots were in use 81% of the time; first in, first out 64%.",
    ]  # fmt: skip
    assert "the same mean wait" in sentences_of(FifoComparison(1, 0.0, 0.0, 0.0, 0.4, 0.4, 0.0, 0.0))[0]
    assert sentences_of(FifoComparison(2, 0.0, 80.0, 90.0, 0.0, 0.0, 0.0, 0.0))[0].endswith(
        "0 s and 0 s: 1 min 20 s less than here."
    )
    seconds = (0, 42, 59.9, 89, 103, 599.9, 754, 3599, 172800)
    assert [*map(lasting, seconds)] == [
        "0 s",
        "42 s",
        "1 min",
        "1 min 29 s",
        "1 min 43 s",
        "10 min",
        "13 min",
        "1 h",
        "2 days",
    ]


def test_the_replay_says_on_how_many_slots_and_what_is_much_longer_is_said_in_times() -> None:
    (waits, _) = sentences_of(FifoComparison(3, 0.0, 289.0, 300.0, 100.0, 200.0, 0.5, 0.5, 2))
    assert "First in, first out, replayed on 2 slots, it would have been 1 min 40 s" in waits and waits.endswith(
        "is 2.9 times as long."
    )
    found = compare_with_fifo([Submission(1, 1, 0.0, 5.0, 0.0, 5.0)], SLOTS, [], 0.0, 100.0)
    assert found is not None and found.slots == 2
