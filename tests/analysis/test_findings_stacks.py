"""The rules that read stacks, over described ones: each cause is found in 19 of 20 runs in time, and a healthy run gives nothing."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pytest

from analysis.findings.rules import BY_NAME
from collectors.logs.formats.nccl_inspector import InspectorFile
from collectors.records import Event, Frame, Record
from collectors.store.store import Store
from tests.support.judged import T0, JudgedRuns, card_labels, gpu, machine_point, point
from tests.support.judged_stacks import (
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
from tests.support.planted_findings import ENOUGH
from tests.support.planted_findings import windows as windows  # a fixture

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


A_SECOND = 12  # collectives of a described job


class Collective(NamedTuple):
    """One of a rank, as NCCL's Inspector writes it."""

    communicator: str
    rank: int
    ranks: int
    sequence: int
    us: float


def timed(store: Store, ranks: int, of_second: Callable[[int, int], Iterable[Collective]]) -> JudgedRuns:
    """A run of which only NCCL's Inspector knows: `of_second(rank, second)` is what the file of a process has more."""
    judged = JudgedRuns(store)
    judged.begin("run")
    files = [InspectorFile("run", {}) for _ in range(ranks)]

    def second(now_s: float) -> Iterable[Record]:
        passed = int(now_s - T0)
        yield point("run", now_s, passed, {"loss": 1.0})
        for rank, file in enumerate(files):
            at_us = int((now_s - 2.0 * (rank % 3)) * 1e6)  # by its clock
            yield from file.parse([inspector_line(one, at_us) for one in of_second(rank, passed)], None)

    judged.go_on(100.0, second)
    return judged


def inspector_line(one: Collective, at_us: int) -> bytes:
    header = {"id": one.communicator, "rank": one.rank, "n_ranks": one.ranks}
    timing = {"coll": "AllReduce", "coll_sn": one.sequence, "coll_exec_time_us": one.us, "coll_busbw_gbs": 10.0}
    metadata = {"dump_timestamp_us": at_us, "hostname": "far"}
    return json.dumps({"header": header, "metadata": metadata, "coll_perf": timing}).encode()


def described(
    us: Callable[[int, int], float | None], ranks: int, begins: Sequence[int] = (0,), same_name: bool = False
) -> Callable[[int, int], Iterator[Collective]]:
    """`us(rank, sequence)`: how long the rank is in it; None where its file says nothing. A new communicator begins at each of these seconds."""

    def of_second(rank: int, second: int) -> Iterator[Collective]:
        begun = max((begin for begin in begins if begin <= second), default=0)
        for sequence in range((second - begun) * A_SECOND, (second - begun + 1) * A_SECOND):
            took_us = us(rank, sequence)
            if took_us is not None:
                yield Collective("0x0" if same_name else f"0x{begun}", rank, ranks, sequence, took_us)

    return of_second


def late(rank: int, sequence: int, last: int, work_us: float = 4_000, wait_us: float = 16_000) -> float:
    """Some jitter, and the others wait."""
    return work_us + 100 * ((rank * 7 + sequence * 3) % 5) + (wait_us if rank != last else 0)


def some(sequence: int, ranks: int) -> int:
    """One of the ranks, without a pattern."""
    return random.Random(sequence).randrange(ranks)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_a_rank_that_comes_last_is_found_by_the_times_of_its_collectives(store: Store, size: int) -> None:
    judged = timed(store, size, described(lambda rank, sequence: late(rank, sequence, 1), size))
    (found,) = judged.of("straggler")
    assert found.rank == 1
    numbers = found.fields["numbers"]
    assert f"Rank 1 came last into {numbers['last']:.0f} of {numbers['last']:.0f} collectives" in found.sentence
    assert numbers["last"] == numbers["compared"] > 50
    assert numbers["cost"] == pytest.approx(19.2, abs=1) and numbers["work"] == pytest.approx(4.9, abs=0.3), "percent"


def test_a_rank_that_is_late_once_a_step_is_found(store: Store) -> None:
    """The first of six all-reduces of a step waits for it; after that ranks come together."""
    step = described(
        lambda rank, sequence: late(
            rank, sequence, 3 if sequence % 6 == 0 else -1, wait_us=60_000 * (sequence % 6 == 0)
        ),
        8,
    )
    (found,) = timed(store, 8, step).of("straggler")
    assert found.rank == 3


@pytest.mark.parametrize(
    "us",
    [
        lambda rank, sequence: None if rank == 5 else late(rank, sequence, 2),
        lambda rank, sequence: None if rank == 5 and sequence > 30 * A_SECOND else late(rank, sequence, 2),
        lambda rank, sequence: None if some(sequence * 8 + rank, 50) == 0 else late(rank, sequence, 2),
    ],
    ids=["a missing rank", "a rank that ends", "dropped collectives"],
)
def test_a_late_rank_is_found_when_others_wrote_nothing(store: Store, us: Callable[[int, int], float | None]) -> None:
    assert [found.rank for found in timed(store, 8, described(us, 8)).of("straggler")] == [2]


@pytest.mark.parametrize("same_name", [False, True], ids=["a new communicator", "the same number again"])
def test_a_late_rank_is_found_again_after_a_restart(store: Store, same_name: bool) -> None:
    restarted = described(lambda rank, sequence: late(rank, sequence, 2), 8, (0, 40), same_name)
    assert {found.rank for found in timed(store, 8, restarted).of("straggler")} == {2}


QUIET: dict[str, Callable[[int, int, int], float | None]] = {
    "healthy": lambda rank, sequence, size: late(rank, sequence, -1, wait_us=0),
    "a slow link": lambda rank, sequence, size: late(rank, sequence, -1, work_us=70_000, wait_us=0),
    "in turn": lambda rank, sequence, size: late(rank, sequence, sequence % size),
    "at random": lambda rank, sequence, size: late(rank, sequence, some(sequence, size)),
    "the late one is missing": lambda rank, sequence, size: late(rank, sequence, 1) if rank != 1 else None,
    "not worth a word": lambda rank, sequence, size: late(rank, sequence, 1, wait_us=300),
    "once, for long": lambda rank, sequence, size: late(
        rank, sequence, 1, wait_us=80_000 * (60 <= sequence // A_SECOND < 63)
    ),
    "seven times of ten": lambda rank, sequence, size: late(rank, sequence, int(some(sequence, 10) < 7)),
}


@pytest.mark.parametrize(
    ("size", "kind"), [*itertools.product((2, 8), QUIET), (64, "healthy"), (64, "in turn"), (64, "at random")]
)
def test_collectives_that_no_one_rank_holds_up_have_no_straggler(store: Store, size: int, kind: str) -> None:
    quiet = described(lambda rank, sequence: QUIET[kind](rank, sequence, size), size)
    assert not timed(store, size, quiet).of("straggler")


def test_ranks_are_compared_within_a_communicator(store: Store) -> None:
    """The even ranks are a group with little to send."""

    def of_second(rank: int, second: int) -> Iterator[Collective]:
        for sequence in range(second * A_SECOND, (second + 1) * A_SECOND):
            us = late(rank, sequence, -1, 4_000 if rank % 2 else 20_000, 0)
            yield Collective(f"0x{rank % 2}", rank, 8, sequence, us)

    assert not timed(store, 8, of_second).of("straggler")


def test_ranks_that_come_together_have_no_straggler(store: Store) -> None:
    same = [Part(80, of_loop(LINEAR)), Part(20, of_loop(ALL_REDUCE))]
    assert not ranks(store, same, same).found
