"""Which rank, stage or kind of operation holds a distributed job up: jobs whose answers are computed by hand, published ones, hostile tables."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.traces.operations import COLUMNS, read_operations, replay_of_file
from analysis.traces.replay import Replay, ReplayError, replay_of
from dashboard.commands.stragglers import lines_of, sentence_of
from tests.conftest import ROOT

PUBLISHED = next(
    (found for above in ROOT.parents if (found := above / "shared" / "traces" / "straggler").is_dir()), None
)


class Job:
    """Operations with the times that they had."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        kind: str,
        start: float,
        end: float,
        dp: int = 0,
        stage: int = 0,
        step: int = 0,
        number: int = 0,
        chunk: int = -1,
    ) -> None:
        is_pass = kind.endswith("-compute")
        self.rows.append(
            {
                "dp_rank": dp,
                "stage": stage,
                "rank": 10 * dp + stage,
                "step": step,
                "optype": kind,
                "start_ts": start,
                "duration": end - start,
                "seq_id": number,
                "mc": max(chunk, 0) if is_pass or kind in ("grads-reduce-scatter", "params-all-gather") else -1,
                "mb_id": number if is_pass and chunk < 0 else 0 if is_pass else -1,
                "gmc": max(chunk, 0) * 2 + stage if is_pass else -1,
            }
        )

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def write(self, folder: Path, name: str = "operations.csv") -> Path:
        path = folder / name
        table = self.table()
        table.to_parquet(path) if name.endswith(".parquet") else table.to_csv(path, index=False)
        return path

    def replayed(self, folder: Path) -> Replay:
        return replay_of_file(self.write(folder))


def two_ranks(step: int = 0, scatter_s: float = 1.0, slow: float = 3.0) -> Job:
    """Rank 1 takes `slow` times as long for its passes, of 1 s and 2 s, and rank 0 waits for it in the reduce-scatter."""
    job = Job()
    last = 3 * max(slow, 1.0)
    for dp, pace in ((0, 1.0), (1, slow)):
        job.add("forward-compute", 0, pace, dp, step=step)
        job.add("backward-compute", pace, 3 * pace, dp, step=step)
        job.add("grads-reduce-scatter", 3 * pace, last + scatter_s, dp, step=step)
        job.add("optimizer", last + scatter_s, last + scatter_s + 0.5, dp, step=step)
    return job


def steps_of_two_ranks(*steps: Job) -> Job:
    job = Job()
    for one in steps:
        job.rows += one.rows
    return job


def two_stages() -> Job:
    """Two microbatches; stage 0 takes 1 s for each pass, stage 1 takes 3 s. Transfers take no time once both sides are there."""
    job = Job()
    for number, (forth, sent, begun, received, back) in enumerate(((0, 1, 1, 7, 7), (1, 4, 7, 13, 13))):
        job.add("forward-compute", forth, forth + 1, number=number)
        job.add("forward-send", forth + 1, sent, number=number)
        job.add("forward-recv", (0, 4)[number], sent, stage=1, number=number)
        job.add("forward-compute", begun, begun + 3, stage=1, number=number)
        job.add("backward-compute", begun + 3, begun + 6, stage=1, number=number)
        job.add("backward-send", begun + 6, received, stage=1, number=number)
        job.add("backward-recv", (1, 8)[number], received, number=number)
        job.add("backward-compute", back, back + 1, number=number)
    job.add("optimizer-clip-main-grad", 14, 14)
    job.add("optimizer-clip-main-grad", 13, 14, stage=1)
    return job


def slowdowns(rows: Any) -> dict[str, float]:
    return {row.name: row.slowdown for row in rows}


