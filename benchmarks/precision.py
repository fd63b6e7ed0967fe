"""What each precision gains and costs: step time, memory, throughput, and the loss that it ends at, for all four tasks.

    python -m benchmarks.precision

On a GPU in the size `base`, with the largest batch that fits as well as an equal one; on a CPU in the size `tiny`. fp32 is true fp32:
convolutions, too, which PyTorch leaves in tf32. The same samples in the same order for all; what is timed waits for the GPU at the end of
each step. "Activations" are what the forward pass keeps for the backward pass; peak memory is what PyTorch's allocator gave out.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from itertools import count, islice
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import report
from deepseek.log.flops import mfu
from trainer import batch_size, precision
from trainer.data.sample_order import Batch, Data, ShuffledPlaces, batches, held_out
from trainer.measure import peak_flops
from trainer.models.recompute import recompute
from trainer.options import Config
from trainer.precision import Precision
from trainer.tasks import TASKS, flops_per_sample
from trainer.train import CLIP_NORM, decay_groups, learning_rate, pick_device, spare_cores, validate

STEPS = {"tiny": 20, "base": 100}
LONG_STEPS = 10  # of a batch that is larger or a model that is compiled: only its speed counts
SETTLING_STEPS = 3  # not timed
LARGEST = 64  # times the usual batch: where the search for the largest one begins
H100_SPEED_FP32, H100_SPEED_TF32, H100_ACTIVATIONS, H100_MFU = 4.0, 1.6, 0.5, 0.4
CHECKPOINTED_SHARE = 0.4


class Trained(NamedTuple):
    step_s: list[float]
    samples: int  # of a step
    kept_bytes: int
    peak_bytes: int | None  # on a GPU
    loss: float  # held out, after the last step

    @property
    def median_s(self) -> float:
        return statistics.median(self.step_s)


def measure() -> list[report.Row]:
    device = pick_device("auto", 0)
    torch.set_num_threads(spare_cores(1))
    size = "base" if device.type == "cuda" else "tiny"
    rows: list[report.Row] = []
    for task in TASKS:
        config = config_of(task, size)
        data = TASKS[task].data(TASKS[task].sizes[size].shape)
        trained = {}
        for name in precision.supported(device):
            trained[name] = train(config, data, precision.choose(name, device), device)
            rows += compared(f"{task} {size} {name}", name, trained, config)
            if device.type == "cuda":
                rows += at_largest_batch(f"{task} {size} {name}", config, data, precision.choose(name, device), device)
    rows += checkpointed(config_of("unet3d", size), device)
    return rows + compiled(config_of("gpt", size), device)


def config_of(task: str, size: str) -> Config:
    recipe = TASKS[task].sizes[size]
    return Config(task, size, recipe.batch, 1, STEPS[size], recipe.lr, seed=0, checkpointing=False, compile=False)


def train(config: Config, data: tuple[Data, Data], numbers: Precision, device: torch.device) -> Trained:
    recipe = TASKS[config.task].sizes[config.size]
    torch.manual_seed(config.seed)
    model = TASKS[config.task].model(recipe.shape).to(device)
    coming = on_device(batches(data[0], ShuffledPlaces(len(data[0]), config.seed), config.batch), device)
    kept_bytes = kept(model, next(coming), numbers, device)
    if config.compile:
        model.compile()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step_s = list(islice(steps(model, coming, config, numbers, device), config.steps))
    peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    loss = validate(model, held_out(data[1], recipe.validation, recipe.batch), numbers, device)
    return Trained(step_s[SETTLING_STEPS:], config.batch, kept_bytes, peak_bytes, loss)


def steps(
    model: nn.Module, coming: Iterator[Batch], config: Config, numbers: Precision, device: torch.device
) -> Iterator[float]:
    """Train, and say how long each step took, without the time that its data took."""
    optimizer = torch.optim.AdamW(decay_groups(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    scaler = numbers.scaler(device)
    for step in count():
        batch = next(coming)
        begun_s = perf_counter()
        with numbers.autocast(device):
            loss = model(*batch)
        scaler.scale(loss).backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.lr, step, config.steps)
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield perf_counter() - begun_s


def on_device(coming: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    for inputs, targets in coming:
        yield inputs.to(device), targets.to(device)


def kept(model: nn.Module, batch: Batch, numbers: Precision, device: torch.device) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights aside, each memory once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}  # held, else one that is freed and used again would count once

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), numbers.autocast(device):
        model(*batch)
    return sum(storage.nbytes() for storage in storages.values())


def compared(title: str, name: str, trained: dict[str, Trained], config: Config) -> list[report.Row]:
    """With fp32, and where the device has it, with tf32."""
    one, fp32 = trained[name], trained["fp32"]
    rows = [
        timed(f"{title}: step of {one.samples} samples", one, fp32),
        report.Row(
            f"{title}: throughput", one.samples / one.median_s, "samples/s", baseline=fp32.samples / fp32.median_s
        ),
        report.Row(f"{title}: activations", one.kept_bytes / 1e6, "MB", baseline=fp32.kept_bytes / 1e6),
        report.Row(f"{title}: held-out loss after {config.steps} steps", one.loss, "nats", baseline=fp32.loss),
    ]
    if one.peak_bytes and fp32.peak_bytes:
        rows.append(report.Row(f"{title}: peak memory", one.peak_bytes / 1e6, "MB", baseline=fp32.peak_bytes / 1e6))
    if "tf32" in trained and name not in ("fp32", "tf32"):
        rows.append(timed(f"{title}: step, against tf32", one, trained["tf32"]))
        rows += goals(title, one, fp32, trained["tf32"]) if (config.task, name) == ("bert", "bf16") else []
    return rows


def timed(title: str, one: Trained, baseline: Trained) -> report.Row:
    tenths = statistics.quantiles(one.step_s, n=10)
    spread = f"p10 {tenths[0] * 1e3:.3g}, p90 {tenths[-1] * 1e3:.3g}"
    return report.Row(title, one.median_s * 1e3, "ms", baseline=baseline.median_s * 1e3, spread=spread)


def goals(title: str, one: Trained, fp32: Trained, tf32: Trained) -> list[report.Row]:
    """They are set for an H100."""
    budgets = (
        (H100_SPEED_FP32, H100_SPEED_TF32, H100_ACTIVATIONS) if "H100" in torch.cuda.get_device_name() else (None,) * 3
    )
    return [
        report.Row(f"{title}: speed against fp32", fp32.median_s / one.median_s, "x", budgets[0], at_least=True),
        report.Row(f"{title}: speed against tf32", tf32.median_s / one.median_s, "x", budgets[1], at_least=True),
        report.Row(f"{title}: activations against fp32", one.kept_bytes / fp32.kept_bytes, "x", budgets[2]),
    ]


def at_largest_batch(
    title: str, config: Config, data: tuple[Data, Data], numbers: Precision, device: torch.device
) -> list[report.Row]:
    batch = batch_size.largest_batch(
        LARGEST * config.batch, lambda batch: batch_size.fits(batch, config, data[1], device, numbers)
    )
    batch -= batch // batch_size.SPARE_SHARE
    one = train(config._replace(batch=batch, steps=LONG_STEPS), data, numbers, device)
    return [
        report.Row(f"{title}: largest batch", batch, "samples"),
        report.Row(f"{title}: throughput at the largest batch", one.samples / one.median_s, "samples/s"),
    ]


def checkpointed(config: Config, device: torch.device) -> list[report.Row]:
    """Activation checkpointing, in fp32."""
    recipe, numbers = TASKS[config.task].sizes[config.size], precision.choose("fp32", device)
    batch = next(
        on_device(iter(held_out(TASKS[config.task].data(recipe.shape)[1], config.batch, config.batch)), device)
    )
    model = TASKS[config.task].model(recipe.shape).to(device)
    plain = kept(model, batch, numbers, device)
    recompute(model)
    frugal = kept(model, batch, numbers, device)
    return [
        report.Row(
            f"{config.task} {config.size}: activations kept by --checkpointing", frugal / plain, "x", CHECKPOINTED_SHARE
        )
    ]


def compiled(config: Config, device: torch.device) -> list[report.Row]:
    """Which share of the GPU's peak bf16 and torch.compile reach; nothing where the peak is not known."""
    peak = peak_flops(device, "bf16")
    if not peak:
        return []
    task = TASKS[config.task]
    data = task.data(task.sizes[config.size].shape)
    one = train(
        config._replace(compile=True, steps=LONG_STEPS + SETTLING_STEPS), data, precision.choose("bf16", device), device
    )
    flops = config.batch * flops_per_sample(
        lambda: task.model(task.sizes[config.size].shape), held_out(data[1], 1, 1)[0]
    )
    budget = H100_MFU if "H100" in torch.cuda.get_device_name() else None
    return [
        report.Row(
            f"{config.task} {config.size} bf16, compiled: MFU", mfu(flops, one.median_s, peak) or 0.0, "x", budget, True
        )
    ]


if __name__ == "__main__":
    sys.exit(report.run(measure, "What each precision gains and costs."))
