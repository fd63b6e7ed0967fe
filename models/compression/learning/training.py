"""Train a network on images until its validation no longer gets better, on labels alone or with a teacher's answers.

The learning rate falls where an epoch brings nothing; after three such epochs in a row the network is at its plateau. What is validated, and
returned, is the moving average of the weights. Shapes: B batch, N number, C channels, H W height and width, K classes, V views.
"""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...errors import ModelsError
from ...runtimes import this_host
from ..images import ImageSplits, LabelledImages
from .training_state import EpochResult, TrainingState
from .views import Views

MOMENTUM, DECAY, CLIP = 0.9, 5e-4, 5.0
AVERAGED_STEPS = 100  # the moving average reaches about so far back; less in short epochs
TEACHER_SHARE = 0.5  # of the loss; the rest is the labels'
WARM_UP_STEPS = 100
PACE_STEPS, PACE_PASSES = 3, 15


@dataclass(frozen=True)
class TrainingPlan:
    """`most_s`: it ends with the epoch after which the next would take longer than this; None: as long as it takes."""

    epochs: int = 60
    batch: int = 128
    rate: float = 0.05  # for a batch of 128
    most_s: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class TeacherAnswers:
    """Logits to each image in each of the views, and the temperature that softens them."""

    logits_VNK: Tensor
    temperature: float


class TrainedNet(NamedTuple):
    """`plateau`: it ended because nothing came any more, not for want of time or epochs."""

    module: nn.Module
    epochs: tuple[EpochResult, ...]
    plateau: bool

    @property
    def accuracy(self) -> float:
        return max(epoch.accuracy for epoch in self.epochs)


class StepResult(NamedTuple):
    number: int
    loss: Tensor


class TrainingListener(NamedTuple):
    on_step: Callable[[StepResult], None]
    on_epoch: Callable[[EpochResult], None]


def train(
    module: nn.Module,
    data: ImageSplits,
    views: Views,
    plan: TrainingPlan,
    answers: TeacherAnswers | None = None,
    listener: TrainingListener | None = None,
    state_file: Path | None = None,
) -> TrainedNet:
    """The best epoch's weights, on the CPU. Calls the listener after each step and epoch.

    After each epoch its state is written to `state_file`, from which a training that was stopped goes on.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = faster_in_half(copy.deepcopy(module), data, plan.batch)
    steps_an_epoch = max(1, len(data.train.classes_N) // plan.batch)
    state = _begun(module.to(device, memory_format=torch.channels_last), plan, steps_an_epoch)
    if state_file:
        state.load(state_file)
    for epoch in range(len(state.results), plan.epochs):
        if state.at_plateau or (
            plan.most_s and state.results and state.spent_s + state.results[-1].seconds > plan.most_s
        ):
            break
        begun, losses = time.monotonic(), torch.zeros((), device=device)
        state.module.train()
        for images_BCHW, classes_B, logits_BK in _batches(
            data, views, epoch, plan.batch, state.chance, device, answers
        ):
            for group in state.optimizer.param_groups:
                group["lr"] = state.rate * min(1.0, (state.step + 1) / min(WARM_UP_STEPS, steps_an_epoch))
            temperature = answers.temperature if answers else 1.0
            loss, norm = _backward(state, half, images_BCHW, classes_B, logits_BK, temperature)
            if (
                device.type == "cpu" and not norm.isfinite()
            ):  # of bfloat16: 1 step in 150 at some shapes (PyTorch 2.13 with oneDNN)
                loss, norm = _backward(state, contextlib.nullcontext(), images_BCHW, classes_B, logits_BK, temperature)
            state.optimizer.step()
            state.averaged.update_parameters(state.module)
            losses += loss.detach()
            if listener:
                listener.on_step(StepResult(state.step, loss.detach()))
            state.step += 1
        if not all(parameter.isfinite().all() for parameter in state.averaged.module.parameters()):
            raise ModelsError(
                f"the training on {data.name} did not stay finite in epoch {epoch}: nothing of that epoch is kept; look at the images and "
                "labels, or give another width"
            )
        accuracy = accuracy_of(state.averaged.module, data, data.validation, half)
        result = EpochResult(epoch, losses.item() / steps_an_epoch, accuracy, time.monotonic() - begun, state.rate)
        state.judge(result)
        if listener:
            listener.on_epoch(result)
        if state_file:
            state.save(state_file)
    trained = state.module.to("cpu", memory_format=torch.contiguous_format).eval()
    trained.load_state_dict(state.kept)
    return TrainedNet(trained, tuple(state.results), state.at_plateau)


def _begun(module: nn.Module, plan: TrainingPlan, steps_an_epoch: int) -> TrainingState:
    """Before the first epoch."""
    decay = 1 - 1 / max(2, min(AVERAGED_STEPS, steps_an_epoch // 2))
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    rate = plan.rate * plan.batch / 128
    optimizer = torch.optim.SGD(module.parameters(), rate, MOMENTUM, weight_decay=DECAY, nesterov=True)
    return TrainingState(module, averaged, optimizer, torch.Generator().manual_seed(plan.seed), rate)


def _backward(
    state: TrainingState,
    precision: contextlib.AbstractContextManager[Any],
    images_BCHW: Tensor,
    classes_B: Tensor,
    logits_BK: Tensor | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the norm of its gradients, which are there and clipped then."""
    with precision:
        found_BK = state.module(images_BCHW)
    loss = loss_of(found_BK.float(), classes_B, logits_BK, temperature)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return loss, nn.utils.clip_grad_norm_(state.module.parameters(), CLIP)