def test_a_slow_rank_is_named_and_gives_the_whole_slowdown_back(tmp_path: Path) -> None:
    found = two_ranks().replayed(tmp_path)
    # usual: a forward pass 2 s, a backward pass 4 s, the scatter 1 s from when both are there, the optimizer 0.5 s
    assert found.measured_s.tolist() == found.replayed_s.tolist() == [10.5]
    assert found.ideal_s == pytest.approx(7.5) and found.slowdown == pytest.approx(1.4)
    assert slowdowns(found.by_dp_rank) == pytest.approx({"0": 1.0, "1": 1.4})
    assert slowdowns(found.by_stage) == pytest.approx({"0": 1.4})
    assert slowdowns(found.by_type) == pytest.approx(
        {
            "forward-compute": 8.5 / 7.5,
            "backward-compute": 9.5 / 7.5,
            "grads-reduce-scatter": 1.0,
            "optimizer": 1.0,
        }
    )
    assert [(worker.rank, worker.pace) for worker in found.slowest] == [(10, pytest.approx(3.0))]
    assert found.slowest_share == pytest.approx(1.0)
    assert found.causes[0].name == "workers" and sum(cause.gives_back for cause in found.causes) == pytest.approx(1)
    assert sentence_of(found) == (
        "Rank 10 (dp rank 1, stage 0) computes 3.0 times as long as the others of its stage: check its GPU and host."
        " This would recover 100% of the lost time."
    )


def test_an_uneven_stage_is_named_and_the_last_stage_gives_back_more_than_the_slowdown(tmp_path: Path) -> None:
    found = two_stages().replayed(tmp_path)
    # usual: each pass 2 s, so that stage 1 works from 2 to 10 and the step ends at 12
    assert found.measured_s.tolist() == found.replayed_s.tolist() == [14.0]
    assert found.ideal_s == pytest.approx(12.0)
    assert slowdowns(found.by_stage) == pytest.approx({"0": 10 / 12, "1": 16 / 12})
    assert found.last_stage_share == pytest.approx((14 - 10) / (14 - 12))
    assert found.stage_pace == pytest.approx((1 / 3, 3.0))
    assert found.causes[0].name == "stages" and found.causes[0].gives_back == pytest.approx(1.0)
    assert "stage 1 computes 3.0 times as long" in sentence_of(found)


def test_a_collective_that_takes_longer_in_one_step_is_communication(tmp_path: Path) -> None:
    steps = [two_ranks(step, scatter_s, slow=1.0) for step, scatter_s in enumerate((1.0, 1.0, 5.0))]
    found = steps_of_two_ranks(*steps).replayed(tmp_path)
    assert found.ideal_s == pytest.approx(4.5) and found.slowdown == pytest.approx((2 * 4.5 + 8.5) / 3 / 4.5)
    (scatter,) = [row for row in found.by_type if row.name == "grads-reduce-scatter"]
    assert scatter.by_step == pytest.approx((1.0, 1.0, 8.5 / 4.5))
    assert sentence_of(found).startswith("Communication is slow: grads-reduce-scatter")


def many_microbatches(
    passes: Callable[[random.Random], tuple[float, float]], slow: Callable[[int, int], float] = lambda step, dp: 1.0
) -> Job:
    """Of two ranks: the passes of four microbatches in 20 steps, all forward ones first; `slow` multiplies those of a rank in a step."""
    job, luck = Job(), random.Random(1)
    for step in range(20):
        ends = []
        for dp in (0, 1):
            both = [passes(luck) for _ in range(4)]
            at = 0.0
            for kind, lengths in zip(("forward-compute", "backward-compute"), zip(*both, strict=True), strict=True):
                for number, seconds in enumerate(lengths):
                    end = at + seconds * slow(step, dp)
                    job.add(kind, at, end, dp, step=step, number=number)
                    at = end
            ends.append(at)
        for dp in (0, 1):
            job.add("grads-reduce-scatter", ends[dp], max(ends) + 1, dp, step=step)
    return job


def of_one_length(luck: random.Random) -> tuple[float, float]:
    seconds = luck.uniform(1, 3)
    return seconds, 2 * seconds


def test_microbatches_that_are_slow_in_both_passes_are_sequences_of_different_lengths(tmp_path: Path) -> None:
    found = many_microbatches(of_one_length).replayed(tmp_path)
    assert found.correlation == pytest.approx(1.0) and found.causes[0].name == "lengths"
    assert "sequences of different lengths" in sentence_of(found)


