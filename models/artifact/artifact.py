"""An artifact: a folder with `model.onnx`, `manifest.json` and `golden.npz`, each with its hash."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import re
import reprlib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..errors import BadArtifact, CannotRun, needed
from ..runtimes.session import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
    from ..runtimes.session import ModelSession


# Read arrays from an .npz file: nothing is unpickled, and whatever is wrong with the file is one error.

REASON_CHARS = 100


def arrays_in(path: Path, names: Collection[str] = ()) -> dict[str, np.ndarray[Any, Any]]:
    """By name, all of them or these. Raises OSError where it cannot be opened, ValueError with the reason where it is damaged or lacks one."""
    import numpy as np

    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no .npz file, or it was cut")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                if lacking := set(names) - set(archive.files):
                    raise ValueError(f"it has no array {min(lacking)}")
                found = {name: archive[name] for name in names or archive.files}
        except MemoryError as error:
            raise ValueError("its arrays are larger than the memory of this host") from error
        except Exception as error:  # of zlib, zipfile, and numpy's reading of a header, each with exceptions of its own
            raise ValueError(" ".join(str(error).split())[:REASON_CHARS] or type(error).__name__) from error
    if odd := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
        raise ValueError(f"{odd[0]} is no array")
    return found


# What `manifest.json` of an artifact says: inputs, outputs, files with hashes, licence, origin, what was measured.
#
# {"name": "student", "task": "image-classification", "inputs": [{"name": "image", "dtype": "uint8", "shape": ["batch", 1, 28, 28]}], ...}

MODEL, MANIFEST, GOLDEN = "model.onnx", "manifest.json", "golden.npz"
FORMAT_VERSION = 1
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")  # no folders, no hidden files
SHA256 = re.compile(r"[0-9a-f]{64}")
SAME = (
    1e-3  # fp32 on another CPU: largest difference of an output from the recorded one, as a share of its largest value
)
MAX_COUNT = 10**18  # of a number of things
MAX_CHARS = 1_000  # of a text
KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class ModelFile:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ModelManifest:
    """`inputs`, `outputs` and `files` may be left empty for `write`, which reads them from the model and the files."""

    name: str
    task: str
    licence: str
    source: str  # where it comes from: a package with its version, an address, a command
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)  # JSON, in the words of the task
    parent: str | None = None  # SHA-256 of the model.onnx that this one was made from
    parameters: int | None = None
    precision: str = "fp32"  # of the weights: fp32, fp16, int8
    tolerance: float = SAME  # of golden outputs, as a share of the largest recorded value of each output
    files: dict[str, ModelFile] = field(default_factory=dict)  # all but the manifest itself
    measured: tuple[dict[str, Any], ...] = ()  # rows: runtime, precision, threads, host, p50_ms, p99_ms, cpu_ms, date
    accuracy: dict[str, Any] | None = None  # value, lowest, highest (95 % interval), items, data
    format_version: int = FORMAT_VERSION

    def as_json(self) -> str:
        """Raises ValueError where `preprocessing`, `measured` or `accuracy` hold what JSON cannot."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def manifest_from(text: str | bytes, place: str) -> ModelManifest:
    """Raises BadArtifact with `place` for what is not a manifest of a known format."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArtifact(f"{place} is not JSON ({error}); fetch or make the model again") from error
    if not isinstance(table, dict):
        raise BadArtifact(f"{place} is not a table; fetch or make the model again")
    version = table.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise BadArtifact(
            f"{place} is of format {reprlib.repr(version)}, and this version reads {FORMAT_VERSION}; update one of the two"
        )
    reader = _Fields(table, place)
    precision, tolerance = reader.text("precision"), reader.number("tolerance")
    parent, parameters = table.get("parent"), table.get("parameters")
    if not (parent is None or (isinstance(parent, str) and SHA256.fullmatch(parent))):
        raise reader.wrong("parent", "a SHA-256")
    if not (parameters is None or (type(parameters) is int and 0 <= parameters < MAX_COUNT)):
        raise reader.wrong("parameters", "a whole number from 0")
    if not 0 <= tolerance <= 1:
        raise reader.wrong("tolerance", "a share from 0 to 1")
    accuracy = table.get("accuracy")
    if not (accuracy is None or isinstance(accuracy, dict)):
        raise reader.wrong("accuracy", "a table")
    return ModelManifest(
        name=reader.text("name"),
        task=reader.text("task"),
        licence=reader.text("licence"),
        source=reader.text("source"),
        inputs=reader.specs("inputs"),
        outputs=reader.specs("outputs"),
        preprocessing=reader.of("preprocessing", dict),
        parent=parent,
        parameters=parameters,
        precision=precision,
        tolerance=tolerance,
        files=reader.files(),
        measured=tuple(reader.tables("measured")),
        accuracy=accuracy,
    )


def require_same(said: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...], place: str) -> None:
    """Raises BadArtifact unless a manifest and its model have tensors of the same names and types, and sizes that do not contradict."""
    by_name = {spec.name: spec for spec in found}
    same = len(said) == len(found) == len({spec.name for spec in said}) and all(
        spec.name in by_name and spec.dtype == by_name[spec.name].dtype and _agree(spec.shape, by_name[spec.name].shape)
        for spec in said
    )
    if not same:
        wanted, has = (", ".join(map(str, specs)) or "nothing" for specs in (said, found))
        raise BadArtifact(
            f"{place} says {wanted[:MAX_CHARS]}, and the model has {has[:MAX_CHARS]}; make the model again, or correct the manifest"
        )


def _agree(said: tuple[int | str, ...], found: tuple[int | str, ...]) -> bool:
    return len(said) == len(found) and all(
        one == other or isinstance(one, str) or isinstance(other, str) for one, other in zip(said, found, strict=True)
    )


class _Fields:
    def __init__(self, table: dict[str, Any], place: str) -> None:
        self._table, self._place = table, place

    def wrong(self, key: str, kind: str) -> BadArtifact:
        return BadArtifact(f"{self._place}: {key!r} is not {kind}; fetch or make the model again")

    def of(self, key: str, kind: type) -> Any:
        value = self._table.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, KINDS[kind])
        return value

    def text(self, key: str) -> str:
        value = str(self.of(key, str))
        if len(value) > MAX_CHARS or not value.isprintable():
            raise self.wrong(key, f"printable text of at most {MAX_CHARS} characters")
        return value

    def number(self, key: str) -> float:
        value = self._table.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.wrong(key, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(key, "a number that fits") from None

    def tables(self, key: str) -> list[dict[str, Any]]:
        rows = self.of(key, list)
        if not all(isinstance(row, dict) for row in rows):
            raise self.wrong(key, "a list of tables")
        return list(rows)

    def specs(self, key: str) -> tuple[TensorSpec, ...]:
        rows = self.tables(key)
        for row in rows:
            shape = row.get("shape")
            named = isinstance(row.get("name"), str) and isinstance(row.get("dtype"), str)
            if not named or not isinstance(shape, list) or not all(_is_size(size) for size in shape):
                raise self.wrong(key, "a list of tensors with name, dtype and shape")
        return tuple(TensorSpec(row["name"], row["dtype"], tuple(row["shape"])) for row in rows)

    def files(self) -> dict[str, ModelFile]:
        files = {}
        for name, row in self.of("files", dict).items():
            sizes = isinstance(row, dict) and type(row.get("bytes")) is int and isinstance(row.get("sha256"), str)
            if not sizes or not SHA256.fullmatch(row["sha256"]) or not FILE_NAME.fullmatch(name):
                raise self.wrong("files", "a table of plain file names with sha256 and bytes")
            files[name] = ModelFile(row["sha256"], row["bytes"])
        if lacking := {MODEL, GOLDEN} - set(files):
            raise BadArtifact(f"{self._place} names no {min(lacking)}; fetch or make the model again")
        return files


def _is_size(value: object) -> bool:
    return type(value) is str or (type(value) is int and 0 <= value < MAX_COUNT)


def file_of(path: Path) -> ModelFile:
    """Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(digest, path.stat().st_size)


