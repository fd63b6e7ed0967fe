"""The three networks of MTCNN, face detection of 2016, with the weights of facenet-pytorch.

Shapes: B batch, H height, W width. Each gives the probability of a face and the offsets of its box; the last also five landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import needed
from ..table import ZooRow
from .torch_models import filled, weights

if TYPE_CHECKING:
    import numpy as np

NETS = ("pnet", "rnet", "onet")


def on_meta(row: ZooRow) -> Any:
    torch = needed("torch")
    with torch.device("meta"):
        return torch.nn.ModuleDict({name: _net(name, row.config or {}) for name in NETS})


def opened(row: ZooRow, files: Mapping[str, Path]) -> FacenetCascade:
    nets = {}
    for name in NETS:
        file = {path: place for path, place in files.items() if place.stem == name}
        nets[name] = filled(_net(name, row.config or {}), weights(file), row.name)
    return FacenetCascade(nets)


class FacenetCascade:
    def __init__(self, nets: Mapping[str, Any]) -> None:
        self._nets = nets

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """One image or crop for each network: pnet [B, 3, H, W], rnet [B, 3, 24, 24], onet [B, 3, 48, 48]."""
        torch = needed("torch")
        with torch.inference_mode():
            return {
                f"{name}.{place}": value.numpy()
                for name in NETS
                for place, value in enumerate(self._nets[name](torch.from_numpy(inputs[name])))
            }


def _net(name: str, config: Mapping[str, Any]) -> Any:
    """As the layers of the row's config say: ["conv", in, out, kernel], ["pool", kernel, stride], ["linear", in, out], ["flat"]."""
    torch = needed("torch")
    nn = torch.nn
    module: Any = nn.Module
    layers, heads = config[name]["layers"], config[name]["heads"]

    class CascadeNet(module):
        def __init__(self) -> None:
            super().__init__()
            for layer in [*layers, *heads]:
                kind, label, *sizes = layer
                if kind == "conv":
                    self.add_module(label, nn.Conv2d(sizes[0], sizes[1], sizes[2]))
                elif kind == "linear":
                    self.add_module(label, nn.Linear(sizes[0], sizes[1]))
                elif kind == "prelu":
                    self.add_module(label, nn.PReLU(sizes[0]))

        def forward(self, values: Any) -> tuple[Any, ...]:
            for kind, label, *sizes in layers:
                if kind == "pool":
                    values = nn.functional.max_pool2d(values, sizes[0], sizes[1], ceil_mode=True)
                elif kind == "flat":  # width before height, as the weights were trained
                    values = values.permute(0, 3, 2, 1).flatten(1)
                else:
                    values = self.get_submodule(label)(values)
            return tuple(
                torch.softmax(found, 1) if place == 0 else found
                for place, found in enumerate(self.get_submodule(label)(values) for _, label, *_ in heads)
            )

    return CascadeNet()
