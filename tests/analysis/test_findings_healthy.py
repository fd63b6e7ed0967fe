"""What looks like a fault of a training and is none, made and recorded: nothing is found in it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from analysis.findings import rule
from collectors.store.engines import open_store
from tests.support import healthy_recordings
from tests.support.healthy_recordings import by_second
from tests.support.judged import T0, JudgedRuns, point
from tests.support.planted_findings import all_silent, healthy, loss_of

NAN = math.nan
NEUTRAL = {"new_best", "finished"}


def test_twelve_healthy_runs_and_more_are_recorded() -> None:
    recordings = [healthy_recordings.read(path) for path in healthy_recordings.paths()]
    assert len(recordings) >= 12
    assert min(recording.seconds for recording in recordings) >= 300
    assert sum(path.stat().st_size for path in healthy_recordings.paths()) < 5e6


@pytest.mark.parametrize("name", [path.name.partition(".")[0] for path in healthy_recordings.paths()])
def test_nothing_is_found_in_a_recorded_healthy_run(tmp_path: Path, name: str) -> None:
    (path,) = [path for path in healthy_recordings.paths() if path.name.partition(".")[0] == name]
    recording = healthy_recordings.read(path)
    store = open_store(tmp_path, write=True)
    judged = JudgedRuns(store, stored=False)
    judged.begin(recording.name, recording.ranks)
    seconds = by_second(recording, T0)
    judged.go_on(recording.seconds, lambda now_s: seconds.pop(round(now_s - T0) - 1, ()))
    store.close()
    assert not [found.sentence for found in judged.found.values() if found.rule not in NEUTRAL]
    assert len(judged.of("new_best")) <= 12


# -- what is well ------------------------------------------------------------------------------------------------------


def heavy_tails(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    hard = dice.paretovariate(2.5)
    return {"train/loss": 0.1 * hard, "train/grad_norm": hard}


def rounded(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    return {"loss": round(max(0.0, dice.gauss(0, 0.006)), 2), "grad_norm": 1.0}


def sparse(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    return {
        "triplet_loss": dice.random() if dice.random() < 0.02 else 0.0,
        "grad_norm": dice.random() if dice.random() < 0.02 else 0.0,
    }


def clipped(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    return {"loss": loss_of(step, dice), "grad_norm": 1.0 if dice.random() < 0.9 else dice.random()}


def placeholders(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    now = step % 40 == 39
    return {"train/loss": loss_of(step, dice), "val/loss": 0.5 if now else NAN, "train/aux_loss": NAN}


def searching_scale(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    scale = 65536.0 * 2.0 ** -min(12, step // 2)
    return {
        "loss": loss_of(step, dice),
        "loss_scale": scale,
        "grad_norm": math.inf if step < 24 and step % 2 else dice.lognormvariate(0, 0.3),
    }


def twice_and_mixed(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    values = {"loss": loss_of(step, dice), "policy/loss": dice.gauss(0, 0.05)}
    return {**values, "eval/loss": 3.0 + dice.random()} if step % 50 == 0 else values


def warm_restarts(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    phase = step % 500
    return {
        "loss": (0.5 + 1.0 * (1 - phase / 500) * (1 - math.exp(-phase / 40))) * dice.lognormvariate(0, 0.03),
        "smooth_loss": 0.5 + (1 - phase / 500) * (1 - math.exp(-phase / 40)),
    }


def converging(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    fallen = math.exp(-step / 60)
    return {"loss": fallen * dice.lognormvariate(0, 0.1), "grad_norm": fallen * dice.lognormvariate(0, 0.1)}


@pytest.mark.parametrize("runs", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "values",
    [
        healthy,
        heavy_tails,
        rounded,
        sparse,
        clipped,
        placeholders,
        searching_scale,
        twice_and_mixed,
        warm_restarts,
        converging,
    ],
)
def test_what_is_well_gives_nothing(tmp_path: Path, values: object, runs: int) -> None:
    all_silent(tmp_path, values, runs=runs)  # type: ignore[arg-type]


def test_a_constant_loss_and_one_that_is_always_nan_from_a_part_give_no_alert(tmp_path: Path) -> None:
    all_silent(tmp_path, lambda step, since_s, dice: {"loss": 0.0, "grad_norm": 0.0}, seconds=120)


def test_a_training_that_gets_better_all_the_time_has_few_best_results(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.go_on(
        3600,
        lambda now_s: [
            point("run", now_s, int(now_s) % 100_000_000, {"val/loss": 1e6 - now_s % 1e5, "val/accuracy": now_s % 1e5})
        ],
    )
    assert len(judged.of("new_best")) <= 25
    store.close()


def test_names_say_what_a_series_is() -> None:
    assert all(map(rule.is_training_loss, ("loss", "train/loss", "policy_loss", "train/nll", "losses/ce_loss")))
    assert not any(
        map(rule.is_training_loss, ("val/loss", "loss_scale", "glossary", "train/loss_scale", "eval_loss", "closed"))
    )
    assert all(map(rule.is_gradient, ("grad_norm", "train/grad_norm", "gradients/l2", "grads/layer0")))
    assert all(map(rule.is_scale, ("loss_scale", "train/grad_scale", "scaler/scale", "amp_scale")))
    assert not any(map(rule.is_scale, ("cfg/scale", "scale", "lora/scale")))
    assert all(map(rule.is_result, ("val/loss", "eval/accuracy", "val_f1", "test/mAP", "eval/rouge1")))
    assert not any(map(rule.is_result, ("val/heatmap", "eval/runtime", "eval/samples_per_second", "val/accelerations")))
