"""Messages of the Open Inference Protocol over gRPC: arrays and answers of the core, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from ..access.door import ModelCaller
from ..core.generation import TextSampling, generate, prompt_ids
from ..core.pending import NEVER_S, ModelAnswer, TensorMap
from ..core.refusal import RefusalKind, ServingRefusal, bad
from ..core.served_model import ServedModel
from ..core.served_models import ServedModels
from ..core.version import ServedVersion
from .oip_rest import EXTENSIONS, SERVER, UNBUILT, check_once, deadline_of, metadata
from .tensors import array_of, as_raw, datatype_of, dtype_of, from_raw, shaped, texts_of

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
PROMPT, TEXT = "prompt", "text"  # input and output of a text model in a stream
FINAL = "triton_final_response"


class OipMessages:
    """`pb`: the module with the messages."""

    def __init__(self, pb: Any) -> None:
        self._pb = pb

    def server_metadata(self) -> Any:
        return self._pb.ServerMetadataResponse(
            name=SERVER, version="1", extensions=[word for word in EXTENSIONS if word != "binary_tensor_data"]
        )

    def model_metadata(self, model: ServedModel, version: ServedVersion) -> Any:
        return self._pb.ModelMetadataResponse(**metadata(model, version))

    def index(self, models: list[ServedModel]) -> Any:
        rows = [
            self._pb.RepositoryIndexResponse.ModelIndex(
                name=model.name,
                version=model.current.number if model.current else "",
                state="READY" if model.is_ready else "UNAVAILABLE",
                reason=model.trouble,
            )
            for model in models
        ]
        return self._pb.RepositoryIndexResponse(models=rows)

    def inputs(self, message: Any) -> TensorMap:
        """Raises ServingRefusal."""
        raws = message.raw_input_contents
        if raws and len(raws) != len(message.inputs):
            raise bad(f"there are {len(message.inputs)} inputs and {len(raws)} raw_input_contents; give one for each")
        inputs: TensorMap = {}
        for place, row in enumerate(message.inputs):
            if row.name in inputs:
                raise bad(f"input {row.name[:60]!r} is there twice")
            if row.parameters:
                self._check(row.parameters)
            shape = list(row.shape)
            if raws:
                inputs[row.name] = from_raw(raws[place], row.datatype, shape, row.name)
            else:
                inputs[row.name] = shaped(_contents(row), shape, row.name)
        return inputs

    def deadline_of(self, message: Any, arrived_s: float, remaining_s: float | None) -> float:
        """Of the call, and of the parameter `timeout` in microseconds. Raises ServingRefusal."""
        found = NEVER_S
        if message.parameters:
            self._check(message.parameters)
            found = deadline_of(
                arrived_s, _value(message.parameters["timeout"]) if "timeout" in message.parameters else None
            )
        return found if remaining_s is None else min(found, arrived_s + remaining_s)

    def wanted(self, message: Any, version: ServedVersion) -> list[str]:
        """Raises ServingRefusal."""
        known = [spec.name for spec in version.layout.outputs]
        if not message.outputs:
            return known
        for row in message.outputs:
            self._check(row.parameters)
            if row.name not in known:
                raise bad(f"there is no output {row.name[:60]!r}; there are {', '.join(known)}")
        names = [row.name for row in message.outputs]
        check_once(names)
        return names

    def answer(self, message: Any, model: ServedModel, answer: ModelAnswer, names: list[str]) -> Any:
        found = self._pb.ModelInferResponse(model_name=model.name, model_version=answer.version, id=message.id)
        for name in names:
            value = answer.outputs[name]
            found.outputs.add(name=name, datatype=datatype_of(value), shape=value.shape)
            found.raw_output_contents.append(as_raw(value))
        return found

    def is_prompt(self, message: Any, models: ServedModels, caller: ModelCaller) -> bool:
        """Raises ServingRefusal."""
        caller.check(message.model_name)
        current = models.named(message.model_name).current
        return current is not None and current.text is not None and [row.name for row in message.inputs] == [PROMPT]

    async def pieces(self, message: Any, models: ServedModels, arrived_s: float) -> AsyncIterator[Any]:
        """A message for each piece of text; parameters: max_tokens, temperature, seed. Raises ServingRefusal."""
        model = models.named(message.model_name)
        version = model.version(message.model_version)
        prompt = self.inputs(message)[PROMPT]
        if prompt.size != 1 or not isinstance(prompt.reshape(-1)[0], str):
            raise bad("the input 'prompt' is one text, BYTES [1]")
        ids = await prompt_ids(model.name, version.text, prompt.reshape(-1)[0], model.options.most_prompt_tokens)
        piece = None
        try:
            async for piece in generate(
                version, ids, _sampling(message, model), _wait, arrived_s, self.deadline_of(message, arrived_s, None)
            ):
                found = self._pb.ModelInferResponse(model_name=model.name, model_version=version.number, id=message.id)
                found.outputs.add(name=TEXT, datatype="BYTES", shape=[1])
                content = piece.text.encode("utf-8", "replace")
                found.raw_output_contents.append(len(content).to_bytes(4, "little") + content)
                found.parameters[FINAL].bool_param = bool(piece.finish)
                yield found
        except ServingRefusal as refusal:
            model.figures.refused(refusal.kind)
            raise
        except asyncio.CancelledError:
            model.figures.refused(RefusalKind.GONE)
            raise
        if piece:
            model.figures.answered(piece.spent, 0.0, time.monotonic() - arrived_s)

    def _check(self, parameters: Any) -> None:
        for name in UNBUILT:
            if name in parameters:
                raise bad(f"the parameter {name} is not supported; leave it out")


def _contents(row: Any) -> Any:
    """Values of a typed field, in one dimension. Raises ServingRefusal."""
    dtype = dtype_of(row.datatype, row.name)
    field = CONTENTS.get(row.datatype)
    if field is None:
        raise bad(f"input {row.name[:60]!r} of {row.datatype} is given as raw_input_contents only")
    values = list(getattr(row.contents, field))
    return texts_of(values, row.name) if dtype == "str" else array_of(values, dtype, row.name)


def _sampling(message: Any, model: ServedModel) -> TextSampling:
    given = {
        name: _value(message.parameters[name])
        for name in ("max_tokens", "temperature", "seed")
        if name in message.parameters
    }
    most, temperature, seed = given.get("max_tokens", 16), given.get("temperature", 0.0), given.get("seed")
    if type(most) is not int or not 1 <= most <= model.options.most_new_tokens:
        raise bad(f"the parameter max_tokens is a whole number from 1 to {model.options.most_new_tokens}")
    if not isinstance(temperature, (int, float)) or isinstance(temperature, bool) or not 0 <= temperature <= 2:
        raise bad("the parameter temperature is a number from 0 to 2")
    if seed is not None and type(seed) is not int:
        raise bad("the parameter seed is a whole number")
    return TextSampling(most, float(temperature), seed=abs(seed) if seed is not None else None)


def _value(parameter: Any) -> Any:
    field = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, field) if field else None


async def _wait(future: asyncio.Future[ModelAnswer]) -> ModelAnswer:
    return await future
