"""An artifact that lies in a folder: opened with its hashes and golden outputs checked, run by a session."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadArtifact, CannotRun
from . import golden
from .external import external_files
from .hashing import file_of
from .manifest import GOLDEN, MANIFEST, MODEL, ModelManifest, manifest_from, require_same

if TYPE_CHECKING:
    from ..runtimes.session import ModelSession


@dataclass(frozen=True)
class Artifact:
    """`Artifact.open("models/student").session().run({"image": image_BCHW}) -> {"logits": logits_BK}`"""

    folder: Path
    manifest: ModelManifest

    @classmethod
    def open(cls, folder: str | Path, check: bool = True) -> Artifact:
        """With `check`, hashes are compared (a second per GB) and golden outputs computed by ONNX Runtime.

        Raises BadArtifact for what is missing, changed or computes something else here, ModelsError without ONNX Runtime.
        """
        folder = Path(folder)
        path = folder / MANIFEST
        try:
            if path.exists() and not path.is_file():  # reading a pipe would not end
                raise OSError(errno.EINVAL, "not a file")
            text = path.read_bytes()
        except OSError as error:
            raise BadArtifact(
                f"{folder} is not a model: {MANIFEST} cannot be read ({error.strerror}); give the folder that has it"
            ) from error
        opened = cls(folder, manifest_from(text, str(path)))
        if check:
            opened.check()
        return opened

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL

    @property
    def sha256(self) -> str:
        """Of the ONNX file, as the manifest says."""
        return self.manifest.files[MODEL].sha256

    @property
    def bytes(self) -> int:
        """Of the ONNX file and of the files with its weights."""
        files = {
            name: file
            for name, file in self.manifest.files.items()
            if name == MODEL or name in external_files(self.model)
        }
        return sum(file.bytes for file in files.values())

    def file(self, name: str) -> Path:
        """A further file of the model, such as `tokenizer.json`. Raises BadArtifact if the manifest has none of that name."""
        if name not in self.manifest.files:
            raise BadArtifact(f"{self.folder} has no {name}; it has {', '.join(self.manifest.files)}")
        return self.folder / name

    def golden(self) -> golden.Golden:
        """Its recorded inputs and outputs. Raises BadArtifact."""
        return golden.load(self.folder / GOLDEN)

    def session(self, runtime: str = "onnxruntime", precision: str = "", threads: int = 1) -> ModelSession:
        """`precision`: of the computation; by default the model's own. Raises CannotRun, or ModelsError for a missing runtime."""
        from ..runtimes.opening import open_session

        return open_session(
            self.model, runtime, precision or self.manifest.precision, threads, own=self.manifest.precision
        )

    def check(self) -> None:
        """Raises BadArtifact for a file or an output that differs from what the manifest says."""
        for name, file in self.manifest.files.items():
            path = self.folder / name
            if path.is_symlink() or not path.is_file():
                what = "is missing" if not os.path.lexists(path) else "is a link, or no plain file"
                raise BadArtifact(f"{self.folder}: {name} {what}; fetch or make the model again")
            try:
                found = file_of(path)
            except OSError as error:
                raise BadArtifact(f"{path} cannot be read: {error.strerror}; fetch or make the model again") from error
            if found != file:
                raise BadArtifact(
                    f"{path} is not the file that the manifest names ({found.bytes:,} bytes with SHA-256 {found.sha256[:12]}..., not "
                    f"{file.bytes:,} with {file.sha256[:12]}...); fetch or make the model again"
                )
        if strange := external_files(self.model) - set(self.manifest.files):
            raise BadArtifact(
                f"{self.folder}: the manifest has no hash of {min(strange)}; fetch or make the model again"
            )
        self._check_outputs()

    def _check_outputs(self) -> None:
        recorded = self.golden()
        try:
            session = self.session()
            require_same(self.manifest.inputs, session.inputs, str(self.folder))
            require_same(self.manifest.outputs, session.outputs, str(self.folder))
            outputs = session.run(recorded.inputs)
        except CannotRun as error:
            raise BadArtifact(f"{self.folder} does not run: {error}") from error
        if not set(outputs) <= set(recorded.outputs) or not any(value.size for value in outputs.values()):
            raise BadArtifact(
                f"{self.folder}: {GOLDEN} has no values of some output, so that nothing shows what the model computes; make the model again"
            )
        name, share = golden.difference(recorded.outputs, outputs)
        if share > self.manifest.tolerance:
            differs = "in shape, type or values" if share == float("inf") else f"by {share:.2g} of its largest value"
            raise BadArtifact(
                f"{self.folder}: output {name!r} differs on this host {differs} from what {GOLDEN} recorded, "
                f"more than the {self.manifest.tolerance:g} that the manifest allows; make the model again on this host"
            )