# Weights that an ONNX file keeps in other files: they must lie beside it.


def external_files(model: Path) -> set[str]:
    """Names of the files that hold its weights; a model without such is scanned only, a tenth of a second per GB.

    Raises BadArtifact for a file that is no ONNX model, and for a place outside the model's folder.
    """
    if not _may_have_any(model):
        return set()
    onnx = needed("onnx")
    try:
        loaded = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # of protobuf, whose classes differ between its implementations
        raise BadArtifact(f"{model} is not an ONNX model ({type(error).__name__}); fetch or make it again") from error
    names = {name for tensor in _tensors(loaded.graph, loaded.functions) for name in _location(tensor)}
    for name in names:
        if not FILE_NAME.fullmatch(name):
            raise BadArtifact(
                f"{model} names {name!r} as a file of its weights, which is not in its folder; do not use it"
            )
    return names


def _may_have_any(model: Path) -> bool:
    with model.open("rb") as file:
        if not model.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"location") >= 0


def _tensors(graph: Any, functions: Any = ()) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in [*graph.node, *(node for function in functions for node in function.node)]:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _tensors(graph)


def _location(tensor: Any) -> list[str]:
    return [entry.value for entry in tensor.external_data if entry.key == "location"]


# `golden.npz`: inputs of a model and the outputs that they gave where it was made.

