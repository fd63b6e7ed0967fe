"""`POST /v1/completions` and `GET /v1/models` as clients of OpenAI's API use them, for models with a tokenizer."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from typing import Any

from .generation import TextPiece, TextSampling, generate, prompt_ids
from .http import FaceRoute, HttpAnswer, HttpCall, ServingRequest, answered_by, as_json, readable, sentence
from .model import ServedModel
from .queue import RefusalKind, ServingRefusal, bad

EVENTS = b"text/event-stream; charset=utf-8"
MAX_STOPS = 4
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (),
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}  # what is not built, and the values that ask for nothing; null does not, either
TAKEN = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "stream", "stream_options", "user"}


def openai_error(refusal: ServingRefusal) -> HttpAnswer:
    """`{"error": {"message": ..., "type": ...}}`"""
    answer = sentence(refusal)
    return answer._replace(content=_error(refusal))


def _error(refusal: ServingRefusal) -> bytes:
    return as_json(
        {
            "error": {
                "message": readable(str(refusal)),
                "type": refusal.kind.openai,
                "param": None,
                "code": refusal.kind.name.lower(),
            }
        }
    )


async def models(request: ServingRequest) -> HttpAnswer:
    rows = [
        _row(model) for model in request.models if request.caller.models is None or model.name in request.caller.models
    ]
    return HttpAnswer(as_json({"object": "list", "data": rows}))


async def one_model(request: ServingRequest) -> HttpAnswer:
    return HttpAnswer(as_json(_row(request.model(request.call.part("name")))))


def _row(model: ServedModel) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": "deepseek-models"}


async def chat(request: ServingRequest) -> HttpAnswer:
    raise ServingRefusal(
        RefusalKind.NOT_FOUND, "chat completions are not served: write the chat as one prompt, and use /v1/completions"
    )


async def completions(request: ServingRequest) -> HttpAnswer | None:
    table = await request.call.table()
    name = table.get("model")
    if not isinstance(name, str):
        raise bad('give the model\'s name as "model"')
    model = request.model(name)

    async def ask() -> HttpAnswer | None:
        return await _complete(request, model, table)

    return await answered_by(request, model, ask)


async def _complete(request: ServingRequest, model: ServedModel, table: dict[str, Any]) -> HttpAnswer | None:
    call = request.call
    for field, neutral in NEUTRAL.items():
        if table.get(field) is not None and table[field] not in neutral:
            raise bad(f"{field!r} is not supported; leave it out")
    if unknown := set(table) - TAKEN - set(NEUTRAL):
        raise bad(f"there is no field {min(unknown)[:60]!r}")
    version = model.version()
    ids = await prompt_ids(model.name, version.text, _prompt(table.get("prompt")), model.options.most_prompt_tokens)
    sampling = _sampling(table, model.options.most_new_tokens)
    options = table.get("stream_options") or {}
    if not isinstance(options, dict):
        raise bad("'stream_options' is an object")
    completion = _Completion(model, len(ids), usage=options.get("include_usage") is True)
    pieces = generate(version, ids, sampling, call.while_there, call.arrived_s)
    try:
        if table.get("stream") in (None, False):
            return await completion.whole(pieces, call)
        if table["stream"] is not True:
            raise bad("'stream' is true or false")
        first = await anext(pieces)  # a refusal before this still has its own status
        call.watch()
        await call.stream(EVENTS, completion.events(first, pieces, call))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
    return None


def _prompt(given: Any) -> str | list[int]:
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], (str, list)):
        given = given[0]
    if isinstance(given, str):
        return given
    if isinstance(given, list) and given and all(type(token) is int for token in given):
        return given
    raise bad("'prompt' is a text, or a list of token numbers; one prompt a request")


def _sampling(table: dict[str, Any], most_tokens: int) -> TextSampling:
    """Raises ServingRefusal."""
    tokens = 16 if table.get("max_tokens") is None else table["max_tokens"]
    if type(tokens) is not int or not 1 <= tokens <= most_tokens:
        raise bad(f"'max_tokens' is a whole number from 1 to {most_tokens}")
    seed = table.get("seed")
    if seed is not None and (type(seed) is not int or abs(seed) >= 1 << 63):
        raise bad("'seed' is a whole number")
    stop = table.get("stop") or []
    words = [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(words, list)
        or len(words) > MAX_STOPS
        or not all(isinstance(word, str) and word for word in words)
    ):
        raise bad(f"'stop' is a text, or a list of up to {MAX_STOPS} texts")
    temperature, top_p = _number(table, "temperature", 0.0, 2.0), _number(table, "top_p", 0.0, 1.0)
    return TextSampling(tokens, temperature, top_p, abs(seed) if seed is not None else None, tuple(words))


def _number(table: dict[str, Any], name: str, low: float, high: float) -> float:
    value = 1.0 if table.get(name) is None else table[name]
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise bad(f"{name!r} is a number from {low:g} to {high:g}")
    return float(value)


class _Completion:
    def __init__(self, model: ServedModel, prompt_tokens: int, usage: bool) -> None:
        self._model, self._prompt_tokens, self._usage = model, prompt_tokens, usage
        self._id, self._created = f"cmpl-{time.time_ns():x}", int(time.time())

    async def whole(self, pieces: AsyncIterator[TextPiece], call: HttpCall) -> HttpAnswer:
        text, piece = "", None
        async for piece in pieces:
            text += piece.text
        assert piece is not None
        content = as_json({**self._table(text, piece.finish), "usage": self._used(piece.tokens)})
        self._model.figures.answered(piece.spent, 0.0, time.monotonic() - call.arrived_s)
        return HttpAnswer(content)

    async def events(self, first: TextPiece, pieces: AsyncIterator[TextPiece], call: HttpCall) -> AsyncIterator[bytes]:
        piece = first
        try:
            yield self._event(piece)
            async for piece in pieces:
                yield self._event(piece)
        except ServingRefusal as refusal:  # the status is sent already
            self._model.figures.refused(refusal.kind)
            yield b"data: " + _error(refusal) + b"\n\n"
            return
        if self._usage:
            yield (
                b"data: " + as_json({**self._table("", ""), "choices": [], "usage": self._used(piece.tokens)}) + b"\n\n"
            )
        yield b"data: [DONE]\n\n"
        self._model.figures.answered(piece.spent, 0.0, time.monotonic() - call.arrived_s)

    def _event(self, piece: TextPiece) -> bytes:
        return b"data: " + as_json(self._table(piece.text, piece.finish)) + b"\n\n"

    def _table(self, text: str, finish: str) -> dict[str, Any]:
        choice = {"index": 0, "text": readable(text), "logprobs": None, "finish_reason": finish or None}
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model.name,
            "choices": [choice],
        }

    def _used(self, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self._prompt_tokens + tokens,
        }


ROUTES = (
    FaceRoute("POST", "/v1/completions", completions, counts=True, failing=openai_error),
    FaceRoute("POST", "/v1/chat/completions", chat, failing=openai_error),
    FaceRoute("GET", "/v1/models", models, failing=openai_error),
    FaceRoute("GET", "/v1/models/{name:path}", one_model, failing=openai_error),
)
