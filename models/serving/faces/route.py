"""A route of a face: path, handler, what a caller needs, how its protocol words a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from ..access.door import ModelCaller
from ..core.refusal import RefusalKind, ServingRefusal
from ..core.served_model import ServedModel
from ..core.served_models import ServedModels
from .http_call import ClientGone, HttpAnswer, HttpCall, sentence


class ServingRequest:
    """What a handler needs: the call, who makes it, the models."""

    __slots__ = ("call", "caller", "models")

    def __init__(self, call: HttpCall, caller: ModelCaller, models: ServedModels) -> None:
        self.call, self.caller, self.models = call, caller, models

    def model(self, name: str) -> ServedModel:
        """Raises ServingRefusal for one that is not there or not for this caller."""
        self.caller.check(name)
        return self.models.named(name)


ServingHandler: TypeAlias = Callable[[ServingRequest], Awaitable[HttpAnswer | None]]  # None: it has answered by itself


class FaceRoute(NamedTuple):
    """`is_open`: without a token. `counts`: asks a model, so that rates and overload refuse it."""

    method: str
    path: str
    handler: ServingHandler
    is_open: bool = False
    counts: bool = False
    failing: Callable[[ServingRefusal], HttpAnswer] = sentence


async def answered_by(
    request: ServingRequest, model: ServedModel, ask: Callable[[], Awaitable[HttpAnswer | None]]
) -> HttpAnswer | None:
    """Counts what a model refuses, also the clients that are gone."""
    try:
        return await ask()
    except ServingRefusal as refusal:
        model.figures.refused(refusal.kind)
        raise
    except ClientGone:
        model.figures.refused(RefusalKind.GONE)
        raise
