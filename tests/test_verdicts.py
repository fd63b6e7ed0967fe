"""Verdicts on runs made by hand: what no small program can show, such as a GPU that is slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from collectors.analysis.blame.verdict import Verdict
from collectors.analysis.blame.wording import worded
from collectors.analysis.stacks.lanes import Lanes
from collectors.records import Event, Frame, Labels, Points, Profile, RunInfo, StackSample, labels_of
from collectors.store.open import open_store
from collectors.store.protocol import Store
from dashboard.api.judged.blame import verdict_answer
from dashboard.stacks import Stacks

T0 = 1_764_000_000.0
TORCH, LIBRARY = "/usr/lib/python3.11/site-packages/torch", "/usr/lib/python3.11"
MODULE, STEP = Frame("<module>", "/job/train.py", 90), Frame("step", "/job/train.py", 40)
DECODE, FORWARD = Frame("decode", "/job/data.py", 88), Frame("forward", "/job/model.py", 7)
OPEN = Frame("ImageFile.load", f"{LIBRARY}/site-packages/PIL/ImageFile.py", 300)
SYNCHRONIZE = Frame("synchronize", f"{TORCH}/cuda/__init__.py", 1000)
REDUCE = Frame("all_reduce", f"{TORCH}/distributed/distributed_c10d.py", 2800)
SAVE, ZIP = Frame("save", f"{TORCH}/serialization.py", 900), Frame("_save", f"{TORCH}/serialization.py", 1200)
Part = tuple[float, tuple[Frame, ...]]  # milliseconds of every step, and where
NORMAL: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
SLOW: tuple[Part, ...] = ((110, (MODULE, STEP, DECODE, OPEN)), (90, (MODULE, STEP, FORWARD)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, write=True)
    yield store
    store.close()


def run(
    store: Store,
    *stretches: tuple[float, tuple[Part, ...]],
    rank: int = 0,
    steps: bool = True,
    sampler: str = "native",
    on_core: Sequence[float] = (),
) -> None:
    """So many seconds of steps that are alike, each made of its parts; `on_core`: which share of each stretch it had a core."""
    now_ns, step = 0, 0
    samples: list[StackSample] = []
    points: list[Points] = []
    labels = labels_of(host="box", rank=rank or None)
    for (seconds, parts), share in zip_longest(stretches, on_core):
        until_ns = now_ns + round(seconds * 1e9)
        while now_ns < until_ns:
            for ms, stack in parts:
                took_ns = round(ms * 1e6)
                cpu_ns = None if share is None else round(share * took_ns)
                samples.append(StackSample(now_ns, took_ns, 7 + rank, stack, False if sampler == "native" else None, cpu_ns))
                now_ns += took_ns
            step += 1
            if steps:
                points.append(Points("run", labels, ("train/loss",), (1.0,), T0 + now_ns / 1e9, step + 100))
    about = ("run", rank, 7 + rank, "main", "box", sampler, 100.0)
    store.append([Profile(*about, T0, 0, now_ns, {7 + rank: "MainThread"}, samples, round(now_ns / 1e7))])
    store.append([RunInfo("run", {"run": "run", "cwd": "/job"}), *points])


def blame(store: Store, lo: float, hi: float, **options: int) -> Verdict:
    return Stacks(store).blame("run", (T0 + lo, T0 + hi), **options)


def gpu(store: Store, seconds: int, metric: str, value: float, slow: float, since: float, card: int = 0) -> None:
    labels: Labels = labels_of(gpu=card, host="box", uuid=f"GPU-{card}")
    store.append([Points(None, labels, (metric,), (slow if t >= since else value,), T0 + t, None) for t in range(seconds)])


def machine(store: Store, seconds: int, since: int, busy_pct: float, own_pct: float) -> None:
    """Four cores of which the run keeps one busy, from `since` on as told."""
    for t in range(seconds):
        values = (busy_pct, own_pct) if t >= since else (27.0, 100.0)
        for labels, names, value in (
            (labels_of(host="box"), ("host/cpu_pct",), values[0]),
            (labels_of(host="box", run="run"), ("host/run_cpu_pct",), values[1]),
            *((labels_of(host="box", core=core), ("host/cpu_core_pct",), values[0]) for core in range(4)),
        ):
            store.append([Points(None, labels, names, (value,), T0 + t, None)])


def test_who_lost_more_than_the_step_did_is_not_told_as_a_part_of_it(store: Store) -> None:
    """Other work took less meanwhile: `+100 of +60 ms` would be no share."""
    run(store, (80, NORMAL), (10, SLOW))
    verdict = blame(store, 82, 85)
    for slowdown_s, said in ((0.09, "All of the lost time: "), (0.06, "More than all of the lost time: ")):
        sentence = worded(replace(verdict, slowdown_s=slowdown_s)).sentence
        assert sentence.startswith(said), sentence
    assert sentence.endswith("+100 ms a step; the step takes +60 ms, since other work takes less.")


def test_the_sentence_names_line_leaf_and_cost(store: Store) -> None:
    run(store, (80, NORMAL), (10, SLOW))
    verdict = blame(store, 82, 85)
    assert verdict.sentence == "100 % of the lost time: data.py:88 decode, in PIL ImageFile.load, +100 of +100 ms a step."
    assert (verdict.verdict, verdict.confidence, verdict.basis) == ("line", "high", "steps")
    assert (verdict.rank_among_baseline, verdict.unit_name) == (1.0, "step")
    assert (verdict.window_unit_s, verdict.baseline_unit_s) == (pytest.approx(0.2), pytest.approx(0.1))
    assert verdict.suspect is not None
    assert [frame.name for frame in verdict.suspect.path] == ["<module>", "step", "decode"]
    assert verdict.unexplained_s == pytest.approx(0, abs=1e-3)


def test_the_answer_has_the_fields_of_the_contract(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    answer = verdict_answer(blame(store, 62, 65))
    named = {
        "verdict",
        "sentence",
        "function",
        "file",
        "line",
        "leaf",
        "confidence",
        "basis",
        "normal",
        "evidence",
        "profile_until",
    }
    counted = {"excess_s", "excess_share", "slowdown_s", "unexplained_s", "per", "samples", "normal_samples", "unresolved_share"}
    assert named | counted <= answer.keys()
    assert (answer["function"], answer["file"], answer["line"], answer["leaf"]) == (
        "decode",
        "/job/data.py",
        88,
        "PIL ImageFile.load",
    )
    (rate,) = [row for row in answer["evidence"] if row["name"] == "Steps/s"]
    assert rate == {
        "name": "Steps/s",
        "unit": "steps/s",
        "window": pytest.approx(5, rel=0.01),
        "normal": pytest.approx(10, rel=0.01),
    }
    assert answer["normal"] == [(T0 + 6, T0 + 60)], "without the first 50 steps"


def test_stacks_of_py_spy_give_medium_confidence_at_most(store: Store) -> None:
    run(store, (80, NORMAL), (10, SLOW), sampler="py-spy")
    assert blame(store, 82, 85).confidence == "medium"


def test_with_little_normal_confidence_is_low(store: Store) -> None:
    run(store, (9, NORMAL), (10, SLOW))
    assert blame(store, 11, 14).confidence == "low"


def test_without_normal_shares_are_absolute_and_confidence_is_low(store: Store) -> None:
    run(store, (8, SLOW))
    verdict = blame(store, 0, 8)
    assert verdict.sentence == ("100 % of this window: train.py:40 step; there is no normal to compare it with."), (
        "55 % are in decode: no function below carries most of it"
    )
    assert (verdict.confidence, verdict.baseline) == ("low", [])


def test_without_steps_differences_are_in_seconds_of_every_second(store: Store) -> None:
    waits = (MODULE, STEP, Frame("Queue.get", f"{LIBRARY}/queue.py", 171))
    run(store, (60, ((10, waits), (90, (MODULE, STEP, FORWARD)))), (10, ((60, waits), (40, (MODULE, STEP, FORWARD)))), steps=False)
    verdict = blame(store, 62, 66)
    assert (verdict.unit_name, verdict.basis, verdict.units) == ("second", "stacks", None)
    assert verdict.sentence == (
        "100 % of the time spent differently from normal: train.py:40 step, in queue Queue.get, waits for the queue, +500 ms per second."
    )


def test_without_steps_the_seconds_in_which_the_gpu_is_as_busy_as_usual_are_normal(store: Store) -> None:
    run(store, (30, NORMAL), (20, SLOW), (20, NORMAL), (10, SLOW), steps=False)
    for since, until, busy_pct in ((0, 30, 95.0), (30, 50, 40.0), (50, 70, 95.0), (70, 80, 40.0)):
        labels = labels_of(gpu=0, host="box", uuid="GPU-0")
        store.append(
            [Points(None, labels, ("gpu/utilization_pct",), (busy_pct,), T0 + t / 2, None) for t in range(2 * since, 2 * until)]
        )
    verdict = blame(store, 72, 76)
    assert verdict.baseline == [
        (pytest.approx(T0, abs=1), pytest.approx(T0 + 30, abs=1)),
        (pytest.approx(T0 + 50, abs=1), T0 + 72 - 2),
    ]
    assert "data.py:88 decode, in PIL ImageFile.load" in verdict.sentence, "no thread waits in either"


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
    assert verdict.sentence.startswith("This window looks like normal for its size: a step has 1.4")
    rows = {row.name: (row.window, row.baseline) for row in verdict.evidence}
    assert rows["Tokens per step"] == (pytest.approx(580, rel=0.02), pytest.approx(400, rel=0.05))
    assert rows["Time per token"] == (pytest.approx(220, rel=0.02), pytest.approx(220, rel=0.02))


def test_a_line_that_takes_longer_per_token_is_named_however_short_the_sequences_are(store: Store) -> None:
    sizes = [*np.random.default_rng(0).integers(200, 601, 800).tolist(), *[210] * 150]
    varying(store, sizes, [20.0] * 800 + [220.0] * 150)
    end_s = sum(sizes) * 220e-6 + 150 * 210 * 200e-6
    verdict = blame(store, end_s - 6, end_s - 1)
    assert verdict.verdict == "line", verdict.sentence
    assert "data.py:88 decode" in verdict.sentence
    assert verdict.size in verdict.sentence
    assert verdict.excess_s == pytest.approx(200e-6 * 400, rel=0.1), "of a step of the usual size"


def test_what_the_graph_beside_a_sentence_does_not_show_is_said_and_confidence_is_low(store: Store) -> None:
    """The last minute of normal, which the graph shows, is already slow; most of what the verdict rests on is not."""
    slower: tuple[Part, ...] = ((30, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
    slow: tuple[Part, ...] = ((36, (MODULE, STEP, DECODE)), (90, (MODULE, STEP, FORWARD)))
    run(store, (300, NORMAL), (70, slower), (20, slow))
    verdict = blame(store, 371, 386)
    assert "data.py:88 decode, +2" in verdict.sentence, verdict.sentence
    assert verdict.contradiction == "The flame graph says otherwise: +6.0 ms a step for data.py:88 decode."
    assert verdict.confidence == "low"


def test_the_main_thread_waits_for_workers_however_busy_they_are(store: Store) -> None:
    """The table counts a wait as one, also where the graph shows what the workers did meanwhile."""
    waiting = (MODULE, STEP, Frame("Queue.get", f"{LIBRARY}/queue.py", 171))
    run(store, (60, ((20, waiting), (80, (MODULE, STEP, FORWARD)))), (20, ((60, waiting), (80, (MODULE, STEP, FORWARD)))))
    verdict = blame(store, 62, 70)
    (row,) = [row for row in verdict.evidence if row.name == "Main thread waits"]
    assert row == ("Main thread waits", "s/step", pytest.approx(0.06, rel=0.1), pytest.approx(0.02, rel=0.1))
    assert verdict.contradiction == ""


def test_two_causes_of_one_size_are_named_by_what_calls_both(store: Store) -> None:
    both: tuple[Part, ...] = ((60, (MODULE, STEP, DECODE)), (140, (MODULE, STEP, FORWARD)))
    run(store, (60, NORMAL), (10, both))
    assert "train.py:40 step, +100 of +100 ms a step" in blame(store, 62, 65).sentence


def test_a_function_is_found_below_different_callers(store: Store) -> None:
    one, other = Frame("left", "/job/model.py", 20), Frame("right", "/job/model.py", 30)
    twice: tuple[Part, ...] = (
        (10, (MODULE, STEP, DECODE)),
        (90, (MODULE, STEP, FORWARD)),
        (50, (MODULE, STEP, one, OPEN._replace(file="/job/norm.py", name="norm"))),
        (50, (MODULE, STEP, other, OPEN._replace(file="/job/norm.py", name="norm"))),
    )
    run(store, (60, NORMAL), (10, twice))
    assert "norm.py:300 norm, +100 of +100 ms a step" in blame(store, 62, 65).sentence


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
        ((MODULE, STEP, PIECE), "train.py:44 step, +100"),
        ((MODULE, STEP, PIECE, DECODE), "data.py:88 decode, +100"),
        ((MODULE, STEP, PIECE._replace(name="<listcomp>")), "train.py:44 step, +100"),  # Python 3.10
        ((MODULE, STEP, FETCH, LATE), "train.py:12 main.<locals>.<lambda>, +100"),
        ((MODULE, STEP, PADDED, PADDED._replace(line=21), PADDED._replace(line=22)), "train.py:20 padded, +100"),
        ((MODULE, STEP, CALL, GENERATED), "train.py:40 step, in compiled code, +100"),
        (
            (MODULE, STEP, COLLATOR, CALL, COLLATOR._replace(name="<genexpr>")),
            "train.py:40 step, in transformers DataCollator.__call__, +100",
        ),
        (
            (RUN, TRAINER, CALL, COLLATOR),
            "transformers Trainer.get_batch_samples -> data_collator.py:40 DataCollator.__call__, +100",
        ),
        ((RUN, TRAINER, CALL), "trainer.py:5100 Trainer.get_batch_samples, +100"),
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
        ((17, 3), (51, 9), "data.py:60 load"),  # it is called three times as often
        ((17, 3), (57, 3), "data.py:88 decode"),
        ((17, 3), (17, 43), "data.py:99 crop"),
        ((20, 0), (60, 0), "data.py:88 decode"),
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


def test_a_short_window_or_one_without_stacks_says_so(store: Store) -> None:
    run(store, (60, NORMAL))
    assert blame(store, 40, 40.3).sentence == "Only 30 samples in this window: too few to blame a line."
    assert blame(store, 400, 403).sentence == "No stack was sampled in this time."


def test_a_healthy_window_looks_like_normal(store: Store) -> None:
    run(store, (60, NORMAL))
    assert blame(store, 50, 53).verdict == "no_difference"


def test_a_window_that_chance_made_slower_does_not_say_that_it_looks_like_normal(store: Store) -> None:
    """The table beside the sentence shows fewer steps a second."""
    steps = np.random.default_rng(1).choice([0.4, 3.0], 900, p=[0.8, 0.2]).tolist()
    unsteady = [(0.1 * one, ((10 * one, (MODULE, STEP, DECODE)), (90 * one, (MODULE, STEP, FORWARD)))) for one in steps]
    run(store, *unsteady)
    said = [blame(store, at, at + 4) for at in range(60, 80, 2)]
    for verdict in said:
        slower = (verdict.window_unit_s or 0) / (verdict.baseline_unit_s or 1)
        assert verdict.verdict != "no_difference" or ("looks like normal" in verdict.sentence) == (slower <= 1.1), verdict.sentence


def test_another_window_may_stand_for_normal(store: Store) -> None:
    run(store, (60, NORMAL), (20, SLOW))
    verdict = Stacks(store).blame("run", (T0 + 62, T0 + 65), baseline=(T0 + 70, T0 + 75))
    assert (verdict.verdict, verdict.baseline) == ("no_difference", [(T0 + 70, T0 + 75)])


def test_a_gpu_whose_clock_is_down_is_slower_and_no_line_is_blamed(store: Store) -> None:
    waiting: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (150, (MODULE, STEP, FORWARD, SYNCHRONIZE)))
    run(store, (60, NORMAL), (10, waiting))
    gpu(store, 70, "gpu/utilization_pct", 95.0, 97.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 1410.0, 60)
    gpu(store, 70, "gpu/clock_event_reasons", 0.0, 4.0, 60)
    verdict = blame(store, 62, 65)
    assert verdict.sentence == "The GPU is slower, clock 1410 MHz, normal 1980 MHz (power cap): +60 ms a step, normal 100 ms."
    assert (verdict.verdict, verdict.suspect) == ("gpu_slower", None)
    assert any(row.name == "SM clock" for row in verdict.evidence)


WRITING: tuple[Part, ...] = (*NORMAL, (100, (MODULE, STEP, Frame("write", "/job/data.py", 99))))
SLOWER: tuple[Part, ...] = ((20, (MODULE, STEP, DECODE)), (180, (MODULE, STEP, FORWARD)))


@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_where_other_programs_took_the_cores_no_line_is_blamed(store: Store, sampler: str) -> None:
    run(store, (80, NORMAL), (10, SLOWER), on_core=[1.0, 0.5] if sampler == "native" else (), sampler=sampler)
    machine(store, 92, 81, 98.0, 50.0)
    verdict = blame(store, 82, 85)
    assert verdict.sentence == "Other programs keep 3.4 of 4 cores busy, normal 0.1: +100 ms a step, normal 100 ms."
    assert (verdict.verdict, verdict.suspect) == ("cpu_taken", None)
    assert ("CPU of others", 3.42, pytest.approx(0.08)) in [(row.name, row.window, row.baseline) for row in verdict.evidence]


@pytest.mark.parametrize(
    ("slow", "on_core", "busy_pct", "own_pct"),
    [
        (SLOWER, 1.0, 98.0, 50.0),  # it had a core all the time
        (SLOWER, 0.5, 60.0, 50.0),  # cores were free
        (SLOWER, 0.5, 98.0, 384.0),  # it is the run itself that takes them
        (WRITING, 0.1, 98.0, 50.0),  # what is slow is not what was there before
    ],
    ids=["on-core", "free-cores", "own", "new"],
)
def test_other_programs_are_not_blamed_for_what_they_did_not_do(
    store: Store, slow: tuple[Part, ...], on_core: float, busy_pct: float, own_pct: float
) -> None:
    run(store, (80, NORMAL), (10, slow), on_core=[1.0, on_core])
    machine(store, 92, 81, busy_pct, own_pct)
    assert blame(store, 82, 85).verdict == "line"


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
    assert "clock 1410 MHz, normal 1980 MHz" in verdict.sentence
    assert ("GPU busy", 97.0, 95.0) in [(row.name, row.window, row.baseline) for row in verdict.evidence]


def test_a_gpu_that_the_run_does_not_use_says_nothing(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    gpu(store, 70, "gpu/utilization_pct", 0.0, 0.0, 60)
    gpu(store, 70, "gpu/sm_clock_mhz", 1980.0, 210.0, 60)
    assert blame(store, 62, 65).suspect is not None


def test_waiting_for_the_gpu_is_told_where_there_is_none_to_look_at(store: Store) -> None:
    waiting: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (190, (MODULE, STEP, FORWARD, SYNCHRONIZE)))
    run(store, (60, NORMAL), (10, waiting))
    assert blame(store, 62, 65).reason == "waits for the GPU"


def test_the_rank_that_the_others_wait_for_is_looked_at(store: Store) -> None:
    healthy: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (80, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, REDUCE)))
    late: tuple[Part, ...] = ((110, (MODULE, STEP, DECODE)), (80, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, REDUCE)))
    waiting: tuple[Part, ...] = ((10, (MODULE, STEP, DECODE)), (80, (MODULE, STEP, FORWARD)), (110, (MODULE, STEP, REDUCE)))
    for rank in range(4):
        run(store, (60, healthy), (10, late if rank == 2 else waiting), rank=rank)
    verdict = blame(store, 62, 65)
    assert verdict.sentence == (
        "100 % of the lost time: rank 2, data.py:88 decode, +100 of +100 ms a step; the other ranks wait for it."
    )
    assert (verdict.verdict, verdict.rank) == ("collective_wait", 2)


def test_a_checkpoint_is_told_by_its_frames(store: Store) -> None:
    saving: tuple[Part, ...] = (*NORMAL, (100, (MODULE, STEP, SAVE, ZIP)))
    run(store, (60, NORMAL), (10, saving))
    assert blame(store, 62, 65).sentence == (
        "100 % of the lost time: train.py:40 step, in torch _save, checkpoint, +100 of +100 ms a step."
    )


def test_garbage_collection_is_named_where_the_run_logs_it_and_marked_where_it_does_not(store: Store) -> None:
    lines: tuple[Part, ...] = ((10, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, FORWARD._replace(line=8))))
    steady: tuple[Part, ...] = (NORMAL[0], *lines * 4)
    pause: tuple[Part, ...] = (NORMAL[0], *lines * 3, (620, (MODULE, STEP, FORWARD)))
    run(store, (60, steady), *((0.9, steady), (0.69, pause)) * 12)
    unlogged = blame(store, 63, 73)
    assert (unlogged.verdict, unlogged.reason) == ("line", "may be garbage collection")
    assert "model.py:7 forward" in unlogged.sentence
    store.append([Event("run", "gc", T0 + float(t), seconds=0.5) for t in np.arange(61.0, 78.0, 1.6)])
    logged = blame(store, 63, 73)
    assert (logged.verdict, logged.reason) == ("line", "garbage collection")
    assert logged.suspect is not None
    assert logged.suspect.frame.name == "gc"


def test_a_slow_branch_on_a_line_of_its_own_is_no_garbage_collection(store: Store) -> None:
    lines: tuple[Part, ...] = ((10, (MODULE, STEP, FORWARD)), (10, (MODULE, STEP, FORWARD._replace(line=8))))
    steady: tuple[Part, ...] = (NORMAL[0], *lines * 4)
    miss: tuple[Part, ...] = (NORMAL[0], *lines * 3, (620, (MODULE, STEP, FORWARD._replace(line=12))))
    run(store, (60, steady), *((0.9, steady), (0.69, miss)) * 12)
    verdict = blame(store, 63, 73)
    assert (verdict.verdict, verdict.reason) == ("line", "")
    assert "model.py:12 forward" in verdict.sentence


def test_a_phase_is_folded_alone_beside_the_same_phase_of_normal(store: Store) -> None:
    run(store, (60, NORMAL), (10, SLOW))
    ends_s = [T0 + 60 + 0.2 * i for i in range(1, 51)]
    phases = ("phase/data_s", "phase/forward_s")
    store.append([Points("run", labels_of(host="box"), phases, (0.11, 0.09), t, 700 + i) for i, t in enumerate(ends_s)])
    folded = Stacks(store).fold("run", (T0 + 62, T0 + 66), Lanes("main"), phase="data")
    names = {folded.tree.frames[i].name: total for i, total in zip(folded.tree.frame, folded.tree.total_s, strict=True)}
    assert names["ImageFile.load"] == pytest.approx(2.2, rel=0.02)
    assert names.get("forward", 0) < 0.05
    assert [(one.name, one.seconds) for one in folded.phases] == [("data", pytest.approx(0.11)), ("forward", pytest.approx(0.09))]


LONG_STEP: tuple[Part, ...] = ((5000, (MODULE, STEP, DECODE)), (10000, (MODULE, STEP, FORWARD)), (5000, (MODULE, STEP, SAVE)))
LONG_SLOW: tuple[Part, ...] = ((5000, (MODULE, STEP, DECODE)), (50000, (MODULE, STEP, FORWARD)), (5000, (MODULE, STEP, SAVE)))


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
        assert verdict.sentence == "This part of the step looks like normal: the step lost its time elsewhere."


def test_a_long_step_that_goes_on_has_lost_what_it_takes_longer_already(store: Store) -> None:
    run(store, (320, LONG_STEP))
    samples = [StackSample(0, 5 * 10**9, 7, (MODULE, STEP, DECODE), False)]
    samples.append(StackSample(5 * 10**9, 40 * 10**9, 7, (MODULE, STEP, FORWARD), False))
    about = ("run", 0, 7, "main", "box", "native", 100.0)
    store.append([Profile(*about, T0 + 320, 0, 45 * 10**9, {7: "MainThread"}, samples, 4500)])
    early, late = blame(store, 326, 330), blame(store, 355, 364)
    assert late.suspect and late.suspect.frame.name == "forward"
    assert late.excess_s == pytest.approx(30, rel=0.01), "so far"
    assert early.suspect and early.suspect.frame.name == "forward", "as the rest of its step tells"


def test_work_that_takes_longer_everywhere_is_blamed_on_no_line(store: Store) -> None:
    load, train = Frame("load", "/job/data.py", 5), Frame("train", "/job/train.py", 60)
    parts = ((15, (MODULE, load)), (25, (MODULE, train, DECODE)), (60, (MODULE, train, FORWARD)))
    run(store, (80, parts), (10, tuple((1.6 * ms, stack) for ms, stack in parts)))
    verdict = blame(store, 82, 86)
    assert verdict.verdict == "unknown", verdict.sentence
    assert verdict.sentence == "No single line stands out: +60 ms a step, normal 100 ms."


def test_strong_evidence_is_high_and_a_healthy_window_never(store: Store) -> None:
    run(store, (30, NORMAL), (10, SLOW), (20, NORMAL))
    assert blame(store, 32, 35).confidence == "high", "3 s at twice as long"
    assert blame(store, 28, 34).confidence == "high", "also over the edge"
    assert blame(store, 22, 25).confidence is None


def test_a_function_that_calls_two_slow_ones_is_not_high(store: Store) -> None:
    run(store, (80, NORMAL), (10, ((60, (MODULE, STEP, DECODE)), (140, (MODULE, STEP, FORWARD)))))
    verdict = blame(store, 82, 85)
    assert verdict.suspect and verdict.suspect.frame.name == "step"
    assert verdict.confidence == "low"


def test_without_steps_a_slow_stretch_that_computes_is_not_taken_for_normal(store: Store) -> None:
    """It waits least of all."""
    nap, count = Frame("nap", "/job/train.py", 30), Frame("count", "/job/train.py", 50)
    healthy = ((90, (MODULE, nap, SYNCHRONIZE)), (10, (MODULE, count)))
    slow = ((90, (MODULE, nap, SYNCHRONIZE)), (610, (MODULE, count)))
    run(store, (28, healthy), (12, slow), (9, healthy), (20, slow), (15, healthy), (9, slow), (20, healthy), steps=False)
    assert blame(store, 42, 48).verdict == "no_difference"
    verdict = blame(store, 55, 60)
    assert verdict.suspect and verdict.suspect.frame.name == "count"
    assert all(not (28 < lo - T0 < 39 or 49 < lo - T0 < 68) for lo, hi in verdict.baseline)


def test_without_steps_parts_that_follow_each_other_are_normal_together(store: Store) -> None:
    roll_out, update = Frame("roll_out", "/job/rl.py", 3), Frame("update", "/job/rl.py", 9)
    run(store, (120, ((1200, (MODULE, roll_out)), (1300, (MODULE, update)))), steps=False)
    for at_s in (60.0, 61.1, 62.3, 70.7):
        assert blame(store, at_s, at_s + 10).verdict == "no_difference"


def test_collections_that_the_run_logs_are_named_where_all_takes_longer(store: Store) -> None:
    steady: tuple[Part, ...] = (NORMAL[0], (40, (MODULE, STEP, FORWARD)), (50, (MODULE, STEP, FORWARD._replace(line=8))))
    slower: tuple[Part, ...] = tuple((1.4 * ms, stack) for ms, stack in steady)
    run(store, *((10, steady), (10, slower)) * 4)
    slow = [t for lo in (10, 30, 50, 70) for t in np.arange(lo, lo + 10, 0.14)]
    store.append([Event("run", "gc", T0 + float(t), seconds=0.04) for t in slow])
    logged, healthy = blame(store, 72, 75), blame(store, 62, 65)
    assert (logged.verdict, logged.reason) == ("line", "garbage collection")
    assert healthy.verdict == "no_difference"
