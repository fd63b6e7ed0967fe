"""Models of torchvision, as it makes them for the weights that its row names: frozen norms, sizes and heads are theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed, quietly
from ..table import ZooRow
from .torch_models import TorchModel, weights

if TYPE_CHECKING:
    import numpy as np


def on_meta(row: ZooRow) -> Any:
    with needed("torch").device("meta"):
        return made(row, None)


def untrained(row: ZooRow) -> TorchvisionModel:
    return TorchvisionModel(made(row, None).eval(), ())


def opened(row: ZooRow, files: Mapping[str, Path]) -> TorchvisionModel:
    try:
        return TorchvisionModel(made(row, weights(files)).eval(), ())
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelsError(f"the weights of {row.name} do not fit the model ({reason}): fetch it again") from error


def made(row: ZooRow, tensors: Mapping[str, Any] | None) -> Any:
    """With these weights, or random ones. For one thread at a time: torchvision's own loading is replaced meanwhile."""
    models, torch = needed("torchvision.models"), needed("torch")
    wanted = models.get_model_weights(row.architecture)[row.config["weights"]] if row.config else None
    params = needed("torchvision.models.regnet").BlockParams
    count = params.from_init_params.__func__

    def on_cpu(cls: Any, *words: Any, **options: Any) -> Any:
        with torch.device("cpu"):  # sizes of layers are computed in tensors, which have no values on the meta device
            return count(cls, *words, **options)

    with ExitStack() as stack:
        stack.enter_context(quietly())
        stack.enter_context(_replaced(params, "from_init_params", classmethod(on_cpu)))
        stack.enter_context(
            _replaced(
                needed("torchvision.models._api").WeightsEnum, "get_state_dict", lambda *_, **__: dict(tensors or {})
            )
        )
        if tensors is None:
            stack.enter_context(_replaced(torch.nn.Module, "load_state_dict", lambda *_, **__: None))
        return models.get_model(row.architecture, weights=wanted)


class TorchvisionModel(TorchModel):
    """A segmentation model gives a table of images, a detection model one of boxes."""

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        torch = needed("torch")
        values = [torch.from_numpy(value) for value in inputs.values()]
        with torch.inference_mode():
            found = self.module(list(values[0]) if "detection" in type(self.module).__module__ else values[0])
        if isinstance(found, list):
            found = found[0]
        tensors = found if isinstance(found, dict) else {"output": found}
        return {name: value.numpy() for name, value in tensors.items()}


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
