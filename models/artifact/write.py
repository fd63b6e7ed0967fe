"""Write an artifact: all of it or nothing.

The files are written into a hidden folder beside the new one, which is then renamed.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import BadArtifact, ModelsError, cannot_write
from ..runtimes.session import TensorSpec
from . import artifact
from .artifact import (
    FILE_NAME,
    GOLDEN,
    MANIFEST,
    MODEL,
    Artifact,
    ModelManifest,
    external_files,
    file_of,
    manifest_from,
    require_same,
)

PART = ".part-"
LEFT_AFTER_S = 86_400.0  # a part of a process that was killed


def write(
    folder: str | Path,
    model: Path | bytes,
    manifest: ModelManifest,
    golden_inputs: artifact.Arrays,
    extra: Mapping[str, Path | bytes] | None = None,
) -> Artifact:
    """Hashes and golden outputs are computed here; inputs and outputs are read from the model where the manifest has none.

    `extra` are further files by name. Weights that the model keeps in files beside it come along. Raises ModelsError: the folder is
    there already, the disk is full, the model does not run or is not what the manifest says. Nothing is left then.
    """
    folder = Path(folder)
    if isinstance(model, Path) and not model.is_file():
        raise ModelsError(f"there is no {model}; give an ONNX file")
    require_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}{PART}", dir=folder.parent))
    except OSError as error:
        raise cannot_write(folder.parent, error) from error
    try:
        _fill(part, model, manifest, golden_inputs, extra or {})
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # after the rename there is none
    return Artifact.open(folder, check=False)


def require_free(folder: Path) -> None:
    """Raises ModelsError where something has that name already."""
    if os.path.lexists(folder):
        raise ModelsError(f"{folder} is already there: choose another folder, or remove it")


def _fill(
    part: Path, model: Path | bytes, manifest: ModelManifest, inputs: artifact.Arrays, extra: Mapping[str, Path | bytes]
) -> None:
    for name in extra:
        if not FILE_NAME.fullmatch(name) or name in (MODEL, MANIFEST, GOLDEN):
            raise ModelsError(f"{name!r} cannot be the name of a further file; use a plain one such as tokenizer.json")
    for name, content in {**extra, MODEL: model}.items():
        _put(part / name, content)
    for name in external_files(part / MODEL) - set(extra):
        if isinstance(model, bytes) or not (model.parent / name).is_file():
            raise BadArtifact(f"the model keeps weights in {name}, which is not there; give it as a further file")
        _put(part / name, model.parent / name)
    session = Artifact(part, replace(manifest, files={})).session()
    manifest = replace(
        manifest,
        inputs=_same(manifest.inputs, session.inputs),
        outputs=_same(manifest.outputs, session.outputs),
    )
    outputs = session.run(inputs)
    if not any(value.size for value in outputs.values()):
        raise BadArtifact(
            "the golden inputs have no items, so that nothing would show what the model computes; give at least one"
        )
    artifact.save(part / GOLDEN, inputs, outputs)
    files = {path.name: file_of(path) for path in sorted(part.iterdir())}
    try:
        text = replace(manifest, files=files).as_json()
    except (ValueError, TypeError) as error:
        raise ModelsError(
            f"the manifest cannot be written as JSON ({error}); use plain numbers, text, lists and tables in it"
        ) from error
    manifest_from(text, "the manifest")  # what is written here opens there
    _put(part / MANIFEST, text.encode())
    for path in part.iterdir():
        _to_disk(path)


def _same(said: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What the manifest says, if the model has tensors of these names, types and sizes; without it, what the model has."""
    if said:
        require_same(said, found, "the manifest")
    return said or found


def _put(path: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what a killed process left of this folder."""
    for part in folder.parent.glob(f".{glob.escape(folder.name)}{PART}*"):
        if time.time() - part.stat().st_mtime > LEFT_AFTER_S:
            shutil.rmtree(part, ignore_errors=True)
