"""Verdicts on what lies beside the code: GPUs, the cores of other programs, ranks that the others wait for."""

from __future__ import annotations

import pytest

from collectors.message import text_of
from collectors.records import Frame
from collectors.store.store import Store
from tests.support.stretches import (
    DECODE,
    FORWARD,
    MODULE,
    NORMAL,
    REDUCE,
    SLOW,
    STEP,
    SYNCHRONIZE,
    Part,
    blame,
    gpu,
    machine,
    run,
)
from tests.support.stretches import store as store  # a fixture


def test_a_gpu_whose_clock_is_down_is_slower_and_no_line_is_blamed(store: Store) -> None:
    waiting: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (150, (MODULE, STEP, FORWARD, SYNCHRONIZE)))
    run(store, (60, NORMAL), (10, waiting))
    gpu(store, 70, "gpu/utilization_pct", 95.0, 97.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 1410.0, 60)
    gpu(store, 70, "gpu/clock_event_reasons", 0.0, 4.0, 60)
    verdict = blame(store, 62, 65)
    assert (
        verdict.sentence
        == "The GPU is slower, clock 1410 MHz, baseline 1980 MHz (power cap): +60 ms per step, baseline 100 ms."
    )
    assert (verdict.verdict, verdict.suspect) == ("gpu_slower", None)
    assert any(row.name == "SM clock" for row in verdict.evidence)


WRITING: tuple[Part, ...] = (*NORMAL, (100, (MODULE, STEP, Frame("write", "/job/data.py", 99))))
CALLED = Frame("rebuild", "/job/data.py", 120)
CALLING: tuple[Part, ...] = (
    (12, (MODULE, STEP, DECODE)),
    (108, (MODULE, STEP, FORWARD)),
    (200, (MODULE, STEP, CALLED)),
)
SLOWER: tuple[Part, ...] = ((20, (MODULE, STEP, DECODE)), (180, (MODULE, STEP, FORWARD)))


@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_where_other_programs_took_the_cores_no_line_is_blamed(store: Store, sampler: str) -> None:
    run(store, (80, NORMAL), (10, SLOWER), on_core=[1.0, 0.5] if sampler == "native" else (), sampler=sampler)
    machine(store, 92, 81, 98.0, 50.0)
    verdict = blame(store, 82, 85)
    assert (
        verdict.sentence == "Other processes use 3.4 of 4 CPU cores, baseline 0.1: +100 ms per step, baseline 100 ms."
    )
    assert (verdict.verdict, verdict.suspect) == ("cpu_taken", None)
    assert ("CPU of others", 3.42, pytest.approx(0.08)) in [
        (row.name, row.window, row.baseline) for row in verdict.evidence
    ]


@pytest.mark.parametrize(
    ("slow", "on_core", "busy_pct", "own_pct", "said"),
    [
        (SLOWER, 1.0, 98.0, 50.0, "line"),  # it had a core all the time
        (SLOWER, 0.5, 60.0, 50.0, "line"),  # cores were free
        (SLOWER, 0.5, 98.0, 384.0, "unknown"),  # it is the run itself that takes them
        (WRITING, 0.1, 98.0, 50.0, "line"),  # what is slow is not what was there before
        (CALLING, (0.8, 0.8, 0.4), 98.0, 100.0, "line"),  # ... nor is it what waits for a core
    ],
    ids=["on-core", "free-cores", "own", "new", "new-and-starved"],
)
def test_other_programs_are_not_blamed_for_what_they_did_not_do(
    store: Store, slow: tuple[Part, ...], on_core: float | tuple[float, ...], busy_pct: float, own_pct: float, said: str
) -> None:
    run(store, (80, NORMAL), (10, slow), on_core=[1.0, on_core])
    machine(store, 92, 81, busy_pct, own_pct)
    verdict = blame(store, 82, 85)
    assert verdict.verdict == said
    if slow is CALLING:
        assert verdict.suspect and verdict.suspect.frame == CALLED and verdict.confidence != "high"
        assert verdict.sentence == (
            "rebuild (data.py:120) takes +201 ms per step, 91% of the slowdown; "
            "63% of the slowdown, partly in this function, is CPU taken by other processes."
        )


def test_a_gpu_that_idles_more_is_starved_and_the_line_is_blamed(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    gpu(store, 70, "gpu/utilization_pct", 95.0, 45.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 1410.0, 60)
    assert blame(store, 62, 65).suspect is not None


def test_the_gpus_that_idle_in_normal_say_nothing_of_those_at_work(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    gpu(store, 70, "gpu/utilization_pct", 95.0, 97.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 1410.0, 60)
    for card in range(1, 8):
        gpu(store, 70, "gpu/utilization_pct", 0.0, 0.0, 60, card)
        gpu(store, 70, "gpu/sm_clock_mhz", 210.0, 210.0, 60, card)
    verdict = blame(store, 62, 65)
    assert (verdict.verdict, verdict.suspect) == ("gpu_slower", None)
    assert "clock 1410 MHz, baseline 1980 MHz" in verdict.sentence
    assert ("GPU busy", 97.0, 95.0) in [(row.name, row.window, row.baseline) for row in verdict.evidence]


def test_a_gpu_that_the_run_does_not_use_says_nothing(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    gpu(store, 70, "gpu/utilization_pct", 0.0, 0.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 210.0, 60)
    assert blame(store, 62, 65).suspect is not None


def test_waiting_for_the_gpu_is_told_where_there_is_none_to_look_at(store: Store) -> None:
    waiting: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (190, (MODULE, STEP, FORWARD, SYNCHRONIZE)))
    run(store, (60, NORMAL), (10, waiting))
    assert text_of(blame(store, 62, 65).reason) == "waits for the GPU"


def test_the_rank_that_the_others_wait_for_is_looked_at(store: Store) -> None:
    healthy: tuple[Part, ...] = (
        (10, (MODULE, STEP, DECODE)),
        (80, (MODULE, STEP, FORWARD)),
        (10, (MODULE, STEP, REDUCE)),
    )
    late: tuple[Part, ...] = (
        (110, (MODULE, STEP, DECODE)),
        (80, (MODULE, STEP, FORWARD)),
        (10, (MODULE, STEP, REDUCE)),
    )
    waiting: tuple[Part, ...] = (
        (10, (MODULE, STEP, DECODE)),
        (80, (MODULE, STEP, FORWARD)),
        (110, (MODULE, STEP, REDUCE)),
    )
    for rank in range(4):
        run(store, (60, healthy), (10, late if rank == 2 else waiting), rank=rank)
    verdict = blame(store, 62, 65)
    assert verdict.sentence == (
        "Rank 2: decode (data.py:88) takes +100 ms per step, 100% of the slowdown; the other ranks wait for it."
    )
    assert (verdict.verdict, verdict.rank) == ("collective_wait", 2)
