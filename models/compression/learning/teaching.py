"""The teacher: an artifact that is given, or a network that is trained here to its plateau; and its answers, which students learn from.

Shapes: N items, K classes, V views.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch

from ...artifact import Artifact
from ...artifact.manifest import MANIFEST
from ...errors import ModelsError
from ...runtimes.session import ModelSession
from ..images import ImageSplits
from ..recipe import AUTO
from . import networks, training
from .views import Views

if TYPE_CHECKING:
    from torch import nn

EPOCHS_TO_PLATEAU = 16  # that a teacher is expected to need
SHARE = 0.85  # of the time that its steps may take: the rest is validation, averaging of weights and a busier host
FRESH = 1_000  # views: a teacher sees new ones in each epoch
BATCH = 250
MOST = 1e6  # of a mean or a deviation; neither NaN nor infinite


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
    return training.seconds_a_step(module, data, batch, training.faster_in_half(module, data, batch))


def require(name: str) -> None:
    """Raises ModelsError for what is neither a model's folder nor a network."""
    if name not in (AUTO, *networks.TEACHERS) and not (Path(name) / MANIFEST).exists():
        raise ModelsError(
            f"there is no teacher {name!r}; give the folder of a model, or one of {', '.join(networks.TEACHERS)}"
        )


def trained(
    name: str,
    data: ImageSplits,
    plan: training.TrainingPlan,
    listener: training.TrainingListener,
    state_file: Path | None = None,
) -> training.TrainedNet:
    torch.manual_seed(plan.seed)
    return training.train(
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
        and all(type(number) in (int, float) and abs(number) < MOST for number in value)
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