def loss_of(found_BK: Tensor, classes_B: Tensor, logits_BK: Tensor | None, temperature: float) -> Tensor:
    """Cross entropy in nats; with a teacher, half of it is the divergence from the teacher's softened answers (arXiv 1503.02531)."""
    of_labels = F.cross_entropy(found_BK, classes_B)
    if logits_BK is None:
        return of_labels
    soft_BK = F.log_softmax(found_BK / temperature, 1)
    of_teacher = F.kl_div(soft_BK, F.log_softmax(logits_BK / temperature, 1), reduction="batchmean", log_target=True)
    return (1 - TEACHER_SHARE) * of_labels + TEACHER_SHARE * temperature**2 * of_teacher


def accuracy_of(
    module: nn.Module, data: ImageSplits, images: LabelledImages, half: contextlib.AbstractContextManager[Any]
) -> float:
    """0 to 1."""
    device, right = next(module.parameters()).device, 0
    module.eval()
    with torch.inference_mode(), half:
        for images_BCHW, classes_B in zip(images.images_NCHW.split(500), images.classes_N.split(500), strict=True):
            found_BK = module(data.prepared(images_BCHW.to(device)).contiguous(memory_format=torch.channels_last))
            right += int((found_BK.argmax(1).cpu() == classes_B).sum())
    return right / len(images.classes_N)


def _batches(
    data: ImageSplits,
    views: Views,
    epoch: int,
    batch: int,
    chance: torch.Generator,
    device: torch.device,
    answers: TeacherAnswers | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """All images once in a new order, but for those that do not fill a batch."""
    images_NCHW = data.train.images_NCHW
    view = views.at(epoch, len(images_NCHW))
    order_N = torch.randperm(len(images_NCHW), generator=chance)
    for places_B in order_N.split(min(batch, len(order_N))):
        if len(places_B) < min(batch, len(order_N)):
            return
        images_BCHW = data.prepared(view.cut(images_NCHW, places_B).to(device)).contiguous(
            memory_format=torch.channels_last
        )
        logits_BK = answers.logits_VNK[epoch % views.count, places_B].to(device) if answers else None
        yield images_BCHW, data.train.classes_N[places_B].to(device), logits_BK


def settle_threads() -> int:
    """Have PyTorch compute with one thread, or one a core, whichever takes less time now; how many. Takes about a second.

    On cores that others keep busy, threads wait for each other: at a load of 9 on 2 cores a step took eight times as long with two.
    """
    layer, x_BCHW = nn.Conv2d(64, 64, 3, padding=1), torch.randn(64, 64, 14, 14)
    medians: dict[int, float] = {}
    for threads in {1, this_host.cores()}:
        torch.set_num_threads(threads)
        taken = []
        for _ in range(PACE_PASSES):
            begun = time.perf_counter()
            layer(x_BCHW).sum().backward()
            taken.append(time.perf_counter() - begun)
        medians[threads] = statistics.median(taken)
    best = min(medians, key=lambda threads: medians[threads])
    torch.set_num_threads(best)
    return best


def faster_in_half(module: nn.Module, data: ImageSplits, batch: int) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where a few steps in it take less time than in float32, else nothing. A processor without it would be slower by far."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half, whole = torch.autocast(device, torch.bfloat16), contextlib.nullcontext()
    return half if seconds_a_step(module, data, batch, half) < seconds_a_step(module, data, batch, whole) else whole


def seconds_a_step(
    module: nn.Module, data: ImageSplits, batch: int, half: contextlib.AbstractContextManager[Any]
) -> float:
    """The least of a few steps, without what changes weights; the module's norms change."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = module.to(device, memory_format=torch.channels_last).train()
    images_BCHW = data.prepared(data.train.images_NCHW[:batch].to(device)).contiguous(memory_format=torch.channels_last)
    classes_B, taken = data.train.classes_N[:batch].to(device), []
    for _ in range(PACE_STEPS):
        begun = time.perf_counter()
        with half:
            found_BK = module(images_BCHW)
        F.cross_entropy(found_BK.float(), classes_B).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    module.zero_grad(set_to_none=True)
    return min(taken)
