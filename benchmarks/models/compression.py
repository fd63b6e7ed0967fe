"""What compression earns: accuracy kept from a teacher at its plateau, size of the exported files, latency beside ResNet-50.

    .models/bin/python -m benchmarks.models.compression

Two measurements that say nothing of each other. Accuracy: Fashion-MNIST, the largest teacher that reaches its plateau within an hour here
(three epochs without 0.2 points on the validation), its student, and the same student without a teacher; all as exported files on the 10,000
test images, which nothing was chosen by. Size and latency: at 3 x 224 x 224, the student in int8 beside ResNet-50 in PyTorch eager, ONNX
Runtime and OpenVINO, in interleaved rounds, one image a call; weights are random there.

An hour for the teacher, another for the students, minutes for the rest; MODELS_SCALE=tiny shows in two minutes that it works.
MODELS_WORK keeps what is made, so that a stopped measurement goes on; MODELS_PART=accuracy or latency measures one of the two.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import report
from models.artifact import Artifact, ModelManifest, write
from models.artifact.artifact import external_files
from models.artifact.export import export
from models.compression import data as images
from models.compression import measure, networks
from models.compression.candidates import INPUT, OUTPUT, TASK, CandidateMaker, WorkFolder
from models.compression.measure import ShareEstimate
from models.compression.recipe import CompressionRecipe
from models.runtimes import RUNTIMES, installed, open_session, pick
from models.runtimes.pick import CallTimes, ratio, time_in_rounds

TINY = os.environ.get("MODELS_SCALE") == "tiny"
PART = os.environ.get("MODELS_PART", "")
SMALLER, KEPT, FASTER, FASTER_THAN_EAGER = 12.0, 97.0, 6.7, 10.0
TEACHER_MIN = 60.0
WIDTH, IMAGENET_CLASSES, SIDE = 0.5, 1000, 224
CALIBRATION, ROUNDS, ROUND_S = (8, 2, 0.05) if TINY else (128, 20, 1.0)
SHAPE = networks.NetShape(3, SIDE, IMAGENET_CLASSES)
RESNET, STUDENT = "ResNet-50", f"student of width {WIDTH:g}"


def main() -> list[report.Row]:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(os.environ.get("MODELS_WORK", folder))
        rows = accuracy(kept, Path(folder)) if PART in ("", "accuracy") else []
        return [*rows, *(latency(Path(folder)) if PART in ("", "latency") else [])]


def accuracy(kept: Path, folder: Path) -> list[report.Row]:
    """Rows in percent, with 95 % intervals: Wilson's for accuracies, items drawn anew for what is kept."""
    from deepseek.log import RunLog

    recipe = CompressionRecipe(
        folder / "out", kept / "work", folder / "logs", width=WIDTH, threads=pick.cores(), teacher_s=TEACHER_MIN * 60
    )
    if TINY:
        recipe = replace(recipe, teacher="resnet18x0.5", epochs=2, images=2000, views=2, calibration=64, rounds=2)
    data = images.load(recipe.data, recipe.images)
    with RunLog(recipe.logs, kind="compression", unit="candidate", config=recipe.config()) as log:
        maker = CandidateMaker(recipe, data, WorkFolder(recipe.work, recipe.about()), log)
        teacher = maker.teacher()
        found = [maker.candidate(choice) for choice in recipe.choices()]
    teacher_N = measure.right(maker.reference_way.session, data, data.test)
    name = teacher.manifest.name
    rows = [percent(f"{name}, the teacher, fp32", measure.share(teacher_N))]
    if trained := teacher.manifest.accuracy:
        state = f"{trained['epochs']} epochs, {'at its plateau' if trained['plateau'] else 'not at its plateau'}"
        rows.append(
            report.Row(f"{name} trained", trained["seconds"] / 60, "min", None if TINY else TEACHER_MIN, spread=state)
        )
        rows.append(
            report.Row(
                f"{name} is at its plateau (1: yes)",
                float(trained["plateau"]),
                "",
                None if TINY else 1.0,
                at_least=True,
            )
        )
    for candidate in found:
        session = open_session(
            candidate.artifact.model, threads=recipe.threads, own=candidate.artifact.manifest.precision
        )
        right_N = measure.right(session, data, data.test)
        rows.append(percent(str(candidate.choice), measure.share(right_N)))
        taught_int8 = candidate.choice.bits == 8 and candidate.choice.student.temperature is not None
        share = measure.kept(teacher_N, right_N)
        budget = KEPT if taught_int8 and not TINY else None
        rows.append(
            percent(
                f"{candidate.choice}: share of the teacher's, lower end",
                ShareEstimate(share.lowest, share.lowest, share.highest, share.items),
                budget,
            )
        )
        if candidate.choice.bits == 8:
            rows += sizes(f"{name} by {candidate.choice}, trained", teacher, candidate.artifact, None)
            rows.append(
                report.Row(
                    f"{name} by {candidate.choice}, {data.shape[1]} pixels: time",
                    candidate.faster.value,
                    "x",
                    spread=interval(candidate.faster.lowest, candidate.faster.highest),
                )
            )
    return rows


