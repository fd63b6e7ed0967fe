"""Which place a verdict names: the function that a user knows, what calls two slow ones, checkpoints and collections."""

from __future__ import annotations

import numpy as np
import pytest

from collectors.message import text_of
from collectors.records import Event, Frame
from collectors.store.store import Store
from tests.support.stretches import (
    DECODE,
    FORWARD,
    LIBRARY,
    MODULE,
    NORMAL,
    OPEN,
    SAVE,
    STEP,
    T0,
    TORCH,
    ZIP,
    Part,
    blame,
    run,
)
from tests.support.stretches import store as store  # a fixture


def test_the_main_thread_waits_for_workers_however_busy_they_are(store: Store) -> None:
    """The table counts a wait as one, also where the graph shows what the workers did meanwhile."""
    waiting = (MODULE, STEP, Frame("Queue.get", f"{LIBRARY}/queue.py", 171))
    run(
        store,
        (60, ((20, waiting), (80, (MODULE, STEP, FORWARD)))),
        (20, ((60, waiting), (80, (MODULE, STEP, FORWARD)))),
    )
    verdict = blame(store, 62, 70)
    (row,) = [row for row in verdict.evidence if row.name == "Main thread waits"]
    assert row == ("Main thread waits", "s/step", pytest.approx(0.06, rel=0.1), pytest.approx(0.02, rel=0.1))
    assert verdict.contradiction is None


def test_two_causes_of_one_size_are_both_named(store: Store) -> None:
    both: tuple[Part, ...] = ((60, (MODULE, STEP, DECODE)), (140, (MODULE, STEP, FORWARD)))
    run(store, (60, NORMAL), (10, both))
    verdict = blame(store, 62, 65)
    one, other = "decode (data.py:88)", "forward (model.py:7)"
    said = [
        f"{a} takes +50 ms per step, 50% of the slowdown; {b} takes 50 ms more (50%)."
        for a, b in ((one, other), (other, one))
    ]
    assert verdict.sentence in said


def test_a_function_is_found_below_different_callers(store: Store) -> None:
    one, other = Frame("left", "/job/model.py", 20), Frame("right", "/job/model.py", 30)
    twice: tuple[Part, ...] = (
        (10, (MODULE, STEP, DECODE)),
        (90, (MODULE, STEP, FORWARD)),
        (50, (MODULE, STEP, one, OPEN._replace(file="/job/norm.py", name="norm"))),
        (50, (MODULE, STEP, other, OPEN._replace(file="/job/norm.py", name="norm"))),
    )
    run(store, (60, NORMAL), (10, twice))
    assert "norm (norm.py:300) takes +100 ms per step, 100% of the slowdown" in blame(store, 62, 65).sentence


PIECE = Frame("step.<locals>.<listcomp>", "/job/train.py", 44)  # with Python 3.12 its time stands at line 44 of `step`
LATE, PADDED = Frame("main.<locals>.<lambda>", "/job/train.py", 12), Frame("padded", "/job/train.py", 20)
FETCH = Frame("_MapDatasetFetcher.fetch", f"{TORCH}/utils/data/_utils/fetch.py", 54)
TRAINER = Frame("Trainer.get_batch_samples", f"{LIBRARY}/site-packages/transformers/trainer.py", 5100)
COLLATOR = Frame("DataCollator.__call__", f"{LIBRARY}/site-packages/transformers/data/data_collator.py", 40)
CALL, RUN = (
    Frame("_call_impl", f"{TORCH}/nn/modules/module.py", 1700),
    Frame("<module>", f"{LIBRARY}/site-packages/axolotl/cli.py", 3),
)
GENERATED = Frame("call", "/tmp/torchinductor_ada/ab/cab.py", 70)


