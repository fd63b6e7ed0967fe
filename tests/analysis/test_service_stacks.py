"""A service made by hand: an event loop that waits, a worker that answers, a loop that pauses; what blame, flame graph and ledger say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from analysis.ledger.text import sentence_of
from analysis.stacks.threads import IDLE, ThreadSelection, one_at_a_time, served
from analysis.stacks.trust import trusted_spans
from collectors.records import Frame, Points, RunInfo, StackRecording, StackSpan, labels_of
from collectors.store.store import Store
from dashboard.stacks.stacks import Stacks
from tests.support.stacks import columns
from tests.support.stretches import T0, blame
from tests.support.stretches import store as store  # a fixture

PYTHON = "/usr/lib/python3.11"
MODULE, BOOT = Frame("<module>", "/job/service.py", 60), Frame("Thread._bootstrap", f"{PYTHON}/threading.py", 1000)
RUN = Frame("Thread.run", f"{PYTHON}/threading.py", 975)
LOOP, SELECT = (
    Frame("Runner.run", f"{PYTHON}/asyncio/runners.py", 118),
    Frame("EpollSelector.select", f"{PYTHON}/selectors.py", 468),
)
WAIT = Frame("Condition.wait", f"{PYTHON}/threading.py", 327)
WORK, PREPARE, INFER = (
    Frame("work", "/job/service.py", 10),
    Frame("prepare", "/job/features.py", 20),
    Frame("run", "/job/model.py", 5),
)
PAUSE = Frame("watch", "/job/service.py", 80)
POLL = Frame("Server.poll", f"{PYTHON}/site-packages/grpc/aio/_server.py", 9)
POOL = Frame("worker", f"{PYTHON}/multiprocessing/pool.py", 114)
QUEUE_GET = Frame("SimpleQueue.get", f"{PYTHON}/multiprocessing/queues.py", 364)
SEMAPHORE = Frame("SemLock.__enter__", f"{PYTHON}/multiprocessing/synchronize.py", 95)
SLOW_LINE = {("/job/service.py", 80): "    time.sleep(1)", ("/job/features.py", 20): "    time.sleep(0.03)"}


def line_of(file: str, line: int) -> str:
    return SLOW_LINE.get((file, line), "")


class Second(NamedTuple):
    """What happens in each second: requests, milliseconds of each of them in preparing and in the model, seconds from arrival to answer."""

    requests: int
    prepare_ms: float
    infer_ms: float
    answer_s: float


def service(store: Store, *stretches: tuple[int, Second], kind: str = "service", phases: bool = True) -> None:
    """The event loop is thread 7, a worker 8, a loop with a pause 9; one line a second."""
    samples: list[StackSpan] = []
    points: list[Points] = []
    second, answered = 0, 0
    for seconds, each in stretches:
        for _ in range(seconds):
            begin_ns, every_ns = second * 1_000_000_000, 1_000_000_000 // max(1, each.requests)
            samples.append(StackSpan(begin_ns, 1_000_000_000, 7, (MODULE, LOOP, SELECT), False, 0))
            samples.append(StackSpan(begin_ns, 1_000_000_000, 9, (BOOT, RUN, PAUSE), False, 0))
            for number in range(each.requests):
                at_ns = begin_ns + number * every_ns
                for ms, frame in ((each.prepare_ms, PREPARE), (each.infer_ms, INFER)):
                    took_ns = round(ms * 1e6)
                    samples.append(StackSpan(at_ns, took_ns, 8, (BOOT, RUN, WORK, frame), False, took_ns))
                    at_ns += took_ns
                samples.append(
                    StackSpan(at_ns, begin_ns + (number + 1) * every_ns - at_ns, 8, (BOOT, RUN, WORK, WAIT), False, 0)
                )
            second, answered = second + 1, answered + each.requests
            fields = {"service/p50_s": each.answer_s, "units": float(each.requests)}
            fields |= {"phase/queue_s": each.answer_s * each.requests} if phases else {}
            if each.requests:
                points.append(
                    Points("run", labels_of(host="box"), tuple(fields), tuple(fields.values()), T0 + second, answered)
                )
    names = {7: "MainThread", 8: "serve-toy", 9: "watch"}
    samples.sort(key=lambda sample: sample.mono_ns)
    store.append(
        [
            StackRecording(
                "run", 0, 7, "main", "box", "native", 100.0, T0, 0, second * 1_000_000_000, names, samples, second * 300
            )
        ]
    )
    store.append([RunInfo("run", {"run": "run", "cwd": "/job", "kind": kind, "unit": "request"}), *points])


USUAL, SLOW = Second(20, 1.0, 2.0, 0.004), Second(20, 25.0, 2.0, 0.06)


@pytest.mark.parametrize("phases", [True, False])
def test_the_line_that_made_requests_slow_is_named_though_another_thread_runs_it(store: Store, phases: bool) -> None:
    service(store, (80, USUAL), (10, SLOW), phases=phases)
    verdict = blame(store, 81, 89)
    assert (verdict.verdict, verdict.place) == ("line", "prepare (features.py:20)"), verdict.sentence
    assert verdict.excess_s == pytest.approx(0.024, rel=0.1) and verdict.unit_name == "request"
    assert verdict.answer_s == ((pytest.approx(0.06), pytest.approx(0.004)) if phases else None)
    assert ("requests take 60 ms, baseline 4.0 ms" in verdict.sentence) == phases
    assert verdict.confidence == "high" and not verdict.contradiction


def test_a_training_is_judged_by_its_main_thread_as_before(store: Store) -> None:
    service(store, (80, USUAL), (10, SLOW), kind="training")
    assert blame(store, 81, 89).place != "prepare (features.py:20)"


@pytest.mark.parametrize("requests", [2, 5, 60])
def test_another_rate_of_requests_is_no_slowdown(store: Store, requests: int) -> None:
    service(store, (80, USUAL), (10, USUAL._replace(requests=requests)))
    verdict = blame(store, 81, 89)
    assert verdict.verdict == "no_difference", verdict.sentence
    assert "nothing unusual" in verdict.sentence


def test_requests_that_wait_for_each_other_and_are_no_more_work_have_no_line(store: Store) -> None:
    service(store, (80, USUAL), (10, USUAL._replace(requests=300, answer_s=0.2)))
    verdict = blame(store, 81, 89)
    assert verdict.verdict == "unknown" and "for no more work: requests wait for each other" in verdict.sentence, (
        verdict.sentence
    )


def test_slow_seconds_and_idle_ones_are_no_baseline(store: Store) -> None:
    """Before the window requests were slow as well, and before that hardly any came."""
    service(store, (60, USUAL), (30, SLOW), (30, Second(0, 0, 0, 0)), (8, SLOW))
    verdict = blame(store, 121, 127)
    assert verdict.place == "prepare (features.py:20)", verdict.sentence


def test_the_ledger_of_a_service_adds_up_and_says_when_it_waits_for_requests(store: Store) -> None:
    service(store, (60, USUAL))
    ledger = Stacks(store).ledger("run", (T0 + 10, T0 + 50))
    shares = {row.kind: row.share for row in ledger.rows}
    assert sum(shares.values()) == pytest.approx(100, abs=0.1)
    assert shares["idle"] == pytest.approx(94, abs=0.5), sentence_of(ledger)
    assert shares["busy"] == pytest.approx(6, abs=0.5)  # without the GIL, as a model computes


def test_the_flame_graph_shows_the_work_of_all_threads(store: Store) -> None:
    service(store, (60, USUAL))
    tree = Stacks(store).fold("run", (T0 + 10, T0 + 50), ThreadSelection("joined")).tree
    names = {tree.frames[i].name for i in tree.frame.tolist()}
    assert {"prepare", "run"} <= names and not names & {"watch", "EpollSelector.select", "Condition.wait"}
    assert tree.frames[0].name == "run at work" and tree.seconds == pytest.approx(40 * 0.06, rel=0.05)


def test_threads_that_work_at_once_count_once_and_holders_of_the_gil_first() -> None:
    spans = columns(
        (0, 7, 1.0, (MODULE, SELECT)), (0, 8, 2.0, (BOOT, RUN, WORK, PREPARE)), (0, 9, 2.0, (BOOT, RUN, WORK, INFER))
    )
    spans = spans._replace(time_s=np.array([0.0, 0.0, 1.0]), serves=True, gil=np.array([0, 0, 1], np.int8))
    thread = one_at_a_time(served(trusted_spans(spans)), [(0.0, 4.0)])
    leaves = [thread.frames[thread.stacks[stack][-1]] for stack in thread.stack.tolist()]
    assert list(zip(thread.start_s.tolist(), thread.end_s.tolist(), leaves, strict=True)) == [
        (0.0, 1.0, PREPARE),
        (1.0, 2.0, INFER),
        (2.0, 3.0, INFER),
        (3.0, 4.0, IDLE),
    ]


@pytest.mark.parametrize(
    ("stack", "on_core", "is_work"),
    [
        ((BOOT, RUN, POLL), 0.0, False),  # a server's own loop, which waits in C
        ((BOOT, RUN, POLL), 0.9, True),
        ((MODULE, LOOP), 0.0, False),
        ((MODULE, LOOP), 0.1, False),  # uvloop's, which reads and writes in C between its waits
        ((MODULE, LOOP), 0.9, True),
        ((BOOT, RUN, PAUSE), 0.0, False),  # its outermost function sleeps
        ((BOOT, RUN, WORK, PREPARE), 0.0, True),  # a request is held up
        ((BOOT, RUN, WORK, WAIT), 0.0, False),
        ((MODULE, LOOP, SELECT), 0.0, False),
        ((MODULE, POOL, QUEUE_GET, SEMAPHORE), 0.0, False),  # a child of a pool
        ((MODULE, POOL, PREPARE), 0.0, True),
    ],
)
def test_what_waits_for_a_request_is_no_work(stack: tuple[Frame, ...], on_core: float, is_work: bool) -> None:
    spans = columns((0, 8, 1.0, stack))
    spans = spans._replace(serves=True, gil=np.zeros(1, np.int8), cpu_s=np.array([on_core]))
    assert len(served(trusted_spans(spans), line_of).start_s) == is_work


def test_a_service_without_any_work_is_idle(store: Store) -> None:
    service(store, (60, Second(0, 0, 0, 0)))
    ledger = Stacks(store).ledger("run", (T0 + 10, T0 + 50))
    assert {row.kind: round(row.share) for row in ledger.rows if row.share} == {"idle": 100}
    assert blame(store, 20, 30).verdict in ("no_difference", "unknown", "no_profile")
