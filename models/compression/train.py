"""Trains networks from labels or from a teacher, with resumable state."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..artifact import Artifact
from ..artifact.artifact import MANIFEST
from ..errors import ModelsError
from ..runtimes import pick
from ..runtimes.session import ModelSession
from . import networks
from .data import ImageSplits, LabelledImages, Views
from .recipe import AUTO

if TYPE_CHECKING:
    from torch import nn


# Where a training stands after an epoch: kept in a file, so that one that was stopped goes on with the next epoch.

GAIN = 0.002  # of the validation's accuracy, over what it was at the last gain: less than this is nothing
PATIENCE = 3  # epochs without a gain, then it is at its plateau
FALL = 0.3  # of the learning rate, after an epoch without a gain


class EpochResult(NamedTuple):
    number: int  # from 0
    loss: float  # mean of its steps
    accuracy: float  # of the validation, 0 to 1
    seconds: float
    rate: float


@dataclass
class TrainingState:
    """`kept` are the weights of the best epoch, on the CPU; `gained`: the accuracy at the last gain."""

    module: nn.Module
    averaged: AveragedModel
    optimizer: torch.optim.Optimizer
    chance: torch.Generator
    rate: float
    step: int = 0
    gained: float = -1.0
    best: float = -1.0
    fruitless: int = 0  # epochs since the last gain
    kept: dict[str, Any] = field(default_factory=dict)
    results: list[EpochResult] = field(default_factory=list)

    @property
    def at_plateau(self) -> bool:
        return self.fruitless >= PATIENCE

    @property
    def spent_s(self) -> float:
        return sum(epoch.seconds for epoch in self.results)

    def judge(self, result: EpochResult) -> None:
        """Take in an epoch: its weights where it is the best, a lower rate where it brought nothing."""
        self.results.append(result)
        if result.accuracy >= self.gained + GAIN:
            self.gained, self.fruitless = result.accuracy, 0
        else:
            self.fruitless, self.rate = self.fruitless + 1, self.rate * FALL
        if result.accuracy > self.best:
            self.best = result.accuracy
            self.kept = {
                name: value.detach().cpu().clone() for name, value in self.averaged.module.state_dict().items()
            }

    def save(self, path: Path) -> None:
        """On a full disk the file of an earlier epoch stays: the training goes on, and repeats more if it is stopped."""
        content = io.BytesIO()
        numbers = {name: getattr(self, name) for name in ("rate", "step", "gained", "best", "fruitless", "kept")}
        parts = {name: getattr(self, name).state_dict() for name in ("module", "averaged", "optimizer")}
        torch.save(
            {
                **numbers,
                **parts,
                "chance": self.chance.get_state(),
                "results": [tuple(result) for result in self.results],
            },
            content,
        )
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_bytes(content.getbuffer())
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)

    def load(self, path: Path) -> None:
        """Go on from there; a file that is missing or cannot be read is left alone, and the training begins anew."""
        if not os.path.lexists(path):
            return
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            if shapes_of(found["module"]) != shapes_of(self.module.state_dict()):
                return
            results = [EpochResult(*result) for result in found["results"]]
            for name in ("module", "averaged", "optimizer"):
                getattr(self, name).load_state_dict(found[name])
            self.chance.set_state(found["chance"])
            for name in ("rate", "step", "gained", "best", "fruitless", "kept"):
                setattr(self, name, found[name])
            self.results = results
        except (
            Exception
        ):  # of a zip file, an unpickler, or weights of other shapes: whatever it is, it is no state of this training
            return


def shapes_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


# Train a network on images until its validation no longer gets better, on labels alone or with a teacher's answers.
#
# The learning rate falls where an epoch brings nothing; after three such epochs in a row the network is at its plateau. What is validated, and
# returned, is the moving average of the weights. Shapes: B batch, N number, C channels, H W height and width, K classes, V views.

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
    for threads in {1, pick.cores()}:
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


# The teacher: an artifact that is given, or a network that is trained here to its plateau; and its answers, which students learn from.
#
# Shapes: N items, K classes, V views.

EPOCHS_TO_PLATEAU = 16  # that a teacher is expected to need
SHARE = 0.85  # of the time that its steps may take: the rest is validation, averaging of weights and a busier host
FRESH = 1_000  # views: a teacher sees new ones in each epoch
BATCH = 250
MAX_STATISTIC = 1e6  # of a mean or a deviation; neither NaN nor infinite


def shape_of(data: ImageSplits) -> networks.NetShape:
    channels, height, width = data.shape
    return networks.NetShape(channels, max(height, width), data.classes)


def largest_in(data: ImageSplits, most_s: float, batch: int) -> str:
    """Name of the largest teacher whose epochs up to the plateau are expected to fit into so many seconds; else the smallest."""
    steps = EPOCHS_TO_PLATEAU * max(1, len(data.train.classes_N) // batch)
    for name, make in networks.TEACHERS.items():
        if steps * pace(make(shape_of(data)), data, batch) <= SHARE * most_s:
            return name
    return name


def pace(module: nn.Module, data: ImageSplits, batch: int) -> float:
    """Seconds of a training step, in the faster of the two precisions."""
    return seconds_a_step(module, data, batch, faster_in_half(module, data, batch))


def require(name: str) -> None:
    """Raises ModelsError for what is neither a model's folder nor a network."""
    if name not in (AUTO, *networks.TEACHERS) and not (Path(name) / MANIFEST).exists():
        raise ModelsError(
            f"there is no teacher {name!r}; give the folder of a model, or one of {', '.join(networks.TEACHERS)}"
        )