@pytest.mark.parametrize(
    ("slow", "said"),
    [
        ((MODULE, STEP, PIECE), "step (train.py:44) takes +100"),
        ((MODULE, STEP, PIECE, DECODE), "decode (data.py:88) takes +100"),
        ((MODULE, STEP, PIECE._replace(name="<listcomp>")), "step (train.py:44) takes +100"),  # Python 3.10
        ((MODULE, STEP, FETCH, LATE), "lambda (train.py:12) takes +100"),
        ((MODULE, STEP, PADDED, PADDED._replace(line=21), PADDED._replace(line=22)), "padded (train.py:20) takes +100"),
        ((MODULE, STEP, CALL, GENERATED), "step (train.py:40), in compiled code, takes +100"),
        (
            (MODULE, STEP, COLLATOR, CALL, COLLATOR._replace(name="<genexpr>")),
            "step (train.py:40), in transformers DataCollator.__call__, takes +100",
        ),
        (
            (RUN, TRAINER, CALL, COLLATOR),
            "transformers Trainer.get_batch_samples -> DataCollator.__call__ (data_collator.py:40) takes +100",
        ),
        ((RUN, TRAINER, CALL), "Trainer.get_batch_samples (trainer.py:5100) takes +100"),
    ],
    ids=[
        "comprehension",
        "called-in-one",
        "3.10",
        "lambda-of-another",
        "recursion",
        "compiled",
        "genexpr",
        "no-own",
        "unnamed-leaf",
    ],
)
def test_what_is_named_is_a_function_that_the_user_knows(store: Store, slow: tuple[Frame, ...], said: str) -> None:
    base: tuple[Part, ...] = ((10, (MODULE, STEP, FORWARD)), (90, (*slow[:2], FORWARD)))
    run(store, (60, base), (10, (*base, (100, slow))))
    verdict = blame(store, 62, 65)
    assert said in verdict.sentence, verdict.sentence


LOAD, CROP = Frame("load", "/job/data.py", 60), Frame("crop", "/job/data.py", 99)
TIMED = Frame("timed.<locals>.wrapper", "/job/tools.py", 5)


@pytest.mark.parametrize(
    ("usual", "slow", "named"),
    [
        ((17, 3), (51, 9), "load (data.py:60)"),  # it is called three times as often
        ((17, 3), (57, 3), "decode (data.py:88)"),
        ((17, 3), (17, 43), "crop (data.py:99)"),
        ((20, 0), (60, 0), "decode (data.py:88)"),
    ],
    ids=["all", "one", "the other", "alone"],
)
def test_a_function_whose_parts_all_grew_in_proportion_is_named_and_not_one_of_its_parts(
    store: Store, usual: tuple[float, float], slow: tuple[float, float], named: str
) -> None:
    def parts(decode_ms: float, crop_ms: float) -> tuple[Part, ...]:
        below = ((decode_ms, (MODULE, STEP, LOAD, TIMED, DECODE)), (crop_ms, (MODULE, STEP, LOAD, CROP)))
        return (*(one for one in below if one[0]), (80, (MODULE, STEP, FORWARD)))

    run(store, (60, parts(*usual)), (12, parts(*slow)))
    assert named in blame(store, 62, 70).sentence


def test_a_checkpoint_is_told_by_its_frames(store: Store) -> None:
    saving: tuple[Part, ...] = (*NORMAL, (100, (MODULE, STEP, SAVE, ZIP)))
    run(store, (60, NORMAL), (10, saving))
    assert blame(store, 62, 65).sentence == (
        "step (train.py:40), in torch _save, takes +100 ms per step, 100% of the slowdown (checkpoint)."
    )


def test_garbage_collection_is_named_only_where_the_run_logs_it(store: Store) -> None:
    lines: tuple[Part, ...] = ((10, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, FORWARD._replace(line=8))))
    steady: tuple[Part, ...] = (NORMAL[0], *lines * 4)
    pause: tuple[Part, ...] = (NORMAL[0], *lines * 3, (620, (MODULE, STEP, FORWARD)))
    run(store, (60, steady), *((0.9, steady), (0.69, pause)) * 12)
    unlogged = blame(store, 63, 73)
    assert (unlogged.verdict, text_of(unlogged.reason)) == ("line", "")
    assert "forward (model.py:7)" in unlogged.sentence
    store.append([Event("run", "gc", T0 + float(t), seconds=0.5) for t in np.arange(61.0, 78.0, 1.6)])
    logged = blame(store, 63, 73)
    assert (logged.verdict, text_of(logged.reason)) == ("line", "garbage collection")
    assert logged.suspect is not None
    assert logged.suspect.frame.name == "gc"


