"""Record what the writers of TensorBoard's event files make, and what TensorBoard itself reads back.

pip install tensorboard tensorboardX pillow && python -m tests.record_tensorboard          tests/data/recorded/tensorboard
                                                python -m tests.record_tensorboard media    tests/data/recorded/tensorboard_media
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parent / "data" / "recorded" / "tensorboard"
MEDIA = RECORDED.with_name("tensorboard_media")
START_S = 1_764_000_000.0
STEPS = 120


def torch_writer(folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    with SummaryWriter(str(folder)) as log:
        for step in range(STEPS):
            at = START_S + step / 7
            log.add_scalar("train/loss", 2 / (1 + step), step, walltime=at)
            log.add_scalar("train/lr", 1e-3 * 0.99**step, step, walltime=at)
            log.add_scalar("val/accuracy", step / 200, step * 1000, walltime=at, new_style=True)
            log.add_scalar("double", 0.1 + step, step, walltime=at, new_style=True, double_precision=True)
        log.add_scalar("odd", float("nan"), 0, walltime=START_S)
        log.add_scalar("odd", float("inf"), 1, walltime=START_S + 1)
        log.add_scalar("odd", -1.0, 2**40, walltime=START_S + 2)
        for step in range(3):
            log.add_histogram("weights", rng.normal(step, 1.0, 10_000), step, walltime=START_S + step)
        log.add_text("notes", "first line\nsecond | line", 5, walltime=START_S + 5)
        log.add_image("sample", rng.random((3, 16, 24), dtype=np.float32), 9, walltime=START_S + 9)
        log.add_hparams(
            {"lr": 0.001, "layers": 4, "name": "small", "amp": True}, {"hparam/best": 0.5}, run_name="1764000000.25"
        )


def torch_media(folder: Path) -> None:
    """Everything that is looked at or listened to, at three steps."""
    import torch
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(2)
    with SummaryWriter(str(folder)) as log:
        for step in (0, 10, 20):
            at = START_S + step
            log.add_image("val/image", np.full((3, 16, 24), step / 20, np.float32), step, walltime=at)
            log.add_text("notes", f"step {step} <script>alert(1)</script>", step, walltime=at)
            tone = torch.sin(torch.arange(2000) * (0.1 + step / 100))[None]
            log.add_audio("tone", tone, step, sample_rate=8000, walltime=at)
            log.add_histogram("weights", rng.normal(step / 10, 1.0, 500), step, walltime=at)


def media_read_back(path: Path) -> list[dict[str, Any]]:
    """Tag, step and the hash of what TensorBoard itself reads of each image, sound and text; the counts of a histogram."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    told: list[dict[str, Any]] = []
    for event in LegacyEventFileLoader(str(path)).Load():
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            row: dict[str, Any] = {"tag": value.tag, "step": event.step, "kind": kind}
            if kind == "histo":
                row["sum"], row["values"] = sum(value.histo.bucket), [value.histo.min, value.histo.max]
            else:
                data = {"image": value.image.encoded_image_string, "audio": value.audio.encoded_audio_string}.get(kind)
                data = value.tensor.string_val[0] if data is None else data
                row["sha256"] = hashlib.sha256(data).hexdigest()
            told.append(row)
    return told


def record_media() -> None:
    shutil.rmtree(MEDIA, ignore_errors=True)
    torch_media(MEDIA)
    (path,) = MEDIA.glob("events.out.tfevents.*")
    told = media_read_back(path)
    path.rename(MEDIA / "events.out.tfevents.1764000000.box.1.0")
    (MEDIA / "told.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in told) + "\n]\n")


def tensorboardx(folder: Path) -> None:
    from tensorboardX import SummaryWriter

    rng = np.random.default_rng(1)
    with SummaryWriter(str(folder)) as log:
        for step in range(STEPS):
            log.add_scalar("loss", 3 / (1 + step), step, walltime=START_S + step / 7)
        log.add_histogram("weights", rng.normal(0, 1.0, 1_000), 7, walltime=START_S + 7)
        log.add_text("notes", "from tensorboardX", 5, walltime=START_S + 5)
        log.add_image("sample", rng.random((3, 8, 8)), 9, walltime=START_S + 9)


