"""From a PyTorch module to ONNX, by PyTorch's exporter on top of `torch.export`; what comes out computes the same, or it is refused.

Shapes: B batch.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CannotExport, CannotRun, ModelsError, needed, quietly
from . import artifact
from .artifact import MODEL, SAME

if TYPE_CHECKING:
    import torch

OPSET = 18  # what ONNX Runtime's quantizer and OpenVINO both take
REASON_CHARS = 300
ADVICE = "The error above occurred when calling"  # PyTorch on other functions of its own
PLACE = re.compile(r'^[^\S\n]*File "(.+)", line (\d+), in ', re.MULTILINE)
CAUSE = re.compile(r"^Caused by: .*?\(?([^\s(]+):(\d+) in ", re.MULTILINE)  # its first letters may be cut


def export(
    module: torch.nn.Module, example: Sequence[torch.Tensor], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """The ONNX file of a module in evaluation mode; the first dimension of each input, the batch, stays free.

    `example` are inputs with a batch of at least 2. Up to 2 GB. Takes 2 to 20 s.
    Raises CannotExport where the module cannot be traced, or where the file computes something else.
    """
    torch = needed("torch")
    needed("onnxscript")
    if len(inputs) != len(example):
        raise CannotExport(f"{len(inputs)} names are given for {len(example)} inputs; give one each")
    module = module.eval()
    free = tuple({0: "batch"} for _ in example)
    with quietly():
        try:
            with torch.no_grad():
                results = _results_of(module(*example), outputs)
                program = torch.onnx.export(
                    module,
                    tuple(example),
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=list(inputs),
                    output_names=list(outputs),
                    dynamic_shapes=free,
                    verbose=False,
                )
            content = _without_places(program.model_proto)
        except CannotExport:
            raise
        except Exception as error:  # tracing runs the module's own code: anything may come out of it
            raise CannotExport(_sentence(error)) from error
    _compare(content, dict(zip(inputs, example, strict=True)), results)
    return content


def _without_places(model: Any) -> bytes:
    """The exporter notes with each node where it comes from: folders and lines of the user's code, which go with the file to others."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
        *model.functions,
    ):
        for field in ("metadata_props", "doc_string"):
            part.ClearField(field)
    content: bytes = model.SerializeToString()
    return content


def _sentence(error: Exception) -> str:
    """With the reason and the line of the model's code where PyTorch names one; what it says of its own settings is left out."""
    cause = error.__cause__ or error
    message, _, _ = str(cause).partition(ADVICE)
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [type(cause).__name__]
    reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    places = PLACE.findall(message) or CAUSE.findall(message)
    place = f" at {Path(places[-1][0]).name}:{places[-1][1]}" if places else ""
    return (
        f"the model does not export to ONNX ({type(cause).__name__}{place}: {reason[:REASON_CHARS]}); replace that part of it "
        "by operations that torch.export takes"
    )


def _results_of(found: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """By name. Raises CannotExport for what a model in ONNX has no output for."""
    torch = needed("torch")
    results = list(found) if isinstance(found, (tuple, list)) else [found]
    if odd := [type(value).__name__ for value in results if not isinstance(value, torch.Tensor)]:
        raise CannotExport(f"the model returns {odd[0]}; have it return a tensor, or a tuple of tensors")
    if len(results) != len(outputs):
        raise CannotExport(
            f"the model returns {len(results)} tensors, and {len(outputs)} names are given for them; give one each"
        )
    return dict(zip(outputs, results, strict=True))


def _compare(content: bytes, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    from ..runtimes import open_session

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / MODEL
        try:
            model.write_bytes(content)
        except OSError as error:
            raise ModelsError(
                f"no room to try the exported model in {folder} ({error.strerror}); set TMPDIR to a folder with room"
            ) from error
        try:
            found = open_session(model, threads=1).run({name: value.numpy() for name, value in inputs.items()})
        except CannotRun as error:
            raise CannotExport(f"the exported model does not run: {error}") from error
    name, share = artifact.difference({name: value.detach().numpy() for name, value in expected.items()}, found)
    if share > SAME:
        raise CannotExport(
            f"the exported model computes something else: output {name!r} differs by {share:.2g} of its largest value; "
            "look for what depends on the input's values or on chance"
        )
