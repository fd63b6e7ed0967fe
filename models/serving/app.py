"""Protocols over the core: each reads a request, asks a model and writes its answer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import needed
from .access import ModelCaller, ServingAuth
from .http import AsgiReceive, AsgiSend, ClientGone, HttpAnswer, HttpCall, ServingHandler, ServingRequest
from .model import ServedModels
from .queue import RefusalKind, ServingRefusal, stopping

if TYPE_CHECKING:
    from fastapi import FastAPI


# All HTTP faces as one ASGI application: `make_serving_app(models, door)`.

LOG = logging.getLogger("deepseek.serving")
LAG_LOOK_S, LAG_LOOKS = 0.05, 3


class ServingEndpoint:
    """A route: an ASGI application that lets in, refuses early and answers every failure with a sentence."""

    def __init__(
        self,
        handler: ServingHandler,
        models: ServedModels,
        door: ServingAuth,
        *,
        is_open: bool,
        counts: bool,
        failing: Callable[[ServingRefusal], HttpAnswer],
    ) -> None:
        self._handler, self._models, self._door = handler, models, door
        self._open, self._counts, self._failing = is_open, counts, failing
        self._peer: str = needed("access.peers").PEER

    async def __call__(self, scope: dict[str, object], receive: AsgiReceive, send: AsgiSend) -> None:
        call = HttpCall(scope, receive, send)
        try:
            try:
                answer = await self._handled(call)
            except ServingRefusal as refusal:
                answer = self._failing(refusal)
            except (ClientGone, asyncio.CancelledError):
                raise
            except Exception:
                LOG.exception("%s failed", scope.get("path"))
                answer = self._failing(ServingRefusal(RefusalKind.FAILED, "the server failed; its log has more"))
            if answer is not None and not call.begun:
                await call.answer(answer)
        except ClientGone:
            return
        finally:
            call.close()

    async def _handled(self, call: HttpCall) -> HttpAnswer | None:
        headers = call.headers
        if b"origin" in headers:
            raise ServingRefusal(
                RefusalKind.FORBIDDEN, "requests of web pages are not answered; call it from a program"
            )
        raw, peer = call.scope["headers"], call.scope.get("extensions", {}).get(self._peer)
        self._door.check_host(raw, peer.our_address if peer is not None else "")
        caller = OPEN
        if not self._open:
            caller = self._door.caller(
                call.header(b"authorization"), self._counts, lambda: self._door.is_own(raw, peer)
            )
        if self._counts:
            if self._models.closing:
                raise stopping()
            name = call.part("model")
            if model := (self._models.named(name) if name and (caller.check(name) is None) else self._models.only):
                try:
                    model.refuse_early(self._models.lag_s)
                except ServingRefusal as refusal:
                    model.figures.refused(refusal.kind)
                    raise
        return await self._handler(ServingRequest(call, caller, self._models))


OPEN = ModelCaller("open", frozenset(), False)


class ServingApp:
    """FastAPI for paths with parameters and for those that are not there; others go straight to their endpoint: FastAPI costs more than a small model."""

    def __init__(self, app: FastAPI, endpoints: Mapping[tuple[str, str], ServingEndpoint]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: dict[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
        else:
            scope["path_params"] = {}
            await endpoint(scope, receive, send)


def make_serving_app(models: ServedModels, door: ServingAuth) -> ServingApp:
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.routing import Route

    from . import infer, oip, openai, openmetrics

    straight: dict[tuple[str, str], ServingEndpoint] = {}
    app = FastAPI(title="deepseek-models serve", docs_url=None, redoc_url=None, openapi_url=None)
    for face in (infer, oip, openai, openmetrics):
        for row in face.ROUTES:
            endpoint = ServingEndpoint(
                row.handler, models, door, is_open=row.is_open, counts=row.counts, failing=row.failing
            )
            app.router.routes.append(Route(row.path, endpoint, methods=[row.method]))
            if "{" not in row.path:
                straight[row.method, row.path] = endpoint

    async def no_route(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        why = {404: "there is no such path", 405: "this path takes another method"}.get(
            status, "the request cannot be answered"
        )
        said = error_of(request.url.path, f"{why}: see docs/serving.md for what there is")
        return JSONResponse(said, status, getattr(error, "headers", None))

    app.add_exception_handler(HTTPException, no_route)
    return ServingApp(app, straight)


def error_of(path: str, sentence: str) -> dict[str, Any]:
    """As the clients of the path read it, for what is refused before a face sees it."""
    is_openai = path.startswith("/v1/") and not path.startswith("/v1/infer")
    found = {"message": sentence, "type": "invalid_request_error", "param": None, "code": None}
    return {"error": found if is_openai else sentence}


async def watch_lag(models: ServedModels) -> None:
    """How late the event loop is: what waits before a request is even read. Runs until it is cancelled.

    A single late moment is the machine's, and is over when it is seen: the lag counts that lasts for some looks.
    """
    loop = asyncio.get_running_loop()
    lags_s = deque([0.0] * LAG_LOOKS, LAG_LOOKS)
    while True:
        due_s = loop.time() + LAG_LOOK_S
        await asyncio.sleep(LAG_LOOK_S)
        lags_s.append(max(0.0, loop.time() - due_s))
        models.lag_s = min(lags_s)
