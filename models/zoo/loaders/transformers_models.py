"""Models of transformers: from the numbers of their row, or from a folder of checked files. Code of a repository never runs."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed, quietly
from ..table import ZooRow

if TYPE_CHECKING:
    import numpy as np


def on_meta(row: ZooRow) -> Any:
    with needed("torch").device("meta"):
        return made(row)


def made(row: ZooRow) -> Any:
    """With random weights."""
    transformers = needed("transformers")
    config = dict(row.config or {})
    settings = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    return getattr(transformers, row.architecture)._from_config(settings)


def untrained(row: ZooRow) -> TransformersModel:
    return TransformersModel(made(row).eval())


def opened(row: ZooRow, files: Mapping[str, Path]) -> TransformersModel:
    with only(row, files) as folder:
        return TransformersModel(loaded(row, folder))


def loaded(row: ZooRow, folder: Path, **options: Any) -> Any:
    """The model from a folder, in evaluation mode. Raises ModelsError where its files do not fit the library."""
    transformers = needed("transformers")
    try:
        architecture = getattr(transformers, row.architecture)
        with quietly(), without_progress():
            return architecture.from_pretrained(folder, local_files_only=True, weights_only=True, **options).eval()
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelsError(
            f"transformers {transformers.__version__} does not open {row.name} ({reason}): update it, or fetch again"
        ) from error


@contextmanager
def without_progress() -> Iterator[None]:
    """Transformers draws bars on stderr where it loads."""
    logging = needed("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def only(row: ZooRow, files: Mapping[str, Path]) -> Iterator[Path]:
    """A folder that holds these files and nothing else: what else lies beside them in a cache is not opened."""
    inner = row.preprocessing.get("folder", "")  # of a package, whose files the model expects at the top
    with tempfile.TemporaryDirectory(prefix="deepseek-models-") as folder:
        for path, place in files.items():
            link = Path(folder) / path.removeprefix(inner)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(place.resolve())
        yield Path(folder)


class TransformersModel:
    def __init__(self, module: Any) -> None:
        self.module = module

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """All outputs that are tensors."""
        torch = needed("torch")
        with torch.inference_mode():
            found = self.module(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: value.float().numpy() for name, value in found.items() if isinstance(value, torch.Tensor)}
