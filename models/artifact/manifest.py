"""What `manifest.json` of an artifact says: inputs, outputs, files with hashes, licence, origin, what was measured.

{"name": "student", "task": "image-classification", "inputs": [{"name": "image", "dtype": "uint8", "shape": ["batch", 1, 28, 28]}], ...}
"""

from __future__ import annotations

import json
import re
import reprlib
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import BadArtifact

MODEL, MANIFEST, GOLDEN = "model.onnx", "manifest.json", "golden.npz"
FORMAT_VERSION = 1
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")  # no folders, no hidden files
SHA256 = re.compile(r"[0-9a-f]{64}")
SAME = (
    1e-3  # fp32 on another CPU: largest difference of an output from the recorded one, as a share of its largest value
)
MOST = 10**18  # of a number of things
MOST_CHARS = 1_000  # of a text
KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output. `dtype` is numpy's word; a free dimension has a name: ("batch", 3, 224, 224)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """`image (float32 [batch, 1, 28, 28])`"""
        return f"{self.name} ({self.dtype} [{', '.join(map(str, self.shape))}])"


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
    if not (parameters is None or (type(parameters) is int and 0 <= parameters < MOST)):
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
            f"{place} says {wanted[:MOST_CHARS]}, and the model has {has[:MOST_CHARS]}; make the model again, or correct the manifest"
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
        if len(value) > MOST_CHARS or not value.isprintable():
            raise self.wrong(key, f"printable text of at most {MOST_CHARS} characters")
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
    return type(value) is str or (type(value) is int and 0 <= value < MOST)
