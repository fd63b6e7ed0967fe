"""Verdicts where steps differ: none, long ones, those of long sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from collectors.records import Frame, Points, StackRecording, StackSpan, labels_of
from collectors.store.store import Store
from tests.support.stretches import (
    DECODE,
    FORWARD,
    LIBRARY,
    MODULE,
    NORMAL,
    SAVE,
    SLOW,
    STEP,
    SYNCHRONIZE,
    T0,
    Part,
    blame,
    run,
)
from tests.support.stretches import store as store  # a fixture


def test_without_steps_differences_are_in_seconds_of_every_second(store: Store) -> None:
    waits = (MODULE, STEP, Frame("Queue.get", f"{LIBRARY}/queue.py", 171))
    run(
        store,
        (60, ((10, waits), (90, (MODULE, STEP, FORWARD)))),
        (10, ((60, waits), (40, (MODULE, STEP, FORWARD)))),
        steps=False,
    )
    verdict = blame(store, 62, 66)
    assert (verdict.unit_name, verdict.basis, verdict.units) == ("second", "stacks", None)
    assert verdict.sentence == (
        "step (train.py:40), in queue Queue.get, takes 60% of the time, 10% in the baseline (waits for the queue); "
        "everything else gets 44% of its usual work done per second (no steps are logged)."
    )


def test_without_steps_the_seconds_in_which_the_gpu_is_as_busy_as_usual_are_normal(store: Store) -> None:
    run(store, (30, NORMAL), (20, SLOW), (20, NORMAL), (10, SLOW), steps=False)
    for since, until, busy_pct in ((0, 30, 95.0), (30, 50, 40.0), (50, 70, 95.0), (70, 80, 40.0)):
        labels = labels_of(gpu=0, host="box", uuid="GPU-0")
        store.append(
            [
                Points(None, labels, ("gpu/utilization_pct",), (busy_pct,), T0 + t / 2, None)
                for t in range(2 * since, 2 * until)
            ]
        )
    verdict = blame(store, 72, 76)
    assert verdict.baseline == [
        (pytest.approx(T0, abs=1), pytest.approx(T0 + 30, abs=1)),
        (pytest.approx(T0 + 50, abs=1), T0 + 72 - 2),
    ]
    assert "decode (data.py:88), in PIL ImageFile.load" in verdict.sentence, "no thread waits in either"


def varying(store: Store, sizes: Sequence[int], decode_us: Sequence[float]) -> None:
    """Steps of so many tokens, each of which is forwarded in 200 us and decoded in so many."""
    ms = [(size * 0.2, size * us / 1000) for size, us in zip(sizes, decode_us, strict=True)]
    run(store, *(((a + b) / 1000, ((a, (MODULE, STEP, FORWARD)), (b, (MODULE, STEP, DECODE)))) for a, b in ms))
    ends_s = T0 + np.cumsum([(a + b) / 1000 for a, b in ms])
    points = zip(sizes, ends_s.round(6).tolist(), strict=True)
    store.append(
        [
            Points("run", labels_of(host="box", rank=None), ("train/tokens",), (size,), t, 101 + i)
            for i, (size, t) in enumerate(points)
        ]
    )


def test_a_window_of_long_sequences_is_not_slow(store: Store) -> None:
    sizes = [*np.random.default_rng(0).integers(200, 601, 800).tolist(), *[580] * 60]
    varying(store, sizes, [20.0] * 860)
    end_s = sum(sizes) * 220e-6
    verdict = blame(store, end_s - 6, end_s - 1)
    assert verdict.verdict == "no_difference", verdict.sentence
    assert verdict.sentence.startswith("Normal for their size: the steps of this window have 1.4")
    rows = {row.name: (row.window, row.baseline) for row in verdict.evidence}
    assert rows["Tokens per step"] == (pytest.approx(580, rel=0.02), pytest.approx(400, rel=0.05))
    assert rows["Time per token"] == (pytest.approx(220, rel=0.02), pytest.approx(220, rel=0.02))


def test_a_line_that_takes_longer_per_token_is_named_however_short_the_sequences_are(store: Store) -> None:
    sizes = [*np.random.default_rng(0).integers(200, 601, 800).tolist(), *[210] * 150]
    varying(store, sizes, [20.0] * 800 + [220.0] * 150)
    end_s = sum(sizes) * 220e-6 + 150 * 210 * 200e-6
    verdict = blame(store, end_s - 6, end_s - 1)
    assert verdict.verdict == "line", verdict.sentence
    assert "decode (data.py:88)" in verdict.sentence
    assert verdict.size in verdict.sentence
    assert verdict.excess_s == pytest.approx(200e-6 * 400, rel=0.1), "of a step of the usual size"


LONG_STEP: tuple[Part, ...] = (
    (5000, (MODULE, STEP, DECODE)),
    (10000, (MODULE, STEP, FORWARD)),
    (5000, (MODULE, STEP, SAVE)),
)
LONG_SLOW: tuple[Part, ...] = (
    (5000, (MODULE, STEP, DECODE)),
    (50000, (MODULE, STEP, FORWARD)),
    (5000, (MODULE, STEP, SAVE)),
)


@pytest.mark.parametrize("at_s", [241, 244, 247.5, 252, 256.5])
def test_a_part_of_a_long_step_is_no_dip(store: Store, at_s: float) -> None:
    """Beside steps as a whole, each part of one would be too long."""
    run(store, (400, LONG_STEP))
    verdict = blame(store, at_s, at_s + 3)
    assert verdict.verdict == "no_difference", verdict.sentence
    assert verdict.samples == 300


def test_a_slow_part_of_a_long_step_is_named_in_the_part_alone(store: Store) -> None:
    run(store, (320, LONG_STEP), (60, LONG_SLOW), (100, LONG_STEP))
    inside, before, after = blame(store, 340, 350), blame(store, 321, 324), blame(store, 376, 379)
    assert inside.suspect and inside.suspect.frame.name == "forward"
    assert (inside.excess_s, inside.slowdown_s) == (pytest.approx(40, rel=0.01), pytest.approx(40, rel=0.01))
    for verdict in (before, after):
        assert verdict.verdict == "no_difference"
        assert verdict.sentence == "Nothing unusual in this part of the step: it lost its time elsewhere."


def test_a_long_step_that_goes_on_has_lost_what_it_takes_longer_already(store: Store) -> None:
    run(store, (320, LONG_STEP))
    samples = [StackSpan(0, 5 * 10**9, 7, (MODULE, STEP, DECODE), False)]
    samples.append(StackSpan(5 * 10**9, 40 * 10**9, 7, (MODULE, STEP, FORWARD), False))
    about = ("run", 0, 7, "main", "box", "native", 100.0)
    store.append([StackRecording(*about, T0 + 320, 0, 45 * 10**9, {7: "MainThread"}, samples, 4500)])
    early, late = blame(store, 326, 330), blame(store, 355, 364)
    assert late.suspect and late.suspect.frame.name == "forward"
    assert late.excess_s == pytest.approx(30, rel=0.01), "so far"
    assert early.suspect and early.suspect.frame.name == "forward", "as the rest of its step tells"


def test_without_steps_a_slow_stretch_that_computes_is_not_taken_for_normal(store: Store) -> None:
    """It waits least of all."""
    nap, count = Frame("nap", "/job/train.py", 30), Frame("count", "/job/train.py", 50)
    healthy = ((90, (MODULE, nap, SYNCHRONIZE)), (10, (MODULE, count)))
    slow = ((90, (MODULE, nap, SYNCHRONIZE)), (610, (MODULE, count)))
    run(
        store, (28, healthy), (12, slow), (9, healthy), (20, slow), (15, healthy), (9, slow), (20, healthy), steps=False
    )
    assert blame(store, 42, 48).verdict == "no_difference"
    verdict = blame(store, 55, 60)
    assert verdict.suspect and verdict.suspect.frame.name == "count"
    assert all(not (28 < lo - T0 < 39 or 49 < lo - T0 < 68) for lo, hi in verdict.baseline)


def test_without_steps_parts_that_follow_each_other_are_normal_together(store: Store) -> None:
    roll_out, update = Frame("roll_out", "/job/rl.py", 3), Frame("update", "/job/rl.py", 9)
    run(store, (120, ((1200, (MODULE, roll_out)), (1300, (MODULE, update)))), steps=False)
    for at_s in (60.0, 61.1, 62.3, 70.7):
        assert blame(store, at_s, at_s + 10).verdict == "no_difference"
