"""`POST /v1/infer`: `{"model": "clothes", "input": [[...]]}` -> `{"model": "clothes", "version": "1", "output": [[...]]}`."""

from __future__ import annotations

import time
from typing import Any

from .generation import TextSampling, generate, prompt_ids
from .http import FaceRoute, HttpAnswer, ServingRequest, answered_by, array_of, as_json, as_values, encoded
from .model import ServedModel, ServedVersion
from .queue import NEVER_S, ModelAnswer, RefusalKind, ServingRefusal, TensorMap, bad

MAX_TIMEOUT_MS = 3_600_000.0
FIELDS = ("input", "model", "version", "timeout_ms", "max_tokens")


async def infer(request: ServingRequest) -> HttpAnswer | None:
    table = await request.call.table()
    if unknown := set(table) - set(FIELDS):
        raise bad(f"there is no field {min(unknown)[:60]!r}; there are {', '.join(FIELDS)}")
    model = _model(request, table.get("model"))

    async def ask() -> HttpAnswer:
        return await _answer(request, model, table)

    return await answered_by(request, model, ask)


def _model(request: ServingRequest, name: Any) -> ServedModel:
    if name is None and request.models.only:
        name = request.models.only.name
    if not isinstance(name, str):
        raise bad(f'give the model\'s name as "model"; there are {", ".join(model.name for model in request.models)}')
    return request.model(name)


async def _answer(request: ServingRequest, model: ServedModel, table: dict[str, Any]) -> HttpAnswer:
    call = request.call
    if "input" not in table:
        raise bad('give the values as "input"')
    number = table.get("version")
    if number is not None and not isinstance(number, str):
        number = str(number) if type(number) is int else ""
        if not number:
            raise bad('"version" is a text such as "1"')
    deadline_s = deadline_of(call.arrived_s, table.get("timeout_ms"))
    version = model.version(number or "")
    given = table["input"]
    if isinstance(given, str) and version.text:
        return await _text(request, model, version, given, table.get("max_tokens"), deadline_s)
    if "max_tokens" in table:
        raise bad('"max_tokens" is for the text of a language model')
    inputs, is_item = inputs_of(given, version)
    answer = await call.while_there(version.submit(inputs, call.arrived_s, deadline_s))
    answered_s = time.monotonic()
    if is_item and not all(len(value) for value in answer.outputs.values()):
        raise ServingRefusal(
            RefusalKind.FAILED, "the model failed (it gave no row for the item); what does its preparation return?"
        )
    content = await encoded(answer.outputs.values(), _content, model.name, answer, is_item)
    now_s = time.monotonic()
    model.figures.answered(answer, now_s - answered_s, now_s - call.arrived_s)
    return HttpAnswer(content)


def _content(name: str, answer: ModelAnswer, is_item: bool) -> bytes:
    outputs = {name: as_values(value[0] if is_item else value) for name, value in answer.outputs.items()}
    output = next(iter(outputs.values())) if len(outputs) == 1 else outputs
    return as_json({"model": name, "version": answer.version, "output": output})


def deadline_of(arrived_s: float, timeout_ms: Any) -> float:
    """Raises ServingRefusal."""
    if timeout_ms is None:
        return NEVER_S
    if not isinstance(timeout_ms, (int, float)) or isinstance(timeout_ms, bool) or not 0 < timeout_ms <= MAX_TIMEOUT_MS:
        raise bad(f'"timeout_ms" is a number of milliseconds up to {MAX_TIMEOUT_MS:.0f}')
    return arrived_s + timeout_ms / 1e3


def inputs_of(given: Any, version: ServedVersion) -> tuple[TensorMap, bool]:
    """Arrays, and whether they were one item, without the dimension of the batch. Raises ServingRefusal."""
    specs = version.layout.inputs
    if not isinstance(given, dict):
        if len(specs) != 1:
            raise bad(
                f'the model takes {", ".join(spec.name for spec in specs)}: give "input" as an object with these names'
            )
        given = {specs[0].name: given}
    if set(given) != {spec.name for spec in specs}:
        raise bad(
            f"the model takes {', '.join(spec.name for spec in specs)}, and was given {', '.join(given)[:200] or 'nothing'}"
        )
    inputs = {spec.name: array_of(given[spec.name], spec.dtype, spec.name) for spec in specs}
    is_item = version.layout.joins and all(inputs[spec.name].ndim == len(spec.shape) - 1 for spec in specs)
    return ({name: value[None] for name, value in inputs.items()} if is_item else inputs), is_item


async def _text(
    request: ServingRequest, model: ServedModel, version: ServedVersion, prompt: str, most: Any, deadline_s: float
) -> HttpAnswer:
    call = request.call
    ids = await prompt_ids(model.name, version.text, prompt, model.options.most_prompt_tokens)
    most = TextSampling.most_tokens if most is None else most
    if type(most) is not int or not 1 <= most <= model.options.most_new_tokens:
        raise bad(f'"max_tokens" is a whole number from 1 to {model.options.most_new_tokens}')
    text, piece = "", None
    async for piece in generate(
        version, ids, TextSampling(most, temperature=0.0), call.while_there, call.arrived_s, deadline_s
    ):
        text += piece.text
    if piece:
        model.figures.answered(piece.spent, 0.0, time.monotonic() - call.arrived_s)
    return HttpAnswer(as_json({"model": model.name, "version": version.number, "output": text}))


ROUTES = (FaceRoute("POST", "/v1/infer", infer, counts=True),)
