"""Image models of timm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import needed
from ..table import ZooRow
from .torch_models import TorchModel, filled, weights


def on_meta(row: ZooRow) -> Any:
    with needed("torch").device("meta"):
        return made(row)


def opened(row: ZooRow, files: Mapping[str, Path]) -> TorchModel:
    return TorchModel(filled(made(row), weights(files), row.name), ("output",))


def untrained(row: ZooRow) -> TorchModel:
    return TorchModel(made(row).eval(), ("output",))


def made(row: ZooRow) -> Any:
    """With random weights."""
    return needed("timm").create_model(row.architecture, pretrained=False, **(row.config or {}))
