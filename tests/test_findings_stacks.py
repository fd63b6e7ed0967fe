"""The rules that read stacks, over described ones: each cause is found in 19 of 20 runs in time, and a healthy run gives nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from collectors.analysis.findings.rules import BY_NAME
from collectors.records import Event, Frame, Record
from collectors.store.open import open_store
from collectors.store.protocol import Store
from tests.judged import T0, JudgedRuns, card_labels, gpu, machine_point, point
from tests.judged_stacks import (
    ALL_REDUCE,
    BUSY,
    COMPILE,
    DECODE,
    LINEAR,
    LOADER,
    LOOP,
    MASK,
    MODULE,
    PIECE_S,
    SAVE,
    SYNCHRONIZE,
    WRITE_LOG,
    Part,
    of_loop,
    profile,
)

WINDOWS, ENOUGH = 20, 19
WARM_S = 75.0
TAKE = Frame("take", "/job/locks.py", 77)
HEALTHY = (Part(4, of_loop(DECODE), gil=True), Part(94, of_loop(LINEAR)), Part(2, of_loop(WRITE_LOG), gil=True))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "data", write=True)
    yield store
    store.close()


def line_of(file: str, line: int | None) -> str:
    return "with lock:" if line == 77 else ""


def planted(
    store: Store,
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
    at = {f"run-{number}": T0 + WARM_S + (0.0 if busy_pct is not None else dice.uniform(0, 15)) for number in range(WINDOWS)}
    begins = {run: T0 + 1 + number % 10 for number, run in enumerate(at)}

    def second(now_s: float) -> Iterable[Record]:
        if busy_pct is not None:
            yield machine_point(now_s, card_labels(), {"gpu/utilization_pct": 97.0 if now_s < T0 + WARM_S else busy_pct})
        for run, planted_s in at.items():
            if now_s < begins[run]:
                continue
            yield point(run, now_s, int(now_s - T0), {"loss": 1.0})
            if now_s >= planted_s:
                yield from more(run, now_s)
            if (now_s - begins[run]) % PIECE_S == 0:
                ill = now_s - PIECE_S / 2 >= planted_s
                yield profile(run, now_s - PIECE_S, parts if ill else HEALTHY, others=others if ill else ())

    for run in at:
        judged.begin(run)
    needs_s = BY_NAME[rule].needs_s + 5
    judged.go_on(WARM_S + 15 + needs_s + 2, second)
    late = {str(found.run): judged.first_s[found.id] - at[str(found.run)] for found in judged.of(rule)}
    assert all(seconds >= 0 for seconds in late.values()), late
    assert sum(seconds <= needs_s for seconds in late.values()) >= ENOUGH, late
    return judged


def test_waiting_for_data_is_found_with_its_line(store: Store) -> None:
    judged = planted(store, "data_stall", [Part(40, of_loop(LOADER)), Part(60, of_loop(LINEAR))])
    assert judged.rules() == {"data_stall"}
    assert judged.of("data_stall")[0].fields["place"]["line"] == LOOP.line


def test_data_that_leave_the_card_idle_are_found(store: Store) -> None:
    planted(store, "data_stall", [Part(40, of_loop(DECODE), gil=True), Part(60, of_loop(LINEAR))], busy_pct=60.0)


def test_a_launch_bound_training_is_found(store: Store) -> None:
    judged = planted(
        store,
        "launch_bound",
        [Part(10, of_loop(Frame("forward", "/job/model.py", line), LINEAR), gil=True) for line in range(10)],
        busy_pct=50.0,
    )
    assert "kernels are not launched fast enough" in judged.of("launch_bound")[0].sentence


def test_a_sync_every_step_is_found(store: Store) -> None:
    reads = [Part(60, of_loop(Frame("metrics", "/job/train.py", 66), SYNCHRONIZE)), Part(40, of_loop(LINEAR))]
    judged = planted(store, "sync_every_step", reads, busy_pct=60.0)
    assert judged.of("sync_every_step")[0].fields["place"]["line"] == 66


def test_the_gil_that_another_thread_holds_is_found(store: Store) -> None:
    other = [
        Part(40, (Frame("encode", "/job/io.py", 5),), gil=True),
        Part(60, (Frame("encode", "/job/io.py", 5),), gil=False, running=0.0),
    ]
    planted(
        store, "gil_bound", [Part(40, of_loop(MASK), gil=False, running=0.0), Part(60, of_loop(MASK), gil=True)], others=[other]
    )


def test_a_lock_is_found(store: Store) -> None:
    planted(store, "lock_bound", [Part(30, of_loop(TAKE), running=0.0), Part(70, of_loop(LINEAR))])


def test_late_compilations_are_found(store: Store) -> None:
    planted(store, "compile_late", [Part(2000, of_loop(COMPILE), gil=True), Part(3000, of_loop(LINEAR))])


def test_cores_that_others_take_are_found(store: Store) -> None:
    planted(store, "cpu_taken", [Part(100, of_loop(LINEAR), running=0.6)])


def test_logging_in_the_loop_is_found(store: Store) -> None:
    planted(store, "logging", [Part(30, of_loop(WRITE_LOG), gil=True), Part(70, of_loop(LINEAR))])


def test_checkpoints_that_take_long_are_found(store: Store) -> None:
    planted(store, "checkpoint_share", [Part(2500, of_loop(SAVE)), Part(2500, of_loop(LINEAR))])


def test_garbage_collections_are_found(store: Store) -> None:
    planted(
        store,
        "garbage_collection",
        HEALTHY,
        more=lambda run, now_s: [Event(run, "gc", now_s, seconds=0.2), point(run, now_s, int(now_s - T0), {"phase/gc_s": 0.2})],
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


def test_ranks_that_come_together_have_no_straggler(store: Store) -> None:
    same = [Part(80, of_loop(LINEAR)), Part(20, of_loop(ALL_REDUCE))]
    assert not ranks(store, same, same).found


# -- nothing moves -----------------------------------------------------------------------------------------------------


def quiet(
    store: Store,
    stacks: Sequence[Sequence[Part]],
    *,
    cpu_pct: float = 0.2,
    workers: Sequence[Sequence[Part]] = (),
    seconds: float = 340.0,
    events: Sequence[Event] = (),
    steps_s: float = 60.0,
    read_bytes: float = 0.0,
    gpus: int = 0,
    gpu_pct: float = 0.0,
    others: Sequence[Sequence[Part]] = (),
) -> JudgedRuns:
    """Runs of as many ranks as there are stacks step for a minute, and then stand at them without a line."""
    judged = JudgedRuns(store, line_of=line_of, gpus=[gpu(index) for index in range(gpus)])
    judged.begin("run", len(stacks))
    judged.take(events)

    def second(now_s: float) -> Iterable[Record]:
        passed = now_s - T0
        if passed <= steps_s:
            yield point("run", now_s, int(passed), {"loss": 1.0})
        labels = (("host", "box"), ("rank", "0"), ("run", "run"))
        values = {
            "host/run_cpu_pct": 90.0 if passed <= steps_s else cpu_pct,
            "host/run_read_bytes_per_s": read_bytes,
            "host/run_write_bytes_per_s": 0.0,
        }
        yield machine_point(now_s, labels, values)
        if passed % PIECE_S == 0 and passed > steps_s + 200:
            for rank, parts in enumerate(stacks):
                yield profile("run", now_s - PIECE_S, parts, rank=rank, pid=70 + 10 * rank, others=others)
            for number, parts in enumerate(workers):
                yield profile("run", now_s - PIECE_S, parts, pid=200 + number, role="worker")

    judged.go_on(steps_s + seconds, second)
    return judged


def at(*frames: Frame, running: float = 0.0) -> list[Part]:
    return [Part(5000, (MODULE, LOOP, *frames), running=running)]


SLEEPS = Frame("wait_for_file", "/job/io.py", 12)


def test_a_rank_that_left_the_collective_is_named_with_its_line(store: Store) -> None:
    judged = quiet(store, [at(ALL_REDUCE), at(SLEEPS), at(ALL_REDUCE)])
    (found,) = judged.of("hung")
    assert found.weight == "alert" and found.rank == 1
    assert found.fields["place"] == {"function": "wait_for_file", "file": "/job/io.py", "line": 12}
    assert "Rank 1 stands at io.py:12 wait_for_file while 2 others wait in a collective at train.py:40 train." in found.sentence
    assert {stack["rank"] for stack in found.fields["stacks"]} == {0, 1, 2}
    assert T0 + 60 + 300 <= judged.first_s[found.id] <= T0 + 60 + BY_NAME["hung"].needs_s + 5


def test_all_ranks_in_one_collective_and_a_deadlock_of_one_are_hangs(store: Store) -> None:
    judged = quiet(store, [at(ALL_REDUCE), at(ALL_REDUCE)])
    assert "a rank that is not seen here is missing" in judged.of("hung")[0].sentence


@pytest.mark.parametrize(
    "frames", [(TAKE,), (Frame("backward", "/job/a.py", 3), Frame("_engine_run_backward", f"{'/x'}/torch/autograd/graph.py", 9))]
)
def test_the_only_rank_that_waits_for_its_own_lock_hangs(store: Store, frames: tuple[Frame, ...]) -> None:
    assert quiet(store, [at(*frames)]).rules() == {"hung"}


def test_workers_that_wait_for_a_lock_while_the_main_process_waits_for_them_hang(store: Store) -> None:
    stuck = [[Part(5000, (Frame("_worker_loop", "/job/w.py", 3), Frame("get", "/usr/lib/python3.11/queue.py", 3)), running=0.0)]]
    assert quiet(store, [at(LOADER)], workers=stuck).rules() == {"hung"}


CONNECTION, QUEUE = "/usr/lib/python3.11/multiprocessing/connection.py", "/usr/lib/python3.11/multiprocessing/queues.py"
SILENT_FOR_GOOD_REASONS: dict[str, dict[str, object]] = {
    "sleep": {"stacks": [at(SLEEPS)]},
    "input": {"stacks": [at(Frame("ask", "/job/train.py", 5))]},
    "select": {"stacks": [at(Frame("select", "/usr/lib/python3.11/selectors.py", 468))]},
    "accept": {"stacks": [at(Frame("accept", "/usr/lib/python3.11/socket.py", 294))]},
    "network": {"stacks": [at(Frame("readinto", "/usr/lib/python3.11/socket.py", 706))]},
    "long call": {"stacks": [at(Frame("solve", "/job/train.py", 8), running=1.0)], "cpu_pct": 99.0},
    "child compiles": {"stacks": [at(Frame("_try_wait", "/usr/lib/python3.11/subprocess.py", 1900))], "cpu_pct": 180.0},
    "child waits": {"stacks": [at(Frame("communicate", "/usr/lib/python3.11/subprocess.py", 1200))]},
    "download": {"stacks": [at(Frame("join", "/usr/lib/python3.11/threading.py", 1100))], "read_bytes": 3e6},
    "notebook": {"stacks": [at(Frame("select", "/usr/lib/python3.11/selectors.py", 468)), ]},
    "queue of another process": {"stacks": [at(Frame("get", QUEUE, 103), Frame("_recv", CONNECTION, 379))]},
    "queue of a thread": {"stacks": [at(Frame("get", "/usr/lib/python3.11/queue.py", 171))]},
    "future": {"stacks": [at(Frame("result", "/usr/lib/python3.11/concurrent/futures/_base.py", 451))]},
    "first validation": {"stacks": [at(Frame("validate", "/job/train.py", 60), ALL_REDUCE), at(Frame("validate", "/job/train.py", 60), ALL_REDUCE)]},
    "first checkpoint": {"stacks": [at(SAVE)]},
    "pdb": {"stacks": [at(Frame("interaction", "/usr/lib/python3.11/pdb.py", 362)), at(ALL_REDUCE)]},
    "busy threads": {"stacks": [at(Frame("wait", "/usr/lib/python3.11/threading.py", 320))], "cpu_pct": 150.0},
    "retries": {"stacks": [[Part(4000, of_loop(SLEEPS), running=0.0), Part(1000, of_loop(Frame("connect", "/job/io.py", 20)), running=0.0)]]},
    "blocked read": {"stacks": [at(Frame("read_shard", "/job/data.py", 30))]},
    "compile": {"stacks": [at(COMPILE, TAKE)]},
    "slow workers": {"stacks": [at(LOADER)], "workers": [at(DECODE, running=1.0)], "cpu_pct": 100.0},
    "workers that read": {"stacks": [at(LOADER)], "workers": [at(Frame("read_shard", "/job/data.py", 30))]},
    "a rank that computes": {"stacks": [at(ALL_REDUCE), at(Frame("sort", "/job/train.py", 9), running=1.0)], "cpu_pct": 100.0},
    "before the first step": {"stacks": [at(ALL_REDUCE), at(ALL_REDUCE)], "steps_s": 0.0},
    "long usual interval": {"stacks": [at(ALL_REDUCE), at(ALL_REDUCE)], "seconds": 280.0},
}  # fmt: skip


@pytest.mark.parametrize("reason", SILENT_FOR_GOOD_REASONS)
def test_silence_for_a_good_reason_is_no_hang(store: Store, reason: str) -> None:
    judged = quiet(store, **SILENT_FOR_GOOD_REASONS[reason])  # type: ignore[arg-type]
    assert not judged.of("hung"), judged.of("hung")[0].sentence


def test_a_second_validation_that_stands_is_a_hang(store: Store) -> None:
    stand = at(Frame("validate", "/job/train.py", 60), ALL_REDUCE)
    judged = quiet(store, [stand, stand], events=[Event("run", "validation", T0 + 5, step=5, seconds=1.0)])
    assert judged.rules() == {"hung"}


def test_after_half_an_hour_silence_is_a_note(store: Store) -> None:
    judged = quiet(store, [at(SLEEPS)], seconds=BY_NAME["silent"].needs_s + 5)
    assert [(found.rule, found.weight) for found in judged.found.values()] == [("silent", "note")]
    assert BUSY and "its process lives" in judged.of("silent")[0].sentence
