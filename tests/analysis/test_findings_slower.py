"""Runs that become slower, with steps and without: it is found with the line, and what only looks like it is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from analysis.findings.rules import BY_NAME
from collectors.records import Event, Frame, Record
from collectors.store.store import Store
from tests.support.judged import T0, JudgedRuns, point
from tests.support.judged_stacks import DECODE, LINEAR, LOOP, MASK, PIECE_S, WRITE_LOG, Part, of_loop, profile

NEEDS_S = BY_NAME["slower"].needs_s + 5
EVALUATE = Frame("score_population", "/job/train.py", 71)
HISTOGRAM = Frame("histogram", "/job/hooks.py", 31)
USUAL = (Part(60, of_loop(LINEAR)), Part(30, of_loop(MASK), gil=True), Part(10, of_loop(WRITE_LOG), gil=True))


def stepping(
    store: Store,
    step_s: Callable[[float], float],
    seconds: float,
    *,
    every: int = 1,
    parts: Callable[[float], Sequence[Part]] | None = None,
    events: Callable[[float], Iterable[Record]] = lambda passed: (),
) -> JudgedRuns:
    """Steps take so long at each moment since the start; each so many are logged."""
    judged = JudgedRuns(store, stored=parts is not None)
    judged.begin("run")
    state = {"at": T0 + 0.5, "step": 0}

    def second(now_s: float) -> Iterable[Record]:
        while state["at"] <= now_s:
            if state["step"] % every == 0:
                yield point("run", state["at"], int(state["step"]), {"loss": 1.0})
            state["step"] += 1
            state["at"] += step_s(state["at"] - T0)
        yield from events(now_s - T0)
        if parts is not None and (now_s - T0) % PIECE_S == 0:
            yield profile("run", now_s - PIECE_S, parts(now_s - T0 - PIECE_S / 2))

    judged.go_on(seconds, second)
    return judged


# -- with steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 10])
def test_steps_that_take_twice_as_long_from_a_moment_on_are_found_in_time(store: Store, every: int) -> None:
    judged = stepping(store, lambda passed: 0.05 if passed < 80 else 0.11, 80 + NEEDS_S, every=every)
    (found,) = judged.of("slower")
    assert "Steps take 2.2 times as long as before (110 ms in place of 50 ms)." in found.sentence
    assert judged.first_s[found.id] >= T0 + 100


def test_a_pace_that_falls_steadily_is_found_within_two_minutes(store: Store) -> None:
    judged = stepping(store, lambda passed: 0.01 + 0.03 * passed / 120, 130)
    (found,) = judged.of("slower")
    assert found.sentence.startswith("Steps take longer and longer: ")


def test_the_line_that_takes_the_time_is_named(store: Store) -> None:
    def parts(passed: float) -> Sequence[Part]:
        return (
            (Part(50, of_loop(LINEAR)),)
            if passed < 80
            else (Part(60, of_loop(DECODE), gil=True), Part(50, of_loop(LINEAR)))
        )

    judged = stepping(store, lambda passed: 0.05 if passed < 80 else 0.11, 80 + NEEDS_S, parts=parts)
    (found,) = judged.of("slower")
    assert found.fields["place"]["line"] == DECODE.line
    assert "decode_image" in found.sentence and "data.py:88" in found.sentence


def test_it_is_over_when_the_pace_is_what_it_was(store: Store) -> None:
    judged = stepping(store, lambda passed: 0.11 if 80 <= passed < 130 else 0.05, 190)
    assert [found.over for found in judged.of("slower")] == [True]


def test_what_a_healthy_run_does_is_not_slower(store: Store) -> None:
    dice = random.Random(5)

    def step_s(passed: float) -> float:
        evaluates = (
            passed % 60 > 52
        )  # pauses in a rhythm; lengths that vary; a machine that is a little busier for a while
        return (1.5 if evaluates else 0.05 * dice.lognormvariate(0, 0.5)) * (1.3 if 100 < passed < 160 else 1.0)

    assert not stepping(store, step_s, 260).of("slower")


def test_the_first_steps_are_not_what_the_pace_is_compared_with_alone(store: Store) -> None:
    """Warm-up may be slow, and an attempt that begins again has its own pace."""
    begun = Event("run", "start", T0 + 100, fields={"pid": 1})
    judged = stepping(
        store,
        lambda passed: 0.4 if passed % 100 < 15 else 0.05,
        190,
        events=lambda passed: [begun] if passed == 100 else [],
    )
    assert not judged.of("slower")


# -- without steps -----------------------------------------------------------------------------------------------------


def unstepped(store: Store, parts: Callable[[float], Sequence[Part]], seconds: float) -> JudgedRuns:
    judged = JudgedRuns(store)
    judged.begin("run")

    def second(now_s: float) -> Iterable[Record]:
        if (now_s - T0) % PIECE_S == 0:
            yield profile("run", now_s - PIECE_S, parts(now_s - T0 - PIECE_S / 2))

    judged.go_on(seconds, second)
    return judged


@pytest.mark.parametrize(("times", "from_s"), [(2.5, 95), (2.5, 110), (8.0, 105), (8.0, 120)])
def test_a_run_without_steps_that_becomes_slower_is_found_with_the_line(
    store: Store, times: float, from_s: float
) -> None:
    """Whenever in a window of those that are compared it begins."""
    slow = (*USUAL, Part(round(100 * (times - 1)), of_loop(HISTOGRAM), gil=True))
    judged = unstepped(store, lambda passed: USUAL if passed < from_s else slow, from_s + 90)
    (found,) = judged.of("slower")
    assert found.fields["place"]["function"] == "histogram" and "hooks.py:31 histogram takes" in found.sentence
    assert found.fields["numbers"]["times"] == pytest.approx(times, rel=0.15)
    assert "No steps are logged" in found.sentence


def test_a_run_without_steps_that_does_something_else_is_not_slower(store: Store) -> None:
    other = (Part(100, of_loop(EVALUATE, LINEAR)),)
    judged = unstepped(store, lambda passed: other if 110 < passed < 160 or passed > 200 else USUAL, 260)
    assert not judged.found


def test_a_run_without_steps_whose_parts_are_slower_alike_says_nothing_that_is_not_known(store: Store) -> None:
    judged = unstepped(
        store, lambda passed: USUAL if passed < 110 else tuple(part._replace(ms=3 * part.ms) for part in USUAL), 220
    )
    assert not judged.of("slower")


# -- steps that are slow now and then ----------------------------------------------------------------------------------


def test_a_slow_line_of_a_hundred_steps_is_no_slow_step(store: Store) -> None:
    """Each hundredth step is logged: the sentence says so, and gives the times of what was measured."""
    dice = random.Random(2)
    judged = stepping(store, lambda passed: 0.5 if dice.random() < 0.001 else 0.0035, 240, every=100)
    for found in judged.of("slow_steps"):
        assert "stretches of 100 steps" in found.sentence, found.sentence


def test_lines_of_a_hundred_steps_and_of_one_in_turn_are_alike(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    steps = sorted({*range(0, 40_000, 100), *range(1, 40_000, 1000)})
    rows = iter([(T0 + 1 + step * 0.005, step) for step in steps])
    waiting = [next(rows)]

    def second(now_s: float) -> Iterable[Record]:
        while waiting[0][0] <= now_s:
            yield point("run", waiting[0][0], waiting[0][1], {"loss": 1.0})
            waiting[0] = next(rows)

    judged.go_on(150, second)
    assert not judged.of("slow_steps")


def test_the_lines_of_the_first_look_are_not_slow_steps(store: Store) -> None:
    """Six lines of steps of 11 ms that were spread over the second before they were read."""
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    step = iter(range(10_000))

    def second(now_s: float) -> Iterable[Record]:
        count = 6 if now_s == T0 + 2 else 90 if now_s > T0 + 2 else 0
        return [point("run", now_s - 1 + (place + 1) / count, next(step), {"loss": 1.0}) for place in range(count)]

    judged.go_on(40, second)
    assert not judged.of("slow_steps")


# -- lines of the ledger -----------------------------------------------------------------------------------------------


def ill(store: Store, parts: Sequence[Part], source: str = "") -> JudgedRuns:
    judged = JudgedRuns(store, line_of=lambda file, line: source if line == 77 else "")
    judged.begin("run")

    def second(now_s: float) -> Iterable[Record]:
        yield point("run", now_s, int(now_s - T0), {"loss": 1.0})
        if (now_s - T0) % PIECE_S == 0:
            yield profile("run", now_s - PIECE_S, parts)

    judged.go_on(75 + BY_NAME["slow_function"].needs_s, second)
    return judged


def test_a_function_of_ones_own_that_takes_a_third_of_the_time_is_named(store: Store) -> None:
    judged = ill(store, [Part(40, of_loop(HISTOGRAM), gil=True), Part(60, of_loop(LINEAR))])
    (found,) = judged.of("slow_function")
    assert "40%" in found.sentence and found.fields["place"]["line"] == HISTOGRAM.line


def test_python_of_many_small_parts_is_as_it_should_be(store: Store) -> None:
    parts = [Part(8, of_loop(Frame(f"layer{number}", "/job/model.py", number)), gil=True) for number in range(6)]
    assert not ill(store, [*parts, Part(52, of_loop(LINEAR))]).found


def test_a_wait_in_a_call_of_ones_own_is_named(store: Store) -> None:
    judged = ill(
        store,
        [
            Part(40, of_loop(Frame("readinto", "/usr/lib/python3.11/socket.py", 706)), running=0.0),
            Part(60, of_loop(LINEAR)),
        ],
    )
    assert judged.of("waiting")[0].fields["place"]["line"] == LOOP.line


def test_a_loop_that_sleeps_means_to(store: Store) -> None:
    judged = ill(
        store,
        [Part(60, of_loop(Frame("pace", "/job/train.py", 77)), running=0.0), Part(40, of_loop(LINEAR))],
        "time.sleep(0.1)",
    )
    assert not judged.found


# -- a loss that has gone to nothing ------------------------------------------------------------------------------------


def test_a_loss_that_is_nothing_does_not_spike(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    dice = random.Random(7)

    def second(now_s: float) -> Iterable[Record]:
        for place in range(30):
            step = int(now_s - T0) * 30 + place
            fallen = (
                0.7 * 0.99**step if step < 3000 else 4.7e-6 if step % 400 < 5 else 3.6e-15 * dice.lognormvariate(0, 0.3)
            )
            yield point("run", now_s - 1 + place / 30, step, {"loss": fallen})

    judged.go_on(260, second)
    assert not judged.of("loss_spike")