def test_passes_that_are_slow_by_themselves_are_pauses(tmp_path: Path) -> None:
    found = many_microbatches(lambda luck: (luck.uniform(1, 3), luck.uniform(1, 3))).replayed(tmp_path)
    assert abs(found.correlation) < 0.4 and found.causes[0].name == "pauses"
    assert "pauses on the hosts" in sentence_of(found)


def test_a_rank_that_is_slow_in_some_steps_is_named_and_its_passes_are_not_taken_for_long_sequences(
    tmp_path: Path,
) -> None:
    job = many_microbatches(
        lambda luck: (luck.uniform(0.95, 1.05), luck.uniform(0.95, 1.05)),
        lambda step, dp: 3.0 if dp == 1 and step % 4 == 0 else 1.0,
    )
    found = job.replayed(tmp_path)
    assert sentence_of(found).startswith("Rank 10 (dp rank 1, stage 0) computes 1.5 times as long as")
    assert found.causes[0].gives_back > 0.9 and abs(found.correlation) < 0.4


def test_two_slow_ranks_of_many_are_both_named(tmp_path: Path) -> None:
    job = Job()
    for dp in range(20):
        seconds = 3.0 if dp in (4, 11) else 1.0
        job.add("forward-compute", 0, seconds, dp)
        job.add("grads-reduce-scatter", seconds, 4, dp)
    found = job.replayed(tmp_path)
    assert sentence_of(found).startswith(
        "Rank 40 (dp rank 4, stage 0), rank 110 (dp rank 11, stage 0) compute up to 3.0 times as long as"
    )
    assert found.causes[0].gives_back == pytest.approx(1.0) and found.slowest_share == pytest.approx(0.0)


Lengths = Callable[
    [int, int, int, int, str], float
]  # of a pass: step, dp rank, stage, microbatch, "forward" or "backward"


def pipeline(
    lengths: Lengths,
    dp_ranks: int = 2,
    stages: int = 1,
    steps: int = 6,
    transfer_s: Callable[[int], float] = lambda dp: 0.0,
) -> Job:
    """Four microbatches, all forward passes first. Nothing begins before what it waits for has ended."""
    job, microbatches = Job(), range(4)
    for step in range(steps):
        ends = []
        for dp in range(dp_ranks):
            free, arrived = [0.0] * stages, dict.fromkeys(microbatches, 0.0)
            for way, order in (("forward", range(stages)), ("backward", range(stages - 1, -1, -1))):
                for place, stage in enumerate(order):
                    for number in microbatches:
                        begin = max(free[stage], arrived[number])
                        free[stage] = end = begin + lengths(step, dp, stage, number, way)
                        if place:
                            job.add(
                                f"{way}-recv",
                                arrived[number] - transfer_s(dp),
                                arrived[number],
                                dp,
                                stage,
                                step,
                                number,
                            )
                        job.add(f"{way}-compute", begin, end, dp, stage, step, number)
                        arrived[number] = end + (transfer_s(dp) if place < stages - 1 else 0.0)
                        if place < stages - 1:
                            job.add(f"{way}-send", end, arrived[number], dp, stage, step, number)
            ends.append(free)
        for dp in range(dp_ranks):
            for stage in range(stages):
                last = max(each[stage] for each in ends)
                job.add("grads-reduce-scatter", ends[dp][stage], last + 0.1, dp, stage, step)
    return job


def noisy(luck: random.Random, size: float = 0.02) -> float:
    return max(0.5, luck.gauss(1, size))


def test_a_very_slow_worker_of_two_ranks_is_not_taken_for_an_uneven_stage(tmp_path: Path) -> None:
    luck = random.Random(1)
    job = pipeline(lambda step, dp, stage, *_: noisy(luck) * (3.0 if (dp, stage) == (1, 2) else 1.0), stages=4)
    found = job.replayed(tmp_path)
    assert sentence_of(found).startswith("Rank 12 (dp rank 1, stage 2) computes 3.0 times as long as")
    assert found.causes[0].alone > 0.9 and found.stage_pace == pytest.approx([1.0] * 4, abs=0.05)


