"""An artifact is what its manifest says, or one sentence says what is wrong; it is written as a whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.artifact import Artifact, TensorSpec, write
from models.artifact.artifact import manifest_from
from models.artifact.export import export
from models.errors import BadArtifact, CannotExport, CannotRun, ModelsError
from tests.models.toys import INPUTS, WEIGHTS, manifest, toy, with_weights_elsewhere, written

ROOM = 200_000  # bytes of a disk that is soon full


def test_what_was_written_is_opened_and_computes_the_same(tmp_path: Path) -> None:
    made = written(tmp_path / "toy", preprocessing={"scale": 0.5}, parameters=12)
    opened = Artifact.open(tmp_path / "toy")
    assert opened == made and opened.manifest.preprocessing == {"scale": 0.5}
    assert opened.manifest.inputs == (TensorSpec("x", "float32", ("batch", 4)),)
    assert opened.manifest.outputs == (TensorSpec("y", "float32", ("batch", 3)),)
    found = opened.session().run(INPUTS)
    np.testing.assert_allclose(found["y"], np.maximum(INPUTS["x"] @ WEIGHTS, 0), rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy"]
    assert opened.bytes == len(toy())


def test_a_manifest_comes_back_from_its_json(tmp_path: Path) -> None:
    made = written(tmp_path / "toy", parent="0" * 64, measured=({"p50_ms": 1.0},), accuracy={"value": 0.9}).manifest
    assert manifest_from(made.as_json(), "x") == made


def test_further_files_have_hashes_and_are_found_by_name(tmp_path: Path) -> None:
    made = write(tmp_path / "toy", toy(), manifest(), INPUTS, {"labels.txt": b"a\nb\nc\n"})
    assert made.file("labels.txt").read_text() == "a\nb\nc\n"
    with pytest.raises(BadArtifact, match=r"has no words\.txt"):
        made.file("words.txt")
    (tmp_path / "toy" / "labels.txt").write_text("a\nb\nd\n")
    with pytest.raises(BadArtifact, match=r"labels\.txt is not the file"):
        Artifact.open(tmp_path / "toy")


def test_weights_beside_the_model_come_along(tmp_path: Path) -> None:
    source = tmp_path / "given.onnx"
    source.write_bytes(with_weights_elsewhere("given.data"))
    (tmp_path / "given.data").write_bytes(WEIGHTS.tobytes())
    made = write(tmp_path / "toy", source, manifest(), INPUTS)
    assert set(Artifact.open(made.folder).manifest.files) == {"model.onnx", "given.data", "golden.npz"}
    assert made.bytes == source.stat().st_size + WEIGHTS.nbytes


@pytest.mark.parametrize("place", ["../given.data", "/etc/passwd", "a/b.data"])
def test_weights_elsewhere_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "given.data").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(BadArtifact, match="which is not in its folder"):
        write(tmp_path / "toy", with_weights_elsewhere(place), manifest(), INPUTS)
    assert not (tmp_path / "toy").exists()


def change_table(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def change_byte(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def other_weights(folder: Path) -> None:
    """With the right hash: only the golden outputs show it."""
    (folder / "model.onnx").write_bytes(toy(WEIGHTS * 1.1))
    rehash(folder)


def recorded(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    """Other golden arrays, with the right hash."""

    def damage(folder: Path) -> None:
        with np.load(folder / "golden.npz") as arrays:
            found = change(dict(arrays))
        np.savez_compressed(folder / "golden.npz", **found)
        rehash(folder)

    return damage


def npy_header(text: str) -> Callable[[Path], None]:
    """A golden input whose header says something odd."""

    def damage(folder: Path) -> None:
        with zipfile.ZipFile(folder / "golden.npz", "w") as archive:
            archive.writestr("input.x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        rehash(folder)

    return damage


def not_zipped(folder: Path) -> None:
    with (folder / "golden.npz").open("wb") as file:
        np.save(file, INPUTS["x"])
    rehash(folder)


def pickled(folder: Path) -> None:
    np.savez(folder / "golden.npz", **{"input.x": np.array([{"a": 1}], dtype=object)})
    rehash(folder)


def no_model(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"location " * 100)
    rehash(folder)


def link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def rehash(folder: Path) -> None:
    from models.artifact.artifact import file_of

    files = {name: vars(file_of(folder / name)) for name in ("model.onnx", "golden.npz")}
    change_table(files=files)(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (change_byte("model.onnx"), "model.onnx is not the file that the manifest names"),
        (change_byte("golden.npz"), "golden.npz is not the file that the manifest names"),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "is not a model: manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text('{"name": '), "is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is not a table"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"), "is not JSON"),
        (change_table(format_version=7), "is of format 7, and this version reads 1"),
        (change_table(name=3), "'name' is not text"),
        (change_table(inputs=[{"name": "x"}]), "'inputs' is not a list of tensors"),
        (change_table(files={"../x": {"sha256": "0" * 64, "bytes": 1}}), "'files' is not a table of plain file names"),
        (change_table(files={}), "names no golden.npz"),
        (change_table(parent="x"), "'parent' is not a SHA-256"),
        (change_table(tolerance=2), "'tolerance' is not a share"),
        (other_weights, "output 'y' differs on this host"),
        (pickled, "golden.npz cannot be read"),
        (no_model, "is not an ONNX model"),
        (link, "model.onnx is a link, or no plain file"),
        (not_zipped, "golden.npz cannot be read (it is no .npz file, or it was cut)"),
        (npy_header("{'descr':'<f4','fortran_order':False,'shape':(1000000000000,4),}"), "larger than the memory"),
        (npy_header(f"{{'descr':'<f4','fortran_order':False,'shape':({10**30},),}}"), "golden.npz cannot be read"),
        (npy_header("{(("), "golden.npz cannot be read"),
        (recorded(lambda arrays: {"input.x": arrays["input.x"]}), "golden.npz has no values of some output"),
        (
            recorded(lambda arrays: {name: value[:0] for name, value in arrays.items()}),
            "golden.npz has no values of some output",
        ),
        (
            recorded(lambda arrays: {**arrays, "output.y": arrays["output.y"][:1]}),
            "differs on this host in shape, type or values",
        ),
        (
            change_table(inputs=[{"name": "z", "dtype": "float32", "shape": ["batch", 4]}]),
            "says z (float32 [batch, 4]), and the model",
        ),
        (change_table(outputs=[]), "says nothing, and the model has y"),
        (
            change_table(inputs=[{"name": "x", "dtype": "float32", "shape": [-1, 4]}]),
            "'inputs' is not a list of tensors",
        ),
        (change_table(tolerance=10**400), "'tolerance' is not a number that fits"),
        (change_table(format_version="9" * 100_000), "is of format '999"),
        (change_table(name="\ud800"), "'name' is not printable text"),
        (change_table(parameters=True), "'parameters' is not a whole number"),
    ],
)
def test_a_damaged_artifact_is_one_sentence(tmp_path: Path, damage: Callable[[Path], object], sentence: str) -> None:
    written(tmp_path / "toy")
    damage(tmp_path / "toy")
    with pytest.raises(BadArtifact) as error:
        Artifact.open(tmp_path / "toy")
    assert sentence in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def test_golden_arrays_that_are_damaged_anywhere_are_one_sentence(tmp_path: Path) -> None:
    """Where the damage lies decides which of the libraries below finds it."""
    made = written(tmp_path / "toy")
    path = made.folder / "golden.npz"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes(byte ^ 0xFF for byte in whole[place : place + 5]) + whole[place + 5 :])
        with contextlib.suppress(BadArtifact):
            made.golden()


def test_without_checks_only_the_manifest_is_read(tmp_path: Path) -> None:
    written(tmp_path / "toy")
    (tmp_path / "toy" / "model.onnx").unlink()
    assert Artifact.open(tmp_path / "toy", check=False).manifest.name == "toy"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    with pytest.raises(ModelsError, match="is already there: choose another folder"):
        written(tmp_path / "toy")
    assert list((tmp_path / "toy").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"inputs": (TensorSpec("z", "float32", (1, 4)),)},
            r"the manifest says z \(float32 \[1, 4\]\), and the model has x",
        ),
        (
            {"inputs": (TensorSpec("x", "float32", ("batch", 5)),)},
            r"the manifest says x \(float32 \[batch, 5\]\), and the model has x",
        ),
        ({"preprocessing": {"mean": float("nan")}}, "cannot be written as JSON"),
        ({"name": "two\nlines"}, "'name' is not printable text"),
        ({"tolerance": 10**400}, "'tolerance' is not a number that fits"),
    ],
)
def test_a_manifest_that_does_not_fit_leaves_nothing(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelsError, match=sentence):
        write(tmp_path / "toy", toy(), replace(manifest(), **change), INPUTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "inputs", [{}, {"x": INPUTS["x"][:, :2]}, {"x": INPUTS["x"].astype(np.float64)}, {"y": INPUTS["x"]}]
)
def test_inputs_that_do_not_fit_are_one_sentence(tmp_path: Path, inputs: Any) -> None:
    with pytest.raises(CannotRun, match=r"x \(float32 \[batch, 4\]\)"):
        written(tmp_path / "toy").session().run(inputs)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for two small models."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(small_disk: Path) -> None:
    written(small_disk / "before")
    (small_disk / "ballast").write_bytes(bytes(ROOM // 2))
    with pytest.raises(ModelsError) as error:
        write(small_disk / "toy", toy(), manifest(), INPUTS, {"more.bin": os.urandom(ROOM)})
    assert "is full: make room or choose another folder" in str(error.value) and "\n" not in str(error.value)
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "before"]
    assert Artifact.open(small_disk / "before").manifest.name == "toy"


def test_a_folder_that_cannot_be_written_is_one_sentence() -> None:
    with pytest.raises(ModelsError, match="cannot write /proc/nope"):
        written(Path("/proc/nope/toy"))


class Branches(nn.Module):
    """What it does depends on the values of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum().item() > 0 else x - 1


class Chance(nn.Module):
    """It computes something else each time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (
            Branches(),
            r"does not export to ONNX \(\w+ at artifacts\.py:\d+: Could not guard on data-dependent expression",
        ),
        (Chance(), "computes something else"),
    ],
)
def test_a_module_that_does_not_export_is_one_sentence(module: nn.Module, sentence: str) -> None:
    with pytest.raises(CannotExport, match=sentence) as error:
        export(module, [torch.ones(2, 4)], ["x"], ["y"])
    assert "\n" not in str(error.value)


def test_a_module_becomes_an_artifact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    content = export(module, [torch.randn(2, 1, 8, 8)], ["image"], ["logits"])
    assert b".py" not in content, "nothing of where the code lies"
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    made = write(tmp_path / "net", content, manifest(), {"image": x})
    assert made.manifest.inputs == (TensorSpec("image", "float32", ("batch", 1, 8, 8)),)
    with torch.no_grad():
        np.testing.assert_allclose(
            made.session().run({"image": x})["logits"], module.eval()(torch.from_numpy(x)).numpy(), atol=1e-4
        )
