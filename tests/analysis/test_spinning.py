"""A card that counts as busy and only waits, over described cards: it is told apart from work, said with its line, and no part of busy time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from analysis.history import History
from analysis.ledger.ledger import ledger
from analysis.ledger.spinning import CardSignals, spinning
from collectors.records import Record
from collectors.store.store import Store
from tests.support.judged import T0, JudgedRuns, card_labels, gpu, gpu_process, machine_point, point
from tests.support.judged_stacks import BUSY, DECODE, LINEAR, PIECE_S, SYNCHRONIZE, Part, of_loop, profile
from tests.support.spinning_cards import HEALTHY, PLANTED, CardCase

RANKS, TRAINED_S, LATE_S = 4, 90.0, 60.0
WAITS, LOADS = (Part(5000, of_loop(SYNCHRONIZE)),), (Part(5000, of_loop(DECODE), gil=True),)


def judged(
    store: Store,
    power_w: Sequence[float],
    busy_pct: Sequence[float],
    stacks: Sequence[Sequence[Part]],
    *,
    steps: bool = False,
    sm_pct: float | None = None,
    late_s: float = LATE_S,
) -> JudgedRuns:
    """Four ranks with a card each are at rest, train for 80 s, and then do what is given for a minute; steps go on where `steps` says so."""
    found = JudgedRuns(store, gpus=[gpu(rank, gpu_process(os.getpid() + rank)) for rank in range(RANKS)])
    found.begin("run", RANKS)

    def second(now_s: float) -> Iterable[Record]:
        passed = now_s - T0
        trains = 10 < passed <= TRAINED_S
        if trains or (steps and passed > TRAINED_S):
            yield point("run", now_s, int(passed), {"train/loss": 1.0})
        for rank in range(RANKS):
            busy, watts = (97.0, 450.0) if trains else (0.0, 72.0) if passed <= 10 else (busy_pct[rank], power_w[rank])
            filled = {} if sm_pct is None else {"gpu/sm_active_pct": 80.0 if trains else sm_pct}
            values = {"gpu/utilization_pct": busy, "gpu/power_w": watts, "gpu/power_limit_w": 700.0}
            yield machine_point(now_s, card_labels(rank), values | filled)
        if passed % PIECE_S == 0:
            for rank in range(RANKS):
                yield profile(
                    "run",
                    now_s - PIECE_S,
                    stacks[rank] if passed > TRAINED_S else BUSY,
                    rank=rank,
                    pid=os.getpid() + rank,
                )

    found.go_on(TRAINED_S + late_s, second)
    return found


def test_cards_that_wait_in_a_collective_are_said_with_the_rank_that_is_late(store: Store) -> None:
    found = judged(store, [118, 121, 117, 95], [100, 100, 100, 0], [WAITS, WAITS, WAITS, LOADS])
    (spins,) = found.of("spinning")
    assert spins.sentence.startswith("GPUs 0, 1, 2 report 100% busy at 118 W of 700 W, but no step has ended for ")
    assert spins.sentence.endswith(": they are waiting for rank 3, which is at data.py:88 decode_image.")
    assert spins.rank == 3 and spins.fields["place"] == {"function": "decode_image", "file": "/job/data.py", "line": 88}
    assert found.first_s[spins.id] - T0 - TRAINED_S < 30


@pytest.mark.parametrize(
    "power_w, busy_pct, steps, sm_pct",
    [
        (450, 97, False, None),
        (118, 99, True, None),
        (75, 0, False, None),
        (118, 60, False, None),
        (118, 99, False, 85.0),
    ],
    ids=["an evaluation at full power", "steps go on", "a checkpoint", "half busy", "its multiprocessors work"],
)
def test_work_and_rest_are_no_spinning(
    store: Store, power_w: float, busy_pct: float, steps: bool, sm_pct: float | None
) -> None:
    works = (Part(100, of_loop(LINEAR)), Part(20, of_loop(DECODE), gil=True))
    found = judged(store, [power_w] * RANKS, [busy_pct] * RANKS, [works] * RANKS, steps=steps, sm_pct=sm_pct)
    assert found.of("spinning") == []


def test_a_ledger_does_not_count_it_as_busy(store: Store) -> None:
    judged(store, [118] * 3 + [95], [100] * 3 + [0], [WAITS, WAITS, WAITS, LOADS], late_s=340.0)
    window = T0 + TRAINED_S + 5, T0 + TRAINED_S + LATE_S - 2
    found = ledger(History(store, "run"), window, rank=0)
    share = {row.kind: row.share for row in found.rows}
    assert share.get("busy", 0.0) < 5.0
    (waits,) = [row for row in found.rows if row.share > 90]
    assert (
        waits.kind == "collective" and waits.lines[0].place.frame is not None and waits.lines[0].place.frame.line == 40
    )
    deep = T0 + TRAINED_S + 300, T0 + TRAINED_S + 330
    inside = ledger(History(store, "run"), deep, rank=0)
    assert {row.kind for row in inside.rows if row.share > 90} == {"collective"}, (
        "the last step is minutes before the window"
    )
    trained = ledger(History(store, "run"), (T0 + 30, T0 + TRAINED_S - 2), rank=0)
    assert next(row.share for row in trained.rows if row.kind == "busy") > 90


UNDECIDABLE = {"H100 SXM, the record begins within the waiting"}  # no step has ended yet: that may be a start


@pytest.mark.parametrize("case", [case for case in PLANTED if case.name not in UNDECIDABLE], ids=lambda case: case.name)
def test_a_described_card_that_spins_is_seen_for_nearly_all_of_the_time(case: CardCase) -> None:
    found = seen(case)
    for lo, hi in case.spins:
        assert sum(max(0.0, min(hi, to) - max(lo, at)) for at, to in found) > 0.8 * (hi - lo)
    in_all = sum(hi - lo for lo, hi in case.spins)
    assert sum(to - at for at, to in found) < in_all + 2.0, "it is said where it does not spin"


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_described_card_that_works_or_rests_is_never_called_spinning(case: CardCase) -> None:
    assert seen(case) == []


def seen(case: CardCase) -> list[tuple[float, float]]:
    unknown = np.full(len(case.time_s), np.nan)
    power_w = unknown
    if len(case.power_time_s):
        newest = np.maximum(np.searchsorted(case.power_time_s, case.time_s, "right") - 1, 0)
        power_w = case.power_w[newest]
    sm, tensor = (unknown if share is None else share / 100 for share in (case.sm_active_pct, case.tensor_active_pct))
    limit_w = np.nan if case.limit_w is None else case.limit_w
    card = CardSignals(case.time_s, case.utilization_pct / 100, power_w, sm, tensor, limit_w)
    return [(found.start_s, found.end_s) for found in spinning(card, case.step_ends_s, float(case.time_s[-1]))]


def test_unknown_power_is_no_verdict_and_a_hole_does_not_end_a_stretch() -> None:
    time_s = np.arange(0, 120, 1 / 6)
    late = time_s > 60
    nothing = np.full(len(time_s), np.nan)
    ends_s = np.arange(0.0, 60.5, 0.5)
    card = CardSignals(
        time_s,
        np.where(time_s < 5, 0.0, 1.0),
        np.where(late, 110.0, np.where(time_s < 5, 70.0, 500.0)),
        nothing,
        nothing,
        700.0,
    )
    (found,) = spinning(card, ends_s, 120.0)
    assert 60 <= found.start_s < 62 and found.end_s > 119 and found.power_w == 110
    assert spinning(card._replace(power_w=nothing), ends_s, 120.0) == []
    blinks = card._replace(busy=np.where(np.abs(time_s - 90) < 0.5, 0.5, card.busy))
    assert len(spinning(blinks, ends_s, 120.0)) == 1
    back = np.r_[ends_s, np.arange(80.0, 120.0, 0.5)]
    (short,) = spinning(card, back, 120.0)
    assert short.end_s <= 80.5, "steps end again"
