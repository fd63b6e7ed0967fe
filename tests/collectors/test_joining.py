"""Waits replaced by what others did meanwhile: by hand, by law, and on a real loop that starves."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stacks.fold import FlameTree
from analysis.stacks.frames import line_of
from analysis.stacks.trust import trusted_spans
from analysis.stacks.wait_joins import is_head, join
from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Frame
from collectors.sampler.profile import ProfileCollector
from collectors.sampler.pyspy import PySpy
from collectors.store.engines import open_store
from collectors.store.store import StackColumns
from tests.programs import running
from tests.support.claims import claiming_folder
from tests.support.stacks import MAIN, Span, columns, drawn, fold

LIBRARY = "/usr/lib/python3.11"
MODULE = Frame("<module>", "/job/train.py", 9)
LOADER = Frame("_MultiProcessingDataLoaderIter._try_get_data", "/site-packages/torch/utils/data/dataloader.py", 1291)
GET = Frame("Queue.get", f"{LIBRARY}/multiprocessing/queues.py", 113)
SELECT = Frame("_PollLikeSelector.select", f"{LIBRARY}/selectors.py", 415)
DETACH = Frame("DupFd.detach", f"{LIBRARY}/multiprocessing/resource_sharer.py", 57)
RECEIVE = Frame("Connection._recv", f"{LIBRARY}/multiprocessing/connection.py", 395)
RUN = Frame("BaseProcess.run", f"{LIBRARY}/multiprocessing/process.py", 108)
FETCH, DECODE, COLLATE = (
    Frame("fetch", "/job/data.py", 3),
    Frame("decode", "/job/data.py", 88),
    Frame("collate", "/job/data.py", 60),
)
WAITS = (MODULE, LOADER, GET, SELECT)
IDLE = (MODULE, RUN, GET, SELECT)

TWO_WORKERS = (MAIN, ("run", 0, 8, "worker"), ("run", 0, 9, "worker"))


def at(spans: StackColumns, *times_s: float) -> StackColumns:
    """The same spans, each at its own time."""
    return spans._replace(time_s=spans.time_s * 0 + times_s)


def test_a_wait_for_workers_shows_what_they_did_below_it() -> None:
    spans = columns(
        (0, 7, 4.0, WAITS), (1, 8, 4.0, (MODULE, RUN, FETCH, DECODE)), (2, 9, 4.0, IDLE), processes=TWO_WORKERS
    )
    tree = fold(at(spans, 0, 0, 0), view="joined")
    assert drawn(tree) == [
        "run main thread 4",
        "  <module> 4",
        f"    {LOADER.name} 4",
        "      in the workers 4",
        "        fetch 4",
        "          decode 4",
    ]
    assert tree.kind[3] == "joined"


def test_the_time_is_shared_out_among_those_who_were_at_work() -> None:
    decoding, collating = (MODULE, RUN, DECODE), (MODULE, RUN, COLLATE)
    spans = columns((0, 7, 6.0, WAITS), (1, 8, 4.0, decoding), (2, 9, 2.0, collating), processes=TWO_WORKERS)
    tree = fold(at(spans, 0, 0, 2), view="joined")
    times = {tree.frames[frame].name: total for frame, total in zip(tree.frame, tree.total_s, strict=True)}
    assert times["decode"] == pytest.approx(3), "alone for 2 s, then half of 2 s"
    assert times["collate"] == pytest.approx(1)
    assert times["Queue.get"] == pytest.approx(2), "nobody was at work: it stays a wait"
    assert tree.seconds == pytest.approx(6)


def test_a_transfer_is_served_by_the_worker_but_work_inside_the_wait_is_the_main_threads_own() -> None:
    transfer, unpickle = (
        (MODULE, LOADER, GET, DETACH, RECEIVE),
        (MODULE, LOADER, GET, Frame("rebuild", "/torch/x.py", 1)),
    )
    spans = columns(
        (0, 7, 1.0, transfer), (0, 7, 1.0, unpickle), (1, 8, 2.0, (MODULE, RUN, DECODE)), processes=TWO_WORKERS
    )
    tree = fold(at(spans, 0, 1, 0), view="joined")
    assert [line.strip() for line in drawn(tree)][2:] == [
        f"{LOADER.name} 2",
        "Queue.get 1",
        "rebuild 1",
        "in the workers 1",
        "decode 1",
    ]


def test_a_wait_for_another_thread_shows_what_that_thread_did() -> None:
    result = Frame("Future.result", f"{LIBRARY}/concurrent/futures/_base.py", 451)
    condition = Frame("Condition.wait", f"{LIBRARY}/threading.py", 327)
    pool = (Frame("Thread._bootstrap", f"{LIBRARY}/threading.py", 1002), DECODE)
    spans = columns((0, 7, 2.0, (MODULE, result, condition)), (0, 70, 2.0, pool), (0, 71, 2.0, (pool[0], condition)))
    tree = fold(at(spans, 0, 0, 0), view="joined")
    assert [line.strip() for line in drawn(tree)][2:] == [
        "Future.result 2",
        "in other threads 2",
        "Thread._bootstrap 2",
        "decode 2",
    ]


PIN = Frame("_pin_memory_loop", "/site-packages/torch/utils/data/_utils/pin_memory.py", 40)
BOOTSTRAP = Frame("Thread._bootstrap", f"{LIBRARY}/threading.py", 1002)
CONDITION = Frame("Condition.wait", f"{LIBRARY}/threading.py", 327)


def test_pinning_comes_before_the_workers_and_waits_for_them_itself() -> None:
    pinning, starving = (BOOTSTRAP, PIN, Frame("pin_memory", PIN.file, 60)), (BOOTSTRAP, PIN, GET, SELECT)
    main, worker = (MODULE, LOADER, CONDITION), (MODULE, RUN, DECODE)
    spans = columns(
        (0, 7, 3.0, main), (0, 70, 1.0, pinning), (0, 70, 2.0, starving), (1, 8, 3.0, worker), processes=TWO_WORKERS
    )
    lines = [line.strip() for line in drawn(fold(at(spans, 0, 0, 1, 0), view="joined"))]
    assert "in the pin-memory thread 1" in lines
    assert "in the workers 2" in lines
    assert lines[-1] == "decode 2"


def test_a_thread_that_waits_for_workers_passes_on_what_they_do() -> None:
    main, prefetch = (MODULE, Frame("Queue.get", f"{LIBRARY}/queue.py", 171)), (BOOTSTRAP, GET, SELECT)
    spans = columns(
        (0, 7, 2.0, main), (0, 70, 2.0, prefetch), (1, 8, 2.0, (MODULE, RUN, DECODE)), processes=TWO_WORKERS
    )
    lines = [line.strip() for line in drawn(fold(at(spans, 0, 0, 0), view="joined"))]
    assert lines[2:] == [
        "Queue.get 2",
        "in other threads 2",
        "Thread._bootstrap 2",
        "Queue.get 2",
        "in the workers 2",
        "decode 2",
    ]


def test_a_worker_that_waits_for_its_own_threads_passes_on_what_they_do() -> None:
    pool = Frame("Future.result", f"{LIBRARY}/concurrent/futures/_base.py", 451)
    spans = columns(
        (0, 7, 2.0, WAITS),
        (1, 8, 2.0, (MODULE, RUN, pool, CONDITION)),
        (1, 80, 2.0, (BOOTSTRAP, DECODE)),
        (1, 81, 1.0, (BOOTSTRAP, COLLATE)),
        processes=TWO_WORKERS,
    )
    tree = fold(at(spans, 0, 0, 0, 0), view="joined")
    times = {tree.frames[frame].name: total for frame, total in zip(tree.frame, tree.total_s, strict=True)}
    assert times["decode"] == pytest.approx(1.5, abs=0.11), "a share is the mean over the time that it lasts"
    assert times["decode"] + times["collate"] == pytest.approx(2)


def test_the_backward_pass_shows_the_python_that_autograds_threads_run() -> None:
    backward = Frame("_engine_run_backward", "/site-packages/torch/autograd/graph.py", 823)
    hook, logger = (Frame("hook", "/job/model.py", 7),), (BOOTSTRAP, Frame("write", "/job/log.py", 3))
    spans = columns((0, 7, 2.0, (MODULE, backward)), (0, 70, 0.5, hook), (0, 71, 2.0, logger))
    lines = [line.strip() for line in drawn(fold(at(spans, 0, 0, 0), view="joined"))]
    assert lines[2:] == ["_engine_run_backward 2", "in the backward threads 0.5", "hook 0.5"], (
        "a thread that Python started is none of these"
    )


def test_a_collective_shows_the_rank_that_is_not_there_and_what_it_waits_for() -> None:
    reduce = (MODULE, Frame("all_reduce", "/site-packages/torch/distributed/distributed_c10d.py", 2800))
    ranks = (MAIN, ("run", 1, 8, "main"), ("run", 2, 9, "main"), ("run", 2, 90, "worker"))
    spans = columns(
        (0, 7, 4.0, reduce),
        (1, 8, 4.0, reduce),
        (2, 9, 4.0, WAITS),
        (3, 90, 4.0, (MODULE, RUN, DECODE)),
        processes=ranks,
    )
    lines = [line.strip() for line in drawn(fold(at(spans, 0, 0, 0, 0), view="joined", rank=0))]
    assert lines[2:] == [
        "<module> 4",
        "all_reduce 4",
        "in rank 2 4",
        "<module> 4",
        f"{LOADER.name} 4",
        "in the workers 4",
        "decode 4",
    ]


def test_a_wait_for_a_lock_shows_who_holds_it(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("with LOCK:\n    write()\nother()\n")
    take, write, other = (
        Frame(name, str(tmp_path / "job.py"), line) for name, line in (("take", 1), ("write", 2), ("other", 3))
    )
    spans = columns((0, 7, 2.0, (MODULE, take)), (0, 70, 2.0, (BOOTSTRAP, write)), (0, 71, 2.0, (BOOTSTRAP, other)))
    joined = join(trusted_spans(at(spans, 0, 0, 0)), line_of)
    leaves = {joined.frames[joined.stacks[stack][-1]].name for stack in joined.stack[joined.main]}
    assert leaves == {"write"}


def test_the_workers_of_another_rank_are_not_waited_for() -> None:
    ranks = (MAIN, ("run", 1, 8, "main"), ("run", 1, 9, "worker"))
    spans = columns((0, 7, 2.0, WAITS), (1, 8, 2.0, WAITS), (2, 9, 2.0, (RUN, DECODE)), processes=ranks)
    lines = drawn(fold(at(spans, 0, 0, 0), view="joined"))
    assert any("select" in line for line in lines[: lines.index("  rank 1 2")])
    assert lines[-1].strip() == "decode 2"


kinds = st.sampled_from([WAITS, (MODULE,), IDLE, (MODULE, RUN, DECODE), (MODULE, RUN, COLLATE)])
lanes = st.lists(st.tuples(st.integers(1, 5), kinds), max_size=8)


@given(st.tuples(lanes, lanes, lanes))
def test_joining_never_changes_how_long_a_main_thread_took(
    lanes: tuple[list[tuple[int, tuple[Frame, ...]]], ...],
) -> None:
    rows: list[Span] = []
    times_s: list[float] = []
    for process, lane in enumerate(lanes):
        now_s = 1.8e9
        for seconds, stack in lane:
            rows.append((process, 7 + process, float(seconds), stack))
            times_s.append(now_s)
            now_s += seconds
    spans = at(columns(*rows, processes=TWO_WORKERS), *times_s)
    apart = trusted_spans(spans)
    together = join(apart)
    for process in range(3):
        before, after = (
            apart.seconds[apart.process == process].sum(),
            together.seconds[together.process == process].sum(),
        )
        assert after == pytest.approx(before, abs=1e-5)
    assert (together.seconds >= 0).all()
    waited = sum(seconds for seconds, stack in lanes[0] if stack in (WAITS, IDLE))
    assert below_heads(fold(spans, view="joined", prune=0)) <= waited + 1e-5


def below_heads(tree: FlameTree) -> float:
    heads = [is_head(tree.frames[frame]) for frame in tree.frame]
    return float(tree.total_s[heads].sum())


@pytest.mark.long
def test_a_loop_that_starves_names_the_slow_function_in_the_worker(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.touch()
    store = open_store(tmp_path / "data", write=True)
    with running("starved", str(truth)) as trainer:
        here = {
            "pid": trainer.pid,
            "pid_start_ticks": start_ticks(trainer.pid),
            "boot_id": boot_id(),
            "host": socket.gethostname(),
        }
        run = RunActivity(
            "run", claiming_folder(), {}, [Event("run", "start", time.time(), fields=here)], [], time.time(), 0.1
        )
        collector = ProfileCollector(lambda: [run], PySpy(), host=os.uname().nodename)
        collector.watch("run", time.time() + 60)
        to_wall_s = time.time() - time.monotonic()
        while (healthy_s := second_healthy_s(truth)) is None or (
            store.profiled_until("run") or 0.0
        ) < healthy_s + to_wall_s + 2:
            store.append(collector.collect())
            time.sleep(collector.period_s)
        collector.close()
    starved = store.stacks(healthy_s + to_wall_s - 3, healthy_s + to_wall_s - 1, "run")
    healthy = store.stacks(healthy_s + to_wall_s + 1, healthy_s + to_wall_s + 2, "run")
    store.close()
    assert share(fold(starved, view="joined"), "decode_image") > 0.4  # about 0.9 on an idle machine
    assert share(fold(starved), "decode_image") == 0, "it runs in the workers"
    assert share(fold(healthy, view="joined"), "decode_image") < 0.1
    assert share(fold(healthy, view="joined"), "train_step") > 0.6


def second_healthy_s(truth: Path) -> float | None:
    """When the second healthy phase began, CLOCK_MONOTONIC; None while it has not."""
    begun = [float(line.split()[0]) for line in truth.read_text().splitlines() if line.endswith("healthy")]
    return begun[1] if len(begun) > 1 else None


def share(tree: FlameTree, function: str) -> float:
    named = [tree.frames[frame].name == function for frame in tree.frame]
    return float(tree.total_s[named].sum() / tree.seconds)
