"""The ledger of a CPU over described threads: what waits is not computing, who took the cores, whose lines a wait is, what a fix saves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from analysis.history import History
from analysis.ledger import kinds
from analysis.ledger.kinds import BUSY
from analysis.ledger.ledger import ledger
from analysis.ledger.shares import KindRow, Ledger
from analysis.ledger.text import sentence_of
from collectors.message import text_of
from collectors.records import Frame, Points, RunInfo, labels_of
from collectors.store.store import Store
from tests.support.judged_stacks import LIB, LINEAR, LOADER, LOOP, MASK, MODULE, SITE, Part, of_loop, profile

T0 = 1_764_000_000.0
SECONDS = 30.0
APPEND = Frame("append", "/job/io.py", 12)  # a call into C at a line of its own: write and fsync
CLIP = Frame("clip_gradients", "/job/train.py", 66)
COLLIDE = Frame("collide", "/job/worker.py", 31)
LOAD_IMAGE = Frame("load_image", "/job/images.py", 9)
SNAPSHOT = Frame("snapshot", "/job/locks.py", 88)
BACKWARD = (
    Frame("Tensor.backward", f"{SITE}/torch/_tensor.py", 581),
    Frame("_engine_run_backward", f"{SITE}/torch/autograd/graph.py", 825),
)
NORM = Frame("norm", f"{SITE}/torch/functional.py", 1700)
RESULT = Frame("Future.result", f"{LIB}/concurrent/futures/_base.py", 451)
POOL_GET = Frame("MapResult.get", f"{LIB}/multiprocessing/pool.py", 768)
THREAD = (
    Frame("Thread._bootstrap", f"{LIB}/threading.py", 1002),
    Frame("_worker", f"{LIB}/concurrent/futures/thread.py", 83),
)
PROCESS = (Frame("BaseProcess.run", f"{LIB}/multiprocessing/process.py", 108),)


def line_of(file: str, line: int | None) -> str:
    return "with lock:" if line == 77 else ""


def of_threads(
    store: Store,
    parts: Sequence[Part],
    *,
    threads: Sequence[Sequence[Part]] = (),
    workers: Sequence[Sequence[Part]] = (),
    rank_1: Sequence[Part] = (),
    queued_pct: float | None = 0.0,
    busy_pct: float = 50.0,
    run_pct: float = 100.0,
    cores: int = 2,
) -> Ledger:
    """Of 30 s of a main thread, other threads of its process, worker processes and a second rank, on a machine of so many cores."""
    store.append([RunInfo("run", {"cwd": "/job"})])
    for rank in range(2 if rank_1 else 1):
        labels = labels_of(rank=rank) if rank else ()
        store.append([Points("run", labels, ("loss",), (0.5,), T0 + second, second) for second in range(int(SECONDS))])
    store.append([profile("run", T0, parts, seconds=SECONDS, others=threads)])
    for number, its in enumerate(workers):
        store.append([profile("run", T0, its, seconds=SECONDS, pid=200 + number, role="worker")])
    if rank_1:
        store.append([profile("run", T0, rank_1, seconds=SECONDS, pid=99, rank=1)])
    host, of_run = (("host", "box"),), labels_of(host="box", run="run")
    for second in range(-3, int(SECONDS) + 4):
        at_s = T0 + second
        store.append([Points(None, host, ("host/cpu_pct",), (busy_pct,), at_s, None)])
        store.append(
            [
                Points(None, labels_of(core=core, host="box"), ("host/cpu_core_pct",), (busy_pct,), at_s, None)
                for core in range(cores)
            ]
        )
        store.append([Points(None, of_run, ("host/run_cpu_pct",), (run_pct,), at_s, None)])
        if queued_pct is not None:
            store.append([Points(None, of_run, ("host/run_core_wait_pct",), (queued_pct,), at_s, None)])
    return ledger(History(store, "run"), (T0, T0 + SECONDS), line_of=line_of)


def holds(row: KindRow, gone_pct: float, most_pct: float | None = None) -> bool:
    """Whether the prediction reaches from what surely goes to what may go, and little beyond: what is left may be faster, too."""
    fix, most = row.prediction, gone_pct if most_pct is None else most_pct
    assert fix is not None
    faster = kinds.REST.value * most * (1 - most / 100)
    return gone_pct - 8 <= fix.least <= gone_pct and most <= fix.most <= most + faster + 8


def rows(found: Ledger) -> dict[str, KindRow]:
    assert sum(row.share for row in found.rows) == pytest.approx(100, abs=0.1)
    return {row.kind: row for row in found.rows}


def place(row: KindRow) -> Frame | None:
    return row.lines[0].place.frame if row.lines else None


# -- what waits in C ---------------------------------------------------------------------------------------------------


def test_a_call_into_c_that_waits_for_the_disk_is_not_computing(store: Store) -> None:
    found = rows(of_threads(store, [Part(60, of_loop(APPEND), running=0.3), Part(40, of_loop(LINEAR))]))
    assert found["wait"].share == pytest.approx(42, abs=1) and place(found["wait"]) == APPEND
    assert found["busy"].share == pytest.approx(58, abs=1)
    assert "cpu_taken" not in found and "python" not in found


def test_a_call_that_is_never_on_a_core_and_not_queued_waits_as_well(store: Store) -> None:
    found = rows(of_threads(store, [Part(60, of_loop(APPEND), running=0.0), Part(40, of_loop(LINEAR))]))
    assert found["wait"].share == pytest.approx(60, abs=1) and "python" not in found


def test_a_thread_that_starves_in_c_waits_for_a_core(store: Store) -> None:
    """On a full machine it had a core for a few per cent of its time, and the kernel says that it was ready all the while."""
    found = rows(
        of_threads(store, [Part(1000, of_loop(APPEND), running=0.04)], queued_pct=94.0, busy_pct=100.0, run_pct=5.0)
    )
    assert found["cpu_taken"].share > 90
    assert "python" not in found or found["python"].share < 10


def test_a_starving_thread_leaves_the_waits_beside_it_alone(store: Store) -> None:
    parts = [Part(50, of_loop(MASK), gil=True, running=0.4), Part(50, of_loop(APPEND), running=0.0)]
    found = rows(of_threads(store, parts, queued_pct=30.0, busy_pct=100.0, run_pct=20.0))
    assert found["cpu_taken"].share == pytest.approx(30, abs=2)
    assert found["wait"].share == pytest.approx(50, abs=2)


# -- who has the cores -------------------------------------------------------------------------------------------------


def test_cores_that_its_own_workers_have_are_not_taken_by_others(store: Store) -> None:
    burns = [Part(1000, (*PROCESS, COLLIDE), gil=True)]
    found = rows(
        of_threads(
            store,
            [Part(100, of_loop(LINEAR), running=0.6)],
            workers=[burns, burns],
            queued_pct=40.0,
            busy_pct=100.0,
            run_pct=200.0,
        )
    )
    assert found["cpu_own"].share == pytest.approx(40, abs=2)
    assert found.get("cpu_taken") is None or found["cpu_taken"].share < 2


def test_cores_are_shared_out_between_own_workers_and_others_as_they_used_them(store: Store) -> None:
    burns = [Part(1000, (*PROCESS, COLLIDE), gil=True, running=0.7)]
    found = rows(
        of_threads(
            store,
            [Part(100, of_loop(LINEAR), running=0.6)],
            workers=[burns],
            queued_pct=40.0,
            busy_pct=100.0,
            run_pct=130.0,
        )
    )
    assert found["cpu_own"].share == pytest.approx(20, abs=2)
    assert found["cpu_taken"].share == pytest.approx(20, abs=2)


# -- whom it waits for -------------------------------------------------------------------------------------------------


def test_a_backward_pass_that_is_off_its_core_waits_for_the_other_ranks(store: Store) -> None:
    late = Frame("elastic_deform", "/job/augment.py", 14)
    found = rows(
        of_threads(
            store,
            [Part(60, of_loop(*BACKWARD), running=0.1), Part(40, of_loop(LINEAR))],
            rank_1=[Part(50, of_loop(late), gil=True), Part(10, of_loop(*BACKWARD)), Part(40, of_loop(LINEAR))],
        )
    )
    assert found["collective"].share == pytest.approx(54, abs=2)
    assert found["busy"].share == pytest.approx(46, abs=2)


def test_a_backward_pass_of_one_rank_computes(store: Store) -> None:
    found = rows(of_threads(store, [Part(60, of_loop(*BACKWARD), running=0.5), Part(40, of_loop(LINEAR))]))
    assert set(found) == {"busy"}


def test_a_pool_of_threads_is_charged_to_what_its_threads_do(store: Store) -> None:
    decodes = [Part(60, (*THREAD, LOAD_IMAGE), gil=False), Part(40, THREAD, running=0.0)]
    found = rows(
        of_threads(
            store,
            [Part(60, of_loop(RESULT), running=0.0), Part(40, of_loop(LINEAR))],
            threads=[decodes, decodes],
            busy_pct=100.0,
        )
    )
    assert found["data"].share == pytest.approx(60, abs=1), "a name says that images are loaded"
    assert place(found["data"]) == LOAD_IMAGE


@pytest.mark.parametrize("how", [RESULT, POOL_GET])
def test_a_pool_of_processes_is_charged_to_what_they_do(store: Store, how: Frame) -> None:
    collides, idle = (
        [Part(1000, (*PROCESS, COLLIDE), gil=True)],
        Frame("wait", f"{LIB}/multiprocessing/connection.py", 930),
    )
    manager = [
        Part(
            1000,
            (THREAD[0], Frame("wait_result_broken_or_wakeup", f"{LIB}/concurrent/futures/process.py", 400), idle),
            running=0.0,
        )
    ]
    found = rows(
        of_threads(
            store,
            [Part(80, of_loop(how), running=0.0), Part(20, of_loop(LINEAR))],
            threads=[manager],
            workers=[collides, collides],
        )
    )
    (row,) = [row for kind, row in found.items() if kind != BUSY and row.share > 5]
    assert row.share == pytest.approx(80, abs=1) and place(row) == COLLIDE


def test_a_lock_names_who_holds_it(store: Store) -> None:
    take = Frame("take", "/job/locks.py", 77)
    inside = [Part(1000, (THREAD[0], SNAPSHOT), gil=True)]
    found = of_threads(store, [Part(40, of_loop(take), running=0.0), Part(60, of_loop(LINEAR))], threads=[inside])
    assert rows(found)["lock"].share == pytest.approx(40, abs=2)


# -- lines of what computes, and what a fix saves ----------------------------------------------------------------------


def test_a_loop_of_many_small_calls_of_pytorch_is_named(store: Store) -> None:
    found = of_threads(
        store, [Part(70, of_loop(CLIP, NORM)), Part(30, of_loop(Frame("forward", "/job/model.py", 5), LINEAR))]
    )
    assert place(rows(found)["busy"]) == CLIP
    assert text_of(sentence_of(found)).startswith("computing 100% (train.py:66 clip_gradients)")


def test_a_fix_saves_what_the_same_function_has_in_all_rows(store: Store) -> None:
    parts = [Part(30, of_loop(CLIP), gil=True), Part(40, of_loop(CLIP, NORM)), Part(30, of_loop(MASK, LINEAR))]
    found = rows(of_threads(store, parts))
    assert found["python"].share == pytest.approx(30, abs=1)
    assert holds(found["python"], 70)


def test_a_fix_of_a_wait_saves_what_its_write_computes_as_well(store: Store) -> None:
    found = rows(of_threads(store, [Part(60, of_loop(APPEND), running=0.3), Part(40, of_loop(LINEAR))]))
    assert holds(found["wait"], 60)


def test_a_fix_of_workers_that_slow_the_main_thread_saves_more_than_the_wait_for_them(store: Store) -> None:
    decodes = [Part(1000, (*PROCESS, LOAD_IMAGE), gil=True)]
    found = rows(
        of_threads(
            store,
            [Part(40, of_loop(LOADER), running=0.0), Part(60, of_loop(LINEAR), running=0.8)],
            workers=[decodes],
            queued_pct=12.0,
            busy_pct=100.0,
            run_pct=150.0,
        )
    )
    fix = found["data"].prediction
    assert fix is not None and fix.most >= 40 + found["cpu_own"].share


def test_the_wait_in_its_own_line_of_the_loop_is_no_share_of_what_the_loop_computes(store: Store) -> None:
    found = rows(
        of_threads(store, [Part(30, (MODULE, LOOP), running=0.0), Part(70, (MODULE, LOOP._replace(line=44), LINEAR))])
    )
    assert holds(found["wait"], 30)


def test_data_that_the_loop_loads_itself_is_predicted_to_be_loaded_ahead_by_the_cores_there_are(store: Store) -> None:
    fetch = Frame("_MapDatasetFetcher.fetch", f"{SITE}/torch/utils/data/_utils/fetch.py", 54)
    own = Frame("Images.__getitem__", "/job/images.py", 9)
    parts = [Part(60, of_loop(fetch, own), gil=True), Part(40, of_loop(LINEAR))]
    found = rows(of_threads(store, parts, busy_pct=50.0, run_pct=100.0))
    fix = found["data"].prediction
    assert fix is not None and fix.fix == "overlapped"
    assert fix.least <= 50 and 60 <= fix.most < 70, (
        "the rest takes 40 % of a step; all the work needs half of it on two cores"
    )
    assert found["data"].lines[0].prediction is not None, "and the line may go altogether"
    assert found["busy"].prediction is None, "what PyTorch computes after a change is not known"
