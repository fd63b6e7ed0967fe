"""In which precision a device computes, and what fp16 does about gradients that overflow."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from deepseek.log import RunLog
from tests.support.trainings import events_of, train_here, values_of
from trainer import precision
from trainer.errors import Diverged, UserError
from trainer.measure import Vitals
from trainer.precision import Scaler
from trainer.tasks import TASKS
from trainer.train import pick_device

CPU = torch.device("cpu")
HERE = pick_device("auto", 0)
SEEDS = (0, 1, 2)
LONG_STEPS = 60  # fp16 is slow on a CPU


def test_a_cpu_takes_all_but_tf32_and_says_why_it_chose() -> None:
    assert precision.supported(CPU) == ["fp32", "bf16", "fp16"]
    assert [precision.choose(name, CPU).dtype for name in precision.supported(CPU)] == [
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]
    assert precision.choose("auto", CPU).reason
    with pytest.raises(UserError, match="on a CPU use --precision fp32 or bf16"):
        precision.choose("tf32", CPU)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_products_are_computed_in_it_and_weights_stay_float32(name: str) -> None:
    numbers = precision.choose(name, CPU)
    layer = nn.Linear(4, 4)
    with numbers.autocast(CPU):
        product = layer(torch.ones(1, 4))
    assert product.dtype == numbers.dtype
    product.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32


def test_only_tf32_lets_float32_products_be_rounded() -> None:
    precision.choose("fp32", CPU)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)


def test_only_fp16_scales_gradients() -> None:
    enabled = {name: precision.choose(name, CPU).scaler(CPU).is_enabled() for name in ("fp32", "bf16", "fp16")}
    assert enabled == {"fp32": False, "bf16": False, "fp16": True}
    assert precision.choose("fp32", CPU).scaler(CPU).readings() == {}


def stepped(
    scaler: Scaler, weight: nn.Parameter, optimizer: torch.optim.Optimizer, loss: torch.Tensor
) -> tuple[float, float, float]:
    """Scale, skipped steps and weight after one step."""
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return (*(float(value) for value in scaler.readings().values()), float(weight.detach()))


def test_a_step_whose_gradient_overflows_is_skipped_and_counted_and_halves_the_scale() -> None:
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0, fused=True)
    scaler = Scaler(CPU, enabled=True)
    fine = stepped(scaler, weight, optimizer, weight * 2)
    assert fine == pytest.approx((65536, 0, 0.9))
    assert stepped(scaler, weight, optimizer, weight * math.inf) == (32768, 1, fine[2])
    assert stepped(scaler, weight, optimizer, weight * 2)[:2] == (32768, 1)


def test_what_the_scaler_tells_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU every item() is a wait: with a fused optimizer there is none in a step."""
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.AdamW([weight], fused=True)
    scaler = Scaler(CPU, enabled=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "item", lambda tensor: pytest.fail("it waits"))
        scaler.scale(weight * 2).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        scaler.readings()


def test_fp16_trains_and_tells_its_scale_and_each_skipped_step(tmp_path: Path) -> None:
    assert train_here(tmp_path, "--run", "fp16", "--steps", "4", "--batch", "4", "--precision", "fp16") == 0
    losses, scales = values_of(tmp_path, "fp16", "train/loss"), values_of(tmp_path, "fp16", "train/grad_scale")
    assert losses[3] < losses[0] - 0.1
    skipped = [step for step in scales if scales[step] < scales.get(step - 1, 65536)]
    assert [event["step"] for event in events_of(tmp_path, "fp16", "overflow")] == skipped
    assert values_of(tmp_path, "fp16", "train/skipped_steps")[3] == len(skipped)


@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_gradient_that_is_not_finite_ends_it_unless_the_scaler_skips_the_step(
    tmp_path: Path, scale: float | None
) -> None:
    values = {"train/loss": 1.0, "train/grad_norm": math.inf}
    with RunLog(tmp_path, "run") as log:
        vitals = Vitals(log, None)
        vitals.watch(0, values | {"train/grad_scale": 32768, "train/skipped_steps": 1})
        with pytest.raises(Diverged, match="train/grad_norm is inf at step 1: there is no checkpoint of it yet"):
            vitals.watch(1, values | ({"train/grad_scale": scale, "train/skipped_steps": 2} if scale else {}))


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("task", TASKS)
def test_every_precision_ends_within_2_percent_of_fp32(tmp_path: Path, task: str) -> None:
    """The mean of three seeds."""
    ended = {}
    for name in precision.supported(HERE):
        losses = []
        for seed in SEEDS:
            flags = (
                "--task",
                task,
                "--size",
                "tiny",
                "--steps",
                str(LONG_STEPS),
                "--precision",
                name,
                "--seed",
                str(seed),
            )
            assert train_here(tmp_path, "--device", HERE.type, "--run", f"{name}-{seed}", *flags) == 0
            losses.append(values_of(tmp_path, f"{name}-{seed}", "val/loss")[LONG_STEPS - 1])
        ended[name] = sum(losses) / len(losses)
    print(task, ended)
    assert all(loss == pytest.approx(ended["fp32"], rel=0.02) for loss in ended.values()), ended