def trained(
    name: str, data: ImageSplits, plan: TrainingPlan, listener: TrainingListener, state_file: Path | None = None
) -> TrainedNet:
    torch.manual_seed(plan.seed)
    return train(
        networks.TEACHERS[name](shape_of(data)),
        data,
        Views(data.mirrors, FRESH),
        plan,
        listener=listener,
        state_file=state_file,
    )


def given(folder: Path, data: ImageSplits) -> tuple[Artifact, ImageSplits]:
    """A teacher that is an artifact already, and the images with its own mean and deviation. Raises ModelsError where it does not fit them."""
    artifact = Artifact.open(folder)
    inputs, outputs = artifact.manifest.inputs, artifact.manifest.outputs
    shape = ("batch", *data.shape)
    fits = len(inputs) == 1 and inputs[0].dtype == "float32" and len(inputs[0].shape) == 4
    if not fits or any(
        isinstance(size, int) and size != wanted for size, wanted in zip(inputs[0].shape, shape, strict=True)
    ):
        raise ModelsError(
            f"{folder} takes {[(spec.name, spec.dtype, list(spec.shape)) for spec in inputs]}, and the images are float32 {list(shape)}"
        )
    if not outputs or len(outputs[0].shape) != 2 or outputs[0].shape[1] not in (data.classes, "classes"):
        raise ModelsError(
            f"{folder} answers {[list(spec.shape) for spec in outputs]}, and the data has {data.classes} classes; give a model of these"
        )
    known = artifact.manifest.preprocessing
    mean, deviation = known.get("mean"), known.get("std")
    if _are_numbers(mean, data.shape[0]) and _are_numbers(deviation, data.shape[0]) and known.get("scale") == 1 / 255:
        if min(deviation) <= 0:
            raise ModelsError(
                f"{folder}: its preprocessing divides by {min(deviation):g}; correct `std` in the manifest"
            )
        data = replace(data, mean=tuple(mean), deviation=tuple(deviation))
    return artifact, data


def _are_numbers(value: Any, count: int) -> TypeGuard[list[float]]:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(number) in (int, float) and abs(number) < MAX_STATISTIC for number in value)
    )


def answers_to(session: ModelSession, data: ImageSplits, views: Views) -> np.ndarray[Any, Any]:
    """logits_VNK to all training images in all views, float32."""
    name, output = session.inputs[0].name, session.outputs[0].name
    images_NCHW = data.train.images_NCHW
    number = len(images_NCHW)
    found = []
    for place in range(views.count):
        view = views.at(place, number)
        batches = torch.arange(number).split(BATCH)
        logits = [
            session.run({name: data.prepared(view.cut(images_NCHW, places_B)).numpy()})[output] for places_B in batches
        ]
        found.append(np.concatenate(logits).astype(np.float32))
    return np.stack(found)
