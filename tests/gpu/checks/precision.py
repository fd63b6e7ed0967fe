"""What each precision gives on this card: matrix products as a share of the peak, and a GPT in training with its MFU."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import NamedTuple

import torch

from benchmarks.precision import SETTLING_STEPS, config_of, on_device, steps
from deepseek.log.flops import mfu
from trainer import precision
from trainer.data.sample_order import ShuffledPlaces, batches, held_out
from trainer.measure import peak_flops
from trainer.tasks import TASKS, flops_per_sample
from trainer.train import pick_device, validate

from ..lines import Report
from ..plan import Setting

FILE = "precision.csv"
MATRIX = {"cuda": 8192, "cpu": 256}
PRODUCTS = 20
STEPS = {"cuda": 24, "cpu": 6}
HELD_OUT = 4  # batches
FP8_SINCE = (8, 9)  # compute capability
FASTER = {"tf32": 1.5, "bf16": 2.0, "fp16": 2.0}  # than fp32, products of matrices, at least
FP8_FASTER = 1.2  # than bf16
SHARE = (0.3, 1.02)  # of the peak that a large product reaches
MFU = (0.02, 1.0)
LOSS_NEAR = 0.1  # of that of fp32: in so few steps fp16 still looks for its scale


class Measured(NamedTuple):
    what: str
    precision: str
    value: float
    unit: str
    of_peak: float | None


def check(setting: Setting, report: Report) -> None:
    device = pick_device("auto", 0)
    rows = [*products(report, device), *trainings(setting, report, device)]
    with (setting.folder / FILE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(Measured._fields)
        table.writerows(rows)


def products(report: Report, device: torch.device) -> list[Measured]:
    found: dict[str, Measured] = {}
    for name in [*precision.supported(device), *(["fp8"] if has_fp8(device) else [])]:
        flops = 2 * MATRIX[device.type] ** 3 / product_s(name, device)
        peak = peak_flops(device, name) if name != "fp8" else None
        found[name] = Measured("product", name, flops / 1e12, "TFLOP/s", flops / peak if peak else None)
    judge_products(report, {name: (row.value, row.of_peak) for name, row in found.items()}, device.type == "cuda")
    if "fp8" not in found:
        report.skip("fp8", "Skipped: the device has no fp8.")
    return list(found.values())


def has_fp8(device: torch.device) -> bool:
    return device.type == "cuda" and bool(torch.cuda.get_device_capability(device) >= FP8_SINCE)


def product_s(name: str, device: torch.device) -> float:
    """Seconds of one product, in the median."""
    size = MATRIX[device.type]
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    if name == "fp8":
        one = torch.ones((), device=device)
        a, b = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        taken = [
            timed(lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16))
            for _ in range(PRODUCTS)
        ]
    else:
        numbers = precision.choose(name, device)
        a, b = a.to(numbers.dtype), b.to(numbers.dtype)
        taken = [timed(lambda: a @ b) for _ in range(PRODUCTS)]
    return statistics.median(taken[PRODUCTS // 4 :])


def timed(work: Callable[[], object]) -> float:
    begun_s = perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - begun_s


def judge_products(report: Report, found: dict[str, tuple[float, float | None]], on_card: bool) -> None:
    """`found`: TFLOP/s, and as a share of the peak."""
    for name, (tera, share) in found.items():
        words = f"{100 * share:.0f} % of the peak" if share is not None else "the peak is not known"
        good = tera > 0 and (share is None or SHARE[0] <= share <= SHARE[1])
        base = found["bf16"] if name == "fp8" and "bf16" in found else found["fp32"]
        least = (FP8_FASTER if name == "fp8" else FASTER.get(name, 1.0)) if on_card else 0.0
        times = tera / base[0]
        report.judge(
            good and times >= least,
            name,
            f"{words}; {times:.2f} times {'bf16' if name == 'fp8' else 'fp32'}.",
            tera,
            "TFLOP/s",
        )


def trainings(setting: Setting, report: Report, device: torch.device) -> list[Measured]:
    task = TASKS["gpt"]
    recipe = task.sizes["base" if device.type == "cuda" else "tiny"]
    shape, batch = recipe.shape, recipe.batch
    if device.type == "cpu" and setting.short:
        shape, batch = shape._replace(layers=1, channels=32, context=32), 2
    config = config_of("gpt", "base")._replace(steps=STEPS[device.type], batch=batch, lr=recipe.lr)
    train, validation = task.data(shape)
    flops = batch * flops_per_sample(lambda: task.model(shape), held_out(validation, 1, 1)[0])
    rows: list[Measured] = []
    losses: dict[str, float] = {}
    for name in precision.supported(device):
        numbers = precision.choose(name, device)
        torch.manual_seed(0)
        model = task.model(shape).to(device)
        coming = on_device(batches(train, ShuffledPlaces(len(train), 0), batch), device)
        step_s = list(islice(steps(model, coming, config, numbers, device), config.steps))[SETTLING_STEPS:]
        losses[name] = validate(model, held_out(validation, HELD_OUT * batch, batch), numbers, device)
        median_s = statistics.median(step_s)
        rows.append(Measured("step", name, median_s * 1e3, "ms", mfu(flops, median_s, peak_flops(device, name))))
    judge_trainings(report, rows, losses)
    return rows


def judge_trainings(report: Report, rows: list[Measured], losses: dict[str, float]) -> None:
    for row in rows:
        loss, other = losses[row.precision], losses["fp32"]
        near = abs(loss - other) <= LOSS_NEAR * abs(other)  # False for NaN
        share = "the peak is not known" if row.of_peak is None else f"MFU {100 * row.of_peak:.1f} %"
        good = near and (row.of_peak is None or MFU[0] <= row.of_peak <= MFU[1])
        sentence = f"{share}; held-out loss {loss:.4f}, in fp32 {other:.4f}."
        report.judge(good, f"GPT in {row.precision}", sentence, row.value, row.unit)