def test_two_slow_workers_of_a_stage_of_three_are_both_named(tmp_path: Path) -> None:
    luck, pace = random.Random(1), (1.6, 2.0, 1.0)
    found = pipeline(lambda step, dp, *_: noisy(luck) * pace[dp], dp_ranks=3).replayed(tmp_path)
    assert {worker.rank for worker in found.workers if worker.is_slow} == {0, 10}
    assert sentence_of(found).startswith("Rank 10 (dp rank 1, stage 0), rank 0 (dp rank 0, stage 0) compute up to 2.0")


def test_a_few_pauses_do_not_hide_that_sequences_differ(tmp_path: Path) -> None:
    luck = random.Random(1)
    tokens = {
        (step, dp, number): luck.lognormvariate(0, 0.4) for step in range(6) for dp in range(4) for number in range(4)
    }

    def seconds(step: int, dp: int, stage: int, number: int, way: str) -> float:
        return noisy(luck) * tokens[step, dp, number] + (1.0 if luck.random() < 0.02 else 0.0)

    found = pipeline(seconds, dp_ranks=4, stages=4).replayed(tmp_path)
    assert found.causes[0].name == "lengths" and "sequences of different lengths" in sentence_of(found)


def test_few_passes_of_sequences_that_differ_make_no_worker_slow(tmp_path: Path) -> None:
    luck = random.Random(4)
    tokens = {
        (step, dp, number): luck.lognormvariate(0, 0.6) for step in range(3) for dp in range(4) for number in range(4)
    }
    found = pipeline(
        lambda step, dp, _, number, way: noisy(luck) * tokens[step, dp, number], dp_ranks=4, steps=3
    ).replayed(tmp_path)
    assert found.causes[0].name == "lengths" and not any(worker.is_slow for worker in found.workers)


def test_the_slowest_of_many_ranks_is_noise_and_rare_long_pauses_are_not(tmp_path: Path) -> None:
    luck = random.Random(1)
    found = pipeline(lambda *_: noisy(luck, 0.05), dp_ranks=32).replayed(tmp_path)
    assert found.slowdown > 1.03 and sentence_of(found).startswith("Noise: passes vary by chance")
    found = pipeline(lambda *_: noisy(luck) + (4.0 if luck.random() < 0.003 else 0.0), dp_ranks=32).replayed(tmp_path)
    assert max(row.slowdown for row in found.by_dp_rank) < 1.2 and "pauses on the hosts" in sentence_of(found)


def test_a_worker_that_is_slow_in_some_steps_and_slow_transfers_of_a_rank_say_where(tmp_path: Path) -> None:
    luck = random.Random(1)
    found = pipeline(lambda step, dp, *_: noisy(luck) * (2.0 if (step, dp) == (3, 1) else 1.0)).replayed(tmp_path)
    assert "the others of its stage, most of it in 1 of 6 steps: check" in sentence_of(found)
    slow = pipeline(lambda *_: 1.0, 4, 2, transfer_s=lambda dp: 3.0 if dp == 2 else 0.01).replayed(tmp_path)
    assert sentence_of(slow).startswith(
        "Communication is slow: transfers of the "
    ) and " pass on dp rank 2. Check" in sentence_of(slow)