def tensorflow_2(folder: Path) -> None:
    """As `tf.summary` writes: tensors whose metadata name the plugin; with TensorBoard's own writer, for want of TensorFlow."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.histogram.metadata import create_summary_metadata as of_histogram
    from tensorboard.plugins.image.metadata import create_summary_metadata as of_image
    from tensorboard.plugins.scalar.metadata import create_summary_metadata as of_scalar
    from tensorboard.plugins.text.metadata import create_summary_metadata as of_text
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    for part in ("train", "validation"):
        writer = EventFileWriter(str(folder / part))

        def add(
            tag: str, value: Any, metadata: SummaryMetadata | None, step: int, writer: EventFileWriter = writer
        ) -> None:
            one = Summary.Value(tag=tag, tensor=make_tensor_proto(value), metadata=metadata)
            writer.add_event(Event(wall_time=START_S + step, step=step, summary=Summary(value=[one])))

        for step in range(40):
            described = of_scalar("", "") if step == 0 else None  # named once
            add("epoch_loss", np.float32(1 / (1 + step)), of_scalar("", ""), step)
            add("half", np.float16(step / 8), described, step)
            add("count", np.int64(step**3), described, step)
        edges = np.arange(31) / 10
        add("kernel", np.stack([edges[:-1], edges[1:], np.arange(30.0)], axis=1), of_histogram("", ""), 3)
        add("notes", np.array([b"one", b"two"]), of_text("", ""), 4)
        add("pixels", np.array([b"24", b"16", b"\x89PNG" + b"x" * 1000]), of_image("", ""), 5)
        writer.close()


WRITERS: dict[str, Callable[[Path], None]] = {
    "torch": torch_writer,
    "tensorboardX": tensorboardx,
    "tensorflow": tensorflow_2,
}


def read_back(path: Path) -> list[dict[str, Any]]:
    """What TensorBoard's own loader tells of one file, in the order of the file."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    plugins: dict[str, str] = {}
    told: list[dict[str, Any]] = []
    for event in LegacyEventFileLoader(str(path)).Load():
        for value in event.summary.value:
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            row: dict[str, Any] = {"tag": value.tag, "time_s": event.wall_time, "step": event.step, "plugin": plugin}
            kind = value.WhichOneof("value")
            if kind == "simple_value":
                row["value"] = value.simple_value
            elif kind == "histo":
                histo = value.histo
                row |= {
                    "min": histo.min,
                    "max": histo.max,
                    "limits": list(histo.bucket_limit),
                    "counts": list(histo.bucket),
                }
            elif kind == "image":
                row |= {"width": value.image.width, "height": value.image.height}
            elif kind == "tensor" and plugin in ("scalars", "histograms"):
                row["value"] = make_ndarray(value.tensor).astype(float).tolist()
            elif kind == "tensor" and plugin == "text":
                row["text"] = [one.decode() for one in value.tensor.string_val]
            told.append(row)
    return told


def main() -> None:
    shutil.rmtree(RECORDED, ignore_errors=True)
    for name, write in WRITERS.items():
        write(RECORDED / name)
        time.sleep(1.1)  # the names of files hold whole seconds
    for path in sorted(RECORDED.rglob("events.out.tfevents.*")):
        told = read_back(path)
        seconds, *_ = path.name.removeprefix("events.out.tfevents.").split(".")
        path = path.rename(path.with_name(f"events.out.tfevents.{seconds}.box.1.0"))
        path.with_name("told.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in told) + "\n]\n")
        print(path.relative_to(RECORDED), path.stat().st_size)


if __name__ == "__main__":
    record_media() if sys.argv[1:] == ["media"] else main()
