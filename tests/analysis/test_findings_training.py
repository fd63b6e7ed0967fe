"""What the numbers of a training say: each planted fault is found in time in 19 of 20 runs, and what only looks like it is not."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from collectors.records import Event, Record
from collectors.store.engines import open_store
from tests.support.judged import T0, JudgedRuns, point
from tests.support.planted_findings import PlantedRun, found_in_time, healthy, loss_of
from tests.support.planted_findings import windows as windows  # a fixture

NAN = math.nan


# -- planted -----------------------------------------------------------------------------------------------------------


def test_a_loss_that_turns_nan_is_found(tmp_path: Path, windows: int) -> None:
    judged = found_in_time(
        tmp_path,
        windows,
        "nan",
        lambda step, since_s, dice: {
            "train/loss": NAN if since_s is not None and since_s < 0.1 else loss_of(step, dice)
        },
    )
    assert all(f"train/loss is NaN at step {found.step:,}." in found.sentence for found in judged.of("nan"))


def test_an_infinite_gradient_norm_is_found_and_its_layer_named(tmp_path: Path, windows: int) -> None:
    def more(run: PlantedRun, now_s: float) -> list[Record]:
        return (
            [Event(run.name, "overflow", now_s, step=run.step - 1, fields={"layer": "layers.3.mlp"})]
            if now_s >= run.planted_s
            else []
        )

    judged = found_in_time(
        tmp_path,
        windows,
        "nan",
        lambda step, since_s, dice: {
            **healthy(step, since_s, dice),
            **({"train/grad_norm": math.inf} if since_s is not None else {}),
        },
        more=more,
    )
    assert any("layers.3.mlp" in found.sentence for found in judged.of("nan"))


def test_a_loss_that_stays_nan_is_an_alert(tmp_path: Path, windows: int) -> None:
    judged = found_in_time(
        tmp_path,
        windows,
        "nan_lasting",
        lambda step, since_s, dice: {"train/loss": NAN if since_s is not None else loss_of(step, dice)},
    )
    assert {found.weight for found in judged.of("nan_lasting")} == {"alert"}
    assert len(judged.of("nan_lasting")) == windows


@pytest.mark.parametrize("every", [1, 5])
def test_a_loss_spike_is_found_once(tmp_path: Path, windows: int, every: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float] | None:
        if step % every:
            return None
        up = 4 * math.exp(-since_s / 10) if since_s is not None else 0.0
        return {"train/loss": loss_of(step, dice) + up, "val/loss": 0.5}

    judged = found_in_time(tmp_path, windows, "loss_spike", values)
    assert len(judged.of("loss_spike")) == windows


@pytest.mark.parametrize("huge", [1e6, 1e30, -1e6])
@pytest.mark.parametrize("after", [20, 150, 4000])
def test_one_batch_of_any_size_hides_no_later_spike(tmp_path: Path, huge: float, after: int) -> None:
    store = open_store(tmp_path, write=True)
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    dice = random.Random(7)

    def second(now_s: float) -> list[Record]:
        first = 30 * round(now_s - T0 - 1)
        steps = range(first, first + 30)
        losses = [
            huge if step == 120 else 60.0 if 0 <= step - 120 - after < 40 else dice.gauss(2.0, 0.1) for step in steps
        ]
        return [
            point("run", now_s - 1 + step % 30 / 30, step, {"loss": loss})
            for step, loss in zip(steps, losses, strict=True)
        ]

    judged.go_on(10 + after / 30, second)
    store.close()
    assert [(found.step, found.fields["numbers"]["value"]) for found in judged.of("loss_spike")] == [
        (120 + after, 60.0)
    ]


def test_gradients_that_blow_up_are_found(tmp_path: Path, windows: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        return {
            **healthy(step, since_s, dice),
            "train/grad_norm": dice.lognormvariate(0, 0.3) * (40 if since_s is not None and step % 3 == 0 else 1),
        }

    judged = found_in_time(tmp_path, windows, "gradient_blow_up", values)
    assert "more than ten times its usual" in judged.of("gradient_blow_up")[0].sentence


def test_one_large_gradient_is_found_where_the_loss_rises_after_it(tmp_path: Path, windows: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        first = since_s is not None and since_s < 0.1
        return {
            "train/loss": loss_of(step, dice) + (3.0 if since_s is not None and not first else 0.0),
            "train/grad_norm": 60.0 if first else dice.lognormvariate(0, 0.3),
        }

    judged = found_in_time(tmp_path, windows, "gradient_blow_up", values)
    assert "the loss rises with it" in judged.of("gradient_blow_up")[0].sentence


def test_gradients_that_vanish_in_a_layer_are_found(tmp_path: Path, windows: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        return {
            **healthy(step, since_s, dice),
            "grads/layer0": dice.lognormvariate(0, 0.3) * (1e-5 if since_s is not None else 1),
        }

    judged = found_in_time(tmp_path, windows, "gradient_vanishing", values)
    assert all(found.sentence.startswith("grads/layer0") for found in judged.of("gradient_vanishing"))


def test_a_scaler_that_collapses_is_found(tmp_path: Path, windows: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        return {
            **healthy(step, since_s, dice),
            "train/loss_scale": 65536.0 * 2.0 ** -(0 if since_s is None else int(since_s / 1.5)),
        }

    judged = found_in_time(tmp_path, windows, "scaler_collapse", values)
    assert "use bf16" in judged.of("scaler_collapse")[0].sentence


def test_a_new_best_is_found(tmp_path: Path, windows: int) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        result = (
            {"val/loss": (0.4 if since_s is not None else 1.0) + 0.001 * (step % 50)} if step % 10 == 0 and step else {}
        )
        return {**healthy(step, since_s, dice), **result}

    found_in_time(
        tmp_path,
        windows,
        "new_best",
        lambda step, since_s, dice: values(step, since_s, dice) | ({"val/loss": 1.0} if step in (10, 20, 30) else {}),
        healthy_s=60.0,
    )
