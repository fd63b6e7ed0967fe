"""The rules that read stacks, over described ones: each cause is found in 19 of 20 runs in time, and a healthy run gives nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from analysis.findings.rules import BY_NAME
from collectors.records import COLLECTIVE_S, Event, Frame, Points, Record, labels_of
from collectors.store.store import Store
from tests.judged import T0, JudgedRuns, card_labels, gpu, machine_point, point
from tests.judged_stacks import (
    ALL_REDUCE,
    COMPILE,
    DECODE,
    LINEAR,
    LOADER,
    LOOP,
    MASK,
    PIECE_S,
    SAVE,
    SYNCHRONIZE,
    WRITE_LOG,
    Part,
    of_loop,
    profile,
)
from tests.planted_findings import ENOUGH
from tests.planted_findings import windows as windows  # a fixture

WARM_S = 75.0
TAKE = Frame("take", "/job/locks.py", 77)
HEALTHY = (Part(4, of_loop(DECODE), gil=True), Part(94, of_loop(LINEAR)), Part(2, of_loop(WRITE_LOG), gil=True))


def line_of(file: str, line: int | None) -> str:
    return "with lock:" if line == 77 else ""


def planted(
    store: Store,
    windows: int,
    rule: str,
    parts: Sequence[Part],
    *,
    others: Sequence[Sequence[Part]] = (),
    more: Callable[[str, float], Iterable[Record]] = lambda run, now_s: (),
    busy_pct: float | None = None,
) -> JudgedRuns:
    """All runs have the cause from moments drawn at random on. With `busy_pct` on cards, whose load falls to that."""
    judged = JudgedRuns(store, line_of=line_of, gpus=[gpu(0)] if busy_pct is not None else [])
    dice = random.Random(3)
    at = {
        f"run-{number}": T0 + WARM_S + (0.0 if busy_pct is not None else dice.uniform(0, 15))
        for number in range(windows)
    }
    begins = {run: T0 + 1 + number % 10 for number, run in enumerate(at)}

    def second(now_s: float) -> Iterable[Record]:
        if busy_pct is not None:
            yield machine_point(
                now_s, card_labels(), {"gpu/utilization_pct": 97.0 if now_s < T0 + WARM_S else busy_pct}
            )
        for run, planted_s in at.items():
            if now_s < begins[run]:
                continue
            yield point(run, now_s, int(now_s - T0), {"loss": 1.0})
            if now_s >= planted_s:
                yield from more(run, now_s)
            if (now_s - begins[run]) % PIECE_S == 0 and now_s > T0 + WARM_S - 30:
                ill = now_s - PIECE_S / 2 >= planted_s
                yield profile(run, now_s - PIECE_S, parts if ill else HEALTHY, others=others if ill else ())

    for run in at:
        judged.begin(run)
    needs_s = BY_NAME[rule].needs_s + 5
    judged.go_on(WARM_S + 15 + needs_s + 2, second)
    late = {str(found.run): judged.first_s[found.id] - at[str(found.run)] for found in judged.of(rule)}
    assert all(seconds >= 0 for seconds in late.values()), late
    assert sum(seconds <= needs_s for seconds in late.values()) >= ENOUGH * windows, late
    return judged


def test_waiting_for_data_is_found_with_its_line(store: Store, windows: int) -> None:
    judged = planted(store, windows, "data_stall", [Part(40, of_loop(LOADER)), Part(60, of_loop(LINEAR))])
    assert judged.rules() == {"data_stall"}
    assert judged.of("data_stall")[0].fields["place"]["line"] == LOOP.line


def test_data_that_leave_the_card_idle_are_found(store: Store, windows: int) -> None:
    planted(
        store, windows, "data_stall", [Part(40, of_loop(DECODE), gil=True), Part(60, of_loop(LINEAR))], busy_pct=60.0
    )


def test_a_launch_bound_training_is_found(store: Store, windows: int) -> None:
    judged = planted(
        store,
        windows,
        "launch_bound",
        [Part(10, of_loop(Frame("forward", "/job/model.py", line), LINEAR), gil=True) for line in range(10)],
        busy_pct=50.0,
    )
    assert "kernels are not launched fast enough" in judged.of("launch_bound")[0].sentence


def test_a_sync_every_step_is_found(store: Store, windows: int) -> None:
    reads = [Part(60, of_loop(Frame("metrics", "/job/train.py", 66), SYNCHRONIZE)), Part(40, of_loop(LINEAR))]
    judged = planted(store, windows, "sync_every_step", reads, busy_pct=60.0)
    assert judged.of("sync_every_step")[0].fields["place"]["line"] == 66


def test_the_gil_that_another_thread_holds_is_found(store: Store, windows: int) -> None:
    other = [
        Part(40, (Frame("encode", "/job/io.py", 5),), gil=True),
        Part(60, (Frame("encode", "/job/io.py", 5),), gil=False, running=0.0),
    ]
    planted(
        store,
        windows,
        "gil_bound",
        [Part(40, of_loop(MASK), gil=False, running=0.0), Part(60, of_loop(MASK), gil=True)],
        others=[other],
    )


def test_a_lock_is_found(store: Store, windows: int) -> None:
    planted(store, windows, "lock_bound", [Part(30, of_loop(TAKE), running=0.0), Part(70, of_loop(LINEAR))])


def test_late_compilations_are_found(store: Store, windows: int) -> None:
    planted(store, windows, "compile_late", [Part(2000, of_loop(COMPILE), gil=True), Part(3000, of_loop(LINEAR))])


def test_cores_that_others_take_are_found(store: Store, windows: int) -> None:
    planted(store, windows, "cpu_taken", [Part(100, of_loop(LINEAR), running=0.6)])


def test_logging_in_the_loop_is_found(store: Store, windows: int) -> None:
    planted(store, windows, "logging", [Part(30, of_loop(WRITE_LOG), gil=True), Part(70, of_loop(LINEAR))])


def test_checkpoints_that_take_long_are_found(store: Store, windows: int) -> None:
    planted(store, windows, "checkpoint_share", [Part(2500, of_loop(SAVE)), Part(2500, of_loop(LINEAR))])


def test_garbage_collections_are_found(store: Store, windows: int) -> None:
    planted(
        store,
        windows,
        "garbage_collection",
        HEALTHY,
        more=lambda run, now_s: [
            Event(run, "gc", now_s, seconds=0.2),
            point(run, now_s, int(now_s - T0), {"phase/gc_s": 0.2}),
        ],
    )


def test_a_long_compilation_before_the_first_steps_is_as_it_should_be(store: Store) -> None:
    judged = JudgedRuns(store)
    judged.begin("run")

    def second(now_s: float) -> Iterable[Record]:
        passed = now_s - T0
        if passed > 300:
            yield point("run", now_s, int(passed) - 300, {"loss": 1.0})
        if passed % PIECE_S == 0:
            yield profile("run", now_s - PIECE_S, [Part(1000, of_loop(COMPILE))] if passed < 330 else HEALTHY)

    judged.go_on(420, second)
    assert not judged.found


# -- several ranks -----------------------------------------------------------------------------------------------------


def ranks(store: Store, late_rank: Sequence[Part], other: Sequence[Part], seconds: float = 140.0) -> JudgedRuns:
    judged = JudgedRuns(store)
    judged.begin("run", 4)

    def second(now_s: float) -> Iterable[Record]:
        yield point("run", now_s, int(now_s - T0), {"loss": 1.0})
        if (now_s - T0) % PIECE_S == 0:
            for rank in range(4):
                yield profile("run", now_s - PIECE_S, late_rank if rank == 2 else other, rank=rank, pid=70 + 10 * rank)

    judged.go_on(seconds, second)
    return judged


def test_a_rank_that_comes_last_is_found(store: Store) -> None:
    late, other = (
        [Part(95, of_loop(LINEAR)), Part(5, of_loop(ALL_REDUCE))],
        [Part(80, of_loop(LINEAR)), Part(20, of_loop(ALL_REDUCE))],
    )
    judged = ranks(store, late, other)
    assert [found.rank for found in judged.of("straggler")] == [2]
    assert judged.first_s[judged.of("straggler")[0].id] <= T0 + BY_NAME["straggler"].needs_s + 15


def timed(store: Store, seconds: Callable[[int, int], float | None], ranks: int, groups: int = 1) -> JudgedRuns:
    """A run of which only NCCL's Inspector knows: `seconds(rank, second)` in collectives; None where the rank wrote nothing."""
    judged = JudgedRuns(store)
    judged.begin("run")

    def second(now_s: float) -> Iterable[Record]:
        passed = int(now_s - T0)
        yield point("run", now_s, passed, {"loss": 1.0})
        for rank in range(ranks):
            took_s = seconds(rank, passed)
            if took_s is not None:
                offset_s = 0.3 * (rank % 3)  # of its clock
                labels = labels_of(host="far", rank=rank or None, communicator=f"0x{rank % groups}")
                yield Points("run", labels, (COLLECTIVE_S,), (took_s,), now_s - offset_s, None)

    judged.go_on(100.0, second)
    return judged


