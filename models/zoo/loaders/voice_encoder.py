"""The speaker encoder of Resemblyzer: mel frames of 1.6 s of speech become a vector of one voice.

Shapes: B batch, T frames, M mel bands, E width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelsError, needed
from ..table import ZooRow
from .torch_models import TorchModel, filled, weights


def on_meta(row: ZooRow) -> Any:
    with needed("torch").device("meta"):
        return made(row)


def opened(row: ZooRow, files: Mapping[str, Path]) -> TorchModel:
    saved = weights(files)
    if "model_state" not in saved:
        raise ModelsError(f"the file of {row.name} holds no model_state: fetch it again")
    tensors = {name: value for name, value in saved["model_state"].items() if not name.startswith("similarity_")}
    return TorchModel(filled(made(row), tensors, row.name), ("embedding",))


def made(row: ZooRow) -> Any:
    """With random weights. `row.config` has mels, hidden, width and layers."""
    torch = needed("torch")
    module: Any = torch.nn.Module
    config = row.config or {}

    class VoiceEncoder(module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(config["mels"], config["hidden"], config["layers"], batch_first=True)
            self.linear = torch.nn.Linear(config["hidden"], config["width"])

        def forward(self, mels_BTM: Any) -> Any:
            _, (hidden_LBE, _) = self.lstm(mels_BTM)
            embedding_BE = torch.relu(self.linear(hidden_LBE[-1]))
            return embedding_BE / embedding_BE.norm(dim=1, keepdim=True).clamp_min(1e-12)

    return VoiceEncoder()