def latency(folder: Path) -> list[report.Row]:
    """Milliseconds of one image, p50, p99 and CPU time; then the ratios."""
    threads = pick.cores()
    torch.manual_seed(0)
    whole = made(folder / "resnet50", networks.resnet50(SHAPE))
    student = made(folder / "student", networks.student(WIDTH, SHAPE))
    int8 = made_int8(folder / "int8", student)
    item = {INPUT: torch.randn(1, *example_shape()).numpy()}
    sessions: dict[str, Any] = {f"{RESNET}, PyTorch eager": TorchSession(whole.module, [INPUT], [OUTPUT], threads)}
    for label, artifact in ((RESNET, whole.artifact), (f"{STUDENT}, int8", int8), (STUDENT, student.artifact)):
        own = artifact.manifest.precision
        for runtime in installed():
            for precision in RUNTIMES[runtime].precisions(own):
                sessions[f"{label}, {runtime} {precision}"] = open_session(
                    artifact.model, runtime, precision, threads, own=own
                )
    times = time_in_rounds({name: partial(session.run, item) for name, session in sessions.items()}, ROUNDS, ROUND_S)
    rows = [row for name, found in times.items() for row in of_times(name, found, threads)]
    best = min(
        (name for name in times if name.startswith(RESNET) and name.endswith("fp32")),
        key=lambda name: times[name].p50_ms,
    )
    ours = min((name for name in times if "int8" in name), key=lambda name: times[name].p50_ms)
    for name, wanted in ((best, FASTER), (f"{RESNET}, PyTorch eager", FASTER_THAN_EAGER)):
        found = ratio(times[name], times[ours])
        budget = None if TINY else wanted
        rows.append(
            report.Row(
                f"{name} by {ours}: p50",
                found.value,
                "x",
                budget,
                at_least=True,
                spread=interval(found.lowest, found.highest),
            )
        )
        rows.append(
            report.Row(f"{name} by {ours}: p99", times[name].p99_ms / times[ours].p99_ms, "x", budget, at_least=True)
        )
        rows.append(report.Row(f"{name} by {ours}: CPU time", times[name].cpu_ms / times[ours].cpu_ms, "x"))
    return [*rows, *sizes(f"{RESNET} by {STUDENT}, int8, {SIDE} pixels", whole.artifact, int8, SMALLER)]


@dataclass(frozen=True)
class ExportedNet:
    module: nn.Module
    artifact: Artifact


def made(folder: Path, module: nn.Module) -> ExportedNet:
    """Its norms have seen a batch, so that activations have the sizes of a trained network's."""
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(4, *example_shape()))
    content = export(module.eval(), [torch.randn(2, *example_shape())], [INPUT], [OUTPUT])
    return ExportedNet(
        module, write(folder, content, manifest(folder.name), {INPUT: torch.randn(2, *example_shape()).numpy()})
    )


def made_int8(folder: Path, student: ExportedNet) -> Artifact:
    items = [{INPUT: torch.randn(8, *example_shape()).numpy()} for _ in range(CALIBRATION // 8)]
    content = measure.quantize(student.artifact.model, items)
    about = manifest(folder.name, precision="int8", tolerance=measure.TOLERANCE, parent=student.artifact.sha256)
    return write(folder, content, about, student.artifact.golden().inputs)


def manifest(name: str, **fields: Any) -> ModelManifest:
    return ModelManifest(
        name=name, task=TASK, licence="none", source="benchmarks.models.compression, random weights", **fields
    )


def example_shape() -> tuple[int, int, int]:
    return SHAPE.channels, SHAPE.side, SHAPE.side


class TorchSession:
    """A PyTorch module in eager mode, without gradients. The threads are the process's: give all sessions that are timed together the same number."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str], threads: int) -> None:
        self._module, self._threads = module.eval(), threads
        self._inputs, self._outputs = list(inputs), list(outputs)

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        results = found if isinstance(found, (tuple, list)) else [found]
        return {name: value.numpy() for name, value in zip(self._outputs, results, strict=True)}


def of_times(name: str, times: CallTimes, threads: int) -> list[report.Row]:
    found = {"p50": times.p50_ms, "p99": times.p99_ms, "CPU": times.cpu_ms}
    return [
        report.Row(f"{name}: {word}", value, "ms", spread=f"{times.calls} calls, {threads} threads")
        for word, value in found.items()
    ]


def gzipped(artifact: Artifact) -> int:
    """Bytes of the ONNX file and of the weights beside it, each compressed by gzip."""
    names = (artifact.model.name, *external_files(artifact.model))
    return sum(len(gzip.compress((artifact.folder / name).read_bytes())) for name in names)


def sizes(name: str, large: Artifact, small: Artifact, least: float | None) -> list[report.Row]:
    whole, part, zipped, zipped_part = (
        large.bytes / 1e6,
        small.bytes / 1e6,
        gzipped(large) / 1e6,
        gzipped(small) / 1e6,
    )
    return [
        report.Row(f"{name}: size", whole / part, "x", least, at_least=True, spread=f"{whole:.2f} by {part:.2f} MB"),
        report.Row(
            f"{name}: size, both by gzip", zipped / zipped_part, "x", spread=f"{zipped:.2f} by {zipped_part:.2f} MB"
        ),
    ]


def percent(name: str, share: ShareEstimate, budget: float | None = None) -> report.Row:
    spread = f"{interval(100 * share.lowest, 100 * share.highest)}, {share.items:,} images"
    return report.Row(name, 100 * share.value, "%", budget, at_least=True, spread=spread)


def interval(lowest: float, highest: float) -> str:
    return f"95 % interval {lowest:.4g} to {highest:.4g}"


if __name__ == "__main__":
    sys.exit(report.run(main, __doc__ or ""))
