"""Steps that are slow, compilations, checkpoints, memory and disk: planted faults are found in time, pauses and filling caches are not faults."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.findings import memory, pace
from analysis.findings.rules import BY_NAME
from collectors.records import Event, Frame, Record, Resident, StackRecording, StackSpan, labels_of
from collectors.store.store import Store
from tests.support.judged import GIB, HOSTS, T0, JudgedRuns, card_labels, gpu, gpu_process, machine_point, point
from tests.support.planted_findings import ENOUGH, PlantedRun, all_silent, found_in_time, healthy
from tests.support.planted_findings import windows as windows  # a fixture

Now = Callable[[float], list[Record]]


# -- steps -------------------------------------------------------------------------------------------------------------


def test_one_slow_step_of_twenty_is_found(tmp_path: Path, windows: int) -> None:
    judged = found_in_time(
        tmp_path,
        windows,
        "slow_steps",
        healthy,
        step_s=lambda step, since_s: 0.6 if since_s is not None and step % 20 == 0 else 0.1,
    )
    assert "About 1 of" in judged.of("slow_steps")[0].sentence


def test_slow_steps_at_random_are_found_where_each_tenth_step_is_logged(tmp_path: Path, windows: int) -> None:
    dice = random.Random(1)
    found_in_time(
        tmp_path,
        windows,
        "slow_steps",
        lambda step, since_s, dice: healthy(step, since_s, dice) if step % 5 == 0 else None,
        step_s=lambda step, since_s: 0.05 * (20 if since_s is not None and dice.random() < 0.03 else 1),
        healthy_s=100,
    )


def test_evaluations_are_no_slow_steps(tmp_path: Path) -> None:
    def with_result(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        return healthy(step, since_s, dice) | ({"eval/accuracy": 0.5} if step % 37 == 0 else {})

    all_silent(tmp_path / "marked", with_result, step_s=lambda step: 2.0 if step % 37 == 0 else 0.1)
    all_silent(tmp_path / "rhythm", healthy, step_s=lambda step: 3.0 if step % 100 == 0 else 0.1)


def test_lengths_that_vary_are_no_slow_steps(tmp_path: Path) -> None:
    dice = random.Random(3)
    all_silent(tmp_path, healthy, step_s=lambda step: 0.1 * dice.lognormvariate(0, 0.8))


@pytest.mark.parametrize("a_second", [1, 2, 3, 20, 200])
def test_stamps_of_whole_seconds_do_not_say_which_step_was_slow(store: Store, a_second: int) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")

    def second(now_s: float) -> list[Record]:
        first = int(now_s - T0) * a_second
        return [point("run", now_s, first + number, {"loss": 1.0}) for number in range(a_second)]

    judged.go_on(400, second)
    assert not judged.of("slow_steps")


def test_attempts_and_a_suspended_machine_are_no_slow_steps(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    step = 0
    for _ in range(5):
        judged.begin("run")
        for _ in range(20):
            step += 1
            judged.go_on(1.0, lambda now_s, step=step: [point("run", now_s, step, {"loss": 1.0})])  # type: ignore[misc]
        judged.go_on(60.0)
    assert judged.rules() <= {"new_best"}


# -- events ------------------------------------------------------------------------------------------------------------


def test_recompiles_are_found(tmp_path: Path, windows: int) -> None:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        return [Event(run.name, "recompile", now_s, step=run.step, seconds=0.5)] if now_s >= run.planted_s else []

    found_in_time(tmp_path, windows, "recompiles", healthy, more=more, after_s=2.0)


def test_one_recompile_of_each_of_eight_ranks_is_one(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run", 8)
    judged.go_on(30, lambda now_s: [point("run", now_s, int(now_s - T0) * 10, {"loss": 1.0})])
    judged.go_on(
        10,
        lambda now_s: (
            [Event("run", "recompile", now_s, rank=rank, step=290) for rank in range(8)] if now_s == T0 + 31 else []
        ),
    )
    assert not judged.of("recompiles")


def test_a_checkpoint_for_which_the_training_stands_still_is_found(tmp_path: Path, windows: int) -> None:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        return (
            [Event(run.name, "checkpoint", now_s, step=run.step, seconds=30.0)]
            if run.planted_s <= now_s - 30 < run.planted_s + 1
            else []
        )

    found_in_time(
        tmp_path,
        windows,
        "checkpoint_stall",
        healthy,
        step_s=lambda step, since_s: 0.1 if since_s is None else 31.0,
        more=more,
        after_s=32.0,
    )


def test_a_checkpoint_beside_the_training_is_no_stall(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(90, lambda now_s: [point("run", now_s, int(now_s - T0) * 10, {"loss": 1.0})])
    judged.take([Event("run", "checkpoint", judged.now_s, step=800, seconds=60.0)])
    judged.go_on(10, lambda now_s: [point("run", now_s, int(now_s - T0) * 10, {"loss": 1.0})])
    assert not judged.of("checkpoint_stall")


def test_checkpoints_that_do_not_come_are_found(tmp_path: Path, windows: int) -> None:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        saves = now_s < run.planted_s and int(now_s - T0) % 10 == 0
        return [Event(run.name, "checkpoint", now_s, step=run.step, seconds=0.1)] if saves else []

    found_in_time(tmp_path, windows, "no_checkpoint", healthy, more=more, after_s=30.0)


def test_checkpoints_of_best_results_may_be_late(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    at = {10, 11, 20, 21, 30, 60, 70, 71, 80}  # some in two files; then a plateau

    def second(now_s: float) -> list[Record]:
        passed = int(now_s - T0)
        saved = [Event("run", "checkpoint", now_s, step=passed * 10)] if passed in at else []
        return [point("run", now_s, passed * 10, {"loss": 1.0}), *saved]

    judged.go_on(130, second)
    assert not judged.of("no_checkpoint")


# -- memory and disk ---------------------------------------------------------------------------------------------------


def host(now_s: float, used: float = 8 * GIB, free: float = 500 * GIB) -> Record:
    values = {"host/memory_used_bytes": used, "host/memory_total_bytes": 24.0 * GIB, "host/disk_free_bytes": free, "host/disk_total_bytes": 1000.0 * GIB}  # fmt: skip
    return machine_point(now_s, HOSTS, values)


def of_run(run: str, now_s: float, used: float) -> Record:
    return machine_point(now_s, labels_of(host="box", rank=0, run=run), {"host/run_memory_bytes": used})


def test_a_leak_of_the_host_is_found_with_the_time_that_is_left(tmp_path: Path, windows: int) -> None:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        leaked = max(0.0, now_s - run.planted_s) * 2e6
        return [
            *([host(now_s)] if run.name == "run-00" else []),
            of_run(run.name, now_s, 2e9 + leaked + run.dice.uniform(0, 1e8)),
        ]

    judged = found_in_time(
        tmp_path, windows, "memory_creep", healthy, step_s=lambda step, since_s: 0.5, healthy_s=520, more=more
    )
    assert all("it runs out in" in found.sentence for found in judged.of("memory_creep"))


def test_memory_that_levels_out_or_falls_again_is_no_leak(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")

    def second(now_s: float) -> list[Record]:
        passed = now_s - T0
        cache = 6e9 * (1 - math.exp(-passed / 400))
        return [
            host(now_s),
            of_run("run", now_s, 2e9 + cache),
            point("run", now_s, int(passed * 10), {"loss": 1.0, "memory/allocated": 4e9 + 1e9 * (passed % 100)}),
        ]

    judged.go_on(1800, second)
    assert not judged.of("memory_creep")


@pytest.mark.parametrize(("rule", "cell"), [("host_memory_out", "memory"), ("disk_out", "disk")])
def test_what_runs_out_within_the_hour_is_an_alert(store: Store, windows: int, rule: str, cell: str) -> None:
    late = []
    for seed in range(windows):
        judged = JudgedRuns(store, stored=False, now_s=T0 + 10_000 * seed)
        dice = random.Random(seed)
        planted_s = judged.now_s + dice.uniform(5, 60)

        def second(now_s: float, planted_s: float = planted_s, dice: random.Random = dice) -> list[Record]:
            lost = max(0.0, now_s - planted_s) * 8e6 + dice.uniform(0, 2e8)
            return [host(now_s, used=18 * GIB + lost) if cell == "memory" else host(now_s, free=25 * GIB - lost)]

        judged.go_on(planted_s - judged.now_s + BY_NAME[rule].needs_s + 5, second)
        late += [judged.first_s[found.id] - planted_s for found in judged.of(rule) if found.weight == "alert"]
    assert len(late) >= ENOUGH * windows, late


def test_a_full_disk_is_found_at_once(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.go_on(60, lambda now_s: [host(now_s, free=0.5 * GIB if now_s > T0 + 40 else 300 * GIB)])
    assert [found.weight for found in judged.of("disk_out")] == ["alert"]
    assert min(judged.first_s.values()) < T0 + 40 + 20


def test_the_memory_of_a_card_that_fills_is_found(store: Store) -> None:
    card = gpu(0, gpu_process(memory=60 * GIB))
    judged = JudgedRuns(store, gpus=[card], stored=False)
    judged.begin("run")

    def second(now_s: float) -> list[Record]:
        used = 50 * GIB + max(0.0, now_s - T0 - 200) * 2e7
        return [
            point("run", now_s, int(now_s - T0) * 10, {"loss": 1.0}),
            machine_point(now_s, card_labels(), {"gpu/memory_used_bytes": used}),
        ]

    judged.go_on(200, second)
    assert not judged.of("gpu_memory_creep")
    judged.go_on(320, second)
    assert [found.weight for found in judged.of("gpu_memory_creep")] == ["alert"]


def test_a_slope_is_robust() -> None:
    time_s = np.arange(0.0, 600.0)
    saw = 1e9 + 1e6 * time_s + 5e8 * (time_s % 20) / 20
    slope = memory.slope_of(time_s, saw)
    assert slope is not None and 0.9e6 < slope.least <= slope.per_s <= slope.most < 1.1e6
    assert memory.slope_of(time_s[::-1], saw[::-1]) == slope  # the order of arrival is not that of time
    assert memory.slope_of(time_s, np.full(600, 1e9)) is None
    assert memory.slope_of(time_s, np.where(time_s % 2, np.nan, saw)) is not None
    assert memory.slope_of(np.full(600, 5.0), saw) is None
    assert pace.RHYTHM > 20


LEAKY = """\
losses = []
def step(batch):
    losses.append(model(batch))