def test_a_pipeline_whose_stages_hold_two_chunks_sends_from_the_last_stage_to_the_first(tmp_path: Path) -> None:
    """One microbatch through four chunks; transfers of the model's own ends, which have no peer, are recorded as well."""
    job, at = Job(), 0.0
    passes = [("forward", chunk) for chunk in range(4)] + [("backward", chunk) for chunk in (3, 2, 1, 0)]
    numbers: dict[tuple[str, int], int] = {}

    def add(kind: str, start: float, end: float, stage: int, chunk: int = -1) -> None:
        number = numbers.get((kind, stage), 0)
        numbers[kind, stage] = number + 1
        job.add(kind, start, end, stage=stage, number=number, chunk=chunk)

    for way, chunk in passes:
        stage, seconds = chunk % 2, 3.0 if (way, chunk) == ("forward", 1) else 1.0
        if (way, chunk) != ("forward", 0):
            add(f"{way}-recv", at, at, stage)
        add(f"{way}-compute", at, at + seconds, stage, chunk // 2)
        at += seconds
        add(f"{way}-send", at, at, stage)
    for stage in (0, 1):
        job.add("optimizer-clip-main-grad", at, at, stage=stage)
    found = job.replayed(tmp_path)
    assert found.measured_s.tolist() == found.replayed_s.tolist() == [10.0]


def test_scatters_that_overlap_with_passes_wait_for_their_chunk_only(tmp_path: Path) -> None:
    job = Job()
    job.add("params-all-gather", 0, 1, chunk=0)
    for chunk, (forth, back) in enumerate(((1, 4), (2, 3))):
        job.add("forward-compute", forth, forth + 1, number=chunk, chunk=chunk)
        job.add("backward-compute", back, back + 1, number=1 - chunk, chunk=chunk)
    job.add("grads-reduce-scatter", 4, 4.5, chunk=1)
    job.add("grads-reduce-scatter", 5, 5.5, number=1, chunk=0)
    job.add("separate-grads-all-reduce", 5.5, 6)
    job.add("optimizer", 6, 7)
    found = job.replayed(tmp_path)
    assert found.replayed_s.tolist() == [7.0] and found.slowdown == pytest.approx(1.0)
    assert sentence_of(found).startswith("No stragglers")


def test_time_between_operations_is_not_blamed_on_them(tmp_path: Path) -> None:
    job = two_ranks(slow=1.0)
    for row in job.rows:
        row["start_ts"] += 6.0 * (row["optype"] != "forward-compute")
    found = job.replayed(tmp_path)
    assert found.slowdown == pytest.approx(1.0) and found.gaps == pytest.approx(10.5 / 4.5)
    assert sentence_of(found).startswith("57% of each step passes between operations")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda row: row.update(duration=-1.0), "a negative duration"),
        (lambda row: row.update(duration=float("nan")), "without a duration"),
        (lambda row: row.update(start_ts=float("nan")), "without a start"),
        (lambda row: row.update(start_ts=1e300), "without a start"),
        (lambda row: row.update(dp_rank=-3), "without a dp rank"),
        (lambda row: row.update(duration="fast"), "without a duration that is a number of seconds"),
        (lambda row: row.update(stage=10**9), "of stage 1,024 or above"),
        (lambda row: row.update(stage=-1), "without a stage"),
        (lambda row: row.update(seq_id="x"), "without a number"),
        (lambda row: row.update(seq_id=7), "no optimizer 0 of rank 10 (dp rank 1, stage 0), which most steps have"),
        (lambda row: row.update(dp_rank=0, seq_id=0), "twice"),
    ],
)
def test_a_step_with_an_odd_operation_is_left_out_and_named(
    spoil: Callable[[dict[str, Any]], None], why: str, tmp_path: Path
) -> None:
    job = steps_of_two_ranks(two_ranks(3), two_ranks(4), two_ranks(5))
    spoil(job.rows[-1])
    found = job.replayed(tmp_path)
    assert found.steps.tolist() == [3, 4] and found.slowdown == pytest.approx(1.4)
    ((what, said),) = found.left_out
    assert what == "step 5" and why in said
    assert lines_of(found, "a.csv")[-1] == f"Left out: step 5, since {said}."


def test_a_step_that_only_some_ranks_have_is_left_out(tmp_path: Path) -> None:
    job = steps_of_two_ranks(two_ranks(1), two_ranks(2), two_ranks(3))
    job.rows = [row for row in job.rows if (row["step"], row["dp_rank"]) != (1, 1)]
    found = job.replayed(tmp_path)
    assert found.steps.tolist() == [2, 3] and found.left_out[0].what == "step 1"


def test_operations_of_unknown_kinds_are_left_out_and_counted(tmp_path: Path) -> None:
    job = two_ranks()
    job.add("tea-break", 1, 2)
    assert job.replayed(tmp_path).left_out == (("1 row", "it is of a kind that is not known, tea-break"),)