def test_a_slow_branch_on_a_line_of_its_own_is_no_garbage_collection(store: Store) -> None:
    lines: tuple[Part, ...] = ((10, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, FORWARD._replace(line=8))))
    steady: tuple[Part, ...] = (NORMAL[0], *lines * 4)
    miss: tuple[Part, ...] = (NORMAL[0], *lines * 3, (620, (MODULE, STEP, FORWARD._replace(line=12))))
    run(store, (60, steady), *((0.9, steady), (0.69, miss)) * 12)
    verdict = blame(store, 63, 73)
    assert (verdict.verdict, text_of(verdict.reason)) == ("line", "")
    assert "forward (model.py:12)" in verdict.sentence


def test_work_that_takes_longer_everywhere_is_blamed_on_no_line(store: Store) -> None:
    load, train = Frame("load", "/job/data.py", 5), Frame("train", "/job/train.py", 60)
    parts = ((15, (MODULE, load)), (25, (MODULE, train, DECODE)), (60, (MODULE, train, FORWARD)))
    run(store, (80, parts), (10, tuple((1.6 * ms, stack) for ms, stack in parts)))
    verdict = blame(store, 82, 86)
    assert verdict.verdict == "unknown", verdict.sentence
    assert verdict.sentence == "No single line stands out: +60 ms per step, baseline 100 ms."


@pytest.mark.parametrize("slow", [(12,), (12, 13, 14)], ids=["one line", "a loop of three"])
@pytest.mark.parametrize("calls", [True, False], ids=["beside what it calls", "alone"])
def test_a_slow_line_of_the_function_that_is_there_all_the_time_is_named(
    store: Store, slow: tuple[int, ...], calls: bool
) -> None:
    """A script of one function, or of none: what it calls took no longer."""
    main = Frame("main", "/job/train.py", 5)
    own: tuple[Part, ...] = ((30, (MODULE, main)), (20, (MODULE, main._replace(line=6))))
    steady = (*own, (50, (MODULE, main._replace(line=8), FORWARD) if calls else (MODULE, main._replace(line=8))))
    waits: tuple[Part, ...] = tuple((300 / len(slow), (MODULE, main._replace(line=line))) for line in slow)
    run(store, (80, steady), (10, (*steady, *waits)))
    verdict = blame(store, 82, 88)
    assert verdict.verdict == "line" and verdict.confidence == "high", verdict.sentence
    assert verdict.suspect and verdict.suspect.frame.name == "main" and verdict.suspect.frame.line in slow


@pytest.mark.parametrize("grown", [1.4, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(5))
def test_lines_that_all_take_longer_are_not_named(store: Store, grown: float, seed: int) -> None:
    """In about the same proportion, as where something else takes the cores."""
    draw = np.random.default_rng(seed)
    main = Frame("main", "/job/train.py", 5)
    parts = tuple((float(draw.uniform(5, 20)), (MODULE, main._replace(line=line), *([FORWARD] if line == 9 else []))) for line in range(5, 12))  # fmt: skip
    slower = tuple((ms * grown * float(draw.uniform(0.9, 1.1)), stack) for ms, stack in parts)
    run(store, (80, parts), (10, slower))
    verdict = blame(store, 82, 88)
    assert verdict.verdict == "unknown", verdict.sentence


def test_one_of_two_causes_is_not_high(store: Store) -> None:
    run(store, (80, NORMAL), (10, ((60, (MODULE, STEP, DECODE)), (140, (MODULE, STEP, FORWARD)))))
    verdict = blame(store, 82, 85)
    assert (
        verdict.suspect
        and verdict.second
        and {verdict.suspect.frame.name, verdict.second.frame.name} == {"decode", "forward"}
    )
    assert verdict.confidence != "high"


def test_collections_that_the_run_logs_are_named_where_all_takes_longer(store: Store) -> None:
    steady: tuple[Part, ...] = (
        NORMAL[0],
        (40, (MODULE, STEP, FORWARD)),
        (50, (MODULE, STEP, FORWARD._replace(line=8))),
    )
    slower: tuple[Part, ...] = tuple((1.4 * ms, stack) for ms, stack in steady)
    run(store, *((10, steady), (10, slower)) * 4)
    slow = [t for lo in (10, 30, 50, 70) for t in np.arange(lo, lo + 10, 0.14)]
    store.append([Event("run", "gc", T0 + float(t), seconds=0.04) for t in slow])
    logged, healthy = blame(store, 72, 75), blame(store, 62, 65)
    assert (logged.verdict, text_of(logged.reason)) == ("line", "garbage collection")
    assert healthy.verdict == "no_difference"