INPUT, OUTPUT = "input.", "output."


class Golden(NamedTuple):
    inputs: dict[str, Any]  # arrays by the name of the tensor
    outputs: dict[str, Any]


def save(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Raises OSError; ValueError for arrays of objects."""
    import numpy as np

    arrays = {f"{INPUT}{name}": value for name, value in inputs.items()} | {
        f"{OUTPUT}{name}": value for name, value in outputs.items()
    }
    if objects := [name for name, value in arrays.items() if value.dtype.hasobject]:
        raise ValueError(f"{objects[0]} is an array of objects")
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Golden:
    """Raises BadArtifact; nothing is unpickled."""
    try:
        found = arrays_in(path)
    except (OSError, ValueError) as error:
        raise BadArtifact(f"{path} cannot be read ({error}); fetch or make the model again") from error
    return Golden(
        {name.removeprefix(INPUT): value for name, value in found.items() if name.startswith(INPUT)},
        {name.removeprefix(OUTPUT): value for name, value in found.items() if name.startswith(OUTPUT)},
    )


def difference(expected: Arrays, actual: Arrays) -> tuple[str, float]:
    """The output that differs most, and by which share of its largest expected value; infinite for another shape, dtype or lack.

    Whole numbers, booleans and text are equal or infinitely different.
    """
    worst = ("", 0.0)
    for name, value in expected.items():
        share = _share(value, actual[name]) if name in actual else float("inf")
        if share > worst[1]:
            worst = (name, share)
    return worst


def _share(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> float:
    import numpy as np

    if expected.shape != actual.shape or expected.dtype.kind != actual.dtype.kind:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    if not expected.size:
        return 0.0
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(np.abs(wide[finite]).max())
    return float(np.abs(wide - other, where=finite, out=np.zeros_like(wide))[finite].max()) / (largest or 1.0)


# An artifact that lies in a folder: opened with its hashes and golden outputs checked, run by a session.


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

    def golden(self) -> Golden:
        """Its recorded inputs and outputs. Raises BadArtifact."""
        return load(self.folder / GOLDEN)

    def session(self, runtime: str = "onnxruntime", precision: str = "", threads: int = 1) -> ModelSession:
        """`precision`: of the computation; by default the model's own. Raises CannotRun, or ModelsError for a missing runtime."""
        from ..runtimes import open_session

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
        name, share = difference(recorded.outputs, outputs)
        if share > self.manifest.tolerance:
            differs = "in shape, type or values" if share == float("inf") else f"by {share:.2g} of its largest value"
            raise BadArtifact(
                f"{self.folder}: output {name!r} differs on this host {differs} from what {GOLDEN} recorded, "
                f"more than the {self.manifest.tolerance:g} that the manifest allows; make the model again on this host"
            )