for batch in batches:
    step(batch)
    log(batch)
"""


@pytest.mark.parametrize("sampled", [True, False])
def test_a_leak_is_said_with_the_line_that_keeps_the_memory_where_the_sampler_reads_it(
    store: Store, sampled: bool
) -> None:
    def line_of(file: str, line: int | None) -> str:
        lines = LEAKY.splitlines()
        return lines[line - 1] if file == "/job/train.py" and line is not None and 0 < line <= len(lines) else ""

    judged = JudgedRuns(store, stored=False, line_of=line_of)
    judged.begin("run")
    stacks = [
        (Frame("<module>", "/job/train.py", 5), Frame("step", "/job/train.py", 3)),
        (Frame("<module>", "/job/train.py", 6),),
    ]

    def second(now_s: float) -> list[Record]:
        passed = now_s - T0
        leaked = max(0.0, passed - 120) * 2e6
        begun_ns = round((passed - 1) * 1e9)
        spans = [StackSpan(begun_ns + i * 10**7, 10**7, os.getpid(), stacks[i % 2]) for i in range(100)]
        sizes = [Resident(span.mono_ns, round((2e9 + leaked + i // 2 * 4e4) / 1024)) for i, span in enumerate(spans)]
        looks = StackRecording(
            "run", 0, os.getpid(), "main", "box", "native", 100.0, now_s - 1, begun_ns, begun_ns + 10**9,
            {os.getpid(): "MainThread"}, spans, 100, resident=sizes if sampled else (),
        )  # fmt: skip
        return [
            host(now_s),
            of_run("run", now_s, 2e9 + leaked),
            point("run", now_s, int(passed) * 20, {"loss": 1.0}),
            looks,
        ]

    judged.go_on(120 + BY_NAME["memory_creep"].needs_s + 5, second)
    (found,) = judged.of("memory_creep")
    said = "The line that keeps it is probably `losses.append(model(batch))` (train.py:3)."
    assert found.sentence.endswith(said) == sampled and ("place" in found.fields) == sampled


def test_a_leak_of_a_fast_run_is_found_though_its_first_steps_are_no_longer_at_hand(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")

    def second(now_s: float) -> list[Record]:
        passed = now_s - T0
        leaked = max(0.0, passed - 120) * 2e6
        steps = [point("run", now_s - 1 + place / 20, int(passed) * 20 + place, {"loss": 1.0}) for place in range(20)]
        return [host(now_s), of_run("run", now_s, 2e9 + leaked), *steps]

    judged.go_on(120 + BY_NAME["memory_creep"].needs_s + 5, second)
    assert judged.of("memory_creep")
