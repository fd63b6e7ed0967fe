"""A compression end to end on 2,000 images: a run with candidates, an artifact that passes, and what stands where one stops."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from models.artifact import Artifact
from models.compression import candidates, networks, train
from models.compression import compress as search
from models.compression import data as images
from models.compression.candidates import WorkFolder
from models.compression.compress import JOURNAL, STUDY, CompressionVerdict, compress
from models.compression.data import Views
from models.compression.recipe import CompressionRecipe, Gates
from models.errors import ModelsError
from tests.models.toys import images_file
from tests.support.running import ROOT

LOW = Gates(smaller=2, kept=0.5, faster=0.1)  # what a tiny student passes beside a tiny teacher
NEVER = Gates(smaller=1e6)


def recipe(folder: Path, **fields: Any) -> CompressionRecipe:
    usual = {
        "out": folder / "student",
        "work": folder / "work",
        "logs": folder / "logs",
        "run": "small",
        "data": str(folder / "bars.npz"),
    }
    small = {
        "teacher": "resnet18x0.5",
        "width": 0.25,
        "epochs": 2,
        "views": 2,
        "calibration": 64,
        "rounds": 2,
        "gates": LOW,
    }
    return CompressionRecipe(**{**usual, **small, **fields})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompressionVerdict]:
    folder = tmp_path_factory.mktemp("compression")
    images_file(folder / "bars.npz")
    return folder, compress(recipe(folder))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_artifact_passes_and_says_what_was_measured(made: tuple[Path, CompressionVerdict]) -> None:
    folder, verdict = made
    assert verdict.artifact and not verdict.refusals
    opened = Artifact.open(folder / "student")
    manifest = opened.manifest
    (row,) = manifest.measured
    assert row["p50_ms"] > 0 and row["host"] and row["threads"] == 1
    assert (
        manifest.accuracy and manifest.accuracy["lowest"] <= manifest.accuracy["value"] <= manifest.accuracy["highest"]
    )
    assert verdict.accuracy.value > 0.6, "bars are easy"
    teacher = Artifact.open(folder / "work" / "teacher")
    assert verdict.smaller == pytest.approx(teacher.bytes / opened.bytes)
    trained = teacher.manifest.accuracy
    assert trained and trained["epochs"] == 2 and trained["plateau"] is False and trained["seconds"] > 0
    chosen = Artifact.open(folder / "work" / str(verdict.chosen.choice))
    assert chosen.sha256 == opened.sha256
    parents = (
        {teacher.sha256}
        if manifest.precision == "fp32"
        else {Artifact.open(folder / "work" / f"{verdict.chosen.choice.student}-fp32").sha256}
    )
    assert {manifest.parent} == parents


def test_int8_is_about_four_times_smaller_than_its_parent(made: tuple[Path, CompressionVerdict]) -> None:
    work = made[0] / "work"
    whole, int8 = (Artifact.open(work / f"w0.25-t4-{precision}") for precision in ("fp32", "int8"))
    assert 3 < whole.bytes / int8.bytes < 4.2 and int8.manifest.precision == "int8"


def test_it_is_a_run_of_candidates(made: tuple[Path, CompressionVerdict]) -> None:
    logs = made[0] / "logs" / "small"
    about = json.loads((logs / "run.json").read_text())
    assert (about["kind"], about["unit"]) == ("compression", "candidate")
    found = lines(logs / "metrics.jsonl")
    assert [line["step"] for line in found] == [0, 1, 2, 3, 4]
    assert all(line[f"candidate/{name}"] > 0 for line in found for name in ("accuracy", "size_mb", "latency_ms"))
    assert {"phase/train_s", "phase/export_s", "phase/measure_s"} <= set(found[0])
    assert any("phase/calibrate_s" in line for line in found)
    assert sum(line["kind"] == "candidate" for line in lines(logs / "events.jsonl")) == 4


def test_each_candidate_is_a_run_of_its_own_with_its_configuration(made: tuple[Path, CompressionVerdict]) -> None:
    logs = made[0] / "logs" / "small"
    configs = {path.parent.name: json.loads(path.read_text())["config"] for path in logs.glob("*/run.json")}
    assert configs["w0.25-t4-int8"] == {"width": 0.25, "temperature": 4.0, "bits": 8}
    assert configs["w0.25-alone-fp32"]["temperature"] == 0
    assert set(configs) == {"teacher", "w0.25-t4-int8", "w0.25-t4-fp32", "w0.25-alone-int8", "w0.25-alone-fp32"}
    trained = lines(logs / "w0.25-t4-int8" / "metrics.jsonl")
    assert any("train/loss" in line for line in trained) and any("val/acc" in line for line in trained)


def test_called_again_it_trains_nothing(
    made: tuple[Path, CompressionVerdict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates.train, "train", None)
    again = compress(recipe(made[0], out=tmp_path / "again", run="again"))
    assert again.artifact is not None


def test_a_damaged_candidate_is_made_anew(made: tuple[Path, CompressionVerdict], tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(made[0] / "work", work)
    (work / "w0.25-t4-int8" / "model.onnx").write_bytes(b"")
    compress(recipe(made[0], out=tmp_path / "again", run="mended", work=work))
    Artifact.open(work / "w0.25-t4-int8")


def test_without_one_that_passes_it_says_what_the_nearest_lacks(
    made: tuple[Path, CompressionVerdict], tmp_path: Path
) -> None:
    verdict = compress(recipe(made[0], out=tmp_path / "none", run="none", gates=NEVER))
    assert verdict.artifact is None and not (tmp_path / "none").exists()
    assert any("times smaller, not 1e+06" in refusal for refusal in verdict.refusals)


def test_a_search_goes_on_where_it_stopped(
    made: tuple[Path, CompressionVerdict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(made[0] / "work", work)
    monkeypatch.setattr(search, "WIDTHS", (0.25,))  # students that are there: nothing is trained
    monkeypatch.setattr(search, "TEMPERATURES", (4.0,))
    searching = recipe(made[0], out=tmp_path / "found", run="search", work=work, trials=2, epochs=2)
    made_of = candidates.CandidateMaker.candidate
    calls: list[str] = []

    def stopped_at_the_second(self: candidates.CandidateMaker, choice: Any) -> Any:
        calls.append(str(choice))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made_of(self, choice)

    with monkeypatch.context() as patch:
        patch.setattr(candidates.CandidateMaker, "candidate", stopped_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            compress(searching)
    verdict = compress(searching)
    assert verdict.artifact is not None
    states = [trial.state.name for trial in search_of(work)]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]


def search_of(work: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(work / JOURNAL)))
    return optuna.load_study(study_name=STUDY, storage=storage).trials


def test_a_teacher_may_be_an_artifact(made: tuple[Path, CompressionVerdict], tmp_path: Path) -> None:
    given = str(made[0] / "work" / "teacher")
    verdict = compress(
        recipe(
            made[0],
            out=tmp_path / "s",
            work=tmp_path / "w",
            run="given",
            teacher=given,
            epochs=1,
            bits=(8,),
            alone=False,
        )
    )
    assert verdict.chosen.artifact.manifest.precision == "int8" and not (tmp_path / "w" / "teacher").exists()


def test_another_recipe_does_not_take_the_folder(made: tuple[Path, CompressionVerdict], tmp_path: Path) -> None:
    with pytest.raises(
        ModelsError, match="belongs to a compression with epochs 2, not 3; give another folder as --work"
    ):
        compress(recipe(made[0], out=tmp_path / "x", epochs=3))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(ModelsError, match="has other files in it"):
        compress(recipe(made[0], out=tmp_path / "x", work=tmp_path / "full"))


def test_another_file_of_the_same_name_does_not_take_the_folder(
    made: tuple[Path, CompressionVerdict], tmp_path: Path
) -> None:
    """Its teacher has learned other images, and answered to those."""
    other = tmp_path / "bars.npz"
    images_file(other, 400)
    small = recipe(tmp_path, out=tmp_path / "x", epochs=1, alone=False, bits=(32,))
    WorkFolder(small.work, small.about())
    images_file(other, 300)
    with pytest.raises(ModelsError, match="belongs to a compression with data sha256"):
        compress(small)


def test_two_at_once_do_not_share_a_folder(made: tuple[Path, CompressionVerdict], tmp_path: Path) -> None:
    small = recipe(made[0], out=tmp_path / "x", work=tmp_path / "work")
    with (
        WorkFolder(small.work, small.about()),
        pytest.raises(ModelsError, match="another compression is at work in"),
    ):
        compress(small)


@pytest.mark.parametrize("broken", [{3}, set(range(1000))])
def test_a_step_whose_gradient_is_not_finite_is_made_again(tmp_path: Path, broken: set[int]) -> None:
    """In bfloat16 a backward pass of oneDNN gives NaN now and then: one of them was the end of a network. What stays so is a sentence."""
    data = images.load(str(images_file(tmp_path / "bars.npz", 400)))
    torch.manual_seed(0)
    net = networks.student(0.25, train.shape_of(data))
    passes = 0

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return gradient * float("nan") if passes in broken else gradient

    net.head.weight.register_hook(spoil)
    plan = train.TrainingPlan(1, batch=50)
    if len(broken) == 1:
        trained = train.train(net, data, Views(True, 2), plan)
        assert all(parameter.isfinite().all() for parameter in trained.module.parameters())
    else:
        with pytest.raises(ModelsError, match="did not stay finite in epoch 0"):
            train.train(net, data, Views(True, 2), plan, state_file=tmp_path / "state")
        assert not (tmp_path / "state").exists()


def test_a_training_goes_on_with_the_epoch_after_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends at the same weights as one that was not stopped."""
    monkeypatch.setattr(train, "faster_in_half", lambda *given: contextlib.nullcontext())  # else chosen by time
    data = images.load(str(images_file(tmp_path / "bars.npz", 400)))
    state = tmp_path / "state"

    def trained(epochs: int, file: Path | None) -> train.TrainedNet:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        net = networks.student(0.25, train.shape_of(data))
        return train.train(net, data, Views(True, 2), train.TrainingPlan(epochs, batch=50), state_file=file)

    trained(2, state)
    resumed, whole = trained(3, state), trained(3, None)
    assert [epoch.number for epoch in resumed.epochs] == [0, 1, 2]
    for one, other in zip(resumed.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    state.write_bytes(state.read_bytes()[:1000])
    assert len(trained(1, state).epochs) == 1, "a file that is cut is no state"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_sentence_and_what_was_made_stays(
    made: tuple[Path, CompressionVerdict], small_disk: Path, tmp_path: Path
) -> None:
    """The teacher of 11 MB does not fit."""
    with pytest.raises(ModelsError, match="is full: make room or choose another folder") as error:
        compress(recipe(made[0], out=tmp_path / "x", work=small_disk / "work", run="full", epochs=1))
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (small_disk / "work").iterdir()) == ["recipe.json"]


