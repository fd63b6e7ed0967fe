"""TensorBoard's event files: what its own loader reads back, whole."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.logs.formats import tensorboard, tfrecord
from collectors.logs.formats.tensorboard import part
from collectors.records import HEAD_CRC_BYTES, LogLine, Points, RunInfo, Sample
from tests.support.event_records import (
    FILES,
    MEDIA,
    RECORDED,
    event_file,
    field,
    file_of,
    framed,
    number,
    parsed,
    same,
    scalars,
    told,
    varint,
)
from tests.support.following import Follower, until
from tests.support.plain_scripts import found, run_in, started


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.parent.relative_to(RECORDED)))
def test_values_times_and_steps_are_those_that_tensorboard_reads_back(path: Path) -> None:
    rows = [row for row in told(path) if "value" in row and np.size(row["value"]) == 1]
    found = scalars(parsed(path.read_bytes()))
    assert [(tag, time_s, step) for tag, _, time_s, step in found] == [
        (row["tag"], row["time_s"], row["step"]) for row in rows
    ]
    assert all(same(value, float(np.ravel(row["value"])[0])) for (_, value, _, _), row in zip(found, rows, strict=True))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.parent.relative_to(RECORDED)))
def test_histograms_become_bands_between_their_least_and_greatest_value(path: Path) -> None:
    rows = [row for row in told(path) if "counts" in row or row["plugin"] == "histograms"]
    found = [one for one in parsed(path.read_bytes()) if isinstance(one, Points) and len(one.names) == 7]
    assert [one.step for one in found] == [row["step"] for row in rows]
    for one, row in zip(found, rows, strict=True):
        least, *bands, greatest = one.values
        assert one.names == tuple(f"{row['tag']}/{name}" for name in ("min", "p05", "p25", "p50", "p75", "p95", "max"))
        assert list(one.values) == sorted(one.values)
        edges, counts = edges_and_counts(row)
        assert (least, greatest) == (edges[0], edges[-1])
        until = np.concatenate([[0.0], np.cumsum(counts)])
        assert np.interp(bands, edges, until / until[-1]) == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95], abs=1e-6)


def edges_and_counts(row: dict[str, Any]) -> tuple[list[float], list[float]]:
    if "counts" in row:
        return [row["min"], *row["limits"][:-1], row["max"]], row["counts"]
    left, right, count = zip(*row["value"], strict=True)
    return [left[0], *right], list(count)


def test_text_becomes_lines_with_tag_and_step() -> None:
    lines = [one for one in parsed(file_of("torch").read_bytes()) if isinstance(one, LogLine)]
    assert [one.text for one in lines] == [
        "notes/text_summary, step 5: first line",
        "notes/text_summary, step 5: second | line",
    ]
    assert {one.time_s for one in lines} == {1_764_000_005.0}


@pytest.mark.parametrize("name", ["torch", "tensorboardX", "tensorflow/train"])
def test_an_image_a_text_and_a_histogram_are_samples_that_say_where_their_bytes_lie(name: str) -> None:
    data = file_of(name).read_bytes()
    samples = [one for one in parsed(data) if isinstance(one, Sample)]
    assert {one.kind for one in samples} == {"image", "text", "histogram"}
    for one in samples:
        assert one.path == "events.out.tfevents.0.box" and one.length and not one.data
        there = data[one.offset : one.offset + one.length]
        assert zlib.crc32(there[:HEAD_CRC_BYTES]) == one.head_crc
        if one.kind == "image" and name.startswith("tensorflow"):
            assert there == b"\x89PNG" + b"x" * 1000
        elif one.kind == "image":
            assert one.media == "image/png" and there.startswith(b"\x89PNG") and there.endswith(b"IEND\xaeB`\x82")
        elif one.media == "text/plain":
            assert there in (b"first line\nsecond | line", b"from tensorboardX")
        elif one.kind == "text":
            assert one.media == tensorboard.OF_TENSOR and tensorboard.tensor(there).strings == [b"one", b"two"]
        elif one.media == tensorboard.OF_HISTOGRAM:
            assert tensorboard.histogram(there).count.sum() in (10_000, 1_000)
        else:
            assert len(tensorboard.tensor(there).numbers) == 90


def test_images_audio_and_texts_are_byte_for_byte_what_tensorboard_reads_back() -> None:
    (path,) = MEDIA.glob("events.out.tfevents.*")
    data, rows = path.read_bytes(), json.loads((MEDIA / "told.json").read_text())
    samples = [one for one in parsed(data) if isinstance(one, Sample)]
    assert [(one.name, one.step) for one in samples] == [(row["tag"], row["step"]) for row in rows] and len(rows) == 12
    for one, row in zip(samples, rows, strict=True):
        there = data[one.offset : one.offset + (one.length or 0)]
        if one.kind == "histogram":
            assert tensorboard.histogram(there).count.sum() == row["sum"]
        else:
            assert hashlib.sha256(there).hexdigest() == row["sha256"]
            assert one.kind == {"image": "image", "audio": "audio", "tensor": "text"}[row["kind"]]


def test_images_and_audio_of_one_value_have_their_numbers_behind_the_tag() -> None:
    png, wav = b"\x89PNG\r\n" + bytes(90), b"RIFF" + bytes(4) + b"WAVE" + bytes(90)
    strings = lambda *parts: field(8, b"\x08\x07" + b"".join(field(8, part) for part in parts))  # noqa: E731
    body = field(1, b"grid") + field(9, field(1, field(1, b"images"))) + strings(b"3", b"4", png, png)
    tone = field(1, b"tone") + field(9, field(1, field(1, b"audio"))) + strings(wav, b"a label", wav, b"")
    old = field(1, b"old") + field(6, b"\x0d" + struct.pack("<f", 8000.0) + field(4, wav) + field(5, b"audio/wav"))
    data = b"".join(framed(b"\x10\x07" + field(5, field(1, value))) for value in (body, tone, old))
    found = [one for one in parsed(data) if isinstance(one, Sample)]
    assert [(one.name, one.kind, one.media, one.step) for one in found] == [
        ("grid", "image", "image/png", 7),
        ("grid/1", "image", "image/png", 7),
        ("tone", "audio", "audio/wav", 7),
        ("tone/1", "audio", "audio/wav", 7),
        ("old", "audio", "audio/wav", 7),
    ]
    assert [data[one.offset : one.offset + (one.length or 0)] for one in found] == [png, png, wav, wav, wav]


def test_hyperparameters_are_the_runs_configuration() -> None:
    (path,) = (RECORDED / "torch" / "1764000000.25").glob("events*")
    (info,) = [one for one in parsed(path.read_bytes()) if isinstance(one, RunInfo)]
    assert info.info == {"config": {"lr": 0.001, "layers": 4.0, "name": "small", "amp": True}}


def test_final_values_of_add_hparams_are_at_no_step() -> None:
    """It writes them at step 0 of a file of its own, which is not where the run stands."""
    data = framed(number("accuracy", 0.9, 0)) + framed(number("accuracy", 0.95, 7))
    for place, steps in {
        "1764000000.25/events.out.tfevents.9.box": [None, 7],
        "train/events.out.tfevents.9.box": [0, 7],
    }.items():
        found = parsed(data, event_file(place=place))
        assert [step for _, _, _, step in scalars(found)] == steps


def test_a_checksum_is_that_of_the_standard_whatever_the_length() -> None:
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA
    rng = random.Random(0)
    for length in [*range(70), 511, 512, 513, 1024, 5000]:
        data = rng.randbytes(length)
        assert tfrecord.crc32c(data) == plain_crc32c(data)


def plain_crc32c(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (tfrecord.POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_a_tag_whose_steps_go_back_begins_a_segment_and_others_go_on() -> None:
    bodies = [
        number("a", 1, 5000),
        number("epoch", 1, 1),
        number("a", 1, 5001),
        number("a", 1, 7),
        number("epoch", 1, 2),
    ]
    segments = [one.segment for one in parsed(b"".join(map(framed, bodies))) if isinstance(one, Points)]
    assert segments == [0, 0, 0, 1, 0]


def test_names_of_folders_that_are_parts_of_a_run() -> None:
    assert [part(name) for name in ("train", "Validation", "1764000000.25", "baseline", "1764000000", "")] == [
        "train/",
        "Validation/",
        "",
        None,
        None,
        None,
    ]


def write(path: Path, *bodies: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(map(framed, bodies)))


def infos(follower: Follower) -> list[dict[str, Any]]:
    return [dict(one.info) for one in follower.records if isinstance(one, RunInfo)]


def test_files_of_a_folder_and_of_its_parts_are_one_run_and_restarts_are_segments(
    follower: Follower, tmp_path: Path
) -> None:
    run = tmp_path / "sweep" / "a"
    write(run / "events.out.tfevents.1764000000.box.1.0", number("loss", 1, 1), number("loss", 2, 2))
    write(run / "events.out.tfevents.1764000100.box.2.0", number("loss", 3, 2))
    write(run / "train" / "events.out.tfevents.1764000000.box.1.1", number("loss", 4, 1))
    write(run / "validation" / "events.out.tfevents.1764000000.box.1.2", number("loss", 5, 1))
    assert sorted(follower.values(5)) == [1.0, 2.0, 3.0, 4.0, 5.0]
    points = [one for one in follower.records if isinstance(one, Points)]
    assert {one.run for one in points} == {"sweep/a"}
    series = {
        name: [(one.values[0], one.segment) for one in points if one.names == (name,)]
        for name in {one.names[0] for one in points}
    }
    assert set(series) == {"loss", "train/loss", "validation/loss"}
    assert [value for value, _ in series["loss"]] == [1.0, 2.0, 3.0]
    assert [segment for _, segment in series["loss"]] == [1764000000, 1764000000, 1764000100]
    (activity,) = follower.tail.live_runs()
    assert activity.folder == run and list(activity.parts) == ["train", "validation"]


HOLDS = "import sys, time; file = open(sys.argv[1], 'ab'); time.sleep(60)"


def test_who_writes_into_a_part_of_the_run_is_its_process(tmp_path: Path) -> None:
    (tmp_path / "a" / "train").mkdir(parents=True)
    with started(
        sys.executable, "-c", HOLDS, tmp_path / "a" / "train" / "events.out.tfevents.1764000000.box.1.0"
    ) as training:
        assert found(run_in(tmp_path / "a")._replace(parts=("train",))) == {"run": [training.pid]}


def test_a_file_in_the_log_folder_itself_is_a_run_with_the_folders_name(follower: Follower, tmp_path: Path) -> None:
    write(tmp_path / "events.out.tfevents.1764000000.box.1.0", number("loss", 1, 1))
    follower.values(1)
    assert {one.run for one in follower.records if isinstance(one, Points)} == {tmp_path.name}


def test_hyperparameters_and_run_json_live_together_also_after_a_restart(follower: Follower, tmp_path: Path) -> None:
    run = tmp_path / "a"
    (session,) = (RECORDED / "torch" / "1764000000.25").glob("events*")
    (run / "1764000000.25").mkdir(parents=True)
    (run / "run.json").write_text('{"unit":"batch","config":{"lr":0.5,"seed":1}}')
    (run / "1764000000.25" / session.name).write_bytes(session.read_bytes())
    both = {"unit": "batch", "config": {"lr": 0.5, "layers": 4.0, "name": "small", "amp": True, "seed": 1}}
    until(follower, lambda: infos(follower)[-1:] == [both])
    follower.restart()
    count = len(infos(follower))
    until(follower, lambda: len(infos(follower)) > count)
    assert infos(follower)[count:] == [both]
    (run / "run.json").write_text('{"unit":"batch"}')
    until(follower, lambda: infos(follower)[-1] != both)
    assert infos(follower)[-1]["config"]["lr"] == 0.001


def test_a_half_written_record_waits_also_over_a_restart(follower: Follower, tmp_path: Path) -> None:
    path, rest = tmp_path / "a" / "events.out.tfevents.1764000000.box.1.0", framed(number("x", 2, 2))
    write(path, number("x", 1, 1))
    with path.open("ab") as file:
        file.write(rest[:20])
    assert follower.values(1) == [1.0]
    follower.restart()
    with path.open("ab") as file:
        file.write(rest[20:])
    assert follower.values(2) == [1.0, 2.0]
    assert follower.offsets["a/" + path.name].lines_read == 2


def test_numbers_of_every_type_are_read() -> None:
    content = {
        1: np.float32(1.5),
        2: np.float64(0.1),
        3: np.int32(-7),
        9: np.int64(2**40),
        10: np.bool_(True),
        19: np.float16(0.5),
    }
    for type_, value in content.items():
        told = b"\x08" + varint(type_) + field(4, value.tobytes())
        assert tensorboard.tensor(told).numbers.tolist() == [float(value)]
    assert tensorboard.tensor(b"\x08\x0e" + field(4, b"\xc0\x3f")).numbers.tolist() == [1.5]  # bfloat16
    assert tensorboard.tensor(b"\x08\x13" + field(13, varint(0x3800))).numbers.tolist() == [0.5]  # half
    assert tensorboard.tensor(b"\x08\x03" + field(7, varint((1 << 64) - 7))).numbers.tolist() == [-7.0]
