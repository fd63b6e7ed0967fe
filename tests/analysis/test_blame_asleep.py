"""On a machine that other programs keep full: a line that sleeps in a call into C wants no core, and one that computes does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from analysis.blame.verdict import Verdict
from collectors.records import Frame, Points, RunInfo, labels_of
from collectors.store.store import Store
from tests.support.judged_stacks import HOST, LINEAR, LOADER, Part, of_loop, profile
from tests.support.stretches import NORMAL, T0, blame, machine, run
from tests.support.stretches import store as store  # a fixture

READ, COMPUTE, MULTIPLY = (
    Frame("fetch", "/job/data.py", 12),
    Frame("compute", "/job/train.py", 30),
    Frame("mix", "/job/model.py", 5),
)
USUAL_S, SLOW_S = 60.0, 15.0
COMPUTES, FINDS_NO_CORE = Part(20, of_loop(COMPUTE), True, 0.5), Part(40, of_loop(COMPUTE), True, 0.25)
MULTIPLIES = Part(20, of_loop(MULTIPLY), False, 0.5)


def of_main(
    store: Store,
    usual: Sequence[Part],
    slow: Sequence[Part],
    queued: tuple[float, float] | None,
    **beside: Sequence[Part],
) -> None:
    """`queued`: for which share of the time the run queue held the main thread. `beside`: other threads, the usual one and the slow one."""
    others = [beside[name] for name in ("usual_other", "slow_other") if name in beside]
    stretches, step = ((0.0, USUAL_S, usual), (USUAL_S, SLOW_S, slow)), 100
    for which, (lo_s, seconds, parts) in enumerate(stretches):
        store.append([profile("run", T0 + lo_s, parts, seconds=seconds, others=others[which : which + 1])])
        step_s = sum(part.ms for part in parts) / 1000
        store.append(
            [
                Points("run", labels_of(host=HOST), ("train/loss",), (1.0,), T0 + lo_s + (n + 1) * step_s, step + n)
                for n in range(int(seconds / step_s))
            ]
        )
        step += int(seconds / step_s)
    store.append([RunInfo("run", {"run": "run", "cwd": "/job"})])
    machine(store, int(USUAL_S + SLOW_S) + 2, int(USUAL_S) + 1, 98.0, 20.0)
    if queued is not None:
        queues(store, queued)


def queues(store: Store, queued: tuple[float, float], since_s: float = USUAL_S) -> None:
    labels = labels_of(host="box", run="run")
    store.append(
        [
            Points(None, labels, ("host/run_core_wait_pct",), (100 * queued[t > since_s],), T0 + t, None)
            for t in range(int(USUAL_S + SLOW_S) + 40)
        ]
    )


def judged(store: Store) -> Verdict:
    verdict = blame(store, USUAL_S + 1, USUAL_S + SLOW_S - 1)
    assert verdict.baseline, verdict.sentence
    return verdict


def reading(ms: int, running: float = 0.02) -> Part:
    return Part(ms, of_loop(READ), False, running)


@pytest.mark.parametrize("queued", [(0.33, 0.19), None], ids=["run-queue", "no-run-queue"])
def test_a_line_that_sleeps_is_blamed_and_not_who_has_the_cores(
    store: Store, queued: tuple[float, float] | None
) -> None:
    of_main(store, [COMPUTES, reading(10, 0.4)], [FINDS_NO_CORE, reading(150)], queued)
    verdict = judged(store)
    assert verdict.suspect and verdict.suspect.frame == READ, verdict.sentence
    assert verdict.verdict == "line" and verdict.taken_s < 0.5 * (verdict.slowdown_s or 0), verdict.sentence


def test_it_is_blamed_beside_work_without_the_gil_that_finds_no_core(store: Store) -> None:
    slow = [MULTIPLIES._replace(ms=40, running=0.25), reading(100)]
    of_main(store, [MULTIPLIES, reading(10)], slow, (10 / 30, 30 / 140))
    verdict = judged(store)
    assert verdict.suspect and verdict.suspect.frame == READ, verdict.sentence


def test_what_a_loaders_worker_sleeps_at_is_blamed(store: Store) -> None:
    """No run queue of the worker is known: it has hardly any of a core."""
    waiting, late = Part(10, of_loop(LOADER), False, 0.0), Part(150, of_loop(LOADER), False, 0.0)
    of_main(store, [COMPUTES, waiting], [FINDS_NO_CORE, late], (0.33, 0.19))
    for lo_s, seconds, running in ((0.0, USUAL_S, 0.4), (USUAL_S, SLOW_S, 0.02)):
        worker = [Part(round(seconds * 1000), (READ,), False, running)]
        store.append([profile("run", T0 + lo_s, worker, seconds=seconds, pid=70, role="worker")])
    verdict = judged(store)
    assert verdict.suspect and verdict.suspect.frame == READ, verdict.sentence


@pytest.mark.parametrize(
    ("usual", "slow", "queued"),
    [
        ([COMPUTES, MULTIPLIES], [FINDS_NO_CORE, MULTIPLIES._replace(ms=100, running=0.1)], (0.5, 0.86)),
        ([MULTIPLIES], [MULTIPLIES._replace(ms=100, running=0.1)], (0.5, 0.9)),
        ([MULTIPLIES], [MULTIPLIES._replace(ms=100, running=0.1)], None),
        ([MULTIPLIES], [MULTIPLIES._replace(ms=50, running=0.2)], (0.5, 0.4)),  # its own threads want a core, too
        ([Part(20, of_loop(LINEAR), False, 0.5)], [Part(100, of_loop(LINEAR), False, 0.1)], (0.5, 0.2)),
    ],
    ids=["beside-python", "alone", "no-run-queue", "threads-of-its-own", "threads-of-pytorch"],
)
def test_work_that_finds_no_core_is_the_fault_of_who_has_them(
    store: Store, usual: Sequence[Part], slow: Sequence[Part], queued: tuple[float, float] | None
) -> None:
    of_main(store, usual, slow, queued)
    assert judged(store).verdict == "cpu_taken", judged(store).sentence


def test_who_waits_for_the_gil_of_a_thread_without_a_core_is_not_asleep(store: Store) -> None:
    usual, slow = [Part(20, of_loop(COMPUTE), True, 0.9)], [Part(100, of_loop(COMPUTE), False, 0.18)]
    holder = Part(
        10, (Frame("_bootstrap", "/usr/lib/python3.11/threading.py", 1), Frame("count", "/job/side.py", 3)), True, 0.2
    )
    of_main(store, usual, slow, (0.05, 0.05), usual_other=[holder._replace(gil=False)], slow_other=[holder])
    verdict = judged(store)
    assert verdict.suspect is None or verdict.suspect.frame != COMPUTE, verdict.sentence


@pytest.mark.parametrize(("queued", "said"), [((0.0, 0.5), "cpu_taken"), ((0.0, 0.05), "line"), (None, "cpu_taken")])
def test_a_sampler_that_knows_no_cores_goes_by_the_run_queue(
    store: Store, queued: tuple[float, float] | None, said: str
) -> None:
    slower = (NORMAL[0], (190.0, NORMAL[1][1]))
    run(store, (80, NORMAL), (10, slower), sampler="py-spy")
    machine(store, 92, 81, 98.0, 50.0)
    if queued is not None:
        queues(store, queued, 80)
    assert blame(store, 82, 85).verdict == said