def test_a_work_folder_that_was_begun_on_a_full_disk_is_taken_later(small_disk: Path) -> None:
    about = recipe(small_disk).about()
    (small_disk / "ballast").write_bytes(bytes(1_536_000))
    with pytest.raises(ModelsError, match="is full: make room"):
        WorkFolder(small_disk / "work", about)
    (small_disk / "ballast").unlink()
    WorkFolder(small_disk / "work", about)


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["--data", "nowhere.npz"], "there is no nowhere.npz; make it with numpy.savez", 1),
        (["--data", "cifar"], "there are no images 'cifar'; give fashion-mnist, or the path of an .npz file", 1),
        (
            ["--teacher", "vit", "--data", "DATA"],
            "there is no teacher 'vit'; give the folder of a model, or one of resnet50",
            1,
        ),
        (["--bits", "4"], "'4' is not 8, 32 or 8,32", 2),
        (["--data", "DATA", "--width", "1e9"], "width is 1e+09; give a number from 0.05 to 4", 2),
        (["--data", "DATA", "--temperature", "1e-300"], "temperature is 1e-300; give a number from 0.1 to 100", 2),
        (["--data", "DATA", "--threads", "100000000"], "threads is 1e+08; give a number from 1 to 1024", 2),
        (["--data", "DATA", "--images", "1"], "1 images are too few to train with; give 100 or more", 1),
        (["--kept", "much"], "'much' is not a number from 0", 2),
        (["--out", "DATA"], "is already there: choose another folder", 1),
        (["--out", "."], "is not the name of a new folder; give one such as models/student", 2),
    ],
)
def test_the_command_says_what_is_wrong(
    made: tuple[Path, CompressionVerdict], tmp_path: Path, words: list[str], sentence: str, code: int
) -> None:
    data = str(made[0] / "bars.npz")
    command = [
        sys.executable,
        "-m",
        "models",
        "compress",
        "--out",
        str(tmp_path / "out"),
        "--logs",
        str(tmp_path / "logs"),
    ]
    done = subprocess.run(
        [*command, *(data if word == "DATA" else word for word in words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == code and done.stderr.count("\n") == 1
    assert done.stderr.startswith("deepseek-models: ") and sentence in done.stderr


IMAGES = np.zeros((200, 8, 8), np.uint8)
LABELS = np.arange(200) % 4


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, "it has no array images"),
        ({"images": np.array([{}] * 200), "labels": LABELS}, "Object arrays cannot be loaded"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "images are float32"),
        ({"images": np.zeros((200, 8, 8, 3), np.uint8), "labels": LABELS}, "images.transpose"),
        ({"images": np.zeros((200, 0, 8), np.uint8), "labels": LABELS}, "up to 1024 pixels a side"),
        ({"images": IMAGES, "labels": LABELS * np.nan}, "labels must be whole numbers from 0"),
        ({"images": IMAGES[:1], "labels": LABELS[:1]}, "of at least 100 images"),
        ({"images": IMAGES, "labels": LABELS * 0}, "all images have the label 0"),
        ({"images": IMAGES, "labels": np.where(LABELS, 0, 10**9)}, "number the classes from 0 without gaps"),
        (
            {"images": IMAGES, "labels": np.full(200, 2**63 + 1, np.uint64) - (LABELS == 1).astype(np.uint64)},
            "without gaps",
        ),
    ],
)
def test_images_that_do_not_fit_are_one_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ModelsError, match=sentence) as error:
        images.load(str(tmp_path / "own.npz"))
    assert "own.npz" in str(error.value) and "\n" not in str(error.value)


