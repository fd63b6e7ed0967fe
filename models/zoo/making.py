"""A fetched model becomes an artifact: a folder with its ONNX file, manifest and golden outputs (`docs/models.md`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artifact import Artifact, ModelManifest, write
from ..artifact.exporting import export
from ..errors import CannotExport
from ..extras import needed
from .here import files_of
from .loaders import loading
from .row import ZooRow

EXPORTED = ("image-classification", "image-embeddings")  # one image in, one tensor out
BATCH = 2  # of the golden inputs: the first dimension stays free


def artifact_of(row: ZooRow, zoo: Path, target: Path) -> Artifact:
    """Takes up to a minute. Raises ModelsError: not on this host, the folder is there already, a full disk, no ONNX form."""
    files = files_of(row, zoo)
    manifest = ModelManifest(
        name=row.name,
        task=row.task,
        licence=row.licence,
        source=f"{row.source} {row.id}",
        preprocessing={name: value for name, value in row.preprocessing.items() if name != "inputs"},
        parameters=row.parameters,
    )
    onnx = [path for path in files.values() if path.suffix == ".onnx"]
    if len(onnx) == 1:
        extra = {path.name: path for path in files.values() if path not in onnx}
        return write(target, onnx[0], manifest, loading.example(row), extra)
    if row.task not in EXPORTED or not hasattr(loading.opened(row, files), "module"):
        raise CannotExport(f"{row.name} has no form as an artifact: image models do, and models that are one ONNX file")
    torch = needed("torch")
    module: Any = getattr(loading.opened(row, files), "module")  # noqa: B009 - of PyTorch models alone
    image_BCHW = loading.example(row, BATCH)["image"]
    content = export(module, [torch.from_numpy(image_BCHW)], ["image"], ["output"])
    return write(target, content, manifest, {"image": image_BCHW})