@pytest.mark.parametrize("size", [2, 8, 64])
def test_a_rank_that_comes_last_is_found_by_the_times_of_its_collectives(store: Store, size: int) -> None:
    judged = timed(store, lambda rank, second: 0.05 if rank == 1 else 0.25, size)
    (found,) = judged.of("straggler")
    assert found.rank == 1 and "wait 20% of the time for it" in found.sentence


def test_a_late_rank_is_found_when_others_wrote_nothing_or_began_anew(store: Store) -> None:
    judged = timed(store, lambda rank, second: None if rank == 5 and second > 30 else 0.05 if rank == 2 else 0.25, 8)
    assert [found.rank for found in judged.of("straggler")] == [2]


@pytest.mark.parametrize(
    "seconds",
    [
        lambda rank, second: 0.2 + 0.001 * ((rank * 7 + second * 3) % 5),  # healthy
        lambda rank, second: 0.9 + 0.001 * ((rank * 7 + second * 3) % 5),  # a slow link: all are long
        lambda rank, second: 0.05 if rank == second // 3 % 8 else 0.25,  # each is late at times
    ],
)
def test_collectives_that_no_one_rank_holds_up_have_no_straggler(
    store: Store, seconds: Callable[[int, int], float]
) -> None:
    assert not timed(store, seconds, 8).of("straggler")


def test_ranks_are_compared_within_a_communicator(store: Store) -> None:
    """The even ranks are a group with little to send."""
    assert not timed(store, lambda rank, second: 0.25 if rank % 2 else 0.05, 8, groups=2).of("straggler")


def test_ranks_that_come_together_have_no_straggler(store: Store) -> None:
    same = [Part(80, of_loop(LINEAR)), Part(20, of_loop(ALL_REDUCE))]
    assert not ranks(store, same, same).found