def test_an_array_that_was_renamed_to_npz_is_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", IMAGES)
    (tmp_path / "own.npy").rename(tmp_path / "own.npz")
    with pytest.raises(ModelsError, match=r"it is no \.npz file"):
        images.load(str(tmp_path / "own.npz"))


def test_classes_that_only_the_test_data_has_count(tmp_path: Path) -> None:
    """Else a network has no output for them."""
    for place in range(20):
        np.savez(tmp_path / "own.npz", images=IMAGES, labels=np.where(np.arange(200) == place, 4, LABELS))
        assert images.load(str(tmp_path / "own.npz")).classes == 5


def test_a_teacher_whose_preprocessing_divides_by_nothing_is_refused(
    made: tuple[Path, CompressionVerdict], tmp_path: Path
) -> None:
    data = images.load(str(made[0] / "bars.npz"))
    shutil.copytree(made[0] / "work" / "teacher", tmp_path / "teacher")
    path = tmp_path / "teacher" / "manifest.json"
    table = json.loads(path.read_text())
    table["preprocessing"]["std"] = [0.0]
    path.write_text(json.dumps(table))
    with pytest.raises(ModelsError, match="divides by 0; correct `std`"):
        train.given(tmp_path / "teacher", data)


def test_a_data_set_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(images, "FASHION_MNIST", tmp_path / "nothing")
    with pytest.raises(ModelsError, match="install it with: sudo apt-get install -y dataset-fashion-mnist"):
        images.load("fashion-mnist")


def test_gates_count_the_lower_ends() -> None:
    from models.compression.measure import ShareEstimate
    from models.runtimes.pick import TimeRatio

    good = ShareEstimate(0.99, 0.975, 1.0, 1000), TimeRatio(8, 7, 9)
    assert Gates().refusals(13, *good) == ()
    assert len(Gates().refusals(11, replace(good[0], lowest=0.96), TimeRatio(8, 6.6, 9))) == 3