def without(kind: str, **values: int) -> Job:
    job = two_stages() if "stage" in values else two_ranks()
    job.rows = [
        row for row in job.rows if row["optype"] != kind or any(row[name] != value for name, value in values.items())
    ]
    return job


def in_a_circle() -> Job:
    """Stage 0 runs its backward passes first; they wait for stage 1, which waits for the forward passes of stage 0."""
    job = two_stages()
    for row in job.rows:
        row["start_ts"] += 100.0 * (row["stage"] == 0 and row["optype"].startswith("forward"))
    return job


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (
            without("backward-compute", dp_rank=1),
            r"has no backward-compute 0 of rank 10 \(dp rank 1, stage 0\) in step 0",
        ),
        (without("forward-send", stage=0, seq_id=0), "has no forward-send 0 of stage 0 in any step"),
        (without("forward-send", stage=0, seq_id=1), "which should be as many"),
        (without("forward-compute", stage=1, seq_id=1), "has 2 forward-send behind a pass of stage 0"),
        (in_a_circle(), "wait for each other in a circle"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(job: Job, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=said) as raised:
        job.replayed(tmp_path)
    assert "\n" not in str(raised.value)


GOOD = two_ranks().table()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", GOOD.head(0).to_csv(index=False).encode(), "has no operations"),
        ("a.csv", GOOD.drop(columns=["mc", "gmc"]).to_csv(index=False).encode(), "has no columns mc, gmc"),
        ("a.csv", GOOD.to_csv(index=False, sep=";").encode(), "has semicolons between its columns"),
        ("a.csv", GOOD.assign(step="x").to_csv(index=False).encode(), "no operation with a step: 8 rows"),
        ("a.csv", GOOD.assign(step=-2).to_csv(index=False).encode(), "need one that is a whole number from 0"),
        (
            "a.csv",
            GOOD.assign(step=[0, 0, 0, 0, 0, 0, 0, ""]).to_csv(index=False).encode(),
            "1 row left out, since it is without a step",
        ),
        (
            "a.csv",
            GOOD.assign(optype="tea").to_csv(index=False).encode(),
            "of a kind that is not known, tea; known are",
        ),
        ("a.csv", GOOD.assign(duration=0).to_csv(index=False).encode(), "take no time"),
        ("a.csv", GOOD.assign(stage=3).to_csv(index=False).encode(), "no operation of stage 0"),
        ("a.csv", GOOD[GOOD.optype == "optimizer"].to_csv(index=False).encode(), "no forward or backward pass"),
        ("a.csv", b"\xff\xfe\x00" * 50, "is not a CSV file that can be read|has no columns"),
        ("a.csv", b'"' + b"x" * 10_000, "is not a CSV file that can be read|has no columns"),
        ("a.csv.gz", gzip.compress(GOOD.to_csv(index=False).encode())[:-30], "is not a CSV file that can be read"),
        ("a.csv.gz", b"\x1f\x8b" + b"\0" * 50, "is not a CSV file that can be read"),
        ("a.parquet", b"", "is not a Parquet file that can be read"),
        ("a.parquet", b"PAR1" + b"\xff" * 200 + b"PAR1", "is not a Parquet file that can be read"),
    ],
)
def test_what_is_no_table_of_operations_is_one_sentence(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ReplayError, match=said) as raised:
        replay_of_file(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_gives_numbers_or_one_sentence(seed: int, tmp_path: Path) -> None:
    luck = random.Random(seed)
    job = two_stages() if seed % 2 else steps_of_two_ranks(two_ranks(1), two_ranks(2))
    odd = [float("nan"), -1, 0, 1, 2**40, 1e308, float("inf"), "", "x", None, 0.5]
    for _ in range(luck.randrange(1, 8)):
        luck.choice(job.rows)[luck.choice(COLUMNS)] = luck.choice(odd)
        if luck.random() < 0.5:
            job.rows.remove(luck.choice(job.rows))
    try:
        found = job.replayed(tmp_path)
    except ReplayError as error:
        assert "\n" not in str(error)
    else:
        assert found.slowdown > 0 and "nan" not in "\n".join(lines_of(found, "a.csv"))


def test_order_types_and_parquet_change_nothing(tmp_path: Path) -> None:
    job = steps_of_two_ranks(two_ranks(1), two_ranks(2))
    table = job.table().sample(frac=1, random_state=1).assign(other="x")
    table["seq_id"] = table["seq_id"].astype("Int64")
    table["dp_rank"] = table["dp_rank"].astype(float)
    table["optype"] = table["optype"].astype("category")
    table.rename(columns=str.upper).to_parquet(tmp_path / "a.parquet")
    assert repr(replay_of_file(tmp_path / "a.parquet")) == repr(job.replayed(tmp_path))


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = two_ranks().write(tmp_path, "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ReplayError, match="pip install pyarrow"):
        read_operations(path)


def test_a_million_operations_take_seconds(tmp_path: Path) -> None:
    table = two_ranks().table()
    steps = 125_000
    big = pd.concat([table] * steps, ignore_index=True)
    big["step"] = big.index // len(table)
    big.to_parquet(tmp_path / "big.parquet")
    operations = read_operations(tmp_path / "big.parquet")
    begun_s = time.process_time()
    found = replay_of(operations)
    assert len(found.steps) == steps and found.slowdown == pytest.approx(1.4)
    assert time.process_time() - begun_s < 20


def opened(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "app.py"), "open", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_prints_what_is_to_be_fixed_as_text_and_as_json(tmp_path: Path) -> None:
    path = two_ranks().write(tmp_path, "job.csv.gz")
    text, as_json = opened(path), opened(path, "--json")
    assert text.returncode == as_json.returncode == 0 and not text.stderr + as_json.stderr
    found = json.loads(as_json.stdout)
    assert found["sentence"] in text.stdout and "1.400" in text.stdout
    assert found["by_dp_rank"] == pytest.approx({"0": 1.0, "1": 1.4})
    assert found["by_dp_rank_by_step"]["1"] == pytest.approx({"0": 1.4})
    assert found["correlation"] is None or abs(found["correlation"]) <= 1


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    for done, said in (
        (opened(path), "is not opened: it has no columns dp_rank"),
        (opened(path, path), "one table of operations is opened at a time"),
        (opened(tmp_path / "none.parquet"), "there is no file"),
        (opened(Path(__file__), "--json"), "--json is for a table of operations"),
    ):
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(PUBLISHED is None, reason="the published jobs are not here")
@pytest.mark.parametrize(
    ("job", "cause", "shares"), [("SE", "lengths", (0.025, 0.688)), ("ST", "stages", (0.031, 1.219))]
)
def test_published_jobs_have_the_published_numbers_and_cause(job: str, cause: str, shares: tuple[float, float]) -> None:
    assert PUBLISHED is not None
    found = replay_of_file(PUBLISHED / f"trace-{job}.parquet")
    published = json.loads((PUBLISHED / f"result-{job}.json").read_text())
    steps = list(map(str, found.steps.tolist()))
    assert dict(zip(steps, found.measured_s, strict=True)) == pytest.approx(published["step_t_base"], rel=0.01)
    assert dict(zip(steps, found.replayed_s, strict=True)) == pytest.approx(published["step_t_nodelay"], rel=0.01)
    assert dict.fromkeys(steps, found.ideal_s) == pytest.approx(published["step_t_noblk"], rel=0.01)
    assert found.gaps == pytest.approx(published["launch_slowdown"], rel=0.01)
    assert found.slowdown == pytest.approx(published["blocking_slowdown"], rel=0.01)
    for name, rows in (("dp_rank", found.by_dp_rank), ("stage", found.by_stage), ("optype", found.by_type)):
        assert slowdowns(rows) == pytest.approx(published[f"blocking_decompose_by_{name}"], rel=0.01)
        by_step = published[f"blocking_decompose_by_{name}_per_step"]
        for place, step in enumerate(steps):
            assert {row.name: row.by_step[place] for row in rows} == pytest.approx(by_step[step], rel=0.01)
    assert (found.slowest_share, found.last_stage_share) == pytest.approx(shares, abs=0.002)
    assert found.causes[0].name == cause
